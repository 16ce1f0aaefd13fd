/* The reference is a direct double sum over all pixels with the weight of each, written from PyTorch's definition and
 * without the kernel's tables. Weights are rounded to fp32 once, sums have up to 30 x 30 terms with weights that sum to
 * about 1 in absolute value: 16 epsilon. The gradient's weights sum to up to (out / in)^2 = 16 here. */
#include <math.h>
#include <stdlib.h>

#include "optest.h"

static double keys_cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* Weight of sample i for output o, before normalisation. */
static double raw_weight(int mode, int64_t in, int64_t out, int64_t o, int64_t i)
{
    double scale = (double)in / (double)out, centre = ((double)o + 0.5) * scale;
    if (mode == DRAM_RESIZE_BILINEAR) {
        double at = fmin(fmax(centre - 0.5, 0), (double)in - 1);
        return fmax(0, 1 - fabs((double)i - at));
    }
    return keys_cubic(((double)i + 0.5 - centre) / fmax(scale, 1));
}

/* [out,in], to be freed. */
static double *weights(int mode, int64_t in, int64_t out)
{
    double *table = malloc((size_t)(in * out) * sizeof *table);
    if (!table) abort();
    for (int64_t o = 0; o < out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < in; i++) sum += table[o * in + i] = raw_weight(mode, in, out, o, i);
        for (int64_t i = 0; i < in; i++) table[o * in + i] /= sum;
    }
    return table;
}

static void resize_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const dram_shape *x = &c->in[0].shape, *y = &c->out[0];
    bool image = x->rank == 4;
    int64_t n = image ? x->dim[0] : 1, channels = x->dim[x->rank - 1];
    int64_t h = x->dim[image ? 1 : 0], w = image ? x->dim[2] : 1;
    int64_t oh = y->dim[image ? 1 : 0], ow = image ? y->dim[2] : 1;
    double *rows = weights(c->attr.mode, h, oh), *columns = weights(c->attr.mode, w, ow);
    for (int64_t i = 0; i < n * oh * ow * channels; i++) out[0][i] = 0;
    for (int64_t oy = 0; oy < oh; oy++)
        for (int64_t iy = 0; iy < h; iy++) {
            double wy = rows[oy * h + iy];
            for (int64_t ox = 0; wy != 0 && ox < ow; ox++)
                for (int64_t ix = 0; ix < w; ix++) {
                    double wx = columns[ox * w + ix];
                    for (int64_t b = 0; wx != 0 && b < n; b++)
                        for (int64_t k = 0; k < channels; k++)
                            out[0][((b * oh + oy) * ow + ox) * channels + k] +=
                                wy * wx * in[0][((b * h + iy) * w + ix) * channels + k];
                }
        }
    free(rows);
    free(columns);
}

#define EXACT                                                                                                          \
    {                                                                                                                  \
        DBL_MIN, 0                                                                                                     \
    }
#define LINEAR(H, W)                                                                                                   \
    {                                                                                                                  \
        .mode = DRAM_RESIZE_BILINEAR, .out_h = H, .out_w = W                                                           \
    }
#define CUBIC(H, W)                                                                                                    \
    {                                                                                                                  \
        .mode = DRAM_RESIZE_BICUBIC_AA, .out_h = H, .out_w = W                                                         \
    }

static const optest_case resize_cases[] = {
    {.name = "bilinear up", .attr = LINEAR(11, 13), .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}}},
    {.name = "bilinear down", .attr = LINEAR(5, 3), .in = {{OPTEST_SHAPE(2, 11, 7, 3), .grad = true}}},
    {.name = "bilinear up and down", .attr = LINEAR(12, 3), .in = {{OPTEST_SHAPE(1, 3, 12, 5), .grad = true}}},
    {.name = "bilinear x4", .attr = LINEAR(12, 20), .in = {{OPTEST_SHAPE(3, 3, 5, 2), .grad = true}}},
    {.name = "bilinear from one", .attr = LINEAR(4, 3), .in = {{OPTEST_SHAPE(1, 1, 1, 3), .grad = true}}},
    {.name = "bilinear to one", .attr = LINEAR(1, 1), .in = {{OPTEST_SHAPE(1, 5, 6, 3), .grad = true}}},
    {.name = "bilinear same", .attr = LINEAR(5, 7), .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}}, .tol = EXACT},
    {.name = "rows down", .attr = LINEAR(15, 0), .in = {{OPTEST_SHAPE(31, 8), .grad = true}}},
    {.name = "rows up", .attr = LINEAR(31, 1), .in = {{OPTEST_SHAPE(13, 5), .grad = true}}},
    {.name = "rel_pos of 1024 to 512", .attr = LINEAR(63, 1), .in = {{OPTEST_SHAPE(1, 127, 1, 16), .grad = true}}},
    {.name = "rows same", .attr = LINEAR(27, 0), .in = {{OPTEST_SHAPE(27, 3), .grad = true}}, .tol = EXACT},
    {.name = "wide strips", .attr = LINEAR(3, 40), .in = {{OPTEST_SHAPE(1, 2, 37, 301), .grad = true}}},
    {.name = "wide pixels", .attr = LINEAR(3, 5), .in = {{OPTEST_SHAPE(1, 2, 3, 1101), .grad = true}}},
    {.name = "bicubic down", .attr = CUBIC(5, 3), .in = {{OPTEST_SHAPE(2, 13, 11, 3), .grad = true}}},
    {.name = "bicubic up", .attr = CUBIC(11, 13), .in = {{OPTEST_SHAPE(1, 5, 7, 3), .grad = true}}},
    {.name = "bicubic down and up", .attr = CUBIC(4, 17), .in = {{OPTEST_SHAPE(1, 14, 6, 2), .grad = true}}},
    {.name = "bicubic by half", .attr = CUBIC(8, 8), .in = {{OPTEST_SHAPE(1, 16, 16, 4), .grad = true}}},
    {.name = "bicubic doubled", .attr = CUBIC(8, 6), .in = {{OPTEST_SHAPE(1, 4, 3, 4), .grad = true}}},
    {.name = "bicubic to one", .attr = CUBIC(1, 1), .in = {{OPTEST_SHAPE(1, 9, 7, 3), .grad = true}}},
    {.name = "bicubic from one", .attr = CUBIC(3, 2), .in = {{OPTEST_SHAPE(1, 1, 1, 3), .grad = true}}},
    {.name = "bicubic from two", .attr = CUBIC(7, 9), .in = {{OPTEST_SHAPE(1, 2, 2, 3), .grad = true}}},
    {.name = "bicubic same", .attr = CUBIC(6, 5), .in = {{OPTEST_SHAPE(1, 6, 5, 3), .grad = true}}, .tol = EXACT},
    {.name = "bicubic rows", .attr = CUBIC(6, 0), .in = {{OPTEST_SHAPE(17, 3), .grad = true}}},
    {.name = "bicubic wide strips", .attr = CUBIC(2, 9), .in = {{OPTEST_SHAPE(1, 5, 40, 290), .grad = true}}},
    {.name = "no height", .attr = LINEAR(0, 3), .in = {{OPTEST_SHAPE(1, 2, 2, 3)}}, .refused = true},
    {.name = "no width", .attr = LINEAR(3, 0), .in = {{OPTEST_SHAPE(1, 2, 2, 3)}}, .refused = true},
    {.name = "no such mode",
     .attr = {.mode = 7, .out_h = 2, .out_w = 2},
     .in = {{OPTEST_SHAPE(1, 2, 2, 3)}},
     .refused = true},
    {.name = "rank 3", .attr = LINEAR(3, 3), .in = {{OPTEST_SHAPE(2, 2, 3)}}, .refused = true},
    {.name = "bytes", .attr = LINEAR(3, 3), .in = {{OPTEST_SHAPE(1, 2, 2, 3), .dtype = DRAM_U8}}, .refused = true},
};
OPTEST_STORED(resize, resize_ref, resize_cases, .stored = 0x1);
OPTEST_THROUGH(resize_grad, resize);
