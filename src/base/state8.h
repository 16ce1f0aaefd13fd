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

#include <stdint.h>

enum {
    DRAM_STATE8_BLOCK = 256,        /* elements that share a maximum */
    DRAM_STATE8_MIN_ELEMENTS = 4096 /* smaller tensors are not worth it and stay f32 */
};

static inline int64_t dram_state8_blocks(int64_t elements)
{
    return (elements + DRAM_STATE8_BLOCK - 1) / DRAM_STATE8_BLOCK;
}

/* Where the maxima begin. */
static inline int64_t dram_state8_maxima(int64_t elements)
{
    return (elements + 3) / 4 * 4;
}

static inline int64_t dram_state8_bytes(int64_t elements)
{
    return dram_state8_maxima(elements) + 4 * dram_state8_blocks(elements);
}

#endif
