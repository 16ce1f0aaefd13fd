/* The simulated cuBLASLt and cuDNN, and what the kernels make of their offers: the first time a problem is met an
 * algorithm is chosen that is deterministic and fits the workspace, and it stays. */
#include "helpers.h"
#include "kernels/cuda/choices.h"
#include "kernels/cuda/context.h"
extern "C" {
#include "base/kernel.h"
dram_status dram_cuda_linear(const dram_kernel_args *args);
dram_status dram_cuda_conv2d(const dram_kernel_args *args);
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
        cmocka_unit_test(test_product_is_chosen_once), cmocka_unit_test(test_convolution_is_chosen_once),
        cmocka_unit_test(test_many_choices),           cmocka_unit_test(test_cublaslt_refuses),
        cmocka_unit_test(test_cudnn_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
