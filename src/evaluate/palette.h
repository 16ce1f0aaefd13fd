/* palette: colours for classes. */
#ifndef DRAM_EVALUATE_PALETTE_H
#define DRAM_EVALUATE_PALETTE_H

#include <stdint.h>

typedef struct {
    uint8_t r, g, b;
} dram_color;

/* Colours of classes 0..n-1 (n up to 256), each of them as far as can be, in CIELAB, from all before it; a colour does
 * not depend on n. Neither dark nor pale ones, nor greys, which a photograph is full of. */
void dram_palette(dram_color *colors, int n);

#endif
