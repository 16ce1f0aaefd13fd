/* cuda_kernels: the tables of CUDA kernels. */
#ifndef DRAM_DEVICE_CUDA_KERNELS_H
#define DRAM_DEVICE_CUDA_KERNELS_H

#include "base/kernel.h"

/* Tables indexed by dram_op; the second has NULL for most. */
const dram_kernel *dram_cuda_kernels(void);
const dram_kernel_many *dram_cuda_kernels_many(void);

#endif
