/* delay: which nodes move, and where to. */
#include "support/fakes.h"

#include "base/testing.h"
#include "passes/delay.h"

/* "a b c": names of the nodes in their order. */
static void assert_order(const dram_graph *g, const char *want)
{
    char text[256] = "";
    for (int i = 0; i < g->n_nodes; i++) {
        strcat(text, i ? " " : "");
        strcat(text, g->nodes[i]->name);
        for (int o = 0; o < g->nodes[i]->n_out; o++) assert_int_equal(g->values[g->nodes[i]->out[o]]->producer, i);
    }
    assert_string_equal(text, want);
}

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val x;
} fixture;

/* A forward of one node; what follows is the backward. */
static void open_graph(fixture *f)
{
    *f = (fixture){0};
    assert_int_equal(dram_graph_new("g", &f->slots, &f->g), DRAM_OK);
    f->x = dram_graph_input(f->g, "x", DRAM_U8, DRAM_SHAPE(64));
    f->x = fake_node(f->g, DRAM_OP_avgpool, "forward", 64, 0, 1, f->x, DRAM_NONE, DRAM_NONE);
    f->g->backward_begin = 1;
}

static void close_graph(fixture *f)
{
    dram_graph_free(f->g);
    dram_slots_free(&f->slots);
}

/* small (64) -> shortcut (4096), read by sum at the end. `in`: bytes of what it is made of; `block` of the last
 * node. */
static void build(fixture *f, int in, int block)
{
    open_graph(f);
    dram_graph *g = f->g;
    g->block = 1;
    dram_val small = fake_node(g, DRAM_OP_avgpool, "small", in, 0, 1, f->x, DRAM_NONE, DRAM_NONE);
    dram_val shortcut = fake_node(g, DRAM_OP_avgpool, "shortcut", 4096, 0, 1, small, DRAM_NONE, DRAM_NONE);
    dram_val a = fake_node(g, DRAM_OP_avgpool, "a", 4096, 0, 1, f->x, DRAM_NONE, DRAM_NONE);
    dram_val b = fake_node(g, DRAM_OP_avgpool, "b", 4096, 0, 1, a, DRAM_NONE, DRAM_NONE);
    g->block = block;
    dram_graph_output(g, fake_node(g, DRAM_OP_conv2d, "sum", 4096, 0, 2, b, shortcut, DRAM_NONE));
    g->block = 0;
    assert_int_equal(g->status, DRAM_OK);
}

static void a_large_one_waits(void **state)
{
    fixture f;
    (void)state;
    build(&f, 64, 1);
    dram_plan *before = fake_plan(&f.g, 1, &f.slots, true, true);
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small a b shortcut sum");
    dram_plan *after = fake_plan(&f.g, 1, &f.slots, true, true);
    assert_int_equal(before->max_live_bytes, 3 * 4096);
    assert_int_equal(after->max_live_bytes, 3 * 4096); /* at the sum; between a and b it is less */
    assert_true(after->programs[0].value[f.g->nodes[4]->out[0]].first == 4);
    dram_plan_free(before);
    dram_plan_free(after);
    close_graph(&f);
}

static void what_gains_nothing_stays(void **state)
{
    fixture f;
    (void)state;
    build(&f, 4096, 1); /* its input would be held instead */
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small shortcut a b sum");
    close_graph(&f);
    build(&f, 64, 2); /* the reader is of another block */
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small shortcut a b sum");
    close_graph(&f);
    build(&f, 64, 1);
    f.g->backward_begin = 0; /* no backward at all */
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small shortcut a b sum");
    close_graph(&f);
    build(&f, 64, 1); /* two readers */
    fake_node(f.g, DRAM_OP_avgpool, "more", 4096, 0, 1, f.g->nodes[2]->out[0], DRAM_NONE, DRAM_NONE);
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small shortcut a b sum more");
    close_graph(&f);
}

/* A weight may be updated in between: what reads it stays before. */
static void updates_are_not_crossed(void **state)
{
    fixture f;
    (void)state;
    open_graph(&f);
    dram_graph *g = f.g;
    dram_val w = fake_slot(g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val shortcut = fake_node(g, DRAM_OP_conv2d, "shortcut", 4096, 0, 2, f.x, w, DRAM_NONE);
    dram_val grad = fake_node(g, DRAM_OP_avgpool, "grad", 64, 0, 1, f.x, DRAM_NONE, DRAM_NONE);
    fake_node(g, DRAM_OP_accumulate, "update", -1, 0, 2, w, grad, DRAM_NONE);
    fake_node(g, DRAM_OP_avgpool, "sum", 64, 0, 1, shortcut, DRAM_NONE, DRAM_NONE);
    assert_int_equal(g->status, DRAM_OK);
    assert_int_equal(dram_delay(g), DRAM_OK);
    assert_order(g, "forward shortcut grad update sum");
    close_graph(&f);
}

/* What ranks sum is made as soon as it can be: the sum runs beside what follows. */
static void a_sum_over_ranks_does_not_wait(void **state)
{
    fixture f;
    (void)state;
    build(&f, 64, 1);
    f.g->nodes[f.g->n_nodes - 1]->queue = DRAM_QUEUE_COMM;
    assert_int_equal(dram_delay(f.g), DRAM_OK);
    assert_order(f.g, "forward small shortcut a b sum");
    close_graph(&f);
}

static void memory_may_be_out(void **state)
{
    fixture f;
    (void)state;
    for (int64_t after = 0;; after++) {
        build(&f, 64, 1);
        dram_alloc_fail_after(after);
        dram_status status = dram_delay(f.g);
        dram_alloc_fail_after(-1);
        dram_error_clear();
        f.g->status = DRAM_OK;
        close_graph(&f);
        if (status == DRAM_OK) break;
        assert_int_equal(status, DRAM_ERR_MEMORY);
    }
    assert_int_equal(dram_alloc_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_one_waits),
        cmocka_unit_test(what_gains_nothing_stays),
        cmocka_unit_test(updates_are_not_crossed),
        cmocka_unit_test(a_sum_over_ranks_does_not_wait),
        cmocka_unit_test(memory_may_be_out),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
