#include "plan/roofline.h"

#include "base/ranks.h"

/* What the start of a kernel costs, in seconds, also within a recorded program of CUDA; on a CPU, waking the threads. */
static const double start_gpu = 3e-6, start_cpu = 10e-6;

dram_kernel_limits dram_kernel_limits_of(dram_kernel_kind kind, bool gpu)
{
    static const struct {
        const char *name;
        double gpu_peak, gpu_bandwidth, cpu_peak, cpu_bandwidth;
    } rows[DRAM_KERNEL_KIND_COUNT] = {
#define X(ID, NAME, GPU_PEAK, GPU_BANDWIDTH, CPU_PEAK, CPU_BANDWIDTH)                                                  \
    [DRAM_KERNEL_KIND_##ID] = {NAME, GPU_PEAK, GPU_BANDWIDTH, CPU_PEAK, CPU_BANDWIDTH},
        DRAM_KERNEL_KIND_LIST(X)
#undef X
    };
    if (gpu) return (dram_kernel_limits){rows[kind].name, rows[kind].gpu_peak, rows[kind].gpu_bandwidth};
    return (dram_kernel_limits){rows[kind].name, rows[kind].cpu_peak, rows[kind].cpu_bandwidth};
}

/* On a GPU. */
static bool by_library(const dram_graph *g, const dram_node *node)
{
    const dram_rules *rules = dram_op_rules[node->op];
    return rules->by_library && rules->by_library(g, node);
}

static dram_kernel_kind kind_of(const dram_graph *g, const dram_node *node, bool gpu)
{
    bool own = gpu && !by_library(g, node);
    switch (node->op) {
    case DRAM_OP_linear:
    case DRAM_OP_linear_dgrad:
    case DRAM_OP_linear_wgrad:
        return own ? DRAM_KERNEL_KIND_OWN_PRODUCT : DRAM_KERNEL_KIND_PRODUCT;
    case DRAM_OP_conv2d:
        if (node->attr.groups > 1) return DRAM_KERNEL_KIND_GROUPED;
        return own ? DRAM_KERNEL_KIND_OWN_PRODUCT : DRAM_KERNEL_KIND_CONV;
    case DRAM_OP_conv2d_dgrad:
    case DRAM_OP_conv2d_wgrad:
        if (node->attr.groups > 1) return DRAM_KERNEL_KIND_GROUPED;
        return own ? DRAM_KERNEL_KIND_OWN_CONV : DRAM_KERNEL_KIND_CONV;
    case DRAM_OP_attention:
        return node->attr.window ? DRAM_KERNEL_KIND_WINDOWS : DRAM_KERNEL_KIND_ATTENTION;
    case DRAM_OP_attention_grad:
        return DRAM_KERNEL_KIND_ATTENTION_GRAD;
    case DRAM_OP_bn_stats:
    case DRAM_OP_bn_running:
    case DRAM_OP_bn_apply:
    case DRAM_OP_bn_reduce:
    case DRAM_OP_bn_dgrad:
    case DRAM_OP_layernorm:
    case DRAM_OP_layernorm_grad:
        return DRAM_KERNEL_KIND_NORM;
    case DRAM_OP_clear:
        return DRAM_KERNEL_KIND_UPDATE;
    default:
        return dram_op_rows[node->op].trait == DRAM_TRAIT_UPDATE ? DRAM_KERNEL_KIND_UPDATE : DRAM_KERNEL_KIND_OTHER;
    }
}

/* The FLOP/s that bound it. Products of 16 bits have units of their own on a GPU, be they of a convolution or of
 * attention; on a CPU plain products alone have them. */
static double peak_of(const dram_graph *g, const dram_node *node, dram_kernel_kind kind, const dram_card *card)
{
    bool multiplies = card->gpu ? kind <= DRAM_KERNEL_KIND_ATTENTION_GRAD : kind == DRAM_KERNEL_KIND_PRODUCT;
    bool low = node->n_in > 0 && node->in[0] != DRAM_NONE && dram_dtype_bytes(g->values[node->in[0]]->dtype) == 2;
    return multiplies && low ? card->flops_low : card->flops_fp32;
}

/* ---- bytes ---- */

static double bytes_of(const dram_graph *g, dram_val v)
{
    return (double)dram_value_bytes(g->values[v]);
}

/* How much of a value an update touches: of its weight, and of a gradient like it, one rank's shard, where there are
 * shards. */
static double part_of(const dram_graph *g, dram_val v, const dram_node *node)
{
    if (!node->attr.ranks || (node->op != DRAM_OP_adamw && node->op != DRAM_OP_sgd)) return 1;
    int64_t n = dram_elements(dram_shape_of(g, node->in[0])), shard = dram_rank_shard(n, node->attr.ranks);
    return dram_elements(dram_shape_of(g, v)) == n && shard < n ? (double)shard / (double)n : 1;
}

/* Each value that is read once, be it at two places, and each that is written. */
static double values_bytes(const dram_graph *g, const dram_node *node)
{
    double bytes = 0;
    for (int i = 0; i < node->n_in; i++) {
        bool again = node->in[i] == DRAM_NONE;
        for (int k = 0; k < i; k++) again |= node->in[k] == node->in[i];
        if (!again) bytes += bytes_of(g, node->in[i]) * part_of(g, node->in[i], node);
    }
    for (int o = 0; o < node->n_out; o++) bytes += bytes_of(g, node->out[o]) * part_of(g, node->out[o], node);
    return bytes;
}

static double moved_bytes(const dram_program *program, const dram_node *node)
{
    const dram_graph *g = program->graph;
    double out = bytes_of(g, node->out[0]);
    bool in_place = program->value[node->out[0]].alias != DRAM_NONE;
    if (node->op == DRAM_OP_batch_slice || node->op == DRAM_OP_crop) return 2 * out;
    if (node->op == DRAM_OP_batch_put && in_place) return 2 * bytes_of(g, node->in[0]);
    if (node->op == DRAM_OP_clear) return out;
    return values_bytes(g, node);
}

/* What a library's product leaves to a pass of its own: its GELU, in place. */
static double pass_bytes(const dram_graph *g, const dram_node *node, bool gpu)
{
    bool behind = gpu && node->op == DRAM_OP_linear && node->attr.act == DRAM_ACT_GELU && by_library(g, node);
    return behind ? 2 * bytes_of(g, node->out[0]) : 0;
}

double dram_node_traffic(const dram_plan *plan, int program, int i)
{
    const dram_program *p = &plan->programs[program];
    const dram_node *node = p->graph->nodes[i];
    bool on_gpu = plan->profile.gpu && dram_node_space(p->graph, node) == DRAM_SPACE_DEVICE;
    double bytes = moved_bytes(p, node) + pass_bytes(p->graph, node, on_gpu);
    if (on_gpu && !by_library(p->graph, node)) bytes += 2 * (double)dram_node_workspace(p->graph, node, &plan->profile);
    return bytes;
}

/* ---- time ---- */

static bool is_counted(const dram_plan *plan, const dram_graph *g, const dram_node *node)
{
    bool beside = plan->profile.gpu && dram_node_space(g, node) != DRAM_SPACE_DEVICE;
    return node->queue != DRAM_QUEUE_COMM && !beside;
}

/* Of many in one call only the first starts a kernel: neighbours of one op that a GPU takes together. */
static bool starts(const dram_graph *g, int i, bool gpu)
{
    dram_op op = g->nodes[i]->op;
    return !(gpu && dram_op_rows[op].many && i > 0 && g->nodes[i - 1]->op == op);
}

static void add_node(dram_estimate *e, const dram_plan *plan, int program, int i, double runs, const dram_card *card)
{
    const dram_graph *g = plan->programs[program].graph;
    const dram_node *node = g->nodes[i];
    dram_kernel_kind kind = kind_of(g, node, card->gpu);
    dram_kernel_limits limits = dram_kernel_limits_of(kind, card->gpu);
    dram_kernel_load *load = &e->kind[kind];
    double flops = (double)dram_node_flops(g, node), bytes = dram_node_traffic(plan, program, i);
    double peak = peak_of(g, node, kind, card);
    double behind = pass_bytes(g, node, card->gpu);
    double by_flops = flops / (peak * limits.of_peak),
           by_bytes = (bytes - behind) / (card->bandwidth * limits.of_bandwidth);
    double start = starts(g, i, card->gpu) ? card->gpu ? start_gpu : start_cpu : 0;
    double seconds = (by_flops > by_bytes ? by_flops : by_bytes) + start;
    if (behind > 0) {
        dram_kernel_limits pass = dram_kernel_limits_of(DRAM_KERNEL_KIND_OTHER, card->gpu);
        seconds += behind / (card->bandwidth * pass.of_bandwidth) + start_gpu;
        start += start_gpu;
    }
    load->nodes += runs;
    load->seconds += runs * seconds;
    load->flops += runs * flops;
    load->bytes += runs * bytes;
    if (by_flops > by_bytes) load->bound_by_flops += runs * seconds;
    e->start_seconds += runs * start;
}

static double compute_seconds(const dram_estimate *e)
{
    double seconds = 0;
    for (int k = 0; k < DRAM_KERNEL_KIND_COUNT; k++) seconds += e->kind[k].seconds;
    return seconds;
}

void dram_estimate_add(dram_estimate *e, const dram_plan *plan, int program, double runs, const dram_card *card)
{
    const dram_graph *g = plan->programs[program].graph;
    double computed = compute_seconds(e), copied = e->copy_seconds;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        if (!is_counted(plan, g, node)) {
            e->left_out += runs;
            e->left_out_flops += runs * (double)dram_node_flops(g, node);
        } else if (card->gpu && node->queue == DRAM_QUEUE_COPY) {
            e->copy_bytes += runs * bytes_of(g, node->out[0]);
            e->copy_seconds += runs * bytes_of(g, node->out[0]) / card->link;
        } else {
            add_node(e, plan, program, i, runs, card);
        }
    }
    computed = compute_seconds(e) - computed;
    copied = e->copy_seconds - copied;
    e->seconds += computed > copied ? computed : copied;
}
