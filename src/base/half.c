#include "base/half.h"

#include <immintrin.h>
#include <math.h>

/* PIECE numbers are rounded before they are looked at: what is too large is rare. */
enum { PIECE = 1024 };

__attribute__((target("avx,f16c"))) static void round_by_f16c(const float *x, int64_t n, uint16_t *half)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(half + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) half[i] = dram_f32_to_f16(x[i]);
}

static void round_softly(const float *x, int64_t n, uint16_t *half)
{
    for (int64_t i = 0; i < n; i++) half[i] = dram_f32_to_f16(x[i]);
}

int64_t dram_floats_to_f16(const float *x, int64_t n, uint16_t *half)
{
    /* Every CPU with AVX2 has F16C, of which clang 14 cannot ask. */
    void (*round)(const float *, int64_t, uint16_t *) = __builtin_cpu_supports("avx2") ? round_by_f16c : round_softly;
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t end = n - first < PIECE ? n : first + PIECE;
        int infinite = 0;
        round(x + first, end - first, half + first);
        for (int64_t i = first; i < end; i++) infinite |= (half[i] & 0x7fff) == 0x7c00;
        for (int64_t i = first; infinite && i < end; i++)
            if ((half[i] & 0x7fff) == 0x7c00 && isfinite(x[i])) return i;
    }
    return n;
}
