/* bench_conv [workers]: times convolutions and linears of a RegNetY-400MF step (512x512, batch 4) and of a SAM vit_b
 * forward (512x512, batch 4), each kernel alone, and prints GFLOP/s and GB/s (inputs and outputs once). With one worker
 * it counts processor time, which a busy machine disturbs less. */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device/cpu_kernels.h"
#include "ir/op.h"
#include "ops/call.h"

enum { BATCH = 4, MAX_WORKERS = 256, WORKSPACE = 64 << 20 };

typedef struct {
    const char *name;
    int count;                 /* times in the network */
    int size, in, out;         /* of the input image; channels */
    int k, stride, pad, group; /* k 0: linear; group: channels of one, 0 for all */
    int forward_only;
} layer;

static const layer layers[] = {
    {"stem 3x3/2 3->32", 1, 512, 3, 32, 3, 2, 1, 0, 0},
    {"s1 linear 32->48", 1, 256, 32, 48, 0, 1, 0, 0, 0},
    {"s1 3x3/2 48 g8", 1, 256, 48, 48, 3, 2, 1, 8, 0},
    {"s1 linear 48->48", 1, 128, 48, 48, 0, 1, 0, 0, 0},
    {"s1 1x1/2 32->48", 1, 256, 32, 48, 1, 2, 0, 0, 0},
    {"s2 linear 48->104", 1, 128, 48, 104, 0, 1, 0, 0, 0},
    {"s2 3x3/2 104 g8", 1, 128, 104, 104, 3, 2, 1, 8, 0},
    {"s2 linear 104->104", 5, 64, 104, 104, 0, 1, 0, 0, 0},
    {"s2 1x1/2 48->104", 1, 128, 48, 104, 1, 2, 0, 0, 0},
    {"s2 3x3 104 g8", 2, 64, 104, 104, 3, 1, 1, 8, 0},
    {"s3 linear 104->208", 1, 64, 104, 208, 0, 1, 0, 0, 0},
    {"s3 3x3/2 208 g8", 1, 64, 208, 208, 3, 2, 1, 8, 0},
    {"s3 linear 208->208", 11, 32, 208, 208, 0, 1, 0, 0, 0},
    {"s3 1x1/2 104->208", 1, 64, 104, 208, 1, 2, 0, 0, 0},
    {"s3 3x3 208 g8", 5, 32, 208, 208, 3, 1, 1, 8, 0},
    {"s4 linear 208->440", 1, 32, 208, 440, 0, 1, 0, 0, 0},
    {"s4 3x3/2 440 g8", 1, 32, 440, 440, 3, 2, 1, 8, 0},
    {"s4 linear 440->440", 11, 16, 440, 440, 0, 1, 0, 0, 0},
    {"s4 1x1/2 208->440", 1, 32, 208, 440, 1, 2, 0, 0, 0},
    {"s4 3x3 440 g8", 5, 16, 440, 440, 3, 1, 1, 8, 0},
    {"g16 3x3 (regnety_006)", 0, 32, 256, 256, 3, 1, 1, 16, 0},
    {"g24 3x3 (regnety_032)", 0, 32, 576, 576, 3, 1, 1, 24, 0},
    {"vit patch 16x16", 1, 512, 3, 768, 16, 16, 0, 0, 1},
    {"vit qkv 768->2304", 12, 32, 768, 2304, 0, 1, 0, 0, 1},
    {"vit proj 768->768", 12, 32, 768, 768, 0, 1, 0, 0, 1},
    {"vit mlp 768->3072", 12, 32, 768, 3072, 0, 1, 0, 0, 1},
    {"vit mlp 3072->768", 12, 32, 3072, 768, 0, 1, 0, 0, 1},
    {"vit neck 3x3 256", 1, 32, 256, 256, 3, 1, 1, 0, 1},
};

typedef struct {
    const dram_kernel *kernels;
    dram_pool *pool;
    int workers;
    void *workspace;
    double total_ms[3];
} bench;

static double seconds(const bench *b)
{
    struct timespec t;
    clock_gettime(b->workers == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dram_tensor tensor(dram_shape shape)
{
    dram_tensor t = {.dtype = DRAM_F32, .shape = shape};
    int64_t n = dram_elements(&shape);
    float *data = aligned_alloc(64, (size_t)(n * 4 + 63) / 64 * 64);
    if (!data) exit(1);
    for (int64_t i = 0; i < n; i++) data[i] = (float)(i % 13) / 13.0f - 0.4f;
    t.data = data;
    return t;
}

/* What the planner would give the op. */
static int64_t workspace_of(const bench *b, dram_op op, const dram_attr *attr, const dram_tensor *in, int n_in)
{
    dram_slots slots = {0};
    dram_graph *g;
    dram_val v[DRAM_MAX_IN], out[DRAM_MAX_OUT];
    dram_profile profile = dram_profile_cpu(b->workers);
    if (dram_graph_new("bench", &slots, &g) != DRAM_OK) exit(1);
    for (int i = 0; i < n_in; i++) v[i] = dram_graph_input(g, "in", DRAM_F32, in[i].shape);
    dram_graph_add(g, op, "op", attr, v, n_in, out);
    int64_t bytes = g->status == DRAM_OK ? dram_node_workspace(g, g->nodes[0], &profile) : WORKSPACE + 1;
    dram_graph_free(g);
    dram_slots_free(&slots);
    if (bytes > WORKSPACE) exit(1);
    return bytes;
}

static double best_ms(const bench *b, dram_op op, const dram_attr *attr, const dram_tensor *in, int n_in,
                      dram_tensor out)
{
    enum { RUNS = 7 };
    double best = 1e9;
    dram_kernel_args args = {.n_in = n_in,
                             .n_out = 1,
                             .out = {out},
                             .attr = attr,
                             .workspace = b->workspace,
                             .workspace_bytes = workspace_of(b, op, attr, in, n_in),
                             .pool = b->pool};
    memcpy(args.in, in, (size_t)n_in * sizeof *in);
    for (int run = 0; run < RUNS; run++) {
        double t = seconds(b);
        if (b->kernels[op](&args) != DRAM_OK) exit(1);
        t = seconds(b) - t;
        if (t < best) best = t;
    }
    return best * 1e3;
}

static void run_layer(bench *b, const layer *l)
{
    int k = l->k ? l->k : 1, side = (l->size + 2 * l->pad - k) / l->stride + 1;
    int groups = l->group ? l->in / l->group : 1;
    dram_attr attr = {.stride = l->stride, .pad = l->pad, .groups = groups, .out_h = l->size, .out_w = l->size};
    dram_attr filter = attr;
    filter.out_h = filter.out_w = k;
    dram_tensor x = tensor(DRAM_SHAPE(BATCH, l->size, l->size, l->in)),
                y = tensor(DRAM_SHAPE(BATCH, side, side, l->out));
    dram_tensor w = tensor(l->k ? DRAM_SHAPE(l->out, k, k, l->in / groups) : DRAM_SHAPE(l->out, l->in));
    double bytes = 4.0 * (double)(dram_elements(&x.shape) + dram_elements(&y.shape));
    double flops = 2.0 * (double)dram_elements(&y.shape) * k * k * l->in / groups, ms[3] = {0, 0, 0};
    ms[0] = best_ms(b, l->k ? DRAM_OP_conv2d : DRAM_OP_linear, &attr, (dram_tensor[]){x, w}, 2, y);
    if (!l->forward_only) {
        ms[1] = best_ms(b, l->k ? DRAM_OP_conv2d_dgrad : DRAM_OP_linear_dgrad, &attr, (dram_tensor[]){y, w}, 2, x);
        ms[2] = best_ms(b, l->k ? DRAM_OP_conv2d_wgrad : DRAM_OP_linear_wgrad, &filter, (dram_tensor[]){x, y}, 2, w);
    }
    printf("%-22s %2d", l->name, l->count);
    for (int i = 0; i < 3 && ms[i] > 0; i++) {
        printf("  %7.2f ms %5.0f GF/s %5.1f GB/s", ms[i], flops / ms[i] * 1e-6, bytes / ms[i] * 1e-6);
        b->total_ms[i] += l->count * ms[i];
    }
    printf("\n");
    free(x.data);
    free(y.data);
    free(w.data);
}

int main(int argc, char **argv)
{
    bench b = {.kernels = dram_cpu_kernels(), .workers = argc > 1 ? atoi(argv[1]) : 2};
    if (b.workers < 1 || b.workers > MAX_WORKERS) return 2;
    openblas_set_num_threads(1);
    dram_ops_init();
    b.workspace = aligned_alloc(64, WORKSPACE);
    if (!b.workspace || dram_pool_open(b.workers, &b.pool) != DRAM_OK) return 1;
    printf("%s, %d workers; count in the network; forward, gradient of x, gradient of w\n", dram_cpu_isa(), b.workers);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        if (layers[i].forward_only && !layers[i - 1].forward_only) {
            printf("student: forward %.1f ms, gradient of x %.1f ms, gradient of w %.1f ms\n", b.total_ms[0],
                   b.total_ms[1], b.total_ms[2]);
            b.total_ms[0] = 0;
        }
        run_layer(&b, &layers[i]);
    }
    printf("teacher: forward %.1f ms\n", b.total_ms[0]);
    dram_pool_close(b.pool);
    free(b.workspace);
    return 0;
}
