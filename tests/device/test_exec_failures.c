/* The executor refuses: ranges that are not a value's, no memory, an arena that no machine has, a kernel that fails. */
#include "base/alloc.h"
#include "base/testing.h"
#include "device/exec_net.h"

static const dram_plan_options usual = {.eager_free = true, .in_place = true};

/* Reads and writes outside a value are refused, the value kept. */
static void ranges_are_checked(void **state)
{
    (void)state;
    net n;
    dram_device *device;
    dram_exec *e;
    static const uint8_t image[N * S * S * 3];
    float two[2] = {1, 2};
    net_open(&n, false);
    dram_plan *plan = plan_of(&n, usual);
    ok(test_device_open(1, &device));
    ok(dram_exec_open(device, plan, &e));
    assert_int_equal(dram_exec_write(e, 0, n.io[0].count, two, 8), DRAM_ERR_INTERNAL);
    assert_string_equal(dram_error_text(), "count is not 8 bytes long");
    dram_error_clear();
    assert_int_equal(dram_exec_write_part(e, 0, n.io[0].hyper, 12, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_part(e, 0, n.io[0].hyper, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read(e, 0, n.io[0].loss, two, 8), DRAM_ERR_INTERNAL);
    int64_t bytes = dram_elements(&n.slots.at[0]->shape) * 4;
    assert_int_equal(dram_exec_write_slot(e, 0, bytes - 4, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_slot(e, 0, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read_slot(e, 0, bytes, two, 4), DRAM_ERR_INTERNAL);
    dram_error_clear();
    ok(dram_exec_write_slot(e, 0, bytes - 4, two, 4));
    two[0] = 0;
    ok(dram_exec_read_slot(e, 0, bytes - 4, two, 4));
    assert_true(two[0] == 1.0f);
    ok(dram_exec_write_part(e, 0, n.io[0].image, 0, image, sizeof image));
    dram_exec_close(e);
    dram_device_close(device);
    dram_plan_free(plan);
    net_close(&n);
}

/* Memory runs out at every request in turn: an error each time, and nothing is left behind. */
static void opening_without_memory(void **state)
{
    (void)state;
    net n;
    dram_device *device;
    dram_exec *e = NULL;
    net_open(&n, false);
    dram_plan *plan = plan_of(&n, usual);
    ok(test_device_open(1, &device));
    int64_t held = dram_alloc_bytes(), before = dram_alloc_calls();
    ok(dram_exec_open(device, plan, &e));
    int64_t needed = dram_alloc_calls() - before;
    dram_exec_close(e);
    assert_true(needed >= 4);
    for (int64_t i = 0; i < needed; i++) {
        dram_alloc_fail_after(i);
        dram_status status = dram_exec_open(device, plan, &e);
        dram_alloc_fail_after(-1);
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_not_equal(dram_error_text(), "");
        dram_error_clear();
        assert_int_equal(dram_alloc_bytes(), held);
        assert_int_equal(device->bytes_now, 0);
    }
    dram_device_close(device);
    dram_plan_free(plan);
    net_close(&n);
}

/* An arena that no machine has. */
static void arena_too_large(void **state)
{
    (void)state;
    net n;
    dram_device *device;
    dram_exec *e = NULL;
    net_open(&n, false);
    dram_plan *plan = plan_of(&n, usual);
    ok(test_device_open(1, &device));
    int64_t bytes = plan->arena_bytes, held = dram_alloc_bytes();
    plan->arena_bytes = (int64_t)1 << 60;
    assert_int_equal(dram_exec_open(device, plan, &e), DRAM_ERR_FIT);
    dram_error_clear();
    plan->arena_bytes = bytes;
    assert_int_equal(dram_alloc_bytes(), held);
    dram_device_close(device);
    dram_plan_free(plan);
    net_close(&n);
}

/* A kernel's failure names the node. */
static dram_status refuse(const dram_kernel_args *args)
{
    (void)args;
    return DRAM_ERR_NUMERIC;
}

static void failing_kernel_is_named(void **state)
{
    (void)state;
    net n;
    dram_device *device;
    dram_exec *e;
    dram_kernel kernels[DRAM_OP_COUNT];
    net_open(&n, false);
    dram_plan *plan = plan_of(&n, usual);
    ok(test_device_open(1, &device));
    memcpy(kernels, device->kernels, sizeof kernels);
    kernels[DRAM_OP_gelu] = refuse;
    device->kernels = kernels;
    ok(dram_exec_open(device, plan, &e));
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_NUMERIC);
    assert_string_equal(dram_error_text(), "eval: the node gelu failed: a number is not finite");
    dram_error_clear();
    dram_exec_close(e);
    dram_device_close(device);
    dram_plan_free(plan);
    net_close(&n);
}

int main(void)
{
    test_device_or_skip();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(opening_without_memory),
        cmocka_unit_test(arena_too_large),
        cmocka_unit_test(failing_kernel_is_named),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
