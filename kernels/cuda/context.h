/* context: what the CUDA kernels of one device share, handed to each in dram_kernel_args.device. Plain C.
 *
 * It is made by src/device/cuda.c and lives as long as the device. A kernel launches on `stream` and nowhere else,
 * waits for nothing, and takes no device memory. */
#ifndef DRAM_KERNELS_CUDA_CONTEXT_H
#define DRAM_KERNELS_CUDA_CONTEXT_H

#include <cuda_runtime_api.h>

#include "kernels/cuda/libraries.h"

/* The ways that cuBLAS and cuDNN were told to go, by shape, found when a shape is first seen (choices.cu). */
typedef struct dram_cuda_choices dram_cuda_choices;

typedef struct {
    cudaStream_t stream;             /* of the node that is being launched */
    int multiprocessors;             /* of the device */
    int shared_bytes;                /* of memory that a block may have, asked for */
    int says;                        /* a line for each choice of a library or an own kernel (say.h) */
    const dram_cuda_libraries *libs; /* cuBLASLt and cuDNN, opened */
    cublasLtHandle_t blas;
    cudnnHandle_t dnn; /* bound to `stream` */
    dram_cuda_choices *choices;
} dram_cuda_context;

#ifdef __cplusplus
extern "C" {
#endif

#include "base/status.h"

/* cudaSuccess: this build's kernels run on the current device. */
cudaError_t dram_cuda_code(void);

/* Keeps the stream busy for a millisecond: what is launched meanwhile follows without the gaps between launches. */
dram_status dram_cuda_hold(const dram_cuda_context *context);

#ifdef __cplusplus
}
#endif

#endif
