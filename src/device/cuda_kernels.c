#include "device/cuda_kernels.h"

#include "ir/op_list.h"

#define X(NAME, ...) dram_status dram_cuda_##NAME(const dram_kernel_args *args);
DRAM_OP_LIST(X)
#undef X

const dram_kernel *dram_cuda_kernels(void)
{
    static const dram_kernel kernels[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = dram_cuda_##NAME,
        DRAM_OP_LIST(X)
#undef X
    };
    return kernels;
}

/* Of ops whose nodes come by the hundred and are small: the update. */
#define MANY_LIST(X) X(adamw) X(sgd) X(accumulate) X(clear)

#define X(NAME) dram_status dram_cuda_many_##NAME(const dram_kernel_args *const *args, int n);
MANY_LIST(X)
#undef X

const dram_kernel_many *dram_cuda_kernels_many(void)
{
    static const dram_kernel_many kernels[DRAM_OP_COUNT] = {
#define X(NAME) [DRAM_OP_##NAME] = dram_cuda_many_##NAME,
        MANY_LIST(X)
#undef X
    };
    return kernels;
}
