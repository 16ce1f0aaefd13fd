/* cudnn: cuDNN's convolutions on the simulated GPU: slow, sums as cublaslt.cpp does, and particular.
 *
 * NHWC alone. In 16 bits the channels of a group must be multiples of 8, as tensor cores want them, and all types the
 * same; in f32 the channels of groups (of more than one) must be multiples of 4. The offers begin with algorithms that
 * will not do: one that fails, one that is not deterministic (and gives wrong numbers), one of too large a workspace,
 * one that rounds otherwise, one of TF32. */
#include <cudnn.h>
#include <stdio.h>
#include <string.h>
#include <string>

#include "library.h"

struct cudnnContext {
    cudaStream_t stream;
};
struct cudnnTensorStruct {
    cudnnDataType_t type;
    int n, c, h, w;
};
struct cudnnFilterStruct {
    cudnnDataType_t type;
    int k, c, h, w;
};
struct cudnnConvolutionStruct {
    int pad, stride, groups;
    cudnnMathType_t math;
};

namespace
{

enum direction { FORWARD, DATA, FILTER };
const char *const function[] = {"cudnnConvolutionForward", "cudnnConvolutionBackwardData",
                                "cudnnConvolutionBackwardFilter"};

std::string last_error; /* told once */

constexpr size_t SMALL = 2048, HUGE_BYTES = (size_t)1 << 40;

cudasim_number number_of(cudnnDataType_t type)
{
    return type == CUDNN_DATA_FLOAT ? CUDASIM_F32 : type == CUDNN_DATA_HALF ? CUDASIM_F16 : CUDASIM_BF16;
}

struct convolution {
    cudnnTensorStruct x, y;
    cudnnFilterStruct w;
    cudnnConvolutionStruct conv;
};

cudnnStatus_t check(const convolution &v)
{
    int h = (v.x.h + 2 * v.conv.pad - v.w.h) / v.conv.stride + 1;
    int w = (v.x.w + 2 * v.conv.pad - v.w.w) / v.conv.stride + 1;
    if (v.y.n != v.x.n || v.y.c != v.w.k || v.y.h != h || v.y.w != w || v.w.c * v.conv.groups != v.x.c ||
        v.w.k % v.conv.groups)
        return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
    if (v.x.type != v.w.type || v.x.type != v.y.type) return CUDNN_STATUS_NOT_SUPPORTED;
    int ci = v.w.c, co = v.w.k / v.conv.groups;
    if (v.x.type != CUDNN_DATA_FLOAT && (ci % 8 || co % 8)) return CUDNN_STATUS_NOT_SUPPORTED;
    if (v.conv.groups > 1 && (ci % 4 || co % 4)) return CUDNN_STATUS_NOT_SUPPORTED;
    return CUDNN_STATUS_SUCCESS;
}

/* The names of the algorithms of a direction, by what they are like. */
struct names {
    int good, noisy, other;
};
const names algorithms[] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, -1, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
     CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED}};

/* Bytes that an algorithm takes. The forward one that takes nothing is not offered first. */
size_t workspace_of(direction d, int algo)
{
    if (algo == algorithms[d].good) return SMALL;
    if (d == FORWARD && algo == CUDNN_CONVOLUTION_FWD_ALGO_GEMM) return HUGE_BYTES;
    return 0;
}

template <typename Algo, typename Offer>
cudnnStatus_t offer(direction d, const convolution &v, int most, int *n, Offer *offers)
{
    cudnnStatus_t status = check(v);
    *n = 0;
    if (most < 1) return CUDNN_STATUS_BAD_PARAM;
    if (status == CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH) return status;
    cudasim_heuristics_asked++;
    auto add = [&](int algo, cudnnStatus_t as, cudnnDeterminism_t determinism, cudnnMathType_t math) {
        if (*n == most || algo < 0 || cudasim_libraries("none")) return;
        Offer *o = &offers[(*n)++];
        memset(o, 0, sizeof *o);
        o->algo = (Algo)algo;
        o->status = as;
        o->time = -1.0f;
        o->memory = as == CUDNN_STATUS_SUCCESS ? workspace_of(d, algo) : 0;
        o->determinism = determinism;
        o->mathType = math;
    };
    const names &a = algorithms[d];
    cudnnMathType_t math = v.x.type == CUDNN_DATA_FLOAT ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
    add(a.good, CUDNN_STATUS_NOT_SUPPORTED, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH);
    add(a.noisy, status, CUDNN_NON_DETERMINISTIC, math);
    add(a.other, status, CUDNN_DETERMINISTIC, math);
    if (v.x.type == CUDNN_DATA_FLOAT && !cudasim_libraries("poor"))
        add(a.good, status, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
    if (d == FORWARD) add(CUDNN_CONVOLUTION_FWD_ALGO_GEMM, status, CUDNN_DETERMINISTIC, math);
    if (cudasim_libraries("poor")) return CUDNN_STATUS_SUCCESS;
    add(a.good, status, CUDNN_DETERMINISTIC, math);
    if (d == FORWARD) add(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, status, CUDNN_DETERMINISTIC, math);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t workspace_size(direction d, const convolution &v, int algo, size_t *bytes)
{
    cudnnStatus_t status = check(v);
    if (!bytes) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (status == CUDNN_STATUS_SUCCESS) *bytes = workspace_of(d, algo);
    return status;
}

struct call {
    direction d;
    convolution v;
    int algo;
    float alpha, beta;
    const void *a, *b; /* x and w; dy and w; x and dy */
    void *out;
    void *workspace;
};

/* sum[to] += a[from] b[by] along the channels of a group: that of y stays, or is the sum's. Tests spend their time
 * here: without the sanitizers, on memory of this file. */
__attribute__((no_sanitize("address", "undefined"))) void add_products(direction d, double *sum, const double *a,
                                                                       const double *b, int64_t y, int64_t x, int64_t w,
                                                                       int n, bool narrow)
{
    auto plus = [narrow](double s, double term) { return narrow ? (double)(float)(s + term) : s + term; };
    if (d == FORWARD) {
        double total = sum[y];
        for (int i = 0; i < n; i++) total = plus(total, a[x + i] * b[w + i]);
        sum[y] = total;
    } else if (d == DATA) {
        for (int i = 0; i < n; i++) sum[x + i] = plus(sum[x + i], a[y] * b[w + i]);
    } else {
        for (int i = 0; i < n; i++) sum[w + i] = plus(sum[w + i], a[x + i] * b[y]);
    }
}

void add_all(direction d, const convolution &v, double *sum, const double *a, const double *b)
{
    const bool narrow = cudasim_sums_in_fp32();
    int ci = v.w.c, co = v.w.k / v.conv.groups, taps = v.w.h * v.w.w;
    for (int n = 0; n < v.y.n; n++)
        for (int oy = 0; oy < v.y.h; oy++)
            for (int ox = 0; ox < v.y.w; ox++)
                for (int tap = 0; tap < taps; tap++) {
                    int iy = oy * v.conv.stride - v.conv.pad + tap / v.w.w;
                    int ix = ox * v.conv.stride - v.conv.pad + tap % v.w.w;
                    if (iy < 0 || iy >= v.x.h || ix < 0 || ix >= v.x.w) continue;
                    int64_t y = (((int64_t)n * v.y.h + oy) * v.y.w + ox) * v.y.c;
                    int64_t x = (((int64_t)n * v.x.h + iy) * v.x.w + ix) * v.x.c;
                    for (int o = 0; o < v.w.k; o++)
                        add_products(d, sum, a, b, y + o, x + o / co * ci, ((int64_t)o * taps + tap) * ci, ci, narrow);
                }
}

int64_t elements(const cudnnTensorStruct &t)
{
    return (int64_t)t.n * t.c * t.h * t.w;
}

void run(const call &c)
{
    const convolution &v = c.v;
    cudasim_number type = number_of(v.x.type);
    int64_t x_n = elements(v.x), y_n = elements(v.y), w_n = (int64_t)v.w.k * v.w.c * v.w.h * v.w.w;
    int64_t a_n = c.d == DATA ? y_n : x_n, b_n = c.d == FILTER ? y_n : w_n;
    int64_t n = c.d == FORWARD ? y_n : c.d == DATA ? x_n : w_n;
    double *a = new double[(size_t)a_n], *b = new double[(size_t)b_n], *sum = new double[(size_t)n]();
    size_t bytes = workspace_of(c.d, c.algo);
    if (bytes) memset(c.workspace, 0xa5, bytes);
    for (int64_t i = 0; i < a_n; i++) a[i] = cudasim_load(c.a, type, i);
    for (int64_t i = 0; i < b_n; i++) b[i] = cudasim_load(c.b, type, i);
    add_all(c.d, v, sum, a, b);
    double wrong = c.algo == algorithms[c.d].noisy ? cudasim_noise() : c.algo == algorithms[c.d].other ? 0.25 : 0.0;
    for (int64_t i = 0; i < n; i++) {
        double result = (double)c.alpha * (sum[i] + wrong);
        if (c.beta != 0.0f) result += (double)c.beta * cudasim_load(c.out, type, i);
        cudasim_store(c.out, type, i, result);
    }
    delete[] a;
    delete[] b;
    delete[] sum;
}

cudnnStatus_t queue(cudnnHandle_t handle, call c, const void *alpha, const void *beta, size_t workspace_bytes)
{
    cudnnStatus_t status = check(c.v);
    if (!handle) return CUDNN_STATUS_NOT_INITIALIZED;
    if (!alpha || !beta || !c.a || !c.b || !c.out) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (c.v.x.type == CUDNN_DATA_FLOAT && c.v.conv.math != CUDNN_FMA_MATH)
        cudasim_fault("%s: an f32 convolution without CUDNN_FMA_MATH is one of TF32", function[c.d]);
    if (workspace_of(c.d, c.algo) > workspace_bytes || (workspace_of(c.d, c.algo) && !c.workspace))
        cudasim_fault("%s: a workspace of %zu bytes where the algorithm takes %zu", function[c.d], workspace_bytes,
                      workspace_of(c.d, c.algo));
    for (const void *pointer : {c.a, c.b, (const void *)c.out})
        if (reinterpret_cast<uintptr_t>(pointer) % 16)
            cudasim_fault("%s: an address that is not a multiple of 16", function[c.d]);
    memcpy(&c.alpha, alpha, sizeof c.alpha);
    memcpy(&c.beta, beta, sizeof c.beta);
    if (cudasim_libraries("refuse")) {
        last_error = std::string(function[c.d]) + ": no kernel for this device";
        return CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH;
    }
    if (cudasim_libraries("fail")) {
        last_error = std::string(function[c.d]) + ": cudaErrorLaunchFailure != cudaSuccess";
        return CUDNN_STATUS_EXECUTION_FAILED;
    }
    cudasim_enqueue(handle->stream, function[c.d], [c] { run(c); });
    return CUDNN_STATUS_SUCCESS;
}

template <typename T> cudnnStatus_t make(T **out)
{
    if (!out) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    *out = new T();
    return CUDNN_STATUS_SUCCESS;
}

} // namespace

extern "C" const char *cudnnGetErrorString(cudnnStatus_t status)
{
    switch (status) {
    case CUDNN_STATUS_SUCCESS:
        return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
        return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
        return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER:
        return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH:
        return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH:
        return "CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH";
    case CUDNN_STATUS_EXECUTION_FAILED:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    case CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED:
        return "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED";
    }
    return "CUDNN_UNKNOWN_STATUS";
}

extern "C" void cudnnGetLastErrorString(char *message, size_t max_size)
{
    if (!message || !max_size) return;
    snprintf(message, max_size, "%s", last_error.c_str());
    last_error.clear();
}

extern "C" cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    static const char key = 0;
    if (cudasim_occupy(&key, "CUDASIM_LIBRARY") != cudaSuccess) {
        last_error = "cudnnCreate: cudaMalloc(&workspace) != cudaSuccess";
        return CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    }
    return make(handle);
}
extern "C" cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t streamId)
{
    if (!handle) return CUDNN_STATUS_NOT_INITIALIZED;
    handle->stream = streamId;
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *tensorDesc)
{
    return make(tensorDesc);
}
extern "C" cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensorDesc)
{
    delete tensorDesc;
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensorDesc, cudnnTensorFormat_t format,
                                                    cudnnDataType_t dataType, int n, int c, int h, int w)
{
    if (!tensorDesc || n < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
    if (format != CUDNN_TENSOR_NHWC) return CUDNN_STATUS_NOT_SUPPORTED;
    *tensorDesc = {dataType, n, c, h, w};
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *filterDesc)
{
    return make(filterDesc);
}
extern "C" cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filterDesc)
{
    delete filterDesc;
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filterDesc, cudnnDataType_t dataType,
                                                    cudnnTensorFormat_t format, int k, int c, int h, int w)
{
    if (!filterDesc || k < 1 || c < 1 || h < 1 || w < 1) return CUDNN_STATUS_BAD_PARAM;
    if (format != CUDNN_TENSOR_NHWC) return CUDNN_STATUS_NOT_SUPPORTED;
    *filterDesc = {dataType, k, c, h, w};
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *convDesc)
{
    return make(convDesc);
}
extern "C" cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convDesc)
{
    delete convDesc;
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convDesc, int pad_h, int pad_w,
                                                         int u, int v, int dilation_h, int dilation_w,
                                                         cudnnConvolutionMode_t mode, cudnnDataType_t computeType)
{
    if (!convDesc || pad_h < 0 || u < 1 || dilation_h < 1) return CUDNN_STATUS_BAD_PARAM;
    if (pad_w != pad_h || v != u || dilation_h != 1 || dilation_w != 1 || mode != CUDNN_CROSS_CORRELATION ||
        computeType != CUDNN_DATA_FLOAT)
        return CUDNN_STATUS_NOT_SUPPORTED;
    *convDesc = {pad_h, u, 1, CUDNN_DEFAULT_MATH};
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convDesc, int groupCount)
{
    if (!convDesc || groupCount < 1) return CUDNN_STATUS_BAD_PARAM;
    convDesc->groups = groupCount;
    return CUDNN_STATUS_SUCCESS;
}
extern "C" cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convDesc, cudnnMathType_t mathType)
{
    if (!convDesc) return CUDNN_STATUS_BAD_PARAM;
    convDesc->math = mathType;
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t srcDesc,
                                                                const cudnnFilterDescriptor_t filterDesc,
                                                                const cudnnConvolutionDescriptor_t convDesc,
                                                                const cudnnTensorDescriptor_t destDesc,
                                                                const int requestedAlgoCount, int *returnedAlgoCount,
                                                                cudnnConvolutionFwdAlgoPerf_t *perfResults)
{
    return offer<cudnnConvolutionFwdAlgo_t>(FORWARD, {*srcDesc, *destDesc, *filterDesc, *convDesc}, requestedAlgoCount,
                                            returnedAlgoCount, perfResults);
}
extern "C" cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t xDesc,
                                                                 const cudnnFilterDescriptor_t wDesc,
                                                                 const cudnnConvolutionDescriptor_t convDesc,
                                                                 const cudnnTensorDescriptor_t yDesc,
                                                                 cudnnConvolutionFwdAlgo_t algo, size_t *sizeInBytes)
{
    return workspace_size(FORWARD, {*xDesc, *yDesc, *wDesc, *convDesc}, algo, sizeInBytes);
}
extern "C" cudnnStatus_t
cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t xDesc, const void *x,
                        const cudnnFilterDescriptor_t wDesc, const void *w, const cudnnConvolutionDescriptor_t convDesc,
                        cudnnConvolutionFwdAlgo_t algo, void *workSpace, size_t workSpaceSizeInBytes, const void *beta,
                        const cudnnTensorDescriptor_t yDesc, void *y)
{
    return queue(handle, {FORWARD, {*xDesc, *yDesc, *wDesc, *convDesc}, algo, 0, 0, x, w, y, workSpace}, alpha, beta,
                 workSpaceSizeInBytes);
}

extern "C" cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t, const cudnnFilterDescriptor_t filterDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t gradDesc, const int requestedAlgoCount,
    int *returnedAlgoCount, cudnnConvolutionBwdDataAlgoPerf_t *perfResults)
{
    return offer<cudnnConvolutionBwdDataAlgo_t>(DATA, {*gradDesc, *diffDesc, *filterDesc, *convDesc},
                                                requestedAlgoCount, returnedAlgoCount, perfResults);
}
extern "C" cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t, const cudnnFilterDescriptor_t wDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t dxDesc,
    cudnnConvolutionBwdDataAlgo_t algo, size_t *sizeInBytes)
{
    return workspace_size(DATA, {*dxDesc, *dyDesc, *wDesc, *convDesc}, algo, sizeInBytes);
}
extern "C" cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha,
                                                      const cudnnFilterDescriptor_t wDesc, const void *w,
                                                      const cudnnTensorDescriptor_t dyDesc, const void *dy,
                                                      const cudnnConvolutionDescriptor_t convDesc,
                                                      cudnnConvolutionBwdDataAlgo_t algo, void *workSpace,
                                                      size_t workSpaceSizeInBytes, const void *beta,
                                                      const cudnnTensorDescriptor_t dxDesc, void *dx)
{
    return queue(handle, {DATA, {*dxDesc, *dyDesc, *wDesc, *convDesc}, algo, 0, 0, dy, w, dx, workSpace}, alpha, beta,
                 workSpaceSizeInBytes);
}

extern "C" cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, const cudnnTensorDescriptor_t srcDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc, const int requestedAlgoCount,
    int *returnedAlgoCount, cudnnConvolutionBwdFilterAlgoPerf_t *perfResults)
{
    return offer<cudnnConvolutionBwdFilterAlgo_t>(FILTER, {*srcDesc, *diffDesc, *gradDesc, *convDesc},
                                                  requestedAlgoCount, returnedAlgoCount, perfResults);
}
extern "C" cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, const cudnnTensorDescriptor_t xDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t *sizeInBytes)
{
    return workspace_size(FILTER, {*xDesc, *dyDesc, *gradDesc, *convDesc}, algo, sizeInBytes);
}
extern "C" cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha,
                                                        const cudnnTensorDescriptor_t xDesc, const void *x,
                                                        const cudnnTensorDescriptor_t dyDesc, const void *dy,
                                                        const cudnnConvolutionDescriptor_t convDesc,
                                                        cudnnConvolutionBwdFilterAlgo_t algo, void *workSpace,
                                                        size_t workSpaceSizeInBytes, const void *beta,
                                                        const cudnnFilterDescriptor_t dwDesc, void *dw)
{
    return queue(handle, {FILTER, {*xDesc, *dyDesc, *dwDesc, *convDesc}, algo, 0, 0, x, dy, dw, workSpace}, alpha, beta,
                 workSpaceSizeInBytes);
}
