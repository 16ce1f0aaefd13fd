/* cuda_usage: what the driver says this process takes of a GPU's memory, by NVML, which is a part of the driver
 * (libnvidia-ml.so.1) and is opened when it is first asked. cudaMemGetInfo knows the whole GPU alone, and not before a
 * context is there. Only the first GPU that a process comes to is counted. */
#ifndef DRAM_DEVICE_CUDA_USAGE_H
#define DRAM_DEVICE_CUDA_USAGE_H

#include "device/device.h"

/* Before anything is done with GPU number `index`. Further calls do nothing. */
void dram_cuda_usage_begin(int index);
/* When its context is there and nothing else. Further calls do nothing. */
void dram_cuda_usage_context(int index);

/* What was found then; 0 without a count. */
int64_t dram_cuda_usage_of_context(int index);
dram_counted dram_cuda_usage_counted(int index);
/* Now; 0 without a count. Any thread may ask. */
int64_t dram_cuda_usage(int index);

#endif
