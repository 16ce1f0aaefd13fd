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

/* Those of the op list's column `many`. */
#define DECLARE_0(NAME)
#define DECLARE_1(NAME) dram_status dram_cuda_many_##NAME(const dram_kernel_args *const *args, int n);
#define ENTRY_0(NAME)
#define ENTRY_1(NAME) [DRAM_OP_##NAME] = dram_cuda_many_##NAME,

#define X(NAME, MIN_IN, MAX_IN, N_OUT, SAVED_IN, SAVED_OUT, ALIAS, UPDATES, GRAD, TRAIT, QUEUE, MANY, ...)             \
    DECLARE_##MANY(NAME)
DRAM_OP_LIST(X)
#undef X

const dram_kernel_many *dram_cuda_kernels_many(void)
{
    static const dram_kernel_many kernels[DRAM_OP_COUNT] = {
#define X(NAME, MIN_IN, MAX_IN, N_OUT, SAVED_IN, SAVED_OUT, ALIAS, UPDATES, GRAD, TRAIT, QUEUE, MANY, ...)             \
    ENTRY_##MANY(NAME)
        DRAM_OP_LIST(X)
#undef X
    };
    return kernels;
}
