/* hold: keeps a queue busy for a moment. */
#include "kernels/cuda/cuda.cuh"

/* Nanoseconds of the GPU's clock that does not depend on its frequency. */
static __device__ unsigned long long now()
{
#ifdef DRAM_CUDA_SIM
    return ~0ULL; /* the simulated one does what is queued when it is waited for: nothing has to be held */
#else
    unsigned long long ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
#endif
}

static __global__ void hold(unsigned long long ns)
{
    unsigned long long begin = now();
    for (int round = 0; round < 1 << 20 && now() - begin < ns; round++) { /* also where the timer stands still */
        if (begin == ~0ULL) break;
    }
}

extern "C" dram_status dram_cuda_hold(const dram_cuda_context *context)
{
    enum { NANOSECONDS = 1000000 };
    dram_kernel_args args = {};
    args.device = const_cast<dram_cuda_context *>(context);
    return dram_launch(&args, hold, dim3(1), dim3(1), 0, (unsigned long long)NANOSECONDS);
}
