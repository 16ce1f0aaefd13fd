/* Every op has its traits: the other columns of a row tell which words a norm, a product or an optimiser must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ir/op.h"

/* Their gradient reads what they read, but they give one number, which costs nothing to keep. */
static bool is_loss(const char *name)
{
    static const char *const losses[] = {"embed_loss", "cwd_loss", "cross_entropy"};
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++)
        if (strcmp(losses[i], name) == 0) return true;
    return false;
}

/* What contradicts itself in a row; NULL: nothing. */
static const char *wrong_with(const dram_op_row *row)
{
    bool overwrites = strspn(row->updates, "-") < strlen(row->updates);
    bool once = row->trait == DRAM_TRAIT_ONCE || row->trait == DRAM_TRAIT_UPDATE;
    bool keeps_its_input = row->differentiable && row->saved_in & 1;
    if ((int)strlen(row->updates) != row->n_out) return "`updates` has one digit an output";
    if (overwrites && !once) return "what overwrites an input is ONCE or UPDATE";
    if (overwrites && row->trait == DRAM_TRAIT_UPDATE && !row->many)
        return "the update of a weight comes by the hundred: it has a kernel for many";
    if (row->many && !overwrites) return "a kernel for many is of ops that overwrite something";
    if (once && row->differentiable) return "what never runs again carries no gradient";
    if (keeps_its_input && row->alias && row->trait != DRAM_TRAIT_CHEAP)
        return "the backward reads its input and it works in place, as norms, activations and gates do: it is CHEAP";
    if (keeps_its_input && !row->alias && row->trait != DRAM_TRAIT_PRODUCT && !is_loss(row->name))
        return "the backward reads its input and it does not work in place: it is a PRODUCT, or a loss (named in this "
               "test)";
    if (row->queue != DRAM_QUEUE_COMPUTE && (row->trait == DRAM_TRAIT_CHEAP || row->trait == DRAM_TRAIT_PRODUCT))
        return "what runs beside compute is not made again";
    return NULL;
}

static void every_op_has_its_traits(void **state)
{
    (void)state;
    int words[DRAM_TRAIT_UPDATE + 1] = {0};
    for (int op = 0; op < DRAM_OP_COUNT; op++) {
        const char *wrong = wrong_with(&dram_op_rows[op]);
        if (wrong) fail_msg("%s: %s", dram_op_rows[op].name, wrong);
        words[dram_op_rows[op].trait]++;
    }
    for (int t = 0; t <= DRAM_TRAIT_UPDATE; t++) assert_true(words[t] > 0);
}

/* Rows as they would be copied from another op, with what makes theirs another one forgotten. */
static void the_check_can_fail(void **state)
{
    (void)state;
    const dram_op_row norm = {
        .name = "rmsnorm", .n_out = 1, .saved_in = 3, .alias = 1, .updates = "-", .differentiable = true};
    const dram_op_row product = {
        .name = "batched_product", .n_out = 1, .saved_in = 3, .updates = "-", .differentiable = true};
    const dram_op_row optimiser = {.name = "lion", .n_out = 2, .updates = "02"};
    const dram_op_row *const forgotten[] = {&norm, &product, &optimiser};
    const dram_trait right[] = {DRAM_TRAIT_CHEAP, DRAM_TRAIT_PRODUCT, DRAM_TRAIT_UPDATE};
    for (int i = 0; i < 3; i++) {
        dram_op_row row = *forgotten[i];
        assert_non_null(wrong_with(&row)); /* PLAIN */
        row.trait = right[i];
        row.many = row.trait == DRAM_TRAIT_UPDATE;
        assert_null(wrong_with(&row));
        row.many = !row.many;
        assert_non_null(wrong_with(&row));
        row.many = !row.many;
        for (int t = DRAM_TRAIT_PLAIN; t <= DRAM_TRAIT_UPDATE; t++) {
            row.trait = (dram_trait)t;
            if (row.trait == right[i] || (i == 2 && t == DRAM_TRAIT_ONCE)) continue;
            assert_non_null(wrong_with(&row));
        }
        row.trait = right[i];
        row.queue = DRAM_QUEUE_COMM;
        assert_true((wrong_with(&row) != NULL) == (i < 2));
    }
}

static void a_node_says_what_its_time_depends_on(void **state)
{
    (void)state;
    const dram_attr all = {
        .stride = 1, .pad = 2, .groups = 3, .heads = 4, .window = 5, .act = 6, .mode = 7, .out_h = 8, .eps = 9};
    static const struct {
        dram_op op;
        int value[DRAM_TIMED];
    } cases[] = {{DRAM_OP_conv2d_wgrad, {1, 2, 3}},
                 {DRAM_OP_attention, {[3] = 4, [4] = 5}},
                 {DRAM_OP_bn_apply, {[5] = 6}},
                 {DRAM_OP_resize, {[6] = 7}},
                 {DRAM_OP_layernorm, {0}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int value[DRAM_TIMED];
        const dram_node node = {.op = cases[i].op, .attr = all};
        dram_node_timed(&node, value);
        assert_memory_equal(value, cases[i].value, sizeof value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_has_its_traits),
        cmocka_unit_test(the_check_can_fail),
        cmocka_unit_test(a_node_says_what_its_time_depends_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
