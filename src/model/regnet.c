/* RegNet X and Y (Radosavovic et al. 2020), with timm's names, order and initialisation. */
#include <math.h>
#include <stdio.h>

#include "model/layers.h"
#include "ops/call.h"

enum { STEM_WIDTH = 32 };

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

static dram_val block(const dram_layers *l, const dram_arch *arch, const dram_regnet_stage *stage, dram_val x,
                      int stride)
{
    int width = stage->width, in = dram_channels(l, x);
    dram_val y = conv_bn(l, "conv1", x, width, 1, 1, 1, DRAM_ACT_RELU);
    y = conv_bn(l, "conv2", y, width, 3, stride, width / stage->group, DRAM_ACT_RELU);
    if (arch->se_ratio > 0) y = squeeze_excite(l, y, (int)nearbyint(in * arch->se_ratio));
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

dram_status dram_regnet_build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out)
{
    dram_regnet_stage stage[4];
    dram_layers l = dram_layers_enter(b);
    *out = (dram_features){0};
    dram_regnet_stages(arch, stage);
    dram_val x = stem(&l, image);
    tap(out, x, 2, STEM_WIDTH);
    for (int s = 0; s < 4 && (!b->deepest || 4 << s <= b->deepest); s++) {
        for (int i = 0; i < stage[s].depth; i++) {
            char name[32];
            snprintf(name, sizeof name, "s%d.b%d", s + 1, i + 1);
            int scope = dram_scope_push(b->g, name);
            if (s + i) dram_block_enter(b->g); /* the first is open */
            x = block(&l, arch, &stage[s], x, i == 0 ? 2 : 1);
            dram_block_leave(b->g);
            dram_scope_pop(b->g, scope);
        }
        tap(out, x, 4 << s, stage[s].width);
    }
    dram_layers_leave(&l);
    return b->g->status;
}
