/* RegNet X and Y (Radosavovic et al. 2020), with timm's names, order and initialisation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/family.h"
#include "model/layers.h"
#include "model/names.h"
#include "ops/call.h"

enum { STEM_WIDTH = 32 };

/* The parameters of the width rule, as in timm. */
typedef struct {
    double w0, wa, wm;
    int group_size;
    double se_ratio;
    double min_ratio; /* torchvision's rounding; 0: timm's */
} width_rule;

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
/* clang-format on */

static const dram_arch archs[] = {
#define X(NAME, W0, WA, WM, GROUP, DEPTH, SE, MIN_RATIO)                                                               \
    {#NAME, &dram_family_regnet, DEPTH, 0, &(const width_rule){W0, WA, WM, GROUP, SE, MIN_RATIO}},
    REGNET_LIST(X)
#undef X
};

/* ---- stages ---- */

/* By the width rule of "Designing Network Design Spaces" (Radosavovic et al. 2020) as timm computes it. */
typedef struct {
    int width, depth;
    int group; /* channels of one group of conv2 */
} stage;

/* A width that groups of `group` channels divide: the nearest multiple, ties to the even one (Python's round). With
 * min_ratio: the nearest, ties up, but the next one if that is less than min_ratio of the width (torchvision's
 * rule). */
static int fit_groups(int width, int group, double min_ratio)
{
    if (min_ratio <= 0) return (int)nearbyint((double)width / group) * group;
    int fit = (int)(width + group / 2.0) / group * group;
    if (fit < group) fit = group;
    return fit < min_ratio * width ? fit + group : fit;
}

static void stages_of(const dram_arch *arch, stage stages[4])
{
    const width_rule *rule = arch->numbers;
    int n = 0, last = 0;
    memset(stages, 0, 4 * sizeof *stages);
    for (int block = 0; block < arch->blocks; block++) {
        double u = rule->w0 + rule->wa * block;
        double s = nearbyint(log(u / rule->w0) / log(rule->wm));
        int width = (int)nearbyint(rule->w0 * pow(rule->wm, s) / 8) * 8;
        if (width != last && n < 4) {
            int group = rule->group_size < width ? rule->group_size : width;
            stages[n++] = (stage){.width = fit_groups(width, group, rule->min_ratio), .group = group};
            last = width;
        }
        stages[n - 1].depth++;
    }
}

/* ---- the graph ---- */

/* timm draws a convolution from a normal of variance 2 / fan_out, fan_out counted within one group. */
static float conv_std(int out, int kernel, int groups)
{
    return (float)sqrt(2.0 / (kernel * kernel * out / groups));
}

static dram_conv_layer convolution(int out, int kernel, int stride, int groups)
{
    return (dram_conv_layer){.out = out,
                             .kernel = kernel,
                             .stride = stride,
                             .groups = groups,
                             .init = DRAM_INIT_NORMAL,
                             .std = conv_std(out, kernel, groups)};
}

/* name.conv and name.bn: act(bn(conv(x))). */
static dram_val conv_bn(const dram_layers *l, const char *name, dram_val x, int out, int kernel, int stride, int groups,
                        dram_act act)
{
    int scope = dram_scope_push(l->g, name);
    dram_val y = dram_layer_conv(l, "conv", x, convolution(out, kernel, stride, groups));
    y = dram_layer_bn(l, "bn", y, DRAM_NONE, act, DRAM_INIT_ONE);
    dram_scope_pop(l->g, scope);
    return y;
}

static dram_conv_layer squeeze(int out)
{
    return (dram_conv_layer){.out = out,
                             .kernel = 1,
                             .stride = 1,
                             .groups = 1,
                             .bias = true,
                             .init = DRAM_INIT_NORMAL,
                             .std = conv_std(out, 1, 1)};
}

/* Squeeze and excitation: x [N,H,W,C] scaled by a gate [N,C] made from its mean. */
static dram_val squeeze_excite(const dram_layers *l, dram_val x, int reduced)
{
    int scope = dram_scope_push(l->g, "se");
    dram_val s = DRAM_CALL(l->g, avgpool, "mean", NULL, x);
    s = dram_layer_conv(l, "fc1", s, squeeze(reduced));
    s = DRAM_CALL(l->g, relu, "relu", NULL, s);
    s = dram_layer_conv(l, "fc2", s, squeeze(dram_channels(l, x)));
    s = DRAM_CALL(l->g, sigmoid, "gate", NULL, s);
    x = DRAM_CALL(l->g, scale_channels, "", NULL, x, s);
    dram_scope_pop(l->g, scope);
    return x;
}

static dram_val block(const dram_layers *l, double se_ratio, const stage *s, dram_val x, int stride)
{
    int width = s->width, in = dram_channels(l, x);
    dram_val y = conv_bn(l, "conv1", x, width, 1, 1, 1, DRAM_ACT_RELU);
    y = conv_bn(l, "conv2", y, width, 3, stride, width / s->group, DRAM_ACT_RELU);
    if (se_ratio > 0) y = squeeze_excite(l, y, (int)nearbyint(in * se_ratio));
    int scope = dram_scope_push(l->g, "conv3");
    y = dram_layer_conv(l, "conv", y, convolution(width, 1, 1, 1));
    dram_scope_pop(l->g, scope);
    dram_val shortcut = x;
    if (stride != 1 || in != width) shortcut = conv_bn(l, "downsample", x, width, 1, stride, 1, DRAM_ACT_NONE);
    scope = dram_scope_push(l->g, "conv3"); /* its batch norm also adds the shortcut and is the block's last ReLU */
    y = dram_layer_bn(l, "bn", y, shortcut, DRAM_ACT_RELU, l->b->zero_init_last ? DRAM_INIT_ZERO : DRAM_INIT_ONE);
    dram_scope_pop(l->g, scope);
    return y;
}

/* Its norm and activation belong to the block that follows, which makes them again from what is kept of the stem.
 * Leaves that block open. */
static dram_val stem(const dram_layers *l, dram_val image)
{
    int scope = dram_scope_push(l->g, "stem");
    dram_block_enter(l->g);
    dram_val x = dram_layer_conv(l, "conv", image, convolution(STEM_WIDTH, 3, 2, 1));
    dram_bn bn = dram_layer_bn_stats(l, "bn", x, DRAM_INIT_ONE);
    dram_block_leave(l->g);
    dram_block_enter(l->g);
    x = dram_layer_bn_apply(l, &bn, DRAM_NONE, DRAM_ACT_RELU);
    dram_scope_pop(l->g, scope);
    return x;
}

static void tap(dram_features *f, dram_val v, int stride, int channels)
{
    f->tap[f->n] = v;
    f->stride[f->n] = stride;
    f->channels[f->n++] = channels;
}

static dram_status build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out)
{
    const width_rule *rule = arch->numbers;
    stage stages[4];
    dram_layers l = dram_layers_enter(b);
    *out = (dram_features){0};
    stages_of(arch, stages);
    dram_val x = stem(&l, image);
    tap(out, x, 2, STEM_WIDTH);
    for (int s = 0; s < 4 && (!b->deepest || 4 << s <= b->deepest); s++) {
        for (int i = 0; i < stages[s].depth; i++) {
            char name[32];
            snprintf(name, sizeof name, "s%d.b%d", s + 1, i + 1);
            int scope = dram_scope_push(b->g, name);
            if (s + i) dram_block_enter(b->g); /* the first is open */
            x = block(&l, rule->se_ratio, &stages[s], x, i == 0 ? 2 : 1);
            dram_block_leave(b->g);
            dram_scope_pop(b->g, scope);
        }
        tap(out, x, 4 << s, stages[s].width);
    }
    dram_layers_leave(&l);
    return b->g->status;
}

/* ---- the family ---- */

static bool matches(const dram_arch *arch, dram_file_has has, const void *file)
{
    char name[64];
    stage stages[4];
    stages_of(arch, stages);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "s%d.b%d.conv2.conv.weight", i + 1, stages[i].depth);
        if (!has(file, name, stages[i].width, stages[i].group)) return false;
        snprintf(name, sizeof name, "s%d.b%d.conv2.conv.weight", i + 1, stages[i].depth + 1);
        if (has(file, name, 0, 0)) return false;
    }
    return has(file, "s1.b1.se.fc1.weight", 0, 0) == (((const width_rule *)arch->numbers)->se_ratio > 0);
}

/* By itself it has timm's names; as the encoder of a SAM, those of a module `trunk` with a `neck` beside it. */
static const dram_convention conventions[] = {
    [DRAM_NAMES_TIMM] = {.prefix = ""},
    [DRAM_NAMES_META] = {.prefix = "image_encoder.trunk."},
    [DRAM_NAMES_HF] = {.prefix = "vision_encoder.trunk."},
};

static const char *const beside[] = {"head.fc.",
                                     "image_encoder.neck.",
                                     "vision_encoder.neck.",
                                     "prompt_encoder.",
                                     "mask_decoder.",
                                     "shared_image_embedding.",
                                     NULL};

static void in_timm(const dram_arch *arch, dram_timm *out)
{
    *out = (dram_timm){0};
    snprintf(out->name, sizeof out->name, "%s", arch->name);
}

const dram_family dram_family_regnet = {
    .archs = archs,
    .n_archs = sizeof archs / sizeof archs[0],
    .batch_norm = true,
    .build = build,
    .matches = matches,
    .in_timm = in_timm,
    .conventions = conventions,
    .n_conventions = sizeof conventions / sizeof conventions[0],
    .probes = (const char *const[]){"stem.conv.weight", NULL},
    .beside = beside,
};
