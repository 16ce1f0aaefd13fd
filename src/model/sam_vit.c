/* SAM's image encoder (Kirillov et al. 2023): a plain ViT with windowed and global attention and decomposed relative
 * position, after ViTDet (Li et al. 2022). Names and resampling for other sizes as in timm's vision_transformer_sam. */
#include <math.h>
#include <stdio.h>

#include "model/layers.h"
#include "ops/call.h"

enum { MLP_RATIO = 4 };
static const float WEIGHT_STD = 0.02f; /* the usual one of ViTs */

static bool is_global(const dram_arch *arch, int i)
{
    for (int k = 0; k < 4; k++)
        if (arch->global[k] == i) return true;
    return false;
}

/* PyTorch's default for convolutions has this standard deviation. */
static float conv_std(int fan_in)
{
    return (float)sqrt(1.0 / (3.0 * fan_in));
}

/* name [2*native-1, d], brought to [2*size-1, d] where the grid has another size. */
static dram_val relative_position(const dram_layers *l, const char *name, int native, int size, int d)
{
    dram_val table = dram_layer_slot(l, name, DRAM_SHAPE(2 * native - 1, d), DRAM_INIT_ZERO, 0);
    if (size == native) return table;
    char resized[32];
    snprintf(resized, sizeof resized, "%s_resized", name);
    return DRAM_CALL(l->g, resize, resized, DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = 2 * size - 1), table);
}

/* x [N,H,W,D], normalised -> [N,H,W,D] */
static dram_val attention(const dram_layers *l, const dram_arch *arch, bool global, dram_val x)
{
    int native = global ? arch->native / DRAM_VIT_PATCH : DRAM_VIT_WINDOW;
    int h = global ? dram_dim(l, x, 1) : native, w = global ? dram_dim(l, x, 2) : native;
    int scope = dram_scope_push(l->g, "attn"), d = arch->dim / arch->heads;
    dram_val bias = DRAM_NONE;
    dram_val rel_h = relative_position(l, "rel_pos_h", native, h, d);
    dram_val rel_w = relative_position(l, "rel_pos_w", native, w, d);
    dram_val qkv = dram_layer_linear(l, "qkv", x, 3 * arch->dim, WEIGHT_STD, &bias);
    x = DRAM_CALL(l->g, attention, "", DRAM_ATTR(.heads = arch->heads, .window = global ? 0 : DRAM_VIT_WINDOW), qkv,
                  rel_h, rel_w, bias);
    x = dram_layer_linear(l, "proj", x, arch->dim, WEIGHT_STD, NULL);
    dram_scope_pop(l->g, scope);
    return x;
}

static dram_val mlp(const dram_layers *l, dram_val x)
{
    int scope = dram_scope_push(l->g, "mlp"), dim = dram_channels(l, x);
    x = dram_layer_linear(l, "fc1", x, MLP_RATIO * dim, WEIGHT_STD, NULL);
    x = DRAM_CALL(l->g, gelu, "gelu", NULL, x);
    x = dram_layer_linear(l, "fc2", x, dim, WEIGHT_STD, NULL);
    dram_scope_pop(l->g, scope);
    return x;
}

/* image [N,H,W,3] -> tokens [N,H/16,W/16,D] with their position added */
static dram_val patches(const dram_layers *l, const dram_arch *arch, dram_val image)
{
    int n = arch->native / DRAM_VIT_PATCH;
    dram_val position =
        dram_layer_slot(l, "pos_embed", DRAM_SHAPE(1, n, n, arch->dim), DRAM_INIT_TRUNC_NORMAL, WEIGHT_STD);
    dram_val x = dram_layer_conv(l, "patch_embed.proj", image,
                                 (dram_conv){.out = arch->dim,
                                             .kernel = DRAM_VIT_PATCH,
                                             .stride = DRAM_VIT_PATCH,
                                             .groups = 1,
                                             .bias = true,
                                             .init = DRAM_INIT_TRUNC_NORMAL,
                                             .std = conv_std(3 * DRAM_VIT_PATCH * DRAM_VIT_PATCH)});
    int h = dram_dim(l, x, 1), w = dram_dim(l, x, 2);
    if (h != n || w != n)
        position = DRAM_CALL(l->g, resize, "pos_embed_resized",
                             DRAM_ATTR(.mode = DRAM_RESIZE_BICUBIC_AA, .out_h = h, .out_w = w), position);
    return DRAM_CALL(l->g, add, "tokens", NULL, x, position);
}

/* [N,h,w,D] -> [N,h,w,256] */
static dram_val neck(const dram_layers *l, dram_val x)
{
    int scope = dram_scope_push(l->g, "neck");
    dram_conv conv = {
        .out = DRAM_EMBED_CHANNELS, .kernel = 1, .stride = 1, .groups = 1, .init = DRAM_INIT_TRUNC_NORMAL};
    conv.std = conv_std(dram_channels(l, x));
    x = dram_layer_conv(l, "0", x, conv);
    x = dram_layer_norm(l, "1", x);
    conv.kernel = 3;
    conv.std = conv_std(9 * DRAM_EMBED_CHANNELS);
    x = dram_layer_conv(l, "2", x, conv);
    x = dram_layer_norm(l, "3", x);
    dram_scope_pop(l->g, scope);
    return x;
}

dram_val dram_sam_vit_build(const dram_build *b, const dram_arch *arch, dram_val image)
{
    if (b->g->status != DRAM_OK) return DRAM_NONE;
    const dram_shape *shape = dram_shape_of(b->g, image);
    if (shape->rank != 4 || shape->dim[1] % DRAM_VIT_PATCH || shape->dim[2] % DRAM_VIT_PATCH) {
        char text[96];
        b->g->status = dram_fail(DRAM_ERR_CONFIG, "%s: the image is %s, but its sides must be multiples of %d",
                                 arch->name, dram_format_shape(shape, text, sizeof text), DRAM_VIT_PATCH);
        return DRAM_NONE;
    }
    dram_layers l = dram_layers_enter(b);
    dram_val x = patches(&l, arch, image);
    for (int i = 0; i < arch->blocks; i++) {
        char name[32];
        snprintf(name, sizeof name, "blocks.%d", i);
        int scope = dram_scope_push(b->g, name);
        dram_val y = attention(&l, arch, is_global(arch, i), dram_layer_norm(&l, "norm1", x));
        x = DRAM_CALL(b->g, add, "attn_sum", NULL, x, y);
        y = mlp(&l, dram_layer_norm(&l, "norm2", x));
        x = DRAM_CALL(b->g, add, "mlp_sum", NULL, x, y);
        dram_scope_pop(b->g, scope);
    }
    x = neck(&l, x);
    dram_layers_leave(&l);
    return x;
}
