/* The GPU against the CPU: the same run on both, step by step. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/runs.h"

enum { RUN_STEPS = 50 };

/* The losses of a run, all three and their sum. */
typedef struct {
    double loss[RUN_STEPS][4];
} losses;

static void read_losses(void **state, const char *name, losses *l)
{
    static const char *const keys[] = {"loss", "loss_task", "loss_sam", "loss_resolution"};
    char *text = get_file(run_file(state, name, "metrics.jsonl"), NULL), *line = text;
    for (int step = 0; step < RUN_STEPS; step++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        cJSON *root = cJSON_Parse(line);
        assert_non_null(root);
        for (int k = 0; k < 4; k++) l->loss[step][k] = json_number(root, keys[k]);
        cJSON_Delete(root);
        line = end + 1;
    }
    assert_int_equal(*line, '\0');
    free(text);
}

static void run_on(void **state, const char *device, const char *set, losses *l)
{
    char all[600];
    snprintf(all, sizeof all, "%s train.steps=%d device=%s", set, (int)RUN_STEPS, device);
    run_order o = {.name = device, .set = all};
    run_ok(state, &o);
    assert_int_equal(o.summary.steps, RUN_STEPS);
    assert_int_equal(o.summary.planned_peak_bytes, o.summary.measured_peak_bytes);
    read_losses(state, device, l);
    run_remove(state, device);
}

/* Both sum the same numbers in another order. SGD carries a difference of the gradient into the weights as it is, so
 * that the losses part by some roundings more each step: ROUNDINGS of them a step, relative to the loss. */
static void agree(void **state, const char *set, double epsilon, double roundings)
{
    static losses cpu, gpu;
    double worst = 0;
    run_on(state, "cpu", set, &cpu);
    run_on(state, "cuda", set, &gpu);
    for (int step = 0; step < RUN_STEPS; step++)
        for (int k = 0; k < 4; k++) {
            double want = cpu.loss[step][k], got = gpu.loss[step][k];
            double allowed = roundings * epsilon * (step + 1) * fabs(want), d = fabs(got - want);
            if (!(d <= allowed))
                fail_msg("step %d, loss %d: %.9g on the CPU, %.9g on the GPU: %.3g times what is allowed", step, k,
                         want, got, d / allowed);
            if (d / allowed > worst) worst = d / allowed;
        }
    double first = 0, last = 0; /* batches differ: ten of them */
    for (int k = 0; k < 10; k++) first += cpu.loss[k][0], last += cpu.loss[RUN_STEPS - 1 - k][0];
    assert_true(last < first);
    printf("share of the allowed difference used: %.3f\n", worst);
}

static void fp32_runs_agree(void **state)
{
    agree(state,
          "sam_distill.sam_input_size=32 sam_distill.teacher.precision=fp32 optim.type=sgd "
          "optim.lr=0.001",
          (double)FLT_EPSILON, 16);
}

int main(void)
{
    dram_device *device;
    if (dram_device_open_cuda(0, 1, &device) != DRAM_OK) {
        printf("skipped: %s\n", dram_error_text());
        return 77;
    }
    dram_device_close(device);
    const struct CMUnitTest tests[] = {cmocka_unit_test(fp32_runs_agree)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
