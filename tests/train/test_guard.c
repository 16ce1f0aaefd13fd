/* The guard: what it reads, writes and warns of, with made-up machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "base/log.h"
#include "base/testing.h"
#include "io/json.h"
#include "io/lines.h"
#include "support/full_disk.h"
#include "support/tempdir.h"
#include "support/writes.h"
#include "train/guard.h"

/* A machine with 1000 bytes whose free ones are a list, the last of which stays. */
typedef struct {
    const int64_t *free_bytes;
    int n;
    int64_t total;
    atomic_int readings;
} machine;

static void read_machine(void *context, dram_reading *r)
{
    machine *m = context;
    int i = atomic_fetch_add(&m->readings, 1);
    *r = (dram_reading){.device_bytes = 40,
                        .process_bytes = 100 + (i == 1 ? 50 : 0),
                        .free_bytes = m->free_bytes[i < m->n ? i : m->n - 1],
                        .total_bytes = m->total,
                        .cpu_seconds = 3.0};
}

static char warned[4][512];
static atomic_int warnings;

static void sink(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING) return;
    int i = atomic_load(&warnings);
    assert_true(i < 4);
    snprintf(warned[i], sizeof warned[i], "%s", message);
    atomic_store(&warnings, i + 1);
}

static void wait_for(machine *m, int readings)
{
    for (int i = 0; i < 10000 && atomic_load(&m->readings) < readings; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_true(atomic_load(&m->readings) >= readings);
}

/* A record of memory.jsonl alone. */
static dram_record *record_at(const char *path)
{
    dram_record *record;
    assert_int_equal(dram_record_open(0, &record), DRAM_OK);
    assert_int_equal(dram_record_add(record, &dram_memory_sink, path), DRAM_OK);
    return record;
}

/* Watches until there were so many readings. */
static dram_guard_peaks watch(machine *m, const char *path, int readings)
{
    dram_guard *g;
    dram_guard_peaks peaks;
    atomic_store(&warnings, 0);
    dram_record *record = path ? record_at(path) : NULL;
    const dram_guard_params params = {
        .read = read_machine, .context = m, .interval = 0.001, .cores = 2, .record = record, .step = 7};
    assert_int_equal(dram_guard_open(&params, &g), DRAM_OK);
    assert_true(atomic_load(&m->readings) >= 1); /* at once */
    int64_t calls = dram_alloc_calls();
    wait_for(m, readings);
    assert_int_equal(dram_alloc_calls(), calls);
    dram_guard_step(g, 8);
    dram_guard_close(g, &peaks);
    assert_int_equal(peaks.readings, atomic_load(&m->readings));
    assert_true(peaks.readings > readings); /* and once more at the end */
    assert_int_equal(dram_record_close(record, false), DRAM_OK);
    return peaks;
}

static void peaks_and_warnings(void **state)
{
    (void)state;
    static const int64_t slowly[] = {500, 101, 100, 60, 100, 50, 20, 700}, at_once[] = {900, 30, 900, 30},
                         fine[] = {101};
    machine m = {.free_bytes = slowly, .n = 8, .total = 1000};
    dram_guard_peaks p = watch(&m, NULL, 12);
    assert_int_equal(p.device_bytes, 40);
    assert_int_equal(p.process_bytes, 150);
    assert_int_equal(p.free_bytes, 20);
    assert_int_equal(p.warned, 95);
    assert_int_equal(warnings, 2);
    assert_memory_equal(warned[0], "90 % of this machine's memory is in use, 900 B of 1000 B; this run holds ", 73);
    assert_memory_equal(warned[1], "95 % of this machine's memory is in use, 950 B of 1000 B; this run holds 100 B",
                        78);
    for (int i = 0; i < 2; i++) {
        assert_non_null(strstr(warned[i], "40 B of it its arena"));
        assert_non_null(strstr(warned[i], "lower memory.budget"));
        assert_null(strchr(warned[i], '\n'));
    }

    m = (machine){.free_bytes = at_once, .n = 4, .total = 1000};
    p = watch(&m, NULL, 6);
    assert_int_equal(warnings, 1); /* 90 % is no news after it */
    assert_memory_equal(warned[0], "95 %", 4);

    m = (machine){.free_bytes = fine, .n = 1, .total = 1000};
    p = watch(&m, NULL, 6);
    assert_int_equal(warnings, 0);
    assert_int_equal(p.warned, 0);
    m = (machine){.free_bytes = at_once + 1, .n = 1, .total = 0}; /* the machine does not say what it has */
    watch(&m, NULL, 3);
    assert_int_equal(warnings, 0);
}

static int count_lines(const char *path)
{
    int n = 0;
    char *text = get_file(path, NULL);
    for (char *c = text; *c; c++) n += *c == '\n';
    free(text);
    return n;
}

/* A line a reading at first, then one for sixty, which has the worst of them, and the last one. */
static void file_of_readings(void **state)
{
    static const char *const keys[] = {"seconds",           "step",       "device_bytes",
                                       "process_rss_bytes", "free_bytes", "cpu_utilization"};
    static int64_t falling[101];
    for (int i = 0; i < 101; i++) falling[i] = 800;
    falling[100] = 700;
    const char *path = in_dir(state, "memory.jsonl");
    machine m = {.free_bytes = falling, .n = 101, .total = 1000};
    dram_guard_peaks p = watch(&m, path, 130);
    int expected = 60 + (int)((p.readings - 1) / 60 - 1) + 1; /* the last reading is written whatever its number */
    assert_int_equal(count_lines(path), expected);

    char *text = get_file(path, NULL), *rest = text;
    double seconds = 0;
    int lines = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++) {
        cJSON *root;
        assert_int_equal(dram_json_parse(line, strlen(line), &root, NULL), DRAM_OK);
        double value[6];
        for (int i = 0; i < 6; i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, keys[i]);
            assert_true(cJSON_IsNumber(item));
            value[i] = item->valuedouble;
        }
        assert_int_equal(cJSON_GetArraySize(root), 6);
        assert_true(value[0] >= seconds && value[0] < 60);
        seconds = value[0];
        assert_true(value[1] == (lines == expected - 1 ? 8 : 7));
        assert_true(value[2] == 40 && value[3] == (lines == 1 ? 150 : 100));
        assert_true(value[4] == (lines < 60 ? 800 : 700));
        assert_true(value[5] == 0); /* the processor's time stands still */
        cJSON_Delete(root);
    }
    assert_int_equal(lines, expected);
    free(text);

    /* A run that goes on appends, after its checkpoint's step. */
    assert_int_equal(dram_lines_truncate(path, 8, true, NULL), DRAM_OK);
    assert_int_equal(count_lines(path), expected - 1);
    m = (machine){.free_bytes = falling, .n = 1, .total = 1000};
    p = watch(&m, path, 3);
    assert_true(p.readings < 60);
    assert_int_equal(count_lines(path), expected - 1 + p.readings);
}

/* With a GPU a line has the least that it had free and the most that the driver counted to the process. */
static void read_gpu(void *context, dram_reading *r)
{
    machine *m = context;
    int i = atomic_fetch_add(&m->readings, 1);
    *r = (dram_reading){.card_free = i == 1 ? 200 : 300, .card_process = i == 1 ? 90 : 80};
}

static void readings_of_a_gpu(void **state)
{
    machine m = {0};
    dram_guard *g;
    dram_guard_peaks peaks;
    const char *path = in_dir(state, "gpu.jsonl");
    dram_record *record = record_at(path);
    const dram_guard_params params = {.read = read_gpu, .context = &m, .interval = 0.001, .cores = 1, .record = record};
    assert_int_equal(dram_guard_open(&params, &g), DRAM_OK);
    wait_for(&m, 3);
    dram_guard_close(g, &peaks);
    assert_int_equal(dram_record_close(record, false), DRAM_OK);
    assert_int_equal(peaks.card_process, 90);
    char *text = get_file(path, NULL), *second = strchr(text, '\n');
    assert_non_null(second);
    *second++ = '\0';
    assert_non_null(strstr(text, ",\"device_free_bytes\":300,\"device_process_bytes\":80}"));
    assert_non_null(strstr(second, ",\"device_free_bytes\":200,\"device_process_bytes\":90}"));
    free(text);
}

static void what_goes_wrong(void **state)
{
    static const int64_t plenty[] = {900};
    machine m = {.free_bytes = plenty, .n = 1, .total = 1000};
    dram_guard *g;
    (void)state;
    const dram_guard_params params = {.read = read_machine, .context = &m, .interval = 1, .cores = 1};
    dram_alloc_fail_after(0);
    assert_int_equal(dram_guard_open(&params, &g), DRAM_ERR_MEMORY);
    assert_null(g);
    dram_alloc_fail_after(-1);
    dram_error_clear();
    dram_guard_close(NULL, NULL);

    watch(&m, "/dev/full", 5);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warned[0], "/dev/full cannot be written: "));
    assert_string_equal(dram_error_text(), "");
}

/* Signals and short writes leave whole lines; a full disk takes its line back, and the memory is watched without it. */
static void a_file_that_takes_little(void **state)
{
    static const int64_t plenty[] = {900};
    static const write_order slow[] = {{.reason = EINTR}, {.most = 10}, {.reason = EINTR}, {.most = 1}};
    static const write_order full[] = {{.most = 1000}, {.most = 20}, {.reason = EINTR}, {.reason = EDQUOT}};
    machine m = {.free_bytes = plenty, .n = 1, .total = 1000};
    order_writes(slow, 4);
    dram_guard_peaks p = watch(&m, in_dir(state, "slow.jsonl"), 5);
    assert_written(2);
    assert_int_equal(count_lines(in_dir(state, "slow.jsonl")), p.readings);
    assert_int_equal(dram_lines_truncate(in_dir(state, "slow.jsonl"), 100, true, NULL), DRAM_OK);
    assert_int_equal(count_lines(in_dir(state, "slow.jsonl")), p.readings);
    assert_int_equal(warnings, 0);

    m = (machine){.free_bytes = plenty, .n = 1, .total = 1000};
    order_writes(full, 4);
    watch(&m, in_dir(state, "quota.jsonl"), 5);
    assert_written(1);
    assert_int_equal(warnings, 1);
    assert_non_null(
        strstr(warned[0], "quota.jsonl cannot be written: Disk quota exceeded; the memory is watched without"));
    char *text = get_file(in_dir(state, "quota.jsonl"), NULL);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line, and whole */
    free(text);

    m = (machine){.free_bytes = plenty, .n = 1, .total = 1000};
    file_limit limit = limit_files(200); /* one line and a part of the next */
    watch(&m, in_dir(state, "limit.jsonl"), 5);
    unlimit_files(limit);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warned[0], "limit.jsonl cannot be written: File too large"));
    text = get_file(in_dir(state, "limit.jsonl"), NULL);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
    assert_string_equal(dram_error_text(), "");
}

/* The real machine, at the pace of a run: closing does not wait for the next reading. */
static void real_machine(void **state)
{
    (void)state;
    dram_device *device;
    void *memory;
    dram_guard *g;
    dram_guard_peaks p;
    struct timespec begin, end;
    assert_int_equal(dram_device_open_cpu(2, &device), DRAM_OK);
    assert_int_equal(dram_device_alloc(device, DRAM_SPACE_DEVICE, 12345, &memory), DRAM_OK);
    const dram_guard_params params = {.read = dram_read_host, .context = device, .interval = 600, .cores = 2};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(dram_guard_open(&params, &g), DRAM_OK);
    dram_guard_close(g, &p);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec < 60);
    assert_int_equal(p.readings, 2);
    assert_int_equal(p.device_bytes, 12345);
    assert_true(p.process_bytes > 0 && p.free_bytes > 0);
    dram_device_release(device, DRAM_SPACE_DEVICE, memory, 12345);
    dram_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peaks_and_warnings),       cmocka_unit_test(file_of_readings),
        cmocka_unit_test(readings_of_a_gpu),        cmocka_unit_test(what_goes_wrong),
        cmocka_unit_test(a_file_that_takes_little), cmocka_unit_test(real_machine),
    };
    dram_log_set_sink(sink, NULL);
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
