/* resize: antialiased bilinear for images, nearest for labels, from a real-valued box of the source.
 *
 * Pixel i covers [i, i+1), so that box {0,0,W,H} is the whole image. The bilinear filter is the triangle, widened by
 * the scale when it shrinks, as in Pillow's resize(box=...) and torchvision's antialias=True; taps outside the image
 * are dropped and the rest renormalised, and taps outside the box but inside the image are used. Arithmetic is fp32
 * with one rounding at the end.
 */
#ifndef DRAM_DATA_RESIZE_H
#define DRAM_DATA_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Source pixels, x0 < x1 and y0 < y1; may reach outside the image, but must touch it. */
typedef struct {
    double x0, y0, x1, y1;
} dram_box;

/* src u8 [sh,sw,3] -> dst: the rows [0,dh) and columns [0,dw) of an RGB u8 image whose rows are `dst_stride` bytes
 * apart; the other bytes of dst are left alone. flip mirrors left and right. src and dst must not overlap. Takes a few
 * rows of scratch. DRAM_ERR_MEMORY only. */
dram_status dram_resize_rgb(const uint8_t *src, int sh, int sw, dram_box box, bool flip, uint8_t *dst,
                            int64_t dst_stride, int dh, int dw);

/* src u8 [sh,sw] -> dst, the same way, the value of the pixel under each destination pixel's centre. */
dram_status dram_resize_nearest(const uint8_t *src, int sh, int sw, dram_box box, bool flip, uint8_t *dst,
                                int64_t dst_stride, int dh, int dw);

#endif
