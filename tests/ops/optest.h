/* optest: how every op is tested.
 *
 * Each op of ir/op_list.h has one `const optest_suite optest_NAME` in tests/ops/<family>.c (OPTEST, or OPTEST_THROUGH
 * for an op that only appears in another op's gradient); an op without one does not link, an op that no case runs
 * fails. Each is a test of its own for ctest: ops/NAME. A suite is a reference in double precision and a list of
 * cases: shapes, attributes, ranges. The runner does the rest, for pools of 1, 2 and 3 workers (2 also with little
 * scratch):
 *
 *   - every value and the workspace (exactly the bytes the rule states) in guarded memory of its own, outputs and
 *     workspace filled with NaN beforehand, inputs compared with a copy afterwards
 *   - outputs against the reference, and the same bits when run again
 *   - the gradient of sum_o <r_o, out_o>, r_o random, against central differences of the reference, with all wanted
 *     gradients, with each one alone, and added to a gradient that is already there; before the backward runs, all of
 *     the forward that the op list does not call saved is filled with NaN
 *   - every node again with output 0 on the bytes of each input that the op list allows: the same bits
 *   - the check itself: a gradient scaled by 1.05, negated, or with a quarter of its elements dropped is rejected
 *   - each node with one input of another float type: refused
 *
 * Types. OPTEST runs the cases in f32 alone. OPTEST_STORED runs all of it three times, with the inputs named by
 * `stored`, the outputs not named by `f32_out`, and attr.dtype where a case leaves it 0, as f32, bf16 and f16:
 *
 *     OPTEST_STORED(conv2d, conv2d_ref, conv2d_cases, .stored = 0x3, .weights = 0x2);
 *     OPTEST_STORED(conv2d_wgrad, conv2d_wgrad_ref, conv2d_wgrad_cases, .stored = 0x3, .f32_out = 0x1);
 *     OPTEST_STORED(attention, attention_ref, attention_cases, .stored = 0x1, .f32_out = 0x2, .grad_roundings = 3);
 *
 * Inputs and seeds are rounded to their type first, so that the reference sees the numbers the kernel sees. What is
 * stored in bf16 or f16 may then differ by one rounding of that type on top of the case's tolerance (a gradient added
 * to another by two), what stays f32 by nothing more. A case that itself names bf16 or f16 for an input runs once, as
 * it is.
 */
#ifndef TESTS_OPS_OPTEST_H
#define TESTS_OPS_OPTEST_H

#include <float.h>

#include "base/kernel.h"
#include "base/rng.h"
#include "device/device.h"
#include "ir/op_list.h"

/* |got - want| <= atol + rtol |want|. */
typedef struct {
    double atol, rtol;
} optest_tol;

/* An input. Without a shape it is absent. Filled evenly in [low, high); both 0: [-1, 1) for floats, 0 .. 255 for u8.
 * Integers include `high`. */
typedef struct {
    dram_shape shape; /* OPTEST_SHAPE(2, 5, 7, 3) */
    double low, high;
    bool grad; /* the op gives this input a gradient: compare it */
    dram_dtype dtype;
    optest_tol grad_tol; /* zeros: the case's */
} optest_in;

typedef struct optest_case optest_case;
struct optest_case {
    const char *name;
    dram_attr attr;
    optest_in in[DRAM_MAX_IN];

    /* Optional, after the even filling: special values. Inputs are rounded to their dtype afterwards. */
    void (*fill)(const optest_case *c, dram_rng *rng, double *const in[]);
    /* Optional: recomputes the inputs that depend on others (batch statistics of x). Called for each evaluation of the
     * reference, so central differences go through it. */
    void (*derive)(const optest_case *c, double *const in[]);

    optest_tol tol;        /* of the outputs; zeros: 16 FLT_EPSILON both */
    double roundings;      /* to its type that an output may differ by; 0: 1 */
    optest_tol grad_tol;   /* of gradients; zeros: 64 FLT_EPSILON both */
    double step;           /* of the differences, for an input of unit range; 0: 1e-5 */
    unsigned seeds;        /* bit o: output o is seeded; 0: output 0 alone */
    bool vanishes;         /* some gradient is zero by design here: the check is not itself checked */
    bool refused;          /* the shape rule must refuse these inputs; nothing is run */
    unsigned weights;      /* more of the suite's */
    double grad_roundings; /* in place of the suite's, if not 0 */
    const char *fails;     /* the kernel must fail on these inputs, with this in its text; a GPU's, which nobody waits
                            * for, must give NaN */

    dram_dtype out_dtype[DRAM_MAX_OUT]; /* where an output has a type of its own; 0: as the suite says */

    dram_shape out[DRAM_MAX_OUT]; /* set by the runner before `fill`, for the reference */
};

typedef struct {
    /* Writes all outputs in double. in[i] is NULL for an absent input; u8 and i32 come as doubles too. */
    void (*ref)(const optest_case *c, const double *const in[], double *const out[]);
    const optest_case *cases;
    int n_cases;
    dram_op through; /* without cases: the op whose cases must run this one */

    bool typed;            /* OPTEST_STORED: runs in f32, bf16 and f16 */
    unsigned stored;       /* bit i: input i, f32 in the cases, has the type under test */
    unsigned weights;      /* bit i: the gradient of input i is f32 whatever its type */
    unsigned f32_out;      /* bit o: output o is f32 in every type */
    double grad_roundings; /* roundings of stored outputs that every gradient sees, in parts of about 1 */

    /* Optional: more to check of a CPU's kernels. Returns the failures, printed. */
    int (*also)(const dram_kernel *kernels);
    int (*also_on_gpu)(dram_device *gpu); /* the same, of a GPU's */
} optest_suite;

/* First in an optest_in. */
#define OPTEST_SHAPE(...)                                                                                              \
    .shape = {.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}}

/* A tolerance of K roundings of fp32, both absolute (for numbers of about 1) and relative. */
#define OPTEST_EPSILONS(K)                                                                                             \
    {                                                                                                                  \
        .atol = (K) * (double)FLT_EPSILON, .rtol = (K) * (double)FLT_EPSILON                                           \
    }

/* For the inner loops of a reference: without checks by sanitizers, which would take half of the suite's time here. */
#define OPTEST_UNCHECKED __attribute__((no_sanitize("address"), no_sanitize("undefined")))

/* OPTEST(relu, relu_ref, relu_cases); */
#define OPTEST(NAME, REF, CASES)                                                                                       \
    const optest_suite optest_##NAME = {.ref = REF, .cases = CASES, .n_cases = (int)(sizeof(CASES) / sizeof *(CASES))}

/* OPTEST_STORED(relu, relu_ref, relu_cases, .stored = 0x1); */
#define OPTEST_STORED(NAME, REF, CASES, ...)                                                                           \
    const optest_suite optest_##NAME = {                                                                               \
        .ref = REF, .cases = CASES, .n_cases = (int)(sizeof(CASES) / sizeof *(CASES)), .typed = true, __VA_ARGS__}

/* OPTEST_THROUGH(relu_grad, relu); */
#define OPTEST_THROUGH(NAME, FORWARD) const optest_suite optest_##NAME = {.through = DRAM_OP_##FORWARD}

#define X(NAME, ...) extern const optest_suite optest_##NAME;
DRAM_OP_LIST(X)
#undef X

/* Runs the cases of an op; prints what fails; returns the number of failures. */
int optest_run(dram_op op, const optest_suite *suite, bool verbose);

/* The same of an op that is tested through another: unless it was executed already, runs the other's cases in f32 up to
 * the first that executes it. That none does is a failure. */
int optest_run_through(dram_op op, const optest_suite *const suites[DRAM_KERNEL_COUNT], bool verbose);

/* How many of got[0..n), or of got[index[0..n)], are not within the tolerance of want[0..n). NaN is not; n = 0 gives
 * 1. `worst` receives the largest share of the allowed error that was used. */
int64_t optest_compare(const float *got, const double *want, const int64_t *index, int64_t n, optest_tol tol,
                       double *worst);

/* Opens the pools; from then on the kernels of the CPU, of a GPU (not NULL), or of both are tested. Closes them. */
dram_status optest_open(bool cpu, dram_device *gpu);
void optest_close(void);

#endif
