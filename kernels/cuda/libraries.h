/* libraries: the functions of cuBLASLt and cuDNN that dram calls, as libs->cublasLt_Create and so on. They are looked
 * up when a GPU is opened (src/device/cuda_libraries.c), so that the program starts where they are not installed.
 * Plain C. */
#ifndef DRAM_KERNELS_CUDA_LIBRARIES_H
#define DRAM_KERNELS_CUDA_LIBRARIES_H

#include <cublasLt.h>
#include <cudnn.h>

/* clang-format off */
#define DRAM_CUBLASLT_LIST(X) \
    X(cublasLt, Create) \
    X(cublasLt, Destroy) \
    X(cublasLt, GetStatusString) \
    X(cublasLt, MatmulDescCreate) \
    X(cublasLt, MatmulDescDestroy) \
    X(cublasLt, MatmulDescSetAttribute) \
    X(cublasLt, MatrixLayoutCreate) \
    X(cublasLt, MatrixLayoutDestroy) \
    X(cublasLt, MatmulPreferenceCreate) \
    X(cublasLt, MatmulPreferenceDestroy) \
    X(cublasLt, MatmulPreferenceSetAttribute) \
    X(cublasLt, MatmulAlgoGetHeuristic) \
    X(cublasLt, MatmulAlgoConfigGetAttribute) \
    X(cublasLt, Matmul)

#define DRAM_CUDNN_LIST(X) \
    X(cudnn, Create) \
    X(cudnn, Destroy) \
    X(cudnn, SetStream) \
    X(cudnn, GetErrorString) \
    X(cudnn, GetLastErrorString) \
    X(cudnn, CreateTensorDescriptor) \
    X(cudnn, DestroyTensorDescriptor) \
    X(cudnn, SetTensor4dDescriptor) \
    X(cudnn, CreateFilterDescriptor) \
    X(cudnn, DestroyFilterDescriptor) \
    X(cudnn, SetFilter4dDescriptor) \
    X(cudnn, CreateConvolutionDescriptor) \
    X(cudnn, DestroyConvolutionDescriptor) \
    X(cudnn, SetConvolution2dDescriptor) \
    X(cudnn, SetConvolutionGroupCount) \
    X(cudnn, SetConvolutionMathType) \
    X(cudnn, GetConvolutionForwardAlgorithm_v7) \
    X(cudnn, GetConvolutionForwardWorkspaceSize) \
    X(cudnn, ConvolutionForward) \
    X(cudnn, GetConvolutionBackwardDataAlgorithm_v7) \
    X(cudnn, GetConvolutionBackwardDataWorkspaceSize) \
    X(cudnn, ConvolutionBackwardData) \
    X(cudnn, GetConvolutionBackwardFilterAlgorithm_v7) \
    X(cudnn, GetConvolutionBackwardFilterWorkspaceSize) \
    X(cudnn, ConvolutionBackwardFilter)
/* clang-format on */

typedef struct {
#define X(LIBRARY, NAME) __typeof__(LIBRARY##NAME) *LIBRARY##_##NAME;
    DRAM_CUBLASLT_LIST(X)
    DRAM_CUDNN_LIST(X)
#undef X
} dram_cuda_libraries;

#endif
