/* What a rank sends, and when two plans count as the same. */
#include "plan/traffic.h"
#include "support/fakes.h"

static dram_val collective(dram_graph *g, dram_op op, const char *name, dram_val x, int ranks, dram_reduce_mode mode)
{
    dram_val out[DRAM_MAX_OUT];
    dram_graph_add(g, op, name, &(dram_attr){.ranks = ranks, .mode = mode}, &x, 1, out);
    assert_int_equal(g->status, DRAM_OK);
    return out[0];
}

/* A bucket of two sums, one of them small; then what only the library orders; a gather. */
static void what_is_sent(void **state)
{
    fake_fixture *f = *state;
    enum { RANKS = 4, LARGE = 100000, SMALL = 300 };
    dram_val large = dram_graph_input(f->g, "large", DRAM_F32, DRAM_SHAPE(LARGE));
    dram_val small = dram_graph_input(f->g, "small", DRAM_F32, DRAM_SHAPE(SMALL));
    collective(f->g, DRAM_OP_all_reduce, "a", large, RANKS, DRAM_REDUCE_ORDERED);
    dram_val b = collective(f->g, DRAM_OP_all_reduce, "b", small, RANKS, DRAM_REDUCE_ORDERED);
    fake_node(f->g, DRAM_OP_relu, "between", -1, 0, 1, b, DRAM_NONE, DRAM_NONE);
    collective(f->g, DRAM_OP_all_reduce, "c", small, RANKS, DRAM_REDUCE_FAST);
    collective(f->g, DRAM_OP_all_gather, "d", small, RANKS, DRAM_REDUCE_ORDERED);
    dram_traffic t;
    dram_program_traffic(fake_make(f, DRAM_PLAN_USUAL), &t);
    assert_true(t.bytes[DRAM_OP_all_reduce] == 2 * 3 * LARGE * 4 / 4.0 + 3 * SMALL * 4 + 2 * 3 * SMALL * 4 / 4.0);
    assert_true(t.calls[DRAM_OP_all_reduce] == 2);
    assert_true(t.bytes[DRAM_OP_all_gather] == 3 * SMALL * 4 && t.calls[DRAM_OP_all_gather] == 1);
    assert_true(t.bytes[DRAM_OP_relu] == 0 && t.calls[DRAM_OP_relu] == 0);
}

/* The same graph has the same number; another size, name, order or workspace another one. */
static void what_tells_plans_apart(void **state)
{
    (void)state;
    uint64_t hash[6];
    for (int i = 0; i < 6; i++) {
        void *at;
        assert_int_equal(fake_open(&at), 0);
        fake_fixture *f = at;
        dram_val w = fake_slot(f->g, "student", i == 2 ? "other" : "w", 256, DRAM_CATEGORY_STUDENT_WEIGHTS);
        dram_val x = fake_node(f->g, DRAM_OP_relu, "x", i == 1 ? 512 : 256, 0, 1, w, DRAM_NONE, DRAM_NONE);
        dram_val y = fake_node(f->g, i == 3 ? DRAM_OP_gelu : DRAM_OP_relu, "y", 64, i == 4 ? 64 : 0, 1, x, NO, NO);
        dram_graph_output(f->g, y);
        fake_make(f, DRAM_PLAN_USUAL);
        hash[i] = dram_plan_hash(f->plan);
        fake_close(&at);
    }
    for (int i = 1; i < 5; i++)
        for (int k = 0; k < i; k++) assert_true(hash[i] != hash[k]);
    assert_true(hash[5] == hash[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_sent, fake_open, fake_close),
        cmocka_unit_test(what_tells_plans_apart),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
