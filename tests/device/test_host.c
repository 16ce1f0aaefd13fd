/* What the host says it has. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"

static void free_bytes(void **state)
{
    (void)state;
    struct sysinfo info;
    assert_int_equal(sysinfo(&info), 0);
    int64_t all = (int64_t)info.totalram * (int64_t)info.mem_unit, room = dram_host_free_bytes();
    assert_true(room > 0);
    assert_true(room <= all);
}

/* The count follows what this process is bound to, not what the machine has. */
static void cores(void **state)
{
    (void)state;
    cpu_set_t before, one;
    int n = dram_host_cores();
    assert_in_range(n, 1, sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int first = 0;
    while (!CPU_ISSET(first, &before)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(dram_host_cores(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(dram_host_cores(), n);
}

static void device_counts_its_memory(void **state)
{
    (void)state;
    dram_device *device;
    void *a, *b;
    assert_int_equal(dram_device_open_cpu(2, &device), DRAM_OK);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_DEVICE, 1 << 20, &a), DRAM_OK);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_HOST, 12345, &b), DRAM_OK);
    assert_int_equal((uintptr_t)a % (uintptr_t)device->profile.align, 0);
    assert_int_equal((uintptr_t)b % (uintptr_t)device->profile.align, 0);
    assert_int_equal(device->bytes_now, 1 << 20);
    assert_int_equal(device->host_bytes_now, 12345);
    for (int i = 0; i < 1 << 20; i++) assert_int_equal(((unsigned char *)a)[i], 0);
    dram_device_release(device, DRAM_SPACE_DEVICE, a, 1 << 20);
    assert_int_equal(device->bytes_now, 0);
    assert_int_equal(device->bytes_peak, 1 << 20);
    assert_int_equal(device->host_bytes_now, 12345);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_PINNED, 55, &a), DRAM_OK);
    dram_device_release(device, DRAM_SPACE_HOST, b, 12345);
    dram_device_release(device, DRAM_SPACE_PINNED, a, 55);
    assert_int_equal(device->host_bytes_now, 0);
    assert_int_equal(device->host_bytes_peak, 12400);
    assert_int_equal(device->bytes_peak, 1 << 20);
    assert_true(device->ops->free_bytes(device) > 0);
    dram_device_close(device);
}

/* More than any address space has: an answer, not a crash, and nothing counted. */
static void absurd_size(void **state)
{
    (void)state;
    dram_device *device;
    void *memory = NULL;
    assert_int_equal(dram_device_open_cpu(1, &device), DRAM_OK);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_DEVICE, (int64_t)1 << 60, &memory), DRAM_ERR_FIT);
    assert_null(memory);
    assert_non_null(strstr(dram_error_text(), "1048576.0 TiB"));
    dram_error_clear();
    assert_int_equal(device->bytes_now, 0);
    assert_int_equal(device->bytes_peak, 0);
    dram_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_bytes),
        cmocka_unit_test(cores),
        cmocka_unit_test(device_counts_its_memory),
        cmocka_unit_test(absurd_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
