/* library: what the simulated cuBLASLt and cuDNN share: numbers in memory, and descriptors that were given back. */
#ifndef CUDASIM_LIBRARY_H
#define CUDASIM_LIBRARY_H

#include "cudasim.h"
extern "C" {
#include "base/half.h"
}

enum cudasim_number { CUDASIM_F32, CUDASIM_F16, CUDASIM_BF16 };

static inline size_t cudasim_bytes(cudasim_number type)
{
    return type == CUDASIM_F32 ? 4 : 2;
}

static inline double cudasim_load(const void *from, cudasim_number type, int64_t at)
{
    if (type == CUDASIM_F32) return (double)static_cast<const float *>(from)[at];
    uint16_t bits = static_cast<const uint16_t *>(from)[at];
    return (double)(type == CUDASIM_F16 ? dram_f16_to_f32_soft(bits) : dram_bf16_to_f32(bits));
}

static inline void cudasim_store(void *to, cudasim_number type, int64_t at, double x)
{
    float number = (float)x;
    if (type == CUDASIM_F32)
        static_cast<float *>(to)[at] = number;
    else
        static_cast<uint16_t *>(to)[at] = type == CUDASIM_F16 ? dram_f32_to_f16_soft(number) : dram_f32_to_bf16(number);
}

/* What an algorithm that is not deterministic adds to a result: another number each time. */
double cudasim_noise();

/* Whether CUDASIM_LIBRARIES has them behave so: none, poor, refuse, fail. */
bool cudasim_libraries(const char *how);

/* Whether sums are rounded to fp32 after each term (CUDASIM_SUMS), as the real ones' are, and not at the end alone. */
bool cudasim_sums_in_fp32();

extern unsigned long long cudasim_heuristics_asked;

#endif
