/* bench_attention [WORKERS [PIXELS BATCH]]: time of attention and its gradient for the blocks of SAM's vit_b, beside
 * the two products of the block's MLP, by the kernels that the device would run. Best of five runs of each; GFLOP/s by
 * the ops' own count. */
#include <stdio.h>
#include <stdlib.h>

#include <cblas.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "device/cpu_kernels.h"
#include "ops/call.h"
#include "ops/rules.h"

enum { RUNS = 5, HEADS = 12, WIDTH = 768 };

/* Seconds of node k, its inputs being in data; -1 if it failed. */
static double time_node(const dram_graph *g, int k, float *const *data, dram_pool *pool)
{
    const dram_node *node = g->nodes[k];
    dram_profile profile = dram_profile_cpu(dram_pool_workers(pool));
    dram_kernel_args args = {.n_in = node->n_in, .n_out = node->n_out, .attr = &node->attr, .pool = pool};
    double best = -1;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] != DRAM_NONE)
            args.in[i] = (dram_tensor){data[node->in[i]], DRAM_F32, *dram_shape_of(g, node->in[i])};
    for (int o = 0; o < node->n_out; o++)
        args.out[o] = (dram_tensor){data[node->out[o]], DRAM_F32, *dram_shape_of(g, node->out[o])};
    args.workspace_bytes = dram_node_workspace(g, node, &profile);
    args.workspace = aligned_alloc(64, (size_t)(args.workspace_bytes + 127) / 64 * 64);
    for (int run = 0; args.workspace && run < RUNS; run++) {
        double start = dram_clock();
        if (dram_cpu_kernels()[node->op](&args) != DRAM_OK) break;
        if (best < 0 || dram_clock() - start < best) best = dram_clock() - start;
    }
    free(args.workspace);
    return best;
}

static double report(const dram_graph *g, int k, float *const *data, dram_pool *pool, const char *name)
{
    double seconds = time_node(g, k, data, pool);
    printf("  %-16s %9.2f ms %8.1f GFLOP/s\n", name, seconds * 1e3,
           (double)dram_node_flops(g, g->nodes[k]) / seconds * 1e-9);
    return seconds;
}

/* Memory for all values, inputs filled with small numbers. */
static float **new_data(const dram_graph *g)
{
    float **data = dram_calloc((size_t)g->n_values, sizeof *data);
    dram_rng rng = dram_rng_make(1, DRAM_RNG_TEST, 0);
    for (int v = 0; data && v < g->n_values; v++) {
        int64_t n = dram_elements(dram_shape_of(g, v));
        data[v] = dram_alloc((size_t)n * sizeof(float));
        for (int64_t i = 0; data[v] && i < n; i++)
            data[v][i] = g->values[v]->producer == DRAM_NONE ? (float)dram_rng_range(&rng, -0.5, 0.5) : 0;
    }
    return data;
}

static dram_val input(dram_graph *g, const char *name, dram_shape shape)
{
    return dram_graph_input(g, name, DRAM_F32, shape);
}

static dram_status bench(int batch, int side, int window, dram_pool *pool)
{
    dram_slots slots = {0};
    dram_graph *g = NULL;
    int s = window ? window : side;
    TRY(dram_graph_new("bench", &slots, &g));
    dram_val qkv = input(g, "qkv", DRAM_SHAPE(batch, side, side, 3 * WIDTH));
    dram_val rel_h = input(g, "rel_h", DRAM_SHAPE(2 * s - 1, WIDTH / HEADS));
    dram_val rel_w = input(g, "rel_w", DRAM_SHAPE(2 * s - 1, WIDTH / HEADS));
    dram_val bias = input(g, "bias", DRAM_SHAPE(3 * WIDTH)),
             dout = input(g, "dout", DRAM_SHAPE(batch, side, side, WIDTH));
    const dram_attr attr = {.heads = HEADS, .window = window};
    dram_val in[] = {qkv, rel_h, rel_w, bias}, out[DRAM_MAX_OUT];
    dram_graph_add(g, DRAM_OP_attention, "attention", &attr, in, 4, out);
    dram_val grad_in[] = {qkv, rel_h, rel_w, bias, out[0], out[1], dout}, grads[DRAM_MAX_OUT];
    dram_graph_add(g, DRAM_OP_attention_grad, "grad", &attr, grad_in, 7, grads);
    dram_val up = DRAM_CALL(g, linear, "up", NULL, out[0], input(g, "w1", DRAM_SHAPE(4 * WIDTH, WIDTH)),
                            input(g, "b1", DRAM_SHAPE(4 * WIDTH)));
    DRAM_CALL(g, linear, "down", NULL, up, input(g, "w2", DRAM_SHAPE(WIDTH, 4 * WIDTH)),
              input(g, "b2", DRAM_SHAPE(WIDTH)));
    dram_status status = g->status;
    float **data = status == DRAM_OK ? new_data(g) : NULL;
    if (data) {
        printf("%d px, batch %d, %s\n", side * 16, batch, window ? "windows of 14" : "global");
        double forward = report(g, 0, data, pool, "attention"), backward = report(g, 1, data, pool, "attention_grad");
        double mlp = report(g, 2, data, pool, "mlp up") + report(g, 3, data, pool, "mlp down");
        printf("  attention is %.2f of the MLP's products, its gradient %.2f of theirs (twice as many)\n",
               forward / mlp, backward / (2 * mlp));
        for (int v = 0; v < g->n_values; v++) dram_free(data[v]);
    }
    dram_free(data);
    dram_graph_free(g);
    dram_slots_free(&slots);
    return status;
}

int main(int argc, char **argv)
{
    static const int sizes[][2] = {{512, 1}, {512, 4}, {1024, 1}, {1024, 4}};
    int workers = argc > 1 ? atoi(argv[1]) : 2;
    dram_pool *pool = NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    openblas_set_num_threads(1);
    dram_ops_init();
    dram_status status = dram_pool_open(workers > 0 ? workers : 1, &pool);
    printf("instruction set %s, %d workers, vit_b: one block\n", dram_cpu_isa(), workers);
    for (int k = 0; k < 4 && status == DRAM_OK; k++)
        for (int window = 14; window >= 0 && status == DRAM_OK; window -= 14)
            if (argc < 4 || (atoi(argv[2]) == sizes[k][0] && atoi(argv[3]) == sizes[k][1]))
                status = bench(sizes[k][1], sizes[k][0] / 16, window, pool);
    if (status != DRAM_OK) fprintf(stderr, "bench_attention: %s\n", dram_error_text());
    dram_pool_close(pool);
    return dram_status_exit(status);
}
