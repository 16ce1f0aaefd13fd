/* state8: optimiser state of 8 bits an element, by blocks.
 *
 * A block is 256 elements, the last one fewer. An element is a code c, standing for codebook[c] times its block's
 * maximum, which is the largest magnitude in the block. Codebooks and rounding are those of block-wise dynamic
 * quantisation (Dettmers, Lewis, Shleifer, Zettlemoyer 2022, "8-bit Optimizers via Block-wise Quantization";
 * bitsandbytes): seven decades 10^(i-6), i = 0..6, each with its numbers spread evenly over [0.1, 1]: 2^i of them for
 * either sign in the signed codebook, 2^(i+1) in the unsigned one, and besides 0 and 1.0 (there is no -1.0).
 *
 * Bytes of n elements, one slot of DRAM_U8: n codes, up to 3 bytes of padding, then an f32 maximum for each block.
 * All bytes zero is a state of zeros.
 */
#ifndef DRAM_BASE_STATE8_H
#define DRAM_BASE_STATE8_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __CUDACC__ /* the functions are for kernels too */
#define DRAM_STATE8 __host__ __device__ static inline
#else
#define DRAM_STATE8 static inline
#endif

enum {
    DRAM_STATE8_BLOCK = 256,        /* elements that share a maximum */
    DRAM_STATE8_MIN_ELEMENTS = 4096 /* smaller tensors are not worth it and stay f32 */
};

DRAM_STATE8 int64_t dram_state8_blocks(int64_t elements)
{
    return (elements + DRAM_STATE8_BLOCK - 1) / DRAM_STATE8_BLOCK;
}

/* Where the maxima begin. */
DRAM_STATE8 int64_t dram_state8_maxima(int64_t elements)
{
    return (elements + 3) / 4 * 4;
}

DRAM_STATE8 int64_t dram_state8_bytes(int64_t elements)
{
    return dram_state8_maxima(elements) + 4 * dram_state8_blocks(elements);
}

/* The same, of a state of that many bytes. */
DRAM_STATE8 int64_t dram_state8_maxima_in(int64_t bytes)
{
    return bytes - 4 * ((bytes - 8) / (DRAM_STATE8_BLOCK + 4) + 1);
}

/* Place a of the numbers that are not negative, of which decade i has per * 2^i: the number. */
DRAM_STATE8 float dram_state8_number(int a, int per)
{
    const float top[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    int i = 0, first = 1; /* decade, and the place where it begins */
    for (; i < 6 && first + (per << i) <= a; i++) first += per << i;
    int n = per << i;
    if (a == 0 || a - first >= n) return a ? 1.0f : 0.0f;
    return (0.1f + 0.9f * ((float)(a - first) + 0.5f) / (float)n) * top[i];
}

/* The number of a code. In the signed codebook 0 is code 127; 127 + a and 127 - a are a number and its negative. */
DRAM_STATE8 float dram_state8_signed_number(int code)
{
    return code < 127 ? -dram_state8_number(127 - code, 1) : dram_state8_number(code - 127, 1);
}

DRAM_STATE8 float dram_state8_unsigned_number(int code)
{
    return dram_state8_number(code, 2);
}

/* From the midpoint between the decade below, of ITS numbers, and this one on: N numbers, as far apart as 1 / SCALE. */
#define DRAM_STATE8_DECADE(TOP, ITS, N)                                                                                \
    above = x > (TOP) * (0.1f + 0.09f / (ITS));                                                                        \
    n = above ? (N) : n;                                                                                               \
    scale = above ? (N) / (0.9f * (TOP)) : scale

/* Place of the number nearest to 0 <= x <= 1 among those that are not negative: 0 is 0.0, then come the decades, whose
 * first has `per` numbers, then 1.0. Selects alone, so that loops around it become vector code. */
DRAM_STATE8 int dram_state8_place(float x, float per)
{
    float n = per, scale = per / (0.9f * 1e-6f), k;
    bool above;
    DRAM_STATE8_DECADE(1e-5f, per, 2 * per);
    DRAM_STATE8_DECADE(1e-4f, 2 * per, 4 * per);
    DRAM_STATE8_DECADE(1e-3f, 4 * per, 8 * per);
    DRAM_STATE8_DECADE(1e-2f, 8 * per, 16 * per);
    DRAM_STATE8_DECADE(1e-1f, 16 * per, 32 * per);
    DRAM_STATE8_DECADE(1.0f, 32 * per, 64 * per);
#ifdef __CUDA_ARCH__ /* nvcc fuses products and sums, and the CPU's place would be another */
    k = __fsub_rn(__fmul_rn(x, scale), __fmul_rn(n, 1.0f / 9.0f));
#else
    k = x * scale - n * (1.0f / 9.0f);
#endif
    k = k > 0.0f ? k : 0.0f;
    k = k < n - 1.0f ? k : n - 1.0f;
    int place = (int)n + (int)k;                                             /* of per = 1; with 2 one less */
    place = x > 1.0f - 0.225f / (64.0f * per) ? 2 * (int)(64 * per) : place; /* 1.0 */
    place = x > 1e-6f * (0.05f + 0.225f / per) ? place : (int)per - 1;       /* 0.0 */
    return place - ((int)per - 1);
}
#undef DRAM_STATE8_DECADE

/* The code of the number nearest to x, or to -x if `negative`; 0 <= x <= 1. */
DRAM_STATE8 uint8_t dram_state8_signed_code(float x, bool negative)
{
    int a = dram_state8_place(x, 1.0f);
    int below = a < 1 ? 1 : (a > 127 ? 127 : a); /* a negative number keeps its sign, and there is no -1.0 */
    return (uint8_t)(negative ? 127 - below : 127 + a);
}

DRAM_STATE8 uint8_t dram_state8_unsigned_code(float x)
{
    return (uint8_t)dram_state8_place(x, 2.0f);
}

#endif
