#include "device/exec.h"

#include <string.h>

#include "base/alloc.h"

typedef struct {
    dram_kernel kernel;
    dram_kernel_args args;
} call;

typedef struct {
    call *calls; /* one a node */
} bound_program;

struct dram_exec {
    dram_device *device;
    const dram_plan *plan;
    char *arena;
    bound_program *programs;
    bool junk;
};

static dram_tensor bind_value(const dram_exec *exec, const dram_program *p, dram_val v)
{
    if (v == DRAM_NONE) return (dram_tensor){0};
    const dram_value *value = p->graph->values[v];
    return (dram_tensor){.data = exec->arena + p->value[v].offset, .dtype = value->dtype, .shape = value->shape};
}

static dram_status bind_program(dram_exec *exec, const dram_program *p, bound_program *bound)
{
    const dram_graph *g = p->graph;
    bound->calls = dram_calloc((size_t)g->n_nodes + 1, sizeof *bound->calls);
    if (!bound->calls) return dram_fail(DRAM_ERR_MEMORY, "no memory for the program %s", g->name);
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        call *c = &bound->calls[i];
        c->kernel = exec->device->kernels[node->op];
        c->args.n_in = node->n_in;
        c->args.n_out = node->n_out;
        for (int k = 0; k < node->n_in; k++) c->args.in[k] = bind_value(exec, p, node->in[k]);
        for (int o = 0; o < node->n_out; o++) c->args.out[o] = bind_value(exec, p, node->out[o]);
        c->args.attr = &node->attr;
        c->args.workspace = p->workspace_bytes[i] ? exec->arena + p->workspace_offset[i] : NULL;
        c->args.workspace_bytes = p->workspace_bytes[i];
        c->args.pool = exec->device->pool;
    }
    return DRAM_OK;
}

dram_status dram_exec_open(dram_device *device, const dram_plan *plan, dram_exec **out)
{
    dram_status status;
    void *arena = NULL;
    dram_exec *exec = dram_calloc(1, sizeof *exec);
    if (!exec) return dram_fail(DRAM_ERR_MEMORY, "no memory for the executor");
    exec->device = device;
    exec->plan = plan;
    exec->programs = dram_calloc((size_t)plan->n_programs + 1, sizeof *exec->programs);
    if (!exec->programs) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the executor");
        goto failed;
    }
    TRY_GOTO(dram_device_alloc(device, DRAM_SPACE_DEVICE, plan->arena_bytes, &arena), failed);
    exec->arena = arena;
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
        for (int i = 0; i < exec->plan->n_programs; i++) dram_free(exec->programs[i].calls);
    dram_free(exec->programs);
    dram_device_release(exec->device, DRAM_SPACE_DEVICE, exec->arena, exec->plan->arena_bytes);
    dram_free(exec);
}

void dram_exec_junk(dram_exec *exec, bool on)
{
    exec->junk = on;
}

/* Overwrites what died at node i: values whose storage nobody took over. */
static void junk_dead(dram_exec *exec, const dram_program *p, int i)
{
    const dram_graph *g = p->graph;
    const dram_node *node = g->nodes[i];
    dram_val candidates[DRAM_MAX_IN + DRAM_MAX_OUT];
    int n = 0;
    for (int k = 0; k < node->n_in; k++) candidates[n++] = node->in[k];
    for (int o = 0; o < node->n_out; o++) candidates[n++] = node->out[o];
    for (int c = 0; c < n; c++) {
        dram_val v = candidates[c];
        if (v == DRAM_NONE || g->values[v]->slot != DRAM_NONE || p->value[v].last != i) continue;
        if (g->values[v]->output || !exec->plan->options.eager_free) continue;
        bool taken = false;
        for (int o = 0; o < node->n_out; o++) taken |= p->value[node->out[o]].alias == v;
        if (!taken) memset(exec->arena + p->value[v].offset, 0xff, (size_t)p->value[v].bytes);
    }
}

dram_status dram_exec_run(dram_exec *exec, int program)
{
    const dram_program *p = &exec->plan->programs[program];
    const bound_program *bound = &exec->programs[program];
    for (int i = 0; i < p->graph->n_nodes; i++) {
        const call *c = &bound->calls[i];
        if (exec->junk && c->args.workspace) memset(c->args.workspace, 0xff, (size_t)c->args.workspace_bytes);
        dram_status status = c->kernel(&c->args);
        if (status != DRAM_OK)
            return dram_fail(status, "%s: the node %s failed: %s", p->graph->name, p->graph->nodes[i]->name,
                             dram_status_text(status));
        if (exec->junk) junk_dead(exec, p, i);
    }
    return DRAM_OK;
}

static char *address(dram_exec *exec, int program, dram_val v)
{
    return exec->arena + exec->plan->programs[program].value[v].offset;
}

dram_status dram_exec_write_part(dram_exec *exec, int program, dram_val v, int64_t offset, const void *host,
                                 int64_t bytes)
{
    const dram_value *value = exec->plan->programs[program].graph->values[v];
    if (offset < 0 || offset + bytes > dram_value_bytes(value))
        return dram_fail(DRAM_ERR_INTERNAL, "%s is not %lld bytes long", value->name, (long long)(offset + bytes));
    return exec->device->ops->write(exec->device, address(exec, program, v) + offset, host, bytes);
}

dram_status dram_exec_write(dram_exec *exec, int program, dram_val v, const void *host, int64_t bytes)
{
    return dram_exec_write_part(exec, program, v, 0, host, bytes);
}

dram_status dram_exec_read(dram_exec *exec, int program, dram_val v, void *host, int64_t bytes)
{
    const dram_value *value = exec->plan->programs[program].graph->values[v];
    if (bytes > dram_value_bytes(value))
        return dram_fail(DRAM_ERR_INTERNAL, "%s is not %lld bytes long", value->name, (long long)bytes);
    return exec->device->ops->read(exec->device, host, address(exec, program, v), bytes);
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
    return exec->device->ops->write(exec->device, exec->arena + exec->plan->slot_offset[slot] + offset, host, bytes);
}

dram_status dram_exec_read_slot(dram_exec *exec, int slot, int64_t offset, void *host, int64_t bytes)
{
    TRY(check_slot(exec, slot, offset, bytes));
    return exec->device->ops->read(exec->device, host, exec->arena + exec->plan->slot_offset[slot] + offset, bytes);
}
