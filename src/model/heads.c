/* What stands on the student's features: the neck to the teacher's embedding, the segmentation head, and the
 * super-resolution head. Their names and shapes are our own. */
#include <math.h>
#include <stdio.h>

#include "model/layers.h"
#include "ops/call.h"

enum { DECODER_CHANNELS = 128, SR_MIN_CHANNELS = 16, SR_MAX_CHANNELS = 128 };

/* A convolution that keeps the variance (gain 1), or doubles it for a ReLU that follows (gain 2). */
static dram_val conv(const dram_layers *l, const char *name, dram_val x, int out, int kernel, double gain, bool bias)
{
    double fan_in = (double)kernel * kernel * dram_channels(l, x);
    return dram_layer_conv(l, name, x,
                           (dram_conv_layer){.out = out,
                                             .kernel = kernel,
                                             .stride = 1,
                                             .groups = 1,
                                             .bias = bias,
                                             .init = DRAM_INIT_NORMAL,
                                             .std = (float)sqrt(gain / fan_in)});
}

/* The tap of that stride, DRAM_NONE when there is none. */
static dram_val tap_at(const dram_features *f, int stride)
{
    for (int i = 0; i < f->n; i++)
        if (f->stride[i] == stride) return f->tap[i];
    return DRAM_NONE;
}

dram_val dram_neck_build(const dram_build *b, const dram_features *f)
{
    if (b->g->status != DRAM_OK) return DRAM_NONE;
    if (f->n == 1) return f->tap[0];
    dram_val fine = tap_at(f, 16), coarse = tap_at(f, 32);
    if (fine == DRAM_NONE || coarse == DRAM_NONE) {
        dram_graph_fail(b->g, "the neck needs features at stride 16 and 32");
        return DRAM_NONE;
    }
    dram_layers l = dram_layers_enter(b);
    dram_val x = conv(&l, "s16", fine, DRAM_EMBED_CHANNELS, 1, 1, false);
    dram_val y = conv(&l, "s32", coarse, DRAM_EMBED_CHANNELS, 1, 1, false);
    y = dram_layer_resize(&l, "up", y, dram_dim(&l, x, 1), dram_dim(&l, x, 2));
    x = DRAM_CALL(b->g, add, "merge", NULL, x, y);
    x = dram_layer_norm(&l, "norm1", x);
    x = conv(&l, "conv", x, DRAM_EMBED_CHANNELS, 3, 1, false);
    x = dram_layer_norm(&l, "norm2", x);
    dram_layers_leave(&l);
    return x;
}

/* part.bn or part.norm of x (+ residual), and a ReLU. */
static dram_val norm_relu(const dram_layers *l, bool batch, const char *part, dram_val x, dram_val residual)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%s", part, batch ? "bn" : "norm");
    if (batch) return dram_layer_bn(l, name, x, residual, DRAM_ACT_RELU, DRAM_INIT_ONE);
    if (residual != DRAM_NONE) x = DRAM_CALL(l->g, add, part, NULL, x, residual);
    return DRAM_CALL(l->g, relu, "relu", NULL, dram_layer_norm(l, name, x));
}

dram_val dram_seg_head_build(const dram_build *b, const dram_features *f, dram_val neck, int classes)
{
    if (b->g->status != DRAM_OK) return DRAM_NONE;
    dram_layers l = dram_layers_enter(b);
    dram_val fine = tap_at(f, 8);
    /* Before it is enlarged: a quarter of the work. */
    dram_val x = conv(&l, "top", neck, DECODER_CHANNELS, 1, 1, false);
    if (fine == DRAM_NONE) {
        x = dram_layer_resize(&l, "up", x, 2 * dram_dim(&l, neck, 1), 2 * dram_dim(&l, neck, 2));
        x = norm_relu(&l, f->batch_norm, "merge", x, DRAM_NONE);
    } else {
        dram_val top = dram_layer_resize(&l, "up", x, dram_dim(&l, fine, 1), dram_dim(&l, fine, 2));
        x = conv(&l, "lateral", fine, DECODER_CHANNELS, 1, 1, false);
        x = norm_relu(&l, f->batch_norm, "merge", x, top);
    }
    x = conv(&l, "refine.conv", x, DECODER_CHANNELS, 3, 2, false);
    x = norm_relu(&l, f->batch_norm, "refine", x, DRAM_NONE);
    x = conv(&l, "classifier", x, classes, 1, 1, true);
    dram_layers_leave(&l);
    return x;
}

dram_val dram_sr_head_build(const dram_build *b, dram_val low, int out_h, int out_w)
{
    if (b->g->status != DRAM_OK) return DRAM_NONE;
    dram_layers l = dram_layers_enter(b);
    int channels = dram_channels(&l, low), hidden = channels / 2;
    if (hidden < SR_MIN_CHANNELS) hidden = SR_MIN_CHANNELS;
    if (hidden > SR_MAX_CHANNELS) hidden = SR_MAX_CHANNELS;
    dram_val x = conv(&l, "conv1", low, hidden, 3, 2, true);
    x = DRAM_CALL(b->g, relu, "relu", NULL, x);
    x = dram_layer_resize(&l, "up", x, out_h, out_w);
    x = conv(&l, "conv2", x, channels, 3, 1, true);
    dram_layers_leave(&l);
    return x;
}
