/* profile: what a plan knows of a device: plain data, so that planning needs none. */
#ifndef DRAM_IR_PROFILE_H
#define DRAM_IR_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char name[64];
    bool gpu;                   /* what is in the device's space runs there; what is in host space runs on the CPU */
    int ranks;                  /* devices that work on one effective batch, each with a process and this plan */
    int64_t align;              /* bytes; every offset and size is a multiple of it */
    int workers;                /* compute threads of the CPU, each with scratch of its own */
    int64_t scratch_per_worker; /* bytes an op may ask for a worker */
    int64_t library_bytes;      /* of a GPU: what a call of cuBLAS or cuDNN may ask for */
    /* Of a GPU: what of its memory a process takes beside the arena, for the driver's context and for the libraries and
     * kernels as they are loaded. No offset depends on it. */
    int64_t context_bytes, loaded_bytes;
    int64_t comm_bytes; /* and what joins ranks (NCCL): always assumed; 0 with one rank */
    bool measured;      /* those two, on the card; false: assumed */
} dram_profile;

/* Bytes rounded up to the profile's alignment. */
static inline int64_t dram_aligned(const dram_profile *profile, int64_t bytes)
{
    return (bytes + profile->align - 1) / profile->align * profile->align;
}

/* The CPU with `workers` threads. */
dram_profile dram_profile_cpu(int workers);

/* A CUDA GPU, any, beside a CPU with `workers` threads. Nothing that a plan is made of depends on the card, so one
 * holds on all. */
dram_profile dram_profile_cuda(int workers);

#endif
