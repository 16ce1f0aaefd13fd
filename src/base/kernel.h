/* kernel: what every kernel is called with, on every device.
 *
 * Legend of the shapes in this project: N batch, H W height and width, C channels, L tokens, D embedding width,
 * h heads, d = D / h, K classes. Layout is NHWC. Convolution weights are [O, kh, kw, I / groups].
 *
 * A kernel reads its inputs, writes all of its outputs, takes no memory, keeps no state, and gives the same bits for
 * the same inputs and number of workers. An output may lie on an input's bytes only where the op list says so
 * (ir/op_list.h); such kernels read an element before they write it.
 */
#ifndef DRAM_BASE_KERNEL_H
#define DRAM_BASE_KERNEL_H

#include "base/pool.h"
#include "base/status.h"
#include "base/tensor.h"

enum { DRAM_MAX_IN = 9, DRAM_MAX_OUT = 4 };

/* What an op does to its result at the end: batch norm may end in a ReLU, linear in an exact (erf) GELU. */
typedef enum { DRAM_ACT_NONE, DRAM_ACT_RELU, DRAM_ACT_GELU } dram_act;

typedef enum {
    DRAM_RESIZE_BILINEAR,  /* half-pixel centres, no antialias (F.interpolate, align_corners=False) */
    DRAM_RESIZE_BICUBIC_AA /* antialiased on downscaled axes, a = -0.5 (F.interpolate, antialias=True) */
} dram_resize_mode;

typedef enum { DRAM_EMBED_MSE, DRAM_EMBED_COSINE, DRAM_EMBED_HUBER } dram_embed_mode;

/* How ranks add: in the order 0 + x0 + x1 + ..., whose bits depend on nothing but the number of ranks, or as the
 * library likes. */
typedef enum { DRAM_REDUCE_ORDERED, DRAM_REDUCE_FAST } dram_reduce_mode;

/* The attributes of all ops; each op names in ir/op_list.h those it reads, the others are zero. */
typedef struct {
    int stride, pad, groups;   /* convolution: same on both axes; groups >= 1 */
    int out_h, out_w;          /* where the output's size cannot be told from the inputs */
    int first, count;          /* a part of a batch: its first image, and the images of the whole or of the part */
    int dtype;                 /* dram_dtype of the output, where the inputs do not tell it */
    int heads, window;         /* attention: window side, 0 = global */
    int rounded;               /* attention: its weights may be rounded to the type of v, since no gradient comes by */
    int act;                   /* dram_act */
    int mode;                  /* dram_resize_mode, dram_embed_mode or dram_reduce_mode */
    int ranks;                 /* of collectives, and where there are shards: how many there are, at least 2; else 0 */
    int bucket;                /* sums over ranks: those of a number go together (passes/collect.h) */
    int batch_stats;           /* batch norm: mean and var are those of this very x, and take part in the gradient */
    float eps;                 /* norms, optimisers */
    float momentum;            /* running statistics; SGD */
    float beta1, beta2;        /* AdamW */
    float decay;               /* decoupled weight decay */
    float clip;                /* clipping norm, 0 = off */
    float scale;               /* factor; temperature */
    float weight[DRAM_MAX_IN]; /* weighted sum */
    float mean[3], std[3];     /* image normalisation, in units of 0..255 */
    int ignore;                /* class id that takes no part */
} dram_attr;

typedef struct {
    int n_in, n_out;
    dram_tensor in[DRAM_MAX_IN]; /* data is NULL for an optional input that was not given */
    dram_tensor out[DRAM_MAX_OUT];
    const dram_attr *attr;
    void *workspace; /* as many bytes as the op asked for (its `workspace` rule), aligned; contents undefined */
    int64_t workspace_bytes;
    dram_pool *pool; /* the device's compute threads; NULL on a device that has none */
    int rank;        /* of attr->ranks, which this process is: whose shards it has (base/ranks.h) */
    void *device;    /* what the device's own kernels share (kernels/cuda/context.h); NULL on the CPU */
} dram_kernel_args;

typedef dram_status (*dram_kernel)(const dram_kernel_args *args);

/* Does what the op's kernel does for each of n nodes, n >= 1, with the same bits. None writes what another reads or
 * writes, none has a workspace, and their attributes and sizes may differ. */
typedef dram_status (*dram_kernel_many)(const dram_kernel_args *const *args, int n);

/* How many pieces of b there are in a, the last one perhaps smaller. */
static inline int64_t dram_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
