/* A frozen trunk: what is given to neck and task head, and their gradients, are those of a trained trunk in its
 * evaluation mode, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ops/autodiff.h"
#include "ops/call.h"
#include "support/hashweights.h"
#include "support/run_graph.h"

#include "model/model.h"

enum { SIDE = 32, CLASSES = 5, WORKERS = 2 };

/* A student with its losses and their gradients, in a graph, and what came of a run. */
typedef struct {
    dram_slots slots;
    dram_graph *g;
    run_state run;
    dram_val losses[2]; /* of the embedding, of the task */
    float loss[2];
    dram_val gradient[600]; /* of each slot */
    run_io out[600];
    int n_out;
} student;

static float pixels[SIDE * SIDE * 3], target[4 * 256], mask[4] = {1, 1, 0, 1}, counted = SIDE * SIDE;
static uint8_t labels[SIDE * SIDE];

static dram_build part(const student *s, const char *group, bool frozen, dram_bn_mode bn, dram_dtype dtype)
{
    return (dram_build){.g = s->g,
                        .group = group,
                        .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                        .trainable = !frozen,
                        .keep_f32 = true,
                        .bn = bn,
                        .dtype = dtype};
}

static dram_val f32(const student *s, dram_val v)
{
    return dram_value_at(s->g, v)->dtype == DRAM_F32 ? v
                                                     : DRAM_CALL(s->g, cast, "f32", DRAM_ATTR(.dtype = DRAM_F32), v);
}

static void build(student *s, const char *arch, bool frozen, dram_dtype dtype, run_io in[5])
{
    const dram_build trunk = part(s, "student", frozen, DRAM_BN_EVAL, dtype);
    const dram_build neck = part(s, "neck", false, DRAM_BN_TRAIN, dtype);
    const dram_build head = part(s, "head", false, DRAM_BN_TRAIN, dtype);
    dram_features f;
    dram_val v[5];
    v[0] = dram_graph_input(s->g, "image", DRAM_F32, DRAM_SHAPE(1, SIDE, SIDE, 3));
    v[1] = dram_graph_input(s->g, "target", DRAM_F32, DRAM_SHAPE(1, 2, 2, 256));
    v[2] = dram_graph_input(s->g, "mask", DRAM_F32, DRAM_SHAPE(1, 2, 2));
    v[3] = dram_graph_input(s->g, "labels", DRAM_U8, DRAM_SHAPE(1, SIDE, SIDE));
    v[4] = dram_graph_input(s->g, "count", DRAM_F32, DRAM_SHAPE(1));
    void *const data[5] = {pixels, target, mask, labels, &counted};
    for (int i = 0; i < 5; i++) in[i] = (run_io){v[i], data[i]};
    dram_val image = v[0];
    if (dtype != DRAM_F32) image = DRAM_CALL(s->g, cast, "low", DRAM_ATTR(.dtype = (int)dtype), image);
    if (dram_trunk_build(&trunk, dram_arch_find(arch), image, &f) != DRAM_OK) fail_msg("%s", dram_error_text());
    dram_val embedding = dram_neck_build(&neck, &f);
    dram_val logits = dram_seg_head_build(&head, &f, embedding, CLASSES);
    s->losses[0] = DRAM_CALL(s->g, embed_loss, "sam", DRAM_ATTR(.mode = DRAM_EMBED_MSE), f32(s, embedding), v[1], v[2]);
    s->losses[1] = DRAM_CALL(s->g, cross_entropy, "task", DRAM_ATTR(.ignore = 255), f32(s, logits), v[3], v[4]);
}

static void fill_slots(student *s)
{
    for (int i = 0; i < s->slots.n; i++) {
        const dram_slot *slot = s->slots.at[i];
        const dram_shape *shape = &slot->shape;
        float *data = run_slot(&s->run, i);
        double scale, offset;
        int64_t dim[DRAM_MAX_RANK];
        assert_int_equal(slot->dtype, DRAM_F32); /* frozen or not, whatever the type of activations */
        for (int k = 0; k < shape->rank; k++) dim[k] = shape->dim[k];
        hash_rule(slot->name, shape->rank, dim, &scale, &offset);
        for (int64_t k = 0; k < dram_elements(shape); k++)
            data[k] = (float)(offset + scale * ((double)(hash_u64(slot->name, k) >> 40) / (1 << 23) - 1));
    }
}

static void keep(student *s, dram_val v, void *to)
{
    assert_true(s->n_out < (int)(sizeof s->out / sizeof s->out[0]));
    s->out[s->n_out++] = (run_io){v, to};
}

static student *student_open(const char *arch, bool frozen, dram_dtype dtype)
{
    run_io in[5];
    dram_backward *back;
    student *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_int_equal(dram_graph_new("frozen", &s->slots, &s->g), DRAM_OK);
    build(s, arch, frozen, dtype, in);
    dram_val seed = dram_call(s->g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    const dram_val seeds[2] = {seed, seed};
    int forward = s->g->n_values;
    /* the embedding of a ViT is its trunk's own: of a frozen one that loss has no gradient */
    bool own = !dram_value_at(s->g, s->losses[0])->requires_grad;
    if (dram_backward_build(s->g, s->losses + own, seeds, 2 - own, &back) != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int v = 0; v < forward; v++) {
        if (s->g->values[v]->kind != DRAM_VALUE_SLOT) continue;
        dram_val gradient = dram_gradient_of(back, v);
        assert_true(s->g->values[v]->slot < 600);
        s->gradient[s->g->values[v]->slot] = gradient;
        if (gradient != DRAM_NONE) keep(s, gradient, run_memory(dram_value_bytes(dram_value_at(s->g, gradient))));
    }
    dram_backward_free(back);
    keep(s, s->losses[0], &s->loss[0]);
    keep(s, s->losses[1], &s->loss[1]);
    run_open(&s->run, &s->slots, WORKERS);
    fill_slots(s);
    run_graph(&s->run, s->g, in, 5, s->out, s->n_out);
    return s;
}

static void student_close(student *s)
{
    for (int i = 0; i < s->n_out - 2; i++) free(s->out[i].data);
    run_close(&s->run);
    dram_graph_free(s->g);
    dram_slots_free(&s->slots);
    free(s);
}

static const float *gradient_of(const student *s, int slot)
{
    for (int i = 0; i < s->n_out; i++)
        if (s->out[i].v == s->gradient[slot]) return s->out[i].data;
    return NULL;
}

static bool is_of_trunk(const dram_slot *slot)
{
    return strcmp(slot->group, "student") == 0;
}

/* The slots come in one order, since the graphs are built in one. */
static void compare(const student *frozen, const student *all)
{
    int equal = 0, trunk = 0;
    assert_int_equal(frozen->slots.n, all->slots.n);
    assert_memory_equal(frozen->loss, all->loss, sizeof all->loss);
    assert_true(isfinite(all->loss[0]) && all->loss[0] > 0 && isfinite(all->loss[1]) && all->loss[1] > 0);
    for (int i = 0; i < all->slots.n; i++) {
        const dram_slot *slot = all->slots.at[i];
        const float *here = gradient_of(frozen, i), *there = gradient_of(all, i);
        assert_string_equal(frozen->slots.at[i]->name, slot->name);
        if (is_of_trunk(slot)) {
            assert_false(frozen->slots.at[i]->trainable);
            assert_null(here);
            trunk += there != NULL;
            continue;
        }
        if (!slot->trainable) continue;
        assert_true(here && there);
        int64_t n = dram_elements(&slot->shape), zeros = 0;
        if (memcmp(here, there, (size_t)n * sizeof *here) != 0) fail_msg("%s.%s differs", slot->group, slot->name);
        for (int64_t k = 0; k < n; k++) zeros += here[k] == 0;
        assert_true(zeros < n);
        equal++;
    }
    assert_true(equal >= 7 && trunk > 30);
}

/* A node of the frozen trunk is no batch's statistics, and none moves the running ones. */
static void check_nodes(const student *s)
{
    int normed = 0;
    for (int i = 0; i < s->g->n_nodes; i++) {
        const dram_node *node = s->g->nodes[i];
        if (strncmp(node->name, "student.", 8) != 0) continue;
        assert_int_not_equal(node->op, DRAM_OP_bn_stats);
        assert_int_not_equal(node->op, DRAM_OP_bn_running);
        for (int o = 0; o < node->n_out; o++) assert_false(dram_value_at(s->g, node->out[o])->requires_grad);
        normed++;
    }
    assert_true(normed > 20);
}

static void gradients_are_those_of_a_trunk_in_evaluation(void **state)
{
    static const struct {
        const char *arch;
        dram_dtype dtype;
    } rows[] = {{"regnety_002", DRAM_F32}, {"regnetx_002", DRAM_BF16}, {"vit_micro", DRAM_F32}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        student *frozen = student_open(rows[i].arch, true, rows[i].dtype),
                *all = student_open(rows[i].arch, false, rows[i].dtype);
        compare(frozen, all);
        check_nodes(frozen);
        assert_true(frozen->g->n_nodes < all->g->n_nodes);
        student_close(frozen);
        student_close(all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients_are_those_of_a_trunk_in_evaluation)};
    dram_ops_init();
    for (int i = 0; i < SIDE * SIDE * 3; i++) pixels[i] = (float)hash_index("pixel", i, 2001) / 1000 - 1;
    for (int i = 0; i < 4 * 256; i++) target[i] = (float)hash_index("target", i, 2001) / 1000 - 1;
    for (int i = 0; i < SIDE * SIDE; i++) labels[i] = (uint8_t)hash_index("label", i, CLASSES);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
