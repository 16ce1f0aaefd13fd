#include "device/cuda_libraries.h"

#ifdef DRAM_CUDA_SIM /* linked in */

dram_status dram_cuda_libraries_open(dram_cuda_opened *opened)
{
#define X(LIBRARY, NAME) opened->functions.LIBRARY##_##NAME = LIBRARY##NAME;
    DRAM_CUBLASLT_LIST(X)
    DRAM_CUDNN_LIST(X)
#undef X
    return DRAM_OK;
}

void dram_cuda_libraries_close(dram_cuda_opened *opened)
{
    *opened = (dram_cuda_opened){0};
}

#else

#include <dlfcn.h>

#include "device/symbol.h"

#define TEXT_(X) #X
#define TEXT(X) TEXT_(X)
static const char blas_file[] = "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR);
static const char dnn_file[] = "libcudnn.so." TEXT(CUDNN_MAJOR);

/* Once open, a library stays: some have crashed others, or the driver, when they were taken out of a process that had used
 * them. Closing gives the handle back, and opening again finds the library there. */
static dram_status open_file(const char *file, const char *whose, void **library)
{
    *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (*library) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%s is missing: install %s, or put its folder into LD_LIBRARY_PATH (%s)", file,
                     whose, dlerror());
}

static dram_status find(void *library, const char *file, const char *name, void *function)
{
    if (dram_symbol(library, name, function)) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%s has no %s: it is too old", file, name);
}

dram_status dram_cuda_libraries_open(dram_cuda_opened *opened)
{
    dram_status status;
    *opened = (dram_cuda_opened){0};
    TRY_GOTO(open_file(blas_file, "cuBLAS", &opened->blas), failed);
    TRY_GOTO(open_file(dnn_file, "cuDNN", &opened->dnn), failed);
#define X(LIBRARY, NAME)                                                                                               \
    TRY_GOTO(find(opened->blas, blas_file, #LIBRARY #NAME, &opened->functions.LIBRARY##_##NAME), failed);
    DRAM_CUBLASLT_LIST(X)
#undef X
#define X(LIBRARY, NAME)                                                                                               \
    TRY_GOTO(find(opened->dnn, dnn_file, #LIBRARY #NAME, &opened->functions.LIBRARY##_##NAME), failed);
    DRAM_CUDNN_LIST(X)
#undef X
    return DRAM_OK;
failed:
    dram_cuda_libraries_close(opened);
    return status;
}

void dram_cuda_libraries_close(dram_cuda_opened *opened)
{
    if (opened->blas) dlclose(opened->blas);
    if (opened->dnn) dlclose(opened->dnn);
    *opened = (dram_cuda_opened){0};
}

#endif
