/* choices: what cuBLASLt and cuDNN were told to do, by problem. Plain C.
 *
 * A library offers several algorithms for a product or a convolution. The first time a problem is met, the kernel asks
 * for them, takes the first that is deterministic and stays within the workspace that the plan reserved, and keeps it
 * here with the library's descriptors; after that the same problem is only looked up. That it cannot be done by the
 * library is kept too. One thread at a time. */
#ifndef DRAM_KERNELS_CUDA_CHOICES_H
#define DRAM_KERNELS_CUDA_CHOICES_H

#include "kernels/cuda/context.h"

#ifdef __cplusplus
extern "C" {
#endif
#include "base/status.h"
#include "base/tensor.h"

/* OWN + FORWARD and so on: that dram's own kernel took it has been said (conv.h). */
typedef enum {
    DRAM_CHOICE_PRODUCT,
    DRAM_CHOICE_FORWARD,
    DRAM_CHOICE_DGRAD,
    DRAM_CHOICE_WGRAD,
    DRAM_CHOICE_OWN
} dram_choice_kind;

enum { DRAM_CHOICE_NUMBERS = 14, DRAM_CHOICE_POINTERS = 5 };

/* Everything that may tell two problems apart. Compared by bytes: begin with zeros. */
typedef struct {
    int64_t kind, in, out;               /* dram_choice_kind, dram_dtype of the operands and of the result */
    int64_t number[DRAM_CHOICE_NUMBERS]; /* sizes, transpositions, attributes */
    int64_t align[DRAM_CHOICE_POINTERS]; /* dram_cuda_alignment of each pointer, 0 = none */
    int64_t workspace_bytes;
} dram_cuda_problem;

typedef struct {
    dram_cuda_problem problem;
    int possible;  /* the library has an algorithm that will do */
    int64_t bytes; /* of workspace that it takes */
    /* a product */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t product_algo;
    /* a convolution */
    cudnnConvolutionDescriptor_t conv;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    int conv_algo; /* of the enum of its kind */
} dram_cuda_choice;

dram_status dram_cuda_choices_open(dram_cuda_choices **out);
void dram_cuda_choices_close(dram_cuda_choices *choices, const dram_cuda_libraries *libs); /* NULL is allowed */

/* The choice for a problem. One that is met for the first time comes zeroed but for `problem`, with *fresh = 1: to be
 * filled in. It stays where it is until the table is closed. */
dram_status dram_cuda_choices_find(dram_cuda_choices *choices, const dram_cuda_problem *problem,
                                   dram_cuda_choice **choice, int *fresh);

/* Forgets the choice that was just given out as fresh, and what it holds: filling it in has failed. */
void dram_cuda_choices_drop(dram_cuda_choices *choices, const dram_cuda_libraries *libs);

/* The largest power of two that divides an address, at most 256: what libraries ask about. */
static inline int64_t dram_cuda_alignment(const void *pointer)
{
    uintptr_t address = (uintptr_t)pointer;
    int64_t align = 1;
    while (align < 256 && address % (uintptr_t)(2 * align) == 0) align *= 2;
    return pointer ? align : 0;
}

#ifdef __cplusplus
}
#endif

#endif
