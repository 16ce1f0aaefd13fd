#include "base/testing.h"
#include "support/fakes.h"

static dram_program *make(fake_fixture *f, bool in_place, bool eager_free)
{
    dram_plan_free(f->plan);
    f->plan = fake_plan(&f->g, 1, &f->slots, in_place, eager_free);
    return &f->plan->programs[0];
}

static dram_val input(fake_fixture *f, const char *name, int bytes)
{
    return dram_graph_input(f->g, name, DRAM_U8, DRAM_SHAPE(bytes));
}

static void a_value_lives_from_its_producer_to_its_last_reader(void **state)
{
    fake_fixture *f = *state;
    dram_val x = input(f, "x", 100);
    dram_val a = NODE(f->g, sum_batch, "a", 300, 1, x, NO, NO);     /* 0 */
    dram_val b = NODE(f->g, sum_batch, "b", 64, 1, a, NO, NO);      /* 1 */
    dram_val c = NODE(f->g, sum_batch, "c", 64, 1, b, NO, NO);      /* 2 */
    dram_val d = NODE(f->g, embed_loss, "d", 64, 3, c, a, b);       /* 3 */
    dram_val unread = NODE(f->g, sum_batch, "e", 64, 1, d, NO, NO); /* 4 */
    dram_graph_output(f->g, c);
    dram_program *p = make(f, true, true);
    const struct {
        dram_val v;
        int first, last, bytes;
    } want[] = {{x, 0, 0, 128}, {a, 0, 3, 320}, {b, 1, 3, 64}, {c, 2, 4, 64}, {d, 3, 4, 64}, {unread, 4, 4, 64}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(p->value[want[i].v].first, want[i].first);
        assert_int_equal(p->value[want[i].v].last, want[i].last);
        assert_int_equal(p->value[want[i].v].bytes, want[i].bytes);
        assert_int_equal(p->value[want[i].v].alias, DRAM_NONE);
    }
    assert_int_equal(p->placement.max_live, 320 + 64 + 64 + 64);
    assert_int_equal(p->placement.max_live_at, 3);
    assert_string_equal(dram_program_peak_at(p), "d");
    assert_int_equal(f->plan->arena_bytes, 512);
}

static void without_eager_free_all_live_to_the_end(void **state)
{
    fake_fixture *f = *state;
    dram_val v = input(f, "x", 64);
    for (int i = 0; i < 5; i++) v = NODE(f->g, sum_batch, "n", 64, 1, v, NO, NO);
    assert_int_equal(make(f, true, true)->placement.top, 128);
    dram_program *p = make(f, true, false);
    assert_int_equal(p->placement.top, 6 * 64);
    for (int i = 0; i < f->g->n_values; i++) assert_int_equal(p->value[i].last, 4);
}

static void the_last_reader_may_take_the_bytes(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 640, 1, input(f, "x", 64), NO, NO);
    dram_val b = NODE(f->g, relu, "b", -1, 1, a, NO, NO);
    dram_val c = NODE(f->g, gelu, "c", -1, 1, b, NO, NO);
    dram_val d = NODE(f->g, sum_batch, "d", 64, 1, c, NO, NO);
    dram_program *p = make(f, true, true);
    assert_int_equal(p->value[b].alias, a);
    assert_int_equal(p->value[c].alias, b);
    assert_int_equal(p->value[d].alias, DRAM_NONE);
    assert_int_equal(p->value[b].offset, p->value[a].offset);
    assert_int_equal(p->value[c].offset, p->value[a].offset);
    assert_int_equal(p->placement.top, 704);
    p = make(f, false, true);
    assert_int_equal(p->value[b].alias, DRAM_NONE);
    assert_int_equal(p->placement.top, 1280);
}

/* Builds relu(a) where a is 0: a temporary read no more, or something that forbids it, and says whether a was taken. */
typedef enum { PLAIN, READ_LATER, OUTPUT, STAGED, SLOT, OTHER_SIZE, OTHER_TYPE, OTHER_SPACE } obstacle;

static bool is_taken(obstacle what)
{
    fake_fixture local = {0}, *f = &local;
    void *state = f;
    assert_int_equal(dram_graph_new("step", &f->slots, &f->g), DRAM_OK);
    dram_val x = input(f, "x", 256);
    dram_val a = what == STAGED ? x
                 : what == SLOT ? fake_slot(f->g, "student", "w", 256, DRAM_CATEGORY_STUDENT_WEIGHTS)
                                : NODE(f->g, sum_batch, "a", 256, 1, x, NO, NO);
    dram_val b = NODE(f->g, relu, "b", what == OTHER_SIZE ? 192 : -1, 1, a, NO, NO);
    if (what == OTHER_TYPE) { /* as many bytes, and as many elements as the rule sees */
        dram_val out[1];
        dram_graph_add(f->g, DRAM_OP_relu, "c", &(dram_attr){.groups = 1, .out_h = 1, .out_w = 1, .window = 256}, &b, 1,
                       out);
        a = b;
        b = out[0];
    }
    if (what == OTHER_SPACE) f->g->values[b]->space = DRAM_SPACE_PINNED;
    /* An output or a slot is taken by the last node of all, so that nothing but what it is forbids it. */
    if (what != OUTPUT && what != SLOT) NODE(f->g, sum_batch, "sum", 64, 1, b, NO, NO);
    if (what == READ_LATER) NODE(f->g, add, "later", 64, 2, b, a, NO);
    if (what == OUTPUT) dram_graph_output(f->g, a);
    dram_program *p = make(f, true, true);
    bool taken = p->value[b].alias == a;
    assert_true(taken || p->value[b].alias == DRAM_NONE);
    if (what != OTHER_SPACE) assert_true(taken == (p->value[b].offset == p->value[a].offset));
    fake_close(&state);
    return taken;
}

static void bytes_are_taken_only_where_nobody_misses_them(void **state)
{
    (void)state;
    assert_true(is_taken(PLAIN));
    assert_false(is_taken(READ_LATER));
    assert_false(is_taken(OUTPUT));
    assert_false(is_taken(STAGED));
    assert_false(is_taken(SLOT));
    assert_false(is_taken(OTHER_SIZE));
    assert_false(is_taken(OTHER_TYPE));
    assert_false(is_taken(OTHER_SPACE));
}

static void an_output_may_be_made_in_place_and_then_stays(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 64, 1, input(f, "x", 64), NO, NO);
    dram_val b = NODE(f->g, relu, "b", -1, 1, a, NO, NO);
    dram_graph_output(f->g, b);
    dram_val c = NODE(f->g, relu, "c", -1, 1, b, NO, NO);
    NODE(f->g, relu, "d", -1, 1, c, NO, NO);
    dram_program *p = make(f, true, true);
    assert_int_equal(p->value[b].alias, a);
    assert_int_equal(p->value[b].last, 3);
    assert_int_equal(p->value[c].alias, DRAM_NONE);
    assert_int_not_equal(p->value[c].offset, p->value[b].offset);
}

static void the_same_value_twice_is_not_taken(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO);
    dram_val b = NODE(f->g, add, "b", -1, 2, a, a, NO);
    dram_program *p = make(f, true, true);
    assert_int_equal(p->value[b].alias, DRAM_NONE);
    assert_int_equal(p->placement.top, 512);
    assert_int_equal(p->floor_bytes, 512); /* its bytes count once */
    assert_int_equal(p->floor_at, 1);
}

static void the_second_input_is_taken_where_the_first_cannot_be(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO);
    dram_val b = NODE(f->g, sum_batch, "b", 256, 1, a, NO, NO);
    dram_val c = NODE(f->g, add, "c", -1, 2, a, b, NO);
    dram_val d = NODE(f->g, add, "d", -1, 2, c, a, NO);
    dram_program *p = make(f, true, true);
    assert_int_equal(p->value[c].alias, b);
    assert_int_equal(p->value[d].alias, c); /* both could be, the first is */
}

static void adamw(fake_fixture *f, dram_val w, dram_val g, dram_val m, dram_val v, dram_val hyper, dram_val *out)
{
    dram_graph_add(f->g, DRAM_OP_adamw, "adamw", NULL, (dram_val[]){w, g, m, v, hyper, hyper}, 6, out);
}

static void an_update_stays_in_its_slot(void **state)
{
    fake_fixture *f = *state;
    dram_val w = fake_slot(f->g, "student", "w", 100, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val m = fake_slot(f->g, "optimizer", "m", 100, DRAM_CATEGORY_OPTIMIZER);
    dram_val v = fake_slot(f->g, "optimizer", "v", 100, DRAM_CATEGORY_OPTIMIZER);
    dram_val hyper = input(f, "hyper", 16), out[DRAM_MAX_OUT];
    dram_val g = NODE(f->g, sum_batch, "g", 100, 1, w, NO, NO);
    adamw(f, w, g, m, v, hyper, out);
    NODE(f->g, sum_batch, "norm", 4, 1, out[0], NO, NO); /* reads the new weight */
    dram_program *p = make(f, true, true);
    const dram_val before[] = {w, m, v};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p->value[out[i]].alias, before[i]);
        assert_int_equal(p->value[out[i]].offset, 128 * i);
        assert_int_equal(p->value[before[i]].offset, 128 * i);
        assert_int_equal(p->value[before[i]].first, 0);
        assert_int_equal(p->value[before[i]].last, 2);
        assert_int_equal(p->value[out[i]].first, 0);
        assert_int_equal(p->value[out[i]].last, 2);
    }
    assert_int_equal(f->plan->slots_bytes, 384);
    assert_int_equal(f->plan->slots_by_category[DRAM_CATEGORY_OPTIMIZER], 256);
    assert_true(p->value[g].offset >= 384);
}

static void a_reader_after_the_update_is_an_error(void **state)
{
    fake_fixture *f = *state;
    dram_val w = fake_slot(f->g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val m = fake_slot(f->g, "optimizer", "m", 64, DRAM_CATEGORY_OPTIMIZER);
    dram_val v = fake_slot(f->g, "optimizer", "v", 64, DRAM_CATEGORY_OPTIMIZER);
    dram_val hyper = input(f, "hyper", 16), out[DRAM_MAX_OUT];
    adamw(f, w, hyper, m, v, hyper, out);
    NODE(f->g, add, "late", 64, 2, hyper, w, NO);
    assert_int_equal(f->g->status, DRAM_OK);
    dram_profile profile = dram_profile_cpu(1);
    const dram_graph *list[] = {f->g};
    assert_int_equal(dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &f->plan), DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "late reads student.w after adamw"));
    assert_null(f->plan);
}

static void workspaces_live_for_one_node(void **state)
{
    fake_fixture *f = *state;
    dram_val a = fake_node(f->g, DRAM_OP_sum_batch, "a", 64, 1000, 1, input(f, "x", 64), NO, NO);
    dram_val b = fake_node(f->g, DRAM_OP_sum_batch, "b", 64, 0, 1, a, NO, NO);
    fake_node(f->g, DRAM_OP_sum_batch, "c", 64, 500, 1, b, NO, NO);
    dram_program *p = make(f, true, true);
    assert_int_equal(p->workspace_bytes[0], 1024);
    assert_int_equal(p->workspace_bytes[1], 0);
    assert_int_equal(p->workspace_bytes[2], 512);
    assert_int_equal(p->placement.top, 1024 + 128); /* not 1024 + 512 */
    assert_int_equal(p->live_at_peak[DRAM_CATEGORY_WORKSPACE], 1024);
    assert_int_equal(p->floor_bytes, 1024 + 128);
    assert_int_equal(p->floor_at, 0);
}

static void programs_share_the_arena_above_the_slots(void **state)
{
    fake_fixture *f = *state;
    dram_graph *second, *both[2];
    dram_val w = fake_slot(f->g, "student", "w", 1000, DRAM_CATEGORY_STUDENT_WEIGHTS);
    NODE(f->g, sum_batch, "a", 64, 1, w, NO, NO);
    assert_int_equal(dram_graph_new("other", &f->slots, &second), DRAM_OK);
    dram_val again = fake_slot(second, "student", "w", 1000, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val own = fake_slot(second, "head", "w", 10, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val big = NODE(second, add, "big", 4096, 2, again, own, NO);
    NODE(second, sum_batch, "sum", 64, 1, big, NO, NO);
    both[0] = f->g;
    both[1] = second;
    dram_plan *plan = fake_plan(both, 2, &f->slots, true, true);
    assert_int_equal(plan->slots_bytes, 1024 + 64);
    assert_int_equal(plan->programs[0].value[w].offset, plan->programs[1].value[again].offset);
    assert_int_equal(plan->programs[1].value[own].offset, 1024);
    assert_int_equal(plan->programs[0].placement.top, 64);
    assert_int_equal(plan->arena_bytes, 1088 + 4096 + 64);
    assert_int_equal(plan->peak_program, 1);
    assert_ptr_equal(dram_plan_fullest(plan), &plan->programs[1]);
    dram_plan_free(plan);
    dram_graph_free(second);
}

static void empty_graphs_and_no_graphs(void **state)
{
    fake_fixture *f = *state;
    int64_t bytes[DRAM_CATEGORY_COUNT];
    fake_slot(f->g, "student", "w", 100, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_program *p = make(f, true, true);
    assert_int_equal(f->plan->arena_bytes, 128);
    assert_string_equal(dram_program_peak_at(p), "");
    dram_plan_free(f->plan);
    f->plan = fake_plan(NULL, 0, &f->slots, true, true);
    assert_int_equal(f->plan->arena_bytes, 128);
    assert_int_equal(f->plan->max_live_bytes, 128);
    assert_null(dram_plan_fullest(f->plan));
    dram_plan_account(f->plan, bytes);
    assert_int_equal(bytes[DRAM_CATEGORY_STUDENT_WEIGHTS], 128);
}

static void flops_are_summed(void **state)
{
    fake_fixture *f = *state;
    dram_val out[DRAM_MAX_OUT], x = input(f, "x", 64);
    dram_graph_add(f->g, DRAM_OP_sum_batch, "a", &(dram_attr){.out_h = 10, .heads = 7}, &x, 1, out);
    NODE(f->g, relu, "b", -1, 1, out[0], NO, NO);
    assert_int_equal(make(f, true, true)->flops, 2 * 7 * 10 + 1);
}

static void a_training_step_is_planned_without_loss(void **state)
{
    fake_fixture *f = *state;
    int64_t bytes[DRAM_CATEGORY_COUNT], sum = 0;
    fake_training_step(f->g, 16);
    dram_program *p = make(f, true, true);
    assert_true((double)p->placement.top <= 1.005 * (double)p->placement.max_live);
    dram_plan_account(f->plan, bytes);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) sum += bytes[c];
    assert_int_equal(sum, f->plan->max_live_bytes);
    assert_true(f->plan->floor_bytes <= f->plan->max_live_bytes);
    int64_t eager = f->plan->arena_bytes;
    make(f, false, true);
    assert_true(f->plan->arena_bytes >= eager);
    make(f, true, false);
    assert_true(f->plan->arena_bytes > 2 * eager);
}

static void out_of_memory_is_said(void **state)
{
    fake_fixture *f = *state;
    dram_profile profile = dram_profile_cpu(2);
    dram_plan *plan = NULL;
    const dram_graph *list[] = {f->g};
    fake_training_step(f->g, 4);
    int64_t held = dram_alloc_bytes();
    int fails = 0;
    dram_status status = DRAM_ERR_MEMORY;
    for (int64_t after = 0; status != DRAM_OK; after++) {
        dram_alloc_fail_after(after);
        status = dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &plan);
        dram_alloc_fail_after(-1);
        if (status == DRAM_OK) break;
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_not_equal(dram_error_text(), "");
        assert_int_equal(dram_alloc_bytes(), held);
        dram_error_clear();
        fails++;
    }
    assert_true(fails >= 15);
    dram_plan_free(plan);
    assert_int_equal(dram_alloc_bytes(), held);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_open, fake_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_value_lives_from_its_producer_to_its_last_reader),
        TEST(without_eager_free_all_live_to_the_end),
        TEST(the_last_reader_may_take_the_bytes),
        cmocka_unit_test(bytes_are_taken_only_where_nobody_misses_them),
        TEST(an_output_may_be_made_in_place_and_then_stays),
        TEST(the_same_value_twice_is_not_taken),
        TEST(the_second_input_is_taken_where_the_first_cannot_be),
        TEST(an_update_stays_in_its_slot),
        TEST(a_reader_after_the_update_is_an_error),
        TEST(workspaces_live_for_one_node),
        TEST(programs_share_the_arena_above_the_slots),
        TEST(empty_graphs_and_no_graphs),
        TEST(flops_are_summed),
        TEST(a_training_step_is_planned_without_loss),
        TEST(out_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
