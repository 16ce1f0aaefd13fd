/* The update: fused or not, with moments of 32 or 8 bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/state8.h"
#include "support/steps.h"

#define ALONE "data.val.images=none data.val.labels=none "

/* The same bits, weights, moments and norms, from fewer bytes. */
static void fused_is_exact(void **state)
{
    static const char *const sets[] = {
        "train.steps=4 " ALONE,
        "train.steps=4 train.precision=bf16 optim.type=sgd sam_distill.distill_interval=2 " ALONE,
        "train.steps=3 student.arch=vit_micro optim.state=int8 " ALONE,
        "train.steps=3 student.arch=regnety_002 train.precision=bf16 memory.checkpoint=blocks " ALONE,
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char on[300], off[300], automatic[300];
        snprintf(on, sizeof on, "%soptim.clip_norm=0 optim.fused=on", sets[i]);
        snprintf(off, sizeof off, "%soptim.clip_norm=0 optim.fused=off", sets[i]);
        snprintf(automatic, sizeof automatic, "%soptim.clip_norm=0", sets[i]);
        run_order a = {.name = "on", .set = on}, b = {.name = "off", .set = off},
                  c = {.name = "auto", .set = automatic};
        run_ok(state, &a);
        run_ok(state, &b);
        assert_same_run(state, "on", "off", (int)a.summary.steps);
        assert_true(a.summary.planned_peak_bytes < b.summary.planned_peak_bytes);
        assert_int_equal(a.summary.planned_peak_bytes, a.summary.measured_peak_bytes);
        if (i == 0) {
            run_ok(state, &c);
            assert_same_run(state, "on", "auto", (int)a.summary.steps);
            assert_int_equal(a.summary.planned_peak_bytes, c.summary.planned_peak_bytes);
            run_remove(state, "auto");
        }
        run_remove(state, "on");
        run_remove(state, "off");
    }
}

/* The plan's gradients at the fullest moment: all of them, or next to none. */
static void fused_frees_gradients(void **state)
{
    int64_t most[2];
    for (int i = 0; i < 2; i++) {
        step_run *s = step_open(state, i ? "student.arch=vit_micro optim.clip_norm=0" : "student.arch=vit_micro");
        const dram_io *io = &s->session.graphs.io[DRAM_PROGRAM_DISTIL_STEP];
        const dram_program *p = &s->session.plan->programs[io->index];
        assert_int_equal(s->session.graphs.fused, i);
        most[i] = 0;
        for (int n = 0; n < io->graph->n_nodes; n++) {
            int64_t alive = 0;
            for (int v = 0; v < io->graph->n_values; v++)
                if (io->graph->values[v]->category == DRAM_CATEGORY_GRADIENTS && p->value[v].alias == DRAM_NONE &&
                    p->value[v].first <= n && p->value[v].last >= n)
                    alive += p->value[v].bytes;
            if (alive > most[i]) most[i] = alive;
        }
        step_close(s);
    }
    assert_true(most[0] > 4 << 20);
    assert_true(most[1] < most[0] / 4);
}

/* Within a fused step, what comes before the first gradient that is not finite is updated, and nothing after it is. The
 * backward begins at the head; a weight of the trunk that is not finite in its gradient alone cannot be made by hand,
 * so the learning rate shows it: only finite numbers are left whatever the loss. */
static void fused_keeps_weights_finite(void **state)
{
    step_run *s = step_open(state, "resolution_distill.enabled=false optim.clip_norm=0 optim.lr=1000 optim.type=sgd");
    bool stopped = false;
    for (int t = 0; t < 40 && !stopped; t++) {
        step_run_once(s);
        stopped = !isfinite(s->result.grad_norm);
    }
    assert_true(stopped);
    int64_t checked = 0;
    for (int i = 0; i < s->session.graphs.slots.n; i++) {
        const dram_slot *slot = s->session.graphs.slots.at[i];
        int64_t n = dram_elements(&slot->shape);
        if (!slot->trainable) continue;
        float *data = malloc((size_t)n * sizeof *data);
        assert_non_null(data);
        assert_int_equal(dram_exec_read_slot(s->session.exec, i, 0, data, n * 4), DRAM_OK);
        for (int64_t k = 0; k < n; k++, checked++)
            if (!isfinite(data[k])) fail_msg("%s is not finite", slot->name);
        free(data);
    }
    assert_true(checked > 100000);
    step_close(s);
}

/* ---- moments of 8 bits ---- */

static void slots_of_8_bits(void **state)
{
    int64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        step_run *s = step_open(state, i ? "optim.state=int8" : "");
        bytes[i] = s->session.plan->slots_by_category[DRAM_CATEGORY_OPTIMIZER];
        int small = 0, large = 0;
        for (int k = 0; k < s->session.graphs.slots.n; k++) {
            const dram_slot *slot = s->session.graphs.slots.at[k];
            if (!slot->trainable) continue;
            char name[300];
            snprintf(name, sizeof name, "v.%s.%s", slot->group, slot->name);
            int m = dram_slots_find(&s->session.graphs.slots, "optimizer", name);
            if (m < 0) continue;
            const dram_slot *moment = s->session.graphs.slots.at[m];
            int64_t n = dram_elements(&slot->shape);
            bool expected = i && n >= 4096;
            assert_int_equal(moment->dtype, expected ? DRAM_U8 : DRAM_F32);
            assert_int_equal(dram_elements(&moment->shape), expected ? dram_state8_bytes(n) : n);
            small += n < 4096;
            large += n >= 4096;
        }
        assert_true(small > 20 && large > 20);
        step_close(s);
    }
    assert_true(bytes[1] < bytes[0] * 3 / 10); /* 2.03 of 8 bytes, and what stays f32 */
}

static double last_losses(void **state, const char *name, int steps)
{
    int lines;
    double sum = 0;
    char *metrics = run_metrics(state, name, &lines), *line = metrics;
    assert_int_equal(lines, steps);
    for (int i = 0; i < lines; i++, line = strchr(line, '\n') + 1)
        if (i >= lines - 5) sum += strtod(strstr(line, "\"loss\":") + 7, NULL) / 5;
    free(metrics);
    return sum;
}

/* The loss falls, and as far as with moments in f32 (the runs differ by up to 2 % as with another seed). */
static void trains_in_8_bits(void **state)
{
    static const char *const sets[] = {
        "sam_distill.enabled=false train.steps=30 " ALONE,
        "sam_distill.enabled=false train.steps=30 optim.state=int8 " ALONE,
        "sam_distill.enabled=false train.steps=30 optim.state=int8 train.precision=bf16 optim.clip_norm=0 " ALONE,
    };
    double last[3];
    run_order o[3];
    for (int i = 0; i < 3; i++) {
        o[i] = (run_order){.name = "eight", .set = sets[i]};
        run_ok(state, &o[i]);
        last[i] = last_losses(state, "eight", 30);
        run_remove(state, "eight");
    }
    assert_true(last[0] < 2.0); /* from about 3 */
    for (int i = 1; i < 3; i++)
        if (!(last[i] < 1.15 * last[0])) fail_msg("%g, in f32 %g", last[i], last[0]);
    assert_true(o[1].summary.planned_peak_bytes < o[0].summary.planned_peak_bytes);
    assert_true(o[2].summary.planned_peak_bytes < o[1].summary.planned_peak_bytes);
}

/* Moments of another format are not taken for one's own. */
static void other_moments_are_refused(void **state)
{
    static const char set[] = "sam_distill.enabled=false train.steps=2 optim.state=int8 " ALONE;
    run_order o = {.name = "other", .set = set, .stop_at = 1};
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted: ");
    o.set = "sam_distill.enabled=false train.steps=2 " ALONE;
    o.resume = true;
    o.stop_at = 0;
    run_fails(state, &o, DRAM_ERR_FORMAT, "optimizer.safetensors does not hold");
    o.set = set;
    run_ok(state, &o);
    run_remove(state, "other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_is_exact),
        cmocka_unit_test(fused_frees_gradients),
        cmocka_unit_test(fused_keeps_weights_finite),
        cmocka_unit_test(slots_of_8_bits),
        cmocka_unit_test(trains_in_8_bits),
        cmocka_unit_test(other_moments_are_refused),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
