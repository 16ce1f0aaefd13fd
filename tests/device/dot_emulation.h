/* dot_emulation: kernels/cpu/dot.h in plain C, so that what is built on it is tested on any processor. Semantics of the
 * Intel SDM's TDPBF16PS and VDPBF16PS: fp32 fused multiply-add rounded to nearest even, denormals taken for zeros in
 * and out. Define DRAM_DOT_AMX or DRAM_DOT_AVX512 beforehand. */
#ifndef TESTS_DEVICE_DOT_EMULATION_H
#define TESTS_DEVICE_DOT_EMULATION_H

#define DRAM_DOT_EMULATED 1

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float dot_flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static inline float dot_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return dot_flush(x);
}

static inline float dot_fma(uint16_t a, uint16_t b, float c)
{
    return dot_flush(fmaf(dot_bf16(a), dot_bf16(b), dot_flush(c)));
}

#ifdef DRAM_DOT_AMX

/* The thread's tiles; rows are as wide as the configuration says, here always all of 16 by 64 bytes. A tile that is
 * used outside dot_tile_begin and dot_tile_end is the processor's #UD: the test looks at dot_misuse. */
static unsigned char dot_tile[8][16][64];
static bool dot_configured, dot_misuse;

static inline void dot_tile_begin(void)
{
    memset(dot_tile, 0, sizeof dot_tile);
    dot_misuse |= dot_configured;
    dot_configured = true;
}

static inline void dot_tile_end(void)
{
    dot_misuse |= !dot_configured;
    dot_configured = false;
    memset(dot_tile, 0xff, sizeof dot_tile); /* NaN for who uses them all the same */
}

static inline void dot_tile_fence(void)
{
}

static inline void dot_tile_zero(int t)
{
    dot_misuse |= !dot_configured;
    memset(dot_tile[t], 0, sizeof dot_tile[t]);
}

static inline void dot_tile_load(int t, const void *from, size_t step)
{
    dot_misuse |= !dot_configured;
    for (size_t r = 0; r < 16; r++) memcpy(dot_tile[t][r], (const char *)from + r * step, 64);
}

static inline void dot_tile_store(int t, void *to, size_t step)
{
    dot_misuse |= !dot_configured;
    for (size_t r = 0; r < 16; r++) memcpy((char *)to + r * step, dot_tile[t][r], 64);
}

/* TDPBF16PS: even and odd elements of K are summed apart from zero, then added to each other, then to c. */
static inline void dot_tile_multiply(int c, int a, int b)
{
    uint16_t ta[16][16][2], tb[16][16][2];
    float tc[16][16];
    dot_misuse |= !dot_configured || c == a || c == b || a == b;
    memcpy(ta, dot_tile[a], sizeof ta);
    memcpy(tb, dot_tile[b], sizeof tb);
    memcpy(tc, dot_tile[c], sizeof tc);
    for (int m = 0; m < 16; m++) {
        float sum[16][2] = {{0}};
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < 16; n++)
                for (int i = 0; i < 2; i++) sum[n][i] = dot_fma(ta[m][k][i], tb[k][n][i], sum[n][i]);
        for (int n = 0; n < 16; n++) tc[m][n] = dot_flush(dot_flush(tc[m][n]) + dot_flush(sum[n][0] + sum[n][1]));
    }
    memcpy(dot_tile[c], tc, sizeof tc);
}

#else

typedef struct {
    float x[16];
} dot_sums;

typedef struct {
    uint32_t x[16];
} dot_pairs;

static inline dot_sums dot_zero(void)
{
    return (dot_sums){{0}};
}

static inline dot_sums dot_load(const float *from)
{
    dot_sums s;
    memcpy(&s, from, sizeof s);
    return s;
}

static inline void dot_store(float *to, dot_sums s)
{
    memcpy(to, &s, sizeof s);
}

static inline dot_pairs dot_load_pairs(const uint32_t *from)
{
    dot_pairs p;
    memcpy(&p, from, sizeof p);
    return p;
}

/* VDPBF16PS: the odd element of the pair first. */
static inline dot_sums dot_multiply(dot_sums s, uint32_t a, dot_pairs b)
{
    for (int i = 0; i < 16; i++) {
        float odd = dot_fma((uint16_t)(a >> 16), (uint16_t)(b.x[i] >> 16), s.x[i]);
        s.x[i] = dot_fma((uint16_t)(a & 0xffffu), (uint16_t)(b.x[i] & 0xffffu), odd);
    }
    return s;
}

#endif

#endif
