/* trace: the nodes of a program in the order in which they will run, some of them more than once.
 *
 * Internal to src/passes.
 * Values have numbers of their own: those of the graph, and behind them one for each output of a repeated node.
 */
#ifndef DRAM_PASSES_TRACE_H
#define DRAM_PASSES_TRACE_H

#include "ir/op.h"

typedef struct {
    int node;  /* of the graph */
    bool copy; /* a repetition: its outputs are values of the trace's own */
    int in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
} dram_trace_step;

typedef struct {
    const dram_graph *g;
    dram_trace_step *step;
    int n, room;
    int beside;  /* of those, steps beside the compute queue */
    int *origin; /* of a value: the graph's value that it is or repeats */
    int n_values, values_room;
    int *last; /* scratch of dram_trace_peak */
    int last_room;
} dram_trace;

dram_status dram_trace_open(const dram_graph *g, dram_trace *trace);
void dram_trace_close(dram_trace *trace);
void dram_trace_clear(dram_trace *trace); /* no steps, the graph's values only */

/* Appends a run of a node with these inputs. For a copy, new outputs are made; `out` receives them. */
dram_status dram_trace_add(dram_trace *trace, int node, bool copy, const int *in, int *out);

/* What a value takes: `bytes` by the graph's value, `workspace` by node; a value with 0 bytes is not counted. */
typedef struct {
    const int64_t *bytes, *workspace;
    bool in_place;
} dram_trace_sizes;

/* Most bytes alive at one of the steps from .. to - 1. Counted are values of `start` (n_start of them, alive before),
 * and all that the steps make. Those for which keeps(context, value) is true live to the end. */
dram_status dram_trace_peak(dram_trace *trace, const dram_trace_sizes *sizes, int from, int to, const int *start,
                            int n_start, bool (*keeps)(void *context, int value), void *context, int64_t *peak);

/* Rewrites the graph into the trace: copies become nodes named "x.again" of the category, space and block of the
 * original. */
dram_status dram_trace_apply(const dram_trace *trace, dram_graph *g);

#endif
