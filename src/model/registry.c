/* The networks by name, and the arithmetic of RegNet's widths. */
#include <math.h>
#include <string.h>

#include "model/model.h"

/* clang-format off */
/*    name            w0     wa    wm  group depth  se    min_ratio */
#define REGNET_LIST(X) \
    X(regnetx_002,    24,  36.44, 2.49,   8,   13, 0,    0) \
    X(regnetx_004,    24,  24.48, 2.54,  16,   22, 0,    0) \
    X(regnetx_004_tv, 24,  24.48, 2.54,  16,   22, 0,    0.9) \
    X(regnetx_006,    48,  36.97, 2.24,  24,   16, 0,    0) \
    X(regnetx_008,    56,  35.73, 2.28,  16,   16, 0,    0) \
    X(regnetx_016,    80,  34.01, 2.25,  24,   18, 0,    0) \
    X(regnetx_032,    88,  26.31, 2.25,  48,   25, 0,    0) \
    X(regnetx_040,    96,  38.65, 2.43,  40,   23, 0,    0) \
    X(regnetx_064,   184,  60.83, 2.07,  56,   17, 0,    0) \
    X(regnetx_080,    80,  49.56, 2.88, 120,   23, 0,    0) \
    X(regnetx_120,   168,  73.36, 2.37, 112,   19, 0,    0) \
    X(regnetx_160,   216,  55.59, 2.10, 128,   22, 0,    0) \
    X(regnetx_320,   320,  69.86, 2.00, 168,   23, 0,    0) \
    X(regnety_002,    24,  36.44, 2.49,   8,   13, 0.25, 0) \
    X(regnety_004,    48,  27.89, 2.09,   8,   16, 0.25, 0) \
    X(regnety_006,    48,  32.54, 2.32,  16,   15, 0.25, 0) \
    X(regnety_008,    56,  38.84, 2.40,  16,   14, 0.25, 0) \
    X(regnety_008_tv, 56,  38.84, 2.40,  16,   14, 0.25, 0.9) \
    X(regnety_016,    48,  20.71, 2.65,  24,   27, 0.25, 0) \
    X(regnety_032,    80,  42.63, 2.66,  24,   21, 0.25, 0) \
    X(regnety_040,    96,  31.41, 2.24,  64,   22, 0.25, 0) \
    X(regnety_064,   112,  33.22, 2.27,  72,   25, 0.25, 0) \
    X(regnety_080,   192,  76.82, 2.19,  56,   17, 0.25, 0) \
    X(regnety_080_tv,192,  76.82, 2.19,  56,   17, 0.25, 0.9) \
    X(regnety_120,   168,  73.36, 2.37, 112,   19, 0.25, 0) \
    X(regnety_160,   200, 106.23, 2.48, 112,   18, 0.25, 0) \
    X(regnety_320,   232, 115.89, 2.53, 232,   20, 0.25, 0)

/*    name          dim heads blocks  global           native */
#define VIT_LIST(X) \
    X(vit_b,        768,   12,   12,  2,  5,  8, 11,   1024) \
    X(vit_l,       1024,   16,   24,  5, 11, 17, 23,   1024) \
    X(vit_h,       1280,   16,   32,  7, 15, 23, 31,   1024) \
    X(vit_micro,    128,    4,    6,  2,  5, -1, -1,    256) \
    X(vit_tiny,     192,    3,   12,  2,  5,  8, 11,    256)
/* clang-format on */

static const dram_arch archs[] = {
#define X(NAME, W0, WA, WM, GROUP, DEPTH, SE, MIN_RATIO)                                                               \
    {.name = #NAME,                                                                                                    \
     .kind = DRAM_ARCH_REGNET,                                                                                         \
     .w0 = W0,                                                                                                         \
     .wa = WA,                                                                                                         \
     .wm = WM,                                                                                                         \
     .group_size = GROUP,                                                                                              \
     .depth = DEPTH,                                                                                                   \
     .se_ratio = SE,                                                                                                   \
     .min_ratio = MIN_RATIO},
    REGNET_LIST(X)
#undef X
#define X(NAME, DIM, HEADS, BLOCKS, G0, G1, G2, G3, NATIVE)                                                            \
    {.name = #NAME,                                                                                                    \
     .kind = DRAM_ARCH_SAM_VIT,                                                                                        \
     .dim = DIM,                                                                                                       \
     .heads = HEADS,                                                                                                   \
     .blocks = BLOCKS,                                                                                                 \
     .global = {G0, G1, G2, G3},                                                                                       \
     .native = NATIVE},
        VIT_LIST(X)
#undef X
};

enum { ARCHS = sizeof archs / sizeof *archs };

static const char *const names[ARCHS] = {
#define X(NAME, ...) #NAME,
    REGNET_LIST(X) VIT_LIST(X)
#undef X
};

const dram_arch *dram_arch_find(const char *name)
{
    for (int i = 0; i < ARCHS; i++)
        if (strcmp(archs[i].name, name) == 0) return &archs[i];
    return NULL;
}

const char *const *dram_arch_names(int *n)
{
    *n = ARCHS;
    return names;
}

/* A width that groups of `group` channels divide: the nearest multiple, ties to the even one (Python's round). With
 * min_ratio: the nearest, ties up, but the next one if that is less than min_ratio of the width (torchvision's rule).
 */
static int fit_groups(int width, int group, double min_ratio)
{
    if (min_ratio <= 0) return (int)nearbyint((double)width / group) * group;
    int fit = (int)(width + group / 2.0) / group * group;
    if (fit < group) fit = group;
    return fit < min_ratio * width ? fit + group : fit;
}

void dram_regnet_stages(const dram_arch *arch, dram_regnet_stage stage[4])
{
    int n = 0, last = 0;
    memset(stage, 0, 4 * sizeof *stage);
    for (int block = 0; block < arch->depth; block++) {
        double u = arch->w0 + arch->wa * block;
        double s = nearbyint(log(u / arch->w0) / log(arch->wm));
        int width = (int)nearbyint(arch->w0 * pow(arch->wm, s) / 8) * 8;
        if (width != last && n < 4) {
            int group = arch->group_size < width ? arch->group_size : width;
            stage[n++] = (dram_regnet_stage){.width = fit_groups(width, group, arch->min_ratio), .group = group};
            last = width;
        }
        stage[n - 1].depth++;
    }
}

dram_status dram_trunk_build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out)
{
    *out = (dram_features){0};
    if (arch->kind == DRAM_ARCH_REGNET) return dram_regnet_build(b, arch, image, out);
    *out = (dram_features){.n = 1, .stride = {DRAM_VIT_PATCH}, .channels = {DRAM_EMBED_CHANNELS}};
    out->tap[0] = dram_sam_vit_build(b, arch, image);
    return b->g->status;
}
