/* Nodes of one op that go in one call: the executor finds those that may, and no bit shows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/state8.h"
#include "device/exec.h"
#include "device/testing.h"
#include "ops/call.h"
#include "support/device.h"
#include "support/ok.h"

#if defined(DRAM_CUDA_SIM)
#include <cuda_runtime_api.h>
#endif

enum { WORKERS = 2, STEPS = 3 }; /* a GPU records the second step and replays it in the third */

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val hyper, clip;
} net;

static void net_open(net *n)
{
    *n = (net){0};
    ok(dram_graph_new("update", &n->slots, &n->g));
    n->hyper = dram_graph_input(n->g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    n->clip = dram_graph_input(n->g, "clip", DRAM_F32, DRAM_SHAPE(2));
}

static void net_close(net *n)
{
    dram_graph_free(n->g);
    dram_slots_free(&n->slots);
}

static dram_val slot(net *n, const char *kind, int i, dram_dtype dtype, int64_t size)
{
    char name[32];
    snprintf(name, sizeof name, "%s%d", kind, i);
    return dram_graph_slot(n->g, &(dram_slot){.name = name,
                                              .dtype = dtype,
                                              .shape = DRAM_SHAPE(size),
                                              .category = DRAM_CATEGORY_OPTIMIZER,
                                              .group = "optimizer"});
}

static void adamw(net *n, dram_val w, dram_val g, int i, int64_t size, bool state8)
{
    dram_dtype dtype = state8 ? DRAM_U8 : DRAM_F32;
    int64_t state = state8 ? dram_state8_bytes(size) : size;
    DRAM_CALL(n->g, adamw, "adamw",
              DRAM_ATTR(.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .decay = i % 3 ? 0.05f : 0.0f), w, g,
              slot(n, "m", i, dtype, state), slot(n, "v", i, dtype, state), n->hyper, n->clip);
}

/* What is left of a run: all slots, one behind another. */
typedef struct {
    char *bytes;
    size_t size;
} record;

static int64_t slot_bytes(const dram_slot *s)
{
    return dram_elements(&s->shape) * dram_dtype_bytes(s->dtype);
}

/* Numbers that are positive, so that they serve as second moments too; states of 8 bits begin at zero. */
static void fill_slot(dram_exec *e, const net *n, int i)
{
    int64_t bytes = slot_bytes(n->slots.at[i]);
    dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, dram_hash_name(n->slots.at[i]->name));
    float *data = calloc(1, (size_t)bytes);
    assert_non_null(data);
    for (int64_t k = 0; n->slots.at[i]->dtype == DRAM_F32 && k < bytes / 4; k++)
        data[k] = (float)dram_rng_range(&r, 0.05, 1);
    ok(dram_exec_write_slot(e, i, 0, data, bytes));
    free(data);
}

static record read_slots(dram_exec *e, const net *n)
{
    record r = {0};
    for (int i = 0; i < n->slots.n; i++) r.size += (size_t)slot_bytes(n->slots.at[i]);
    char *at = r.bytes = malloc(r.size);
    assert_non_null(at);
    for (int i = 0; i < n->slots.n; at += slot_bytes(n->slots.at[i]), i++)
        ok(dram_exec_read_slot(e, i, 0, at, slot_bytes(n->slots.at[i])));
    return r;
}

static void assert_same(record a, record b)
{
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    free(a.bytes);
    free(b.bytes);
}

typedef enum { AS_IT_IS, JUNK, TIMED } way;

static record run(const net *n, dram_device *device, way how)
{
    dram_plan *plan;
    dram_exec *e;
    double seconds[1024];
    const dram_graph *graphs[] = {n->g};
    const float clip[2] = {2, 0.5f};
    if (n->g->status != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_true(n->g->n_nodes <= 1024);
    ok(dram_plan_make(graphs, 1, &n->slots, &device->profile, DRAM_PLAN_USUAL, &plan));
    ok(dram_exec_open(device, plan, &e));
    dram_exec_poison(e, how == JUNK);
    for (int i = 0; i < n->slots.n; i++) fill_slot(e, n, i);
    for (int k = 0; k < STEPS; k++) {
        const float hyper[4] = {0.01f, 10.0f / (float)(k + 1), 1000.0f / (float)(k + 1), 0};
        ok(dram_exec_write(e, 0, n->hyper, hyper, sizeof hyper));
        ok(dram_exec_write(e, 0, n->clip, clip, sizeof clip));
        ok(how == TIMED ? dram_exec_time(e, 0, seconds) : dram_exec_run(e, 0));
    }
    record r = read_slots(e, n);
    dram_exec_close(e);
    dram_plan_free(plan);
    return r;
}

/* ---- the device's own kernels ---- */

static unsigned long launches(void)
{
#if defined(DRAM_CUDA_SIM)
    return cudasim_launched();
#else
    return 0;
#endif
}

/* More tensors than one launch takes, of sizes around those at which kernels cut, a third with 8-bit moments. */
static void build_updates(net *n, int tensors)
{
    static const int64_t sizes[] = {1, 3, 31, 64, 255, 4096, 256, 257, 4097, 1000, 4095, 8195, 5000, 12295, 2};
    enum { N_SIZES = sizeof sizes / sizeof *sizes };
    for (int i = 0; i < tensors; i++) {
        int64_t size = sizes[i % N_SIZES];
        DRAM_CALL(n->g, accumulate, "accumulate", NULL, slot(n, "sum", i, DRAM_F32, size),
                  slot(n, "g", i, DRAM_F32, size));
    }
    for (int i = 0; i < tensors; i++) {
        int64_t size = sizes[i % N_SIZES];
        adamw(n, slot(n, "w", i, DRAM_F32, size), slot(n, "sum", i, DRAM_F32, size), i, size,
              i % 2 && size >= DRAM_STATE8_MIN_ELEMENTS);
    }
    for (int i = 0; i < tensors; i++) {
        int64_t size = sizes[i % N_SIZES];
        DRAM_CALL(n->g, sgd, "sgd", DRAM_ATTR(.momentum = 0.9f, .decay = i % 3 ? 0.05f : 0.0f),
                  slot(n, "x", i, DRAM_F32, size), slot(n, "g", i, DRAM_F32, size), slot(n, "s", i, DRAM_F32, size),
                  n->hyper, n->clip);
    }
    for (int i = 0; i < tensors; i++)
        DRAM_CALL(n->g, clear, "clear", NULL, slot(n, "sum", i, DRAM_F32, sizes[i % N_SIZES]));
}

static void as_one_by_one(void **state)
{
    enum { TENSORS = 180 };
    (void)state;
    net n;
    dram_device *device;
    net_open(&n);
    build_updates(&n, TENSORS);
    ok(test_device_open(WORKERS, &device));
    assert_int_equal(device->many != NULL, test_on_gpu());
    unsigned long begin = launches();
    record together = run(&n, device, AS_IT_IS);
    unsigned long few = launches() - begin;
    device->many = NULL;
    begin = launches();
    record apart = run(&n, device, AS_IT_IS);
    unsigned long all = launches() - begin;
    assert_same(together, apart);
    if (all > 0) { /* two steps were launched, the third replayed */
        assert_int_equal(all, 2 * 4 * TENSORS);
        assert_true(few > 0 && few <= 2 * 16);
    }
    dram_device_close(device);
    net_close(&n);
}

/* ---- which nodes the executor puts together: with a table whose kernels run the last node first ---- */

static struct {
    const dram_kernel *kernels;
    int n[64], calls;
} seen;

static dram_status backwards(dram_op op, const dram_kernel_args *const *args, int n)
{
    assert_true(seen.calls < 64);
    seen.n[seen.calls++] = n;
    for (int i = n - 1; i >= 0; i--) TRY(seen.kernels[op](args[i]));
    return DRAM_OK;
}

static dram_status many_adamw(const dram_kernel_args *const *args, int n)
{
    return backwards(DRAM_OP_adamw, args, n);
}

static dram_status many_accumulate(const dram_kernel_args *const *args, int n)
{
    return backwards(DRAM_OP_accumulate, args, n);
}

static dram_status many_relu(const dram_kernel_args *const *args, int n)
{
    return backwards(DRAM_OP_relu, args, n);
}

static const dram_kernel_many backwards_table[DRAM_OP_COUNT] = {
    [DRAM_OP_adamw] = many_adamw,
    [DRAM_OP_accumulate] = many_accumulate,
    [DRAM_OP_relu] = many_relu,
};

static dram_device *device_backwards(void)
{
    dram_device *device;
    ok(test_device_open(WORKERS, &device));
    seen.calls = 0;
    seen.kernels = device->kernels;
    device->many = backwards_table;
    device->records = false; /* so that each run calls */
    return device;
}

static void only_what_is_independent(void **state)
{
    enum { SIZE = 100 };
    static const int want[] = {5, 2, 3};
    (void)state;
    net n;
    net_open(&n);
    for (int i = 0; i < 5; i++) /* 3 and 4 read one gradient, and may */
        adamw(&n, slot(&n, "w", i, DRAM_F32, SIZE), slot(&n, "g", i < 4 ? i : 3, DRAM_F32, SIZE), i, SIZE, false);
    for (int i = 0; i < 2; i++) /* the same weights once more */
        adamw(&n, slot(&n, "w", i, DRAM_F32, SIZE), slot(&n, "g", i, DRAM_F32, SIZE), i, SIZE, false);
    for (int i = 0; i < 2; i++) /* each reads what the one before has made: alone */
        DRAM_CALL(n.g, accumulate, "accumulate", NULL, slot(&n, "w", i + 1, DRAM_F32, SIZE),
                  slot(&n, "w", i, DRAM_F32, SIZE));
    adamw(&n, slot(&n, "w", 1, DRAM_F32, SIZE), slot(&n, "g", 1, DRAM_F32, SIZE), 1, SIZE, false); /* no neighbour */
    DRAM_CALL(n.g, accumulate, "accumulate", NULL, slot(&n, "w", 3, DRAM_F32, SIZE), slot(&n, "w", 2, DRAM_F32, SIZE));
    DRAM_CALL(n.g, accumulate, "accumulate", NULL, slot(&n, "w", 2, DRAM_F32, SIZE), slot(&n, "g", 2, DRAM_F32, SIZE));
    for (int i = 1; i < 4; i++)
        adamw(&n, slot(&n, "w", i, DRAM_F32, SIZE), slot(&n, "w", 4, DRAM_F32, SIZE), i, SIZE, false);
    dram_device *device = device_backwards();
    record together = run(&n, device, AS_IT_IS);
    assert_int_equal(seen.calls, 3 * STEPS);
    for (int i = 0; i < seen.calls; i++) assert_int_equal(seen.n[i], want[i % 3]);
    seen.calls = 0;
    record junk = run(&n, device, JUNK), timed = run(&n, device, TIMED);
    assert_int_equal(seen.calls, 0); /* node by node */
    device->many = NULL;
    record apart = run(&n, device, AS_IT_IS);
    free(timed.bytes);
    free(junk.bytes);
    assert_same(together, apart);
    dram_device_close(device);
    net_close(&n);
}

/* Two values that the plan puts on the same bytes are as good as one. */
static void bytes_are_looked_at(void **state)
{
    enum { SIZE = 64 };
    (void)state;
    dram_slots slots = {0};
    dram_graph *g;
    dram_plan *plan;
    dram_exec *e;
    float x[2][SIZE], y[2][SIZE];
    dram_val in[2], out[2];
    ok(dram_graph_new("relus", &slots, &g));
    for (int k = 0; k < 2; k++) in[k] = dram_graph_input(g, k ? "b" : "a", DRAM_F32, DRAM_SHAPE(SIZE));
    for (int k = 0; k < 2; k++) out[k] = DRAM_CALL(g, relu, "relu", NULL, in[k]);
    for (int k = 0; k < 2; k++) dram_graph_output(g, out[k]);
    ok(g->status);
    dram_device *device = device_backwards();
    const dram_plan_options options = {.eager_free = true};
    ok(dram_plan_make(&(const dram_graph *){g}, 1, &slots, &device->profile, options, &plan));
    assert_int_equal(plan->programs[0].value[out[1]].offset, plan->programs[0].value[in[0]].offset);
    ok(dram_exec_open(device, plan, &e));
    for (int i = 0; i < 2 * SIZE; i++) x[i / SIZE][i % SIZE] = (float)(i + 1);
    for (int k = 0; k < 2; k++) ok(dram_exec_write(e, 0, in[k], x[k], sizeof x[k]));
    ok(dram_exec_run(e, 0));
    for (int k = 0; k < 2; k++) ok(dram_exec_read(e, 0, out[k], y[k], sizeof y[k]));
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(seen.calls, 0);
    dram_exec_close(e);
    dram_device_close(device);
    dram_plan_free(plan);
    dram_graph_free(g);
    dram_slots_free(&slots);
}

int main(void)
{
    test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_one_by_one),
        cmocka_unit_test(only_what_is_independent),
        cmocka_unit_test(bytes_are_looked_at),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
