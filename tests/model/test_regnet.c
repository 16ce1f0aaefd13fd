/* The registry, and RegNets as graphs: names, shapes, counts and wiring. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/json.h"
#include "model/family.h"
#include "structure.h"

/* ---- registry ---- */

static void registry(void **state)
{
    (void)state;
    const char *names[DRAM_ARCHS_MOST];
    const dram_arch *arch;
    int n = dram_arch_names(false, names);
    assert_in_range(n, 30, DRAM_ARCHS_MOST - 1);
    for (int i = 0; i < n; i++) {
        if (i) assert_true(strcmp(names[i - 1], names[i]) < 0); /* sorted, and none twice */
        arch = dram_arch_find(names[i]);
        assert_non_null(arch);
        assert_string_equal(arch->name, names[i]);
        assert_ptr_equal(dram_arch_find(dram_arch_at(i)->name), dram_arch_at(i));
    }
    assert_null(dram_arch_at(n));
    assert_null(dram_arch_find("regnety_005"));
    assert_null(dram_arch_find(""));
    assert_null(dram_arch_find("regnety_004 "));
}

/* A name, and an object or nothing; neither was cut. */
static void assert_in_timm(const dram_arch *arch)
{
    dram_timm timm;
    arch->family->in_timm(arch, &timm);
    size_t n = strlen(timm.name), m = strlen(timm.args);
    assert_true(n > 0 && n < sizeof timm.name - 1);
    assert_true(m == 0 || (m < sizeof timm.args - 1 && timm.args[0] == '{' && timm.args[m - 1] == '}'));
}

/* A family that forgot something would fail where a run first asks for it. */
static void families(void **state)
{
    (void)state;
    int n = 0, teachers = 0;
    const char *names[DRAM_ARCHS_MOST];
    const dram_arch *arch;
    for (; (arch = dram_arch_at(n)); n++) {
        const dram_family *family = arch->family;
        assert_true(arch >= family->archs && arch < family->archs + family->n_archs);
        assert_true(arch->blocks > 0 && arch->numbers && family->build && family->matches);
        assert_true(family->n_conventions > 0 && family->n_conventions <= DRAM_NAMES_COUNT);
        assert_string_equal(family->conventions[DRAM_NAMES_TIMM].prefix, "");
        assert_non_null(family->probes[0]);
        assert_non_null(family->beside);
        if (family->embed) assert_true(arch->native > 0);
        assert_true(family->n_conventions > DRAM_NAMES_HF && family->in_timm);
        assert_in_timm(arch);
        teachers += family->embed != NULL;
    }
    assert_true(n > 30 && teachers > 0 && teachers < n);
    assert_int_equal(dram_arch_names(true, names), teachers);
    for (int i = 0; i < teachers; i++) assert_non_null(dram_arch_find(names[i])->family->embed);
}

/* Batch norms are in a graph where the family says so, and nowhere else. */
static void batch_norm_is_as_the_family_says(void **state)
{
    (void)state;
    static const char *const archs[] = {"regnetx_002", "vit_micro"};
    for (int a = 0; a < 2; a++) {
        net n;
        int found = 0;
        net_trunk(&n, archs[a], 64, 64);
        for (int i = 0; i < n.g->n_nodes; i++) found += n.g->nodes[i]->op == DRAM_OP_bn_apply;
        assert_int_equal(found > 0, n.arch->family->batch_norm);
        assert_int_equal(n.f.batch_norm, n.arch->family->batch_norm);
        net_close(&n);
    }
}

/* ---- RegNet ---- */

/* Depth of a stage; its width and the number of its groups, of the last block's conv2 [width,3,3,width/groups]. */
static int stage_of(const net *n, int s, int *width, int *groups)
{
    int depth = 0;
    for (;;) {
        char name[64];
        snprintf(name, sizeof name, "s%d.b%d.conv2.conv.weight", s + 1, depth + 1);
        int i = dram_slots_find(&n->slots, "student", name);
        if (i == DRAM_NONE) return depth;
        const dram_shape *shape = &n->slots.at[i]->shape;
        *width = (int)shape->dim[0];
        assert_int_equal(shape->dim[0] % shape->dim[3], 0);
        *groups = (int)(shape->dim[0] / shape->dim[3]);
        depth++;
    }
}

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
        net_trunk(&n, regnets[i].name, 64, 64);
        for (int s = 0; s < 4; s++) {
            int width = 0, groups = 0;
            assert_int_equal(stage_of(&n, s, &width, &groups), regnets[i].depth[s]);
            assert_int_equal(width, regnets[i].width[s]);
            assert_int_equal(groups, regnets[i].groups[s]);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry),
        cmocka_unit_test(families),
        cmocka_unit_test(batch_norm_is_as_the_family_says),
        cmocka_unit_test(regnet_totals),
        cmocka_unit_test(regnet_state_dicts),
        cmocka_unit_test(regnet_work),
        cmocka_unit_test(regnet_taps),
        cmocka_unit_test(regnet_slots),
        cmocka_unit_test(batch_norm_modes),
        cmocka_unit_test(built_twice),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
