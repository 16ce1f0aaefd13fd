/* The executor refuses: ranges that are not a value's, no memory, an arena that no machine has, a kernel that fails. */
#include "base/alloc.h"
#include "base/testing.h"
#include "device/exec_net.h"

static const dram_plan_options usual = {.eager_free = true, .in_place = true};

typedef struct {
    net n;
    dram_plan *plan;
    dram_device *device;
} fixture;

static int open_fixture(void **state)
{
    static fixture f;
    net_open(&f.n, false);
    f.plan = plan_of(&f.n, usual);
    ok(test_device_open(1, &f.device));
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    dram_device_close(f->device);
    dram_plan_free(f->plan);
    net_close(&f->n);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

/* Reads and writes outside a value are refused, the value kept. */
static void ranges_are_checked(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    static const uint8_t image[N * S * S * 3];
    float two[2] = {1, 2};
    ok(dram_exec_open(f->device, f->plan, &e));
    assert_int_equal(dram_exec_write(e, 0, f->n.io[0].count, two, 8), DRAM_ERR_INTERNAL);
    assert_string_equal(dram_error_text(), "count is not 8 bytes long");
    dram_error_clear();
    assert_int_equal(dram_exec_write_part(e, 0, f->n.io[0].hyper, 12, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_part(e, 0, f->n.io[0].hyper, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read(e, 0, f->n.io[0].loss, two, 8), DRAM_ERR_INTERNAL);
    int64_t bytes = dram_elements(&f->n.slots.at[0]->shape) * 4;
    assert_int_equal(dram_exec_write_slot(e, 0, bytes - 4, two, 8), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_write_slot(e, 0, -4, two, 4), DRAM_ERR_INTERNAL);
    assert_int_equal(dram_exec_read_slot(e, 0, bytes, two, 4), DRAM_ERR_INTERNAL);
    dram_error_clear();
    ok(dram_exec_write_slot(e, 0, bytes - 4, two, 4));
    two[0] = 0;
    ok(dram_exec_read_slot(e, 0, bytes - 4, two, 4));
    assert_true(two[0] == 1.0f);
    ok(dram_exec_write_part(e, 0, f->n.io[0].image, 0, image, sizeof image));
    dram_exec_close(e);
}

/* Memory runs out at every request in turn: an error each time, and nothing is left behind. */
static void opening_without_memory(void **state)
{
    fixture *f = *state;
    dram_exec *e = NULL;
    int64_t held = dram_alloc_bytes(), before = dram_alloc_calls();
    ok(dram_exec_open(f->device, f->plan, &e));
    int64_t needed = dram_alloc_calls() - before;
    dram_exec_close(e);
    assert_true(needed >= 4);
    for (int64_t i = 0; i < needed; i++) {
        dram_alloc_fail_after(i);
        dram_status status = dram_exec_open(f->device, f->plan, &e);
        dram_alloc_fail_after(-1);
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_not_equal(dram_error_text(), "");
        dram_error_clear();
        assert_int_equal(dram_alloc_bytes(), held);
        assert_int_equal(f->device->bytes_now, 0);
    }
}

/* An arena that no machine has. */
static void arena_too_large(void **state)
{
    fixture *f = *state;
    dram_exec *e = NULL;
    int64_t bytes = f->plan->arena_bytes, held = dram_alloc_bytes();
    f->plan->arena_bytes = (int64_t)1 << 60;
    assert_int_equal(dram_exec_open(f->device, f->plan, &e), DRAM_ERR_FIT);
    dram_error_clear();
    f->plan->arena_bytes = bytes;
    assert_int_equal(dram_alloc_bytes(), held);
}

/* A kernel's failure names the node. */
static dram_status refuse(const dram_kernel_args *args)
{
    (void)args;
    return DRAM_ERR_NUMERIC;
}

static void failing_kernel_is_named(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    static dram_kernel kernels[DRAM_OP_COUNT];
    memcpy(kernels, f->device->kernels, sizeof kernels);
    kernels[DRAM_OP_gelu] = refuse;
    f->device->kernels = kernels;
    ok(dram_exec_open(f->device, f->plan, &e));
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_NUMERIC);
    assert_string_equal(dram_error_text(), "eval: the node gelu failed: a number is not finite");
    dram_error_clear();
    dram_exec_close(e);
}

/* What a kernel says itself comes behind its node's name. */
static dram_status refuse_with_words(const dram_kernel_args *args)
{
    (void)args;
    return dram_fail(DRAM_ERR_RUN, "no words");
}

static void failing_kernel_is_heard(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    static dram_kernel kernels[DRAM_OP_COUNT];
    memcpy(kernels, f->device->kernels, sizeof kernels);
    kernels[DRAM_OP_gelu] = refuse_with_words;
    f->device->kernels = kernels;
    ok(dram_exec_open(f->device, f->plan, &e));
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(), "eval: the node gelu failed: no words");
    dram_error_clear();
    dram_exec_close(e);
}

/* A fault on the GPU shows late, and what to set so that it shows at its node is said; with that it does. */
static void fault_on_the_gpu(void **state)
{
    fixture *f = *state;
    dram_exec *e;
    if (!test_on_simulated_gpu()) skip();
    ok(dram_exec_open(f->device, f->plan, &e));
    setenv("CUDASIM_ILLEGAL", "1", 1);
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(), "the GPU failed: CUDA says: an illegal memory access was encountered; "
                                           "CUDA_LAUNCH_BLOCKING=1 and cuda.graph=false name the node");
    dram_error_clear();
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    assert_int_equal(dram_exec_run(e, 1), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(),
                        "eval: the node norm failed: a kernel cannot be launched: CUDA says: an illegal "
                        "memory access was encountered");
    dram_error_clear();
    unsetenv("CUDA_LAUNCH_BLOCKING");
    unsetenv("CUDASIM_ILLEGAL");
    dram_exec_close(e);
}

/* A build for other GPUs says so when it opens this one, and which build would do. */
static void no_code_for_the_gpu(void **state)
{
    (void)state;
    dram_device *device = NULL;
    if (!test_on_simulated_gpu()) skip();
    setenv("CUDASIM_CODE", "0", 1);
    assert_int_equal(dram_device_open_cuda(0, 1, &device), DRAM_ERR_RUN);
    unsetenv("CUDASIM_CODE");
    assert_string_equal(
        dram_error_text(),
        "device: cuda: this build has no code for simulated GPU, of compute capability 9.0 (CUDA says: no "
        "kernel image is available for execution on the device): build with "
        "-DCMAKE_CUDA_ARCHITECTURES=90");
    dram_error_clear();
}

int main(void)
{
    test_device_or_skip();
    const struct CMUnitTest tests[] = {
        TEST(ranges_are_checked),      TEST(opening_without_memory),  TEST(arena_too_large),
        TEST(failing_kernel_is_named), TEST(failing_kernel_is_heard), TEST(fault_on_the_gpu),
        TEST(no_code_for_the_gpu),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
