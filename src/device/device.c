#include "device/device.h"

void dram_device_close(dram_device *device)
{
    if (device) device->ops->close(device);
}

dram_status dram_device_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    TRY(device->ops->alloc(device, space, bytes, memory));
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
