/* conv2d and its gradients: see conv.h. A convolution by 1x1 pixels, stride 1, is a plain product. */
#include "kernels/cpu/conv.h"

#include "kernels/cpu/gemm.h"

/* gemm_one widens bf16 and f16 in half of a worker's scratch; the rules see to it that this is enough for it. */
static void share_scratch(dram_conv *v, int64_t bytes)
{
    v->scratch_bytes = bytes / dram_pool_workers(v->pool) / 64 * 64;
    v->gemm_bytes = v->dtype == DRAM_F32 ? 0 : v->scratch_bytes / 2 / 64 * 64;
}

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
                   .dtype = args->in[0].dtype,
                   .out = args->out[0].data,
                   .pool = args->pool,
                   .scratch = args->workspace};
    v.ci = v.c / v.groups;
    v.co = v.o / v.groups;
    v.k = v.kh * v.kw * v.ci;
    v.size = dram_dtype_bytes(v.dtype);
    share_scratch(&v, args->workspace_bytes);
    return v;
}

static bool is_product(const dram_conv *v)
{
    return v->kh == 1 && v->kw == 1 && v->stride == 1 && v->pad == 0 && v->groups == 1;
}

static const void *optional(const dram_kernel_args *args, int i)
{
    return i < args->n_in ? args->in[i].data : NULL;
}

/* Out [m,n] of A [m,k] and B [k,n], either stored the other way round, all in the type of x. */
static dram_gemm product_of(const dram_conv *v, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                            const void *a, const void *b)
{
    return (dram_gemm){.trans_a = trans_a,
                       .trans_b = trans_b,
                       .m = m,
                       .n = n,
                       .k = k,
                       .alpha = 1.0f,
                       .a = a,
                       .lda = trans_a ? m : k,
                       .b = b,
                       .ldb = trans_b ? k : n,
                       .c = v->out,
                       .ldc = n,
                       .a_type = v->dtype,
                       .b_type = v->dtype,
                       .c_type = v->dtype};
}

/* A product of fp32 needs no workspace. */
static void run_product(const dram_kernel_args *args, const dram_gemm *g)
{
    bool low = g->a_type != DRAM_F32;
    DRAM_CPU(gemm)(args->pool, g, low ? args->workspace : NULL, low ? args->workspace_bytes : 0);
}

DRAM_CPU_KERNEL(conv2d)
{
    dram_conv v = describe(args, &args->in[0].shape, &args->out[0].shape, &args->in[1].shape);
    v.x = args->in[0].data;
    v.weight = args->in[1].data;
    v.bias = optional(args, 2);
    if (is_product(&v)) {
        dram_gemm g = product_of(&v, false, true, v.n * v.h * v.w, v.o, v.c, v.x, v.weight);
        g.bias = v.bias;
        run_product(args, &g);
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
        dram_gemm g = product_of(&v, false, false, v.n * v.h * v.w, v.c, v.o, v.y, v.weight);
        g.acc = v.acc;
        run_product(args, &g);
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
    share_scratch(&v, args->workspace_bytes / 2);
    v.partial = (float *)(void *)(v.scratch + dram_pool_workers(v.pool) * v.scratch_bytes);
    v.partial_bytes = args->workspace_bytes - dram_pool_workers(v.pool) * v.scratch_bytes;
    if (is_product(&v)) {
        dram_gemm g = product_of(&v, true, false, v.o, v.c, v.n * v.h * v.w, v.y, v.x);
        g.c_type = DRAM_F32;
        DRAM_CPU(gemm)(v.pool, &g, args->workspace, args->workspace_bytes);
    } else if (!DRAM_CPU(conv_direct_wgrad)(&v)) {
        DRAM_CPU(conv_gather_wgrad)(&v);
    }
    return DRAM_OK;
}
