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
#include "device/testing.h"
#include "support/limited.h"
#include "support/tempdir.h"

static void free_bytes(void **state)
{
    (void)state;
    struct sysinfo info;
    assert_int_equal(sysinfo(&info), 0);
    int64_t all = (int64_t)info.totalram * (int64_t)info.mem_unit, room = dram_host_free_bytes();
    assert_true(room > 0);
    assert_true(room <= all);
    int64_t total = dram_host_total_bytes(), limit = dram_host_group_limit();
    assert_true(total > 0 && total <= all && room <= total);
    assert_true(limit == 0 || limit == total);
}

static void put_text(void **state, const char *folder, const char *file, const char *text)
{
    char path[4400];
    snprintf(path, sizeof path, "mkdir -p '%s/%s'", (const char *)*state, folder);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/%s/%s", (const char *)*state, folder, file);
    put_file(path, text, strlen(text));
}

static void expect(void **state, int64_t room, int64_t total, int64_t limit)
{
    const char *root = *state;
    assert_int_equal(dram_host_free_under(root), room);
    assert_int_equal(dram_host_total_under(root), total);
    assert_int_equal(dram_host_group_limit_under(root), limit);
}

/* Made-up machines: the least of RAM and of the limits of all groups above the process, cached files being free. */
static void groups(void **state)
{
    const int64_t k = 1024;
    expect(state, 0, 0, 0); /* nothing can be read */
    put_text(state, "proc", "meminfo",
             "MemTotal:    4000 kB\nMemFree:  100 kB\nMemAvailable:   3000 kB\nCached: 9 kB\n");
    expect(state, 3000 * k, 4000 * k, 0);

    put_text(state, "proc/self", "cgroup", "0::/a/b\n");
    put_text(state, "sys/fs/cgroup/a/b", "memory.max", "max\n");
    put_text(state, "sys/fs/cgroup/a/b", "memory.current", "1\n");
    expect(state, 3000 * k, 4000 * k, 0);
    put_text(state, "sys/fs/cgroup/a", "memory.max", "2048000\n");
    put_text(state, "sys/fs/cgroup/a", "memory.current", "1024000\n");
    expect(state, 1000 * k, 2000 * k, 2000 * k);
    put_text(state, "sys/fs/cgroup/a", "memory.stat",
             "anon 5\nfile 7\ninactive_anon 1000000000\ninactive_file 102400\nactive_file 409600\n");
    expect(state, 1500 * k, 2000 * k, 2000 * k);
    put_text(state, "sys/fs/cgroup/a", "memory.current", "9999999\n"); /* above its limit for a moment */
    expect(state, 0, 2000 * k, 2000 * k);
    put_text(state, "sys/fs/cgroup/a", "memory.current", "0\n");
    expect(state, 2000 * k, 2000 * k, 2000 * k);
    put_text(state, "sys/fs/cgroup/a", "memory.max", "9223372036854771712\n");
    expect(state, 3000 * k, 4000 * k, 0);

    put_text(state, "proc/self", "cgroup", "9:cpu:/\n4:memory:/c/d\n0::/elsewhere\n");
    put_text(state, "sys/fs/cgroup/memory", "memory.limit_in_bytes", "1024000\n"); /* the root of a container */
    put_text(state, "sys/fs/cgroup/memory", "memory.usage_in_bytes", "614400\n");
    put_text(state, "sys/fs/cgroup/memory", "memory.stat",
             "inactive_file 1\ntotal_inactive_file 51200\ntotal_active_file 51200\n");
    expect(state, 500 * k, 1000 * k, 1000 * k);
    put_text(state, "sys/fs/cgroup/memory/c", "memory.limit_in_bytes", "junk\n");
    put_text(state, "proc/self", "cgroup", "junk\n::\n0::\n:memory:\n");
    assert_true(dram_host_free_under(*state) >= 0);
}

/* What the process may map: by its own limits, less what it has, and by a kernel that gives no more than there is. */
static void to_map(void **state)
{
    const int64_t k = 1024, gib = (int64_t)1 << 30;
    assert_true(dram_host_to_map_under(*state).bytes == INT64_MAX);
    assert_string_equal(dram_host_to_map_under(*state).whose, "");

    limited_to(RLIMIT_AS, (rlim_t)(limited_mapped() + gib));
    dram_host_mappable map = dram_host_to_map();
    assert_in_range(map.bytes, gib - (4 << 20), gib);
    assert_string_equal(map.whose, "`ulimit -v`");
    limited_to(RLIMIT_DATA, (rlim_t)(gib / 2));
    map = dram_host_to_map();
    assert_in_range(map.bytes, 0, gib / 2 - 1); /* less the data that there is */
    assert_string_equal(map.whose, "`ulimit -d`");
    limited_to(RLIMIT_DATA, RLIM_INFINITY);
    limited_to(RLIMIT_AS, RLIM_INFINITY);

    put_text(state, "proc", "meminfo", "MemTotal: 4000 kB\nCommitLimit:    2000 kB\nCommitted_AS:   1500 kB\n");
    put_text(state, "proc/sys/vm", "overcommit_memory", "1\n");
    assert_true(dram_host_to_map_under(*state).bytes == INT64_MAX);
    put_text(state, "proc/sys/vm", "overcommit_memory", "2\n");
    assert_int_equal(dram_host_to_map_under(*state).bytes, 500 * k);
    assert_string_equal(dram_host_to_map_under(*state).whose, "vm.overcommit_memory=2");
    put_text(state, "proc", "meminfo", "CommitLimit:    2000 kB\nCommitted_AS:   2500 kB\n");
    assert_int_equal(dram_host_to_map_under(*state).bytes, 0);

    dram_host_pretend_to_map(77);
    assert_int_equal(dram_host_to_map().bytes, 77);
    assert_int_equal(dram_host_left_bytes(), 77);
    dram_host_pretend(66, 88);
    assert_int_equal(dram_host_left_bytes(), 66);
    dram_host_pretend(-1, -1);
    dram_host_pretend_to_map(-1);
    assert_true(dram_host_left_bytes() > 77);
}

static void pretended(void **state)
{
    (void)state;
    int64_t all = dram_host_total_bytes();
    dram_host_pretend(123, 456);
    assert_int_equal(dram_host_free_bytes(), 123);
    assert_int_equal(dram_host_total_bytes(), 456);
    dram_host_pretend(-1, -1);
    assert_int_equal(dram_host_total_bytes(), all);
}

/* What is resident follows what is touched, within what the sanitizers and the kernel's batches add. */
static void process(void **state)
{
    (void)state;
    const size_t bytes = (size_t)64 << 20;
    int64_t before = dram_process_rss();
    assert_true(before > 0 && dram_process_peak_rss() > 0);
    char *memory = malloc(bytes);
    assert_non_null(memory);
    memset(memory, 1, bytes);
    int64_t with = dram_process_rss();
    assert_true(with - before > (int64_t)bytes * 9 / 10);
    free(memory);
    assert_true(dram_process_peak_rss() >= with - ((int64_t)4 << 20));
    double begin = dram_process_cpu_seconds();
    volatile double sum = 0;
    while (dram_process_cpu_seconds() - begin < 0.02) sum = sum + 1;
    assert_true(sum > 0);
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

/* The most that a device gives in one piece, and the limit that tests may set. */
static void what_a_device_gives(void **state)
{
    (void)state;
    dram_device *device;
    void *memory;
    const int64_t mib = 1 << 20;
    assert_int_equal(dram_device_open_cpu(1, &device), DRAM_OK);
    assert_int_equal(dram_device_most(device, DRAM_SPACE_DEVICE, 16 * mib), 16 * mib);
    dram_device_limit(10 * mib);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_DEVICE, 11 * mib, &memory), DRAM_ERR_FIT);
    assert_non_null(strstr(dram_error_text(), "11.0 MiB"));
    int64_t most = dram_device_most(device, DRAM_SPACE_DEVICE, 16 * mib);
    assert_true(most <= 10 * mib && most >= 10 * mib - 16 * mib / 256);
    assert_non_null(strstr(dram_error_text(), "11.0 MiB")); /* held before, and of more worth */
    dram_error_clear();
    assert_true(dram_device_most(device, DRAM_SPACE_DEVICE, 16 * mib) == most);
    assert_string_equal(dram_error_text(), "");
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_HOST, 4 * mib, &memory), DRAM_OK);
    most = dram_device_most(device, DRAM_SPACE_DEVICE, 16 * mib);
    assert_true(most <= 6 * mib && most >= 6 * mib - 16 * mib / 256);
    dram_device_release(device, DRAM_SPACE_HOST, memory, 4 * mib);
    assert_int_equal(device->bytes_peak, 0); /* trying is not counted */
    dram_device_limit(0);
    assert_int_equal(dram_device_most(device, DRAM_SPACE_DEVICE, 16 * mib), 0);
    dram_device_limit(-1);
    assert_int_equal(dram_device_most(device, DRAM_SPACE_PINNED, 16 * mib), 16 * mib);
    dram_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_bytes),
        cmocka_unit_test_setup_teardown(groups, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(to_map, tempdir_make, tempdir_remove),
        cmocka_unit_test(pretended),
        cmocka_unit_test(process),
        cmocka_unit_test(cores),
        cmocka_unit_test(device_counts_its_memory),
        cmocka_unit_test(absurd_size),
        cmocka_unit_test(what_a_device_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
