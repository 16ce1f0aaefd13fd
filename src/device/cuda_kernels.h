/* cuda_kernels: the table of CUDA kernels. */
#ifndef DRAM_DEVICE_CUDA_KERNELS_H
#define DRAM_DEVICE_CUDA_KERNELS_H

#include "base/kernel.h"

/* Table indexed by dram_op. */
const dram_kernel *dram_cuda_kernels(void);

#endif
