/* Memory of the process: what a run holds besides its arena, and that steps take none. Only in a build without
 * sanitizers, which keep memory of their own and have their own malloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef DRAM_SANITIZED

#include <stdio.h>

int main(void)
{
    puts("skipped: under a sanitizer the process's memory is not that of dram");
    return 77;
}

#else

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <time.h>

#include "base/testing.h"
#include "feed/feed.h"
#include "session/budget.h"
#include "session/schedule.h"
#include "support/runs.h"
#include "train/guard.h"

/* glibc's own allocator behind its other names, so that every request of the process is seen here. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

static atomic_llong requests, blas_holds;
static atomic_bool steps_run;

/* OpenBLAS's kernels for small products on AVX-512 pack a factor into memory that they take and give back in the call:
 * kilobytes, which the steps' account leaves out if none are kept. */
static bool by_blas(void *caller)
{
    Dl_info library;
    return atomic_load(&steps_run) && dladdr(caller, &library) && strstr(library.dli_fname, "openblas");
}

static void note_request(size_t bytes, void *caller)
{
    enum { PACKED = 256 << 10 }; /* more is no small product's */
    atomic_fetch_add(bytes <= PACKED && by_blas(caller) ? &blas_holds : &requests, 1);
}

void *malloc(size_t bytes)
{
    note_request(bytes, __builtin_return_address(0));
    return __libc_malloc(bytes);
}

void free(void *memory)
{
    if (memory && by_blas(__builtin_return_address(0))) atomic_fetch_add(&blas_holds, -1);
    __libc_free(memory);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&requests, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    atomic_fetch_add(&requests, 1);
    return __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&requests, 1);
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    *memory = memalign(alignment, bytes);
    return *memory ? 0 : ENOMEM;
}

/* First, while the process has not been larger than this one run makes it: its peak is the planned one and 5 % and
 * 64 MiB at most. */
static void resident_peak(void **state)
{
    run_order o = {.name = "resident",
                   .set = "train.steps=2 data.size=256 sam_distill.sam_input_size=256 train.batch_size=4"};
    run_ok(state, &o);
    const dram_summary *s = &o.summary;
    assert_int_equal(s->planned_peak_bytes, s->measured_peak_bytes);
    assert_true(s->planned_peak_bytes > 80 << 20); /* large enough that the 5 % say something */
    double most = 1.05 * (double)s->planned_peak_bytes + 64.0 * 1024 * 1024;
    if (!((double)s->process_peak_rss_bytes <= most))
        fail_msg("%.1f MiB resident, %.1f MiB planned", (double)s->process_peak_rss_bytes / 1048576,
                 (double)s->planned_peak_bytes / 1048576);
    assert_true(s->process_peak_rss_bytes > s->planned_peak_bytes / 2); /* it did measure something */
    run_remove(state, "resident");
}

/* Stages a batch, as the loop does, and runs one program. */
static void one_step(dram_session *s, dram_feed *feed, dram_program_kind kind, int64_t step)
{
    static uint8_t pixels[64 * 64 * 3], labels[64 * 64];
    const dram_io *io = &s->graphs.io[kind];
    float hyper[4];
    dram_sample samples[2];
    for (int i = 0; i < 2; i++)
        samples[i] = (dram_sample){.student = pixels,
                                   .teacher = s->graphs.teacher_size ? pixels : NULL,
                                   .label = labels,
                                   .student_height = 48,
                                   .student_width = 64,
                                   .teacher_height = 48,
                                   .teacher_width = 64,
                                   .has_label = true,
                                   .label_pixels = 64 * 64};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7 + (size_t)step);
    int batch = s->graphs.batch;
    float count = dram_feed_label_count(dram_feed_label_pixels(samples, 2), s->graphs.accumulate), one = 1;
    assert_int_equal(dram_feed_batch(s, feed, kind, 0, samples, batch, count), DRAM_OK);
    dram_hyper(&s->cfg, step, 0, hyper);
    if (io->seed != DRAM_NONE)
        assert_int_equal(dram_exec_write(s->exec, io->index, io->seed, &one, sizeof one), DRAM_OK);
    if (io->unscale != DRAM_NONE)
        assert_int_equal(dram_exec_write(s->exec, io->index, io->unscale, &one, sizeof one), DRAM_OK);
    if (io->hyper != DRAM_NONE)
        assert_int_equal(dram_exec_write(s->exec, io->index, io->hyper, hyper, sizeof hyper), DRAM_OK);
    if (dram_exec_run(s->exec, io->index) != DRAM_OK) fail_msg("%s", dram_error_text());
}

/* All programs, over and over: not one request for memory, by dram or by the libraries it calls, but what by_blas
 * names. */
static void steps_take_no_memory(void **state)
{
    static const char *const sets[] = {
        "sam_distill.distill_interval=2 student.arch=regnety_002",
        "student.arch=vit_micro resolution_distill.enabled=false optim.type=sgd",
        "student.arch=vit_micro train.accumulate=2 optim.state=int8",
        "student.arch=vit_micro train.precision=bf16 sam_distill.teacher.precision=bf16 optim.clip_norm=0",
    };
    static const int programs[] = {3, 2, 3, 2};
    for (int i = 0; i < 4; i++) {
        dram_session s;
        dram_feed feed;
        dram_config *cfg = run_config(state, "steps", sets[i]);
        assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
        assert_int_equal(dram_session_start(&s), DRAM_OK);
        assert_int_equal(dram_feed_open(&s.graphs, &feed), DRAM_OK);
        assert_int_equal(s.plan->n_programs, programs[i]);
        long long before = atomic_load(&requests);
        int64_t hook = dram_alloc_calls(), held = s.device->bytes_now;
        int runs = 0;
        atomic_store(&steps_run, true);
        for (int k = 0; runs < (i == 0 ? 100 : 20); k++) {
            if (!s.graphs.io[k % DRAM_PROGRAM_COUNT].graph) continue;
            one_step(&s, &feed, (dram_program_kind)(k % DRAM_PROGRAM_COUNT), runs++);
        }
        atomic_store(&steps_run, false);
        assert_int_equal(atomic_load(&requests) - before, 0);
        assert_int_equal(atomic_load(&blas_holds), 0);
        assert_int_equal(dram_alloc_calls() - hook, 0);
        assert_int_equal(s.device->bytes_now, held);
        assert_int_equal(s.device->bytes_peak, s.plan->arena_bytes);
        dram_feed_close(&feed);
        dram_session_close(&s);
        dram_config_free(cfg);
    }
    /* The counter does count. */
    long long before = atomic_load(&requests);
    void *volatile memory = malloc(1);
    free(memory);
    assert_int_equal(atomic_load(&requests) - before, 1);
}

/* Nor does what watches the machine meanwhile, by dram or by the library. */
static void guard_takes_no_memory(void **state)
{
    dram_device *device;
    dram_guard *guard;
    dram_guard_peaks peaks;
    assert_int_equal(dram_device_open_cpu(1, &device), DRAM_OK);
    const char *path = in_dir(state, "readings.jsonl");
    dram_record *record;
    assert_int_equal(dram_record_open(0, &record), DRAM_OK);
    assert_int_equal(dram_record_add(record, &dram_memory_sink, path), DRAM_OK);
    const dram_guard_params params = {
        .read = dram_read_host, .context = device, .interval = 0.001, .cores = 1, .record = record};
    assert_int_equal(dram_guard_open(&params, &guard), DRAM_OK);
    long long before = atomic_load(&requests);
    struct stat info = {0};
    for (int i = 0; i < 10000 && info.st_size < 2000; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        assert_int_equal(stat(path, &info), 0);
    }
    assert_int_equal(atomic_load(&requests) - before, 0);
    dram_guard_close(guard, &peaks);
    assert_int_equal(dram_record_close(record, false), DRAM_OK);
    assert_true(peaks.readings > 10);
    dram_device_close(device);
}

/* dram's own requests in a whole run: besides decoding, which the loader's threads do, none depends on the number of
 * steps. */
static int64_t calls_at[41];

static void note_calls(int64_t step)
{
    calls_at[step] = dram_alloc_bytes();
}

static void held_bytes_are_flat(void **state)
{
    run_order o = {.name = "flat",
                   .set = "train.steps=40 sam_distill.enabled=false resolution_distill.enabled=false data.workers=1",
                   .at_step = note_calls};
    run_ok(state, &o);
    /* A decoded image may be held at either moment: 48 x 64 pixels, its file and label are below 64 KiB. */
    assert_true(llabs(calls_at[40] - calls_at[5]) < 64 << 10);
    run_remove(state, "flat");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resident_peak),
        cmocka_unit_test(steps_take_no_memory),
        cmocka_unit_test(guard_takes_no_memory),
        cmocka_unit_test(held_bytes_are_flat),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}

#endif
