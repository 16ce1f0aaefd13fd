/* The executor: a planned run is held, bit for bit, against a run in which every value has memory of its own. On a GPU
 * that run is planned too, with nothing shared and every node waited for. */
#include "base/rng.h"
#include "device/exec_net.h"
#include "device/queued.h"
#include "device/testing.h"
#include "support/run_graph.h"
#include "support/warnings.h"

/* What the host stages for a step, and what it reads back. */
typedef struct {
    uint8_t image[N * S * S * 3], labels[N * S * S];
    int32_t valid[N * 2];
    float count, target[N * 4 * 4 * C], mask[N * 4 * 4], hyper[4];
    float loss, clip[2], logits[N * 8 * 8 * K], eval_logits[N * 8 * 8 * K];
} staged;

static void fill_staged(staged *s, int step)
{
    dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, (uint64_t)step);
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < sizeof s->image; i++) s->image[i] = (uint8_t)dram_rng_below(&r, 256);
    for (size_t i = 0; i < sizeof s->labels; i++)
        s->labels[i] = dram_rng_below(&r, 4) ? (uint8_t)dram_rng_below(&r, K) : 255;
    for (size_t i = 0; i < sizeof s->target / 4; i++) s->target[i] = (float)dram_rng_range(&r, -1, 1);
    for (size_t i = 0; i < sizeof s->mask / 4; i++) s->mask[i] = i % 16 < 12 ? 1.0f : 0.0f;
    for (size_t i = 0; i < N * S * S; i++) s->count += s->labels[i] != 255;
    for (int i = 0; i < N; i++) {
        s->valid[2 * i] = S - 7;
        s->valid[2 * i + 1] = S;
    }
    s->hyper[0] = 0.01f;
    s->hyper[1] = 10.0f / (float)(step + 1);
    s->hyper[2] = 1000.0f / (float)(step + 1);
}

/* A slot's first bytes: positive, so that they serve as a variance too. */
static float *slot_start(const dram_slots *slots, int i)
{
    int64_t n = dram_elements(&slots->at[i]->shape);
    dram_rng r = dram_rng_make(9, DRAM_RNG_TEST, dram_hash_name(slots->at[i]->name));
    float *data = malloc((size_t)n * 4);
    assert_non_null(data);
    bool state = !slots->at[i]->trainable && !strstr(slots->at[i]->name, "running_var");
    for (int64_t k = 0; k < n; k++) data[k] = state ? 0.0f : (float)dram_rng_range(&r, 0.05, 0.4);
    return data;
}

/* All that a run leaves: the read-backs of every step, and the slots at its end. */
typedef struct {
    staged at[STEPS];
    float *slots[256];
    int n_slots;
    dram_exec_records records;
    char why[256]; /* theirs */
} record;

static void record_free(record *r)
{
    for (int i = 0; i < r->n_slots; i++) free(r->slots[i]);
}

static int differing(const record *a, const record *b, const dram_slots *slots)
{
    int n = 0;
    assert_int_equal(a->n_slots, b->n_slots);
    assert_true(a->n_slots > 40);
    for (int s = 0; s < STEPS; s++) n += memcmp(&a->at[s], &b->at[s], sizeof a->at[s]) != 0;
    for (int i = 0; i < a->n_slots; i++)
        n += memcmp(a->slots[i], b->slots[i], (size_t)dram_elements(&slots->at[i]->shape) * 4) != 0;
    return n;
}

/* Every value in memory of its own. */
static void run_naive(net *n, record *r)
{
    run_state s;
    run_open(&s, &n->slots, WORKERS);
    r->n_slots = n->slots.n;
    for (int i = 0; i < n->slots.n; i++) {
        float *data = slot_start(&n->slots, i);
        memcpy(run_slot(&s, i), data, (size_t)dram_elements(&n->slots.at[i]->shape) * 4);
        free(data);
    }
    for (int k = 0; k < STEPS; k++) {
        staged *at = &r->at[k];
        fill_staged(at, k);
        const run_io in[] = {{n->io[0].image, at->image},  {n->io[0].valid, at->valid}, {n->io[0].labels, at->labels},
                             {n->io[0].count, &at->count}, {n->io[0].mask, at->mask},   {n->io[0].target, at->target},
                             {n->io[0].hyper, &at->hyper}};
        const run_io out[] = {{n->io[0].loss, &at->loss}, {n->io[0].clip, at->clip}, {n->io[0].logits, at->logits}};
        run_graph(&s, n->step, in, 7, out, 3);
        const run_io eval_in[] = {{n->io[1].image, at->image}, {n->io[1].valid, at->valid}};
        const run_io eval_out[] = {{n->io[1].logits, at->eval_logits}};
        run_graph(&s, n->eval, eval_in, 2, eval_out, 1);
    }
    for (int i = 0; i < n->slots.n; i++) {
        size_t bytes = (size_t)dram_elements(&n->slots.at[i]->shape) * 4;
        r->slots[i] = malloc(bytes);
        assert_non_null(r->slots[i]);
        memcpy(r->slots[i], run_slot(&s, i), bytes);
    }
    run_close(&s);
}

static void planned_step(dram_exec *e, const net *n, staged *at)
{
    ok(dram_exec_write(e, 0, n->io[0].image, at->image, sizeof at->image));
    ok(dram_exec_write(e, 0, n->io[0].valid, at->valid, sizeof at->valid));
    ok(dram_exec_write(e, 0, n->io[0].labels, at->labels, sizeof at->labels));
    ok(dram_exec_write(e, 0, n->io[0].count, &at->count, sizeof at->count));
    ok(dram_exec_write(e, 0, n->io[0].target, at->target, sizeof at->target));
    ok(dram_exec_write(e, 0, n->io[0].mask, at->mask, sizeof at->mask));
    ok(dram_exec_write(e, 0, n->io[0].hyper, at->hyper, sizeof at->hyper));
    ok(dram_exec_run(e, 0));
    ok(dram_exec_read(e, 0, n->io[0].loss, &at->loss, sizeof at->loss));
    ok(dram_exec_read(e, 0, n->io[0].clip, at->clip, sizeof at->clip));
    ok(dram_exec_read(e, 0, n->io[0].logits, at->logits, sizeof at->logits));
    ok(dram_exec_write(e, 1, n->io[1].image, at->image, sizeof at->image));
    ok(dram_exec_write(e, 1, n->io[1].valid, at->valid, sizeof at->valid));
    ok(dram_exec_run(e, 1));
    ok(dram_exec_read(e, 1, n->io[1].logits, at->eval_logits, sizeof at->eval_logits));
}

static void run_on(const net *n, const dram_plan *plan, dram_device *device, bool poison, record *r)
{
    dram_exec *e;
    ok(dram_exec_open(device, plan, &e));
    dram_exec_poison(e, poison);
    r->n_slots = n->slots.n;
    for (int i = 0; i < n->slots.n; i++) {
        float *data = slot_start(&n->slots, i);
        ok(dram_exec_write_slot(e, i, 0, data, dram_elements(&n->slots.at[i]->shape) * 4));
        free(data);
    }
    for (int k = 0; k < STEPS; k++) {
        fill_staged(&r->at[k], k);
        planned_step(e, n, &r->at[k]);
    }
    for (int i = 0; i < n->slots.n; i++) {
        int64_t bytes = dram_elements(&n->slots.at[i]->shape) * 4;
        r->slots[i] = malloc((size_t)bytes);
        assert_non_null(r->slots[i]);
        ok(dram_exec_read_slot(e, i, 0, r->slots[i], bytes));
    }
    assert_int_equal(device->bytes_peak, plan->arena_bytes);
    assert_int_equal(device->bytes_now, plan->arena_bytes);
    r->records = dram_exec_recorded(e);
    snprintf(r->why, sizeof r->why, "%s", r->records.why ? r->records.why : "");
    dram_exec_close(e);
    assert_int_equal(device->bytes_now, 0);
}

static void run_plan(const net *n, const dram_plan *plan, bool poison, record *r)
{
    dram_device *device;
    ok(test_device_open(WORKERS, &device));
    run_on(n, plan, device, poison, r);
    dram_device_close(device);
}

static const dram_plan_options usual = {.eager_free = true, .in_place = true};

static void run_apart(net *n, record *r)
{
    if (!test_on_gpu()) {
        run_naive(n, r);
        return;
    }
    dram_plan *plan = plan_of(n, (dram_plan_options){0});
    run_plan(n, plan, true, r);
    dram_plan_free(plan);
}

/* Plans and runs the net as asked; its record must be the naive run's. Returns the arena's size. */
static int64_t compare(dram_plan_options options, bool poison, bool recompute)
{
    static record naive, planned;
    net plain, n;
    net_open(&plain, false);
    net_open(&n, recompute);
    run_apart(&plain, &naive);
    assert_true(naive.at[0].loss > 0 && naive.at[STEPS - 1].loss < naive.at[0].loss);
    dram_plan *plan = plan_of(&n, options);
    run_plan(&n, plan, poison, &planned);
    assert_int_equal(differing(&naive, &planned, &n.slots), 0);
    int64_t bytes = plan->arena_bytes;
    record_free(&naive);
    record_free(&planned);
    dram_plan_free(plan);
    net_close(&n);
    net_close(&plain);
    return bytes;
}

static void planned_is_naive(void **state)
{
    (void)state;
    compare(usual, false, false);
}

static void poison_changes_nothing(void **state)
{
    (void)state;
    compare(usual, true, false);
}

static void levers_change_no_bit(void **state)
{
    (void)state;
    int64_t best = compare(usual, true, false);
    int64_t kept = compare((dram_plan_options){.eager_free = false, .in_place = true}, true, false);
    int64_t apart = compare((dram_plan_options){.eager_free = true, .in_place = false}, true, false);
    compare((dram_plan_options){0}, false, false);
    compare(usual, true, true);
    assert_true(kept > best);
    assert_true(apart >= best);
}

/* What needs no library: those work for the compute queue alone. */
static bool may_be_elsewhere(dram_op op)
{
    return strncmp(dram_op_rows[op].name, "conv2d", 6) != 0 && strncmp(dram_op_rows[op].name, "linear", 6) != 0;
}

/* Puts a third of those nodes on each queue; the next time on other ones. */
static void scatter(dram_graph *g, int shift)
{
    int n[DRAM_QUEUE_COUNT] = {0};
    for (int i = 0; i < g->n_nodes; i++) {
        if (!may_be_elsewhere(g->nodes[i]->op)) continue;
        g->nodes[i]->queue = (dram_queue)((i + shift) % DRAM_QUEUE_COUNT);
        n[g->nodes[i]->queue]++;
    }
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) assert_true(n[q] >= 10);
}

/* Three queues, which on a GPU run side by side: the first step as it is, then recorded and replayed. */
static void three_queues_change_no_bit(void **state)
{
    (void)state;
    static record apart, planned;
    net n;
    net_open(&n, false);
    run_apart(&n, &apart);
    for (int shift = 0; shift < DRAM_QUEUE_COUNT; shift++) {
        scatter(n.step, shift);
        dram_plan *plan = plan_of(&n, usual);
        run_plan(&n, plan, shift == 1, &planned);
        assert_int_equal(differing(&apart, &planned, &n.slots), 0);
        record_free(&planned);
        dram_plan_free(plan);
    }
    record_free(&apart);
    net_close(&n);
}

/* The same where each queue in turn is as far ahead of the others as the joins let it, or as far behind. */
static void queues_keep_what_the_plan_counts_on(void **state)
{
    (void)state;
    static const int orders[][DRAM_QUEUE_COUNT] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static record naive, planned;
    if (test_on_gpu()) skip();
    net n;
    net_open(&n, false);
    run_naive(&n, &naive);
    for (int k = 0; k < 6; k++) {
        dram_device *device;
        scatter(n.step, k % DRAM_QUEUE_COUNT);
        dram_plan *plan = plan_of(&n, usual);
        ok(test_device_open(WORKERS, &device));
        queued_begin(device, orders[k]);
        run_on(&n, plan, device, false, &planned);
        assert_true(queued.calls >= 20 * STEPS && queued.waits >= 20 * STEPS);
        assert_int_equal(differing(&naive, &planned, &n.slots), 0);
        record_free(&planned);
        dram_device_close(device);
        dram_plan_free(plan);
    }
    record_free(&naive);
    net_close(&n);
}

/* A capture that fails is said, once for each program, and nothing else is different. */
static void what_is_not_recorded_is_launched(void **state)
{
    (void)state;
    static const char *const ways[][2] = {{"forbid", "not permitted"}, {"memory", "out of memory"}};
    static record apart, planned;
    if (!test_on_simulated_gpu()) skip();
    net n;
    net_open(&n, false);
    run_apart(&n, &apart);
    scatter(n.step, 1);
    dram_plan *plan = plan_of(&n, usual);
    dram_log_set_sink(keep_warning, NULL);
    for (int k = 0; k < 2; k++) {
        warnings = 0;
        setenv("CUDASIM_CAPTURE", ways[k][0], 1);
        run_plan(&n, plan, false, &planned);
        unsetenv("CUDASIM_CAPTURE");
        assert_int_equal(warnings, 2);
        assert_non_null(strstr(last_warning, "eval cannot be recorded as a CUDA graph"));
        assert_non_null(strstr(last_warning, ways[k][1]));
        assert_string_equal(dram_error_text(), "");
        assert_int_equal(planned.records.recorded, 0);
        assert_int_equal(planned.records.refused, 2);
        assert_non_null(strstr(planned.why, "step: "));
        assert_non_null(strstr(planned.why, ways[k][1]));
        assert_int_equal(differing(&apart, &planned, &n.slots), 0);
        record_free(&planned);
    }
    dram_log_set_sink(NULL, NULL);
    record_free(&apart);
    dram_plan_free(plan);
    net_close(&n);
}

/* Each node has a time of its own, on a GPU by the GPU's clock; the run itself is as any other. */
static void nodes_are_timed(void **state)
{
    (void)state;
    static double seconds[1024];
    dram_device *device;
    dram_exec *e;
    net n;
    net_open(&n, false);
    scatter(n.step, 1); /* some nodes beside compute */
    dram_plan *plan = plan_of(&n, usual);
    ok(test_device_open(WORKERS, &device));
    ok(dram_exec_open(device, plan, &e));
    const int nodes = plan->programs[0].graph->n_nodes;
    assert_true(nodes > DRAM_STAMPS && nodes <= 1024);
    double all = 0;
    for (int i = 0; i < nodes; i++) seconds[i] = -1;
    ok(dram_exec_time(e, 0, seconds));
    for (int i = 0; i < nodes; i++) {
        assert_true(seconds[i] >= 0);
        all += seconds[i];
    }
    assert_true(all > 0);
    dram_exec_close(e);
    dram_device_close(device);
    dram_plan_free(plan);
    net_close(&n);
}

/* The comparison would see a wrong plan: two values that are alive together, on the same bytes. */
static void wrong_plan_is_seen(void **state)
{
    (void)state;
    static record naive, planned;
    net n;
    net_open(&n, false);
    run_apart(&n, &naive);
    dram_plan *plan = plan_of(&n, usual);
    dram_program *p = &plan->programs[0];
    dram_val loss = n.io[0].loss, logits = n.io[0].logits;
    assert_true(p->value[loss].offset != p->value[logits].offset);
    p->value[loss].offset = p->value[logits].offset;
    run_plan(&n, plan, false, &planned);
    assert_true(differing(&naive, &planned, &n.slots) > 0);
    record_free(&planned);
    record_free(&naive);
    dram_plan_free(plan);
    net_close(&n);
}

int main(void)
{
    test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_is_naive),
        cmocka_unit_test(poison_changes_nothing),
        cmocka_unit_test(levers_change_no_bit),
        cmocka_unit_test(three_queues_change_no_bit),
        cmocka_unit_test(queues_keep_what_the_plan_counts_on),
        cmocka_unit_test(what_is_not_recorded_is_launched),
        cmocka_unit_test(nodes_are_timed),
        cmocka_unit_test(wrong_plan_is_seen),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
