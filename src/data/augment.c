#include "data/augment.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
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

static void draw_cut(dram_geometry *g, dram_rng *r, double chance)
{
    bool cut = dram_rng_uniform(r) < chance;
    double area = dram_rng_range(r, 0.02, 0.2), ratio = exp(dram_rng_range(r, log(0.3), log(1 / 0.3)));
    double height = fmin(sqrt(area * ratio), 1), width = fmin(sqrt(area / ratio), 1);
    double y = dram_rng_uniform(r) * (1 - height), x = dram_rng_uniform(r) * (1 - width);
    if (!cut) return;
    g->cut_y0 = y;
    g->cut_y1 = y + height;
    g->cut_x0 = x;
    g->cut_x1 = x + width;
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
    g.hue = (float)(6.283185307179586 * dram_rng_range(&r, -augment->hue, augment->hue));
    if (dram_rng_uniform(&r) < augment->gray) g.saturation = 0;
    double chance = dram_rng_uniform(&r), deviation = dram_rng_range(&r, 0.1, 2) / 224;
    if (chance < augment->blur) g.blur = deviation;
    draw_cut(&g, &r, augment->cutout);
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

/* A turn of all colours about the grey axis. */
static void turn_hue(const dram_geometry *g, uint8_t *out, int stride, int height, int width)
{
    float along = cosf(g->hue), third = (1 - along) / 3, across = sinf(g->hue) / sqrtf(3);
    if (g->hue == 0) return;
    for (int y = 0; y < height; y++) {
        uint8_t *p = out + (size_t)y * (size_t)stride;
        for (int x = 0; x < width; x++, p += 3) {
            float from[3] = {p[0], p[1], p[2]}, rest = third * (from[0] + from[1] + from[2]) + 0.5f;
            for (int c = 0; c < 3; c++) {
                float v = along * from[c] + across * (from[(c + 2) % 3] - from[(c + 1) % 3]) + rest;
                p[c] = (uint8_t)(int)(v < 0.0f ? 0.0f : v > 255.0f ? 255.0f : v);
            }
        }
    }
}

/* weight[0..radius], of the middle first; their sum on both sides is 1. */
static int gaussian(double deviation, float *weight, int most)
{
    int radius = (int)ceil(3 * deviation);
    double sum = 0;
    if (radius > most) radius = most;
    for (int i = 0; i <= radius; i++) sum += (i ? 2 : 1) * exp(-0.5 * i * i / (deviation * deviation));
    for (int i = 0; i <= radius; i++) weight[i] = (float)(exp(-0.5 * i * i / (deviation * deviation)) / sum);
    return radius;
}

/* n pixels `step` bytes apart; beyond an end its pixel goes on. line: n pixels of scratch. */
static void blur_line(uint8_t *p, int n, size_t step, const float *weight, int radius, uint8_t *line)
{
    for (int i = 0; i < n; i++) memcpy(line + 3 * i, p + step * (size_t)i, 3);
    for (int i = 0; i < n; i++) {
        float sum[3];
        for (int c = 0; c < 3; c++) sum[c] = 0.5f + weight[0] * line[3 * i + c];
        for (int k = 1; k <= radius; k++) {
            const uint8_t *before = line + 3 * (i < k ? 0 : i - k), *after = line + 3 * (i + k < n ? i + k : n - 1);
            for (int c = 0; c < 3; c++) sum[c] += weight[k] * (float)(before[c] + after[c]);
        }
        for (int c = 0; c < 3; c++) p[step * (size_t)i + (size_t)c] = (uint8_t)(int)(sum[c] < 255.0f ? sum[c] : 255.0f);
    }
}

static dram_status blur(double deviation, uint8_t *out, size_t stride, int height, int width)
{
    enum { MOST = 128 };
    float weight[MOST + 1];
    if (deviation == 0) return DRAM_OK;
    uint8_t *line = dram_alloc(3 * (size_t)larger(height, width));
    if (!line) return dram_fail(DRAM_ERR_MEMORY, "out of host memory while blurring an image");
    int radius = gaussian(deviation, weight, MOST);
    for (int y = 0; y < height; y++) blur_line(out + stride * (size_t)y, width, 3, weight, radius, line);
    for (int x = 0; x < width; x++) blur_line(out + 3 * (size_t)x, height, stride, weight, radius, line);
    dram_free(line);
    return DRAM_OK;
}

/* ImageNet's mean, which is 0 after normalisation. */
static void paint_over(const dram_geometry *g, int size, uint8_t *out, size_t stride, int height, int width)
{
    static const uint8_t mean[3] = {124, 116, 104};
    int y0 = (int)(g->cut_y0 * size + 0.5), y1 = (int)(g->cut_y1 * size + 0.5);
    int x0 = (int)(g->cut_x0 * size + 0.5), x1 = (int)(g->cut_x1 * size + 0.5);
    for (int y = y0; y < y1 && y < height; y++)
        for (int x = x0; x < x1 && x < width; x++) memcpy(out + stride * (size_t)y + 3 * (size_t)x, mean, 3);
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
    turn_hue(g, out, canvas * 3, h, w);
    jitter(g, out, canvas * 3, h, w);
    TRY(blur(g->blur * size, out, stride, h, w));
    paint_over(g, size, out, stride, h, w);
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
