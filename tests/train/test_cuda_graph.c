/* A small run on the GPU from end to end, with the teacher's weights streamed and the programs recorded as CUDA graphs:
 * stopped and resumed, or with the teacher on the device and every kernel launched by itself, it gives the same
 * bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/runs.h"

enum { RUN_STEPS = 3 }; /* launched, recorded, replayed */

#define SMALL                                                                                                          \
    "train.steps=3 data.val.images=none data.val.labels=none "                                                         \
    "sam_distill.teacher.precision=bf16 "

static void recorded_streamed_and_resumed(void **state)
{
    static const char set[] = SMALL "sam_distill.teacher.placement=stream";
    run_order whole = {.name = "whole", .set = set}, part = {.name = "part", .set = set, .stop_at = 1};
    run_order plain = {.name = "plain", .set = SMALL "cuda.graph=false"};
    run_ok(state, &whole);
    assert_int_equal(whole.summary.steps, RUN_STEPS);
    assert_int_equal(whole.summary.planned_peak_bytes, whole.summary.measured_peak_bytes);
    const bool refused = getenv("CUDASIM_CAPTURE") != NULL; /* no program can be recorded */
    assert_true(refused ? whole.summary.process.refused > 0 : whole.summary.process.recorded > 0);
    assert_int_equal(refused ? whole.summary.process.recorded : whole.summary.process.refused, 0);

    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: 1 steps are saved");
    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_int_equal(part.progressed, RUN_STEPS - 1);
    assert_same_run(state, "whole", "part", RUN_STEPS);

    run_ok(state, &plain);
    assert_int_equal(plain.summary.process.recorded, 0);
    assert_true(plain.summary.planned_peak_bytes > whole.summary.planned_peak_bytes);
    assert_same_file(run_file(state, "whole", "student.safetensors"), run_file(state, "plain", "student.safetensors"));
    assert_same_file(run_file(state, "whole", "heads.safetensors"), run_file(state, "plain", "heads.safetensors"));
    assert_same_metrics(state, "whole", "plain", RUN_STEPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_streamed_and_resumed)};
    setenv("DRAM_TEST_DEVICE", "cuda", 1);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
