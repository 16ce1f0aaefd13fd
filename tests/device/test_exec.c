/* The executor: a planned run is held, bit for bit, against a run in which every value has memory of its own. On a GPU
 * that run is planned too, with nothing shared and every node waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "device/exec.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "plan/recompute.h"
#include "support/device.h"
#include "support/ok.h"
#include "support/run_graph.h"

/* N batch, S side of the image, C channels, K classes. */
enum { N = 2, S = 32, C = 8, K = 5, STEPS = 3, WORKERS = 2 };

/* A net with most of the ops, its training step and its evaluation, as src/train would build them. */
typedef struct {
    dram_slots slots;
    dram_graph *step, *eval;
    struct {
        dram_val image, valid, labels, count, target, mask, hyper, loss, clip, logits;
    } io[2]; /* of step, of eval */
} net;

static dram_val slot(dram_graph *g, const char *name, dram_shape shape, bool trainable)
{
    char copy[96];
    snprintf(copy, sizeof copy, "%s", name);
    return dram_graph_slot(g, &(dram_slot){.name = copy,
                                           .dtype = DRAM_F32,
                                           .shape = shape,
                                           .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                                           .trainable = trainable,
                                           .group = trainable ? "student" : "optimizer"});
}

static dram_val weight(dram_graph *g, const char *layer, const char *part, dram_shape shape)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return slot(g, name, shape, strncmp(part, "running", 7) != 0);
}

static dram_val conv(dram_graph *g, const char *name, dram_val x, int out, int kernel, int stride, int groups)
{
    int in = (int)dram_last(dram_shape_of(g, x), 0);
    dram_val w = weight(g, name, "weight", DRAM_SHAPE(out, kernel, kernel, in / groups));
    return DRAM_CALL(g, conv2d, name, DRAM_ATTR(.stride = stride, .pad = kernel / 2, .groups = groups), x, w);
}

static dram_val linear(dram_graph *g, const char *name, dram_val x, int out)
{
    dram_val w = weight(g, name, "weight", DRAM_SHAPE(out, dram_last(dram_shape_of(g, x), 0)));
    return DRAM_CALL(g, linear, name, NULL, x, w, weight(g, name, "bias", DRAM_SHAPE(out)));
}

static dram_val bn(dram_graph *g, const char *name, dram_val x, dram_val residual, bool train)
{
    char part[64];
    dram_shape shape = DRAM_SHAPE(dram_last(dram_shape_of(g, x), 0));
    dram_val gamma = weight(g, name, "weight", shape), beta = weight(g, name, "bias", shape);
    dram_val mean = weight(g, name, "running_mean", shape), var = weight(g, name, "running_var", shape);
    if (train) {
        dram_val stats[DRAM_MAX_OUT];
        snprintf(part, sizeof part, "%s.stats", name);
        dram_graph_add(g, DRAM_OP_bn_stats, part, NULL, &x, 1, stats);
        snprintf(part, sizeof part, "%s.running", name);
        DRAM_CALL(g, bn_running, part, DRAM_ATTR(.momentum = 0.1f, .scale = 1.01f), stats[0], stats[1], mean, var);
        mean = stats[0];
        var = stats[1];
    }
    return DRAM_CALL(g, bn_apply, name, DRAM_ATTR(.eps = 1e-5f, .act = DRAM_ACT_RELU, .batch_stats = train), x, mean,
                     var, gamma, beta, residual);
}

static dram_val layernorm(dram_graph *g, const char *name, dram_val x)
{
    dram_shape shape = DRAM_SHAPE(dram_last(dram_shape_of(g, x), 0));
    return DRAM_CALL(g, layernorm, name, DRAM_ATTR(.eps = 1e-6f), x, weight(g, name, "weight", shape),
                     weight(g, name, "bias", shape));
}

/* Squeeze and excitation. */
static dram_val gate(dram_graph *g, dram_val x)
{
    dram_val s = DRAM_CALL(g, avgpool, "se.pool", NULL, x);
    s = DRAM_CALL(g, relu, "se.relu", NULL, linear(g, "se.fc1", s, 4));
    s = DRAM_CALL(g, sigmoid, "se.sigmoid", NULL, linear(g, "se.fc2", s, C));
    return DRAM_CALL(g, scale_channels, "se.scale", NULL, x, s);
}

/* A transformer block with windows that do not divide the grid. */
static dram_val block(dram_graph *g, dram_val x)
{
    enum { WINDOW = 3, HEADS = 2 };
    dram_val y = layernorm(g, "norm1", x);
    dram_val w = weight(g, "qkv", "weight", DRAM_SHAPE(3 * C, C)), b = weight(g, "qkv", "bias", DRAM_SHAPE(3 * C));
    dram_val qkv = DRAM_CALL(g, linear, "qkv", NULL, y, w, b);
    dram_val rel_h = weight(g, "attn", "rel_pos_h", DRAM_SHAPE(2 * WINDOW - 1, C / HEADS));
    dram_val rel_w = weight(g, "attn", "rel_pos_w", DRAM_SHAPE(2 * WINDOW - 1, C / HEADS));
    y = DRAM_CALL(g, attention, "attn", DRAM_ATTR(.heads = HEADS, .window = WINDOW), qkv, rel_h, rel_w, b);
    x = DRAM_CALL(g, add, "sum1", NULL, x, linear(g, "proj", y, C));
    y = DRAM_CALL(g, gelu, "gelu", NULL, linear(g, "fc1", layernorm(g, "norm2", x), 2 * C));
    return DRAM_CALL(g, add, "sum2", NULL, x, linear(g, "fc2", y, C));
}

static void update(dram_graph *g, const dram_backward *back, int n_values, dram_val hyper, dram_val clip)
{
    for (dram_val v = 0; v < n_values && g->status == DRAM_OK; v++) {
        char m[80], u[80];
        if (g->values[v]->kind != DRAM_VALUE_SLOT || dram_gradient_of(back, v) == DRAM_NONE) continue;
        dram_val gradient = dram_gradient_of(back, v);
        const dram_shape shape = *dram_shape_of(g, v);
        snprintf(m, sizeof m, "m.%d", v);
        snprintf(u, sizeof u, "v.%d", v);
        if (v % 2) /* both optimisers */
            DRAM_CALL(g, sgd, "sgd", DRAM_ATTR(.momentum = 0.9f, .decay = 0.01f), v, gradient, slot(g, m, shape, false),
                      hyper, clip);
        else
            DRAM_CALL(g, adamw, "adamw", DRAM_ATTR(.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .decay = 0.05f), v,
                      gradient, slot(g, m, shape, false), slot(g, u, shape, false), hyper, clip);
    }
}

static void train(dram_graph *g, dram_val loss, dram_val hyper, dram_val *clip)
{
    dram_backward *back = NULL;
    dram_val squares = DRAM_NONE, seed = dram_call(g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    int n = g->n_values;
    assert_int_equal(dram_backward_build(g, &loss, &seed, 1, &back), DRAM_OK);
    for (dram_val v = 0; v < n; v++)
        if (g->values[v]->kind == DRAM_VALUE_SLOT && dram_gradient_of(back, v) != DRAM_NONE)
            squares = DRAM_CALL(g, sumsq, "squares", NULL, dram_gradient_of(back, v), squares);
    *clip = DRAM_CALL(g, clip_factor, "clip", DRAM_ATTR(.clip = 1.0f), squares);
    dram_graph_output(g, *clip);
    update(g, back, n, hyper, *clip);
    dram_backward_free(back);
}

static void build(net *n, dram_graph *g, bool step)
{
    n->io[!step].image = dram_graph_input(g, "image", DRAM_U8, DRAM_SHAPE(N, S, S, 3));
    n->io[!step].valid = dram_graph_input(g, "valid", DRAM_I32, DRAM_SHAPE(N, 2));
    dram_val x = DRAM_CALL(g, image_norm, "norm", DRAM_ATTR(.mean = {120, 115, 104}, .std = {58, 57, 57}),
                           n->io[!step].image, n->io[!step].valid);
    x = bn(g, "stem.bn", conv(g, "stem", x, C, 3, 2, 1), DRAM_NONE, step);
    dram_val y = bn(g, "a.bn", conv(g, "a", x, C, 3, 1, 2), DRAM_NONE, step);
    y = gate(g, y);
    x = bn(g, "b.bn", conv(g, "b", y, C, 1, 1, 1), x, step);
    x = conv(g, "down", x, C, 3, 2, 1);
    x = block(g, x);
    n->io[!step].logits = linear(g, "head", x, K);
    dram_graph_output(g, n->io[!step].logits);
    if (!step) return;
    n->io[0].labels = dram_graph_input(g, "labels", DRAM_U8, DRAM_SHAPE(N, S, S));
    n->io[0].count = dram_graph_input(g, "count", DRAM_F32, DRAM_SHAPE(1));
    n->io[0].target = dram_graph_input(g, "target", DRAM_F32, DRAM_SHAPE(N, 4, 4, C));
    n->io[0].mask = dram_graph_input(g, "mask", DRAM_F32, DRAM_SHAPE(N, 4, 4));
    n->io[0].hyper = dram_graph_input(g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    dram_val small = DRAM_CALL(g, resize, "small", DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = 4, .out_w = 4), x);
    dram_val terms[2];
    terms[0] =
        DRAM_CALL(g, embed_loss, "embed", DRAM_ATTR(.mode = DRAM_EMBED_COSINE), small, n->io[0].target, n->io[0].mask);
    terms[1] =
        DRAM_CALL(g, cross_entropy, "task", DRAM_ATTR(.ignore = 255), n->io[0].logits, n->io[0].labels, n->io[0].count);
    n->io[0].loss = dram_call(g, DRAM_OP_weighted_sum, "loss", DRAM_ATTR(.weight = {0.5f, 1.0f}), terms, 2);
    dram_graph_output(g, n->io[0].loss);
    train(g, n->io[0].loss, n->io[0].hyper, &n->io[0].clip);
}

static void recompute_norms(dram_graph *g)
{
    dram_recompute *r;
    dram_profile profile = dram_profile_cpu(2);
    assert_int_equal(dram_recompute_open(g, &profile, (dram_recompute_options){.norms = true, .in_place = true}, &r),
                     DRAM_OK);
    assert_int_equal(dram_recompute_apply(r, g, NULL), DRAM_OK);
    dram_recompute_close(r);
}

static void net_open(net *n, bool recompute)
{
    *n = (net){0};
    assert_int_equal(dram_graph_new("step", &n->slots, &n->step), DRAM_OK);
    build(n, n->step, true);
    if (recompute) recompute_norms(n->step);
    assert_int_equal(dram_graph_new("eval", &n->slots, &n->eval), DRAM_OK);
    n->eval->detached = true;
    build(n, n->eval, false);
    if (n->step->status != DRAM_OK || n->eval->status != DRAM_OK) fail_msg("%s", dram_error_text());
}

static void net_close(net *n)
{
    dram_graph_free(n->step);
    dram_graph_free(n->eval);
    dram_slots_free(&n->slots);
}

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

static dram_plan *plan_of(const net *n, dram_plan_options options)
{
    dram_plan *plan;
    const dram_graph *graphs[] = {n->step, n->eval};
    dram_profile profile = test_profile(WORKERS);
    ok(dram_plan_make(graphs, 2, &n->slots, &profile, options, &plan));
    return plan;
}

static void run_plan(const net *n, const dram_plan *plan, bool junk, record *r)
{
    dram_device *device;
    dram_exec *e;
    ok(test_device_open(WORKERS, &device));
    ok(dram_exec_open(device, plan, &e));
    dram_exec_junk(e, junk);
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
    dram_exec_close(e);
    assert_int_equal(device->bytes_now, 0);
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
static int64_t compare(dram_plan_options options, bool junk, bool recompute)
{
    static record naive, planned;
    net plain, n;
    net_open(&plain, false);
    net_open(&n, recompute);
    run_apart(&plain, &naive);
    assert_true(naive.at[0].loss > 0 && naive.at[STEPS - 1].loss < naive.at[0].loss);
    dram_plan *plan = plan_of(&n, options);
    run_plan(&n, plan, junk, &planned);
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

static void junk_changes_nothing(void **state)
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

/* ---- an executor that is not asked for a whole run ---- */

typedef struct {
    net n;
    dram_plan *plan;
    dram_device *device;
} fixture;

static int open_fixture(void **state)
{
    static fixture f;
    net_open(&f.n, false);
    f.plan = plan_of(&f.n, usual);
    ok(test_device_open(1, &f.device));
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    dram_device_close(f->device);
    dram_plan_free(f->plan);
    net_close(&f->n);
    return 0;
}

/* Reads and writes outside a value are refused, the value kept. */
static void ranges_are_checked(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    static staged at;
    float two[2] = {1, 2};
    ok(dram_exec_open(f->device, f->plan, &e));
    assert_int_equal(dram_exec_write(e, 0, f->n.io[0].count, two, 8), DRAM_ERR_INTERNAL);
    assert_string_equal(dram_error_text(), "count is not 8 bytes long");
    dram_error_clear();
    assert_int_equal(dram_exec_write_part(e, 0, f->n.io[0].hyper, 12, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_part(e, 0, f->n.io[0].hyper, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read(e, 0, f->n.io[0].loss, two, 8), DRAM_ERR_INTERNAL);
    int64_t bytes = dram_elements(&f->n.slots.at[0]->shape) * 4;
    assert_int_equal(dram_exec_write_slot(e, 0, bytes - 4, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_slot(e, 0, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read_slot(e, 0, bytes, two, 4), DRAM_ERR_INTERNAL);
    dram_error_clear();
    ok(dram_exec_write_slot(e, 0, bytes - 4, two, 4));
    two[0] = 0;
    ok(dram_exec_read_slot(e, 0, bytes - 4, two, 4));
    assert_true(two[0] == 1.0f);
    ok(dram_exec_write_part(e, 0, f->n.io[0].image, 0, at.image, sizeof at.image));
    dram_exec_close(e);
}

/* Memory runs out at every request in turn: an error each time, and nothing is left behind. */
static void opening_without_memory(void **state)
{
    fixture *f = *state;
    dram_exec *e = NULL;
    int64_t held = dram_alloc_bytes(), before = dram_alloc_calls();
    ok(dram_exec_open(f->device, f->plan, &e));
    int64_t needed = dram_alloc_calls() - before;
    dram_exec_close(e);
    assert_true(needed >= 4);
    for (int64_t i = 0; i < needed; i++) {
        dram_alloc_fail_after(i);
        dram_status status = dram_exec_open(f->device, f->plan, &e);
        dram_alloc_fail_after(-1);
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_not_equal(dram_error_text(), "");
        dram_error_clear();
        assert_int_equal(dram_alloc_bytes(), held);
        assert_int_equal(f->device->bytes_now, 0);
    }
}

/* An arena that no machine has. */
static void arena_too_large(void **state)
{
    fixture *f = *state;
    dram_exec *e = NULL;
    int64_t bytes = f->plan->arena_bytes, held = dram_alloc_bytes();
    f->plan->arena_bytes = (int64_t)1 << 60;
    assert_int_equal(dram_exec_open(f->device, f->plan, &e), DRAM_ERR_FIT);
    dram_error_clear();
    f->plan->arena_bytes = bytes;
    assert_int_equal(dram_alloc_bytes(), held);
}

/* A kernel's failure names the node. */
static dram_status refuse(const dram_kernel_args *args)
{
    (void)args;
    return DRAM_ERR_NUMERIC;
}

static void failing_kernel_is_named(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    static dram_kernel kernels[DRAM_OP_COUNT];
    memcpy(kernels, f->device->kernels, sizeof kernels);
    kernels[DRAM_OP_gelu] = refuse;
    f->device->kernels = kernels;
    ok(dram_exec_open(f->device, f->plan, &e));
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_NUMERIC);
    assert_string_equal(dram_error_text(), "eval: the node gelu failed: a number is not finite");
    dram_error_clear();
    dram_exec_close(e);
}

#define FIXED(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_is_naive),
        cmocka_unit_test(junk_changes_nothing),
        cmocka_unit_test(levers_change_no_bit),
        cmocka_unit_test(wrong_plan_is_seen),
        FIXED(ranges_are_checked),
        FIXED(opening_without_memory),
        FIXED(arena_too_large),
        FIXED(failing_kernel_is_named),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
