/* The GPU against the CPU: the same run on both, step by step. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/runs.h"

#ifdef DRAM_SANITIZED
enum { RUN_STEPS = 4 }; /* under a sanitizer the simulated GPU takes half a minute for so many */
#else
enum { RUN_STEPS = 50 };
#endif

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

/* Without the look at the teacher's fidelity: at 1024 it takes the simulated GPU longer than all the steps. */
#define SET                                                                                                            \
    "data.val.images=none data.val.labels=none sam_distill.sam_input_size=32 sam_distill.fidelity_images=0 "           \
    "optim.type=sgd optim.lr=0.001 "

/* Root of the mean square of the differences of a loss, relative to it. */
static double distance(const losses *a, const losses *b, int k)
{
    double sum = 0;
    for (int step = 0; step < RUN_STEPS; step++) {
        double d = (a->loss[step][k] - b->loss[step][k]) / a->loss[step][k];
        sum += d * d / RUN_STEPS;
    }
    return sqrt(sum);
}

/* Both sum the same numbers in another order, and round the sums to the same type. A loss is a mean over thousands of
 * values, whose roundings mostly cancel: what is left of them is allowed to be `allowed` of the loss. In fp32 it does
 * not grow with the steps, since a step of this SGD carries a thousandth of a gradient's error into the weights (AdamW,
 * which divides by the gradient's size, would carry the sign of a rounding in a gradient near 0 as a whole step). */
static void agree(void **state, const char *set, double allowed, losses *cpu, losses *gpu)
{
    double worst = 0;
    run_on(state, "cpu", set, cpu);
    run_on(state, "cuda", set, gpu);
    for (int step = 0; step < RUN_STEPS; step++)
        for (int k = 0; k < 4; k++) {
            double want = cpu->loss[step][k], got = gpu->loss[step][k], share = fabs(got - want) / (allowed * want);
            if (!(share <= 1))
                fail_msg("step %d, loss %d: %.9g on the CPU, %.9g on the GPU: %.3g times what is allowed", step, k,
                         want, got, share);
            if (share > worst) worst = share;
        }
    double first = 0, last = 0; /* batches differ: ten of them */
    for (int k = 0; k < 10 && k < RUN_STEPS; k++) first += cpu->loss[k][0], last += cpu->loss[RUN_STEPS - 1 - k][0];
    assert_true(RUN_STEPS < 20 || last < first);
    printf("share of the allowed difference used: %.3f\n", worst);
}

/* The CPU's own runs with one and with two threads, which cut its sums otherwise, part by 0.9 epsilon. */
static losses fp32_cpu;

static void fp32_runs_agree(void **state)
{
    static losses gpu;
    agree(state, SET "sam_distill.teacher.precision=fp32", 4 * (double)FLT_EPSILON, &fp32_cpu, &gpu);
}

/* A sum next to the middle of two numbers of bf16 falls to the one on one device, to the other on the other, and what
 * reads it falls elsewhere too: within some 20 steps runs part by as much as all roundings of bf16 are worth, and then
 * no farther. The CPU's own instruction sets do so among each other (bench/rounding.sh); a GPU is one more such. What
 * two of them come to stays below an epsilon, 2^-7, in each step, and about what is between one of them and fp32 in the
 * mean square: a GPU is allowed twice the one and three times the other. */
static void bf16_runs_agree(void **state)
{
    static losses cpu, gpu;
    agree(state, SET "train.precision=bf16 sam_distill.teacher.precision=bf16", 0x1p-6, &cpu, &gpu);
    for (int k = 0; k < 4; k++) {
        double devices = distance(&cpu, &gpu, k), types = distance(&cpu, &fp32_cpu, k);
        printf("loss %d: %.2e between the devices, %.2e between bf16 and fp32\n", k, devices, types);
        assert_true(RUN_STEPS < 20 || devices < 3 * types);
    }
}

int main(void)
{
    dram_device *device;
    if (dram_device_open_cuda(0, 1, &device) != DRAM_OK) {
        printf("skipped: %s\n", dram_error_text());
        return 77;
    }
    dram_device_close(device);
    const struct CMUnitTest tests[] = {cmocka_unit_test(fp32_runs_agree), cmocka_unit_test(bf16_runs_agree)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
