#include "ir/profile.h"

#include <stdio.h>

dram_profile dram_profile_cpu(int workers)
{
    /* 64: a cache line. 1 MiB of scratch a worker stays within a core's L2 and feeds the matrix product well. */
    return (dram_profile){.name = "cpu", .align = 64, .workers = workers, .scratch_per_worker = 1 << 20, .ranks = 1};
}

dram_profile dram_profile_cuda(int workers)
{
    /* 256: what cudaMalloc aligns to, and whole lines of L2. 8 MiB for libraries, if cuda.workspace does not say
     * otherwise: cuBLASLt's products reach their speed with 4 to 32, and a node's workspace lies beside the largest
     * activations. */
    dram_profile profile = dram_profile_cpu(workers);
    snprintf(profile.name, sizeof profile.name, "cuda");
    profile.gpu = true;
    profile.align = 256;
    profile.library_bytes = 8 << 20;
    /* Together the 0.75 GiB that configs/tiers leave of a card. */
    profile.context_bytes = (int64_t)512 << 20;
    profile.loaded_bytes = (int64_t)256 << 20;
    return profile;
}
