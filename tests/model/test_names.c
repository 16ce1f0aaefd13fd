/* What files call our weights, and how they lay them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/names.h"

static const struct {
    const char *timm, *meta, *hf;
} same[] = {
    {"pos_embed", "image_encoder.pos_embed", "vision_encoder.pos_embed"},
    {"patch_embed.proj.weight", "image_encoder.patch_embed.proj.weight",
     "vision_encoder.patch_embed.projection.weight"},
    {"patch_embed.proj.bias", "image_encoder.patch_embed.proj.bias", "vision_encoder.patch_embed.projection.bias"},
    {"blocks.0.norm1.weight", "image_encoder.blocks.0.norm1.weight", "vision_encoder.layers.0.layer_norm1.weight"},
    {"blocks.31.norm2.bias", "image_encoder.blocks.31.norm2.bias", "vision_encoder.layers.31.layer_norm2.bias"},
    {"blocks.7.attn.rel_pos_h", "image_encoder.blocks.7.attn.rel_pos_h", "vision_encoder.layers.7.attn.rel_pos_h"},
    {"blocks.7.attn.rel_pos_w", "image_encoder.blocks.7.attn.rel_pos_w", "vision_encoder.layers.7.attn.rel_pos_w"},
    {"blocks.7.attn.qkv.bias", "image_encoder.blocks.7.attn.qkv.bias", "vision_encoder.layers.7.attn.qkv.bias"},
    {"blocks.7.attn.proj.weight", "image_encoder.blocks.7.attn.proj.weight",
     "vision_encoder.layers.7.attn.proj.weight"},
    {"blocks.10.mlp.fc1.weight", "image_encoder.blocks.10.mlp.lin1.weight", "vision_encoder.layers.10.mlp.lin1.weight"},
    {"blocks.10.mlp.fc2.bias", "image_encoder.blocks.10.mlp.lin2.bias", "vision_encoder.layers.10.mlp.lin2.bias"},
    {"neck.0.weight", "image_encoder.neck.0.weight", "vision_encoder.neck.conv1.weight"},
    {"neck.1.bias", "image_encoder.neck.1.bias", "vision_encoder.neck.layer_norm1.bias"},
    {"neck.2.weight", "image_encoder.neck.2.weight", "vision_encoder.neck.conv2.weight"},
    {"neck.3.weight", "image_encoder.neck.3.weight", "vision_encoder.neck.layer_norm2.weight"},
};

static void conventions(void **state)
{
    (void)state;
    char out[128];
    const dram_arch *vit = dram_arch_find("vit_h"), *regnet = dram_arch_find("regnety_004");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_string_equal(dram_names_of(vit, DRAM_NAMES_TIMM, same[i].timm, out, sizeof out), same[i].timm);
        assert_string_equal(dram_names_of(vit, DRAM_NAMES_META, same[i].timm, out, sizeof out), same[i].meta);
        assert_string_equal(dram_names_of(vit, DRAM_NAMES_HF, same[i].timm, out, sizeof out), same[i].hf);
        assert_string_equal(dram_names_of(regnet, DRAM_NAMES_META_BARE, same[i].timm, out, sizeof out), same[i].timm);
    }
    const char name[] = "s1.b1.se.fc1.weight";
    assert_string_equal(dram_names_of(regnet, DRAM_NAMES_META, name, out, sizeof out),
                        "image_encoder.trunk.s1.b1.se.fc1.weight");
    assert_string_equal(dram_names_of(regnet, DRAM_NAMES_HF, name, out, sizeof out),
                        "vision_encoder.trunk.s1.b1.se.fc1.weight");
}

/* Room for exactly the name is enough, one byte less is not, and nothing is written beyond. */
static void short_room(void **state)
{
    (void)state;
    const dram_arch *vit = dram_arch_find("vit_b");
    const char want[] = "vision_encoder.layers.0.layer_norm1.weight";
    for (size_t size = 0; size <= sizeof want; size++) {
        char out[64];
        memset(out, '#', sizeof out);
        const char *got = dram_names_of(vit, DRAM_NAMES_HF, "blocks.0.norm1.weight", out, size);
        if (size == sizeof want)
            assert_string_equal(got, want);
        else
            assert_null(got);
        for (size_t i = size; i < sizeof out; i++) assert_int_equal(out[i], '#');
    }
}

typedef struct {
    const char *const *name;
    int n;
} file;

static bool has(void *context, const char *name)
{
    const file *f = context;
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->name[i], name) == 0) return true;
    return false;
}

static void detection(void **state)
{
    (void)state;
    const dram_arch *vit = dram_arch_find("vit_b"), *regnet = dram_arch_find("regnetx_002");
    static const char *const timm[] = {"pos_embed", "blocks.0.attn.qkv.weight", "patch_embed.proj.weight"};
    static const char *const meta[] = {"mask_decoder.x", "image_encoder.blocks.0.mlp.lin1.weight"};
    static const char *const hf[] = {"vision_encoder.neck.conv1.weight", "pixel_mean"};
    static const char *const bare[] = {"pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.lin1.weight"};
    static const char *const other[] = {"image_encoder.trunk.pos_embed", "neck.5.weight", "stem.conv"};
    static const char *const net[] = {"head.fc.bias", "stem.conv.weight"};
    const struct {
        const dram_arch *arch;
        file f;
        bool found;
        dram_names names;
    } want[] = {{vit, {timm, 3}, true, DRAM_NAMES_TIMM},    {vit, {meta, 2}, true, DRAM_NAMES_META},
                {vit, {hf, 2}, true, DRAM_NAMES_HF},        {vit, {bare, 3}, true, DRAM_NAMES_META_BARE},
                {vit, {other, 3}, false, DRAM_NAMES_TIMM},  {vit, {net, 2}, false, DRAM_NAMES_TIMM},
                {vit, {net, 0}, false, DRAM_NAMES_TIMM},    {regnet, {net, 2}, true, DRAM_NAMES_TIMM},
                {regnet, {timm, 3}, false, DRAM_NAMES_TIMM}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        dram_names names = DRAM_NAMES_COUNT;
        file f = want[i].f;
        assert_int_equal(dram_names_detect(want[i].arch, has, &f, &names), want[i].found);
        assert_int_equal(names, want[i].names);
    }
}

static void ignored(void **state)
{
    (void)state;
    const dram_arch *vit = dram_arch_find("vit_b"), *regnet = dram_arch_find("regnetx_002");
    static const char *const beside_vit[] = {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
                                             "mask_decoder.iou_token.weight",
                                             "shared_image_embedding.positional_embedding",
                                             "pixel_mean",
                                             "pixel_std",
                                             "head.fc.weight"};
    for (size_t i = 0; i < sizeof beside_vit / sizeof *beside_vit; i++)
        assert_true(dram_names_ignored(vit, beside_vit[i]));
    assert_false(dram_names_ignored(vit, "image_encoder.blocks.12.norm1.weight"));
    assert_false(dram_names_ignored(vit, "neck.0.weight"));
    assert_false(dram_names_ignored(vit, "stem.bn.num_batches_tracked"));
    assert_true(dram_names_ignored(regnet, "head.fc.weight"));
    assert_true(dram_names_ignored(regnet, "s1.b1.conv1.bn.num_batches_tracked"));
    assert_false(dram_names_ignored(regnet, "s9.b1.conv1.bn.weight"));
    assert_true(dram_names_ignored(regnet, "mask_decoder.iou_token.weight")); /* of a SAM with this student in it */
    assert_true(dram_names_ignored(regnet, "image_encoder.neck.s16.weight"));
    assert_false(dram_names_ignored(regnet, "image_encoder.blocks.0.norm1.weight"));
}

static void counters(void **state)
{
    (void)state;
    char out[64];
    assert_true(dram_names_bn_counter("s1.b1.conv1.bn.running_mean", out, sizeof out));
    assert_string_equal(out, "s1.b1.conv1.bn.num_batches_tracked");
    assert_false(dram_names_bn_counter("s1.b1.conv1.bn.running_var", out, sizeof out));
    assert_false(dram_names_bn_counter("running_mean", out, sizeof out));
    assert_false(dram_names_bn_counter("", out, sizeof out));
    assert_false(dram_names_bn_counter("stem.bn.running_mean", out, 27)); /* no room for the last zero */
    assert_true(dram_names_bn_counter("stem.bn.running_mean", out, 28));
}

static void layout(void **state)
{
    (void)state;
    enum { O = 2, I = 3, H = 2, W = 4, N = O * I * H * W };
    const dram_slot conv = {.shape = DRAM_SHAPE(O, H, W, I), .layout = DRAM_LAYOUT_OIHW};
    const dram_slot matrix = {.shape = DRAM_SHAPE(O * H, W * I), .layout = DRAM_LAYOUT_SAME};
    dram_shape want = DRAM_SHAPE(O, I, H, W), got = dram_file_shape(&conv);
    assert_true(dram_shape_equal(&got, &want));
    got = dram_file_shape(&matrix);
    assert_true(dram_shape_equal(&got, &matrix.shape));

    float in_file[N], ours[N], back[N];
    uint16_t in_file16[N], ours16[N];
    for (int i = 0; i < N; i++) in_file16[i] = (uint16_t)(1000 + i);
    for (int i = 0; i < N; i++) in_file[i] = (float)i;
    dram_from_file_order(&conv, sizeof(float), in_file, ours);
    dram_from_file_order(&conv, sizeof(uint16_t), in_file16, ours16);
    for (int o = 0; o < O; o++)
        for (int h = 0; h < H; h++)
            for (int w = 0; w < W; w++)
                for (int i = 0; i < I; i++) {
                    int at = ((o * H + h) * W + w) * I + i, file_at = ((o * I + i) * H + h) * W + w;
                    assert_true(ours[at] == (float)file_at);
                    assert_int_equal(ours16[at], 1000 + file_at);
                }
    dram_to_file_order(&conv, sizeof(float), ours, back);
    assert_memory_equal(back, in_file, sizeof back);
    dram_from_file_order(&matrix, sizeof(float), in_file, ours);
    assert_memory_equal(ours, in_file, sizeof ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conventions), cmocka_unit_test(short_room), cmocka_unit_test(detection),
        cmocka_unit_test(ignored),     cmocka_unit_test(counters),   cmocka_unit_test(layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
