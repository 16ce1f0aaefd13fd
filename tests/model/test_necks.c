/* Necks and heads as graphs, and that the loss reaches every weight through them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/autodiff.h"
#include "structure.h"

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
    assert_int_equal(dram_trunk_build(&n.build, dram_arch_find("vit_micro"), n.image, &n.f), DRAM_ERR_INTERNAL);
    assert_int_equal(n.f.tap[0], DRAM_NONE);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_regnet),
        cmocka_unit_test(heads_of_vit),
        cmocka_unit_test(neck_without_taps),
        cmocka_unit_test(every_gradient),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
