#include "device/device.h"

#include <stdatomic.h>

#include "base/str.h"
#include "device/testing.h"

static _Atomic int64_t all_devices_have = -1;
static atomic_int chosen_gpu;

const char *dram_counted_word(dram_counted counted)
{
    return counted == DRAM_COUNTED_PROCESS ? "process" : counted == DRAM_COUNTED_GPU ? "gpu" : NULL;
}

void dram_device_cuda_choose(int index)
{
    atomic_store(&chosen_gpu, index);
}

int dram_device_cuda_chosen(void)
{
    return atomic_load(&chosen_gpu);
}

void dram_device_limit(int64_t bytes)
{
    atomic_store(&all_devices_have, bytes);
}

static dram_status take(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    char text[32];
    int64_t has = atomic_load(&all_devices_have);
    if (has >= 0 && bytes > has - device->bytes_now - device->host_bytes_now)
        return dram_fail(DRAM_ERR_FIT, "the device cannot give %s", dram_format_bytes(bytes, text, sizeof text));
    return device->ops->alloc(device, space, bytes, memory);
}

void dram_device_close(dram_device *device)
{
    if (device) device->ops->close(device);
}

dram_status dram_device_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    TRY(take(device, space, bytes, memory));
    bool on_device = space == DRAM_SPACE_DEVICE;
    int64_t *now = on_device ? &device->bytes_now : &device->host_bytes_now;
    int64_t *peak = on_device ? &device->bytes_peak : &device->host_bytes_peak;
    *now += bytes;
    if (*now > *peak) *peak = *now;
    return DRAM_OK;
}

void dram_device_release(dram_device *device, dram_space space, void *memory, int64_t bytes)
{
    if (!memory) return;
    device->ops->release(device, space, memory, bytes);
    *(space == DRAM_SPACE_DEVICE ? &device->bytes_now : &device->host_bytes_now) -= bytes;
}

int64_t dram_device_most(dram_device *device, dram_space space, int64_t bytes)
{
    enum { HALVINGS = 8 };
    int64_t low = 0, high = bytes, piece = bytes;
    bool held = *dram_error_text() != '\0';
    for (int i = 0; i <= HALVINGS; i++, piece = low + (high - low) / 2) {
        void *memory;
        if (take(device, space, piece, &memory) == DRAM_OK) {
            device->ops->release(device, space, memory, piece);
            low = piece;
        } else {
            high = piece;
        }
        if (low == high) break;
    }
    if (!held) dram_error_clear();
    return low;
}
