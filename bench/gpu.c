/* bench_gpu: times on a GPU what a config would run, with drawn weights and made-up images; no data set is read.
 *
 *     bench_gpu device
 *         opens the GPU and prints its name and bytes
 *
 *     bench_gpu hold BYTES
 *         takes all of the GPU's memory but BYTES, says so, holds it until its standard input ends: a smaller card for
 *         others
 *
 *     bench_gpu teacher CONFIG [key=value]
 *         the teacher's forward alone, train.batch_size images: a JSON object; then its nodes, by shape
 *
 *     bench_gpu step CONFIG [key=value]
 *         a whole update: a JSON object; then its nodes, by shape
 *
 *     bench_gpu kernels CONFIG [key=value]
 *         each op of the step by itself, against the rate of a copy and of a matrix product measured beside it: a
 *         table. It adds to memory.profile
 *
 * DRAM_BENCH_SMALL=1: few and small runs, for the simulated GPU. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "bench.h"
#include "session/calibrate.h"
#include "session/machine.h"
#include "session/weights.h"

#ifdef DRAM_BENCH_CUDA
#include <cuda_runtime_api.h>

#include "kernels/cuda/context.h"
#include "session/budget.h"
#include "session/update.h"
#endif

enum { WARM = 3, MOST_RUNS = 50, LEAST_RUNS = 5, SECONDS = 5 };

static bool is_small(void)
{
    return getenv("DRAM_BENCH_SMALL") != NULL;
}

static dram_status start(dram_session *s)
{
    if (!s->plan->profile.gpu) return dram_fail(DRAM_ERR_CONFIG, "bench_gpu is for GPUs: device=cuda");
    TRY(dram_machine_open(&s->cfg, &s->plan->profile, &s->device));
    TRY(dram_exec_open(s->device, s->plan, &s->exec));
    return dram_weights_draw(s);
}

/* ---- programs ---- */

/* Stages and runs a program `times` times; adds the seconds of the runs. */
static dram_status run_program(dram_session *s, const dram_io *io, int times, double *seconds)
{
    static const float hyper[4] = {1e-5f, 1, 1, 0}; /* a learning rate that leaves the weights what they are like */
    for (int k = 0; k < times; k++) {
        TRY(dram_stage_made_up(s, io));
        if (io->hyper != DRAM_NONE) TRY(dram_exec_write(s->exec, io->index, io->hyper, hyper, sizeof hyper));
        double begin = dram_clock();
        TRY(dram_exec_run(s->exec, io->index));
        *seconds += dram_clock() - begin;
    }
    return DRAM_OK;
}

/* What is run for train.batch_size images. */
static dram_status run_once(dram_session *s, double *seconds)
{
    const dram_graph_set *p = &s->graphs;
    *seconds = 0;
    if (p->io[DRAM_PROGRAM_CACHE_FILL].graph) return run_program(s, &p->io[DRAM_PROGRAM_CACHE_FILL], 1, seconds);
    dram_program_kind kind = p->io[DRAM_PROGRAM_DISTIL_STEP].graph ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP;
    TRY(run_program(s, &p->io[kind], p->accumulate, seconds));
    dram_program_kind update = dram_update_of(p, kind);
    return update == kind ? DRAM_OK : run_program(s, &p->io[update], 1, seconds);
}

static dram_status print_times(const dram_session *s, double seconds, int runs)
{
    cJSON *o = cJSON_CreateObject();
    int images = s->cfg.train.batch_size;
    int64_t process = s->device->ops->process_bytes(s->device);
    bool good =
        o && cJSON_AddStringToObject(o, "device", s->device->name) && cJSON_AddNumberToObject(o, "seconds", seconds) &&
        cJSON_AddNumberToObject(o, "images_per_second", images / seconds) && cJSON_AddNumberToObject(o, "runs", runs) &&
        cJSON_AddNumberToObject(o, "planned_peak_bytes", (double)s->plan->arena_bytes) &&
        cJSON_AddNumberToObject(o, "measured_peak_bytes", (double)s->device->bytes_peak) &&
        cJSON_AddNumberToObject(o, "process_planned_bytes", (double)dram_plan_process(s->plan)) &&
        cJSON_AddNumberToObject(o, "process_bytes", (double)process);
    char *text = good ? cJSON_PrintUnformatted(o) : NULL;
    cJSON_Delete(o);
    if (!text) return dram_fail(DRAM_ERR_MEMORY, "no memory for the times");
    puts(text);
    cJSON_free(text);
    return DRAM_OK;
}

/* ---- nodes by shape ---- */

/* Nodes of one op that have the same inputs and attributes: as one of them. */
typedef struct {
    const dram_node *node;
    int nodes;
    double seconds, flops;
} shape_row;

static int shape_by_seconds(const void *left, const void *right)
{
    double a = ((const shape_row *)left)->seconds, b = ((const shape_row *)right)->seconds;
    return (a < b) - (a > b);
}

static bool same_input(const dram_graph *g, dram_val a, dram_val b)
{
    if (a == DRAM_NONE || b == DRAM_NONE) return a == b;
    const dram_value *x = g->values[a], *y = g->values[b];
    return x->dtype == y->dtype && dram_shape_equal(&x->shape, &y->shape);
}

static bool same_shape(const dram_graph *g, const dram_node *a, const dram_node *b)
{
    const dram_attr *x = &a->attr, *y = &b->attr;
    if (a->op != b->op || a->n_in != b->n_in || x->stride != y->stride || x->groups != y->groups ||
        x->window != y->window || x->heads != y->heads || x->act != y->act || x->out_h != y->out_h)
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (!same_input(g, a->in[i], b->in[i])) return false;
    return true;
}

static void print_shape(const dram_graph *g, const dram_node *node)
{
    const dram_attr *a = &node->attr;
    printf("%s", dram_op_rows[node->op].name);
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] == DRAM_NONE) continue;
        const dram_value *v = g->values[node->in[i]];
        printf(" %s[", dram_dtype_name(v->dtype));
        for (int k = 0; k < v->shape.rank; k++) printf("%s%lld", k ? "," : "", (long long)v->shape.dim[k]);
        printf("]");
    }
    if (a->stride > 1) printf(" stride %d", a->stride);
    if (a->groups > 1) printf(" groups %d", a->groups);
    if (a->heads) printf(" heads %d window %d", a->heads, a->window);
    if (a->act) printf(" %s", a->act == DRAM_ACT_GELU ? "gelu" : "relu");
    printf("\n");
}

/* What takes longest, and how fast it goes. */
static dram_status print_shapes(const dram_graph *g, const double *seconds)
{
    enum { MOST = 24 };
    double all = 0;
    int n = 0;
    shape_row *rows = calloc((size_t)g->n_nodes, sizeof *rows);
    if (!rows) return dram_fail(DRAM_ERR_MEMORY, "no memory for the table");
    for (int i = 0; i < g->n_nodes; i++) {
        int k = 0;
        while (k < n && !same_shape(g, rows[k].node, g->nodes[i])) k++;
        if (k == n) rows[n++].node = g->nodes[i];
        rows[k].nodes++;
        rows[k].seconds += seconds[i];
        rows[k].flops += (double)dram_node_flops(g, g->nodes[i]);
        all += seconds[i];
    }
    qsort(rows, (size_t)n, sizeof *rows, shape_by_seconds);
    printf("%s: %d nodes, %.3f ms by the GPU's clock; %d shapes, the first %d:\n", g->name, g->n_nodes, all * 1e3, n,
           n < MOST ? n : MOST);
    printf("%12s%8s%7s%12s%12s  %s\n", "ms", "share", "nodes", "us each", "TFLOP/s", "op, inputs");
    for (int k = 0; k < n && k < MOST; k++) {
        const shape_row *r = &rows[k];
        printf("%12.3f%7.1f%%%7d%12.1f%12.2f  ", r->seconds * 1e3, 100 * r->seconds / all, r->nodes,
               r->seconds / r->nodes * 1e6, r->flops / r->seconds * 1e-12);
        print_shape(g, r->node);
    }
    free(rows);
    return DRAM_OK;
}

/* The shortest of some times of each node, one after the other in the queue. */
static dram_status time_nodes(dram_session *s)
{
    enum { ROUNDS = 3 };
    const dram_program_kind kinds[] = {DRAM_PROGRAM_CACHE_FILL, DRAM_PROGRAM_DISTIL_STEP, DRAM_PROGRAM_PLAIN_STEP};
    const dram_io *io = NULL;
    dram_status status;
    for (int k = 0; k < 3 && !(io && io->graph); k++) io = &s->graphs.io[kinds[k]];
    const int n = io->graph->n_nodes;
    double *best = calloc((size_t)n, sizeof *best), *now = calloc((size_t)n, sizeof *now);
    if (!best || !now) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
        goto done;
    }
    for (int round = 0; round < (is_small() ? 1 : ROUNDS); round++) {
        TRY_GOTO(dram_stage_made_up(s, io), done);
        TRY_GOTO(dram_exec_time(s->exec, io->index, now), done);
        for (int i = 0; i < n; i++)
            if (round == 0 || now[i] < best[i]) best[i] = now[i];
    }
    status = print_shapes(io->graph, best);
done:
    free(best);
    free(now);
    return status;
}

/* The median, after a first run, one that is recorded and one that is replayed. */
static dram_status time_programs(dram_session *s)
{
    double times[MOST_RUNS], all = 0, ignored;
    int n = 0;
    TRY(start(s));
    for (int i = 0; i < WARM; i++) TRY(run_once(s, &ignored));
    while (n < MOST_RUNS && (n < (is_small() ? 1 : LEAST_RUNS) || (all < SECONDS && !is_small()))) {
        TRY(run_once(s, &times[n]));
        all += times[n++];
    }
    TRY(print_times(s, bench_median(times, n), n));
    fflush(stdout); /* what follows may not come to its end */
    return time_nodes(s);
}

/* ---- rates ---- */

typedef struct {
    double copy;    /* bytes a second, read and written */
    double product; /* FLOPs a second, of bf16 */
    double product_f32;
    int side;
} rates;

/* A copy within the device, each byte counted twice. */
static dram_status copy_rate(dram_device *d, double *rate)
{
#ifdef DRAM_BENCH_CUDA
    enum { COPIES = 10 };
    int64_t bytes = is_small() ? 1 << 20 : (int64_t)1 << 30;
    void *from, *to;
    double best = 0;
    TRY(dram_device_alloc(d, DRAM_SPACE_DEVICE, bytes, &from));
    TRY(dram_device_alloc(d, DRAM_SPACE_DEVICE, bytes, &to));
    const dram_cuda_context *context = d->ops->shared(d, DRAM_QUEUE_COMPUTE);
    for (int round = 0; round < 3; round++) {
        double begin = dram_clock();
        for (int i = 0; i < COPIES; i++)
            if (cudaMemcpyAsync(to, from, (size_t)bytes, cudaMemcpyDeviceToDevice, context->stream) != cudaSuccess)
                return dram_fail(DRAM_ERR_RUN, "a copy within the device failed");
        TRY(d->ops->finish(d));
        double now = 2.0 * COPIES * (double)bytes / (dram_clock() - begin);
        if (now > best) best = now;
    }
    dram_device_release(d, DRAM_SPACE_DEVICE, from, bytes);
    dram_device_release(d, DRAM_SPACE_DEVICE, to, bytes);
    *rate = best;
    return DRAM_OK;
#else
    (void)d;
    (void)rate;
    return dram_fail(DRAM_ERR_RUN, "this build has no CUDA");
#endif
}

/* Numbers as weights and activations are; a product of zeros takes less power, and may go faster than any other. */
static dram_status stage_drawn(dram_exec *exec, const dram_graph *g, dram_val v)
{
    const dram_value *value = dram_value_at(g, v);
    int64_t bytes = dram_value_bytes(value);
    void *data = dram_alloc((size_t)bytes);
    if (!data) return dram_fail(DRAM_ERR_MEMORY, "no memory to stage %s", value->name);
    bench_draw(value, 1, data);
    dram_status status = dram_exec_write(exec, 0, v, data, bytes);
    dram_free(data);
    return status;
}

/* A product [side,side] x [side,side], of f32 or bf16, by cuBLASLt as every linear layer. Its inputs are staged once:
 * nothing is planned over them. */
static dram_status product_rate(dram_device *d, dram_dtype dtype, int side, double *rate)
{
    enum { RUNS = 10 };
    dram_slots slots = {0};
    dram_graph *g = NULL;
    dram_plan *plan = NULL;
    dram_exec *exec = NULL;
    dram_val in[2], out;
    dram_status status;
    TRY_GOTO(dram_graph_new("product", &slots, &g), done);
    for (int i = 0; i < 2; i++) in[i] = dram_graph_input(g, i ? "w" : "x", dtype, DRAM_SHAPE(side, side));
    dram_graph_add(g, DRAM_OP_linear, "product", NULL, in, 2, &out);
    dram_graph_output(g, out);
    TRY_GOTO(g->status, done);
    const dram_graph *graphs[] = {g};
    TRY_GOTO(dram_plan_make(graphs, 1, &slots, &d->profile, DRAM_PLAN_USUAL, &plan), done);
    TRY_GOTO(dram_exec_open(d, plan, &exec), done);
    for (int i = 0; i < 2; i++) TRY_GOTO(stage_drawn(exec, g, in[i]), done);
    *rate = 0;
    for (int run = 0; run < (is_small() ? WARM : RUNS); run++) {
        double begin = dram_clock();
        TRY_GOTO(dram_exec_run(exec, 0), done);
        double now = (double)dram_node_flops(g, g->nodes[0]) / (dram_clock() - begin);
        if (now > *rate) *rate = now;
    }
done:
    dram_exec_close(exec);
    dram_plan_free(plan);
    dram_graph_free(g);
    dram_slots_free(&slots);
    return status;
}

static dram_status find_rates(const dram_session *s, rates *r)
{
    dram_device *d;
    TRY(dram_machine_open(&s->cfg, &s->plan->profile, &d));
    r->side = is_small() ? 64 : 8192;
    dram_status status = copy_rate(d, &r->copy);
    if (status == DRAM_OK) status = product_rate(d, DRAM_BF16, r->side, &r->product);
    if (status == DRAM_OK) status = product_rate(d, DRAM_F32, r->side, &r->product_f32);
    dram_device_close(d);
    return status;
}

/* ---- kernels ---- */

typedef struct {
    dram_op op;
    dram_dtype dtype; /* of the first input */
    int nodes;
    double seconds, flops, bytes; /* inputs and outputs, each once */
} row;

static int by_seconds(const void *left, const void *right)
{
    double a = ((const row *)left)->seconds, b = ((const row *)right)->seconds;
    return (a < b) - (a > b);
}

static double node_bytes(const dram_graph *g, const dram_node *node)
{
    double bytes = 0;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] != DRAM_NONE) bytes += (double)dram_value_bytes(g->values[node->in[i]]);
    for (int o = 0; o < node->n_out; o++) bytes += (double)dram_value_bytes(g->values[node->out[o]]);
    return bytes;
}

static int gather(const dram_graph *g, const double *seconds, row *rows)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        dram_val first = node->n_in ? node->in[0] : node->out[0];
        dram_dtype dtype = g->values[first]->dtype;
        int k = 0;
        while (k < n && (rows[k].op != node->op || rows[k].dtype != dtype)) k++;
        if (k == n) rows[n++] = (row){.op = node->op, .dtype = dtype};
        rows[k].nodes++;
        rows[k].seconds += seconds[i];
        rows[k].flops += (double)dram_node_flops(g, node);
        rows[k].bytes += node_bytes(g, node);
    }
    qsort(rows, (size_t)n, sizeof *rows, by_seconds);
    return n;
}

/* The other ops are bound by memory; a share of the matrix rate says nothing of them. */
static bool is_product(dram_op op)
{
    const char *name = dram_op_rows[op].name;
    return strncmp(name, "linear", 6) == 0 || strncmp(name, "conv2d", 6) == 0 || strncmp(name, "attention", 9) == 0;
}

static void print_rows(const dram_graph *g, const double *seconds, const row *rows, int n, const rates *r)
{
    double all = 0, shortest = seconds[0];
    for (int i = 0; i < g->n_nodes; i++) {
        all += seconds[i];
        if (seconds[i] < shortest) shortest = seconds[i];
    }
    printf("copy %.1f GB/s read and written; product of %d: %.2f TFLOP/s bf16, %.2f TFLOP/s fp32\n", r->copy * 1e-9,
           r->side, r->product * 1e-12, r->product_f32 * 1e-12);
    printf("%s: %d nodes, %.3f ms by the GPU's clock, without launches; the shortest %.1f us\n", g->name, g->n_nodes,
           all * 1e3, shortest * 1e6);
    printf("%-24s%6s%7s%12s%8s%10s%8s%11s%9s\n", "op", "type", "nodes", "ms", "share", "GB/s", "of copy", "GFLOP/s",
           "of rate");
    for (int k = 0; k < n; k++) {
        const row *w = &rows[k];
        double rate = w->dtype == DRAM_F32 ? r->product_f32 : r->product;
        char share[16] = "-";
        if (is_product(w->op)) snprintf(share, sizeof share, "%.1f%%", 100 * w->flops / w->seconds / rate);
        printf("%-24s%6s%7d%12.3f%7.1f%%%10.1f%7.1f%%%11.1f%9s\n", dram_op_rows[w->op].name, dram_dtype_name(w->dtype),
               w->nodes, w->seconds * 1e3, 100 * w->seconds / all, w->bytes / w->seconds * 1e-9,
               100 * w->bytes / w->seconds / r->copy, w->flops / w->seconds * 1e-9, share);
    }
}

static dram_status print_kernels(dram_session *s)
{
    const dram_program_kind kinds[] = {DRAM_PROGRAM_DISTIL_STEP, DRAM_PROGRAM_PLAIN_STEP};
    dram_times_machine machine;
    dram_times *times = NULL;
    dram_status status;
    rates r;
    double *seconds = NULL;
    row *rows = NULL;
    const dram_graph *g = s->graphs.io[kinds[0]].graph;
    if (!g) g = s->graphs.io[kinds[1]].graph;
    TRY(find_rates(s, &r));
    dram_machine_describe(&s->plan->profile, &machine);
    TRY(dram_times_open(s->cfg.memory.profile, &machine, &times));
    seconds = calloc((size_t)g->n_nodes, sizeof *seconds);
    rows = calloc((size_t)g->n_nodes, sizeof *rows);
    if (!seconds || !rows) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the table");
        goto done;
    }
    TRY_GOTO(dram_times_of(times, g, seconds), done);
    print_rows(g, seconds, rows, gather(g, seconds, rows), &r);
    status = print_shapes(g, seconds);
done:
    dram_times_close(times);
    free(seconds);
    free(rows);
    return status;
}

/* ---- the command ---- */

static dram_status with_session(const char *what, const dram_config *cfg)
{
    bool teacher = strcmp(what, "teacher") == 0, kernels = strcmp(what, "kernels") == 0;
    dram_config stored = *cfg;
    dram_calibration found;
    dram_session s;
    if (kernels) {
        if (!cfg->memory.profile) return dram_fail(DRAM_ERR_CONFIG, "bench_gpu kernels wants memory.profile=FILE");
        TRY(dram_calibrate(cfg, cfg->memory.profile, NULL, &found));
        stored.memory.checkpoint = DRAM_CHECKPOINT_NONE; /* the nodes that were timed */
    }
    TRY(dram_budget_plan(&stored, teacher ? DRAM_SET_CACHE_FILL : DRAM_SET_TRAIN, 0, &s));
    dram_status status = kernels ? print_kernels(&s) : time_programs(&s);
    dram_session_close(&s);
    return status;
}

static dram_status hold(dram_device *d, int64_t leave)
{
    char text[32];
    void *memory;
    int64_t bytes = d->ops->free_bytes(d) - leave;
    if (bytes <= 0) return dram_fail(DRAM_ERR_FIT, "the GPU has not that much free");
    TRY(dram_device_alloc(d, DRAM_SPACE_DEVICE, bytes, &memory));
    printf("%s are left\n", dram_format_bytes(d->ops->free_bytes(d), text, sizeof text));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    dram_device_release(d, DRAM_SPACE_DEVICE, memory, bytes);
    return DRAM_OK;
}

/* Holds the GPU's memory but for a number of bytes. */
static dram_status hold_all_but(const char *bytes)
{
    dram_device *d;
    int64_t leave = 0;
    if (!dram_parse_bytes(bytes, &leave))
        return dram_fail(DRAM_ERR_CONFIG, "bench_gpu hold: \"%s\" is no number of bytes", bytes);
    TRY(dram_device_open_cuda(0, 1, &d));
    dram_status status = hold(d, leave);
    dram_device_close(d);
    return status;
}

static dram_status name_device(void)
{
    dram_cuda_card card;
    TRY(dram_device_cuda_card(0, &card));
    printf("%s, %lld bytes\n", card.name, (long long)card.total_bytes);
    return DRAM_OK;
}

static dram_status command(int argc, char **argv)
{
    dram_config *cfg;
    if (argc == 2 && strcmp(argv[1], "device") == 0) return name_device();
    if (argc == 3 && strcmp(argv[1], "hold") == 0) return hold_all_but(argv[2]);
    if (argc < 3 ||
        (strcmp(argv[1], "teacher") != 0 && strcmp(argv[1], "step") != 0 && strcmp(argv[1], "kernels") != 0))
        return dram_fail(DRAM_ERR_CONFIG,
                         "bench_gpu device | hold BYTES | teacher, step or kernels CONFIG [key=value]");
    TRY(dram_config_load(argv[2], (const char *const *)(argv + 3), argc - 3, &cfg));
    dram_status status = with_session(argv[1], cfg);
    dram_config_free(cfg);
    return status;
}

/* What dram says beside its results, such as which kernel was chosen (DRAM_CUDA_SAY=1). */
static void print_line(void *context, dram_log_level level, const char *message)
{
    (void)context;
    fprintf(stderr, "bench_gpu: %s%s\n", level == DRAM_LOG_WARNING ? "warning: " : "", message);
}

int main(int argc, char **argv)
{
    dram_log_set_sink(print_line, NULL);
    dram_status status = command(argc, argv);
    if (status != DRAM_OK) fprintf(stderr, "bench_gpu: %s\n", dram_error_text());
    return dram_status_exit(status);
}
