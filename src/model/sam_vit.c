/* SAM's image encoder (Kirillov et al. 2023): a plain ViT with windowed and global attention and decomposed relative
 * position, after ViTDet (Li et al. 2022). Names and resampling for other sizes as in timm's vision_transformer_sam. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/family.h"
#include "model/layers.h"
#include "model/names.h"
#include "ops/call.h"

enum { MLP_RATIO = 4, WINDOW = 14 };
static const float WEIGHT_STD = 0.02f; /* the usual one of ViTs */
static const char position_table[] = "pos_embed";

typedef struct {
    int dim, heads;
    int global[4]; /* blocks with global attention; -1: none */
    const char *timm;
} sizes;

/* clang-format off */
/*    name          dim heads blocks  global           native  timm's */
#define VIT_LIST(X) \
    X(vit_b,        768,   12,   12,  2,  5,  8, 11,   1024,   base) \
    X(vit_l,       1024,   16,   24,  5, 11, 17, 23,   1024,   large) \
    X(vit_h,       1280,   16,   32,  7, 15, 23, 31,   1024,   huge) \
    X(vit_micro,    128,    4,    6,  2,  5, -1, -1,    256,   base) \
    X(vit_tiny,     192,    3,   12,  2,  5,  8, 11,    256,   base)
/* clang-format on */

static const dram_arch archs[] = {
#define X(NAME, DIM, HEADS, BLOCKS, G0, G1, G2, G3, NATIVE, TIMM)                                                      \
    {#NAME, &dram_family_sam_vit, BLOCKS, NATIVE,                                                                      \
     &(const sizes){DIM, HEADS, {G0, G1, G2, G3}, "samvit_" #TIMM "_patch16"}},
    VIT_LIST(X)
#undef X
};

static bool is_global(const sizes *s, int i)
{
    for (int k = 0; k < 4; k++)
        if (s->global[k] == i) return true;
    return false;
}

/* PyTorch's default for convolutions has this standard deviation. */
static float conv_std(int fan_in)
{
    return (float)sqrt(1.0 / (3.0 * fan_in));
}

/* The weights of a block: slots, or their copies on the way through the arena. */
typedef struct {
    bool global;
    dram_affine norm1, qkv, proj, norm2, fc1, fc2;
    dram_val rel_h, rel_w; /* [2*native-1, d] */
} block;

typedef struct {
    dram_val position; /* [1,native/16,native/16,D] */
    dram_affine proj;
} patches;

typedef struct {
    dram_affine conv0, norm1, conv2, norm3;
} neck;

/* An encoder under construction. Frozen, it may run with b->images of the batch in a group: block after block, and in
 * each group after group, so that a block's weights are needed once. The groups are joined at the end. With weights in
 * another space than the graph is in (b->space), those of a unit (patch embedding, a block, the neck) are copied before
 * the unit ahead of it runs, and are dead after it has run: the copies of two units are in the arena at most. */
typedef struct {
    const dram_layers *l;
    dram_graph *g;
    const dram_arch *arch;
    const sizes *sizes;
    dram_val image;         /* normalised; DRAM_NONE: it is made from what is staged */
    dram_val pixels, valid; /* staged */
    int native;             /* cells of a side of the table of positions */
    int n, group, n_groups; /* images; in a group (the last may have fewer); groups */
    dram_val *x;            /* of each group: tokens [group,h,w,D], then its embedding */
} encoder;

static dram_conv_layer patch_conv(int dim)
{
    return (dram_conv_layer){.out = dim,
                             .kernel = DRAM_VIT_PATCH,
                             .stride = DRAM_VIT_PATCH,
                             .groups = 1,
                             .bias = true,
                             .init = DRAM_INIT_TRUNC_NORMAL,
                             .std = conv_std(3 * DRAM_VIT_PATCH * DRAM_VIT_PATCH)};
}

static dram_conv_layer neck_conv(int in, int kernel)
{
    return (dram_conv_layer){.out = DRAM_EMBED_CHANNELS,
                             .kernel = kernel,
                             .stride = 1,
                             .groups = 1,
                             .init = DRAM_INIT_TRUNC_NORMAL,
                             .std = conv_std(kernel * kernel * in)};
}

/* ---- fetching weights ---- */

static patches fetch_patches(const encoder *e)
{
    int n = e->native;
    patches p;
    p.position =
        dram_layer_slot(e->l, position_table, DRAM_SHAPE(1, n, n, e->sizes->dim), DRAM_INIT_TRUNC_NORMAL, WEIGHT_STD);
    p.proj = dram_layer_conv_weights(e->l, "patch_embed.proj", 3, patch_conv(e->sizes->dim));
    return p;
}

static int enter_block(const encoder *e, int i)
{
    char name[32];
    snprintf(name, sizeof name, "blocks.%d", i);
    return dram_scope_push(e->g, name);
}

static block fetch_block(const encoder *e, int i)
{
    const dram_layers *l = e->l;
    int dim = e->sizes->dim, outer = enter_block(e, i);
    block b = {.global = is_global(e->sizes, i)};
    int native = b.global ? e->native : WINDOW;
    dram_shape table = DRAM_SHAPE(2 * native - 1, dim / e->sizes->heads);
    b.norm1 = dram_layer_norm_weights(l, "norm1", dim);
    int scope = dram_scope_push(e->g, "attn");
    b.rel_h = dram_layer_slot(l, "rel_pos_h", table, DRAM_INIT_ZERO, 0);
    b.rel_w = dram_layer_slot(l, "rel_pos_w", table, DRAM_INIT_ZERO, 0);
    b.qkv = dram_layer_linear_weights(l, "qkv", dim, 3 * dim, WEIGHT_STD);
    b.proj = dram_layer_linear_weights(l, "proj", dim, dim, WEIGHT_STD);
    dram_scope_pop(e->g, scope);
    b.norm2 = dram_layer_norm_weights(l, "norm2", dim);
    scope = dram_scope_push(e->g, "mlp");
    b.fc1 = dram_layer_linear_weights(l, "fc1", dim, MLP_RATIO * dim, WEIGHT_STD);
    b.fc2 = dram_layer_linear_weights(l, "fc2", MLP_RATIO * dim, dim, WEIGHT_STD);
    dram_scope_pop(e->g, scope);
    dram_scope_pop(e->g, outer);
    return b;
}

static neck fetch_neck(const encoder *e)
{
    neck n;
    int scope = dram_scope_push(e->g, "neck");
    n.conv0 = dram_layer_conv_weights(e->l, "0", e->sizes->dim, neck_conv(e->sizes->dim, 1));
    n.norm1 = dram_layer_norm_weights(e->l, "1", DRAM_EMBED_CHANNELS);
    n.conv2 = dram_layer_conv_weights(e->l, "2", DRAM_EMBED_CHANNELS, neck_conv(DRAM_EMBED_CHANNELS, 3));
    n.norm3 = dram_layer_norm_weights(e->l, "3", DRAM_EMBED_CHANNELS);
    dram_scope_pop(e->g, scope);
    return n;
}

/* ---- running a unit over all groups ---- */

/* The nodes of group k have a scope of their own where there are several groups. */
static int enter_group(const encoder *e, int k)
{
    char name[32];
    int length = (int)strlen(e->g->scope);
    if (e->n_groups == 1) return length;
    snprintf(name, sizeof name, "group%d", k);
    return dram_scope_push(e->g, name);
}

static int group_images(const encoder *e, int k)
{
    int rest = e->n - k * e->group;
    return rest < e->group ? rest : e->group;
}

static dram_val slice(const encoder *e, const char *name, dram_val v, int k)
{
    if (e->n_groups == 1) return v;
    return DRAM_CALL(e->g, batch_slice, name, DRAM_ATTR(.first = k * e->group, .count = group_images(e, k)), v);
}

static dram_val group_image(const encoder *e, int k)
{
    if (e->image != DRAM_NONE) return slice(e, "image", e->image, k);
    dram_val pixels = slice(e, "pixels", e->pixels, k), valid = slice(e, "valid", e->valid, k);
    return dram_image_build(e->g, "image_norm", e->l->b->dtype, pixels, valid);
}

/* image [N,H,W,3] -> tokens [N,H/16,W/16,D] with their position added */
static void run_patches(encoder *e, const patches *p)
{
    dram_val position = p->position;
    const dram_shape *image = dram_shape_of(e->g, e->image != DRAM_NONE ? e->image : e->pixels);
    int n = e->native;
    int h = (int)image->dim[1] / DRAM_VIT_PATCH, w = (int)image->dim[2] / DRAM_VIT_PATCH;
    if (h != n || w != n)
        position = DRAM_CALL(e->g, resize, "pos_embed_resized",
                             DRAM_ATTR(.mode = DRAM_RESIZE_BICUBIC_AA, .out_h = h, .out_w = w), position);
    position = dram_layer_cast(e->l, position);
    for (int k = 0; k < e->n_groups; k++) {
        int scope = enter_group(e, k);
        dram_val x = dram_layer_conv_run(e->l, &p->proj, group_image(e, k), patch_conv(e->sizes->dim));
        e->x[k] = DRAM_CALL(e->g, add, "tokens", NULL, x, position);
        dram_scope_pop(e->g, scope);
    }
}

/* table [2*native-1, d] for `size` positions: [2*size-1, d] */
static dram_val relative_position(const encoder *e, const char *name, dram_val table, int size)
{
    if (e->g->status != DRAM_OK || dram_shape_of(e->g, table)->dim[0] == 2 * size - 1) return table;
    return DRAM_CALL(e->g, resize, name, DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = 2 * size - 1), table);
}

/* What attention reads of padding tokens: the bias of their q, k and v, in f32. */
static dram_val padding_tokens(const encoder *e, dram_val bias)
{
    if (e->g->status != DRAM_OK || dram_value_at(e->g, bias)->dtype == DRAM_F32) return bias;
    return DRAM_CALL(e->g, cast, "padding", DRAM_ATTR(.dtype = DRAM_F32), bias);
}

/* What a block reads beside its weights. */
typedef struct {
    dram_val rel_h, rel_w; /* of the grid */
    dram_val padding;      /* f32 [3D] */
} surroundings;

/* x [N,H,W,D] -> the same shape */
static dram_val block_of_group(const encoder *e, const block *b, const surroundings *s, dram_val x)
{
    const dram_layers *l = e->l;
    dram_attr attr = {.heads = e->sizes->heads, .window = b->global ? 0 : WINDOW};
    dram_val y = dram_layer_norm_run(l, &b->norm1, x);
    int scope = dram_scope_push(e->g, "attn");
    y = dram_layer_linear_run(l, &b->qkv, y);
    if (e->g->status == DRAM_OK)
        attr.rounded = dram_layer_detached(l, (dram_val[]){y, s->rel_h, s->rel_w, s->padding}, 4);
    y = DRAM_CALL(e->g, attention, "", &attr, y, s->rel_h, s->rel_w, s->padding);
    y = dram_layer_linear_run(l, &b->proj, y);
    dram_scope_pop(e->g, scope);
    x = DRAM_CALL(e->g, add, "attn_sum", NULL, x, y);
    y = dram_layer_norm_run(l, &b->norm2, x);
    scope = dram_scope_push(e->g, "mlp");
    y = dram_layer_linear_gelu_run(l, &b->fc1, y);
    y = dram_layer_linear_run(l, &b->fc2, y);
    dram_scope_pop(e->g, scope);
    return DRAM_CALL(e->g, add, "mlp_sum", NULL, x, y);
}

static void run_block(encoder *e, int i, const block *b)
{
    int outer = enter_block(e, i);
    dram_block_enter(e->g);
    int scope = dram_scope_push(e->g, "attn");
    int h = b->global ? dram_dim(e->l, e->x[0], 1) : WINDOW;
    int w = b->global ? dram_dim(e->l, e->x[0], 2) : WINDOW;
    const surroundings s = {.rel_h = relative_position(e, "rel_pos_h_resized", b->rel_h, h),
                            .rel_w = relative_position(e, "rel_pos_w_resized", b->rel_w, w),
                            .padding = padding_tokens(e, b->qkv.bias)};
    dram_scope_pop(e->g, scope);
    for (int k = 0; k < e->n_groups; k++) {
        scope = enter_group(e, k);
        e->x[k] = block_of_group(e, b, &s, e->x[k]);
        dram_scope_pop(e->g, scope);
    }
    dram_block_leave(e->g);
    dram_scope_pop(e->g, outer);
}

/* [N,h,w,D] -> [N,h,w,256], all groups joined */
static dram_val run_neck(encoder *e, const neck *n)
{
    dram_val joined = DRAM_NONE;
    int outer = dram_scope_push(e->g, "neck");
    for (int k = 0; k < e->n_groups; k++) {
        int scope = enter_group(e, k);
        dram_val y = dram_layer_conv_run(e->l, &n->conv0, e->x[k], neck_conv(e->sizes->dim, 1));
        y = dram_layer_norm_run(e->l, &n->norm1, y);
        y = dram_layer_conv_run(e->l, &n->conv2, y, neck_conv(DRAM_EMBED_CHANNELS, 3));
        y = dram_layer_norm_run(e->l, &n->norm3, y);
        dram_scope_pop(e->g, scope);
        if (e->n_groups == 1)
            joined = y;
        else
            joined = DRAM_CALL(e->g, batch_put, "joined", DRAM_ATTR(.first = k * e->group, .count = e->n), y, joined);
    }
    dram_scope_pop(e->g, outer);
    return joined;
}

/* Each unit's weights are fetched before the unit ahead of it runs: on a device with a queue for copies they are on
 * their way meanwhile. */
static dram_val run_units(encoder *e)
{
    neck last = {0};
    patches first = fetch_patches(e);
    block next = fetch_block(e, 0);
    if (e->g->status != DRAM_OK) return DRAM_NONE;
    run_patches(e, &first);
    for (int i = 0; i < e->arch->blocks; i++) {
        block now = next;
        if (i + 1 < e->arch->blocks)
            next = fetch_block(e, i + 1);
        else
            last = fetch_neck(e);
        run_block(e, i, &now);
    }
    return run_neck(e, &last);
}

static dram_val build_encoder(const dram_build *b, const dram_arch *arch, encoder e)
{
    if (b->g->status != DRAM_OK) return DRAM_NONE;
    const dram_shape *shape = dram_shape_of(b->g, e.image != DRAM_NONE ? e.image : e.pixels);
    if (shape->rank != 4 || shape->dim[1] % DRAM_VIT_PATCH || shape->dim[2] % DRAM_VIT_PATCH) {
        char text[96];
        b->g->status = dram_fail(DRAM_ERR_CONFIG, "%s: the image is %s, but its sides must be multiples of %d",
                                 arch->name, dram_format_shape(shape, text, sizeof text), DRAM_VIT_PATCH);
        return DRAM_NONE;
    }
    dram_layers l = dram_layers_enter(b);
    e.l = &l;
    e.g = b->g;
    e.arch = arch;
    e.sizes = arch->numbers;
    e.native = (b->native ? b->native : arch->native) / DRAM_VIT_PATCH;
    e.n = (int)shape->dim[0];
    e.group = b->images > 0 && b->images < e.n && !b->trainable ? b->images : e.n;
    e.n_groups = (e.n + e.group - 1) / e.group;
    e.x = dram_calloc((size_t)e.n_groups, sizeof *e.x);
    dram_val embedding = DRAM_NONE;
    if (e.x)
        embedding = run_units(&e);
    else
        b->g->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the graph %s", b->g->name);
    dram_free(e.x);
    dram_layers_leave(&l);
    return embedding;
}

/* For another size than the native one, pos_embed is resampled by antialiased bicubic and the global rel_pos linearly, as
 * timm does. */
static dram_status build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out)
{
    *out = (dram_features){.n = 1, .stride = {DRAM_VIT_PATCH}, .channels = {DRAM_EMBED_CHANNELS}};
    out->tap[0] = build_encoder(b, arch, (encoder){.image = image, .pixels = DRAM_NONE, .valid = DRAM_NONE});
    return b->g->status;
}

static dram_val embed(const dram_build *b, const dram_arch *arch, dram_val pixels, dram_val valid)
{
    return build_encoder(b, arch, (encoder){.image = DRAM_NONE, .pixels = pixels, .valid = valid});
}

/* ---- the family ---- */

static bool matches(const dram_arch *arch, dram_file_has has, const void *file)
{
    char last[64], beyond[64];
    snprintf(last, sizeof last, "blocks.%d.norm1.weight", arch->blocks - 1);
    snprintf(beyond, sizeof beyond, "blocks.%d.norm1.weight", arch->blocks);
    return has(file, last, ((const sizes *)arch->numbers)->dim, 0) && !has(file, beyond, 0, 0) &&
           has(file, position_table, 1, 0);
}

/* Every number that timm's own sizes of the name may not have. Without a norm_layer its norms have SAM's eps of 1e-6, with
 * its default 1e-5. */
static void in_timm(const dram_arch *arch, dram_timm *out)
{
    const sizes *s = arch->numbers;
    snprintf(out->name, sizeof out->name, "%s", s->timm);
    int n =
        snprintf(out->args, sizeof out->args,
                 "{\"img_size\": %d, \"embed_dim\": %d, \"depth\": %d, \"num_heads\": %d, \"global_attn_indexes\": [",
                 arch->native, s->dim, arch->blocks, s->heads);
    for (int k = 0; k < 4 && s->global[k] >= 0; k++)
        n += snprintf(out->args + n, sizeof out->args - (size_t)n, "%s%d", k ? ", " : "", s->global[k]);
    snprintf(out->args + n, sizeof out->args - (size_t)n, "], \"norm_layer\": null}");
}

static const dram_rename meta[] = {{"mlp.fc", "mlp.lin"}, {NULL, NULL}};

static const dram_rename hugging_face[] = {
    {"blocks.", "layers."},
    {"norm1.", "layer_norm1."},
    {"norm2.", "layer_norm2."},
    {"mlp.fc", "mlp.lin"},
    {"patch_embed.proj.", "patch_embed.projection."},
    {"neck.0.", "neck.conv1."},
    {"neck.1.", "neck.layer_norm1."},
    {"neck.2.", "neck.conv2."},
    {"neck.3.", "neck.layer_norm2."},
    {NULL, NULL},
};

static const dram_convention conventions[] = {
    [DRAM_NAMES_TIMM] = {.prefix = ""},
    [DRAM_NAMES_META] = {.prefix = "image_encoder.", .rules = meta},
    [DRAM_NAMES_HF] = {.prefix = "vision_encoder.", .rules = hugging_face},
    [DRAM_NAMES_META_BARE] = {.prefix = "", .rules = meta},
};

static const char *const probes[] = {
    "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight", "neck.0.weight",
    NULL};

static const char *const beside[] = {
    "prompt_encoder.", "mask_decoder.", "shared_image_embedding.", "pixel_mean", "pixel_std", "head.", NULL};

const dram_family dram_family_sam_vit = {
    .archs = archs,
    .n_archs = sizeof archs / sizeof archs[0],
    .build = build,
    .embed = embed,
    .matches = matches,
    .in_timm = in_timm,
    .conventions = conventions,
    .n_conventions = sizeof conventions / sizeof conventions[0],
    .probes = probes,
    .position = position_table,
    .beside = beside,
};
