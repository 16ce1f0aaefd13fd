/* augment: one geometry a sample, rendered at any size.
 *
 * A geometry says which rectangle of the original image goes where in a square, in no unit of any network. Student
 * image, teacher image and label are each rendered from the decoded source by the same geometry at their own size, so
 * that they show the same scene points and none is a resampled copy of another.
 */
#ifndef DRAM_DATA_AUGMENT_H
#define DRAM_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "data/image.h"
#include "data/resize.h"

/* What training may draw. All zero with scale 1..1 and crop false is the evaluation geometry without jitter. */
typedef struct {
    double scale_min, scale_max; /* factor on the scale that fits the image into the square, uniform; read if crop */
    bool crop;                   /* false: the whole image, fitted; true: scaled, then cut where it sticks out */
    double flip;                 /* probability of mirroring left and right */
    double jitter;               /* 0..1: brightness, contrast, saturation factors uniform in 1 +- jitter; 0: none */
    double hue;                  /* 0..0.5: turn of the hues uniform in +- hue circles */
    double gray, blur, cutout;   /* probabilities: no colours; a Gaussian blur; a rectangle that is painted over */
} dram_augment;

typedef struct {
    dram_box box;  /* source rectangle, original pixels */
    double square; /* original pixels along the side of the square; the rectangle lies at its top left */
    bool flip;     /* mirrors the rectangle in place; the padding stays at the right and at the bottom */
    float brightness, contrast, saturation; /* 1: unchanged */
    float hue;                              /* radians; 0: unchanged */
    double blur;                            /* deviation, of the square's side; 0: none */
    double cut_y0, cut_x0, cut_y1, cut_x1;  /* of the square's side; cut_y1 0: none */
} dram_geometry;

/* SAM's preprocessing: longest side -> side of the square, nothing drawn. */
dram_geometry dram_geometry_fit(int full_height, int full_width);

/* Draws from (seed, DRAM_RNG_AUGMENT, sample) alone; `sample` is the global sample index, the position in the training
 * stream. The rectangle that is painted over is of Random Erasing (Zhong et al. 2020): 2 to 20 % of the square, sides in a
 * ratio of 0.3 to 3.3; the deviation of the blur is that of SimCLR (Chen et al. 2020), 0.1 to 2 pixels of 224. */
dram_geometry dram_geometry_draw(const dram_augment *augment, uint64_t seed, uint64_t sample, int full_height,
                                 int full_width);

/* Valid pixels of a square of `size` (int(x * size / square + 0.5), 1..size); the rest, right and bottom, is
 * padding. */
void dram_geometry_valid(const dram_geometry *g, int size, int *valid_height, int *valid_width);

/* mask[cells*cells]: 1 where the middle of a cell lies on image, for an image whose valid part is height x width of a
 * square of `size` pixels. This is the valid area, downsampled bilinearly, above one half. */
void dram_valid_mask(int size, int height, int width, int cells, float *mask);

/* Whether any cell of that mask is 1: an image too thin has none, and no mean over its cells exists. */
bool dram_valid_any(int size, int height, int width, int cells);

/* Renders the image, with its colours, its blur and what is painted over it, as a square of `size` at the top left of a
 * canvas of that side or more: out u8 [canvas,canvas,3], padding bytes 0. DRAM_ERR_MEMORY only. */
dram_status dram_geometry_image(const dram_geometry *g, const dram_image *image, int size, int canvas, uint8_t *out,
                                int *valid_height, int *valid_width);

/* Renders the label (at original size): out u8 [size,size], padding = ignore_index. *pixels = pixels that are not
 * ignore_index. DRAM_ERR_MEMORY only. */
dram_status dram_geometry_label(const dram_geometry *g, const dram_label *label, int size, uint8_t ignore_index,
                                uint8_t *out, int64_t *pixels);

#endif
