/* Bytes, FLOPs and time of a small graph, summed by hand; the table of cards. */
#include "plan/roofline.h"

#include "ops/call.h"
#include "support/fakes.h"

enum { ROWS = 64, IN = 128, OUT = 256, LIBRARY = 8 << 20 };

static dram_val slot(dram_graph *g, const char *name, dram_dtype dtype, dram_shape shape)
{
    char copy[32];
    snprintf(copy, sizeof copy, "%s", name);
    return dram_graph_slot(g, &(dram_slot){.name = copy,
                                           .dtype = dtype,
                                           .shape = shape,
                                           .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                                           .group = "student"});
}

static void close_to(double a, double b)
{
    if (!(a > b * (1 - 1e-12) && a < b * (1 + 1e-12))) fail_msg("%.17g is not %.17g", a, b);
}

/* By a library, by dram's own kernel for its bias, in place, in part, and twice the same. */
static void build(fake_fixture *f, bool gpu)
{
    dram_graph *g = f->g;
    dram_val x = dram_graph_input(g, "x", DRAM_BF16, DRAM_SHAPE(ROWS, IN));
    dram_val w = slot(g, "w", DRAM_BF16, DRAM_SHAPE(OUT, IN)), v = slot(g, "v", DRAM_BF16, DRAM_SHAPE(IN, OUT));
    dram_val b = slot(g, "b", DRAM_F32, DRAM_SHAPE(IN));
    dram_val y = DRAM_CALL(g, linear, "library", NULL, x, w);
    y = DRAM_CALL(g, relu, "relu", NULL, y);
    y = DRAM_CALL(g, linear, "own", NULL, y, v, b);
    dram_val part = DRAM_CALL(g, batch_slice, "part", DRAM_ATTR(.first = 8, .count = 16), y);
    dram_val twice = DRAM_CALL(g, add, "twice", NULL, part, part);
    dram_graph_output(g, DRAM_CALL(g, batch_put, "put", DRAM_ATTR(.first = 0, .count = ROWS), twice, y));
    DRAM_CALL(g, clear, "clear", NULL, b);
    if (g->status != DRAM_OK) fail_msg("%s", dram_error_text());
    const dram_graph *list[] = {g};
    dram_profile profile = gpu ? dram_profile_cuda(2) : dram_profile_cpu(2);
    assert_int_equal(dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &f->plan), DRAM_OK);
}

static const double bytes_by_hand[] = {
    2 * (ROWS * IN + OUT * IN + ROWS * OUT),          /* library */
    2 * 2 * ROWS *OUT,                                /* relu: in place, and moved all the same */
    2 * (ROWS * OUT + IN * OUT + ROWS * IN) + 4 * IN, /* own */
    2 * 2 * 16 * IN,                                  /* part */
    2 * 2 * 16 * IN,                                  /* twice: read once */
    2 * 2 * 16 * IN,                                  /* put, on the bytes of y */
    4 * IN,                                           /* clear: written */
};
enum { NODES = sizeof bytes_by_hand / sizeof bytes_by_hand[0] };

static void bytes_are_those_of_the_plan(void **state)
{
    for (int gpu = 0; gpu < 2; gpu++) {
        if (gpu) {
            fake_close(state);
            fake_open(state);
        }
        fake_fixture *f = *state;
        build(f, gpu);
        assert_int_equal(f->g->n_nodes, NODES);
        for (int i = 0; i < NODES; i++)
            if (dram_node_traffic(f->plan, 0, i) != bytes_by_hand[i])
                fail_msg("%s moves %.0f bytes, not %.0f", f->g->nodes[i]->name, dram_node_traffic(f->plan, 0, i),
                         bytes_by_hand[i]);
        assert_int_equal(f->plan->programs[0].workspace_bytes[0],
                         gpu ? LIBRARY : f->plan->programs[0].workspace_bytes[0]);
    }
}

/* A workspace of dram's own kernel is written and read: of partial sums, on a GPU. */
static void a_workspace_is_written_and_read(void **state)
{
    fake_fixture *f = *state;
    dram_val x = dram_graph_input(f->g, "x", DRAM_F32, DRAM_SHAPE(1000, 64)), out[DRAM_MAX_OUT];
    dram_graph_add(f->g, DRAM_OP_bn_stats, "stats", NULL, &x, 1, out);
    assert_int_equal(f->g->status, DRAM_OK);
    const dram_graph *list[] = {f->g};
    dram_profile profile = dram_profile_cuda(2);
    assert_int_equal(dram_plan_make(list, 1, &f->slots, &profile, DRAM_PLAN_USUAL, &f->plan), DRAM_OK);
    double workspace = (double)dram_node_workspace(f->g, f->g->nodes[0], &profile);
    assert_true(workspace > 0);
    assert_true(dram_node_traffic(f->plan, 0, 0) == 4 * (1000 * 64 + 2 * 64) + 2 * workspace);
}

/* A card whose limits make the numbers easy: products are bound by FLOPs, the rest by bytes. */
static void time_is_the_longer_of_two(void **state)
{
    fake_fixture *f = *state;
    const dram_card card = {.gpu = true, .flops_low = 1e6, .flops_fp32 = 1e15, .bandwidth = 1e9, .link = 1e9};
    const double flops = 2.0 * ROWS * IN * OUT;
    dram_estimate e = {0};
    build(f, true);
    dram_estimate_add(&e, f->plan, 0, 3, &card);
    const dram_kernel_load *product = &e.kind[DRAM_KERNEL_KIND_PRODUCT], *own = &e.kind[DRAM_KERNEL_KIND_OWN_PRODUCT];
    const dram_kernel_load *other = &e.kind[DRAM_KERNEL_KIND_OTHER], *update = &e.kind[DRAM_KERNEL_KIND_UPDATE];
    close_to(product->flops, 3 * flops);
    close_to(own->flops, 3 * flops);
    close_to(product->seconds, 3 * (flops / (0.70 * 1e6) + 3e-6));
    close_to(own->seconds, 3 * (flops / (0.33 * 1e6) + 3e-6));
    close_to(product->bound_by_flops, product->seconds);
    double bytes = bytes_by_hand[1] + bytes_by_hand[3] + bytes_by_hand[4] + bytes_by_hand[5];
    close_to(other->bytes, 3 * bytes);
    close_to(other->seconds, 3 * (bytes / (0.70 * 1e9) + 4 * 3e-6));
    assert_true(other->bound_by_flops == 0 && other->nodes == 12 && update->nodes == 3);
    close_to(e.seconds, product->seconds + own->seconds + other->seconds + update->seconds);
    close_to(e.start_seconds, 3 * NODES * 3e-6);
    double all = 0;
    for (int k = 0; k < DRAM_KERNEL_KIND_COUNT; k++) all += e.kind[k].flops;
    close_to(all, 3.0 * (double)f->plan->programs[0].flops);
    assert_true(e.left_out == 0 && e.copy_bytes == 0);
}

static void the_table_of_cards(void **state)
{
    (void)state;
    dram_str names = {0};
    int n = 0;
    dram_card_names(&names);
    assert_string_equal(names.text, "h200, h100, a100, 4090, 4060, 3070, 3060");
    for (char *rest = names.text, *name; (name = strtok_r(rest, ", ", &rest)); n++) {
        const dram_card *c = dram_card_find(name);
        assert_non_null(c);
        assert_string_equal(c->name, name);
        assert_true(c->gpu && c->flops_low >= 2 * c->flops_fp32 * 0.99 && c->flops_fp32 > 1e13);
        assert_true(c->bandwidth > 2e11 && c->bandwidth < 5e12 && c->link < c->bandwidth && c->link >= 16e9);
        assert_true(c->memory_bytes >= 8000000000 && c->memory_bytes <= 141000000000);
    }
    assert_int_equal(n, 7);
    dram_str_free(&names);
    assert_null(dram_card_find("h201"));
    assert_null(dram_card_find(""));
    assert_true(dram_card_find("h200")->flops_low == 989.4e12 && dram_card_find("4060")->bandwidth == 272e9);
    for (int k = 0; k < 2 * DRAM_KERNEL_KIND_COUNT; k++) {
        dram_kernel_limits l = dram_kernel_limits_of((dram_kernel_kind)(k / 2), k % 2);
        assert_true(l.name && l.of_peak > 0 && l.of_peak < 1 && l.of_bandwidth > 0 && l.of_bandwidth <= 1);
    }
}

int main(void)
{
    dram_ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_are_those_of_the_plan, fake_open, fake_close),
        cmocka_unit_test_setup_teardown(a_workspace_is_written_and_read, fake_open, fake_close),
        cmocka_unit_test_setup_teardown(time_is_the_longer_of_two, fake_open, fake_close),
        cmocka_unit_test(the_table_of_cards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
