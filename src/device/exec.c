#include "device/exec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "device/blas.h"
#include "device/testing.h"

typedef struct {
    dram_kernel kernel;
    dram_kernel_args args;
    dram_queue queue;
    bool on_host;   /* a CPU's kernel beside a GPU */
    unsigned waits; /* bit q: its queue has to wait for queue q before it */
    int together;   /* nodes from here on that go in one call of `many`, or of the collectives; 1: this one alone */
    dram_kernel_many many;
    bool collective; /* joins all ranks: there is no kernel */
    dram_op op;
} call;

typedef struct {
    call *calls;                   /* one a node */
    const dram_kernel_args **args; /* theirs, side by side */
    unsigned queues;               /* bit q: it has nodes on queue q, which runs beside compute */
    bool joins;                    /* has a collective: all ranks run it, to its end */
    bool fixed;                    /* can be recorded: no node of it runs on the host, and it has not failed */
    bool has_run;                  /* once, so that libraries have made their choices */
    void *record;                  /* of the device; NULL: none yet */
    bool refused;                  /* it could not be recorded */
} bound_program;

struct dram_exec {
    dram_device *device;
    const dram_plan *plan;
    char *arena[DRAM_SPACE_COUNT]; /* NULL: the plan has nothing there */
    bound_program *programs;
    bool poison;
    char why[256]; /* the first program that could not be recorded could not */
};

static dram_tensor bind_value(const dram_exec *exec, const dram_program *p, dram_val v)
{
    if (v == DRAM_NONE) return (dram_tensor){0};
    const dram_value *value = p->graph->values[v];
    return (dram_tensor){
        .data = exec->arena[value->space] + p->value[v].offset, .dtype = value->dtype, .shape = value->shape};
}

/* What a node needs to have run: of each queue the last node, -1 for none. A node beside compute takes bytes that are
 * free by the order of the graph, so it needs all compute before it. Each needs what made what it reads. */
static void find_needs(const dram_graph *g, const dram_node *node, int last_compute, int need[DRAM_QUEUE_COUNT])
{
    for (int q = 0; q < DRAM_QUEUE_COUNT; q++) need[q] = -1;
    if (node->queue != DRAM_QUEUE_COMPUTE) need[DRAM_QUEUE_COMPUTE] = last_compute;
    for (int k = 0; k < node->n_in; k++) {
        int32_t from = node->in[k] == DRAM_NONE ? DRAM_NONE : g->values[node->in[k]]->producer;
        if (from != DRAM_NONE && from > need[g->nodes[from]->queue]) need[g->nodes[from]->queue] = from;
    }
}

/* Which queues each node's own has to wait for: those of what it needs, unless it has waited for them since. */
static void bind_queues(const dram_exec *exec, const dram_program *p, bound_program *bound)
{
    const dram_graph *g = p->graph;
    int waited[DRAM_QUEUE_COUNT][DRAM_QUEUE_COUNT]; /* the first queue for the second, last at this node */
    int need[DRAM_QUEUE_COUNT], last_compute = -1;
    memset(waited, -1, sizeof waited);
    bound->fixed = true;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        call *c = &bound->calls[i];
        c->on_host = dram_node_space(g, node) != DRAM_SPACE_DEVICE;
        bound->fixed &= !c->on_host;
        if (c->on_host) continue;
        c->queue = node->queue;
        c->args.device = exec->device->ops->shared(exec->device, c->queue);
        find_needs(g, node, last_compute, need);
        for (unsigned q = 0; q < DRAM_QUEUE_COUNT; q++)
            if (q != c->queue && need[q] > waited[c->queue][q]) {
                c->waits |= 1u << q;
                waited[c->queue][q] = i;
            }
        if (c->queue == DRAM_QUEUE_COMPUTE)
            last_compute = i;
        else
            bound->queues |= 1u << c->queue;
    }
}

static bool overlap(const dram_tensor *a, const dram_tensor *b)
{
    const char *from_a = a->data, *from_b = b->data;
    if (!from_a || !from_b) return false;
    return from_a < from_b + dram_elements(&b->shape) * dram_dtype_bytes(b->dtype) &&
           from_b < from_a + dram_elements(&a->shape) * dram_dtype_bytes(a->dtype);
}

/* Whether a writes bytes that b reads or writes. */
static bool writes_into(const dram_kernel_args *a, const dram_kernel_args *b)
{
    for (int o = 0; o < a->n_out; o++) {
        for (int k = 0; k < b->n_in; k++)
            if (overlap(&a->out[o], &b->in[k])) return true;
        for (int k = 0; k < b->n_out; k++)
            if (overlap(&a->out[o], &b->out[k])) return true;
    }
    return false;
}

/* Whether node i can go with the `together` nodes before it, which have its op: in one queue, without a wait between
 * them, and whatever their order. Workspaces of neighbouring collectives lie side by side (plan/plan.h); kernels for many
 * get none. */
static bool goes_with(const call *calls, int i, int together)
{
    const call *c = &calls[i];
    if (c->on_host || c->waits || c->queue != calls[i - together].queue) return false;
    if (c->args.workspace && !c->collective) return false;
    for (int k = i - together; k < i; k++)
        if (writes_into(&calls[k].args, &c->args) || writes_into(&c->args, &calls[k].args)) return false;
    return true;
}

/* Finds neighbours that the device does in one call. */
static void bind_together(const dram_exec *exec, const dram_program *p, bound_program *bound)
{
    const dram_graph *g = p->graph;
    call *calls = bound->calls;
    for (int i = 0; i < g->n_nodes; i += calls[i].together) {
        const dram_op op = g->nodes[i]->op;
        calls[i].together = 1;
        calls[i].many = exec->device->many ? exec->device->many[op] : NULL;
        bool many = calls[i].many && !calls[i].on_host && !calls[i].args.workspace;
        if (!many && !calls[i].collective) continue;
        for (int k = i + 1; k < g->n_nodes && g->nodes[k]->op == op && goes_with(calls, k, k - i); k++)
            calls[i].together++;
    }
}

static dram_status bind_kernel(const dram_exec *exec, const dram_program *p, const dram_node *node, call *c)
{
    bool on_host = dram_node_space(p->graph, node) != DRAM_SPACE_DEVICE;
    if (on_host) TRY(dram_blas_open(dram_pool_workers(exec->device->pool)));
    c->op = node->op;
    c->kernel = (on_host ? exec->device->host_kernels : exec->device->kernels)[node->op];
    c->collective = !c->kernel;
    if (!c->collective || (exec->device->collectives && !on_host)) return DRAM_OK;
    return dram_fail(DRAM_ERR_INTERNAL, "%s: %s joins %d ranks, and this process is one alone", p->graph->name,
                     node->name, node->attr.ranks);
}

static dram_status bind_program(dram_exec *exec, const dram_program *p, bound_program *bound)
{
    const dram_graph *g = p->graph;
    bound->calls = dram_calloc((size_t)g->n_nodes + 1, sizeof *bound->calls);
    bound->args = dram_calloc((size_t)g->n_nodes + 1, sizeof *bound->args);
    if (!bound->calls || !bound->args) return dram_fail(DRAM_ERR_MEMORY, "no memory for the program %s", g->name);
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        call *c = &bound->calls[i];
        TRY(bind_kernel(exec, p, node, c));
        bound->joins |= c->collective;
        c->args.n_in = node->n_in;
        c->args.n_out = node->n_out;
        for (int k = 0; k < node->n_in; k++) c->args.in[k] = bind_value(exec, p, node->in[k]);
        for (int o = 0; o < node->n_out; o++) c->args.out[o] = bind_value(exec, p, node->out[o]);
        c->args.attr = &node->attr;
        if (p->workspace_bytes[i]) c->args.workspace = exec->arena[dram_node_space(g, node)] + p->workspace_offset[i];
        c->args.workspace_bytes = p->workspace_bytes[i];
        c->args.pool = exec->device->pool;
        c->args.rank = exec->device->rank;
        bound->args[i] = &c->args;
    }
    if (exec->device->ops->asynchronous) bind_queues(exec, p, bound);
    bind_together(exec, p, bound);
    return DRAM_OK;
}

dram_status dram_exec_open(dram_device *device, const dram_plan *plan, dram_exec **out)
{
    dram_status status;
    dram_exec *exec = dram_calloc(1, sizeof *exec);
    if (!exec) return dram_fail(DRAM_ERR_MEMORY, "no memory for the executor");
    exec->device = device;
    exec->plan = plan;
    exec->programs = dram_calloc((size_t)plan->n_programs + 1, sizeof *exec->programs);
    if (!exec->programs) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the executor");
        goto failed;
    }
    for (int s = 0; s < DRAM_SPACE_COUNT; s++) {
        void *arena = NULL;
        int64_t bytes = dram_plan_arena(plan, (dram_space)s);
        if (s != DRAM_SPACE_DEVICE && !bytes) continue;
        TRY_GOTO(dram_device_alloc(device, (dram_space)s, bytes, &arena), failed);
        exec->arena[s] = arena;
    }
    for (int i = 0; i < plan->n_programs; i++)
        TRY_GOTO(bind_program(exec, &plan->programs[i], &exec->programs[i]), failed);
    *out = exec;
    return DRAM_OK;
failed:
    dram_exec_close(exec);
    return status;
}

void dram_exec_close(dram_exec *exec)
{
    if (!exec) return;
    if (exec->programs)
        for (int i = 0; i < exec->plan->n_programs; i++) {
            if (exec->programs[i].record) exec->device->ops->record_free(exec->device, exec->programs[i].record);
            dram_free(exec->programs[i].calls);
            dram_free(exec->programs[i].args);
        }
    dram_free(exec->programs);
    for (int s = 0; s < DRAM_SPACE_COUNT; s++)
        dram_device_release(exec->device, (dram_space)s, exec->arena[s], dram_plan_arena(exec->plan, (dram_space)s));
    dram_free(exec);
}

void dram_exec_poison(dram_exec *exec, bool on)
{
    exec->poison = on;
}

static dram_status fill(dram_exec *exec, dram_space space, void *at, int64_t bytes)
{
    if (space == DRAM_SPACE_DEVICE) return exec->device->ops->fill(exec->device, at, 0xff, bytes);
    memset(at, 0xff, (size_t)bytes);
    return DRAM_OK;
}

/* Overwrites what died at node i: values whose storage nobody took over. */
static dram_status poison_dead(dram_exec *exec, const dram_program *p, int i)
{
    const dram_graph *g = p->graph;
    const dram_node *node = g->nodes[i];
    if (!exec->plan->options.eager_free) return DRAM_OK;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        if (p->value[v].last != i || value->slot != DRAM_NONE || value->output) continue;
        bool taken = false;
        for (int o = 0; o < node->n_out; o++) taken |= p->value[node->out[o]].alias == v;
        if (!taken) TRY(fill(exec, value->space, exec->arena[value->space] + p->value[v].offset, p->value[v].bytes));
    }
    return DRAM_OK;
}

static dram_status finish(const dram_exec *exec)
{
    dram_device *device = exec->device;
    const dram_collectives *collectives = device->collectives;
    if (!device->ops->asynchronous) return DRAM_OK;
    if (collectives && collectives->wait) collectives->wait(device->comm, true);
    dram_status status = device->ops->finish(device);
    if (collectives && collectives->wait) collectives->wait(device->comm, false);
    return status;
}

/* Has queue `to` wait for each queue of the mask. */
static dram_status join(const dram_exec *exec, unsigned queues, dram_queue to)
{
    for (unsigned q = 0; q < DRAM_QUEUE_COUNT; q++)
        if (queues >> q & 1) TRY(exec->device->ops->join(exec->device, (dram_queue)q, to));
    return DRAM_OK;
}

/* Has a node's queue wait for what the node needs; a node on the host may write over what a queue still reads. */
static dram_status wait_for_needs(const dram_exec *exec, const call *c)
{
    return c->on_host ? finish(exec) : join(exec, c->waits, c->queue);
}

/* Hands a node to its queue, or `n` of them in one call. */
static dram_status issue(const dram_exec *exec, const call *c, const dram_kernel_args *const *args, int n)
{
    const dram_device *device = exec->device;
    TRY(wait_for_needs(exec, c));
    if (!c->collective) return n > 1 ? c->many(args, n) : c->kernel(&c->args);
    void *stream = device->ops->asynchronous ? device->ops->stream(exec->device, c->queue) : NULL;
    return device->collectives->run(device->comm, c->op, args, n, stream);
}

/* Says which node failed, before what it said itself. A collective names the ranks, which is enough. */
static dram_status name_node(const dram_program *p, const call *c, int i, dram_status status)
{
    char where[256];
    snprintf(where, sizeof where, "%s: the node %s failed: ", p->graph->name, p->graph->nodes[i]->name);
    if (*dram_error_text()) return c->collective ? status : dram_error_prefix(status, where);
    return dram_fail(status, "%s%s", where, dram_status_text(status));
}

/* The node, done when this returns. */
static dram_status run_node(dram_exec *exec, int program, int i)
{
    const dram_program *p = &exec->plan->programs[program];
    const call *c = &exec->programs[program].calls[i];
    if (exec->poison && c->args.workspace)
        TRY(fill(exec, dram_node_space(p->graph, p->graph->nodes[i]), c->args.workspace, c->args.workspace_bytes));
    dram_status status = issue(exec, c, exec->programs[program].args + i, 1);
    if (status == DRAM_OK) status = finish(exec);
    if (status != DRAM_OK) return name_node(p, c, i, status);
    return exec->poison ? poison_dead(exec, p, i) : DRAM_OK;
}

static dram_status issue_all(const dram_exec *exec, int program)
{
    const dram_program *p = &exec->plan->programs[program];
    const bound_program *bound = &exec->programs[program];
    for (int i = 0; i < p->graph->n_nodes; i += bound->calls[i].together) {
        const call *c = &bound->calls[i];
        dram_status status = issue(exec, c, bound->args + i, c->together);
        if (status != DRAM_OK) return name_node(p, c, i, status);
    }
    return join(exec, bound->queues, DRAM_QUEUE_COMPUTE);
}

/* Writes the program down. What fails while that goes on must not leave the device recording. A queue becomes a part of
 * the record by waiting for compute, and the record ends when compute has waited for all of them. */
static dram_status record(dram_exec *exec, int program)
{
    const dram_device_ops *ops = exec->device->ops;
    bound_program *bound = &exec->programs[program];
    void *made = NULL;
    dram_status status = DRAM_OK;
    TRY(ops->record_begin(exec->device));
    for (unsigned q = 0; q < DRAM_QUEUE_COUNT && status == DRAM_OK; q++)
        if (bound->queues >> q & 1) status = ops->join(exec->device, DRAM_QUEUE_COMPUTE, (dram_queue)q);
    if (status == DRAM_OK) status = issue_all(exec, program);
    dram_status ended = ops->record_end(exec->device, &made);
    if (status == DRAM_OK) status = ended;
    if (status == DRAM_OK)
        bound->record = made;
    else if (made)
        ops->record_free(exec->device, made);
    return status;
}

/* What cannot be recorded is handed to the device node by node, as in its first run: the same numbers, more slowly. Ranks
 * have to record alike, so what joins them fails. */
static dram_status record_or_launch(dram_exec *exec, int program)
{
    bound_program *bound = &exec->programs[program];
    const char *name = exec->plan->programs[program].graph->name;
    dram_status status = record(exec, program);
    if (status == DRAM_OK) return DRAM_OK;
    if (bound->joins)
        return dram_fail(status, "%s cannot be recorded, cuda.graph=false runs without: %s", name,
                         dram_status_text(status));
    dram_warn("%s cannot be recorded as a CUDA graph, so its kernels are launched one by one, with the same results "
              "but more slowly (%s)",
              name, dram_error_text());
    if (!*exec->why) snprintf(exec->why, sizeof exec->why, "%s: %s", name, dram_error_text());
    dram_error_clear();
    bound->fixed = false;
    bound->refused = true;
    return DRAM_OK;
}

dram_exec_records dram_exec_recorded(const dram_exec *exec)
{
    dram_exec_records r = {.why = *exec->why ? exec->why : NULL};
    for (int i = 0; i < exec->plan->n_programs; i++) {
        r.recorded += exec->programs[i].record != NULL;
        r.refused += exec->programs[i].refused;
    }
    return r;
}

dram_status dram_exec_run(dram_exec *exec, int program)
{
    bound_program *bound = &exec->programs[program];
    if (exec->poison) {
        for (int i = 0; i < exec->plan->programs[program].graph->n_nodes; i++) TRY(run_node(exec, program, i));
        return DRAM_OK;
    }
    if (exec->device->records && bound->fixed && bound->has_run && !bound->record) TRY(record_or_launch(exec, program));
    if (bound->record)
        TRY(exec->device->ops->replay(exec->device, bound->record));
    else
        TRY(issue_all(exec, program));
    bound->has_run = true;
    return finish(exec);
}

/* How many nodes from i on a device times by itself: neighbours on the compute queue. What they need is done, since the
 * others are waited for. */
static int stamped_from(const dram_exec *exec, int program, int i)
{
    const call *calls = exec->programs[program].calls;
    int n = 0, end = exec->plan->programs[program].graph->n_nodes;
    if (!exec->device->ops->asynchronous || exec->poison) return 0;
    while (n < DRAM_STAMPS - 1 && i + n < end && !calls[i + n].on_host && !calls[i + n].collective &&
           calls[i + n].queue == DRAM_QUEUE_COMPUTE)
        n++;
    return n;
}

static dram_status time_by_stamps(dram_exec *exec, int program, int first, int n, double *seconds)
{
    const dram_device_ops *ops = exec->device->ops;
    const dram_program *p = &exec->plan->programs[program];
    const call *calls = exec->programs[program].calls;
    TRY(ops->stamp(exec->device, 0));
    for (int k = 0; k < n; k++) {
        dram_status status = calls[first + k].kernel(&calls[first + k].args);
        if (status != DRAM_OK) return name_node(p, &calls[first + k], first + k, status);
        TRY(ops->stamp(exec->device, k + 1));
    }
    TRY(finish(exec));
    for (int k = 0; k < n; k++) TRY(ops->between(exec->device, k, k + 1, &seconds[first + k]));
    return DRAM_OK;
}

dram_status dram_exec_time(dram_exec *exec, int program, double *seconds)
{
    const int nodes = exec->plan->programs[program].graph->n_nodes;
    for (int i = 0, n; i < nodes; i += n) {
        n = stamped_from(exec, program, i);
        if (n) {
            TRY(time_by_stamps(exec, program, i, n, seconds));
            continue;
        }
        n = 1;
        double begin = dram_clock();
        TRY(run_node(exec, program, i));
        seconds[i] = dram_clock() - begin;
    }
    return DRAM_OK;
}

/* The host reaches into its own spaces by itself. */
static dram_status put(dram_exec *exec, dram_space space, int64_t offset, const void *host, int64_t bytes)
{
    char *to = exec->arena[space] + offset;
    if (space == DRAM_SPACE_DEVICE) return exec->device->ops->write(exec->device, to, host, bytes);
    memcpy(to, host, (size_t)bytes);
    return DRAM_OK;
}

static dram_status get(dram_exec *exec, dram_space space, int64_t offset, void *host, int64_t bytes)
{
    const char *from = exec->arena[space] + offset;
    if (space == DRAM_SPACE_DEVICE) return exec->device->ops->read(exec->device, host, from, bytes);
    memcpy(host, from, (size_t)bytes);
    return DRAM_OK;
}

static bool is_finite(dram_dtype dtype, const void *numbers, int64_t n)
{
    const uint16_t *half = numbers;
    const float *single = numbers;
    bool good = true;
    for (int64_t i = 0; dtype == DRAM_F32 && i < n; i++) good &= (bool)isfinite(single[i]);
    for (int64_t i = 0; dtype == DRAM_BF16 && i < n; i++) good &= (half[i] & 0x7f80) != 0x7f80;
    for (int64_t i = 0; dtype == DRAM_F16 && i < n; i++) good &= (half[i] & 0x7c00) != 0x7c00;
    return good;
}

/* Looks at a value through a host buffer of LOOK_BYTES. */
enum { LOOK_BYTES = 1 << 16 };

static dram_status look_at(dram_exec *exec, const dram_program *p, dram_val v, void *buffer, bool *finite)
{
    const dram_value *value = p->graph->values[v];
    int64_t bytes = dram_value_bytes(value), each = dram_dtype_bytes(value->dtype);
    *finite = true;
    if (!dram_dtype_is_float(value->dtype)) return DRAM_OK;
    for (int64_t at = 0; at < bytes && *finite; at += LOOK_BYTES) {
        int64_t n = bytes - at < LOOK_BYTES ? bytes - at : LOOK_BYTES;
        TRY(get(exec, value->space, p->value[v].offset + at, buffer, n));
        *finite = is_finite(value->dtype, buffer, n / each);
    }
    return DRAM_OK;
}

dram_status dram_exec_find_nonfinite(dram_exec *exec, int program, int *node, dram_val *value)
{
    const dram_program *p = &exec->plan->programs[program];
    const bound_program *bound = &exec->programs[program];
    dram_status status = DRAM_OK;
    void *buffer = dram_alloc(LOOK_BYTES);
    *node = *value = DRAM_NONE;
    if (!buffer) return dram_fail(DRAM_ERR_MEMORY, "no memory to look for what is not finite");
    for (int i = 0; i < p->graph->n_nodes && (*node == DRAM_NONE || bound->joins); i++) {
        const dram_node *n = p->graph->nodes[i];
        if (dram_node_updates(n)) continue;
        TRY_GOTO(issue(exec, &bound->calls[i], bound->args + i, 1), done);
        TRY_GOTO(finish(exec), done);
        for (int o = 0; o < n->n_out && *node == DRAM_NONE; o++) {
            bool finite;
            TRY_GOTO(look_at(exec, p, n->out[o], buffer, &finite), done);
            if (finite) continue;
            *node = i;
            *value = n->out[o];
        }
    }
done:
    dram_free(buffer);
    return status;
}

dram_status dram_exec_write_part(dram_exec *exec, int program, dram_val v, int64_t offset, const void *host,
                                 int64_t bytes)
{
    const dram_program *p = &exec->plan->programs[program];
    const dram_value *value = p->graph->values[v];
    if (offset < 0 || offset + bytes > dram_value_bytes(value))
        return dram_fail(DRAM_ERR_INTERNAL, "%s is not %lld bytes long", value->name, (long long)(offset + bytes));
    return put(exec, value->space, p->value[v].offset + offset, host, bytes);
}

dram_status dram_exec_write(dram_exec *exec, int program, dram_val v, const void *host, int64_t bytes)
{
    return dram_exec_write_part(exec, program, v, 0, host, bytes);
}

dram_status dram_exec_read(dram_exec *exec, int program, dram_val v, void *host, int64_t bytes)
{
    const dram_program *p = &exec->plan->programs[program];
    const dram_value *value = p->graph->values[v];
    if (bytes > dram_value_bytes(value))
        return dram_fail(DRAM_ERR_INTERNAL, "%s is not %lld bytes long", value->name, (long long)bytes);
    return get(exec, value->space, p->value[v].offset, host, bytes);
}

static dram_status check_slot(const dram_exec *exec, int slot, int64_t offset, int64_t bytes)
{
    const dram_slot *s = exec->plan->slots->at[slot];
    int64_t end = offset + bytes;
    if (offset >= 0 && end <= dram_elements(&s->shape) * dram_dtype_bytes(s->dtype)) return DRAM_OK;
    return dram_fail(DRAM_ERR_INTERNAL, "%s has no bytes %lld to %lld", s->name, (long long)offset, (long long)end);
}

dram_status dram_exec_write_slot(dram_exec *exec, int slot, int64_t offset, const void *host, int64_t bytes)
{
    TRY(check_slot(exec, slot, offset, bytes));
    return put(exec, exec->plan->slots->at[slot]->space, exec->plan->slot_offset[slot] + offset, host, bytes);
}

dram_status dram_exec_read_slot(dram_exec *exec, int slot, int64_t offset, void *host, int64_t bytes)
{
    TRY(check_slot(exec, slot, offset, bytes));
    return get(exec, exec->plan->slots->at[slot]->space, exec->plan->slot_offset[slot] + offset, host, bytes);
}
