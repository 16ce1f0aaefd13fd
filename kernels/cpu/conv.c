/* conv2d and its gradients: see conv.h. A convolution by 1x1 pixels, stride 1, is a plain product. */
#include "kernels/cpu/conv.h"

#include "kernels/cpu/gemm.h"

static dram_conv describe(const dram_kernel_args *args, const dram_shape *x, const dram_shape *y, const dram_shape *w)
{
    const dram_attr *attr = args->attr;
    dram_conv v = {.n = x->dim[0],
                   .h = x->dim[1],
                   .w = x->dim[2],
                   .c = x->dim[3],
                   .oh = y->dim[1],
                   .ow = y->dim[2],
                   .o = y->dim[3],
                   .kh = w->dim[1],
                   .kw = w->dim[2],
                   .stride = attr->stride,
                   .pad = attr->pad,
                   .groups = attr->groups,
                   .out = args->out[0].data,
                   .pool = args->pool,
                   .scratch = args->workspace};
    v.ci = v.c / v.groups;
    v.co = v.o / v.groups;
    v.k = v.kh * v.kw * v.ci;
    v.scratch_bytes = args->workspace_bytes / dram_pool_workers(v.pool) / 64 * 64;
    return v;
}

static bool is_product(const dram_conv *v)
{
    return v->kh == 1 && v->kw == 1 && v->stride == 1 && v->pad == 0 && v->groups == 1;
}

static const float *optional(const dram_kernel_args *args, int i)
{
    return i < args->n_in ? args->in[i].data : NULL;
}

DRAM_CPU_KERNEL(conv2d)
{
    dram_conv v = describe(args, &args->in[0].shape, &args->out[0].shape, &args->in[1].shape);
    v.x = args->in[0].data;
    v.weight = args->in[1].data;
    v.bias = optional(args, 2);
    if (is_product(&v)) {
        dram_gemm g = {.trans_b = true,
                       .m = v.n * v.h * v.w,
                       .n = v.o,
                       .k = v.c,
                       .alpha = 1.0f,
                       .a = v.x,
                       .lda = v.c,
                       .b = v.weight,
                       .ldb = v.c,
                       .c = v.out,
                       .ldc = v.o,
                       .bias = v.bias};
        DRAM_CPU(gemm)(v.pool, &g, NULL, 0);
    } else if (!DRAM_CPU(conv_direct_forward)(&v)) {
        DRAM_CPU(conv_gather_forward)(&v);
    }
    return DRAM_OK;
}

DRAM_CPU_KERNEL(conv2d_dgrad)
{
    dram_conv v = describe(args, &args->out[0].shape, &args->in[0].shape, &args->in[1].shape);
    v.y = args->in[0].data;
    v.weight = args->in[1].data;
    v.acc = optional(args, 2);
    if (is_product(&v)) {
        dram_gemm g = {.m = v.n * v.h * v.w,
                       .n = v.c,
                       .k = v.o,
                       .alpha = 1.0f,
                       .a = v.y,
                       .lda = v.o,
                       .b = v.weight,
                       .ldb = v.c,
                       .c = v.out,
                       .ldc = v.c,
                       .acc = v.acc};
        DRAM_CPU(gemm)(v.pool, &g, NULL, 0);
    } else if (!DRAM_CPU(conv_direct_dgrad)(&v)) {
        DRAM_CPU(conv_gather_dgrad)(&v);
    }
    return DRAM_OK;
}

DRAM_CPU_KERNEL(conv2d_wgrad)
{
    dram_conv v = describe(args, &args->in[0].shape, &args->in[1].shape, &args->out[0].shape);
    v.x = args->in[0].data;
    v.y = args->in[1].data;
    /* The rule gives as much for partial sums as for the workers' scratch. */
    v.scratch_bytes = v.scratch_bytes / 2 / 64 * 64;
    v.partial = (float *)(void *)(v.scratch + dram_pool_workers(v.pool) * v.scratch_bytes);
    v.partial_bytes = args->workspace_bytes - dram_pool_workers(v.pool) * v.scratch_bytes;
    if (is_product(&v)) {
        dram_gemm g = {.trans_a = true,
                       .m = v.o,
                       .n = v.c,
                       .k = v.n * v.h * v.w,
                       .alpha = 1.0f,
                       .a = v.y,
                       .lda = v.o,
                       .b = v.x,
                       .ldb = v.c,
                       .c = v.out,
                       .ldc = v.c};
        DRAM_CPU(gemm)(v.pool, &g, args->workspace, args->workspace_bytes);
    } else if (!DRAM_CPU(conv_direct_wgrad)(&v)) {
        DRAM_CPU(conv_gather_wgrad)(&v);
    }
    return DRAM_OK;
}
