/* product: matrix products by cuBLASLt, for linear and for convolutions that are one. C++. */
#ifndef DRAM_KERNELS_CUDA_PRODUCT_H
#define DRAM_KERNELS_CUDA_PRODUCT_H

#include "kernels/cuda/cuda.cuh"

/* c [m,n] = a b (+ acc) (+ bias), row-major and without gaps, summed in fp32. f32 is true fp32, not TF32. */
struct dram_cuda_product {
    int64_t m, n, k;
    bool trans_a;   /* a is [k,m], not [m,k] */
    bool trans_b;   /* b is [n,k], not [k,n] */
    dram_dtype in;  /* of a and b */
    dram_dtype out; /* of acc and c: that of `in`, or f32 */
    const void *a, *b;
    const void *acc;  /* NULL, or [m,n], which may lie on c */
    const void *bias; /* NULL, or [n] of the type `out`: cuBLASLt takes no other */
    void *c;
};

/* Queues the product, with args' workspace. *done = false: cuBLASLt has no algorithm for it that will do, and nothing
 * was queued. */
dram_status dram_cuda_multiply(const dram_kernel_args *args, const dram_cuda_product *product, bool *done);

#endif
