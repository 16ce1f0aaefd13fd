/* Who reads each value, and whose bytes an output takes over, in a graph and in a trace whose numbers are others. */
#include "base/testing.h"
#include "ir/readers.h"
#include "support/fakes.h"

typedef struct {
    dram_slots slots;
    dram_graph *g;
} fixture;

static int open_fixture(void **state)
{
    static fixture f;
    f = (fixture){0};
    *state = &f;
    return dram_graph_new("step", &f.slots, &f.g) == DRAM_OK ? 0 : -1;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    dram_graph_free(f->g);
    dram_slots_free(&f->slots);
    return 0;
}

static void readers_are_counted(void **state)
{
    fixture *f = *state;
    dram_readers r;
    dram_val x = dram_graph_input(f->g, "x", DRAM_U8, DRAM_SHAPE(64));
    dram_val a = NODE(f->g, relu, "a", -1, 1, x, NO, NO);    /* 0 */
    dram_val b = NODE(f->g, add, "b", -1, 2, a, a, NO);      /* 1: twice */
    dram_val c = NODE(f->g, embed_loss, "c", 4, 3, x, b, a); /* 2 */
    assert_int_equal(dram_readers_find(f->g, &r), DRAM_OK);
    const int want[][3] = {{0, 2, 2}, {1, 2, 2}, {2, 2, 1}, {DRAM_NONE, DRAM_NONE, 0}};
    const dram_val v[] = {x, a, b, c};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(r.first[v[i]], want[i][0]);
        assert_int_equal(r.last[v[i]], want[i][1]);
        assert_int_equal(r.count[v[i]], want[i][2]);
    }
    dram_readers_free(&r);
    assert_null(r.first);
    dram_alloc_fail_after(0);
    assert_int_equal(dram_readers_find(f->g, &r), DRAM_ERR_MEMORY);
    dram_alloc_fail_after(-1);
    dram_error_clear();
}

static void the_first_that_dies_is_taken(void **state)
{
    fixture *f = *state;
    dram_readers r;
    dram_val x = dram_graph_input(f->g, "x", DRAM_U8, DRAM_SHAPE(64));
    dram_val a = NODE(f->g, relu, "a", -1, 1, x, NO, NO); /* 0: a staged input is not taken */
    dram_val b = NODE(f->g, relu, "b", -1, 1, x, NO, NO); /* 1 */
    dram_val c = NODE(f->g, add, "c", -1, 2, a, b, NO);   /* 2: a */
    dram_val d = NODE(f->g, add, "d", -1, 2, c, b, NO);   /* 3: b dies here, c does not */
    NODE(f->g, add, "e", -1, 2, c, d, NO);                /* 4: c, the first of two */
    assert_int_equal(dram_readers_find(f->g, &r), DRAM_OK);
    const dram_val want[] = {DRAM_NONE, DRAM_NONE, a, b, c};
    dram_lives lives = {.g = f->g, .last = r.last};
    for (int i = 0; i < 5; i++) {
        const dram_node *node = f->g->nodes[i];
        assert_int_equal(dram_takes_over(&lives, i, node, node->in, node->out), want[i]);
    }
    /* Kept apart, what is the teacher's is not taken by another. */
    f->g->values[a]->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    lives.apart = true;
    assert_int_equal(dram_takes_over(&lives, 2, f->g->nodes[2], f->g->nodes[2]->in, f->g->nodes[2]->out), DRAM_NONE);
    /* A repetition of node 3 at step 9: values 10 and 11 repeat c and d, and c, made again, dies there. */
    int origin[12], last[12] = {0};
    for (int i = 0; i < 12; i++) origin[i] = i < 10 ? i : i == 10 ? c : d;
    last[10] = 9;
    const dram_lives trace = {.g = f->g, .origin = origin, .last = last};
    const int in[] = {10, b}, out[] = {11};
    assert_int_equal(dram_takes_over(&trace, 9, f->g->nodes[3], in, out), 10);
    assert_int_equal(dram_takes_over(&trace, 8, f->g->nodes[3], in, out), DRAM_NONE);
    dram_readers_free(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(readers_are_counted), TEST(the_first_that_dies_is_taken)};
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
