/* A linear that ends in GELU has the bits of the two nodes that it stands for, in every type, whichever kernel takes
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/rng.h"
#include "device/exec.h"
#include "ops/call.h"
#include "support/device.h"
#include "support/ok.h"

/* x [rows,i] by w [o,i], in memory of that type: random numbers. */
static void *numbers(const char *name, dram_dtype dtype, int64_t n)
{
    dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, dram_hash_name(name));
    char *to = malloc((size_t)(n * dram_dtype_bytes(dtype)));
    assert_non_null(to);
    for (int64_t k = 0; k < n; k++) {
        float x = (float)dram_rng_range(&r, -1, 1);
        uint16_t half = dtype == DRAM_BF16 ? dram_f32_to_bf16(x) : dram_f32_to_f16(x);
        if (dtype == DRAM_F32)
            ((float *)(void *)to)[k] = x;
        else
            ((uint16_t *)(void *)to)[k] = half;
    }
    return to;
}

static void stage(dram_exec *e, const dram_graph *g, dram_val v)
{
    if (v == DRAM_NONE) return;
    const dram_value *value = dram_value_at(g, v);
    void *data = numbers(value->name, value->dtype, dram_elements(&value->shape));
    ok(dram_exec_write(e, 0, v, data, dram_value_bytes(value)));
    free(data);
}

static void *result(dram_exec *e, const dram_graph *g, dram_val v)
{
    void *data = malloc((size_t)dram_value_bytes(dram_value_at(g, v)));
    assert_non_null(data);
    ok(dram_exec_read(e, 0, v, data, dram_value_bytes(dram_value_at(g, v))));
    return data;
}

static void compare(dram_device *device, int64_t rows, int64_t i, int64_t o, bool bias, dram_dtype dtype)
{
    dram_slots slots = {0};
    dram_graph *g;
    dram_plan *plan;
    dram_exec *e;
    ok(dram_graph_new("products", &slots, &g));
    dram_val x = dram_graph_input(g, "x", dtype, DRAM_SHAPE(rows, i)),
             w = dram_graph_input(g, "w", dtype, DRAM_SHAPE(o, i));
    dram_val b = bias ? dram_graph_input(g, "b", DRAM_F32, DRAM_SHAPE(o)) : DRAM_NONE;
    dram_val plain = DRAM_CALL(g, linear, "plain", NULL, x, w, b);
    dram_val apart = DRAM_CALL(g, gelu, "apart", NULL, plain);
    dram_val fused = DRAM_CALL(g, linear, "fused", DRAM_ATTR(.act = DRAM_ACT_GELU), x, w, b);
    dram_graph_output(g, apart);
    dram_graph_output(g, fused);
    ok(g->status);
    ok(dram_plan_make(&(const dram_graph *){g}, 1, &slots, &device->profile, DRAM_PLAN_USUAL, &plan));
    ok(dram_exec_open(device, plan, &e));
    stage(e, g, x);
    stage(e, g, w);
    stage(e, g, b);
    ok(dram_exec_run(e, 0));
    void *one = result(e, g, fused), *two = result(e, g, apart);
    assert_memory_equal(one, two, (size_t)dram_value_bytes(dram_value_at(g, apart)));
    free(one);
    free(two);
    dram_exec_close(e);
    dram_plan_free(plan);
    dram_graph_free(g);
    dram_slots_free(&slots);
}

/* Few rows; a small weight under many rows; more columns than one tile; a depth that is no multiple of 8, short and
 * long. With a bias and without. */
static void same_bits(void **state)
{
    static const struct {
        int64_t rows, i, o;
    } shapes[] = {{3, 16, 5}, {2000, 24, 40}, {300, 136, 261}, {150, 37, 45}, {40, 401, 33}, {1100, 160, 171}};
    static const dram_dtype types[] = {DRAM_F32, DRAM_BF16, DRAM_F16};
    (void)state;
    dram_device *device;
    ok(test_device_open(2, &device));
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            for (int bias = 0; bias < 2; bias++)
                compare(device, shapes[s].rows, shapes[s].i, shapes[s].o, bias, types[t]);
    dram_device_close(device);
}

int main(void)
{
    test_device_or_skip();
    dram_ops_init();
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
