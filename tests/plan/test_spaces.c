/* Several memory spaces and queues, and the teacher's bytes kept apart: exact lifetimes and offsets by hand. */
#include "support/fakes.h"

static dram_val input(fake_fixture *f, const char *name, int bytes)
{
    return dram_graph_input(f->g, name, DRAM_U8, DRAM_SHAPE(bytes));
}

static void assert_lives(const dram_program *p, dram_val v, int first, int last)
{
    assert_int_equal(p->value[v].first, first);
    assert_int_equal(p->value[v].last, last);
}

static void each_space_has_its_arena(void **state)
{
    fake_fixture *f = *state;
    dram_val near = fake_slot_in(f, "student", "w", 100, DRAM_CATEGORY_STUDENT_WEIGHTS, DRAM_SPACE_DEVICE);
    dram_val far = fake_slot_in(f, "teacher", "a", 200, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    dram_val further = fake_slot_in(f, "teacher", "b", 300, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    dram_val pinned = fake_slot_in(f, "teacher", "c", 10, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_PINNED);
    f->g->space = DRAM_SPACE_HOST;
    dram_val x = input(f, "x", 64);                                                       /* host */
    dram_val y = fake_node(f->g, DRAM_OP_embed_loss, "y", 640, 1000, 3, x, far, further); /* 0: host */
    dram_val z = fake_node(f->g, DRAM_OP_relu, "z", -1, 0, 1, y, NO, NO);                 /* 1: host, in place */
    f->g->space = DRAM_SPACE_DEVICE;
    dram_val c = fake_copy(f, "c", z);                                                   /* 2 */
    dram_val d = fake_node(f->g, DRAM_OP_embed_loss, "d", 128, 500, 3, c, near, pinned); /* 3: device */
    dram_graph_output(f->g, d);
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    const dram_plan *plan = f->plan;
    /* slots, each at the bottom of its space */
    assert_int_equal(p->value[near].offset, 0);
    assert_int_equal(p->value[far].offset, 0);
    assert_int_equal(p->value[further].offset, 256);
    assert_int_equal(p->value[pinned].offset, 0);
    assert_int_equal(plan->slots_bytes, 128);
    assert_int_equal(plan->outside_slots[DRAM_SPACE_HOST], 256 + 320);
    assert_int_equal(plan->outside_slots[DRAM_SPACE_PINNED], 64);
    /* the host: y's bytes from node 0 to the join at 3, x and the workspace at node 0 */
    assert_int_equal(p->value[y].offset, 576);
    assert_int_equal(p->value[z].alias, y);
    assert_int_equal(p->value[z].offset, 576);
    assert_lives(p, z, 1, 3);
    int64_t x_at = p->value[x].offset, work_at = p->workspace_offset[0];
    assert_true((x_at == 1216 && work_at == 1280) || (work_at == 1216 && x_at == 2240));
    assert_int_equal(plan->outside_bytes[DRAM_SPACE_HOST], 576 + 640 + 64 + 1024);
    assert_int_equal(plan->outside_bytes[DRAM_SPACE_PINNED], 64);
    assert_int_equal(plan->outside_bytes[DRAM_SPACE_DEVICE], 0);
    assert_int_equal(plan->host_bytes, 576 + 640 + 64 + 1024 + 64);
    assert_int_equal(dram_plan_arena(plan, DRAM_SPACE_HOST), plan->outside_bytes[DRAM_SPACE_HOST]);
    /* the device: c, d and d's workspace at node 3 */
    assert_int_equal(p->value[c].offset, 128);
    assert_int_equal(plan->arena_bytes, 128 + 640 + 128 + 512);
    assert_int_equal(dram_plan_arena(plan, DRAM_SPACE_DEVICE), plan->arena_bytes);
    assert_int_equal(plan->max_live_bytes, plan->arena_bytes);
    assert_int_equal(p->floor_bytes, 640 + 128 + 512);
    assert_int_equal(p->floor_at, 3);
    /* and the account is the device's */
    int64_t bytes[DRAM_CATEGORY_COUNT], sum = 0;
    dram_plan_account(plan, bytes);
    for (int i = 0; i < DRAM_CATEGORY_COUNT; i++) sum += bytes[i];
    assert_int_equal(sum, plan->max_live_bytes);
    assert_int_equal(bytes[DRAM_CATEGORY_TEACHER_WEIGHTS], 0);
    assert_int_equal(bytes[DRAM_CATEGORY_STUDENT_WEIGHTS], 128);
    assert_int_equal(bytes[DRAM_CATEGORY_WORKSPACE], 512);
}

static void a_copy_is_on_its_queue(void **state)
{
    fake_fixture *f = *state;
    dram_val w = fake_slot_in(f, "teacher", "w", 64, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    NODE(f->g, relu, "r", -1, 1, fake_copy(f, "c", w), NO, NO);
    assert_int_equal(f->g->nodes[0]->queue, DRAM_QUEUE_COPY);
    assert_int_equal(f->g->nodes[1]->queue, DRAM_QUEUE_COMPUTE);
}

/* What a copy reads may not be overwritten before the queues join, nor what it writes be given away. */
static void a_copy_holds_its_bytes_to_the_join(void **state)
{
    fake_fixture *f = *state;
    dram_val x = input(f, "x", 64);
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, x, NO, NO); /* 0 */
    dram_val c = fake_copy(f, "c", a);                          /* 1: the last reader of a */
    dram_val b = NODE(f->g, sum_batch, "b", 256, 1, x, NO, NO); /* 2: may not lie on a */
    dram_val e = NODE(f->g, relu, "e", -1, 1, b, NO, NO);       /* 3 */
    dram_val d = NODE(f->g, add, "d", 64, 2, c, e, NO);         /* 4: the join */
    dram_val g = NODE(f->g, sum_batch, "g", 256, 1, d, NO, NO); /* 5: may */
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, a, 0, 4);
    assert_lives(p, c, 1, 4);
    assert_lives(p, b, 2, 3);
    assert_lives(p, g, 5, 5);
    assert_int_equal(p->value[e].alias, b);
    assert_int_not_equal(p->value[b].offset, p->value[a].offset);
    assert_int_equal(p->placement.max_live, 3 * 256 + 64);
}

static void a_copy_that_nobody_reads_lives_to_the_end(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO);
    dram_val c = fake_copy(f, "c", a);
    dram_val b = NODE(f->g, sum_batch, "b", 64, 1, a, NO, NO);
    NODE(f->g, sum_batch, "d", 64, 1, b, NO, NO);
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, a, 0, 3);
    assert_lives(p, c, 1, 3);
}

/* A copy of a copy is on the same queue, which runs in order: who waits for the second has waited for the first. */
static void a_copy_of_a_copy_joins_with_it(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO); /* 0 */
    dram_val c = fake_copy(f, "c", a), d = fake_copy(f, "d", c);                /* 1, 2 */
    dram_val b = NODE(f->g, sum_batch, "b", 64, 1, a, NO, NO);                  /* 3 */
    dram_val e = NODE(f->g, add, "e", 64, 2, d, b, NO);                         /* 4 */
    NODE(f->g, sum_batch, "g", 64, 1, e, NO, NO);                               /* 5 */
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, d, 2, 4);
    assert_lives(p, c, 1, 4);
    assert_lives(p, a, 0, 4);
}

static dram_val on_comm(fake_fixture *f, dram_val v)
{
    f->g->nodes[f->g->values[v]->producer]->queue = DRAM_QUEUE_COMM;
    return v;
}

/* Each queue joins where compute first reads what it brought, and holds what it reads, writes and works in until then. */
static void three_queues_join_one_by_one(void **state)
{
    fake_fixture *f = *state;
    dram_val w = fake_slot_in(f, "teacher", "w", 256, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    dram_val x = input(f, "x", 64);
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, x, NO, NO);                               /* 0 */
    dram_val r = on_comm(f, fake_node(f->g, DRAM_OP_sum_batch, "r", 256, 512, 1, a, NO, NO)); /* 1: with a workspace */
    dram_val b = NODE(f->g, sum_batch, "b", 256, 1, x, NO, NO);                               /* 2 */
    dram_val c = fake_copy(f, "c", w);                                                        /* 3 */
    dram_val d = NODE(f->g, add, "d", 256, 2, b, c, NO);                                      /* 4: joins the copy */
    dram_val e = NODE(f->g, sum_batch, "e", 256, 1, d, NO, NO);                               /* 5 */
    dram_val h = NODE(f->g, add, "h", 256, 2, e, r, NO);                                      /* 6: joins comm */
    dram_val i = NODE(f->g, sum_batch, "i", 512, 1, h, NO, NO);                               /* 7 */
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, x, 0, 2);
    assert_lives(p, a, 0, 6);
    assert_lives(p, r, 1, 6);
    assert_lives(p, b, 2, 4);
    assert_lives(p, c, 3, 4);
    assert_lives(p, d, 4, 5);
    assert_lives(p, e, 5, 6);
    assert_lives(p, h, 6, 7);
    assert_lives(p, i, 7, 7);
    assert_int_equal(p->value[d].alias, b);
    assert_int_equal(p->value[h].alias, e);
    assert_int_equal(p->placement.max_live, 256 + 256 + 512 + 256 + 256); /* a, r and its workspace, b, c */
    assert_int_equal(p->placement.max_live_at, 3);
    int64_t work = p->workspace_offset[1];
    const dram_val beside[] = {a, r, b, c, d, e};
    for (int k = 0; k < 6; k++)
        assert_true(p->value[beside[k]].offset + 256 <= work || work + 512 <= p->value[beside[k]].offset);
}

/* Comm, then the copy queue, then compute: who waits for the copy has waited for what the copy waited for. */
static void a_join_passes_through_another_queue(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO); /* 0 */
    dram_val r = on_comm(f, NODE(f->g, sum_batch, "r", 256, 1, a, NO, NO));     /* 1 */
    dram_val c = fake_copy(f, "c", r);                                          /* 2 */
    dram_val b = NODE(f->g, sum_batch, "b", 256, 1, a, NO, NO);                 /* 3 */
    dram_val d = NODE(f->g, add, "d", 64, 2, b, c, NO);                         /* 4 */
    NODE(f->g, sum_batch, "e", 64, 1, d, NO, NO);                               /* 5 */
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, a, 0, 4);
    assert_lives(p, r, 1, 4);
    assert_lives(p, c, 2, 4);
}

/* Nobody waits before the end, so the last node takes nothing over, though it reads the value last. */
static void what_never_joins_is_not_taken(void **state)
{
    fake_fixture *f = *state;
    dram_val a = NODE(f->g, sum_batch, "a", 256, 1, input(f, "x", 64), NO, NO);
    dram_val r = on_comm(f, fake_node(f->g, DRAM_OP_sum_batch, "r", 64, 128, 1, a, NO, NO));
    dram_val e = NODE(f->g, relu, "e", -1, 1, a, NO, NO);
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, a, 0, 2);
    assert_lives(p, r, 1, 2);
    assert_int_equal(p->value[e].alias, DRAM_NONE);
    assert_int_equal(p->placement.max_live, 256 + 64 + 128 + 256);
}

/* An update waits for the join of a queue that may still be at the bytes; on that queue itself it comes in order. */
static void an_update_waits_for_the_join(void **state)
{
    fake_fixture *f = *state;
    dram_profile profile = dram_profile_cpu(1);
    const dram_graph *list[] = {f->g};
    dram_val acc = fake_slot(f->g, "optimizer", "acc", 64, DRAM_CATEGORY_OPTIMIZER);
    dram_val r = on_comm(f, NODE(f->g, sum_batch, "r", 64, 1, acc, NO, NO)); /* 0 */
    dram_val late = NODE(f->g, clear, "late", -1, 1, acc, NO, NO);           /* 1 */
    NODE(f->g, sum_batch, "join", 64, 1, r, NO, NO);                         /* 2 */
    assert_int_equal(f->g->status, DRAM_OK);
    assert_int_equal(dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &f->plan), DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "late updates optimizer.acc while r may still be at it"));
    dram_error_clear();
    on_comm(f, late);
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_lives(p, r, 0, 2);
    assert_int_equal(p->value[late].alias, acc);
}

/* Whether two values share bytes. */
static bool share(const dram_program *p, dram_val a, dram_val b)
{
    const dram_place_of_value *x = &p->value[a], *y = &p->value[b];
    return x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

/* Weights of five blocks, each copied while the block ahead of it runs, take turns in two places. */
static void streamed_weights_take_turns(void **state)
{
    fake_fixture *f = *state;
    enum { BLOCKS = 5 };
    dram_val weight[BLOCKS], here[BLOCKS], x = input(f, "x", 64);
    for (int i = 0; i < BLOCKS; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        weight[i] = fake_slot_in(f, "teacher", name, 1024, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    }
    here[0] = fake_copy(f, "c0", weight[0]);
    for (int i = 0; i < BLOCKS; i++) {
        if (i + 1 < BLOCKS) here[i + 1] = fake_copy(f, "c", weight[i + 1]);
        x = NODE(f->g, add, "mul", 64, 2, x, here[i], NO);
        x = NODE(f->g, add, "again", 64, 2, x, here[i], NO);
    }
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    for (int i = 0; i + 1 < BLOCKS; i++) assert_false(share(p, here[i], here[i + 1]));
    for (int i = 0; i + 2 < BLOCKS; i++) assert_true(share(p, here[i], here[i + 2]));
    assert_int_equal(f->plan->arena_bytes, 2 * 1024 + 2 * 64);
    assert_int_equal(f->plan->slots_bytes, 0);
    assert_int_equal(f->plan->host_bytes, BLOCKS * 1024);
}

static void spaces_mix_in_copies_alone(void **state)
{
    fake_fixture *f = *state;
    dram_profile profile = dram_profile_cpu(1);
    const dram_graph *list[] = {f->g};
    dram_val w = fake_slot_in(f, "teacher", "w", 64, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    NODE(f->g, add, "astray", 64, 2, input(f, "x", 64), w, NO);
    assert_int_equal(f->g->status, DRAM_OK);
    assert_int_equal(dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &f->plan), DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "astray runs in one space and teacher.w is in another"));
    assert_null(f->plan);
}

static void a_slot_in_two_spaces_is_refused(void **state)
{
    fake_fixture *f = *state;
    fake_slot_in(f, "teacher", "w", 64, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_HOST);
    assert_int_equal(fake_slot_in(f, "teacher", "w", 64, DRAM_CATEGORY_TEACHER_WEIGHTS, DRAM_SPACE_DEVICE), DRAM_NONE);
    assert_non_null(strstr(dram_error_text(), "teacher w is asked for in two spaces"));
}

/* An update is where the slot is, whatever the graph's space. */
static void an_update_stays_in_its_space(void **state)
{
    fake_fixture *f = *state;
    dram_val out[DRAM_MAX_OUT], w, m;
    w = fake_slot_in(f, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS, DRAM_SPACE_PINNED);
    m = fake_slot_in(f, "optimizer", "m", 64, DRAM_CATEGORY_OPTIMIZER, DRAM_SPACE_PINNED);
    dram_val g = input(f, "g", 64);
    dram_graph_add(f->g, DRAM_OP_sgd, "sgd", NULL, (dram_val[]){w, g, m, g, g}, 5, out);
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    for (int i = 0; i < 2; i++) assert_int_equal(f->g->values[out[i]]->space, DRAM_SPACE_PINNED);
    assert_int_equal(p->value[out[1]].offset, 64);
    assert_int_equal(f->plan->slots_bytes, 0);
}

static void the_teachers_bytes_may_be_kept_apart(void **state)
{
    fake_fixture *f = *state;
    dram_val x = input(f, "x", 64),
             w = fake_slot_in(f, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS, DRAM_SPACE_DEVICE);
    f->g->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    dram_val a = fake_node(f->g, DRAM_OP_sum_batch, "a", 1024, 0, 1, x, NO, NO);  /* 0 */
    dram_val b = fake_node(f->g, DRAM_OP_sum_batch, "b", 512, 256, 1, a, NO, NO); /* 1 */
    dram_val c = fake_node(f->g, DRAM_OP_sum_batch, "c", 1024, 0, 1, b, NO, NO);  /* 2: on a's bytes */
    f->g->category = DRAM_CATEGORY_ACTIVATIONS;
    dram_val d = fake_node(f->g, DRAM_OP_relu, "d", -1, 0, 1, c, NO, NO); /* 3: would take over c's */
    dram_val e = fake_node(f->g, DRAM_OP_add, "e", 2048, 0, 2, d, w, NO); /* 4 */
    dram_program *p = fake_make(f, DRAM_PLAN_USUAL);
    assert_int_equal(p->value[d].alias, c);
    assert_int_equal(p->placement.top, 1024 + 2048);
    dram_plan_options apart = DRAM_PLAN_USUAL;
    apart.share_teacher = false;
    p = fake_make(f, apart);
    assert_int_equal(p->value[d].alias, DRAM_NONE);
    const dram_val teachers[] = {a, b, c}, others[] = {x, d, e};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) assert_false(share(p, teachers[i], others[j]));
    for (int i = 0; i < 3; i++) {
        assert_true(p->value[teachers[i]].offset >= 64);
        int64_t at = p->workspace_offset[1];
        assert_true(at >= p->value[teachers[i]].offset + p->value[teachers[i]].bytes ||
                    at + 256 <= p->value[teachers[i]].offset);
    }
    assert_int_equal(p->value[c].offset, p->value[a].offset); /* among themselves they share */
    assert_int_equal(p->placement.top, 1536 + 1024 + 2048);
    assert_int_equal(p->placement.max_live, 1536 + 1024 + 2048);
    assert_int_equal(p->live_at_peak[DRAM_CATEGORY_TEACHER_ACTIVATIONS], 1536);
    assert_int_equal(f->plan->arena_bytes, 64 + p->placement.top);
    int64_t bytes[DRAM_CATEGORY_COUNT], sum = 0;
    dram_plan_account(f->plan, bytes);
    for (int i = 0; i < DRAM_CATEGORY_COUNT; i++) sum += bytes[i];
    assert_int_equal(sum, f->plan->max_live_bytes);
    /* without a teacher nothing changes */
    f->g->values[a]->category = f->g->values[b]->category = f->g->values[c]->category = DRAM_CATEGORY_ACTIVATIONS;
    assert_int_equal(fake_make(f, apart)->placement.top, 1024 + 2048);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_open, fake_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_space_has_its_arena),
        TEST(a_copy_is_on_its_queue),
        TEST(a_copy_holds_its_bytes_to_the_join),
        TEST(a_copy_that_nobody_reads_lives_to_the_end),
        TEST(a_copy_of_a_copy_joins_with_it),
        TEST(three_queues_join_one_by_one),
        TEST(a_join_passes_through_another_queue),
        TEST(what_never_joins_is_not_taken),
        TEST(an_update_waits_for_the_join),
        TEST(streamed_weights_take_turns),
        TEST(spaces_mix_in_copies_alone),
        TEST(a_slot_in_two_spaces_is_refused),
        TEST(an_update_stays_in_its_space),
        TEST(the_teachers_bytes_may_be_kept_apart),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
