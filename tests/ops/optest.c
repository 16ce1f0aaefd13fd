#include "optest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/cpu_kernels.h"
#include "memory.h"
#include "ops/autodiff.h"
#include "types.h"

#ifdef DRAM_SANITIZED
enum { POOLS = 2 }; /* the release build has all three */
#else
enum { POOLS = 3 };
#endif
enum {
    ALL_ELEMENTS = 600,  /* a gradient up to this size is compared whole, */
    SOME_ELEMENTS = 240, /* a larger one at this many places, */
    FEW_ELEMENTS = 80    /* in bf16 and f16 at so many */
};

/* One case with its data, the same for every variant of it. */
typedef struct {
    dram_op op;
    const optest_suite *suite;
    optest_case c;
    dram_dtype type; /* of what the suite calls stored */
    int n_in, n_out, failures, mutations_checked;
    unsigned grads, seeds;
    double *x[DRAM_MAX_IN];      /* inputs, of numbers that their dtype has */
    double *r_in[DRAM_MAX_IN];   /* seeds on the inputs: the gradient that is already there */
    double *want[DRAM_MAX_OUT];  /* outputs */
    double *r_out[DRAM_MAX_OUT]; /* seeds */
    double *grad[DRAM_MAX_IN];   /* wanted gradients at the places of `at` */
    int64_t *at[DRAM_MAX_IN], n_at[DRAM_MAX_IN];
    double worst, worst_grad;
} trial;

/* One build of the case's graph. */
typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_backward *b;
    dram_val in[DRAM_MAX_IN], out[DRAM_MAX_OUT], seed[DRAM_MAX_OUT], seed_in[DRAM_MAX_IN];
    int forward_values;
    unsigned grads;
    bool add; /* gradients meet one that is already there */
    bool gpu;
    memory_run run;
} build;

static dram_device *device; /* tested too, or alone; NULL: none */
static bool on_cpu;
static dram_pool *pools[POOLS];
static int64_t executed[DRAM_KERNEL_COUNT][DRAM_KERNEL_COUNT];

dram_status optest_open(bool cpu, dram_device *gpu)
{
    on_cpu = cpu;
    device = gpu;
    for (int p = 0; p < POOLS; p++) TRY(dram_pool_open(p + 1, &pools[p]));
    return DRAM_OK;
}

void optest_close(void)
{
    for (int p = 0; p < POOLS; p++) dram_pool_close(pools[p]);
}

int64_t optest_compare(const float *got, const double *want, const int64_t *index, int64_t n, optest_tol tol,
                       double *worst)
{
    int64_t bad = n <= 0;
    *worst = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t i = index ? index[k] : k;
        double d = fabs((double)got[i] - want[k]), allowed = tol.atol + tol.rtol * fabs(want[k]);
        if (!(d <= allowed) || !isfinite(want[k])) bad++;
        double used = d == 0 ? 0 : isfinite(d) ? d / allowed : INFINITY;
        if (used > *worst) *worst = used;
    }
    return bad;
}

static void *need(int64_t n, size_t size)
{
    void *p = calloc((size_t)(n > 0 ? n : 1), size);
    if (!p) abort();
    return p;
}

static void wrong(trial *t, const char *variant, const char *what, const char *text)
{
    t->failures++;
    printf("%s / %s, %s (%s): %s %s; inputs", dram_op_rows[t->op].name, t->c.name, dram_dtype_name(t->type), variant,
           what, text);
    for (int i = 0; i < t->n_in; i++) {
        const dram_shape *shape = &t->c.in[i].shape;
        for (int k = 0; k < shape->rank; k++) printf("%s%lld", k ? "," : " [", (long long)shape->dim[k]);
        printf("%s", shape->rank ? "]" : " -");
    }
    printf("\n");
    fflush(stdout);
}

/* ---- the case's data ---- */

static bool present(const optest_case *c, int i)
{
    return c->in[i].shape.rank > 0;
}

static void round_inputs(trial *t)
{
    for (int i = 0; i < t->n_in; i++)
        for (int64_t k = 0; t->x[i] && k < dram_elements(&t->c.in[i].shape); k++)
            t->x[i][k] = types_round(t->c.in[i].dtype, t->x[i][k]);
}

static dram_dtype gradient_type(const trial *t, int i)
{
    return (t->suite->weights | t->c.weights) >> i & 1 ? DRAM_F32 : t->c.in[i].dtype;
}

static dram_dtype output_type(const trial *t, int o)
{
    if (t->c.out_dtype[o] != DRAM_F32) return t->c.out_dtype[o];
    return t->suite->f32_out >> o & 1 ? DRAM_F32 : t->type;
}

/* An op's numbers stay the same when others join the list. */
static uint64_t seed_of(dram_op op)
{
    return dram_hash_name(dram_op_rows[op].name) * 3; /* a case may be named after its op */
}

static void fill_inputs(trial *t)
{
    dram_rng rng = dram_rng_make(1, DRAM_RNG_TEST, dram_hash_name(t->c.name) ^ seed_of(t->op));
    for (int i = 0; i < t->n_in; i++) {
        if (!present(&t->c, i)) continue;
        const optest_in *in = &t->c.in[i];
        int64_t n = dram_elements(&in->shape);
        double low = in->low, high = in->high;
        if (low == 0 && high == 0) {
            low = types_float(in->dtype) ? -1 : 0;
            high = types_float(in->dtype) ? 1 : 255;
        }
        t->x[i] = need(n, sizeof(double));
        t->r_in[i] = need(n, sizeof(double));
        for (int64_t k = 0; k < n; k++) {
            t->x[i][k] =
                types_float(in->dtype) ? dram_rng_range(&rng, low, high) : floor(dram_rng_range(&rng, low, high + 1));
            t->r_in[i][k] = types_round(gradient_type(t, i), dram_rng_range(&rng, -1, 1));
        }
    }
    if (t->c.fill) t->c.fill(&t->c, &rng, t->x);
    round_inputs(t);
    for (int o = 0; o < t->n_out; o++) {
        int64_t n = dram_elements(&t->c.out[o]);
        t->want[o] = need(n, sizeof(double));
        t->r_out[o] = need(n, sizeof(double));
        for (int64_t k = 0; k < n; k++) t->r_out[o][k] = types_round(output_type(t, o), dram_rng_range(&rng, -1, 1));
    }
}

static void evaluate(const trial *t, double *const out[])
{
    const double *in[DRAM_MAX_IN];
    if (t->c.derive) t->c.derive(&t->c, t->x);
    for (int i = 0; i < DRAM_MAX_IN; i++) in[i] = t->x[i];
    for (int o = 0; o < t->n_out; o++)
        for (int64_t k = 0; k < dram_elements(&t->c.out[o]); k++) out[o][k] = NAN;
    t->suite->ref(&t->c, in, out);
}

static double seeded_sum(const trial *t, double *const out[])
{
    double sum = 0;
    evaluate(t, out);
    for (int o = 0; o < t->n_out; o++)
        for (int64_t k = 0; t->seeds >> o & 1 && k < dram_elements(&t->c.out[o]); k++)
            sum += t->r_out[o][k] * out[o][k];
    return sum;
}

/* Central differences of the seeded sum, element by element. */
static void differentiate(trial *t)
{
    double *out[DRAM_MAX_OUT] = {NULL};
    dram_rng rng = dram_rng_make(2, DRAM_RNG_TEST, seed_of(t->op));
    for (int o = 0; o < t->n_out; o++) out[o] = need(dram_elements(&t->c.out[o]), sizeof(double));
    for (int i = 0; i < t->n_in; i++) {
        if (!(t->grads >> i & 1)) continue;
        const optest_in *in = &t->c.in[i];
        int64_t n = dram_elements(&in->shape);
        double scale = in->low == 0 && in->high == 0 ? 1 : fmax(fabs(in->low), fabs(in->high));
        double step = (t->c.step > 0 ? t->c.step : 1e-5) * scale;
        t->n_at[i] = n <= ALL_ELEMENTS ? n : t->type == DRAM_F32 ? SOME_ELEMENTS : FEW_ELEMENTS;
        t->at[i] = need(t->n_at[i], sizeof(int64_t));
        t->grad[i] = need(t->n_at[i], sizeof(double));
        for (int64_t k = 0; k < t->n_at[i]; k++) {
            int64_t at = t->at[i][k] = n <= ALL_ELEMENTS ? k : (int64_t)dram_rng_below(&rng, (uint64_t)n);
            double x = t->x[i][at], above = x + step, below = x - step;
            t->x[i][at] = above;
            double sum = seeded_sum(t, out);
            t->x[i][at] = below;
            t->grad[i][k] = (sum - seeded_sum(t, out)) / (above - below);
            t->x[i][at] = x;
        }
    }
    for (int o = 0; o < t->n_out; o++) free(out[o]);
    if (t->c.derive) t->c.derive(&t->c, t->x);
}

static void trial_free(trial *t)
{
    for (int i = 0; i < DRAM_MAX_IN; i++) {
        free(t->x[i]);
        free(t->r_in[i]);
        free(t->grad[i]);
        free(t->at[i]);
    }
    for (int o = 0; o < DRAM_MAX_OUT; o++) {
        free(t->want[o]);
        free(t->r_out[o]);
    }
}

/* ---- one build ---- */

static void build_free(build *b)
{
    for (int v = 0; b->run.value && v < b->g->n_values; v++) guarded_free(&b->run.value[v]);
    free(b->run.value);
    dram_backward_free(b->b);
    dram_graph_free(b->g);
    dram_slots_free(&b->slots);
    dram_error_clear();
}

/* The graph of the case: inputs, the op and, with `grads`, seeds and the backward. */
static dram_status build_graph(trial *t, build *b)
{
    char name[16];
    dram_val of[DRAM_MAX_IN + DRAM_MAX_OUT], seed[DRAM_MAX_IN + DRAM_MAX_OUT];
    int n = 0;
    TRY(dram_graph_new("test", &b->slots, &b->g));
    for (int i = 0; i < t->n_in; i++) {
        snprintf(name, sizeof name, "in%d", i);
        b->in[i] = present(&t->c, i) ? dram_graph_input(b->g, name, t->c.in[i].dtype, t->c.in[i].shape) : DRAM_NONE;
        if (b->in[i] != DRAM_NONE) dram_value_at(b->g, b->in[i])->requires_grad = b->grads >> i & 1;
    }
    dram_graph_add(b->g, t->op, "op", &t->c.attr, b->in, t->n_in, b->out);
    b->forward_values = b->g->n_values;
    if (b->g->status != DRAM_OK || !b->grads) return b->g->status;
    for (int i = 0; i < t->n_in; i++) {
        if (!b->add || !(b->grads >> i & 1)) continue;
        snprintf(name, sizeof name, "there%d", i);
        of[n] = b->in[i];
        seed[n++] = b->seed_in[i] = dram_graph_input(b->g, name, gradient_type(t, i), t->c.in[i].shape);
    }
    for (int o = 0; o < t->n_out; o++) {
        if (!(t->seeds >> o & 1)) continue;
        snprintf(name, sizeof name, "seed%d", o);
        of[n] = b->out[o];
        seed[n++] = b->seed[o] = dram_graph_input(b->g, name, output_type(t, o), *dram_shape_of(b->g, b->out[o]));
    }
    return dram_backward_build(b->g, of, seed, n, &b->b);
}

static void store(const build *b, dram_val v, const double *from)
{
    const dram_value *value = dram_value_at(b->g, v);
    void *stored = need(dram_value_bytes(value), 1);
    types_store(stored, value->dtype, from, dram_elements(&value->shape));
    guarded_write(&b->run.value[v], stored);
    free(stored);
}

/* The numbers of a value, to be freed. */
static float *numbers(const build *b, dram_val v)
{
    const dram_value *value = dram_value_at(b->g, v);
    float *x = need(dram_elements(&value->shape), sizeof *x);
    void *stored = need(dram_value_bytes(value), 1);
    guarded_read(&b->run.value[v], stored);
    types_load(x, stored, value->dtype, dram_elements(&value->shape));
    free(stored);
    return x;
}

static void store_inputs(const trial *t, const build *b)
{
    for (int v = 0; v < b->g->n_values; v++) guarded_junk(&b->run.value[v]);
    for (int i = 0; i < t->n_in; i++) {
        if (b->in[i] != DRAM_NONE) store(b, b->in[i], t->x[i]);
        if (b->b && b->add && b->grads >> i & 1) store(b, b->seed_in[i], t->r_in[i]);
    }
    for (int o = 0; o < t->n_out; o++)
        if (b->b && t->seeds >> o & 1) store(b, b->seed[o], t->r_out[o]);
}

/* NaN into everything of the forward that its gradient may not read. */
static void poison(const trial *t, const build *b)
{
    const dram_op_row *row = &dram_op_rows[t->op];
    for (int i = 0; i < t->n_in; i++)
        if (b->in[i] != DRAM_NONE && !(row->saved_in >> i & 1)) guarded_junk(&b->run.value[b->in[i]]);
    for (int o = 0; o < t->n_out; o++)
        if (!(row->saved_out >> o & 1)) guarded_junk(&b->run.value[b->out[o]]);
}

/* Runs a node apart and in place on each input where it may be. */
static bool run_node(trial *t, const build *b, const dram_node *node, const char *variant)
{
    const char *text = memory_run_node(&b->run, node, -1);
    executed[t->op][node->op]++;
    for (int i = 0; !text && i < node->n_in; i++)
        if (memory_may_alias(b->g, node, i)) text = memory_run_node(&b->run, node, i);
    if (text) wrong(t, variant, dram_op_rows[node->op].name, text);
    return !text;
}

static void compare_outputs(trial *t, const build *b, const char *variant)
{
    for (int o = 0; o < t->n_out; o++) {
        double worst;
        char text[160];
        optest_tol tol =
            t->c.tol.atol > 0 || t->c.tol.rtol > 0 ? t->c.tol : (optest_tol){16 * FLT_EPSILON, 16 * FLT_EPSILON};
        tol = types_tolerance(tol, output_type(t, o), t->c.roundings > 0 ? t->c.roundings : 1);
        int64_t n = dram_elements(&t->c.out[o]);
        float *got = numbers(b, b->out[o]);
        int64_t bad = optest_compare(got, t->want[o], NULL, n, tol, &worst);
        free(got);
        snprintf(text, sizeof text, "%d: %lld of %lld elements are wrong, %.3g times the allowed error", o,
                 (long long)bad, (long long)n, worst);
        if (bad) wrong(t, variant, "output", text);
        if (worst > t->worst) t->worst = worst;
    }
}

/* A gradient that is scaled, negated or lacks a quarter of its elements must not pass. */
static void check_the_check(trial *t, const float *got, const double *want, int i, optest_tol tol)
{
    static const char *const name[] = {
        "a gradient times 1.05 passes:", "a negated gradient passes:", "a gradient that lacks elements passes:"};
    int64_t n = dram_elements(&t->c.in[i].shape);
    float *changed = need(n, sizeof *changed);
    for (int kind = 0; kind < 3; kind++) {
        double worst;
        char text[24];
        int64_t seen = 0;
        for (int64_t k = 0; k < n; k++) changed[k] = kind == 0 ? 1.05F * got[k] : kind == 1 ? -got[k] : got[k];
        for (int64_t k = 0; kind == 2 && k < t->n_at[i]; k++) {
            int64_t at = t->at[i][k];
            if (got[at] != 0 && seen++ % 4 == 0) changed[at] = 0;
        }
        snprintf(text, sizeof text, "input %d", i);
        if (optest_compare(changed, want, t->at[i], t->n_at[i], tol, &worst) == 0)
            wrong(t, "the check", name[kind], text);
        t->mutations_checked++;
    }
    free(changed);
}

/* What a gradient may be off by: its own rounding; when it is added to one of at most 1, that of the sum as well; and
 * the suite's, of what the forward stored. */
static optest_tol gradient_tolerance(const trial *t, const build *b, int i)
{
    const optest_tol own = t->c.in[i].grad_tol, whole = t->c.grad_tol;
    optest_tol tol = own.atol > 0 || own.rtol > 0       ? own
                     : whole.atol > 0 || whole.rtol > 0 ? whole
                                                        : (optest_tol){64 * FLT_EPSILON, 64 * FLT_EPSILON};
    double roundings = t->c.grad_roundings > 0 ? t->c.grad_roundings : t->suite->grad_roundings;
    double parts = types_tolerance((optest_tol){0, 0}, t->type, roundings).rtol;
    tol = (optest_tol){tol.atol + parts, tol.rtol + parts};
    if (b->add) tol.atol += types_tolerance((optest_tol){0, 0}, gradient_type(t, i), 1).rtol;
    return types_tolerance(tol, gradient_type(t, i), b->add ? 2 : 1);
}

static void compare_gradient(trial *t, const build *b, int i, const char *variant)
{
    char text[160];
    dram_val v = dram_gradient_of(b->b, b->in[i]);
    snprintf(text, sizeof text, "%d", i);
    if (v == DRAM_NONE || !dram_shape_equal(dram_shape_of(b->g, v), &t->c.in[i].shape) ||
        dram_value_at(b->g, v)->dtype != gradient_type(t, i)) {
        wrong(t, variant, "there is no gradient of that shape and type for input", text);
        return;
    }
    double worst, *want = need(t->n_at[i], sizeof *want);
    float *got = numbers(b, v);
    optest_tol tol = gradient_tolerance(t, b, i);
    for (int64_t k = 0; k < t->n_at[i]; k++) want[k] = t->grad[i][k] + (b->add ? t->r_in[i][t->at[i][k]] : 0);
    int64_t bad = optest_compare(got, want, t->at[i], t->n_at[i], tol, &worst);
    snprintf(text, sizeof text, "%d: %lld of %lld elements are wrong, %.3g times the allowed error", i, (long long)bad,
             (long long)t->n_at[i], worst);
    if (bad) wrong(t, variant, "gradient of input", text);
    if (worst > t->worst_grad) t->worst_grad = worst;
    if (!b->add && b->grads == t->grads && !bad && !t->c.vanishes) check_the_check(t, got, want, i, tol);
    free(want);
    free(got);
}

static void check_types(trial *t, const build *b, const char *variant)
{
    char text[96];
    for (int k = 0; k < b->g->n_nodes; k++)
        if (types_not_refused(b->g, b->g->nodes[k], t->suite->typed, text, sizeof text))
            wrong(t, variant, "is not refused:", text);
}

static void run_build(trial *t, build *b, const char *variant)
{
    guarded first[DRAM_MAX_OUT] = {{0}};
    store_inputs(t, b);
    if (t->c.fails) {
        const char *text = memory_run_node(&b->run, b->g->nodes[0], -1);
        float *got = numbers(b, b->out[0]);
        if (b->gpu ? text || !isnan(got[0]) : !text || !strstr(text, t->c.fails))
            wrong(t, variant, "does not fail as it should:", text ? text : "");
        free(got);
        return;
    }
    bool good = run_node(t, b, b->g->nodes[0], variant);
    for (int o = 0; good && o < t->n_out; o++) {
        first[o] = guarded_new(b->run.value[b->out[o]].bytes);
        guarded_copy(&first[o], &b->run.value[b->out[o]]);
    }
    good = good && run_node(t, b, b->g->nodes[0], variant);
    for (int o = 0; good && o < t->n_out; o++)
        if (!guarded_equal(&first[o], &b->run.value[b->out[o]]))
            wrong(t, variant, "output", "differs from one run to the next");
    for (int o = 0; o < t->n_out; o++) guarded_free(&first[o]);
    if (!good) return;
    compare_outputs(t, b, variant);
    if (!b->b) return;
    poison(t, b);
    for (int k = 1; good && k < b->g->n_nodes; k++) good = run_node(t, b, b->g->nodes[k], variant);
    for (int i = 0; good && i < t->n_in; i++) {
        if (b->grads >> i & 1)
            compare_gradient(t, b, i, variant);
        else if (b->in[i] != DRAM_NONE && dram_gradient_of(b->b, b->in[i]) != DRAM_NONE)
            wrong(t, variant, "an input that wants no gradient", "gets one");
    }
}

/* workers 0: on the GPU. */
static void run_variant(trial *t, unsigned grads, bool add, int workers)
{
    char variant[64];
    build b = {.grads = grads, .add = add, .gpu = workers == 0};
    memory_use(b.gpu ? device : NULL);
    snprintf(variant, sizeof variant, "%s %d, gradients 0x%x%s", b.gpu ? "GPU" : "workers", workers, grads,
             add ? ", added" : "");
    if (build_graph(t, &b) != DRAM_OK) {
        wrong(t, variant, "cannot be built:", dram_error_text());
        build_free(&b);
        return;
    }
    if (workers <= 1) check_types(t, &b, variant);
    b.run = (memory_run){.graph = b.g, .kernels = b.gpu ? device->kernels : dram_cpu_kernels()};
    b.run.profile = b.gpu ? device->profile : dram_profile_cpu(workers);
    b.run.profile.library_bytes = 64 << 10; /* so that some algorithms do not fit */
    if (!b.gpu) b.run.pool = pools[workers - 1];
    if (workers == 2) b.run.profile.scratch_per_worker = 32 << 10; /* cuts tiles in these small shapes */
    b.run.value = need(b.g->n_values, sizeof *b.run.value);
    for (int v = 0; v < b.g->n_values; v++) b.run.value[v] = guarded_new(dram_value_bytes(dram_value_at(b.g, v)));
    run_build(t, &b, variant);
    build_free(&b);
}

/* ---- one case ---- */

static void learn_shapes(trial *t)
{
    build b = {.grads = t->c.refused ? t->grads : 0}; /* which may be the reason */
    dram_status status = build_graph(t, &b);
    if (t->c.refused && status == DRAM_OK) wrong(t, "shapes", "are not refused", "");
    if (t->c.refused && status != DRAM_OK && !*dram_error_text()) wrong(t, "shapes", "are refused without a text", "");
    if (!t->c.refused && status != DRAM_OK) wrong(t, "shapes", "are refused:", dram_error_text());
    for (int o = 0; status == DRAM_OK && o < t->n_out; o++) {
        t->c.out[o] = *dram_shape_of(b.g, b.out[o]);
        if (dram_value_at(b.g, b.out[o])->dtype != output_type(t, o))
            wrong(t, "shapes", "an output should be", dram_dtype_name(output_type(t, o)));
    }
    build_free(&b);
}

static void run_case(trial *t)
{
    const dram_op_row *row = &dram_op_rows[t->op];
    t->n_out = row->n_out;
    t->seeds = t->c.seeds ? t->c.seeds : 1;
    for (int i = 0; i < DRAM_MAX_IN; i++) {
        if (present(&t->c, i)) t->n_in = i + 1;
        if (t->c.in[i].grad) t->grads |= 1U << i;
    }
    if (t->n_in < row->min_in && !t->c.refused) wrong(t, "the case", "has too few inputs", "");
    if (t->grads && !row->differentiable) wrong(t, "the case", "wants gradients of an op that has none", "");
    learn_shapes(t);
    if (t->c.refused || t->failures) return;
    fill_inputs(t);
    evaluate(t, t->want);
    if (t->c.derive) round_inputs(t);
    if (t->grads) differentiate(t);
    if (t->c.derive) round_inputs(t);
    for (int workers = 1; workers <= POOLS && on_cpu; workers++) {
        run_variant(t, t->grads, false, workers);
        if (t->grads && workers < POOLS) run_variant(t, t->grads, true, workers);
        for (int i = 0; i < t->n_in && workers == 1; i++)
            if (t->grads >> i & 1 && t->grads != 1U << i) run_variant(t, 1U << i, false, workers);
    }
    if (!device) return; /* what autodiff leaves out does not depend on the device */
    run_variant(t, t->grads, false, 0);
    if (t->grads && t->type != DRAM_F16) run_variant(t, t->grads, true, 0); /* bf16 and f16 go the same ways */
}

static bool names_low_type(const optest_case *c)
{
    for (int i = 0; i < DRAM_MAX_IN; i++)
        if (present(c, i) && types_low(c->in[i].dtype)) return true;
    return false;
}

/* The case with its stored values in that type. */
static trial trial_of(dram_op op, const optest_suite *suite, const optest_case *c, dram_dtype type)
{
    trial t = {.op = op, .suite = suite, .c = *c, .type = type};
    for (int i = 0; i < DRAM_MAX_IN; i++)
        if (suite->stored >> i & 1 && t.c.in[i].dtype == DRAM_F32 && type != DRAM_F32) t.c.in[i].dtype = type;
    if (t.c.attr.dtype == DRAM_F32) t.c.attr.dtype = type;
    return t;
}

/* Returns the failures. */
static int run_trial(trial t, bool verbose, int *mutations_checked)
{
    run_case(&t);
    if (verbose)
        printf("%-14s %-28s %-4s share of the allowed error used: forward %.3f, gradient %.3f\n",
               dram_op_rows[t.op].name, t.c.name, dram_dtype_name(t.type), t.worst, t.worst_grad);
    *mutations_checked += t.mutations_checked;
    trial_free(&t);
    return t.failures;
}

int optest_run(dram_op op, const optest_suite *suite, bool verbose)
{
    static const dram_dtype types[] = {DRAM_F32, DRAM_BF16, DRAM_F16};
    int failures = 0, checked[3] = {0};
    for (int k = 0; k < suite->n_cases; k++) {
        const optest_case *c = &suite->cases[k];
        int n = suite->typed && !names_low_type(c) ? 3 : 1;
        for (int i = 0; i < n; i++) failures += run_trial(trial_of(op, suite, c, types[i]), verbose, &checked[i]);
    }
    for (int i = 0; i < (suite->typed ? 3 : 1); i++) {
        if (!dram_op_rows[op].differentiable || checked[i] > 0) continue;
        printf("%s is differentiable, but no gradient of it was checked in %s\n", dram_op_rows[op].name,
               dram_dtype_name(types[i]));
        failures++;
    }
    if (suite->also && on_cpu) failures += suite->also(dram_cpu_kernels());
    if (suite->also_on_gpu && device) failures += suite->also_on_gpu(device);
    return failures;
}

int optest_run_through(dram_op op, const optest_suite *const suites[DRAM_KERNEL_COUNT], bool verbose)
{
    const dram_op through = suites[op]->through;
    const optest_suite *suite = suites[through];
    int failures = 0, ignored = 0;
    for (int k = 0; k < suite->n_cases && executed[through][op] == 0; k++)
        failures += run_trial(trial_of(through, suite, &suite->cases[k], DRAM_F32), verbose, &ignored);
    if (executed[through][op] > 0) return failures;
    printf("%s: no case of %s runs it\n", dram_op_rows[op].name, dram_op_rows[through].name);
    return failures + 1;
}
