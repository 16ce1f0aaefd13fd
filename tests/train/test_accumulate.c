/* Micro-batches: their update is that of the whole batch, within rounding, where nothing but sums ties the images of a
 * batch together; and what comes of them in whole runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/budget.h"
#include "session/schedule.h"
#include "support/runs.h"
#include "train/step.h"

enum { SIDE = 64, BATCH = 4, PIXELS = SIDE * SIDE };

#define VIT "student.arch=vit_micro train.batch_size=4 optim.type=sgd optim.lr=0.1 optim.weight_decay=0 "
#define DISTIL_ONLY VIT "task.enabled=false "
#define REGNET "data.classes=7 data.ignore_index=7 optim.clip_norm=0 "
#define RAW DISTIL_ONLY "resolution_distill.standardize=false "
#define RAW_TASK VIT "resolution_distill.standardize=false data.classes=7 data.ignore_index=7 "

/* ---- one step from samples made here ---- */

typedef struct {
    uint8_t image[BATCH][PIXELS * 3], label[BATCH][PIXELS];
    dram_sample sample[BATCH];
} effective_batch;

/* Images that all differ, or two that come twice; labels of which more and more are void (class 7), none at last. */
static effective_batch *make_batch(bool repeated)
{
    effective_batch *b = calloc(1, sizeof *b);
    assert_non_null(b);
    for (int i = 0; i < BATCH; i++) {
        int scene = repeated ? i % 2 : i, height = scene % 2 ? 48 : 64;
        dram_sample *s = &b->sample[i];
        for (int p = 0; p < PIXELS; p++) {
            int y = p / SIDE, x = p % SIDE;
            for (int c = 0; c < 3; c++)
                b->image[i][3 * p + c] =
                    (uint8_t)(y < height ? (y * (3 + scene) + x * (5 - scene) * (c + 1)) % 256 : 0);
            bool labelled = y < height && (i < 2 ? x >= 8 * i : i == 2 && x >= 60);
            b->label[i][p] = (uint8_t)(labelled ? (y / 8 + x / 16 + i) % 7 : 7);
            s->label_pixels += labelled;
        }
        s->student = s->teacher = b->image[i];
        s->label = b->label[i];
        s->student_height = s->teacher_height = height;
        s->student_width = s->teacher_width = SIDE;
        s->has_label = s->label_pixels > 0;
    }
    return b;
}

typedef struct {
    dram_step_result result;
    int n;         /* tensors */
    float *m[400]; /* momentum after one step from zero: the gradient */
    int64_t size[400];
    char name[400][200];
} outcome;

/* One step of a session with these settings. */
static outcome *one_step(void **state, const char *set, const effective_batch *b)
{
    dram_session s;
    dram_feed feed;
    dram_config *cfg = run_config(state, "accumulate", set);
    outcome *o = calloc(1, sizeof *o);
    assert_non_null(o);
    if (dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK || dram_session_start(&s) != DRAM_OK ||
        dram_feed_open(&s.graphs, &feed) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    dram_step_order order = {.kind = s.graphs.teacher_size ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP,
                             .loss_scale = 1,
                             .labelled = dram_feed_label_pixels(b->sample, BATCH)};
    dram_hyper(&s.cfg, 0, 0, order.hyper);
    if (dram_step_run(&s, &feed, &order, b->sample, BATCH, NULL, &o->result) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_int_equal(s.device->bytes_peak, s.plan->arena_bytes);
    for (int i = 0; i < s.graphs.slots.n; i++) {
        const dram_slot *slot = s.graphs.slots.at[i];
        int64_t n = dram_elements(&slot->shape);
        bool sum = strcmp(slot->group, "gradient") == 0;
        if (!sum && strcmp(slot->group, "optimizer") != 0) continue;
        float *data = malloc((size_t)n * sizeof *data);
        assert_non_null(data);
        assert_int_equal(dram_exec_read_slot(s.exec, i, 0, data, n * 4), DRAM_OK);
        if (sum) { /* it is handed on empty */
            for (int64_t k = 0; k < n; k++) assert_true(data[k] == 0);
            free(data);
            continue;
        }
        assert_true(o->n < 400);
        o->m[o->n] = data;
        o->size[o->n] = n;
        snprintf(o->name[o->n++], sizeof o->name[0], "%s", slot->name);
    }
    dram_feed_close(&feed);
    dram_session_close(&s);
    dram_config_free(cfg);
    return o;
}

static void outcome_free(outcome *o)
{
    for (int i = 0; i < o->n; i++) free(o->m[i]);
    free(o);
}

static void same_number(const char *what, double got, double want)
{
    if (isnan(want) != isnan(got)) fail_msg("%s is %g, not %g", what, got, want);
    if (!isnan(want) && !(fabs(got - want) <= 1e-5 * fabs(want))) fail_msg("%s is %.9g, not %.9g", what, got, want);
}

/* Element by element, to 1e-4 of the tensor's root mean square and 1e-4 of the element: sums of thousands of terms in
 * another order. A tensor whose gradient is itself all rounding (a bias before a norm, keys' biases) is held to 1e-5 of
 * the norm of all. */
static void same_gradient(const outcome *got, const outcome *want)
{
    int64_t compared = 0;
    assert_int_equal(got->n, want->n);
    for (int i = 0; i < want->n; i++) {
        double square = 0;
        const float *w = NULL;
        for (int j = 0; j < want->n && !w; j++)
            if (strcmp(got->name[i], want->name[j]) == 0) w = want->m[j];
        assert_non_null(w);
        for (int64_t k = 0; k < got->size[i]; k++) square += (double)w[k] * (double)w[k];
        double rms = sqrt(square / (double)got->size[i]),
               least = 1e-5 * want->result.grad_norm / sqrt((double)got->size[i]);
        for (int64_t k = 0; k < got->size[i]; k++, compared++) {
            double d = fabs((double)got->m[i][k] - (double)w[k]);
            if (!(d <= 1e-4 * (rms + fabs((double)w[k])) + least))
                fail_msg("%s[%lld]: %.9g instead of %.9g, rms %.3g", got->name[i], (long long)k, (double)got->m[i][k],
                         (double)w[k], rms);
        }
    }
    assert_true(compared > 100000);
    same_number("loss", got->result.loss, want->result.loss);
    same_number("loss_task", got->result.loss_task, want->result.loss_task);
    same_number("loss_sam", got->result.loss_sam, want->result.loss_sam);
    same_number("loss_resolution", got->result.loss_resolution, want->result.loss_resolution);
    same_number("grad_norm", got->result.grad_norm, want->result.grad_norm);
}

static void compare(void **state, const char *set, bool repeated, int most)
{
    char text[600];
    effective_batch *b = make_batch(repeated);
    outcome *whole = one_step(state, set, b);
    assert_true(whole->result.grad_norm > 1e-3);
    for (int a = 2; a <= most; a *= 2) {
        snprintf(text, sizeof text, "%s train.accumulate=%d", set, a);
        outcome *micro = one_step(state, text, b);
        same_gradient(micro, whole);
        outcome_free(micro);
    }
    outcome_free(whole);
    free(b);
}

/* A ViT under the embedding's and the resolution's losses: no batch norm anywhere, and nothing else that is measured
 * over a micro-batch. */
static void without_batch_norm(void **state)
{
    compare(state, RAW "optim.clip_norm=0", false, 4);
    compare(state, RAW "optim.clip_norm=0.01 sam_distill.loss.type=cosine", false, 2);
}

/* All losses. Labels differ, from most to no pixels labelled, and a loss that were a mean over each micro-batch's own
 * pixels would show. */
static void ignored_pixels(void **state)
{
    compare(state, RAW_TASK "optim.clip_norm=0", false, 4);
    compare(state, RAW_TASK "sam_distill.enabled=false resolution_distill.enabled=false", false, 4);
}

/* A RegNet's micro-batches have their own statistics: only where each has the same images are they those of the
 * batch. */
static void with_batch_norm(void **state)
{
    compare(state, REGNET "train.batch_size=4 optim.type=sgd optim.lr=0.1 optim.weight_decay=0", true, 2);
}

/* ... and it does show: the loss of a micro-batch divided by what it alone has labelled. */
static void comparison_rejects(void **state)
{
    effective_batch *b = make_batch(true);
    int64_t pixels = 0;
    outcome *whole = one_step(state, VIT "data.classes=7 data.ignore_index=7", b);
    for (int i = 0; i < BATCH; i++) pixels += b->sample[i].label_pixels;
    assert_true(b->sample[2].label_pixels * 10 < b->sample[0].label_pixels && b->sample[3].label_pixels == 0);
    b->sample[3].label_pixels = pixels; /* as if there were twice as many */
    outcome *half = one_step(state, VIT "data.classes=7 data.ignore_index=7 train.accumulate=2", b);
    assert_true(fabs(half->result.loss_task - whole->result.loss_task / 2) < 1e-5);
    outcome_free(whole);
    outcome_free(half);
    free(b);
}

/* ---- whole runs ---- */

/* The teacher on every second update: counted in updates. The losses' terms say which step was which. */
static void interval_counts_updates(void **state)
{
    static const char set[] = "train.steps=5 train.batch_size=4 train.accumulate=2 sam_distill.distill_interval=2 "
                              "task.enabled=false data.val.images=none data.val.labels=none";
    run_order o = {.name = "interval", .set = set}, part = {.name = "part", .set = set, .stop_at = 3};
    run_ok(state, &o);
    int lines;
    char *metrics = run_metrics(state, "interval", &lines), *line = metrics;
    assert_int_equal(lines, 5);
    for (int i = 0; i < 5; i++, line = strchr(line, '\n') + 1) {
        char want[64];
        snprintf(want, sizeof want, "\"distilled\":%s,\"teacher_ran\":%s", i % 2 ? "false" : "true",
                 i % 2 ? "false" : "true");
        const char *found = strstr(line, want);
        assert_true(found && found < strchr(line, '\n'));
    }
    free(metrics);
    /* Without a task the plain steps train neither neck nor head: they have an update of their own. */
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: ");
    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_same_run(state, "interval", "part", 5);
    assert_int_equal(o.summary.planned_peak_bytes, o.summary.measured_peak_bytes);
    run_remove(state, "interval");
    run_remove(state, "part");
}

static void programs(void **state)
{
    static const struct {
        const char *set;
        int n;
        bool plain_update;
    } cases[] = {
        {"train.accumulate=2", 3, false},
        {"train.accumulate=2 sam_distill.distill_interval=2", 4, false},
        {"train.accumulate=2 sam_distill.distill_interval=2 task.enabled=false", 5, true},
        {"train.accumulate=2 sam_distill.distill_interval=2 task.enabled=false student.arch=vit_micro", 4, false},
        {"train.accumulate=2 sam_distill.enabled=false", 3, false},
        {"train.accumulate=1 sam_distill.distill_interval=2 task.enabled=false", 3, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_config *cfg = run_config(state, "programs", cases[i].set);
        dram_graph_set p;
        if (dram_graph_set_build(cfg, DRAM_SET_TRAIN, &p) != DRAM_OK) fail_msg("%s", dram_error_text());
        int n = 0;
        for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
            if (!p.io[k].graph) continue;
            assert_int_equal(p.io[k].index, n); /* in the order of the kinds */
            n++;
        }
        assert_int_equal(n, cases[i].n);
        assert_int_equal(p.io[DRAM_PROGRAM_PLAIN_UPDATE].graph != NULL, cases[i].plain_update);
        assert_int_equal(p.batch, 2 / p.accumulate);
        dram_graph_set_free(&p);
        dram_config_free(cfg);
    }
}

/* Half the activations for the same effective batch; running statistics move once a micro-batch. */
static void memory_and_counter(void **state)
{
    dram_session s[2];
    dram_config *cfg[2];
    for (int a = 0; a < 2; a++) {
        cfg[a] = run_config(state, "memory", a ? "train.batch_size=8 train.accumulate=4" : "train.batch_size=8");
        if (dram_budget_plan(cfg[a], DRAM_SET_TRAIN, 0, &s[a]) != DRAM_OK) fail_msg("%s", dram_error_text());
    }
    int64_t gradients = s[1].plan->slots_bytes - s[0].plan->slots_bytes;
    assert_true(gradients > 1 << 20); /* a slot a weight */
    assert_true(s[1].plan->arena_bytes - s[1].plan->slots_bytes <
                (s[0].plan->arena_bytes - s[0].plan->slots_bytes) / 2);
    for (int a = 0; a < 2; a++) {
        dram_session_close(&s[a]);
        dram_config_free(cfg[a]);
    }
    run_order o = {.name = "counter",
                   .set = "train.steps=3 train.accumulate=2 train.batch_size=4 sam_distill.enabled=false "
                          "data.val.images=none data.val.labels=none"};
    run_ok(state, &o);
    cJSON *root;
    assert_int_equal(dram_json_read(run_file(state, "counter", "checkpoints/step-00000003/state.json"), &root),
                     DRAM_OK);
    assert_true(json_number(root, "batches_tracked") == 6);
    cJSON_Delete(root);
    run_remove(state, "counter");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_batch_norm), cmocka_unit_test(ignored_pixels),
        cmocka_unit_test(with_batch_norm),    cmocka_unit_test(comparison_rejects),
        cmocka_unit_test(programs),           cmocka_unit_test(interval_counts_updates),
        cmocka_unit_test(memory_and_counter),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
