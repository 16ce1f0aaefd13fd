/* dot: the few processor instructions that gemm_dot.c uses to multiply pairs of bf16, by name, so that a test can put
 * plain C in their place (DRAM_DOT_EMULATED, tests/device/dot_emulation.h).
 *
 *   AMX          dot_tile_*: eight tiles of 16 rows of 64 bytes; dot_tile_multiply(c, a, b) adds the product of
 *                A [16,32] and B [32,16], whose rows 2k and 2k + 1 lie as pairs in row k, to the fp32 of c [16,16]
 *   AVX512-BF16  dot_sums, 16 floats; dot_multiply(s, a, b) adds a.low b[i].low + a.high b[i].high to each s[i]
 *
 * (Intel 64 and IA-32 Architectures Software Developer's Manual: TDPBF16PS, VDPBF16PS. Both add in fp32 rounded to
 * nearest even and take denormals for zeros, in and out, whatever the thread's control word says.)
 */
#ifndef DRAM_KERNELS_CPU_DOT_H
#define DRAM_KERNELS_CPU_DOT_H

#include <stdint.h>
#include <string.h>

#if defined(DRAM_DOT_EMULATED)

#elif defined(DRAM_DOT_AMX)
#include <immintrin.h>

/* What LDTILECFG reads: palette 1 and the size of each tile, here the largest. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} dot_tile_sizes;
_Static_assert(sizeof(dot_tile_sizes) == 64, "LDTILECFG reads 64 bytes");

static const dot_tile_sizes dot_tiles = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#define dot_tile_begin() _tile_loadconfig(&dot_tiles)
#define dot_tile_end() _tile_release()
/* gcc does not know that a tile is loaded from memory: what was written before must be there. */
#define dot_tile_fence() __asm__ volatile("" ::: "memory")
#define dot_tile_zero(t) _tile_zero(t)
#define dot_tile_load(t, from, step) _tile_loadd(t, from, step)
#define dot_tile_store(t, to, step) _tile_stored(t, to, step)
#define dot_tile_multiply(c, a, b) _tile_dpbf16ps(c, a, b)

#elif defined(DRAM_DOT_AVX512)
#include <immintrin.h>

typedef __m512 dot_sums;
typedef __m512i dot_pairs;

static inline dot_sums dot_zero(void)
{
    return _mm512_setzero_ps();
}

static inline dot_sums dot_load(const float *from)
{
    return _mm512_loadu_ps(from);
}

static inline void dot_store(float *to, dot_sums s)
{
    _mm512_storeu_ps(to, s);
}

static inline dot_pairs dot_load_pairs(const uint32_t *from)
{
    return _mm512_loadu_si512(from);
}

static inline dot_sums dot_multiply(dot_sums s, uint32_t a, dot_pairs b)
{
    return _mm512_dpbf16_ps(s, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}
#endif

#endif
