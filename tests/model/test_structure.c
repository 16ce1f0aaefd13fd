/* The networks as graphs: names, shapes, counts and wiring; nothing is run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "io/json.h"
#include "model/names.h"
#include "ops/autodiff.h"
#include "ops/call.h"

typedef struct {
    dram_slots slots;
    dram_graph *g;
    const dram_arch *arch;
    dram_val image;
    dram_build build;
    dram_features f;
} net;

static void net_open(net *n, int images, int h, int w)
{
    *n = (net){0};
    assert_int_equal(dram_graph_new("test", &n->slots, &n->g), DRAM_OK);
    n->image = dram_graph_input(n->g, "image", DRAM_F32, DRAM_SHAPE(images, h, w, 3));
    n->build = (dram_build){.g = n->g,
                            .group = "student",
                            .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                            .trainable = true,
                            .bn = DRAM_BN_TRAIN,
                            .zero_init_last = true};
}

static void net_close(net *n)
{
    dram_graph_free(n->g);
    dram_slots_free(&n->slots);
    dram_error_clear();
}

/* The trunk `name` over one image of h x w. */
static void net_trunk(net *n, const char *name, int h, int w)
{
    net_open(n, 1, h, w);
    n->arch = dram_arch_find(name);
    assert_non_null(n->arch);
    if (dram_trunk_build(&n->build, n->arch, n->image, &n->f) != DRAM_OK) fail_msg("%s: %s", name, dram_error_text());
}

static const dram_slot *slot(const net *n, const char *group, const char *name)
{
    int i = dram_slots_find(&n->slots, group, name);
    if (i == DRAM_NONE) fail_msg("there is no slot %s of %s", name, group);
    return n->slots.at[i];
}

static void assert_shape(const dram_shape *got, dram_shape want)
{
    char a[96], b[96];
    if (!dram_shape_equal(got, &want))
        fail_msg("shape %s, not %s", dram_format_shape(got, a, sizeof a), dram_format_shape(&want, b, sizeof b));
}

static int64_t parameters(const net *n)
{
    int64_t sum = 0;
    for (int i = 0; i < n->slots.n; i++)
        if (n->slots.at[i]->trainable) sum += dram_elements(&n->slots.at[i]->shape);
    return sum;
}

/* Entries of a state dict: slots, and a counter for each batch norm. */
static int entries(const net *n)
{
    int sum = n->slots.n;
    char counter[256];
    for (int i = 0; i < n->slots.n; i++) sum += dram_names_bn_counter(n->slots.at[i]->name, counter, sizeof counter);
    return sum;
}

static int count_nodes(const net *n, dram_op op)
{
    int sum = 0;
    for (int i = 0; i < n->g->n_nodes; i++) sum += n->g->nodes[i]->op == op;
    return sum;
}

/* ---- registry ---- */

static void registry(void **state)
{
    (void)state;
    int n;
    const char *const *names = dram_arch_names(&n);
    assert_in_range(n, 30, 1000);
    for (int i = 0; i < n; i++) {
        const dram_arch *arch = dram_arch_find(names[i]);
        assert_non_null(arch);
        assert_string_equal(arch->name, names[i]);
        for (int j = 0; j < i; j++) assert_string_not_equal(names[i], names[j]);
    }
    assert_null(dram_arch_find("regnety_005"));
    assert_null(dram_arch_find(""));
    assert_null(dram_arch_find("regnety_004 "));
}

/* ---- RegNet ---- */

/* Totals without the classifier as pycls' dev/model_complexity.json has them (timm's totals less its head). */
static const struct {
    const char *name;
    int64_t parameters;
    int entries; /* with timm's two of the head */
    int width[4], depth[4], groups[4];
} regnets[] = {
    {"regnetx_002", 2315792, 266, {24, 56, 152, 368}, {1, 1, 4, 7}, {3, 7, 19, 46}},
    {"regnetx_004", 4772512, 428, {32, 64, 160, 384}, {1, 2, 7, 12}, {2, 4, 10, 24}},
    {"regnetx_008", 6586656, 0, {64, 128, 288, 672}, {1, 3, 7, 5}, {4, 8, 18, 42}},
    {"regnetx_016", 8277136, 0, {72, 168, 408, 912}, {2, 4, 10, 2}, {3, 7, 17, 38}},
    {"regnety_002", 2793996, 318, {24, 56, 152, 368}, {1, 1, 4, 7}, {3, 7, 19, 46}},
    {"regnety_004", 3903144, 384, {48, 104, 208, 440}, {1, 3, 6, 6}, {6, 13, 26, 55}},
    {"regnety_006", 5446160, 0, {48, 112, 256, 608}, {1, 3, 7, 4}, {3, 7, 16, 38}},
    {"regnety_008", 5494168, 340, {64, 128, 320, 768}, {1, 3, 8, 2}, {4, 8, 20, 48}},
    {"regnety_016", 10313430, 626, {48, 120, 336, 888}, {2, 6, 17, 2}, {2, 5, 14, 37}},
    {"regnetx_004_tv", 5495976 - 401 * 1000, 0, {32, 64, 160, 400}, {1, 2, 7, 12}, {2, 4, 10, 25}},
    {"regnety_008_tv", 6432512 - 785 * 1000, 0, {64, 144, 320, 784}, {1, 3, 8, 2}, {4, 9, 20, 49}},
};

static void regnet_totals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof regnets / sizeof *regnets; i++) {
        net n;
        dram_regnet_stage stage[4];
        net_trunk(&n, regnets[i].name, 64, 64);
        dram_regnet_stages(dram_arch_find(regnets[i].name), stage);
        for (int s = 0; s < 4; s++) {
            assert_int_equal(stage[s].width, regnets[i].width[s]);
            assert_int_equal(stage[s].depth, regnets[i].depth[s]);
            assert_int_equal(stage[s].width / stage[s].group, regnets[i].groups[s]);
            assert_int_equal(stage[s].width % stage[s].group, 0);
        }
        if (parameters(&n) != regnets[i].parameters)
            fail_msg("%s has %lld parameters", regnets[i].name, (long long)parameters(&n));
        if (regnets[i].entries) assert_int_equal(entries(&n), regnets[i].entries - 2);
        net_close(&n);
    }
}

/* Every name and shape of timm's state dicts, as tests/golden/regnet_shapes.json has them. */
static void regnet_state_dicts(void **state)
{
    (void)state;
    cJSON *root;
    const cJSON *arch, *entry, *d;
    int archs = 0;
    if (dram_json_read(DRAM_SOURCE_DIR "/tests/golden/regnet_shapes.json", &root) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    cJSON_ArrayForEach(arch, root)
    {
        net n;
        int own = 0, beside = 0;
        char counter[256];
        net_trunk(&n, arch->string, 64, 64);
        cJSON_ArrayForEach(entry, arch)
        {
            dram_shape want = {0};
            cJSON_ArrayForEach(d, entry) want.dim[want.rank++] = d->valueint;
            int i = dram_slots_find(&n.slots, "student", entry->string);
            if (i == DRAM_NONE) {
                if (!dram_names_ignored(n.arch, entry->string)) fail_msg("%s has no %s", arch->string, entry->string);
                beside++;
                continue;
            }
            dram_shape shape = dram_file_shape(n.slots.at[i]);
            assert_shape(&shape, want);
            assert_false(dram_names_ignored(n.arch, entry->string));
            own++;
            if (!dram_names_bn_counter(entry->string, counter, sizeof counter)) continue;
            assert_non_null(cJSON_GetObjectItemCaseSensitive(arch, counter));
            beside--;
        }
        assert_int_equal(own, n.slots.n);
        assert_int_equal(beside, 2); /* head.fc.weight and .bias */
        net_close(&n);
        archs++;
    }
    assert_in_range(archs, 12, 1000);
    cJSON_Delete(root);
}

/* Multiply-adds and outputs of convolutions at 224 x 224, in millions, as pycls publishes them (head included). */
static void regnet_work(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double macs, acts;
    } want[] = {{"regnetx_002", 199.0, 2.164}, {"regnetx_004", 397.7, 3.143}, {"regnety_002", 199.5, 2.168},
                {"regnety_004", 401.8, 3.892}, {"regnety_008", 797.2, 5.250}, {"regnety_016", 1612, 8.045}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        net n;
        net_trunk(&n, want[i].name, 224, 224);
        double macs = n.f.channels[4] * 1000.0, acts = 1000;
        for (int k = 0; k < n.g->n_nodes; k++) {
            const dram_node *node = n.g->nodes[k];
            if (node->op != DRAM_OP_conv2d && node->op != DRAM_OP_linear) continue;
            const dram_shape *w = dram_shape_of(n.g, node->in[1]);
            double outputs = (double)dram_elements(dram_shape_of(n.g, node->out[0]));
            acts += outputs;
            macs += outputs * (double)(dram_elements(w) / w->dim[0]);
        }
        /* half of the last digit published */
        if (!(fabs(macs / 1e6 - want[i].macs) <= (want[i].macs > 1000 ? 0.5 : 0.05)))
            fail_msg("%s: %.3f M multiply-adds", want[i].name, macs / 1e6);
        if (!(fabs(acts / 1e6 - want[i].acts) <= 0.0005)) fail_msg("%s: %.4f M outputs", want[i].name, acts / 1e6);
        net_close(&n);
    }
}

static void regnet_taps(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "regnety_004", 96, 70); /* 70: rounded up at each stride */
    assert_int_equal(n.f.n, 5);
    const int channels[5] = {32, 48, 104, 208, 440}, height[5] = {48, 24, 12, 6, 3}, width[5] = {35, 18, 9, 5, 3};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(n.f.stride[i], 2 << i);
        assert_int_equal(n.f.channels[i], channels[i]);
        assert_shape(dram_shape_of(n.g, n.f.tap[i]), DRAM_SHAPE(1, height[i], width[i], channels[i]));
    }
    net_close(&n);
}

static void check_file(const net *n, const char *name, dram_shape file, bool decays, dram_init init, double std)
{
    const dram_slot *s = slot(n, "student", name);
    dram_shape shape = dram_file_shape(s);
    assert_shape(&shape, file);
    if (s->decays != decays) fail_msg("%s: weight decay", name);
    if (s->init != init || !(fabs(s->init_std - std) <= 1e-6)) fail_msg("%s: init %d %g", name, s->init, s->init_std);
    bool statistic = strstr(name, ".running_") != NULL;
    assert_int_equal(s->trainable, !statistic);
}

static void regnet_slots(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "regnety_002", 64, 64);
    /* timm: normal with variance 2 / (k k out / groups) */
    check_file(&n, "stem.conv.weight", DRAM_SHAPE(32, 3, 3, 3), true, DRAM_INIT_NORMAL, sqrt(2.0 / 288));
    check_file(&n, "stem.bn.weight", DRAM_SHAPE(32), false, DRAM_INIT_ONE, 0);
    check_file(&n, "stem.bn.bias", DRAM_SHAPE(32), false, DRAM_INIT_ZERO, 0);
    check_file(&n, "stem.bn.running_mean", DRAM_SHAPE(32), false, DRAM_INIT_ZERO, 0);
    check_file(&n, "stem.bn.running_var", DRAM_SHAPE(32), false, DRAM_INIT_ONE, 0);
    check_file(&n, "s1.b1.conv1.conv.weight", DRAM_SHAPE(24, 32, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 24));
    check_file(&n, "s1.b1.conv2.conv.weight", DRAM_SHAPE(24, 8, 3, 3), true, DRAM_INIT_NORMAL, sqrt(2.0 / 72));
    check_file(&n, "s1.b1.se.fc1.weight", DRAM_SHAPE(8, 24, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 8));
    check_file(&n, "s1.b1.se.fc1.bias", DRAM_SHAPE(8), false, DRAM_INIT_ZERO, 0);
    check_file(&n, "s1.b1.se.fc2.weight", DRAM_SHAPE(24, 8, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 24));
    check_file(&n, "s1.b1.se.fc2.bias", DRAM_SHAPE(24), false, DRAM_INIT_ZERO, 0);
    check_file(&n, "s1.b1.conv3.conv.weight", DRAM_SHAPE(24, 24, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 24));
    check_file(&n, "s1.b1.conv3.bn.weight", DRAM_SHAPE(24), false, DRAM_INIT_ZERO, 0);
    check_file(&n, "s1.b1.downsample.conv.weight", DRAM_SHAPE(24, 32, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 24));
    check_file(&n, "s1.b1.downsample.bn.running_var", DRAM_SHAPE(24), false, DRAM_INIT_ONE, 0);
    check_file(&n, "s3.b2.se.fc1.weight", DRAM_SHAPE(38, 152, 1, 1), true, DRAM_INIT_NORMAL, sqrt(2.0 / 38));
    check_file(&n, "s4.b7.conv3.bn.bias", DRAM_SHAPE(368), false, DRAM_INIT_ZERO, 0);
    assert_int_equal(dram_slots_find(&n.slots, "student", "s3.b2.downsample.conv.weight"), DRAM_NONE);
    assert_int_equal(dram_slots_find(&n.slots, "student", "s4.b8.conv1.conv.weight"), DRAM_NONE);
    net_close(&n);

    net_open(&n, 1, 64, 64);
    n.build.zero_init_last = false;
    assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("regnetx_002"), n.image, &n.f), DRAM_OK);
    check_file(&n, "s4.b7.conv3.bn.weight", DRAM_SHAPE(368), false, DRAM_INIT_ONE, 0);
    assert_int_equal(dram_slots_find(&n.slots, "student", "s1.b1.se.fc1.weight"), DRAM_NONE);
    net_close(&n);
}

static void batch_norm_modes(void **state)
{
    (void)state;
    static const struct {
        dram_bn_mode mode;
        int stats, moved; /* of the 44 batch norms of regnetx_002: stem, 13 blocks of 3, 4 downsamples */
    } want[] = {{DRAM_BN_TRAIN, 44, 44}, {DRAM_BN_BATCH, 44, 0}, {DRAM_BN_EVAL, 0, 0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        net n;
        net_open(&n, 2, 32, 32);
        n.build.bn = want[i].mode;
        assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("regnetx_002"), n.image, &n.f), DRAM_OK);
        assert_int_equal(count_nodes(&n, DRAM_OP_bn_apply), 44);
        assert_int_equal(count_nodes(&n, DRAM_OP_bn_stats), want[i].stats);
        assert_int_equal(count_nodes(&n, DRAM_OP_bn_running), want[i].moved);
        assert_int_equal(entries(&n), 266 - 2); /* the same table in every mode */
        for (int k = 0; k < n.g->n_nodes; k++) {
            const dram_node *node = n.g->nodes[k];
            if (node->op == DRAM_OP_bn_running) assert_float_equal(node->attr.momentum, 0.1f, 0);
            if (node->op == DRAM_OP_bn_apply) assert_int_equal(node->attr.batch_stats, want[i].stats > 0);
        }
        net_close(&n);
    }
    net n; /* at stride 32 of a 32 x 32 image there is one value a channel: nothing to learn the variance from */
    net_open(&n, 1, 32, 32);
    assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("regnetx_002"), n.image, &n.f), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "s4.b1"));
    net_close(&n);
}

/* The same trunk twice in a graph: one set of slots, whose running statistics move twice, one after the other. */
static void built_twice(void **state)
{
    (void)state;
    net n;
    dram_features low;
    net_open(&n, 2, 64, 64);
    const dram_arch *arch = dram_arch_find("regnety_002");
    assert_int_equal(dram_trunk_build(&n.build, arch, n.image, &n.f), DRAM_OK);
    int slots = n.slots.n, scope = dram_scope_push(n.g, "low.student");
    dram_val small = dram_graph_input(n.g, "small", DRAM_F32, DRAM_SHAPE(2, 32, 32, 3));
    assert_int_equal(dram_trunk_build(&n.build, arch, small, &low), DRAM_OK);
    assert_string_equal(n.g->scope, "low.student");
    dram_scope_pop(n.g, scope);
    assert_int_equal(n.slots.n, slots);
    assert_string_equal(dram_value_at(n.g, low.tap[0])->name, "low.student.student.stem.bn");
    assert_string_equal(dram_value_at(n.g, n.f.tap[0])->name, "student.stem.bn");
    const dram_node *first = NULL;
    for (int k = 0; k < n.g->n_nodes; k++) {
        const dram_node *node = n.g->nodes[k];
        if (!strstr(node->name, "stem.bn.running")) continue;
        if (first)
            assert_int_equal(node->in[2], first->out[0]);
        else
            assert_string_equal(dram_value_at(n.g, node->in[2])->name, "student.stem.bn.running_mean");
        first = node;
    }
    assert_non_null(first);
    assert_int_equal(n.g->slot_value[dram_slots_find(&n.slots, "student", "stem.bn.running_var")], first->out[1]);
    net_close(&n);
}

/* ---- SAM ViT ---- */

static void vit_totals(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters;
        int tensors;
    } want[] = {{"vit_b", 89670912, 177}, {"vit_l", 308278272, 345}, {"vit_h", 637026048, 457}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        net n;
        net_trunk(&n, want[i].name, 1024, 1024);
        assert_int_equal(parameters(&n), want[i].parameters);
        assert_int_equal(n.slots.n, want[i].tensors);
        assert_int_equal(count_nodes(&n, DRAM_OP_resize), 0);
        assert_int_equal(n.f.n, 1);
        assert_int_equal(n.f.stride[0], 16);
        assert_shape(dram_shape_of(n.g, n.f.tap[0]), DRAM_SHAPE(1, 64, 64, 256));
        net_close(&n);
    }
}

static void vit_slots(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int dim, heads, blocks, native, global[4], globals;
    } want[] = {{"vit_b", 768, 12, 12, 64, {2, 5, 8, 11}, 4},
                {"vit_l", 1024, 16, 24, 64, {5, 11, 17, 23}, 4},
                {"vit_h", 1280, 16, 32, 64, {7, 15, 23, 31}, 4},
                {"vit_micro", 128, 4, 6, 16, {2, 5}, 2},
                {"vit_tiny", 192, 3, 12, 16, {2, 5, 8, 11}, 4}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        net n;
        char name[64];
        int dim = want[i].dim, grid = want[i].native;
        net_trunk(&n, want[i].name, 16 * grid, 16 * grid);
        check_file(&n, "pos_embed", DRAM_SHAPE(1, grid, grid, dim), false, DRAM_INIT_TRUNC_NORMAL, 0.02);
        check_file(&n, "patch_embed.proj.weight", DRAM_SHAPE(dim, 3, 16, 16), true, DRAM_INIT_TRUNC_NORMAL, 1.0 / 48);
        check_file(&n, "patch_embed.proj.bias", DRAM_SHAPE(dim), false, DRAM_INIT_ZERO, 0);
        for (int b = 0; b < want[i].blocks; b++) {
            bool global = false;
            for (int k = 0; k < want[i].globals; k++) global |= want[i].global[k] == b;
            dram_shape rel = DRAM_SHAPE(2 * (global ? grid : 14) - 1, dim / want[i].heads);
#define BLOCK(PART, SHAPE, DECAYS, INIT, STD)                                                                          \
    snprintf(name, sizeof name, "blocks.%d.%s", b, PART);                                                              \
    check_file(&n, name, SHAPE, DECAYS, DRAM_INIT_##INIT, STD)
            BLOCK("norm1.weight", DRAM_SHAPE(dim), false, ONE, 0);
            BLOCK("norm1.bias", DRAM_SHAPE(dim), false, ZERO, 0);
            BLOCK("attn.rel_pos_h", rel, false, ZERO, 0);
            BLOCK("attn.rel_pos_w", rel, false, ZERO, 0);
            BLOCK("attn.qkv.weight", DRAM_SHAPE(3 * dim, dim), true, TRUNC_NORMAL, 0.02);
            BLOCK("attn.qkv.bias", DRAM_SHAPE(3 * dim), false, ZERO, 0);
            BLOCK("attn.proj.weight", DRAM_SHAPE(dim, dim), true, TRUNC_NORMAL, 0.02);
            BLOCK("attn.proj.bias", DRAM_SHAPE(dim), false, ZERO, 0);
            BLOCK("norm2.weight", DRAM_SHAPE(dim), false, ONE, 0);
            BLOCK("norm2.bias", DRAM_SHAPE(dim), false, ZERO, 0);
            BLOCK("mlp.fc1.weight", DRAM_SHAPE(4 * dim, dim), true, TRUNC_NORMAL, 0.02);
            BLOCK("mlp.fc1.bias", DRAM_SHAPE(4 * dim), false, ZERO, 0);
            BLOCK("mlp.fc2.weight", DRAM_SHAPE(dim, 4 * dim), true, TRUNC_NORMAL, 0.02);
            BLOCK("mlp.fc2.bias", DRAM_SHAPE(dim), false, ZERO, 0);
#undef BLOCK
        }
        check_file(&n, "neck.0.weight", DRAM_SHAPE(256, dim, 1, 1), true, DRAM_INIT_TRUNC_NORMAL, 1 / sqrt(3.0 * dim));
        check_file(&n, "neck.1.weight", DRAM_SHAPE(256), false, DRAM_INIT_ONE, 0);
        check_file(&n, "neck.1.bias", DRAM_SHAPE(256), false, DRAM_INIT_ZERO, 0);
        check_file(&n, "neck.2.weight", DRAM_SHAPE(256, 256, 3, 3), true, DRAM_INIT_TRUNC_NORMAL, 1 / sqrt(6912.0));
        check_file(&n, "neck.3.weight", DRAM_SHAPE(256), false, DRAM_INIT_ONE, 0);
        check_file(&n, "neck.3.bias", DRAM_SHAPE(256), false, DRAM_INIT_ZERO, 0);
        assert_int_equal(n.slots.n, 3 + 14 * want[i].blocks + 6);
        net_close(&n);
    }
}

/* Another size, not square: positions are resampled, those of windowed blocks are not. */
static void vit_sizes(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "vit_micro", 512, 256);
    assert_shape(dram_shape_of(n.g, n.f.tap[0]), DRAM_SHAPE(1, 32, 16, 256));
    assert_int_equal(count_nodes(&n, DRAM_OP_resize), 1 + 2); /* pos_embed; rel_pos_h of two global blocks, w fits */
    int windowed = 0, global = 0;
    for (int k = 0; k < n.g->n_nodes; k++) {
        const dram_node *node = n.g->nodes[k];
        if (node->op == DRAM_OP_resize && dram_shape_of(n.g, node->in[0])->rank == 2) {
            assert_int_equal(node->attr.mode, DRAM_RESIZE_BILINEAR);
            assert_shape(dram_shape_of(n.g, node->out[0]), DRAM_SHAPE(63, 32));
        } else if (node->op == DRAM_OP_resize) {
            assert_int_equal(node->attr.mode, DRAM_RESIZE_BICUBIC_AA);
            assert_shape(dram_shape_of(n.g, node->out[0]), DRAM_SHAPE(1, 32, 16, 128));
        } else if (node->op == DRAM_OP_attention) {
            assert_int_equal(node->attr.heads, 4);
            windowed += node->attr.window == 14;
            global += node->attr.window == 0;
            /* the padding tokens' bias is the bias of qkv */
            const dram_node *qkv = n.g->nodes[dram_value_at(n.g, node->in[0])->producer];
            assert_int_equal(node->in[3], qkv->in[2]);
        } else if (node->op == DRAM_OP_layernorm) {
            assert_float_equal(node->attr.eps, 1e-6f, 0);
        }
    }
    assert_int_equal(windowed, 4);
    assert_int_equal(global, 2);
    net_close(&n);

    net_open(&n, 1, 256, 250);
    assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("vit_micro"), n.image, &n.f), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "multiples of 16"));
    net_close(&n);
}

/* ---- necks and heads ---- */

static void with_group(net *n, const char *group)
{
    n->build.group = group;
}

static void heads_of_regnet(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "regnety_004", 96, 80);
    with_group(&n, "neck");
    dram_val embedding = dram_neck_build(&n.build, &n.f);
    assert_int_equal(n.g->status, DRAM_OK);
    assert_shape(dram_shape_of(n.g, embedding), DRAM_SHAPE(1, 6, 5, 256));
    dram_shape file = dram_file_shape(slot(&n, "neck", "s16.weight"));
    assert_shape(&file, DRAM_SHAPE(256, 208, 1, 1));
    file = dram_file_shape(slot(&n, "neck", "s32.weight"));
    assert_shape(&file, DRAM_SHAPE(256, 440, 1, 1));
    file = dram_file_shape(slot(&n, "neck", "conv.weight"));
    assert_shape(&file, DRAM_SHAPE(256, 256, 3, 3));
    with_group(&n, "head");
    dram_val logits = dram_seg_head_build(&n.build, &n.f, embedding, 11);
    assert_int_equal(n.g->status, DRAM_OK);
    assert_shape(dram_shape_of(n.g, logits), DRAM_SHAPE(1, 12, 10, 11));
    assert_true(slot(&n, "head", "classifier.weight")->decays);
    assert_false(slot(&n, "head", "classifier.bias")->decays);
    slot(&n, "head", "lateral.weight");
    with_group(&n, "sr");
    dram_val sr = dram_sr_head_build(&n.build, embedding, 9, 8);
    assert_int_equal(n.g->status, DRAM_OK);
    assert_shape(dram_shape_of(n.g, sr), DRAM_SHAPE(1, 9, 8, 256));
    sr = dram_sr_head_build(&n.build, logits, 24, 20); /* other channels under the same names */
    assert_int_equal(n.g->status, DRAM_ERR_INTERNAL);
    assert_int_equal(sr, DRAM_NONE);
    net_close(&n);
}

static void heads_of_vit(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "vit_micro", 256, 256);
    int slots = n.slots.n;
    with_group(&n, "neck");
    assert_int_equal(dram_neck_build(&n.build, &n.f), n.f.tap[0]);
    assert_int_equal(n.slots.n, slots);
    with_group(&n, "head");
    dram_val logits = dram_seg_head_build(&n.build, &n.f, n.f.tap[0], 3);
    assert_int_equal(n.g->status, DRAM_OK);
    assert_shape(dram_shape_of(n.g, logits), DRAM_SHAPE(1, 32, 32, 3));
    assert_int_equal(dram_slots_find(&n.slots, "head", "lateral.weight"), DRAM_NONE);
    net_close(&n);
}

static void neck_without_taps(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "regnetx_002", 64, 64);
    n.f.n = 4; /* no stride 32 */
    with_group(&n, "neck");
    assert_int_equal(dram_neck_build(&n.build, &n.f), DRAM_NONE);
    assert_int_equal(n.g->status, DRAM_ERR_INTERNAL);
    /* the failure sticks, and nothing that follows touches it */
    assert_int_equal(dram_seg_head_build(&n.build, &n.f, DRAM_NONE, 3), DRAM_NONE);
    assert_int_equal(dram_sr_head_build(&n.build, DRAM_NONE, 3, 3), DRAM_NONE);
    assert_int_equal(dram_sam_vit_build(&n.build, dram_arch_find("vit_micro"), n.image), DRAM_NONE);
    assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("regnetx_002"), n.image, &n.f), DRAM_ERR_INTERNAL);
    net_close(&n);
}

/* Each weight of trunk, neck and heads is reached by the loss, and its gradient has its shape. */
static void every_gradient(void **state)
{
    (void)state;
    static const char *const archs[] = {"regnety_004", "regnetx_002", "vit_micro"};
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++) {
        net n;
        dram_backward *b;
        net_trunk(&n, archs[a], 96, 80);
        with_group(&n, "neck");
        dram_val embedding = dram_neck_build(&n.build, &n.f), of[2], seed[2];
        with_group(&n, "head");
        of[0] = dram_seg_head_build(&n.build, &n.f, embedding, 4);
        with_group(&n, "sr");
        of[1] = dram_sr_head_build(&n.build, embedding, 9, 7);
        assert_int_equal(n.g->status, DRAM_OK);
        for (int i = 0; i < 2; i++) seed[i] = dram_graph_input(n.g, "seed", DRAM_F32, *dram_shape_of(n.g, of[i]));
        int n_values = n.g->n_values, weights = 0, trainable = 0;
        assert_int_equal(dram_backward_build(n.g, of, seed, 2, &b), DRAM_OK);
        for (int v = 0; v < n_values; v++) {
            const dram_value *value = dram_value_at(n.g, v);
            if (value->kind != DRAM_VALUE_SLOT) continue;
            dram_val gradient = dram_gradient_of(b, v);
            if (!n.slots.at[value->slot]->trainable) {
                assert_int_equal(gradient, DRAM_NONE);
                continue;
            }
            if (gradient == DRAM_NONE) fail_msg("%s has no gradient", value->name);
            assert_shape(dram_shape_of(n.g, gradient), value->shape);
            weights++;
        }
        for (int i = 0; i < n.slots.n; i++) trainable += n.slots.at[i]->trainable;
        assert_int_equal(weights, trainable);
        dram_backward_free(b);
        net_close(&n);
    }
}

/* GELUs of the nodes from `first` on: by themselves, and at the end of a product. */
static void count_gelus(const net *n, int first, int *alone, int *fused)
{
    *alone = *fused = 0;
    for (int i = first; i < n->g->n_nodes; i++) {
        *alone += n->g->nodes[i]->op == DRAM_OP_gelu;
        *fused += n->g->nodes[i]->op == DRAM_OP_linear && n->g->nodes[i]->attr.act == DRAM_ACT_GELU;
    }
}

/* A frozen teacher beside a student: groups keep the names apart, and no gradient is wanted of it. */
static void frozen_teacher(void **state)
{
    (void)state;
    net n;
    net_trunk(&n, "vit_micro", 256, 256);
    const dram_arch *arch = dram_arch_find("vit_micro");
    int student = n.slots.n, nodes = n.g->n_nodes, alone, fused;
    count_gelus(&n, 0, &alone, &fused);
    assert_int_equal(alone, arch->blocks);
    assert_int_equal(fused, 0);
    with_group(&n, "teacher");
    n.build.category = DRAM_CATEGORY_TEACHER_WEIGHTS;
    n.build.trainable = false;
    dram_val embedding = dram_sam_vit_build(&n.build, arch, n.image);
    assert_int_equal(n.g->status, DRAM_OK);
    count_gelus(&n, nodes, &alone, &fused);
    assert_int_equal(alone, 0);
    assert_int_equal(fused, arch->blocks);
    /* The same weights behind what has a gradient, then detached from it. */
    for (int detached = 0; detached < 2; detached++) {
        nodes = n.g->n_nodes;
        n.g->detached = detached;
        dram_value_at(n.g, n.image)->requires_grad = true;
        dram_sam_vit_build(&n.build, arch, n.image);
        assert_int_equal(n.g->status, DRAM_OK);
        count_gelus(&n, nodes, &alone, &fused);
        assert_int_equal(alone, detached ? 0 : arch->blocks);
        assert_int_equal(fused, detached ? arch->blocks : 0);
    }
    assert_int_equal(n.slots.n, 2 * student);
    assert_false(dram_value_at(n.g, embedding)->requires_grad);
    assert_true(dram_value_at(n.g, n.f.tap[0])->requires_grad);
    assert_int_equal(slot(&n, "teacher", "neck.3.bias")->category, DRAM_CATEGORY_TEACHER_WEIGHTS);
    assert_int_equal(slot(&n, "student", "neck.3.bias")->category, DRAM_CATEGORY_STUDENT_WEIGHTS);
    assert_string_equal(dram_value_at(n.g, embedding)->name, "teacher.neck.3");
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry),         cmocka_unit_test(regnet_totals),     cmocka_unit_test(regnet_state_dicts),
        cmocka_unit_test(regnet_work),      cmocka_unit_test(regnet_taps),       cmocka_unit_test(regnet_slots),
        cmocka_unit_test(batch_norm_modes), cmocka_unit_test(built_twice),       cmocka_unit_test(vit_totals),
        cmocka_unit_test(vit_slots),        cmocka_unit_test(vit_sizes),         cmocka_unit_test(heads_of_regnet),
        cmocka_unit_test(heads_of_vit),     cmocka_unit_test(neck_without_taps), cmocka_unit_test(every_gradient),
        cmocka_unit_test(frozen_teacher),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
