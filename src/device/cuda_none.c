/* A build without CUDA. */
#include <stdio.h>

#include "device/device.h"

static const char reason[] = "this build has no CUDA";

dram_status dram_device_open_cuda(int index, int workers, dram_device **device)
{
    (void)index;
    (void)workers;
    (void)device;
    return dram_fail(DRAM_ERR_RUN,
                     "device: cuda: %s: build with nvcc and cuDNN's headers (cmake -DDRAM_CUDA=ON), or use device: cpu",
                     reason);
}

dram_status dram_device_cuda_card(int index, dram_cuda_card *card)
{
    (void)index;
    (void)card;
    return dram_fail(DRAM_ERR_RUN,
                     "device: cuda: %s: build with nvcc and cuDNN's headers (cmake -DDRAM_CUDA=ON), or use device: cpu",
                     reason);
}

bool dram_device_cuda_usable(char *why, int size)
{
    snprintf(why, (size_t)size, "%s", reason);
    return false;
}
