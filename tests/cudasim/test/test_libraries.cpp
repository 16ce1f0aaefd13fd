/* The simulated cuBLASLt and cuDNN, and what the kernels make of their offers: the first time a problem is met an
 * algorithm is chosen that is deterministic and fits the workspace, and it stays. */
#include "helpers.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/context.h"
extern "C" {
#include "base/kernel.h"
#include "base/log.h"
dram_status dram_cuda_linear(const dram_kernel_args *args);
dram_status dram_cuda_linear_wgrad(const dram_kernel_args *args);
dram_status dram_cuda_conv2d(const dram_kernel_args *args);
dram_status dram_cuda_conv2d_dgrad(const dram_kernel_args *args);
dram_status dram_cuda_conv2d_wgrad(const dram_kernel_args *args);
}

namespace
{

enum { ROWS = 5, IN = 8, OUT = 8, ROOM = 1 << 16 };

struct device {
    dram_cuda_libraries libs;
    dram_cuda_context context;
    dram_attr attr;
    dram_kernel_args args;

    device() : libs(), context(), attr(), args()
    {
#define X(LIBRARY, NAME) libs.LIBRARY##_##NAME = LIBRARY##NAME;
        DRAM_CUBLASLT_LIST(X)
        DRAM_CUDNN_LIST(X)
#undef X
        context.stream = new_stream();
        context.multiprocessors = 2;
        context.shared_bytes = 99 << 10;
        context.libs = &libs;
        assert_int_equal(cublasLtCreate(&context.blas), CUBLAS_STATUS_SUCCESS);
        assert_int_equal(cudnnCreate(&context.dnn), CUDNN_STATUS_SUCCESS);
        assert_int_equal(cudnnSetStream(context.dnn, context.stream), CUDNN_STATUS_SUCCESS);
        assert_int_equal(dram_cuda_choices_open(&context.choices), DRAM_OK);
        attr.stride = attr.groups = attr.pad = 1;
        args.n_in = 2;
        args.n_out = 1;
        args.attr = &attr;
        args.device = &context;
        args.workspace = on_device<char>(ROOM);
        args.workspace_bytes = ROOM;
    }
    ~device()
    {
        dram_cuda_choices_close(context.choices, &libs);
        cudnnDestroy(context.dnn);
        cublasLtDestroy(context.blas);
        OK(cudaFree(args.workspace));
        for (int i = 0; i < args.n_in; i++) OK(cudaFree(args.in[i].data));
        OK(cudaFree(args.out[0].data));
        OK(cudaStreamDestroy(context.stream));
    }
    float *tensor(dram_tensor *t, dram_shape shape)
    {
        if (t->data) OK(cudaFree(t->data));
        float *data = on_device<float>((size_t)dram_elements(&shape));
        t->data = data;
        t->dtype = DRAM_F32;
        t->shape = shape;
        return data;
    }
};

dram_shape shape_of(std::vector<int64_t> sizes)
{
    dram_shape shape = {};
    shape.rank = (int)sizes.size();
    for (size_t i = 0; i < sizes.size(); i++) shape.dim[i] = sizes[i];
    return shape;
}

/* Runs a kernel; returns how often a library was asked for its offers. */
int asked(dram_status (*kernel)(const dram_kernel_args *), device &d)
{
    unsigned long long before = cudasim_heuristics();
    assert_int_equal(kernel(&d.args), DRAM_OK);
    OK(cudaStreamSynchronize(d.context.stream));
    return (int)(cudasim_heuristics() - before);
}

void test_product_is_chosen_once(void **)
{
    device d;
    float *x = d.tensor(&d.args.in[0], shape_of({ROWS, IN})), *w = d.tensor(&d.args.in[1], shape_of({OUT, IN}));
    float *y = d.tensor(&d.args.out[0], shape_of({ROWS, OUT}));
    put(x, std::vector<float>(ROWS * IN, 0.5f));
    put(w, std::vector<float>(OUT * IN, 2.0f));
    assert_int_equal(asked(dram_cuda_linear, d), 1);
    assert_int_equal(asked(dram_cuda_linear, d), 0);
    for (float number : get(y, ROWS * OUT)) assert_true(number == IN);
    d.args.workspace_bytes = 100;
    assert_int_equal(asked(dram_cuda_linear, d), 1);
    assert_int_equal(asked(dram_cuda_linear, d), 0);
    for (float number : get(y, ROWS * OUT)) assert_true(number == IN);
    d.args.workspace_bytes = ROOM;
    assert_int_equal(asked(dram_cuda_linear, d), 0);
}

/* Without room for any of cuDNN's algorithms but the one that takes nothing, that one; each of them gives the same. */
void test_convolution_is_chosen_once(void **)
{
    device d;
    float *x = d.tensor(&d.args.in[0], shape_of({1, 3, 3, IN})),
          *w = d.tensor(&d.args.in[1], shape_of({OUT, 3, 3, IN}));
    float *y = d.tensor(&d.args.out[0], shape_of({1, 3, 3, OUT}));
    put(x, std::vector<float>(9 * IN, 0.5f));
    put(w, std::vector<float>(OUT * 9 * IN, 2.0f));
    for (int64_t bytes : {(int64_t)ROOM, (int64_t)0}) {
        d.args.workspace_bytes = bytes;
        assert_int_equal(asked(dram_cuda_conv2d, d), 1);
        assert_int_equal(asked(dram_cuda_conv2d, d), 0);
        std::vector<float> got = get(y, 9 * OUT);
        assert_true(got[4 * OUT] == 9 * IN);
        assert_true(got[0] == 4 * IN);
    }
}

/* ---- libraries that do not want to ---- */

std::vector<std::string> lines; /* of the log */

void keep(void *, dram_log_level, const char *message)
{
    lines.push_back(message);
}

int lines_with(const char *text)
{
    int n = 0;
    for (const std::string &line : lines) n += line.find(text) != std::string::npos;
    return n;
}

/* A kernel with inputs and an output of these shapes, of 0.5s and 2s; each number of its result is one of `good`. */
struct problem {
    dram_status (*kernel)(const dram_kernel_args *);
    std::vector<int64_t> a, b, out;
    std::vector<float> good;
};
const problem problems[] = {
    {dram_cuda_linear, {ROWS, IN}, {OUT, IN}, {ROWS, OUT}, {IN}},
    {dram_cuda_linear_wgrad, {ROWS, IN}, {ROWS, OUT}, {OUT, IN}, {ROWS}},
    {dram_cuda_conv2d, {1, 3, 3, IN}, {OUT, 3, 3, IN}, {1, 3, 3, OUT}, {4 * IN, 6 * IN, 9 * IN}},
    {dram_cuda_conv2d_dgrad, {1, 3, 3, OUT}, {OUT, 3, 3, IN}, {1, 3, 3, IN}, {4 * OUT, 6 * OUT, 9 * OUT}},
    {dram_cuda_conv2d_wgrad, {1, 3, 3, IN}, {1, 3, 3, OUT}, {OUT, 3, 3, IN}, {4, 6, 9}},
};

size_t count_of(const std::vector<int64_t> &sizes)
{
    size_t n = 1;
    for (int64_t size : sizes) n *= (size_t)size;
    return n;
}

dram_status run(device &d, const problem &p)
{
    put(d.tensor(&d.args.in[0], shape_of(p.a)), std::vector<float>(count_of(p.a), 0.5f));
    put(d.tensor(&d.args.in[1], shape_of(p.b)), std::vector<float>(count_of(p.b), 2.0f));
    d.tensor(&d.args.out[0], shape_of(p.out));
    dram_status status = p.kernel(&d.args);
    OK(cudaStreamSynchronize(d.context.stream));
    return status;
}

void check(device &d, const problem &p)
{
    size_t n = count_of(p.out);
    assert_true(n > 0);
    for (float number : get(static_cast<const float *>(d.args.out[0].data), n)) {
        bool good = false;
        for (float one : p.good) good |= number == one;
        if (!good) fail_msg("%g", (double)number);
    }
}

/* Runs all problems twice under a setting of the libraries; the log's lines are those of both times. */
void run_all(const char *how, int says)
{
    lines.clear();
    setenv("CUDASIM_LIBRARIES", how, 1);
    dram_log_set_sink(keep, nullptr);
    for (const problem &p : problems) {
        device d;
        d.context.says = says;
        for (int time = 0; time < 2; time++) {
            assert_int_equal(run(d, p), DRAM_OK);
            check(d, p);
        }
    }
    dram_log_set_sink(nullptr, nullptr);
    unsetenv("CUDASIM_LIBRARIES");
}

/* A library's algorithm is named, once for a problem. */
void test_choices_are_said(void **)
{
    run_all("", 1);
    assert_int_equal(lines.size(), 5);
    assert_int_equal(
        lines_with("product m 5, n 8, k 8, b transposed, f32 to f32, aligned 256 256 256, workspace 65536: "
                   "cuBLASLt's algorithm 66, tile 0, stages 0, split-k 2, 4096 bytes; before it of 6 offers: "
                   "1 not supported, 1 of more workspace, 2 that sum otherwise"),
        1);
    assert_int_equal(lines_with("conv2d 1x3x3x8 to 3x3x8 by 3x3, stride 1, pad 1, groups 1, f32 to f32"), 1);
    assert_int_equal(lines_with("cuDNN's algorithm 1, "), 3);
    run_all("", 0);
    assert_int_equal(lines.size(), 0);
}

/* So is the kernel of dram's own that has to do it, and why. */
void test_refusals_are_said(void **)
{
    run_all("none", 1);
    assert_int_equal(lines.size(), 10);
    assert_int_equal(lines_with("cuBLASLt has nothing that will do; of 0 offers"), 2);
    assert_int_equal(lines_with("cuDNN has nothing that will do; of 0 offers"), 3);
    assert_int_equal(lines_with("conv_any.cu, since the library refused"), 5);
    run_all("poor", 1);
    assert_int_equal(lines.size(), 10);
    assert_int_equal(lines_with("of 4 offers: 1 not supported, 1 of more workspace, 2 that sum otherwise"), 2);
    assert_int_equal(lines_with("of 3 offers: 1 not supported, 0 not deterministic, 1 that round otherwise, 0 of other "
                                "arithmetic, 1 of more workspace"),
                     1);
}

/* A bf16 tensor of these bits. */
void half(dram_tensor *t, std::vector<int64_t> sizes, uint16_t bits = 0)
{
    if (t->data) OK(cudaFree(t->data));
    t->shape = shape_of(sizes);
    t->dtype = DRAM_BF16;
    uint16_t *data = on_device<uint16_t>(count_of(sizes));
    put(data, std::vector<uint16_t>(count_of(sizes), bits));
    t->data = data;
}

/* A bias of 16 bits is the library's to add, by itself or before a GELU; where it refuses, dram's own kernel adds it,
 * and both give the same. */
void test_low_bias(void **)
{
    enum { ONE = 0x3f80, NINE = 0x4110 }; /* bf16; GELU of nine is nine, rounded */
    for (const char *how : {"", "none", "refuse"}) {
        device d;
        lines.clear();
        d.context.says = 1;
        d.args.n_in = 3;
        half(&d.args.in[0], {ROWS, IN}, ONE);
        half(&d.args.in[1], {OUT, IN}, ONE);
        half(&d.args.in[2], {OUT}, ONE);
        half(&d.args.out[0], {ROWS, OUT});
        setenv("CUDASIM_LIBRARIES", how, 1);
        dram_log_set_sink(keep, nullptr);
        for (int act : {DRAM_ACT_NONE, DRAM_ACT_GELU}) {
            d.attr.act = act;
            assert_int_equal(dram_cuda_linear(&d.args), DRAM_OK);
            OK(cudaStreamSynchronize(d.context.stream));
            for (uint16_t bits : get(static_cast<const uint16_t *>(d.args.out[0].data), ROWS * OUT))
                assert_int_equal(bits, NINE);
        }
        dram_log_set_sink(nullptr, nullptr);
        unsetenv("CUDASIM_LIBRARIES");
        assert_int_equal(lines_with("b transposed, with a bias, bf16 to bf16, aligned 256 256 256 256"),
                         how[0] == 'r' ? 2 : 1);
        assert_int_equal(lines_with("cuBLASLt's algorithm"), strcmp(how, "none") == 0 ? 0 : 1);
        assert_int_equal(lines_with("conv_tile.cu, since the library refused"), *how ? 1 : 0);
    }
}

/* The linears of SAM's encoders, 8 images at 1024: the library is asked and has an algorithm for each. They are not run:
 * that fails, after the choice, before an address is looked at. */
void test_teachers_linears(void **)
{
    enum { TOKENS = 8 * 64 * 64 };
    setenv("CUDASIM_LIBRARIES", "fail", 1);
    for (int64_t width : {768, 1024, 1280})
        for (dram_dtype dtype : {DRAM_BF16, DRAM_F16}) {
            const int64_t sizes[][2] = {{width, 3 * width}, {width, width}, {width, 4 * width}, {4 * width, width}};
            device d;
            lines.clear();
            d.context.says = 1;
            d.args.n_in = 3;
            d.args.workspace_bytes = 8 << 20;
            dram_log_set_sink(keep, nullptr);
            for (const auto &size : sizes) {
                d.args.in[0].shape = shape_of({8, 64, 64, size[0]});
                d.args.in[1].shape = shape_of({size[1], size[0]});
                d.args.in[2].shape = shape_of({size[1]});
                d.args.out[0].shape = shape_of({8, 64, 64, size[1]});
                dram_tensor *const all[] = {&d.args.in[0], &d.args.in[1], &d.args.in[2], &d.args.out[0]};
                for (dram_tensor *t : all) {
                    t->dtype = dtype;
                    t->data = reinterpret_cast<void *>(static_cast<uintptr_t>(1) << 40);
                }
                assert_int_equal(dram_cuda_linear(&d.args), DRAM_ERR_RUN);
                dram_error_clear();
                for (dram_tensor *t : all) t->data = nullptr;
                char what[200];
                snprintf(what, sizeof what, "product m %d, n %d, k %d, b transposed, with a bias, ", (int)TOKENS,
                         (int)size[1], (int)size[0]);
                assert_int_equal(lines_with(what), 1);
            }
            dram_log_set_sink(nullptr, nullptr);
            assert_int_equal(lines.size(), 4);
            assert_int_equal(lines_with("cuBLASLt's algorithm 66"), 4);
        }
    unsetenv("CUDASIM_LIBRARIES");
}

/* What 16 bits keep from the libraries. */
void test_own_kernels_are_said(void **)
{
    device d;
    lines.clear();
    d.context.says = 1;
    dram_log_set_sink(keep, nullptr);
    d.args.n_in = 3;
    half(&d.args.in[0], {ROWS, IN});
    half(&d.args.in[1], {OUT, IN});
    put(d.tensor(&d.args.in[2], shape_of({OUT})), std::vector<float>(OUT));
    half(&d.args.out[0], {ROWS, OUT});
    assert_int_equal(dram_cuda_linear(&d.args), DRAM_OK);
    half(&d.args.in[0], {1, 3, 3, IN});
    half(&d.args.in[1], {1, 3, 3, OUT});
    d.tensor(&d.args.out[0], shape_of({OUT, 3, 3, IN}));
    assert_int_equal(dram_cuda_conv2d_wgrad(&d.args), DRAM_OK);
    OK(cudaStreamSynchronize(d.context.stream));
    dram_log_set_sink(nullptr, nullptr);
    assert_int_equal(lines.size(), 2);
    assert_int_equal(lines_with("with a bias, bf16 to bf16, workspace 65536: conv_tile.cu, since no library adds "
                                "an f32 bias to 16 bits"),
                     1);
    assert_int_equal(lines_with("conv_tile.cu, since no library gives an f32 gradient of 16-bit weights"), 1);
}

/* An algorithm that was offered and is then not supported: dram's own kernel, and a warning, once. */
void test_refused_at_the_run(void **)
{
    run_all("refuse", 0);
    assert_int_equal(lines.size(), 5);
    assert_int_equal(lines_with("does not run it (the functionality requested is not supported)"), 2);
    assert_int_equal(lines_with("does not run it (CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH: cudnnConvolution"), 3);
}

/* Any other failure is one, in the library's own words. */
void test_failed_run_is_explained(void **)
{
    setenv("CUDASIM_LIBRARIES", "fail", 1);
    for (const problem &p : problems) {
        device d;
        assert_int_equal(run(d, p), DRAM_ERR_RUN);
        bool product = p.kernel == dram_cuda_linear || p.kernel == dram_cuda_linear_wgrad;
        assert_non_null(strstr(dram_error_text(), product
                                                      ? "cuBLASLt says: the function failed to launch on the GPU"
                                                      : "cuDNN says: CUDNN_STATUS_EXECUTION_FAILED: cudnnConvolution"));
        if (!product) assert_non_null(strstr(dram_error_text(), "cudaErrorLaunchFailure != cudaSuccess"));
        dram_error_clear();
    }
    unsetenv("CUDASIM_LIBRARIES");
}

/* 2^24 and seven ones: in fp32 each one is lost. */
void test_sums_in_fp32(void **)
{
    for (bool narrow : {false, true}) {
        const float good = narrow ? 16777216.0f : 16777224.0f;
        device d;
        std::vector<float> x(9 * IN, 1.0f);
        for (size_t i = 0; i < x.size(); i += IN) x[i] = 16777216.0f;
        if (narrow) setenv("CUDASIM_SUMS", "fp32", 1);
        put(d.tensor(&d.args.in[0], shape_of({9, IN})), x);
        put(d.tensor(&d.args.in[1], shape_of({OUT, IN})), std::vector<float>(OUT * IN, 1.0f));
        float *y = d.tensor(&d.args.out[0], shape_of({9, OUT}));
        assert_int_equal(asked(dram_cuda_linear, d), 1);
        for (float number : get(y, 9 * OUT)) assert_true(number == good);
        d.attr.pad = 0;
        d.attr.stride = 2; /* so that it is no product */
        put(d.tensor(&d.args.in[0], shape_of({1, 3, 3, IN})), x);
        put(d.tensor(&d.args.in[1], shape_of({OUT, 1, 1, IN})), std::vector<float>(OUT * IN, 1.0f));
        y = d.tensor(&d.args.out[0], shape_of({1, 2, 2, OUT}));
        assert_int_equal(asked(dram_cuda_conv2d, d), 1);
        for (float number : get(y, 4 * OUT)) assert_true(number == good);
        unsetenv("CUDASIM_SUMS");
    }
}

void test_many_choices(void **)
{
    enum { MANY = 1000 };
    device d;
    d.args.n_in = 0;
    d.tensor(&d.args.out[0], shape_of({1}));
    for (int round = 0; round < 2; round++)
        for (int64_t i = 0; i < MANY; i++) {
            dram_cuda_problem problem;
            dram_cuda_choice *choice;
            int fresh;
            memset(&problem, 0, sizeof problem);
            problem.number[0] = i;
            assert_int_equal(dram_cuda_choices_find(d.context.choices, &problem, &choice, &fresh), DRAM_OK);
            assert_int_equal(fresh, round == 0);
            if (fresh && i % 7 == 3) { /* filling it in failed: met again, it is fresh again */
                dram_cuda_choices_drop(d.context.choices, &d.libs);
                assert_int_equal(dram_cuda_choices_find(d.context.choices, &problem, &choice, &fresh), DRAM_OK);
                assert_int_equal(fresh, 1);
            }
            if (fresh) choice->bytes = i;
            assert_int_equal(choice->bytes, i);
        }
}

cublasStatus_t offers_for(cudaDataType in, cudaDataType out, int64_t ld)
{
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t offer;
    int n = 0;
    cublasLtCreate(&handle);
    cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&a, in, 4, 4, ld);
    cublasLtMatrixLayoutCreate(&b, in, 4, 4, 4);
    cublasLtMatrixLayoutCreate(&c, out, 4, 4, 4);
    cublasLtMatmulPreferenceCreate(&preference);
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, product, a, b, c, c, preference, 1, &offer, &n);
    cublasLtMatmulPreferenceDestroy(preference);
    for (cublasLtMatrixLayout_t layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(product);
    cublasLtDestroy(handle);
    return status;
}

void test_cublaslt_refuses(void **)
{
    assert_int_equal(offers_for(CUDA_R_32F, CUDA_R_32F, 4), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(offers_for(CUDA_R_16BF, CUDA_R_32F, 4), CUBLAS_STATUS_SUCCESS);
    assert_int_equal(offers_for(CUDA_R_32F, CUDA_R_32F, 3), CUBLAS_STATUS_INVALID_VALUE);
    assert_int_equal(offers_for(CUDA_R_32F, CUDA_R_16BF, 4), CUBLAS_STATUS_NOT_SUPPORTED);
    assert_int_equal(offers_for(CUDA_R_16F, CUDA_R_16BF, 4), CUBLAS_STATUS_NOT_SUPPORTED);
}

cudnnStatus_t bytes_for(cudnnDataType_t in, cudnnDataType_t out, int channels)
{
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    size_t bytes;
    cudnnCreateTensorDescriptor(&x);
    cudnnCreateTensorDescriptor(&y);
    cudnnCreateFilterDescriptor(&w);
    cudnnCreateConvolutionDescriptor(&conv);
    cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, in, 1, channels, 4, 4);
    cudnnSetTensor4dDescriptor(y, CUDNN_TENSOR_NHWC, in, 1, 8, 4, 4);
    cudnnSetFilter4dDescriptor(w, out, CUDNN_TENSOR_NHWC, 8, channels, 3, 3);
    cudnnSetConvolution2dDescriptor(conv, 1, 1, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    cudnnStatus_t status = cudnnGetConvolutionBackwardFilterWorkspaceSize(nullptr, x, y, conv, w,
                                                                          CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, &bytes);
    cudnnDestroyConvolutionDescriptor(conv);
    cudnnDestroyFilterDescriptor(w);
    cudnnDestroyTensorDescriptor(y);
    cudnnDestroyTensorDescriptor(x);
    return status;
}

void test_cudnn_refuses(void **)
{
    assert_int_equal(bytes_for(CUDNN_DATA_FLOAT, CUDNN_DATA_FLOAT, 3), CUDNN_STATUS_SUCCESS);
    assert_int_equal(bytes_for(CUDNN_DATA_BFLOAT16, CUDNN_DATA_BFLOAT16, 8), CUDNN_STATUS_SUCCESS);
    assert_int_equal(bytes_for(CUDNN_DATA_BFLOAT16, CUDNN_DATA_BFLOAT16, 3), CUDNN_STATUS_NOT_SUPPORTED);
    assert_int_equal(bytes_for(CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT, 8), CUDNN_STATUS_NOT_SUPPORTED);
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_product_is_chosen_once),
        cmocka_unit_test(test_convolution_is_chosen_once),
        cmocka_unit_test(test_choices_are_said),
        cmocka_unit_test(test_refusals_are_said),
        cmocka_unit_test(test_low_bias),
        cmocka_unit_test(test_teachers_linears),
        cmocka_unit_test(test_own_kernels_are_said),
        cmocka_unit_test(test_refused_at_the_run),
        cmocka_unit_test(test_failed_run_is_explained),
        cmocka_unit_test(test_sums_in_fp32),
        cmocka_unit_test(test_many_choices),
        cmocka_unit_test(test_cublaslt_refuses),
        cmocka_unit_test(test_cudnn_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
