#include "base/testing.h"
#include "support/fakes.h"

typedef struct {
    dram_slots slots;
    dram_graph *g;
} fixture;

static int open_fixture(void **state)
{
    static fixture f;
    f = (fixture){0};
    dram_error_clear();
    *state = &f;
    return dram_graph_new("step", &f.slots, &f.g) == DRAM_OK ? 0 : -1;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    dram_graph_free(f->g);
    dram_slots_free(&f->slots);
    dram_error_clear();
    return 0;
}

static dram_val input(fixture *f, const char *name)
{
    return dram_graph_input(f->g, name, DRAM_F32, DRAM_SHAPE(2, 8, 8, 3));
}

static dram_val relu(fixture *f, const char *name, dram_val x)
{
    dram_val out[DRAM_MAX_OUT] = {-7, -7, -7, -7};
    dram_graph_add(f->g, DRAM_OP_relu, name, NULL, &x, 1, out);
    return out[0];
}

static const char *name_of(fixture *f, dram_val v)
{
    assert_in_range(v, 0, f->g->n_values - 1);
    return dram_value_at(f->g, v)->name;
}

static void a_new_graph_is_empty(void **state)
{
    fixture *f = *state;
    assert_string_equal(f->g->name, "step");
    assert_int_equal(f->g->n_values + f->g->n_nodes + f->slots.n, 0);
    assert_int_equal(f->g->status, DRAM_OK);
    dram_graph_free(NULL);
}

static void an_input_has_no_producer(void **state)
{
    fixture *f = *state;
    int length = dram_scope_push(f->g, "student");
    dram_val x = input(f, "image");
    dram_scope_pop(f->g, length);
    const dram_value *v = dram_value_at(f->g, x);
    assert_string_equal(v->name, "image"); /* without the scope */
    assert_int_equal(v->kind, DRAM_VALUE_INPUT);
    assert_int_equal(v->producer, DRAM_NONE);
    assert_int_equal(v->slot, DRAM_NONE);
    assert_int_equal(v->category, DRAM_CATEGORY_INPUT);
    assert_int_equal(v->space, DRAM_SPACE_DEVICE);
    assert_false(v->requires_grad);
    assert_false(v->output);
    assert_int_equal(dram_value_bytes(v), 4 * 2 * 8 * 8 * 3);
    assert_int_equal(dram_last(dram_shape_of(f->g, x), 0), 3);
}

static void a_node_names_its_outputs(void **state)
{
    fixture *f = *state;
    dram_val out[DRAM_MAX_OUT], x = input(f, "image");
    f->g->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    int outer = dram_scope_push(f->g, "student"), inner = dram_scope_push(f->g, "s1");
    dram_graph_add(f->g, DRAM_OP_bn_stats, "bn", &(dram_attr){.eps = .5f}, &x, 1, out);
    assert_string_equal(name_of(f, out[0]), "student.s1.bn");
    assert_string_equal(name_of(f, out[1]), "student.s1.bn.1");
    dram_scope_pop(f->g, inner);
    assert_string_equal(name_of(f, relu(f, "act", x)), "student.act");
    dram_scope_pop(f->g, outer);
    assert_string_equal(name_of(f, relu(f, "act", x)), "act");
    const dram_node *node = f->g->nodes[0];
    assert_string_equal(node->name, "student.s1.bn");
    assert_int_equal(node->op, DRAM_OP_bn_stats);
    assert_int_equal(node->n_in, 1);
    assert_int_equal(node->n_out, 2);
    assert_int_equal(node->in[0], x);
    assert_int_equal(node->in[1], DRAM_NONE);
    assert_int_equal(node->out[1], out[1]);
    assert_true(node->attr.eps == .5f);
    assert_int_equal(dram_value_at(f->g, out[1])->producer, 0);
    assert_int_equal(dram_value_at(f->g, out[1])->kind, DRAM_VALUE_TEMP);
    assert_int_equal(dram_value_at(f->g, out[1])->category, DRAM_CATEGORY_TEACHER_ACTIVATIONS);
    dram_graph_output(f->g, out[1]);
    assert_true(dram_value_at(f->g, out[1])->output);
    assert_false(dram_value_at(f->g, out[0])->output);
}

static void names_are_unique(void **state)
{
    fixture *f = *state;
    dram_val x = input(f, "x"), out[DRAM_MAX_OUT];
    assert_string_equal(name_of(f, input(f, "x")), "x~2");
    for (int i = 0; i < 12; i++) relu(f, "x", x);
    dram_graph_add(f->g, DRAM_OP_bn_stats, "a", NULL, &x, 1, out);
    relu(f, "a.1", x); /* as output 1 of `a` is called */
    char part[300];    /* cut, and then alike */
    memset(part, 'n', sizeof part);
    part[299] = '\0';
    for (int i = 0; i < 3; i++) relu(f, part, x);
    assert_int_equal(f->g->status, DRAM_OK);
    for (int i = 0; i < f->g->n_values; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(name_of(f, i), name_of(f, j));
    for (int i = 0; i < f->g->n_nodes; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(f->g->nodes[i]->name, f->g->nodes[j]->name);
    assert_string_equal(name_of(f, f->g->nodes[0]->out[0]), "x~3");
}

static void gradients_are_wanted_behind_trainable_slots(void **state)
{
    fixture *f = *state;
    dram_val out[DRAM_MAX_OUT], x = input(f, "image");
    dram_val w = fake_slot(f->g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    assert_true(dram_value_at(f->g, w)->requires_grad);
    dram_graph_add(f->g, DRAM_OP_linear, "y", NULL, (dram_val[]){x, w}, 2, out);
    dram_val y = out[0];
    assert_true(dram_value_at(f->g, y)->requires_grad);
    assert_false(dram_value_at(f->g, relu(f, "plain", x))->requires_grad);
    assert_true(dram_value_at(f->g, relu(f, "z", y))->requires_grad);
    dram_graph_add(f->g, DRAM_OP_bn_stats, "stats", NULL, &y, 1, out); /* not differentiable by its row */
    assert_false(dram_value_at(f->g, out[0])->requires_grad);
    f->g->detached = true;
    assert_false(dram_value_at(f->g, relu(f, "detached", y))->requires_grad);
    dram_val t = fake_slot(f->g, "teacher", "w", 64, DRAM_CATEGORY_TEACHER_WEIGHTS);
    assert_false(dram_value_at(f->g, relu(f, "frozen", t))->requires_grad);
    f->g->detached = false; /* what was first read detached may still be trained */
    assert_true(dram_value_at(f->g, relu(f, "trained", t))->requires_grad);
}

static void a_slot_is_one_value_and_one_row(void **state)
{
    fixture *f = *state;
    dram_graph *second;
    int length = dram_scope_push(f->g, "stem");
    dram_val w = fake_slot(f->g, "student", "stem.w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS); /* the scope has no part */
    assert_int_equal(fake_slot(f->g, "student", "stem.w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS), w);
    dram_scope_pop(f->g, length);
    assert_int_equal(f->slots.n, 1);
    assert_string_equal(f->slots.at[0]->name, "stem.w");
    assert_string_equal(name_of(f, w), "student.stem.w");
    dram_val other = fake_slot(f->g, "teacher", "stem.w", 32, DRAM_CATEGORY_TEACHER_WEIGHTS); /* another group */
    assert_int_not_equal(other, w);
    assert_int_equal(f->slots.n, 2);
    assert_int_equal(dram_slots_find(&f->slots, "student", "stem.w"), 0);
    assert_int_equal(dram_slots_find(&f->slots, "teacher", "stem.w"), 1);
    assert_int_equal(dram_slots_find(&f->slots, "head", "stem.w"), DRAM_NONE);
    assert_int_equal(dram_slots_find(&f->slots, "student", "w"), DRAM_NONE);
    assert_int_equal(dram_graph_new("second", &f->slots, &second), DRAM_OK);
    dram_val again = fake_slot(second, "student", "stem.w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    assert_int_equal(f->slots.n, 2);
    assert_int_equal(second->values[again]->slot, 0);
    assert_int_equal(second->values[again]->category, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_graph_free(second);
}

static void a_slot_in_two_shapes_is_refused(void **state)
{
    fixture *f = *state;
    fake_slot(f->g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    assert_int_equal(fake_slot(f->g, "student", "w", 65, DRAM_CATEGORY_STUDENT_WEIGHTS), DRAM_NONE);
    assert_int_equal(f->g->status, DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "student w is asked for in two shapes"));
    assert_int_equal(f->slots.n, 1);
    assert_int_equal(dram_elements(&f->slots.at[0]->shape), 64);
    int index;
    dram_slot half = *f->slots.at[0];
    half.dtype = DRAM_F16;
    assert_int_equal(dram_slots_add(&f->slots, &half, &index), DRAM_ERR_INTERNAL);
}

static void an_update_is_the_slot_from_then_on(void **state)
{
    fixture *f = *state;
    dram_val out[DRAM_MAX_OUT], g = input(f, "g");
    dram_val w = fake_slot(f->g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS);
    dram_val m = fake_slot(f->g, "optimizer", "m", 64, DRAM_CATEGORY_OPTIMIZER);
    dram_graph_add(f->g, DRAM_OP_sgd, "sgd", NULL, (dram_val[]){w, g, m, g, g}, 5, out);
    assert_int_equal(f->g->status, DRAM_OK);
    const dram_value *now = dram_value_at(f->g, out[0]);
    assert_int_equal(now->slot, dram_value_at(f->g, w)->slot);
    assert_int_equal(now->category, DRAM_CATEGORY_STUDENT_WEIGHTS);
    assert_int_equal(dram_value_at(f->g, out[1])->category, DRAM_CATEGORY_OPTIMIZER);
    assert_int_equal(fake_slot(f->g, "student", "w", 64, DRAM_CATEGORY_STUDENT_WEIGHTS), out[0]);
    assert_int_equal(fake_slot(f->g, "optimizer", "m", 64, DRAM_CATEGORY_OPTIMIZER), out[1]);
    int n_values = f->g->n_values, n_nodes = f->g->n_nodes;
    dram_graph_add(f->g, DRAM_OP_sgd, "again", NULL, (dram_val[]){w, g, out[1], g, g}, 5, out);
    assert_int_equal(f->g->status, DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "again updates student.w, which is not its present value"));
    assert_int_equal(f->g->n_values, n_values);
    assert_int_equal(f->g->n_nodes, n_nodes);
}

static void the_first_failure_stays(void **state)
{
    fixture *f = *state;
    dram_val x = input(f, "x"), out[DRAM_MAX_OUT] = {5, 5, 5, 5};
    dram_graph_add(f->g, DRAM_OP_bn_stats, "odd", &(dram_attr){.ignore = 1}, &x, 1, out);
    assert_int_equal(f->g->status, DRAM_ERR_INTERNAL);
    assert_string_equal(dram_error_text(), "step: odd is refused");
    assert_int_equal(out[0], DRAM_NONE);
    assert_int_equal(out[1], DRAM_NONE);
    assert_int_equal(f->g->n_values, 1); /* nothing is left of the node */
    assert_int_equal(f->g->n_nodes, 0);
    assert_int_equal(relu(f, "later", x), DRAM_NONE);
    assert_int_equal(relu(f, "later", DRAM_NONE), DRAM_NONE);
    assert_int_equal(input(f, "y"), DRAM_NONE);
    assert_int_equal(fake_slot(f->g, "student", "w", 1, DRAM_CATEGORY_STUDENT_WEIGHTS), DRAM_NONE);
    dram_graph_output(f->g, DRAM_NONE);
    assert_int_equal(dram_graph_fail(f->g, "a second one"), DRAM_ERR_INTERNAL);
    assert_string_equal(dram_error_text(), "step: odd is refused");
    assert_int_equal(f->g->n_values, 1);
    assert_int_equal(f->slots.n, 0);
}

/* Inputs that do not suit the row of the op, each on a fresh graph. */
static void wrong_inputs_are_refused(void **state)
{
    (void)state;
    static const struct {
        dram_op op;
        int n;
        dram_val in[4];
        const char *text;
    } rows[] = {{DRAM_OP_relu, 0, {0}, "y: relu takes 1 to 1 inputs, not 0"},
                {DRAM_OP_relu, 2, {0, 0}, "y: relu takes 1 to 1 inputs, not 2"},
                {DRAM_OP_relu, 1, {DRAM_NONE}, "y: input 0 of relu is missing"},
                {DRAM_OP_linear, 2, {0, DRAM_NONE}, "y: input 1 of linear is missing"},
                {DRAM_OP_linear, 4, {0, 0, 0, 0}, "y: linear takes 2 to 3 inputs, not 4"},
                {DRAM_OP_relu, 1, {1}, "y: input 0 of relu is missing"},
                {DRAM_OP_relu, 1, {-2}, "y: input 0 of relu is missing"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dram_slots slots = {0};
        dram_graph *g;
        dram_val out[DRAM_MAX_OUT];
        dram_error_clear();
        assert_int_equal(dram_graph_new("step", &slots, &g), DRAM_OK);
        dram_graph_input(g, "x", DRAM_F32, DRAM_SHAPE(1));
        dram_graph_add(g, rows[i].op, "y", NULL, rows[i].in, rows[i].n, out);
        assert_int_equal(g->status, DRAM_ERR_INTERNAL);
        assert_int_equal(out[0], DRAM_NONE);
        assert_non_null(strstr(dram_error_text(), rows[i].text));
        assert_int_equal(g->n_nodes, 0);
        dram_graph_free(g);
    }
    dram_error_clear();
}

static void optional_inputs_may_be_left_out(void **state)
{
    fixture *f = *state;
    dram_val x = input(f, "x"), out[DRAM_MAX_OUT];
    dram_graph_add(f->g, DRAM_OP_linear, "a", NULL, (dram_val[]){x, x, DRAM_NONE}, 3, out);
    dram_graph_add(f->g, DRAM_OP_linear, "b", NULL, (dram_val[]){x, x}, 2, out);
    dram_graph_add(f->g, DRAM_OP_fill, "c", &(dram_attr){.out_h = 4}, NULL, 0, out);
    assert_int_equal(f->g->status, DRAM_OK);
    assert_int_equal(f->g->nodes[0]->n_in, 3);
    assert_int_equal(f->g->nodes[1]->in[2], DRAM_NONE);
    assert_int_equal(f->g->nodes[2]->n_in, 0);
}

static void scopes_nest_and_have_a_limit(void **state)
{
    fixture *f = *state;
    int length[100], depth = 0;
    assert_int_equal(dram_scope_push(f->g, "a"), 0);
    int one = dram_scope_push(f->g, "b");
    assert_int_equal(one, 1);
    assert_string_equal(f->g->scope, "a.b");
    dram_scope_pop(f->g, one);
    assert_string_equal(f->g->scope, "a");
    dram_scope_pop(f->g, 0);
    assert_string_equal(f->g->scope, "");
    while (f->g->status == DRAM_OK && depth < 100) length[depth++] = dram_scope_push(f->g, "ten_bytes_");
    assert_int_equal(f->g->status, DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "too long"));
    assert_in_range(depth, 10, 20);
    while (depth > 0) dram_scope_pop(f->g, length[--depth]);
    assert_string_equal(f->g->scope, "");
}

static void the_op_list_is_consistent(void **state)
{
    (void)state;
    for (int op = 0; op < DRAM_OP_COUNT; op++) {
        const dram_op_row *row = &dram_op_rows[op];
        assert_non_null(row->name);
        assert_in_range(row->min_in, 0, row->max_in);
        assert_in_range(row->max_in, 0, DRAM_MAX_IN);
        assert_in_range(row->n_out, 1, DRAM_MAX_OUT);
        assert_int_equal(strlen(row->updates), row->n_out == 1 ? 1 : row->n_out);
        assert_int_equal(row->saved_in >> row->max_in, 0);
        assert_int_equal(row->alias >> row->max_in, 0);
        assert_int_equal(row->saved_out >> row->n_out, 0);
        for (int o = 0; o < row->n_out; o++) assert_true(dram_op_updates((dram_op)op, o) < row->max_in);
        for (int other = 0; other < op; other++) assert_string_not_equal(row->name, dram_op_rows[other].name);
    }
    assert_int_equal(dram_op_updates(DRAM_OP_adamw, 1), 2);
    assert_int_equal(dram_op_updates(DRAM_OP_relu, 0), DRAM_NONE);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) assert_true(strlen(dram_category_name((dram_category)c)) > 4);
}

static void out_of_memory_is_sticky_and_leaks_nothing(void **state)
{
    (void)state;
    int64_t held = dram_alloc_bytes();
    int fails = 0;
    bool whole = false;
    for (int64_t after = 0; !whole; after++) {
        dram_slots slots = {0};
        dram_graph *g = NULL;
        dram_alloc_fail_after(after);
        dram_status status = dram_graph_new("step", &slots, &g);
        if (status == DRAM_OK) {
            fake_training_step(g, 6);
            status = g->status;
        }
        dram_alloc_fail_after(-1);
        whole = status == DRAM_OK;
        if (!whole) {
            assert_int_equal(status, DRAM_ERR_MEMORY);
            assert_string_not_equal(dram_error_text(), "");
            dram_error_clear();
            fails++;
        } else {
            assert_true(g->n_nodes > 30);
            assert_true(slots.n > 10);
        }
        dram_graph_free(g);
        dram_slots_free(&slots);
        assert_int_equal(dram_alloc_bytes(), held);
    }
    assert_true(fails > 150);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_graph_is_empty),
        TEST(an_input_has_no_producer),
        TEST(a_node_names_its_outputs),
        TEST(names_are_unique),
        TEST(gradients_are_wanted_behind_trainable_slots),
        TEST(a_slot_is_one_value_and_one_row),
        TEST(a_slot_in_two_shapes_is_refused),
        TEST(an_update_is_the_slot_from_then_on),
        TEST(the_first_failure_stays),
        cmocka_unit_test(wrong_inputs_are_refused),
        TEST(optional_inputs_may_be_left_out),
        TEST(scopes_nest_and_have_a_limit),
        cmocka_unit_test(the_op_list_is_consistent),
        cmocka_unit_test(out_of_memory_is_sticky_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, fake_setup, NULL);
}
