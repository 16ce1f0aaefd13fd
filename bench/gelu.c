/* bench_gelu [WORKERS [ROWS]]: the first product of vit_b's MLP and its GELU, as one node and as two, turn by turn, by
 * the kernels that the device would run. Best of all turns, and the median of the turns' ratios. */
#include <stdio.h>
#include <stdlib.h>

#include <cblas.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "bench.h"
#include "device/cpu_kernels.h"
#include "ops/call.h"
#include "ops/rules.h"

enum { TURNS = 15, WIDTH = 768 };

/* Seconds of nodes first .. last, with their values' memory in data. */
static dram_status time_nodes(const dram_graph *g, int first, int last, void *const *data, dram_pool *pool,
                              double *seconds)
{
    dram_profile profile = dram_profile_cpu(dram_pool_workers(pool));
    *seconds = 0;
    for (int k = first; k <= last; k++) {
        const dram_node *node = g->nodes[k];
        dram_kernel_args args = {.n_in = node->n_in, .n_out = node->n_out, .attr = &node->attr, .pool = pool};
        for (int i = 0; i < node->n_in; i++)
            args.in[i] =
                (dram_tensor){data[node->in[i]], g->values[node->in[i]]->dtype, *dram_shape_of(g, node->in[i])};
        dram_val y = node->op == DRAM_OP_gelu ? node->in[0] : node->out[0]; /* in place, as it is planned */
        args.out[0] = (dram_tensor){data[y], g->values[y]->dtype, *dram_shape_of(g, y)};
        args.workspace_bytes = dram_node_workspace(g, node, &profile);
        args.workspace = aligned_alloc(64, (size_t)(args.workspace_bytes + 127) / 64 * 64);
        if (!args.workspace) return dram_fail(DRAM_ERR_MEMORY, "no memory for a workspace");
        double start = dram_clock();
        dram_status status = dram_cpu_kernels()[node->op](&args);
        *seconds += dram_clock() - start;
        free(args.workspace);
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status measure(const dram_graph *g, void *const *data, dram_pool *pool)
{
    double two, one, best_two = 1e9, best_one = 1e9, ratio[TURNS];
    for (int t = -1; t < TURNS; t++) { /* the first for the caches */
        TRY(time_nodes(g, 0, 1, data, pool, &two));
        TRY(time_nodes(g, 2, 2, data, pool, &one));
        if (t < 0) continue;
        if (two < best_two) best_two = two;
        if (one < best_one) best_one = one;
        ratio[t] = one / two;
    }
    printf("  %-5s two nodes %8.2f ms, one %8.2f ms, ratio %.3f, median of ratios %.3f\n",
           dram_dtype_name(g->values[0]->dtype), best_two * 1e3, best_one * 1e3, best_one / best_two,
           bench_median(ratio, TURNS));
    return DRAM_OK;
}

static dram_status bench(int rows, dram_dtype dtype, dram_pool *pool)
{
    dram_slots slots = {0};
    dram_graph *g = NULL;
    TRY(dram_graph_new("bench", &slots, &g));
    dram_val x = dram_graph_input(g, "x", dtype, DRAM_SHAPE(rows, WIDTH));
    dram_val w = dram_graph_input(g, "w", dtype, DRAM_SHAPE(4 * WIDTH, WIDTH));
    dram_val b = dram_graph_input(g, "b", DRAM_F32, DRAM_SHAPE(4 * WIDTH));
    DRAM_CALL(g, gelu, "gelu", NULL, DRAM_CALL(g, linear, "up", NULL, x, w, b));
    DRAM_CALL(g, linear, "up_gelu", DRAM_ATTR(.act = DRAM_ACT_GELU), x, w, b);
    dram_status status = g->status;
    void **data = dram_calloc((size_t)g->n_values + 1, sizeof *data);
    for (int v = 0; data && v < g->n_values && status == DRAM_OK; v++) {
        data[v] = dram_alloc((size_t)dram_value_bytes(g->values[v]));
        if (!data[v]) status = dram_fail(DRAM_ERR_MEMORY, "no memory for %d rows", rows);
        if (data[v]) bench_draw(g->values[v], 0.1, data[v]);
    }
    if (data && status == DRAM_OK) status = measure(g, data, pool);
    for (int v = 0; data && v < g->n_values; v++) dram_free(data[v]);
    dram_free(data);
    dram_graph_free(g);
    dram_slots_free(&slots);
    return status;
}

int main(int argc, char **argv)
{
    int workers = argc > 1 ? atoi(argv[1]) : 2, rows = argc > 2 ? atoi(argv[2]) : 1024;
    static const dram_dtype types[] = {DRAM_F32, DRAM_BF16, DRAM_F16};
    dram_pool *pool = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(1);
    dram_ops_init();
    dram_status status = dram_pool_open(workers > 0 ? workers : 1, &pool);
    printf("instruction set %s, %d workers, [%d,%d] by [%d,%d]\n", dram_cpu_isa(), workers, rows, WIDTH, 4 * WIDTH,
           WIDTH);
    for (int k = 0; k < 3 && status == DRAM_OK; k++) status = bench(rows, types[k], pool);
    if (status != DRAM_OK) fprintf(stderr, "bench_gelu: %s\n", dram_error_text());
    dram_pool_close(pool);
    return dram_status_exit(status);
}
