/* SAM's ViT as a graph: names, shapes, counts and wiring; student and frozen teacher. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "structure.h"

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

/* Weights of another size than the network's: tables of that size, and at that size nothing is resampled. */
static void vit_of_another_native_size(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int native, dim, rel, plain, global;
    } want[] = {{"vit_b", 256, 768, 64, 0, 2}, {"vit_b", 512, 768, 64, 1, 11}, {"vit_micro", 1024, 128, 32, 0, 5}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        net n;
        char name[64];
        int side = want[i].native, grid = side / 16;
        net_open(&n, 1, side, side);
        n.build.native = side;
        assert_int_equal(dram_trunk_build(&n.build, dram_arch_find(want[i].name), n.image, &n.f), DRAM_OK);
        assert_int_equal(count_nodes(&n, DRAM_OP_resize), 0);
        check_file(&n, "pos_embed", DRAM_SHAPE(1, grid, grid, want[i].dim), false, DRAM_INIT_TRUNC_NORMAL, 0.02);
        snprintf(name, sizeof name, "blocks.%d.attn.rel_pos_h", want[i].plain);
        check_file(&n, name, DRAM_SHAPE(27, want[i].rel), false, DRAM_INIT_ZERO, 0);
        snprintf(name, sizeof name, "blocks.%d.attn.rel_pos_w", want[i].global);
        check_file(&n, name, DRAM_SHAPE(2 * grid - 1, want[i].rel), false, DRAM_INIT_ZERO, 0);
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
    dram_features f;
    dram_trunk_build(&n.build, arch, n.image, &f);
    dram_val embedding = f.tap[0];
    assert_int_equal(n.g->status, DRAM_OK);
    count_gelus(&n, nodes, &alone, &fused);
    assert_int_equal(alone, 0);
    assert_int_equal(fused, arch->blocks);
    /* The same weights behind what has a gradient, then detached from it. */
    for (int detached = 0; detached < 2; detached++) {
        nodes = n.g->n_nodes;
        n.g->detached = detached;
        dram_value_at(n.g, n.image)->requires_grad = true;
        dram_trunk_build(&n.build, arch, n.image, &f);
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
        cmocka_unit_test(vit_totals),     cmocka_unit_test(vit_slots),
        cmocka_unit_test(vit_sizes),      cmocka_unit_test(vit_of_another_native_size),
        cmocka_unit_test(frozen_teacher),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
