/* Sums of L products of numbers in [-1, 1): the partial sums are about sqrt(L) / 3 large, and L roundings of half an
 * epsilon of that each, adding up like a random walk, stay well below L epsilon. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "optest.h"
#include "types.h"

#define SUM_OF(L)                                                                                                      \
    {                                                                                                                  \
        (L) * FLT_EPSILON, 4 * FLT_EPSILON                                                                             \
    }

/* Each multiply-add of the convolution x [..] * w -> y, by the textbook: into y, x or w. */
OPTEST_UNCHECKED
static void convolve(const dram_attr *a, const dram_shape *xs, const dram_shape *ws, const dram_shape *ys, double *x,
                     double *w, double *y, char into)
{
    int64_t ci = ws->dim[3], co = ws->dim[0] / a->groups;
    for (int64_t n = 0; n < ys->dim[0]; n++)
        for (int64_t oy = 0; oy < ys->dim[1]; oy++)
            for (int64_t ox = 0; ox < ys->dim[2]; ox++)
                for (int64_t o = 0; o < ys->dim[3]; o++)
                    for (int64_t t = 0; t < ws->dim[1] * ws->dim[2]; t++) {
                        int64_t ky = t / ws->dim[2], kx = t % ws->dim[2];
                        int64_t iy = oy * a->stride - a->pad + ky, ix = ox * a->stride - a->pad + kx;
                        if (iy < 0 || iy >= xs->dim[1] || ix < 0 || ix >= xs->dim[2]) continue;
                        double *xp = x + ((n * xs->dim[1] + iy) * xs->dim[2] + ix) * xs->dim[3] + o / co * ci;
                        double *wp = w + (o * ws->dim[1] * ws->dim[2] + t) * ci;
                        double *yp = y + ((n * ys->dim[1] + oy) * ys->dim[2] + ox) * ys->dim[3] + o;
                        for (int64_t i = 0; i < ci; i++) {
                            if (into == 'y') *yp += xp[i] * wp[i];
                            if (into == 'x') xp[i] += *yp * wp[i];
                            if (into == 'w') wp[i] += *yp * xp[i];
                        }
                    }
}

static void conv2d_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t o = c->in[1].shape.dim[0];
    for (int64_t i = 0; i < dram_elements(&c->out[0]); i++) out[0][i] = in[2] ? in[2][i % o] : 0;
    convolve(&c->attr, &c->in[0].shape, &c->in[1].shape, &c->out[0], (double *)(uintptr_t)in[0],
             (double *)(uintptr_t)in[1], out[0], 'y');
}

#define CONV(STRIDE, PAD, GROUPS) .attr = {.stride = STRIDE, .pad = PAD, .groups = GROUPS}
#define X(...)                                                                                                         \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .grad = true                                                                        \
    }

#define IN(...)                                                                                                        \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__)                                                                                      \
    }

static const optest_case conv2d_cases[] = {
    /* wide groups */
    {.name = "3x3",
     CONV(1, 1, 1),
     .in = {X(2, 5, 7, 19), X(13, 3, 3, 19), X(13)},
     .tol = SUM_OF(171),
     .grad_tol = SUM_OF(171)},
    {.name = "3x3 stride 2",
     CONV(2, 1, 1),
     .in = {X(1, 7, 6, 17), X(9, 3, 3, 17)},
     .tol = SUM_OF(153),
     .grad_tol = SUM_OF(153)},
    {.name = "many outputs",
     CONV(1, 1, 1),
     .in = {X(1, 5, 3, 16), X(150, 3, 3, 16), X(150)},
     .tol = SUM_OF(144),
     .grad_tol = SUM_OF(1350)},
    {.name = "1x1",
     CONV(1, 0, 1),
     .in = {X(2, 5, 7, 11), X(13, 1, 1, 11), X(13)},
     .tol = SUM_OF(11),
     .grad_tol = SUM_OF(70)},
    {.name = "1x1 stride 2",
     CONV(2, 0, 1),
     .in = {X(2, 11, 8, 24), X(40, 1, 1, 24)},
     .tol = SUM_OF(24),
     .grad_tol = SUM_OF(48)},
    {.name = "1x1 stride 2 many",
     CONV(2, 0, 1),
     .in = {X(2, 41, 38, 16), X(13, 1, 1, 16)},
     .tol = SUM_OF(16),
     .grad_tol = SUM_OF(798)},
    {.name = "1x1 stride 3 padded",
     CONV(3, 1, 1),
     .in = {X(1, 8, 7, 16), X(5, 1, 1, 16)},
     .tol = SUM_OF(16),
     .grad_tol = SUM_OF(16)},
    {.name = "patches",
     CONV(4, 0, 1),
     .in = {X(2, 12, 8, 20), X(24, 4, 4, 20), X(24)},
     .tol = SUM_OF(320),
     .grad_tol = SUM_OF(24)},
    {.name = "patches of a picture",
     CONV(16, 0, 1),
     .in = {X(1, 48, 32, 3), X(7, 16, 16, 3), X(7)},
     .tol = SUM_OF(768),
     .grad_tol = SUM_OF(7)},
    {.name = "patches, rest left over",
     CONV(4, 0, 1),
     .in = {X(1, 11, 14, 17), X(8, 4, 4, 17), X(8)},
     .tol = SUM_OF(272),
     .grad_tol = SUM_OF(8)},
    {.name = "stride beyond the kernel",
     CONV(5, 1, 1),
     .in = {X(1, 13, 9, 16), X(8, 2, 3, 16)},
     .tol = SUM_OF(96),
     .grad_tol = SUM_OF(8)},
    {.name = "padding beyond the image",
     CONV(1, 3, 1),
     .in = {X(1, 2, 1, 16), X(8, 3, 5, 16), X(8)},
     .tol = SUM_OF(32),
     .grad_tol = SUM_OF(120)},
    {.name = "wide groups",
     CONV(1, 1, 2),
     .in = {X(1, 5, 4, 264), X(10, 3, 3, 132), X(10)},
     .tol = SUM_OF(1188),
     .grad_tol = SUM_OF(45)},
    {.name = "wide groups stride 2",
     CONV(2, 1, 2),
     .in = {X(1, 5, 4, 6), X(260, 3, 3, 3)},
     .tol = SUM_OF(27),
     .grad_tol = SUM_OF(1170)},
    /* narrow groups */
    {.name = "stem",
     CONV(2, 1, 1),
     .in = {X(2, 21, 18, 3), X(32, 3, 3, 3), X(32)},
     .tol = SUM_OF(27),
     .grad_tol = SUM_OF(288)},
    {.name = "groups of 8",
     CONV(1, 1, 3),
     .in = {X(1, 13, 11, 24), X(24, 3, 3, 8), X(24)},
     .tol = SUM_OF(72),
     .grad_tol = SUM_OF(494)},
    {.name = "groups of 8, stride 2",
     CONV(2, 1, 3),
     .in = {X(2, 14, 17, 24), X(24, 3, 3, 8)},
     .tol = SUM_OF(72),
     .grad_tol = SUM_OF(126)},
    {.name = "groups of 16",
     CONV(1, 1, 2),
     .in = {X(1, 11, 9, 32), X(32, 3, 3, 16), X(32)},
     .tol = SUM_OF(144),
     .grad_tol = SUM_OF(144)},
    {.name = "groups of 16, stride 2",
     CONV(2, 1, 2),
     .in = {X(1, 12, 9, 32), X(32, 3, 3, 16)},
     .tol = SUM_OF(144),
     .grad_tol = SUM_OF(144)},
    {.name = "groups of 24",
     CONV(1, 1, 2),
     .in = {X(1, 7, 9, 48), X(48, 3, 3, 24)},
     .tol = SUM_OF(216),
     .grad_tol = SUM_OF(216)},
    {.name = "groups of 24, stride 2",
     CONV(2, 1, 2),
     .in = {X(1, 9, 7, 48), X(48, 3, 3, 24)},
     .tol = SUM_OF(216),
     .grad_tol = SUM_OF(216)},
    {.name = "groups of 56",
     CONV(1, 1, 2),
     .in = {X(1, 3, 2, 112), X(112, 3, 3, 56)},
     .tol = SUM_OF(504),
     .grad_tol = SUM_OF(504)},
    {.name = "groups of 32 and 40",
     CONV(2, 1, 2),
     .in = {X(1, 5, 6, 64), X(80, 3, 3, 32), X(80)},
     .tol = SUM_OF(288),
     .grad_tol = SUM_OF(360)},
    {.name = "groups of 5 and 7",
     CONV(1, 1, 3),
     .in = {X(2, 5, 7, 15), X(21, 3, 3, 5), X(21)},
     .tol = SUM_OF(45),
     .grad_tol = SUM_OF(70)},
    {.name = "groups of 11 and 3, stride 3",
     CONV(3, 2, 2),
     .in = {X(1, 11, 7, 22), X(6, 5, 4, 11), X(6)},
     .tol = SUM_OF(220),
     .grad_tol = SUM_OF(60)},
    {.name = "depthwise",
     CONV(1, 1, 13),
     .in = {X(2, 7, 5, 13), X(13, 3, 3, 1), X(13)},
     .tol = SUM_OF(9),
     .grad_tol = SUM_OF(70)},
    {.name = "depthwise 5x5 stride 2",
     CONV(2, 2, 6),
     .in = {X(1, 11, 7, 6), X(12, 5, 5, 1)},
     .tol = SUM_OF(25),
     .grad_tol = SUM_OF(50)},
    {.name = "groups, 1x1 stride 2",
     CONV(2, 0, 2),
     .in = {X(2, 7, 5, 16), X(32, 1, 1, 8)},
     .tol = SUM_OF(8),
     .grad_tol = SUM_OF(24)},
    {.name = "groups, 1x1",
     CONV(1, 0, 2),
     .in = {X(2, 7, 5, 16), X(32, 1, 1, 8)},
     .tol = SUM_OF(8),
     .grad_tol = SUM_OF(70)},
    {.name = "groups, padding beyond the image",
     CONV(2, 4, 2),
     .in = {X(1, 1, 2, 16), X(16, 3, 3, 8), X(16)},
     .tol = SUM_OF(16),
     .grad_tol = SUM_OF(72)},
    {.name = "groups, stride beyond the kernel",
     CONV(4, 0, 2),
     .in = {X(1, 11, 10, 16), X(16, 3, 2, 8), X(16)},
     .tol = SUM_OF(48),
     .grad_tol = SUM_OF(9)},
    {.name = "one pixel",
     CONV(2, 1, 2),
     .in = {X(1, 1, 1, 16), X(16, 3, 3, 8)},
     .tol = SUM_OF(8),
     .grad_tol = SUM_OF(8)},
    /* Large ones, of which the gradients are tested with the gradient ops below. */
    {.name = "3x3, several tiles",
     CONV(1, 1, 1),
     .in = {IN(3, 31, 29, 24), IN(16, 3, 3, 24), IN(16)},
     .tol = SUM_OF(216)},
    {.name = "1x1 stride 2, several tiles",
     CONV(2, 0, 1),
     .in = {IN(3, 41, 38, 48), IN(104, 1, 1, 48)},
     .tol = SUM_OF(48)},
    {.name = "stem, several tasks", CONV(2, 1, 1), .in = {IN(2, 81, 98, 3), IN(32, 3, 3, 3)}, .tol = SUM_OF(27)},
    {.name = "groups, several tasks", CONV(1, 1, 5), .in = {IN(3, 31, 33, 40), IN(40, 3, 3, 8)}, .tol = SUM_OF(72)},
    {.name = "groups, long rows", CONV(1, 1, 2), .in = {IN(1, 3, 530, 16), IN(16, 3, 3, 8), IN(16)}, .tol = SUM_OF(72)},
    /* with little scratch: of the groups as many are packed as leave room for the next one's filters, and no more */
    {.name = "many groups", CONV(1, 1, 16), .in = {IN(848, 1, 17, 128), IN(128, 3, 3, 8)}, .tol = SUM_OF(24)},
    {.name = "very many outputs", CONV(1, 1, 1), .in = {IN(1, 5, 4, 136), IN(520, 3, 3, 136)}, .tol = SUM_OF(1224)},
    {.name = "groups, several tasks, stride 2",
     CONV(2, 1, 5),
     .in = {IN(3, 61, 63, 40), IN(40, 3, 3, 8)},
     .tol = SUM_OF(72)},
    /* refused */
    {.name = "no stride", CONV(0, 1, 1), .in = {X(1, 5, 5, 3), X(4, 3, 3, 3)}, .refused = true},
    {.name = "no groups", CONV(1, 1, 0), .in = {X(1, 5, 5, 3), X(4, 3, 3, 3)}, .refused = true},
    {.name = "negative padding", CONV(1, -1, 1), .in = {X(1, 5, 5, 3), X(4, 3, 3, 3)}, .refused = true},
    {.name = "other I", CONV(1, 1, 1), .in = {X(1, 5, 5, 4), X(4, 3, 3, 3)}, .refused = true},
    {.name = "groups do not divide O", CONV(1, 1, 2), .in = {X(1, 5, 5, 6), X(5, 3, 3, 3)}, .refused = true},
    {.name = "kernel too large", CONV(1, 0, 1), .in = {X(1, 5, 2, 3), X(4, 3, 3, 3)}, .refused = true},
    {.name = "other bias", CONV(1, 1, 1), .in = {X(1, 5, 5, 3), X(4, 3, 3, 3), X(3)}, .refused = true},
    {.name = "rank", CONV(1, 1, 1), .in = {X(5, 5, 3), X(4, 3, 3, 3)}, .refused = true},
    {.name = "bytes",
     CONV(1, 1, 1),
     .in = {{OPTEST_SHAPE(1, 5, 5, 3), .dtype = DRAM_U8}, X(4, 3, 3, 3)},
     .refused = true},
};

/* A NaN in one pixel of one group is a NaN in the outputs of that group that see the pixel, one in the bias is a NaN in
 * its channel, and there is none elsewhere: rounding neither loses nor spreads it. That of the bias has all bits set,
 * which rounding as if it were a number would carry into the sign. */
static int nan_failures(dram_kernel conv2d, dram_dtype dtype)
{
    enum { H = 5, W = 7, C = 16, GROUP = 8, NAN_Y = 2, NAN_X = 3, NAN_C = 11 };
    static uint16_t x[H * W * C], w[C * 9 * GROUP], y[H * W * C];
    static _Alignas(64) char workspace[64 << 10];
    const dram_attr attr = {.stride = 1, .pad = 1, .groups = C / GROUP};
    const dram_shape image = DRAM_SHAPE(1, H, W, C), filter = DRAM_SHAPE(C, 3, 3, GROUP);
    const uint32_t all_bits = 0x7fffffff;
    float bias[C] = {0};
    double half = 0.5, nan = NAN;
    int failures = 0;
    for (int i = 0; i < H * W * C; i++) types_store(&x[i], dtype, i == (NAN_Y * W + NAN_X) * C + 3 ? &nan : &half, 1);
    for (int i = 0; i < C * 9 * GROUP; i++) types_store(&w[i], dtype, &half, 1);
    const dram_kernel_args args = {.n_in = 3,
                                   .n_out = 1,
                                   .in = {{x, dtype, image}, {w, dtype, filter}, {bias, DRAM_F32, DRAM_SHAPE(C)}},
                                   .out = {{y, dtype, image}},
                                   .attr = &attr,
                                   .workspace = workspace,
                                   .workspace_bytes = sizeof workspace};
    memcpy(&bias[NAN_C], &all_bits, sizeof all_bits);
    if (conv2d(&args) != DRAM_OK) failures++;
    for (int i = 0; i < H * W * C; i++) {
        float got;
        int c = i % C, px = i / C % W, py = i / C / W;
        types_load(&got, &y[i], dtype, 1);
        bool want = c == NAN_C || (c < GROUP && abs(px - NAN_X) <= 1 && abs(py - NAN_Y) <= 1);
        failures += want != (isnan(got) != 0);
    }
    if (failures) printf("conv2d, %s: NaN is wrong in %d places\n", dram_dtype_name(dtype), failures);
    return failures;
}

static int conv2d_also(const dram_kernel *kernels)
{
    return nan_failures(kernels[DRAM_OP_conv2d], DRAM_BF16) + nan_failures(kernels[DRAM_OP_conv2d], DRAM_F16);
}

OPTEST_STORED(conv2d, conv2d_ref, conv2d_cases, .stored = 0x3, .weights = 0x2, .also = conv2d_also);

static void conv2d_dgrad_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->out[0]); i++) out[0][i] = in[2] ? in[2][i] : 0;
    convolve(&c->attr, &c->out[0], &c->in[1].shape, &c->in[0].shape, out[0], (double *)(uintptr_t)in[1],
             (double *)(uintptr_t)in[0], 'x');
}

#define CONV_TO(STRIDE, PAD, GROUPS, H, W)                                                                             \
    .attr = {.stride = STRIDE, .pad = PAD, .groups = GROUPS, .out_h = H, .out_w = W}

static const optest_case conv2d_dgrad_cases[] = {
    {.name = "wide, added",
     CONV_TO(2, 1, 1, 7, 8),
     .in = {IN(2, 4, 4, 13), IN(13, 3, 3, 19), IN(2, 7, 8, 19)},
     .tol = SUM_OF(52)},
    {.name = "narrow, added",
     CONV_TO(2, 1, 2, 7, 8),
     .in = {IN(2, 4, 4, 16), IN(16, 3, 3, 8), IN(2, 7, 8, 16)},
     .tol = SUM_OF(32)},
    {.name = "1x1, added",
     CONV_TO(1, 0, 1, 4, 4),
     .in = {IN(2, 4, 4, 16), IN(16, 1, 1, 8), IN(2, 4, 4, 8)},
     .tol = SUM_OF(16)},
    {.name = "3x3, several tiles",
     CONV_TO(1, 1, 1, 31, 29),
     .in = {IN(3, 31, 29, 16), IN(16, 3, 3, 24), IN(3, 31, 29, 24)},
     .tol = SUM_OF(144)},
    {.name = "1x1 stride 2, several tiles",
     CONV_TO(2, 0, 1, 41, 38),
     .in = {IN(3, 21, 19, 104), IN(104, 1, 1, 48)},
     .tol = SUM_OF(104)},
    {.name = "groups, several tasks",
     CONV_TO(1, 1, 5, 31, 33),
     .in = {IN(3, 31, 33, 40), IN(40, 3, 3, 8), IN(3, 31, 33, 40)},
     .tol = SUM_OF(72)},
    {.name = "groups, long rows, added",
     CONV_TO(1, 1, 2, 3, 530),
     .in = {IN(1, 3, 530, 16), IN(16, 3, 3, 8), IN(1, 3, 530, 16)},
     .tol = SUM_OF(72)},
    {.name = "groups, several tasks, stride 2",
     CONV_TO(2, 1, 5, 61, 63),
     .in = {IN(3, 31, 32, 40), IN(40, 3, 3, 8)},
     .tol = SUM_OF(32)},
    {.name = "other size", CONV_TO(2, 1, 1, 9, 8), .in = {IN(2, 4, 4, 13), IN(13, 3, 3, 19)}, .refused = true},
    {.name = "no size", CONV_TO(2, 1, 1, 0, 0), .in = {IN(2, 4, 4, 13), IN(13, 3, 3, 19)}, .refused = true},
    {.name = "other O", CONV_TO(2, 1, 1, 7, 8), .in = {IN(2, 4, 4, 12), IN(13, 3, 3, 19)}, .refused = true},
    {.name = "other acc",
     CONV_TO(2, 1, 1, 7, 8),
     .in = {IN(2, 4, 4, 13), IN(13, 3, 3, 19), IN(2, 8, 8, 19)},
     .refused = true},
};
OPTEST_STORED(conv2d_dgrad, conv2d_dgrad_ref, conv2d_dgrad_cases, .stored = 0x7);

static void conv2d_wgrad_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->out[0]); i++) out[0][i] = 0;
    convolve(&c->attr, &c->in[0].shape, &c->out[0], &c->in[1].shape, (double *)(uintptr_t)in[0], out[0],
             (double *)(uintptr_t)in[1], 'w');
}

static const optest_case conv2d_wgrad_cases[] = {
    {.name = "wide", CONV_TO(2, 1, 1, 3, 3), .in = {IN(3, 25, 22, 19), IN(3, 13, 11, 13)}, .tol = SUM_OF(429)},
    {.name = "narrow", CONV_TO(1, 1, 2, 3, 3), .in = {IN(3, 25, 22, 16), IN(3, 25, 22, 16)}, .tol = SUM_OF(1650)},
    {.name = "1x1", CONV_TO(1, 0, 1, 1, 1), .in = {IN(3, 25, 22, 16), IN(3, 25, 22, 13)}, .tol = SUM_OF(1650)},
    {.name = "1x1 stride 2, several tiles",
     CONV_TO(2, 0, 1, 1, 1),
     .in = {IN(3, 41, 38, 48), IN(3, 21, 19, 104)},
     .tol = SUM_OF(1197)},
    {.name = "stem, several tasks",
     CONV_TO(2, 1, 1, 3, 3),
     .in = {IN(2, 81, 98, 3), IN(2, 41, 49, 32)},
     .tol = SUM_OF(4018)},
    {.name = "stem, long rows, 37 outputs",
     CONV_TO(2, 1, 1, 3, 3),
     .in = {IN(1, 5, 141, 3), IN(1, 3, 71, 37)},
     .tol = SUM_OF(213)},
    {.name = "small filter, no padding",
     CONV_TO(3, 0, 1, 2, 5),
     .in = {IN(2, 5, 203, 2), IN(2, 2, 67, 5)},
     .tol = SUM_OF(268)},
    {.name = "small filter, wide strides",
     CONV_TO(40, 1, 1, 2, 2),
     .in = {IN(1, 39, 79, 3), IN(1, 1, 2, 8)},
     .tol = SUM_OF(2)},
    {.name = "groups, several tasks",
     CONV_TO(1, 1, 5, 3, 3),
     .in = {IN(3, 31, 33, 40), IN(3, 31, 33, 40)},
     .tol = SUM_OF(3069)},
    {.name = "groups, several tasks, stride 2",
     CONV_TO(2, 1, 5, 3, 3),
     .in = {IN(3, 61, 63, 40), IN(3, 31, 32, 40)},
     .tol = SUM_OF(2976)},
    {.name = "other pixels", CONV_TO(2, 1, 1, 3, 3), .in = {IN(3, 25, 22, 19), IN(3, 13, 12, 13)}, .refused = true},
    {.name = "other batch", CONV_TO(2, 1, 1, 3, 3), .in = {IN(3, 25, 22, 19), IN(2, 13, 11, 13)}, .refused = true},
    {.name = "no kernel", CONV_TO(2, 1, 1, 0, 3), .in = {IN(3, 25, 22, 19), IN(3, 13, 11, 13)}, .refused = true},
    {.name = "groups", CONV_TO(2, 1, 2, 3, 3), .in = {IN(3, 25, 22, 19), IN(3, 13, 11, 14)}, .refused = true},
};
OPTEST_STORED(conv2d_wgrad, conv2d_wgrad_ref, conv2d_wgrad_cases, .stored = 0x3, .f32_out = 0x1);
