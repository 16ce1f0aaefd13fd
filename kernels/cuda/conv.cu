/* conv2d and its gradients: which of cuBLASLt, cuDNN and dram's own kernels takes a convolution.
 *
 *   1x1 pixels, stride 1, one group     a plain product: cuBLASLt, like linear
 *   f32                                 cuDNN with fused multiply-adds, no TF32
 *   16 bits, one group                  y and dx by cuDNN on tensor cores; dw, which is f32, by conv_tile.cu
 *   16 bits, groups, or an f32 bias     conv_group.cu for narrow groups, conv_tile.cu
 *   what a library refuses              conv_tile.cu, or conv_any.cu, which refuses nothing
 *
 * A library's algorithm is the first of its offers that is deterministic and fits the workspace (choices.h). */
#include "kernels/cuda/conv.h"

#include <stdio.h>

#include "kernels/cuda/choices.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/say.h"

static dram_cuda_conv describe(const dram_kernel_args *args, const dram_shape *x, const dram_shape *y,
                               const dram_shape *w)
{
    const dram_attr *a = args->attr;
    dram_cuda_conv v = {};
    v.n = (int)x->dim[0];
    v.h = (int)x->dim[1];
    v.w = (int)x->dim[2];
    v.c = (int)x->dim[3];
    v.oh = (int)y->dim[1];
    v.ow = (int)y->dim[2];
    v.o = (int)y->dim[3];
    v.kh = (int)w->dim[1];
    v.kw = (int)w->dim[2];
    v.stride_y = v.stride_x = a->stride;
    v.pad = a->pad;
    v.groups = a->groups;
    v.ci = v.c / v.groups;
    v.co = v.o / v.groups;
    v.dtype = args->in[0].dtype;
    return v;
}

static bool is_product(const dram_cuda_conv *v)
{
    return v->kh == 1 && v->kw == 1 && v->stride_y == 1 && v->pad == 0 && v->groups == 1;
}

/* ---- cuDNN ---- */

static dram_status check(const dram_kernel_args *args, cudnnStatus_t error, const char *what)
{
    char text[DRAM_CUDA_TEXT];
    if (error == CUDNN_STATUS_SUCCESS) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%s: cuDNN says: %s", what,
                     dram_cuda_dnn_text(dram_context(args)->libs, error, text));
}

/* What comes of running a choice. That cuDNN does not support what it has offered is no failure: from now on the choice is
 * not possible, and *done = false. */
static dram_status ran(const dram_kernel_args *args, dram_cuda_choice *c, cudnnStatus_t error, const char *what,
                       bool *done)
{
    char text[DRAM_CUDA_TEXT];
    *done = error == CUDNN_STATUS_SUCCESS;
    if (CUDNN_STATUS_CATEGORY(error) != CUDNN_STATUS_NOT_SUPPORTED) return check(args, error, what);
    c->possible = 0;
    dram_cuda_say_refused(&c->problem, dram_cuda_dnn_text(dram_context(args)->libs, error, text));
    return DRAM_OK;
}

static cudnnDataType_t data_type(dram_dtype dtype)
{
    return dtype == DRAM_F32 ? CUDNN_DATA_FLOAT : dtype == DRAM_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

static dram_status describe_for_cudnn(const dram_kernel_args *args, const dram_cuda_conv *v, dram_cuda_choice *c)
{
    static const char what[] = "a convolution cannot be described";
    const dram_cuda_libraries *libs = dram_context(args)->libs;
    cudnnDataType_t type = data_type(v->dtype);
    TRY(check(args, libs->cudnn_CreateTensorDescriptor(&c->x), what));
    TRY(check(args, libs->cudnn_SetTensor4dDescriptor(c->x, CUDNN_TENSOR_NHWC, type, v->n, v->c, v->h, v->w), what));
    TRY(check(args, libs->cudnn_CreateTensorDescriptor(&c->y), what));
    TRY(check(args, libs->cudnn_SetTensor4dDescriptor(c->y, CUDNN_TENSOR_NHWC, type, v->n, v->o, v->oh, v->ow), what));
    TRY(check(args, libs->cudnn_CreateFilterDescriptor(&c->w), what));
    TRY(check(args, libs->cudnn_SetFilter4dDescriptor(c->w, type, CUDNN_TENSOR_NHWC, v->o, v->ci, v->kh, v->kw), what));
    TRY(check(args, libs->cudnn_CreateConvolutionDescriptor(&c->conv), what));
    TRY(check(args,
              libs->cudnn_SetConvolution2dDescriptor(c->conv, v->pad, v->pad, v->stride_y, v->stride_x, 1, 1,
                                                     CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
              what));
    TRY(check(args, libs->cudnn_SetConvolutionGroupCount(c->conv, v->groups), what));
    cudnnMathType_t math = v->dtype == DRAM_F32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
    return check(args, libs->cudnn_SetConvolutionMathType(c->conv, math), what);
}

/* Of the offers, how many will not do, by why. */
struct refusals {
    int status, order, rounding, math, room;
};

/* Whether an offer will do, and the bytes that it takes. `good` has a bit for each algorithm that sums in fp32 as dram
 * does: products of what lies under the filter, not transforms of it, whose rounding is another. */
template <typename Offer, typename Bytes>
static bool will_do(const dram_kernel_args *args, const dram_cuda_conv *v, const Offer *offer, unsigned good,
                    Bytes bytes_of, const dram_cuda_choice *c, size_t *bytes, refusals *refused)
{
    const dram_cuda_libraries *libs = dram_context(args)->libs;
    /* f32 stays with fused multiply-adds, whatever the offer says: the descriptor decides. */
    cudnnMathType_t math = v->dtype == DRAM_F32 ? CUDNN_FMA_MATH : offer->mathType;
    int *why = NULL;
    if (offer->status != CUDNN_STATUS_SUCCESS)
        why = &refused->status;
    else if (offer->determinism != CUDNN_DETERMINISTIC)
        why = &refused->order;
    else if (!(good >> offer->algo & 1u))
        why = &refused->rounding;
    else if (libs->cudnn_SetConvolutionMathType(c->conv, math) != CUDNN_STATUS_SUCCESS)
        why = &refused->math;
    else if (bytes_of(offer->algo, bytes) != CUDNN_STATUS_SUCCESS || (int64_t)*bytes > args->workspace_bytes)
        why = &refused->room;
    if (why) ++*why;
    return !why;
}

/* Takes the first offer that will do, of those of a kind's own type; `answer` is how cuDNN gave them. */
template <typename Offer, typename Bytes>
static void take_first(const dram_kernel_args *args, const dram_cuda_conv *v, cudnnStatus_t answer, const Offer *offers,
                       int n, unsigned good, Bytes bytes_of, dram_cuda_choice *c)
{
    const dram_cuda_context *context = dram_context(args);
    char text[DRAM_CUDA_TEXT];
    refusals refused = {};
    size_t bytes = 0;
    if (answer != CUDNN_STATUS_SUCCESS) {
        dram_cuda_say(context, &c->problem, "cuDNN offers nothing: %s",
                      dram_cuda_dnn_text(context->libs, answer, text));
        return;
    }
    for (int i = 0; i < n && !c->possible; i++) {
        if (!will_do(args, v, &offers[i], good, bytes_of, c, &bytes, &refused)) continue;
        c->possible = 1;
        c->bytes = (int64_t)bytes;
        c->conv_algo = (int)offers[i].algo;
    }
    if (c->possible)
        snprintf(text, sizeof text, "cuDNN's algorithm %d, %lld bytes; before it of", c->conv_algo,
                 (long long)c->bytes);
    dram_cuda_say(
        context, &c->problem,
        "%s %d offers: %d not supported, %d not deterministic, %d that round otherwise, %d of other arithmetic, %d "
        "of more workspace",
        c->possible ? text : "cuDNN has nothing that will do; of", n, refused.status, refused.order, refused.rounding,
        refused.math, refused.room);
}

enum { OFFERS = 16 };

static void choose_forward(const dram_kernel_args *args, const dram_cuda_conv *v, dram_cuda_choice *c)
{
    const dram_cuda_context *x = dram_context(args);
    cudnnConvolutionFwdAlgoPerf_t offers[OFFERS];
    unsigned good = 1u << CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM |
                    1u << CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM | 1u << CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
    int n = 0;
    cudnnStatus_t answer =
        x->libs->cudnn_GetConvolutionForwardAlgorithm_v7(x->dnn, c->x, c->w, c->conv, c->y, OFFERS, &n, offers);
    take_first(
        args, v, answer, offers, n, good,
        [=](cudnnConvolutionFwdAlgo_t algo, size_t *bytes) {
            return x->libs->cudnn_GetConvolutionForwardWorkspaceSize(x->dnn, c->x, c->w, c->conv, c->y, algo, bytes);
        },
        c);
}

static void choose_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, dram_cuda_choice *c)
{
    const dram_cuda_context *x = dram_context(args);
    cudnnConvolutionBwdDataAlgoPerf_t offers[OFFERS];
    int n = 0;
    cudnnStatus_t answer =
        x->libs->cudnn_GetConvolutionBackwardDataAlgorithm_v7(x->dnn, c->w, c->y, c->conv, c->x, OFFERS, &n, offers);
    take_first(
        args, v, answer, offers, n, 1u << CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
        [=](cudnnConvolutionBwdDataAlgo_t algo, size_t *bytes) {
            return x->libs->cudnn_GetConvolutionBackwardDataWorkspaceSize(x->dnn, c->w, c->y, c->conv, c->x, algo,
                                                                          bytes);
        },
        c);
}

static void choose_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, dram_cuda_choice *c)
{
    const dram_cuda_context *x = dram_context(args);
    cudnnConvolutionBwdFilterAlgoPerf_t offers[OFFERS];
    int n = 0;
    cudnnStatus_t answer =
        x->libs->cudnn_GetConvolutionBackwardFilterAlgorithm_v7(x->dnn, c->x, c->y, c->conv, c->w, OFFERS, &n, offers);
    take_first(
        args, v, answer, offers, n, 1u << CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        [=](cudnnConvolutionBwdFilterAlgo_t algo, size_t *bytes) {
            return x->libs->cudnn_GetConvolutionBackwardFilterWorkspaceSize(x->dnn, c->x, c->y, c->conv, c->w, algo,
                                                                            bytes);
        },
        c);
}

static dram_cuda_problem problem_of(const dram_kernel_args *args, const dram_cuda_conv *v, int kind, const void *from,
                                    const void *by, const void *to)
{
    const int numbers[] = {v->n, v->h, v->w, v->c, v->oh, v->ow, v->o, v->kh, v->kw, v->stride_y, v->pad, v->groups};
    dram_cuda_problem problem;
    memset(&problem, 0, sizeof problem);
    problem.kind = kind;
    problem.in = problem.out = v->dtype;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) problem.number[i] = numbers[i];
    problem.align[0] = dram_cuda_alignment(from);
    problem.align[1] = dram_cuda_alignment(by);
    problem.align[2] = dram_cuda_alignment(to);
    problem.workspace_bytes = args->workspace_bytes;
    return problem;
}

/* The choice for this convolution, made at its first time; its pointers in the order that the kind takes them. */
static dram_status find_choice(const dram_kernel_args *args, const dram_cuda_conv *v, dram_choice_kind kind,
                               const void *from, const void *by, const void *to, dram_cuda_choice **choice)
{
    const dram_cuda_context *context = dram_context(args);
    const dram_cuda_problem problem = problem_of(args, v, kind, from, by, to);
    int fresh;
    TRY(dram_cuda_choices_find(context->choices, &problem, choice, &fresh));
    if (!fresh) return DRAM_OK;
    for (int i = 0; i < 3; i++)
        if (problem.align[i] < 16) { /* cuDNN counts on it, and cannot be told */
            dram_cuda_say(context, &problem, "cuDNN is not asked: it takes addresses that are multiples of 16");
            return DRAM_OK;
        }
    dram_status status = describe_for_cudnn(args, v, *choice);
    if (status != DRAM_OK) {
        dram_cuda_choices_drop(context->choices, context->libs);
        return status;
    }
    if (kind == DRAM_CHOICE_FORWARD) choose_forward(args, v, *choice);
    if (kind == DRAM_CHOICE_DGRAD) choose_dgrad(args, v, *choice);
    if (kind == DRAM_CHOICE_WGRAD) choose_wgrad(args, v, *choice);
    return DRAM_OK;
}

/* Why dram's own kernel takes a convolution: the ops below say when a library is asked. */
static const char *why_own(const dram_cuda_conv *v, dram_choice_kind kind, bool bias)
{
    if (v->refused) return "the library refused";
    if (v->dtype != DRAM_F32 && kind == DRAM_CHOICE_FORWARD && bias) return "no library adds an f32 bias to 16 bits";
    if (v->dtype == DRAM_F32 || is_product(v)) return "the library refused";
    if (v->groups > 1) return "no library is asked for groups in 16 bits";
    return kind == DRAM_CHOICE_WGRAD ? "no library gives an f32 gradient of 16-bit weights" : "the library refused";
}

dram_status dram_cuda_conv_say_own(const dram_kernel_args *args, const dram_cuda_conv *v, dram_choice_kind kind,
                                   bool bias, const char *file)
{
    const dram_cuda_context *context = dram_context(args);
    dram_cuda_problem problem = problem_of(args, v, DRAM_CHOICE_OWN + kind, NULL, NULL, NULL);
    dram_cuda_choice *choice;
    int fresh;
    if (!context->says) return DRAM_OK;
    problem.number[12] = bias;
    TRY(dram_cuda_choices_find(context->choices, &problem, &choice, &fresh));
    if (fresh) dram_cuda_say(context, &problem, "%s, since %s", file, why_own(v, kind, bias));
    return DRAM_OK;
}

/* ---- bias of an f32 y that cuDNN left without ---- */

enum { THREADS = 256 };

template <int V>
__global__ void __launch_bounds__(THREADS) add_bias(float *y, const float *bias, unsigned columns, int64_t n)
{
    for (int64_t at = blockIdx.x * (int64_t)THREADS + threadIdx.x; at < n; at += (int64_t)gridDim.x * THREADS) {
        dram_pack<float, V> numbers = dram_load<float, V>(y + at * V);
        unsigned column = (unsigned)(at % columns) * V;
        for (int i = 0; i < V; i++) numbers.at[i] += bias[column + (unsigned)i];
        dram_store(y + at * V, numbers);
    }
}

static dram_status run_bias(const dram_kernel_args *args, const dram_cuda_conv *v, const float *bias, float *y)
{
    int64_t n = (int64_t)v->n * v->oh * v->ow * v->o;
    if (v->o % 4 == 0 && (uintptr_t)y % 16 == 0)
        return dram_launch(args, add_bias<4>, dram_grid(args, n / 4, THREADS), THREADS, 0, y, bias, (unsigned)v->o / 4,
                           n / 4);
    return dram_launch(args, add_bias<1>, dram_grid(args, n, THREADS), THREADS, 0, y, bias, (unsigned)v->o, n);
}

/* ---- the ops ---- */

DRAM_CUDA_KERNEL(conv2d)
{
    const dram_cuda_context *context = dram_context(args);
    dram_cuda_conv v = describe(args, &args->in[0].shape, &args->out[0].shape, &args->in[1].shape);
    const void *x = args->in[0].data, *w = args->in[1].data;
    const float *bias = (const float *)args->in[2].data, one = 1.0f, zero = 0.0f;
    void *y = args->out[0].data;
    bool wide = v.dtype == DRAM_F32, done;
    if (is_product(&v) && (wide || !bias)) {
        dram_cuda_product p = {};
        p.m = (int64_t)v.n * v.h * v.w;
        p.n = v.o;
        p.k = v.c;
        p.trans_b = true;
        p.in = p.out = v.dtype;
        p.a = x;
        p.b = w;
        p.bias = bias;
        p.c = y;
        TRY(dram_cuda_multiply(args, &p, &done));
        if (done) return DRAM_OK;
    } else if (wide || (v.groups == 1 && !bias)) {
        dram_cuda_choice *c;
        TRY(find_choice(args, &v, DRAM_CHOICE_FORWARD, x, w, y, &c));
        if (c->possible) {
            TRY(ran(args, c,
                    context->libs->cudnn_ConvolutionForward(context->dnn, &one, c->x, x, c->w, w, c->conv,
                                                            (cudnnConvolutionFwdAlgo_t)c->conv_algo, args->workspace,
                                                            (size_t)c->bytes, &zero, c->y, y),
                    "a convolution cannot be run", &done));
            if (done) return bias ? run_bias(args, &v, bias, (float *)y) : DRAM_OK;
        }
    }
    return dram_cuda_conv_forward(args, &v, x, w, bias, y);
}

/* cuDNN adds to what lies in dx: acc goes there first, where it does not lie there already. */
static dram_status run_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, dram_cuda_choice *c, const void *dy,
                             const void *w, const void *acc, void *dx, bool *done)
{
    const dram_cuda_context *context = dram_context(args);
    const float one = 1.0f, beta = acc ? 1.0f : 0.0f;
    if (acc && acc != dx)
        TRY(dram_cuda_check(cudaMemcpyAsync(dx, acc,
                                            (size_t)v->n * (size_t)v->h * (size_t)v->w * (size_t)v->c *
                                                (size_t)dram_dtype_bytes(v->dtype),
                                            cudaMemcpyDeviceToDevice, context->stream),
                            "a gradient cannot be copied"));
    return ran(args, c,
               context->libs->cudnn_ConvolutionBackwardData(context->dnn, &one, c->w, w, c->y, dy, c->conv,
                                                            (cudnnConvolutionBwdDataAlgo_t)c->conv_algo,
                                                            args->workspace, (size_t)c->bytes, &beta, c->x, dx),
               "a convolution's gradient cannot be run", done);
}

DRAM_CUDA_KERNEL(conv2d_dgrad)
{
    dram_cuda_conv v = describe(args, &args->out[0].shape, &args->in[0].shape, &args->in[1].shape);
    const void *dy = args->in[0].data, *w = args->in[1].data, *acc = args->in[2].data;
    void *dx = args->out[0].data;
    bool done;
    if (is_product(&v)) {
        dram_cuda_product p = {};
        p.m = (int64_t)v.n * v.h * v.w;
        p.n = v.c;
        p.k = v.o;
        p.in = p.out = v.dtype;
        p.a = dy;
        p.b = w;
        p.acc = acc;
        p.c = dx;
        TRY(dram_cuda_multiply(args, &p, &done));
        if (done) return DRAM_OK;
    } else if (v.dtype == DRAM_F32 || v.groups == 1) {
        dram_cuda_choice *c;
        TRY(find_choice(args, &v, DRAM_CHOICE_DGRAD, dy, w, dx, &c));
        if (c->possible) {
            TRY(run_dgrad(args, &v, c, dy, w, acc, dx, &done));
            if (done) return DRAM_OK;
        }
    }
    return dram_cuda_conv_dgrad(args, &v, dy, w, acc, dx);
}

DRAM_CUDA_KERNEL(conv2d_wgrad)
{
    const dram_cuda_context *context = dram_context(args);
    dram_cuda_conv v = describe(args, &args->in[0].shape, &args->in[1].shape, &args->out[0].shape);
    const void *x = args->in[0].data, *dy = args->in[1].data;
    const float one = 1.0f, zero = 0.0f;
    float *dw = (float *)args->out[0].data;
    bool done;
    if (is_product(&v)) {
        dram_cuda_product p = {};
        p.m = v.o;
        p.n = v.c;
        p.k = (int64_t)v.n * v.h * v.w;
        p.trans_a = true;
        p.in = v.dtype;
        p.out = DRAM_F32;
        p.a = dy;
        p.b = x;
        p.c = dw;
        TRY(dram_cuda_multiply(args, &p, &done));
        if (done) return DRAM_OK;
    } else if (v.dtype == DRAM_F32) {
        dram_cuda_choice *c;
        TRY(find_choice(args, &v, DRAM_CHOICE_WGRAD, x, dy, dw, &c));
        if (c->possible) {
            TRY(ran(args, c,
                    context->libs->cudnn_ConvolutionBackwardFilter(context->dnn, &one, c->x, x, c->y, dy, c->conv,
                                                                   (cudnnConvolutionBwdFilterAlgo_t)c->conv_algo,
                                                                   args->workspace, (size_t)c->bytes, &zero, c->w, dw),
                    "a weight's gradient cannot be run", &done));
            if (done) return DRAM_OK;
        }
    }
    return dram_cuda_conv_wgrad(args, &v, x, dy, dw);
}
