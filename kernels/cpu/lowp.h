/* lowp: kernels over tensors that are stored in f32, bf16 or f16 and reckoned with in fp32.
 *
 * A kernel is written once, over runs of floats in the first cache:
 *
 *     float a[DRAM_LOWP_RUN], b[DRAM_LOWP_RUN];
 *     const float *x = dram_lowp_load(x_data, dtype, at, n, a); the tensor itself for f32, else a
 *     float *y = dram_lowp_out(y_data, dtype, at, b);            the tensor itself for f32, else b
 *     for (...) y[i] = f(x[i]);
 *     dram_lowp_store(y_data, dtype, at, y, n);                  rounds b into the tensor; nothing to do for f32
 *
 * so that fp32 keeps its speed and its bits. y may be x's buffer where the loop reads an element before it writes it.
 * Where an output lies on an input's bytes, every run is loaded before it is stored; that holds in all types.
 *
 * Offsets and lengths are in elements. Rounding and NaN are those of base/half.h: to nearest even, once.
 */
#ifndef DRAM_KERNELS_CPU_LOWP_H
#define DRAM_KERNELS_CPU_LOWP_H

#include "base/half.h"
#include "kernels/cpu/cpu.h"

/* Floats of a buffer on the stack: two of them and what they are read from stay in half of a first cache of 32 KiB,
 * which two threads may share. */
enum { DRAM_LOWP_RUN = 1024 };

#ifdef __F16C__
static inline void dram_lowp_widen_f16(const uint16_t *from, int64_t n, float *to)
{
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(from + i))));
#endif
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + i))));
    for (; i < n; i++) to[i] = dram_f16_to_f32(from[i]);
}

static inline void dram_lowp_narrow_f16(const float *from, int64_t n, uint16_t *to)
{
    int64_t i = 0;
#ifdef __AVX512F__
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(to + i), _mm512_cvtps_ph(_mm512_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(to + i), _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) to[i] = dram_f32_to_f16(from[i]);
}
#else
static inline void dram_lowp_widen_f16(const uint16_t *from, int64_t n, float *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = dram_f16_to_f32(from[i]);
}

static inline void dram_lowp_narrow_f16(const float *from, int64_t n, uint16_t *to)
{
    for (int64_t i = 0; i < n; i++) to[i] = dram_f32_to_f16(from[i]);
}
#endif

#ifdef __AVX2__
/* Eight numbers rounded to bf16, each in the low half of its place; right but for NaN. */
static inline __m256i dram_lowp_round_bf16(__m256 x)
{
    __m256i u = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
}
#endif

static inline void dram_lowp_narrow_bf16(const float *from, int64_t n, uint16_t *to)
{
    int64_t i = 0;
#ifdef __AVX2__
    for (; i + 16 <= n; i += 16) {
        __m256 a = _mm256_loadu_ps(from + i), b = _mm256_loadu_ps(from + i + 8);
        if (_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q))) { /* NaN among the sixteen */
            for (int64_t k = i; k < i + 16; k++) to[k] = dram_f32_to_bf16(from[k]);
            continue;
        }
        __m256i both = _mm256_packus_epi32(dram_lowp_round_bf16(a), dram_lowp_round_bf16(b));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_permute4x64_epi64(both, 0xd8));
    }
#endif
#pragma omp simd
    for (int64_t k = i; k < n; k++) to[k] = dram_f32_to_bf16(from[k]);
}

/* n elements of a tensor from `at` on, as floats, into `to`: a copy of f32. */
static inline void dram_lowp_widen(const void *base, dram_dtype dtype, int64_t at, int64_t n, float *to)
{
    const uint16_t *from = (const uint16_t *)base + at;
    if (dtype == DRAM_F32) {
        memcpy(to, (const float *)base + at, (size_t)n * sizeof *to);
    } else if (dtype == DRAM_BF16) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) to[i] = dram_bf16_to_f32(from[i]);
    } else {
        dram_lowp_widen_f16(from, n, to);
    }
}

/* n floats, rounded, to a tensor's elements from `at` on: a copy for f32. */
static inline void dram_lowp_narrow(void *base, dram_dtype dtype, int64_t at, const float *from, int64_t n)
{
    uint16_t *to = (uint16_t *)base + at;
    if (dtype == DRAM_F32) {
        memcpy((float *)base + at, from, (size_t)n * sizeof *from);
    } else if (dtype == DRAM_BF16) {
        dram_lowp_narrow_bf16(from, n, to);
    } else {
        dram_lowp_narrow_f16(from, n, to);
    }
}

/* The same elements to read: where they are for f32 (of any length), else in buffer, which has room for n. A base of
 * NULL, an input that was not given, gives NULL. */
static inline const float *dram_lowp_load(const void *base, dram_dtype dtype, int64_t at, int64_t n, float *buffer)
{
    if (!base) return NULL;
    if (dtype == DRAM_F32) return (const float *)base + at;
    dram_lowp_widen(base, dtype, at, n, buffer);
    return buffer;
}

/* Where to write the elements from `at` on, before dram_lowp_store. */
static inline float *dram_lowp_out(void *base, dram_dtype dtype, int64_t at, float *buffer)
{
    return dtype == DRAM_F32 ? (float *)base + at : buffer;
}

/* Puts away what was written where dram_lowp_out said. */
static inline void dram_lowp_store(void *base, dram_dtype dtype, int64_t at, const float *from, int64_t n)
{
    if (dtype != DRAM_F32) dram_lowp_narrow(base, dtype, at, from, n);
}

/* How much of n elements to load at a time: all of them for f32, which needs no buffer. */
static inline int64_t dram_lowp_run(dram_dtype dtype, int64_t n)
{
    return dtype == DRAM_F32 ? n : dram_min(n, DRAM_LOWP_RUN);
}

/* How a tensor [R,C] is passed in blocks that fit a buffer: a multiple of `group` rows whole, or `group` rows of a
 * strip of the channels; f32 in one block. A block lies row by row in its buffer. */
typedef struct {
    int64_t rows, columns;
} dram_lowp_block;

static inline dram_lowp_block dram_lowp_blocks(dram_dtype dtype, int64_t rows, int64_t channels, int64_t group)
{
    if (dtype == DRAM_F32) return (dram_lowp_block){rows, channels};
    const int64_t most = DRAM_LOWP_RUN / group;
    return channels > most ? (dram_lowp_block){group, most} : (dram_lowp_block){most / channels * group, channels};
}

/* dram_lowp_load for `rows` rows of `columns` of the `channels`, the first at element `at`. */
static inline const float *dram_lowp_load_rows(const void *base, dram_dtype dtype, int64_t at, int64_t rows,
                                               int64_t columns, int64_t channels, float *buffer)
{
    if (!base || dtype == DRAM_F32 || columns == channels)
        return dram_lowp_load(base, dtype, at, rows * columns, buffer);
    for (int64_t r = 0; r < rows; r++) dram_lowp_widen(base, dtype, at + r * channels, columns, buffer + r * columns);
    return buffer;
}

static inline void dram_lowp_store_rows(void *base, dram_dtype dtype, int64_t at, const float *from, int64_t rows,
                                        int64_t columns, int64_t channels)
{
    if (dtype == DRAM_F32 || columns == channels) {
        dram_lowp_store(base, dtype, at, from, rows * columns);
        return;
    }
    for (int64_t r = 0; r < rows; r++) dram_lowp_narrow(base, dtype, at + r * channels, from + r * columns, columns);
}

#endif
