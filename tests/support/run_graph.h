/* run_graph: runs a graph node by node on the CPU kernels, every value in memory of its own: no plan, no arena, nothing
 * in place. What it gives is what a planned run must give.
 *
 * Fresh values and workspaces are filled with NaN; a value is freed after its last reader, so that the sanitizer sees a
 * late read. Failures fail the test. Include after cmocka.h; link dram_device.
 */
#ifndef DRAM_TESTS_RUN_GRAPH_H
#define DRAM_TESTS_RUN_GRAPH_H

#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "device/cpu_kernels.h"
#include "ir/op.h"

/* What outlives the graphs: the slots' memory, which starts as NaN. */
typedef struct {
    dram_slots *slots;
    void **slot;
    int n_slots;
    dram_pool *pool;
    dram_profile profile;
} run_state;

/* A value of the graph and host memory of its size. */
typedef struct {
    dram_val v;
    void *data;
} run_io;

static inline void *run_memory(int64_t bytes)
{
    void *memory = NULL;
    size_t size = ((size_t)bytes + 63) / 64 * 64;
    if (posix_memalign(&memory, 64, size ? size : 64) != 0) fail_msg("no memory");
    memset(memory, 0xff, size);
    return memory;
}

static inline void run_open(run_state *s, dram_slots *slots, int workers)
{
    *s = (run_state){.slots = slots, .profile = dram_profile_cpu(workers)};
    assert_int_equal(dram_pool_open(workers, &s->pool), DRAM_OK);
}

static inline void run_close(run_state *s)
{
    dram_pool_close(s->pool);
    for (int i = 0; i < s->n_slots; i++) free(s->slot[i]);
    free(s->slot);
    *s = (run_state){0};
}

/* The memory of a slot. */
static inline void *run_slot(run_state *s, int index)
{
    assert_in_range(index, 0, s->slots->n - 1);
    if (s->n_slots < s->slots->n) {
        s->slot = realloc(s->slot, (size_t)s->slots->n * sizeof *s->slot);
        assert_non_null(s->slot);
        for (; s->n_slots < s->slots->n; s->n_slots++) s->slot[s->n_slots] = NULL;
    }
    const dram_slot *slot = s->slots->at[index];
    if (!s->slot[index]) s->slot[index] = run_memory(dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype));
    return s->slot[index];
}

static inline dram_tensor run_tensor(const dram_graph *g, dram_val v, void *const *data)
{
    if (v == DRAM_NONE) return (dram_tensor){0};
    const dram_value *value = dram_value_at(g, v);
    return (dram_tensor){.data = data[v], .dtype = value->dtype, .shape = value->shape};
}

static inline void run_copy_out(const dram_graph *g, dram_val v, const void *data, const run_io *out, int n_out)
{
    for (int i = 0; i < n_out; i++)
        if (out[i].v == v) memcpy(out[i].data, data, (size_t)dram_value_bytes(dram_value_at(g, v)));
}

/* One node: its outputs get memory, or the bytes that they update. */
static inline void run_node(run_state *s, const dram_graph *g, const dram_node *node, void **data, bool *owned)
{
    dram_kernel_args args = {.n_in = node->n_in, .n_out = node->n_out, .attr = &node->attr, .pool = s->pool};
    for (int i = 0; i < node->n_in; i++) args.in[i] = run_tensor(g, node->in[i], data);
    for (int o = 0; o < node->n_out; o++) {
        int updated = dram_op_updates(node->op, o);
        dram_val v = node->out[o];
        owned[v] = updated == DRAM_NONE;
        data[v] = owned[v] ? run_memory(dram_value_bytes(dram_value_at(g, v))) : data[node->in[updated]];
        args.out[o] = run_tensor(g, v, data);
    }
    args.workspace_bytes = dram_node_workspace(g, node, &s->profile);
    if (args.workspace_bytes > 0) args.workspace = run_memory(args.workspace_bytes);
    dram_kernel kernel = dram_cpu_kernels()[node->op];
    if (kernel(&args) != DRAM_OK) fail_msg("%s: %s", node->name, dram_error_text());
    free(args.workspace);
}

/* in: the staged inputs. out: values to be copied to the host as they are made. */
static inline void run_graph(run_state *s, const dram_graph *g, const run_io *in, int n_in, const run_io *out,
                             int n_out)
{
    size_t n = (size_t)g->n_values;
    if (g->status != DRAM_OK) fail_msg("%s", dram_error_text());
    void **data = calloc(n, sizeof *data);
    bool *owned = calloc(n, sizeof *owned);
    int *last = calloc(n, sizeof *last); /* reader or producer */
    assert_true(data && owned && last);
    for (int k = 0; k < g->n_nodes; k++) {
        for (int i = 0; i < g->nodes[k]->n_in; i++)
            if (g->nodes[k]->in[i] != DRAM_NONE) last[g->nodes[k]->in[i]] = k;
        for (int o = 0; o < g->nodes[k]->n_out; o++) last[g->nodes[k]->out[o]] = k;
    }
    for (int i = 0; i < n_in; i++) data[in[i].v] = in[i].data;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        if (value->kind == DRAM_VALUE_SLOT) data[v] = run_slot(s, value->slot);
        if (value->kind == DRAM_VALUE_INPUT && !data[v]) fail_msg("the input %s is not given", value->name);
        if (data[v]) run_copy_out(g, v, data[v], out, n_out);
    }
    for (int k = 0; k < g->n_nodes; k++) {
        const dram_node *node = g->nodes[k];
        run_node(s, g, node, data, owned);
        for (int o = 0; o < node->n_out; o++) run_copy_out(g, node->out[o], data[node->out[o]], out, n_out);
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            dram_val v = i < node->n_in ? node->in[i] : node->out[i - node->n_in];
            if (v == DRAM_NONE || !owned[v] || last[v] != k) continue;
            free(data[v]);
            owned[v] = false;
        }
    }
    free(data);
    free(owned);
    free(last);
}

#endif
