/* The CPU as a device: anonymous mappings, copies by memcpy, the kernels of kernels/cpu. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/str.h"
#include "device/blas.h"
#include "device/cpu_kernels.h"
#include "device/device.h"

static dram_status cpu_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory)
{
    char text[32];
    (void)device; /* and all three spaces are the same memory here */
    void *mapped = mmap(NULL, (size_t)(bytes ? bytes : 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return dram_fail(DRAM_ERR_FIT, "the CPU cannot give %s for the arena%s: lower memory.budget or the batch size",
                         dram_format_bytes(bytes, text, sizeof text),
                         space == DRAM_SPACE_DEVICE ? "" : " of what waits in host memory");
    /* Large pages where they may be had: an arena is a few large blocks read from end to end. */
    madvise(mapped, (size_t)(bytes ? bytes : 1), MADV_HUGEPAGE);
    *memory = mapped;
    return DRAM_OK;
}

static void cpu_release(dram_device *device, dram_space space, void *memory, int64_t bytes)
{
    (void)device;
    (void)space;
    munmap(memory, (size_t)(bytes ? bytes : 1));
}

static dram_status cpu_write(dram_device *device, void *to, const void *host, int64_t bytes)
{
    (void)device;
    memcpy(to, host, (size_t)bytes);
    return DRAM_OK;
}

static dram_status cpu_read(dram_device *device, void *host, const void *from, int64_t bytes)
{
    (void)device;
    memcpy(host, from, (size_t)bytes);
    return DRAM_OK;
}

static dram_status cpu_fill(dram_device *device, void *to, int byte, int64_t bytes)
{
    (void)device;
    memset(to, byte, (size_t)bytes);
    return DRAM_OK;
}

static int64_t cpu_free_bytes(dram_device *device)
{
    (void)device;
    return dram_host_free_bytes();
}

static void cpu_close(dram_device *device)
{
    dram_pool_close(device->pool);
    dram_free(device);
}

static const dram_device_ops cpu_ops = {
    .alloc = cpu_alloc,
    .release = cpu_release,
    .write = cpu_write,
    .read = cpu_read,
    .fill = cpu_fill,
    .free_bytes = cpu_free_bytes,
    .close = cpu_close,
};

dram_status dram_device_open_cpu(int workers, dram_device **out)
{
    dram_device *device = dram_calloc(1, sizeof *device);
    if (!device) return dram_fail(DRAM_ERR_MEMORY, "no memory for the device");
    device->ops = &cpu_ops;
    device->profile = dram_profile_cpu(workers);
    snprintf(device->name, sizeof device->name, "%s", dram_cpu_isa());
    device->kernels = device->host_kernels = dram_cpu_kernels();
    dram_status status = dram_blas_open(workers);
    if (status == DRAM_OK) status = dram_pool_open(workers, &device->pool);
    if (status != DRAM_OK) {
        dram_device_close(device);
        return status;
    }
    *out = device;
    return DRAM_OK;
}
