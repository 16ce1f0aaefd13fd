/* decode_png: libspng under dram's memory hook, for images and for labels. Internal to src/data. */
#ifndef DRAM_DATA_DECODE_PNG_H
#define DRAM_DATA_DECODE_PNG_H

#include <spng.h>
#include <string.h>

#include "data/decode.h"

/* Reads the header of a PNG. *png is the caller's, after a failure too: spng_ctx_free. */
dram_status dram_png_open(const dram_source *source, spng_ctx **png, struct spng_ihdr *header);

/* The status and text of an error of libspng; SPNG_EMEM also for memory that dram has no more of. */
dram_status dram_png_error(const dram_source *source, int error);

/* Bytes that reading rows takes inside libspng and zlib, and in a row or two of ours. */
int64_t dram_png_library_bytes(const struct spng_ihdr *header);

/* Lets the file's texts and profiles take what is left of max_bytes when decoding takes `bytes`, which it may; half of it,
 * for a growing one is held twice. Call it before anything but the header is read. */
dram_status dram_png_limit_chunks(const dram_source *source, spng_ctx *png, int64_t bytes);

/* Samples of a pixel. */
int dram_png_channels(const struct spng_ihdr *header);

/* Bytes of a row as it is stored. */
size_t dram_png_row_bytes(const struct spng_ihdr *header);

/* Sample i of a PNG row: 1, 2, 4 bits (the leftmost in the high bits), or 8. */
static inline int dram_png_sample(const uint8_t *row, int depth, int i)
{
    if (depth == 8) return row[i];
    return row[i * depth / 8] >> (8 - depth - i * depth % 8) & ((1 << depth) - 1);
}

/* The 0xRRGGBB of every grey value or palette index of a file of one channel, DRAM_NO_COLOR where it has none. */
dram_status dram_png_colors(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                            uint32_t color[256]);

#endif
