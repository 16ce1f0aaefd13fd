/* device: the device that a test runs on: the CPU, or with DRAM_TEST_DEVICE=cuda the GPU, a real or the simulated
 * one. */
#ifndef DRAM_TESTS_DEVICE_H
#define DRAM_TESTS_DEVICE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

static inline bool test_on_gpu(void)
{
    const char *asked = getenv("DRAM_TEST_DEVICE");
    return asked && strcmp(asked, "cuda") == 0;
}

static inline dram_status test_device_open(int workers, dram_device **device)
{
    return test_on_gpu() ? dram_device_open_cuda(dram_device_cuda_chosen(), workers, device)
                         : dram_device_open_cpu(workers, device);
}

/* Whether that is the GPU in software, which fails as its settings say (tests/cudasim/README.md). */
static inline bool test_on_simulated_gpu(void)
{
    dram_cuda_card card;
    return test_on_gpu() && dram_device_cuda_card(dram_device_cuda_chosen(), &card) == DRAM_OK &&
           strncmp(card.name, "simulated", 9) == 0;
}

static inline dram_profile test_profile(int workers)
{
    return test_on_gpu() ? dram_profile_cuda(workers) : dram_profile_cpu(workers);
}

/* Ends the program as skipped where the device asked for is missing. First in main(). */
static inline void test_device_or_skip(void)
{
    dram_device *device;
    if (test_device_open(1, &device) == DRAM_OK) {
        dram_device_close(device);
        return;
    }
    printf("skipped: %s\n", dram_error_text());
    exit(77);
}

#endif
