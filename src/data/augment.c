#include "data/augment.h"

#include <string.h>

#include "base/rng.h"

static int larger(int a, int b)
{
    return a > b ? a : b;
}

dram_geometry dram_geometry_fit(int full_height, int full_width)
{
    return (dram_geometry){.box = {0, 0, full_width, full_height},
                           .square = larger(full_height, full_width),
                           .brightness = 1,
                           .contrast = 1,
                           .saturation = 1};
}

dram_geometry dram_geometry_draw(const dram_augment *augment, uint64_t seed, uint64_t sample, int full_height,
                                 int full_width)
{
    dram_geometry g = dram_geometry_fit(full_height, full_width);
    dram_rng r = dram_rng_make(seed, DRAM_RNG_AUGMENT, sample);
    /* every number is drawn whether it is used or not, so that one setting does not change what another draws */
    double scale = dram_rng_range(&r, augment->scale_min, augment->scale_max);
    double at_y = dram_rng_uniform(&r), at_x = dram_rng_uniform(&r);
    g.flip = dram_rng_uniform(&r) < augment->flip;
    float *factors[] = {&g.brightness, &g.contrast, &g.saturation};
    for (int i = 0; i < 3; i++) *factors[i] = (float)dram_rng_range(&r, 1 - augment->jitter, 1 + augment->jitter);
    if (!augment->crop) return g;
    g.square /= scale;
    if (g.square < full_height) {
        g.box.y0 = at_y * (full_height - g.square);
        g.box.y1 = g.box.y0 + g.square;
    }
    if (g.square < full_width) {
        g.box.x0 = at_x * (full_width - g.square);
        g.box.x1 = g.box.x0 + g.square;
    }
    return g;
}

static int valid(double length, double square, int size)
{
    int n = (int)(length * (size / square) + 0.5);
    return n < 1 ? 1 : n > size ? size : n;
}

void dram_geometry_valid(const dram_geometry *g, int size, int *valid_height, int *valid_width)
{
    *valid_height = valid(g->box.y1 - g->box.y0, g->square, size);
    *valid_width = valid(g->box.x1 - g->box.x0, g->square, size);
}

/* v -> contrast * (brightness * v - 127.5) + 127.5, then a blend with its own grey (ITU-R 601). The pivot of the
 * contrast is fixed, not the image's mean, so that every size of one sample gets the same colours. */
static void jitter(const dram_geometry *g, uint8_t *out, int stride, int height, int width)
{
    float gain = g->brightness * g->contrast, offset = 127.5f * (1 - g->contrast), s = g->saturation;
    if (g->brightness == 1 && g->contrast == 1 && s == 1) return;
    for (int y = 0; y < height; y++) {
        uint8_t *p = out + (size_t)y * (size_t)stride;
        for (int x = 0; x < width; x++, p += 3) {
            float grey = (1 - s) * (0.299f * p[0] + 0.587f * p[1] + 0.114f * p[2]);
            for (int c = 0; c < 3; c++) {
                float v = gain * (s * p[c] + grey) + offset + 0.5f;
                v = v < 255.0f ? v : 255.0f;
                p[c] = (uint8_t)(int)(v > 0.0f ? v : 0.0f);
            }
        }
    }
}

dram_status dram_geometry_image(const dram_geometry *g, const dram_image *image, int size, int canvas, uint8_t *out,
                                int *valid_height, int *valid_width)
{
    size_t stride = (size_t)canvas * 3;
    int h, w;
    dram_geometry_valid(g, size, &h, &w);
    dram_box box = {.x0 = image->origin_x + image->scale_x * g->box.x0,
                    .y0 = image->origin_y + image->scale_y * g->box.y0,
                    .x1 = image->origin_x + image->scale_x * g->box.x1,
                    .y1 = image->origin_y + image->scale_y * g->box.y1};
    TRY(dram_resize_rgb(image->pixels, image->height, image->width, box, g->flip, out, (int64_t)stride, h, w));
    jitter(g, out, canvas * 3, h, w);
    for (int y = 0; y < h; y++) memset(out + (size_t)y * stride + (size_t)w * 3, 0, stride - (size_t)w * 3);
    memset(out + (size_t)h * stride, 0, (size_t)(canvas - h) * stride);
    *valid_height = h;
    *valid_width = w;
    return DRAM_OK;
}

dram_status dram_geometry_label(const dram_geometry *g, const dram_label *label, int size, uint8_t ignore_index,
                                uint8_t *out, int64_t *pixels)
{
    int h, w;
    int64_t count = 0;
    dram_geometry_valid(g, size, &h, &w);
    memset(out, ignore_index, (size_t)size * (size_t)size);
    TRY(dram_resize_nearest(label->ids, label->height, label->width, g->box, g->flip, out, size, h, w));
    for (int64_t i = 0; i < (int64_t)size * size; i++) count += out[i] != ignore_index;
    *pixels = count;
    return DRAM_OK;
}

/* Twice the middle of cell `at` against twice the extent, in integers. */
static bool is_inside(int at, int size, int extent, int cells)
{
    return (int64_t)(2 * at + 1) * size < (int64_t)2 * extent * cells;
}

void dram_valid_mask(int size, int height, int width, int cells, float *mask)
{
    for (int i = 0; i < cells; i++)
        for (int j = 0; j < cells; j++)
            mask[i * cells + j] = is_inside(i, size, height, cells) && is_inside(j, size, width, cells) ? 1.0f : 0.0f;
}

bool dram_valid_any(int size, int height, int width, int cells)
{
    return is_inside(0, size, height, cells) && is_inside(0, size, width, cells);
}
