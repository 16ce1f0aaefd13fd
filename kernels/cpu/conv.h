/* conv: the two ways of a convolution on the CPU, behind kernels/cpu/conv.c.
 *
 *   direct  narrow groups: a tile of the image is copied, with its zero border, a group at a time; its pixels under
 *           the kernel are a matrix as they lie (kernels/cpu/panel.h)
 *   gather  wide groups: a tile of such rows is written out (im2col) and multiplied by the BLAS
 *
 * Limits of all three products: 2 N Ho Wo O kh kw I/groups FLOPs; bytes 4 (x + y), or 2, each once.
 *
 * Sums are fp32 and rounded once. For bf16 and f16 direct copies into an fp32 tile, and what fp32 reads or writes in
 * place (filters; results; dy in wgrad) goes through such a tile too; gather leaves the types to gemm.h.
 */
#ifndef DRAM_KERNELS_CPU_CONV_H
#define DRAM_KERNELS_CPU_CONV_H

#include "kernels/cpu/pixels.h"

typedef struct {
    int64_t n, h, w, c; /* x [n,h,w,c] */
    int64_t oh, ow, o;  /* y [n,oh,ow,o] */
    int64_t kh, kw;     /* weight [o,kh,kw,ci] */
    int64_t stride, pad, groups;
    int64_t ci, co;             /* channels of a group */
    int64_t k;                  /* kh kw ci */
    dram_dtype dtype;           /* of x, y, weight and acc, and of out unless that is dw, which is f32 */
    const void *x, *y, *weight; /* those that are read */
    const float *bias;          /* or NULL */
    const void *acc;            /* or NULL */
    void *out;
    int64_t size; /* bytes of an element of dtype */
    dram_pool *pool;
    char *scratch;         /* of worker 0, worker 1, ... */
    int64_t scratch_bytes; /* each, of which the last gemm_bytes are for gemm_one where gather is done */
    int64_t gemm_bytes;    /* 0 in fp32 */
    float *partial;        /* wgrad's partial sums */
    int64_t partial_bytes;
} dram_conv;

/* Each direct one returns false, having done nothing, where it does not apply or its tile does not fit. */
bool DRAM_CPU(conv_direct_forward)(const dram_conv *v);
bool DRAM_CPU(conv_direct_dgrad)(const dram_conv *v);
bool DRAM_CPU(conv_direct_wgrad)(const dram_conv *v);
void DRAM_CPU(conv_gather_forward)(const dram_conv *v);
void DRAM_CPU(conv_gather_dgrad)(const dram_conv *v);
void DRAM_CPU(conv_gather_wgrad)(const dram_conv *v);

/* Element `at` of a tensor of v->dtype. */
static inline const void *dram_conv_at(const dram_conv *v, const void *base, int64_t at)
{
    return (const char *)base + at * v->size;
}

/* a / b rounded down, b > 0 */
static inline int64_t dram_floor_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

#endif
