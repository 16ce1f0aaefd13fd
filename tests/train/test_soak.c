/* Thousands of small steps, with loading, evaluation, checkpoints and the guard: memory is flat. DRAM_SOAK_STEPS says
 * how many; scripts/check_all.sh asks for 10,000. Only in a build without sanitizers, which keep memory of their
 * own. */
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

#include "base/testing.h"
#include "device/device.h"
#include "support/runs.h"

/* At a tenth of the steps, at half of them, and at the last. */
static int64_t marks[3];
static struct {
    int64_t rss, held, calls;
} at[3];

static void look(int64_t step)
{
    for (int i = 0; i < 3; i++) {
        if (step != marks[i]) continue;
        at[i].rss = dram_process_rss();
        at[i].held = dram_alloc_bytes();
        at[i].calls = dram_alloc_calls();
    }
}

static void flat(void **state)
{
    const char *text = getenv("DRAM_SOAK_STEPS");
    long steps = text ? strtol(text, NULL, 10) : 2000;
    assert_in_range(steps, 200, 1000000);
    steps -= steps % 20;
    marks[0] = steps / 10;
    marks[1] = steps / 2;
    marks[2] = steps;
    char set[1024];
    snprintf(set, sizeof set,
             "train.steps=%ld run.save_every=%ld run.eval_every=%ld threads=1 data.workers=1 student.arch=vit_micro "
             "data.size=32 sam_distill.sam_input_size=32 sam_distill.distill_interval=10 train.batch_size=1 "
             "resolution_distill.enabled=false optim.type=sgd optim.clip_norm=0",
             steps, steps / 20, steps / 20);
    run_order o = {.name = "soak", .set = set, .at_step = look};
    run_ok(state, &o);
    assert_int_equal(o.progressed, steps);
    assert_int_equal(o.summary.planned_peak_bytes, o.summary.measured_peak_bytes);
    print_message("%ld steps: resident %.2f, %.2f, %.2f MiB; held %lld, %lld, %lld bytes; %lld, %lld, %lld requests\n",
                  steps, (double)at[0].rss / 1048576, (double)at[1].rss / 1048576, (double)at[2].rss / 1048576,
                  (long long)at[0].held, (long long)at[1].held, (long long)at[2].held, (long long)at[0].calls,
                  (long long)at[1].calls, (long long)at[2].calls);
    assert_true(at[0].rss > 0);
    /* The kernel counts pages in batches, and the heap of a new thread may lie elsewhere: 1 MiB. */
    assert_true(llabs(at[2].rss - at[0].rss) < 1 << 20);
    /* An image, its file and its label, below 64 KiB, may be held at any moment. */
    assert_true(llabs(at[1].held - at[0].held) < 64 << 10);
    assert_true(llabs(at[2].held - at[0].held) < 64 << 10);
    /* Decoding, evaluations and checkpoints ask for memory, steps do not: as often per step early and late, but for the
     * few samples that the loader is ahead. */
    double early = (double)(at[1].calls - at[0].calls) / (double)(marks[1] - marks[0]);
    double late = (double)(at[2].calls - at[1].calls) / (double)(marks[2] - marks[1]);
    assert_true(early > 0);
    assert_true(fabs(late - early) <= 0.02 * early);
    run_remove(state, "soak");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(flat)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}

#endif
