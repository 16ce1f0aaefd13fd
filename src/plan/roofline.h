/* roofline: how long a plan would take on a card, by the card's data sheet: an estimate, of a machine that is not here.
 *
 * A node takes the longer of two times: its FLOPs at the peak of its precision, and its bytes at the memory's bandwidth.
 * Kernels reach a part of either, which is assumed for each kind of kernel (DRAM_KERNEL_KIND_LIST). To that comes the
 * start of a kernel. Nodes of the compute queue run one after the other, copies from the host beside them.
 */
#ifndef DRAM_PLAN_ROOFLINE_H
#define DRAM_PLAN_ROOFLINE_H

#include "plan/plan.h"

/* A card, or the CPU as it was measured. FLOP/s are dense ones, with sums in fp32. */
typedef struct {
    const char *name; /* as it is asked for: "h200" */
    char title[96];   /* for a person */
    bool gpu;
    double flops_low;     /* a second, of products in 16 bits */
    double flops_fp32;    /* a second; of products too, since none is done in TF32 */
    double bandwidth;     /* of its memory, bytes a second */
    double link;          /* from the host's memory, bytes a second, one way */
    int64_t memory_bytes; /* N 10^9 for a card that is sold as N GB, which shows so much or more */
} dram_card;

/* NULL: there is none of that name. */
const dram_card *dram_card_find(const char *name);

/* "h200, h100, ..., 3060" */
void dram_card_names(dram_str *text);

/* Kinds of kernels, and what part of the peak and of the bandwidth each is assumed to reach, on a GPU and on the CPU.
 * Products and convolutions are cuBLASLt's and cuDNN's on a GPU unless they are said to be dram's own; on the CPU no node
 * is of these.
 *
 * On a GPU the parts come from reading the kernels' machine code (instructions for each mma, shared memory, blocks that
 * an SM holds) and from what the libraries are said to reach; none was measured. On the CPU the peak is that of a small
 * product by this program and the bandwidth that of a copy, both measured when asked; the parts are about what the nodes
 * of a step of configs/quickstart.yaml reached on an AMD EPYC (Zen 4). */
/* clang-format off */
#define DRAM_KERNEL_KIND_LIST(X) \
    /* id             name                               GPU: peak, bandwidth; CPU: peak, bandwidth */ \
    X(PRODUCT,        "product",                         0.70, 0.80,           0.85, 1.00) \
    X(OWN_PRODUCT,    "product, dram's own",             0.33, 0.80,           0.85, 1.00) \
    X(CONV,           "convolution",                     0.50, 0.70,           0.55, 1.00) \
    X(OWN_CONV,       "its gradient, dram's own",        0.22, 0.70,           0.55, 1.00) \
    X(GROUPED,        "grouped convolution",             0.15, 0.50,           0.45, 1.00) \
    X(ATTENTION,      "attention over the image",        0.13, 0.80,           0.45, 1.00) \
    X(WINDOWS,        "attention in windows",            0.04, 0.80,           0.45, 1.00) \
    X(ATTENTION_GRAD, "attention's gradient",            0.08, 0.50,           0.45, 1.00) \
    X(NORM,           "norms",                           0.50, 0.70,           0.25, 0.80) \
    X(UPDATE,         "update",                          0.50, 0.70,           0.30, 1.00) \
    X(OTHER,          "element by element, and losses",  0.50, 0.70,           0.10, 0.60)
/* clang-format on */

typedef enum {
#define X(ID, ...) DRAM_KERNEL_KIND_##ID,
    DRAM_KERNEL_KIND_LIST(X)
#undef X
        DRAM_KERNEL_KIND_COUNT
} dram_kernel_kind;

typedef struct {
    const char *name;
    double of_peak, of_bandwidth; /* assumed */
} dram_kernel_limits;
dram_kernel_limits dram_kernel_limits_of(dram_kernel_kind kind, bool gpu);

/* What a node has to move in its device's memory, in bytes: each value that it reads once and each that it writes once,
 * whether or not they share bytes, and its workspace twice (written, and read). Less than that is moved
 *   - of a workspace that stays in caches: a library's, which is a cap, and a CPU worker's scratch: nothing;
 *   - where a part of an input is all that is read (batch_slice, crop, an update of shards): that part;
 *   - by batch_put on the bytes of its acc: x alone, read and written;
 *   - by clear: what it writes. */
double dram_node_traffic(const dram_plan *plan, int program, int node);

/* Seconds with the start; bound_by_flops: those of nodes whose FLOPs take longer than their bytes. */
typedef struct {
    double nodes, seconds, bound_by_flops, flops, bytes;
} dram_kernel_load;

typedef struct {
    dram_kernel_load kind[DRAM_KERNEL_KIND_COUNT];
    double seconds; /* of the compute queue, or of the copies where those take longer */
    double copy_seconds, copy_bytes;
    double start_seconds; /* of `seconds`: assumed for the start of kernels */
    double left_out; /* nodes that are not counted: those that run on the CPU beside a GPU, and those that join ranks */
    double left_out_flops;
} dram_estimate;

/* Adds so many runs of a program (a part of one too) on that card, of whose kind of device the plan is. */
void dram_estimate_add(dram_estimate *estimate, const dram_plan *plan, int program, double runs, const dram_card *card);

#endif
