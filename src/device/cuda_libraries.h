/* cuda_libraries: cuBLASLt and cuDNN, opened while the program runs. */
#ifndef DRAM_DEVICE_CUDA_LIBRARIES_H
#define DRAM_DEVICE_CUDA_LIBRARIES_H

#include "base/status.h"
#include "kernels/cuda/libraries.h"

typedef struct {
    dram_cuda_libraries functions;
    void *blas, *dnn; /* handles of the dynamic linker */
} dram_cuda_opened;

/* DRAM_ERR_RUN, with the library's name, when one is missing or lacks a function. */
dram_status dram_cuda_libraries_open(dram_cuda_opened *opened);
void dram_cuda_libraries_close(dram_cuda_opened *opened); /* {0} is allowed */

#endif
