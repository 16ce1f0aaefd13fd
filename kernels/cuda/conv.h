/* conv: the shapes of a convolution, and dram's own kernels for what the libraries do not do, or not to the letter.
 * C++.
 *
 * cuDNN gives y in the type of x and adds biases of that type alone; an f32 bias, and the f32 gradient of a 16-bit
 * weight, are computed here. So is what the libraries refuse. conv_any.cu takes everything; conv_tile.cu takes 16-bit
 * channels in groups of a multiple of 8, conv_group.cu narrow ones of these; both multiply on tensor cores. */
#ifndef DRAM_KERNELS_CUDA_CONV_H
#define DRAM_KERNELS_CUDA_CONV_H

#include "kernels/cuda/choices.h"
#include "kernels/cuda/cuda.cuh"

/* x [n,h,w,c], weight [o,kh,kw,ci], y [n,oh,ow,o]; c = groups ci, o = groups co. Rows are as many images of one pixel,
 * a product with a weight [o,c] a convolution of them. */
struct dram_cuda_conv {
    int n, h, w, c, oh, ow, o, kh, kw, stride_y, stride_x, pad, groups, ci, co;
    dram_dtype dtype; /* of x, y and weight */
    int act;          /* dram_act that forward ends in: NONE, or GELU where there is one group */
    bool refused;     /* a library was asked for it, bias and all */
};

/* y = conv(x) (+ bias) */
dram_status dram_cuda_conv_any_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                       const void *weight, const float *bias, void *y);
/* dx = conv^T(y) (+ acc, which may lie on dx) */
dram_status dram_cuda_conv_any_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                     const void *weight, const void *acc, void *dx);
/* dw, f32. Takes partial sums of it from the workspace, as many as fit. */
dram_status dram_cuda_conv_any_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                     const void *y, float *dw);

/* The same; *done = false where the shape is none of theirs, and nothing was queued. */
dram_status dram_cuda_conv_tile_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                        const void *weight, const float *bias, void *y, bool *done);
dram_status dram_cuda_conv_tile_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                      const void *weight, const void *acc, void *dx, bool *done);
dram_status dram_cuda_conv_tile_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                      const void *y, float *dw, bool *done);
dram_status dram_cuda_conv_group_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                         const void *weight, const float *bias, void *y, bool *done);
dram_status dram_cuda_conv_group_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                       const void *weight, const void *acc, void *dx, bool *done);
dram_status dram_cuda_conv_group_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                       const void *y, float *dw, bool *done);

/* Where the filters stand side by side (a ViT's patches), what a filter sees of a line lies in a piece: as many
 * channels of one wide pixel. The bytes are the same. */
static inline dram_cuda_conv dram_cuda_conv_folded(const dram_cuda_conv *given)
{
    dram_cuda_conv v = *given;
    if (v.groups > 1 || v.pad > 0 || v.kw == 1 || v.kw != v.stride_x || v.w % v.kw != 0) return v;
    v.w /= v.kw;
    v.c *= v.kw;
    v.ci = v.c;
    v.kw = v.stride_x = 1;
    return v;
}

/* Says which file of dram's own kernels took a convolution, and why no library did (say.h). `bias`: it has one. */
dram_status dram_cuda_conv_say_own(const dram_kernel_args *args, const dram_cuda_conv *v, dram_choice_kind kind,
                                   bool bias, const char *file);

static inline const char *dram_cuda_conv_file(bool grouped, bool done)
{
    return grouped ? "conv_group.cu" : done ? "conv_tile.cu" : "conv_any.cu";
}

/* The first of the three that takes it. */
static inline dram_status dram_cuda_conv_forward(const dram_kernel_args *args, const dram_cuda_conv *given,
                                                 const void *x, const void *weight, const float *bias, void *y)
{
    bool grouped, done;
    dram_cuda_conv v = dram_cuda_conv_folded(given);
    TRY(dram_cuda_conv_group_forward(args, &v, x, weight, bias, y, &grouped));
    done = grouped;
    if (!done) TRY(dram_cuda_conv_tile_forward(args, &v, x, weight, bias, y, &done));
    TRY(dram_cuda_conv_say_own(args, given, DRAM_CHOICE_FORWARD, bias, dram_cuda_conv_file(grouped, done)));
    return done ? DRAM_OK : dram_cuda_conv_any_forward(args, &v, x, weight, bias, y);
}
static inline dram_status dram_cuda_conv_dgrad(const dram_kernel_args *args, const dram_cuda_conv *given, const void *y,
                                               const void *weight, const void *acc, void *dx)
{
    bool grouped, done;
    dram_cuda_conv v = dram_cuda_conv_folded(given);
    TRY(dram_cuda_conv_group_dgrad(args, &v, y, weight, acc, dx, &grouped));
    done = grouped;
    if (!done) TRY(dram_cuda_conv_tile_dgrad(args, &v, y, weight, acc, dx, &done));
    TRY(dram_cuda_conv_say_own(args, given, DRAM_CHOICE_DGRAD, false, dram_cuda_conv_file(grouped, done)));
    return done ? DRAM_OK : dram_cuda_conv_any_dgrad(args, &v, y, weight, acc, dx);
}
static inline dram_status dram_cuda_conv_wgrad(const dram_kernel_args *args, const dram_cuda_conv *given, const void *x,
                                               const void *y, float *dw)
{
    bool grouped, done;
    dram_cuda_conv v = dram_cuda_conv_folded(given);
    TRY(dram_cuda_conv_group_wgrad(args, &v, x, y, dw, &grouped));
    done = grouped;
    if (!done) TRY(dram_cuda_conv_tile_wgrad(args, &v, x, y, dw, &done));
    TRY(dram_cuda_conv_say_own(args, given, DRAM_CHOICE_WGRAD, false, dram_cuda_conv_file(grouped, done)));
    return done ? DRAM_OK : dram_cuda_conv_any_wgrad(args, &v, x, y, dw);
}

/* How many partial sums of dw the workspace has room for, 1 at least (then dw itself is written), `most` at most. */
static inline int dram_cuda_conv_parts(const dram_kernel_args *args, const dram_cuda_conv *v, int64_t most)
{
    int64_t bytes = (int64_t)v->o * v->kh * v->kw * v->ci * (int64_t)sizeof(float);
    int64_t parts = args->workspace_bytes / bytes;
    if (parts > most) parts = most;
    return (int)(parts < 1 ? 1 : parts);
}

/* dw = the sum of `parts` partial sums at the workspace's beginning, in one order. */
dram_status dram_cuda_conv_add_parts(const dram_kernel_args *args, const dram_cuda_conv *v, int parts, float *dw);

#endif
