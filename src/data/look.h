/* look: what an image file is, without its pixels. */
#ifndef DRAM_DATA_LOOK_H
#define DRAM_DATA_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct {
    const char *format; /* "JPEG", "PNG", "WebP"; static */
    int height, width;  /* as stored: EXIF's orientation 5..8 exchanges them where it is applied */
    int orientation;    /* EXIF's, 1..8; 1 where there is none. Whether it is applied, dram_image_rules say */
    int bits;           /* of a sample, as stored: data.range is about 16 */
} dram_image_header;

/* Reads the header of an image file that is in memory whole; `name` stands for it in messages. Time goes with the
 * number of segments, chunks and 0xff bytes, not with the pixels.
 *
 * DRAM_ERR_FORMAT: it is empty, no JPEG, PNG or WebP (what else it is, if that is known), animated, its header is
 * damaged, or it ends too early. Every file that dram_image_decode takes is taken here. Every file that was cut is
 * refused by both or taken by both. What is damaged inside is seen by dram_image_decode alone. DRAM_ERR_MEMORY: memory
 * is out. */
dram_status dram_image_look(const uint8_t *bytes, size_t n, const char *name, dram_image_header *out);

/* Where `peak`, the largest 16-bit sample of several images, is so far below `range`, their white (data.range), that
 * they are nearly black: how many bits they may have, 8 to 15, as many as hold the peak. Else 0. */
int dram_range_bits(int peak, int range);

/* Whether nobody in this process has warned yet that values are far below data.range (`above`: above it). Who warns of
 * it asks. Any thread. */
bool dram_range_is_news(bool above);

#endif
