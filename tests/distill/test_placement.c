/* The teacher in every placement and in groups: the same bits, the spaces and queues as promised. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "teachers.h"

static void *run_order(teacher_order order, int64_t *bytes)
{
    teacher t;
    teacher_open(&t, order);
    void *embedding = teacher_run(&t);
    *bytes = dram_value_bytes(dram_value_at(t.g, t.embedding));
    teacher_close(&t);
    return embedding;
}

/* The same bits, and numbers that are no constant. */
static void assert_same(teacher_order a, teacher_order b)
{
    int64_t n, m;
    char *x = run_order(a, &n), *y = run_order(b, &m);
    assert_int_equal(n, m);
    assert_true(n > 0);
    assert_memory_equal(x, y, (size_t)n);
    assert_true(memcmp(x, x + n / 2, (size_t)n / 2) != 0);
    free(x);
    free(y);
}

/* vit_micro at a size that resizes position and relative positions, to a student's grid of another size. */
static const teacher_order micro = {.arch = "vit_micro", .images = 3, .size = 64, .grid = 3};
static const teacher_order tiny = {.arch = "vit_tiny", .images = 2, .size = 256, .grid = 16};

static teacher_order with(teacher_order order, placement where, int group, dram_dtype dtype)
{
    order.placement = where;
    order.group = group;
    order.dtype = dtype;
    return order;
}

static void placements_give_the_same_bits(void **state)
{
    (void)state;
    static const dram_dtype types[] = {DRAM_F32, DRAM_BF16, DRAM_F16};
    for (int k = 0; k < 3; k++)
        for (int group = k == 0 ? 0 : 2; group <= 2; group += 2) { /* in twos: the last is alone */
            assert_same(with(micro, ON_DEVICE, group, types[k]), with(micro, STREAMED, group, types[k]));
            assert_same(with(micro, ON_DEVICE, group, types[k]), with(micro, ON_HOST, group, types[k]));
        }
    assert_same(with(tiny, ON_DEVICE, 0, DRAM_F32), with(tiny, STREAMED, 0, DRAM_F32));
    assert_same(with(tiny, ON_DEVICE, 1, DRAM_BF16), with(tiny, STREAMED, 1, DRAM_BF16));
}

static void a_group_as_large_as_the_batch_changes_nothing(void **state)
{
    (void)state;
    teacher all, same;
    teacher_open(&all, with(micro, ON_DEVICE, 0, DRAM_F32));
    for (int group = 3; group <= 4; group++) {
        teacher_open(&same, with(micro, ON_DEVICE, group, DRAM_F32));
        assert_int_equal(same.g->n_nodes, all.g->n_nodes);
        assert_int_equal(same.g->n_values, all.g->n_values);
        for (int i = 0; i < all.g->n_nodes; i++) {
            assert_int_equal(same.g->nodes[i]->op, all.g->nodes[i]->op);
            assert_string_equal(same.g->nodes[i]->name, all.g->nodes[i]->name);
            assert_memory_equal(same.g->nodes[i]->in, all.g->nodes[i]->in, sizeof all.g->nodes[i]->in);
        }
        teacher_close(&same);
    }
    teacher_close(&all);
}

/* Another group is another shape of matrix product, so sums are taken in another order: a share of the numbers'
 * size. */
static void groups_differ_by_rounding(void **state)
{
    (void)state;
    int64_t bytes;
    float *all = run_order(with(micro, ON_DEVICE, 0, DRAM_F32), &bytes);
    int64_t n = bytes / 4;
    assert_true(n == 3 * 3 * 3 * 256);
    for (int group = 1; group <= 2; group++) {
        float *parts = run_order(with(micro, STREAMED, group, DRAM_F32), &bytes);
        assert_int_equal(bytes, 4 * n);
        for (int64_t i = 0; i < n; i++) {
            /* The last layer norm makes numbers of about 1. The six blocks add sums of up to 512 terms, each wrong by
             * up to sqrt(512) / 2 units of 2^-24 if errors are random; 50 such sums in a row: about 1e-4 at the very
             * most. */
            double d = fabs((double)parts[i] - (double)all[i]);
            if (!(d <= 1e-4)) fail_msg("group %d, element %lld: %g and %g", group, (long long)i, parts[i], all[i]);
        }
        free(parts);
    }
    free(all);
}

/* A group sees its own images: those of a smaller batch. */
static void images_keep_their_order(void **state)
{
    (void)state;
    int64_t bytes, part;
    teacher_order order = with(micro, ON_DEVICE, 1, DRAM_F32), few = order;
    few.images = 2;
    char *all = run_order(order, &bytes), *first = run_order(few, &part);
    assert_int_equal(part * 3, bytes * 2);
    assert_memory_equal(all, first, (size_t)part); /* pixels and extents are the same stream */
    for (int i = 1; i < 3; i++) assert_true(memcmp(all, all + i * bytes / 3, (size_t)(bytes / 3)) != 0);
    free(all);
    free(first);
}

/* "teacher.blocks.3.attn..." -> 3; patch embedding -1; neck, and what comes after it, 1000. */
static int unit_of(const char *name)
{
    int block;
    if (sscanf(name, "teacher.blocks.%d.", &block) == 1) return block;
    return strncmp(name, "teacher.neck", 12) == 0 || strncmp(name, "teacher_to", 10) == 0 ? 1000 : -1;
}

static bool is_copy(const dram_node *node)
{
    return node->op == DRAM_OP_copy;
}

/* Every weight is copied once; a unit's copies are issued after the unit two ahead has run and before the one ahead of
 * it begins; never are copies of more than two units alive. */
static void weights_are_double_buffered(void **state)
{
    (void)state;
    for (int group = 0; group <= 1; group++) {
        teacher t;
        teacher_open(&t, with(tiny, STREAMED, group, DRAM_BF16));
        const dram_program *p = &t.plan->programs[0];
        int copies = 0, last_block = 11, begun = -2, most_units = 0;
        for (int i = 0; i < t.g->n_nodes; i++) {
            const dram_node *node = t.g->nodes[i];
            int unit = unit_of(node->name);
            if (unit == 1000) unit = last_block + 1;
            if (!is_copy(node)) {
                begun = unit;
                assert_int_equal(node->queue, DRAM_QUEUE_COMPUTE);
                continue;
            }
            copies++;
            assert_int_equal(node->queue, DRAM_QUEUE_COPY);
            assert_int_equal(begun,
                             unit < 1 ? -2 : unit - 2); /* the first two units are fetched before anything runs */
            const dram_value *to = dram_value_at(t.g, node->out[0]), *from = dram_value_at(t.g, node->in[0]);
            assert_int_equal(to->category, DRAM_CATEGORY_TEACHER_WEIGHTS);
            assert_int_equal(to->space, DRAM_SPACE_DEVICE);
            assert_int_equal(from->space, DRAM_SPACE_HOST);
            assert_int_equal(from->kind, DRAM_VALUE_SLOT);
        }
        assert_int_equal(copies, t.slots.n);
        for (int at = 0; at < t.g->n_nodes; at++) {
            int units = 0, last = -5;
            for (int i = 0; i < t.g->n_nodes; i++) {
                const dram_node *node = t.g->nodes[i];
                if (!is_copy(node)) continue;
                const dram_place_of_value *place = &p->value[node->out[0]];
                if (place->first > at || place->last < at || unit_of(node->name) == last) continue;
                last = unit_of(node->name);
                units++;
            }
            if (units > most_units) most_units = units;
        }
        assert_int_equal(most_units, 2);
        assert_int_equal(t.plan->slots_bytes, 0);
        for (int i = 0; i < t.slots.n; i++) assert_int_equal(t.slots.at[i]->space, DRAM_SPACE_HOST);
        teacher_close(&t);
    }
}

static void on_the_host_all_but_the_embedding_is_there(void **state)
{
    (void)state;
    teacher t;
    teacher_open(&t, with(micro, ON_HOST, 2, DRAM_BF16));
    for (int i = 0; i < t.g->n_nodes; i++) {
        bool last = i == t.g->n_nodes - 1;
        dram_space want = last ? DRAM_SPACE_DEVICE : DRAM_SPACE_HOST;
        assert_int_equal(is_copy(t.g->nodes[i]), last);
        assert_int_equal(t.g->nodes[i]->queue, last ? DRAM_QUEUE_COPY : DRAM_QUEUE_COMPUTE);
        assert_int_equal(dram_node_space(t.g, t.g->nodes[i]), want);
    }
    assert_int_equal(dram_value_at(t.g, t.pixels)->space, DRAM_SPACE_HOST);
    assert_int_equal(dram_value_at(t.g, t.valid)->space, DRAM_SPACE_HOST);
    assert_int_equal(t.g->space, DRAM_SPACE_DEVICE);
    int64_t embedding = dram_value_bytes(dram_value_at(t.g, t.embedding));
    assert_int_equal(embedding, 3 * 3 * 3 * 256 * 2);
    assert_int_equal(t.plan->arena_bytes, (embedding + 63) / 64 * 64);
    assert_true(t.plan->host_bytes > t.plan->arena_bytes);
    teacher_close(&t);
}

/* Matrices are stored in the teacher's type, all else in f32; a student's weights stay on the device in f32. */
static void weights_have_their_types(void **state)
{
    (void)state;
    teacher t;
    teacher_open(&t, with(micro, STREAMED, 0, DRAM_F16));
    int low = 0;
    for (int i = 0; i < t.slots.n; i++) {
        const dram_slot *slot = t.slots.at[i];
        bool matrix = hash_ends_with(slot->name, "weight") && slot->shape.rank > 1;
        assert_int_equal(slot->dtype, matrix ? DRAM_F16 : DRAM_F32);
        low += matrix;
    }
    assert_int_equal(low, 6 * 4 + 3);
    dram_build student = {.g = t.g,
                          .group = "student",
                          .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                          .trainable = true,
                          .dtype = DRAM_BF16,
                          .space = DRAM_SPACE_HOST, /* of frozen weights */
                          .images = 2};
    int before = t.slots.n, nodes = t.g->n_nodes;
    dram_val image = dram_image_build(t.g, "image", DRAM_BF16, t.pixels, t.valid);
    dram_features features;
    dram_trunk_build(&student, dram_arch_find("vit_micro"), image, &features);
    teacher_ok(t.g->status);
    for (int i = before; i < t.slots.n; i++) {
        assert_int_equal(t.slots.at[i]->dtype, DRAM_F32);
        assert_int_equal(t.slots.at[i]->space, DRAM_SPACE_DEVICE);
    }
    for (int i = nodes; i < t.g->n_nodes; i++) {
        assert_int_not_equal(t.g->nodes[i]->op, DRAM_OP_copy);
        assert_int_not_equal(t.g->nodes[i]->op, DRAM_OP_batch_slice); /* which has no gradient */
    }
    teacher_close(&t);
}

static void sides_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    dram_slots slots = {0};
    dram_graph *g;
    teacher_ok(dram_graph_new("teacher", &slots, &g));
    dram_val pixels = dram_graph_input(g, "pixels", DRAM_U8, DRAM_SHAPE(4, 64, 72, 3));
    dram_val valid = dram_graph_input(g, "valid", DRAM_I32, DRAM_SHAPE(4, 2));
    dram_build build = {.g = g, .group = "teacher", .images = 2, .run_space = DRAM_SPACE_HOST};
    assert_int_equal(dram_teacher_target(&build, dram_arch_find("vit_micro"), pixels, valid, 4, 4), DRAM_NONE);
    assert_int_equal(g->status, DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "multiples of 16"));
    assert_int_equal(g->space, DRAM_SPACE_DEVICE); /* left as it was found */
    assert_false(g->detached);
    dram_error_clear();
    dram_graph_free(g);
    dram_slots_free(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placements_give_the_same_bits),
        cmocka_unit_test(a_group_as_large_as_the_batch_changes_nothing),
        cmocka_unit_test(groups_differ_by_rounding),
        cmocka_unit_test(images_keep_their_order),
        cmocka_unit_test(weights_are_double_buffered),
        cmocka_unit_test(on_the_host_all_but_the_embedding_is_there),
        cmocka_unit_test(weights_have_their_types),
        cmocka_unit_test(sides_that_do_not_fit_are_refused),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
