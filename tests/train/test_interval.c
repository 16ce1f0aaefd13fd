/* Steps without the teacher: when they come, what they learn from, what they hold. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/budget.h"
#include "session/schedule.h"
#include "support/runs.h"

#define SAM_ALONE "task.enabled=false resolution_distill.enabled=false "
#define REUSE SAM_ALONE "sam_distill.between=reuse "

static void teacher_steps_follow_the_schedule(void **state)
{
    static const struct {
        const char *interval;
        int steps[12]; /* on which the teacher runs, of the first twenty; -1 ends */
    } rows[] = {
        {"1", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1}},
        {"3", {0, 3, 6, 9, 12, 15, 18, -1}},
        {"30", {0, -1}},
        {"{0: 2, 5: 4}", {0, 2, 4, 5, 9, 13, 17, -1}}, /* counted from 5 on */
        {"{0: 7, 8: 3, 12: 1, 14: 5}", {0, 7, 8, 11, 12, 13, 14, 19, -1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char set[128];
        const char *const overrides[] = {set, "task.enabled=true", "data.train.images=a", "data.train.labels=b",
                                         "data.classes=2"};
        dram_config *cfg;
        snprintf(set, sizeof set, "sam_distill.distill_interval=%s", rows[i].interval);
        if (dram_config_load(NULL, overrides, 5, &cfg) != DRAM_OK) fail_msg("%s", dram_error_text());
        int ran = 0;
        for (int step = 0; step < (i == 0 ? 11 : 20); step++) {
            int64_t last = dram_teacher_step(cfg, step);
            assert_in_range(last, 0, step);
            if (last != step) continue;
            assert_int_equal(step, rows[i].steps[ran]);
            ran++;
        }
        assert_int_equal(rows[i].steps[ran], -1);
        cfg->train.steps = i == 0 ? 11 : 20;
        double share = dram_teacher_share(cfg);
        if (cfg->sam_distill.distill_interval.n > 1)
            assert_true(share == ran / 20.0);
        else
            assert_true(share == 1.0 / cfg->sam_distill.distill_interval.value[0]);
        dram_config_free(cfg);
    }
    (void)state;
}

/* One number of a line of metrics.jsonl; NAN for null. */
static double metric(void **state, const char *name, int step, const char *key)
{
    char *text = get_file(run_file(state, name, "metrics.jsonl"), NULL), *line = text;
    for (int i = 0; i < step; i++) {
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    char *end = strchr(line, '\n');
    assert_non_null(end);
    *end = '\0';
    cJSON *root = cJSON_Parse(line);
    assert_non_null(root);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    assert_non_null(item);
    double value = cJSON_IsNumber(item) ? item->valuedouble : cJSON_IsNull(item) ? NAN : cJSON_IsTrue(item);
    cJSON_Delete(root);
    free(text);
    return value;
}

static void the_plain_program_holds_no_teacher(void **state)
{
    static const char *const sets[] = {"sam_distill.distill_interval=2", REUSE "sam_distill.distill_interval=2"};
    for (int i = 0; i < 2; i++) {
        dram_session s;
        dram_config *cfg = run_config(state, "plain", sets[i]);
        if (dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK) fail_msg("%s", dram_error_text());
        const dram_io *io = &s.graphs.io[DRAM_PROGRAM_PLAIN_STEP];
        const dram_graph *g = io->graph;
        int values = 0;
        assert_non_null(g);
        assert_int_equal(io->teacher_image, DRAM_NONE);
        for (int v = 0; v < g->n_values; v++) {
            const dram_value *value = g->values[v];
            if (value->slot != DRAM_NONE) assert_string_not_equal(s.graphs.slots.at[value->slot]->group, "teacher");
            assert_true(i == 1 || value->category != DRAM_CATEGORY_TEACHER_ACTIVATIONS);
            values++;
        }
        assert_true(values > 100);
        assert_int_equal(io->target != DRAM_NONE, i == 1);
        dram_session_close(&s);
        dram_config_free(cfg);
    }
}

/* The steps in between train the images and the target of the teacher's step: with a learning rate of nearly nothing
 * their losses are the same. */
static void reuse_trains_the_kept_target(void **state)
{
    run_order o = {.name = "reuse",
                   .set = REUSE "sam_distill.distill_interval={0: 3, 6: 2} train.steps=10 optim.lr=1e-12 "
                                "optim.weight_decay=0 train.batch_size=4 train.accumulate=2"};
    static const int teacher[10] = {1, 0, 0, 1, 0, 0, 1, 0, 1, 0};
    run_ok(state, &o);
    double kept = 0;
    for (int step = 0; step < 10; step++) {
        assert_true(metric(state, "reuse", step, "distilled") == 1);
        assert_true(metric(state, "reuse", step, "teacher_ran") == teacher[step]);
        double loss = metric(state, "reuse", step, "loss_sam");
        /* The update moves each weight by 1e-12 at most, which shows in those alone that are 0: some roundings. */
        double roundings = 4 * (double)FLT_EPSILON * loss;
        if (teacher[step])
            assert_true(fabs(loss - kept) > 100 * roundings);
        else
            assert_true(fabs(loss - kept) <= roundings);
        kept = loss;
    }
    run_remove(state, "reuse");

    o.set = REUSE "sam_distill.distill_interval=4 train.steps=8 optim.lr=3e-3";
    run_ok(state, &o);
    for (int step = 1; step < 8; step++)
        if (step % 4)
            assert_true(metric(state, "reuse", step, "loss_sam") < metric(state, "reuse", step - 1, "loss_sam"));
    run_remove(state, "reuse");
}

/* The factor of loss_sam is the interval that holds at the step. */
static void the_weight_follows_the_interval(void **state)
{
    static const char *const weight[] = {"false", "true"};
    for (int scaled = 0; scaled < 2; scaled++) {
        char set[256];
        snprintf(set, sizeof set,
                 "resolution_distill.enabled=false sam_distill.distill_interval={0: 2, 4: 3} train.steps=8 "
                 "sam_distill.loss.weight=0.5 sam_distill.loss.scale_with_interval=%s",
                 weight[scaled]);
        run_order o = {.name = "scaled", .set = set};
        run_ok(state, &o);
        static const int factor[8] = {2, 0, 2, 0, 3, 0, 0, 3};
        for (int step = 0; step < 8; step++) {
            double task = metric(state, "scaled", step, "loss_task"), sam = metric(state, "scaled", step, "loss_sam");
            double loss = metric(state, "scaled", step, "loss");
            assert_true(isnan(sam) == (factor[step] == 0));
            double want = factor[step] ? task + 0.5 * (scaled ? factor[step] : 1) * sam : task;
            if (!(fabs(loss - want) <= 4e-7 * fabs(want))) /* two roundings of fp32 */
                fail_msg("step %d: %.9g instead of %.9g", step, loss, want);
        }
        run_remove(state, "scaled");
    }
}

/* With loss.scale_with_interval an interval of 1 changes nothing. */
static void an_interval_of_one_scales_nothing(void **state)
{
    run_order plain = {.name = "plain", .set = SAM_ALONE "train.steps=3"};
    run_order scaled = {.name = "scaled", .set = SAM_ALONE "train.steps=3 sam_distill.loss.scale_with_interval=true"};
    run_ok(state, &plain);
    run_ok(state, &scaled);
    assert_same_metrics(state, "plain", "scaled", 3);
    run_remove(state, "plain");
    run_remove(state, "scaled");
}

/* The teacher sees a canvas; the student's target is of the part with the image in it. */
static void padding_changes_what_the_teacher_sees_and_no_shape(void **state)
{
    dram_session s[2];
    dram_config *cfg[2];
    static const char *const sets[] = {SAM_ALONE "sam_distill.sam_input_size=64",
                                       SAM_ALONE "sam_distill.sam_input_size=64 sam_distill.pad_to=224"};
    for (int i = 0; i < 2; i++) {
        cfg[i] = run_config(state, "padded", sets[i]);
        if (dram_budget_plan(cfg[i], DRAM_SET_TRAIN, 0, &s[i]) != DRAM_OK) fail_msg("%s", dram_error_text());
        const dram_io *io = &s[i].graphs.io[DRAM_PROGRAM_DISTIL_STEP];
        const dram_shape *image = &dram_value_at(io->graph, io->teacher_image)->shape;
        assert_int_equal(image->dim[1], i ? 224 : 64);
        assert_int_equal(dram_value_at(io->graph, io->mask)->shape.dim[1], 4);
    }
    const dram_plan *plain = s[0].plan, *padded = s[1].plan;
    /* 196 tokens for 16 */
    assert_true(padded->programs[0].flops > 3 * plain->programs[0].flops);
    for (int i = 0; i < 2; i++) {
        dram_session_close(&s[i]);
        dram_config_free(cfg[i]);
    }
    run_order o = {.name = "padded", .set = SAM_ALONE "sam_distill.sam_input_size=64 train.steps=2"};
    run_ok(state, &o);
    double bare = metric(state, "padded", 0, "loss_sam");
    run_remove(state, "padded");
    o.set = SAM_ALONE "sam_distill.sam_input_size=64 sam_distill.pad_to=128 train.steps=2";
    run_ok(state, &o);
    double canvas = metric(state, "padded", 0, "loss_sam");
    assert_true(isfinite(canvas) && canvas != bare);
    assert_true(metric(state, "padded", 0, "teacher_ran") == 1);
    run_remove(state, "padded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(teacher_steps_follow_the_schedule),
        cmocka_unit_test(the_plain_program_holds_no_teacher),
        cmocka_unit_test(reuse_trains_the_kept_target),
        cmocka_unit_test(the_weight_follows_the_interval),
        cmocka_unit_test(an_interval_of_one_scales_nothing),
        cmocka_unit_test(padding_changes_what_the_teacher_sees_and_no_shape),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
