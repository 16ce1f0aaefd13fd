#include "device/device.h"

void dram_device_close(dram_device *device)
{
    if (device) device->ops->close(device);
}

dram_status dram_device_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    TRY(device->ops->alloc(device, space, bytes, memory));
    device->bytes_now += bytes;
    if (device->bytes_now > device->bytes_peak) device->bytes_peak = device->bytes_now;
    return DRAM_OK;
}

void dram_device_release(dram_device *device, dram_space space, void *memory, int64_t bytes)
{
    if (!memory) return;
    device->ops->release(device, space, memory, bytes);
    device->bytes_now -= bytes;
}
