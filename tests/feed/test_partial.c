/* Partial labels: a batch mixes labelled and unlabelled images. The task's loss sees the labelled ones alone, the
 * embedding's all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "evaluate/eval_file.h"
#include "feed/datasets.h"
#include "session/budget.h"
#include "support/runs.h"
#include "train/step.h"

enum { SIDE = 64, PIXELS = SIDE * SIDE, CLASSES = 12, IGNORE = 255, LABELLED = 1, UNLABELLED = 0 };

/* One update of plain gradient descent of rate 1: the weights' change is the gradient. */
#define DESCENT                                                                                                        \
    "optim.type=sgd optim.momentum=0 optim.weight_decay=0 optim.clip_norm=0 student.zero_init_last=false threads=1 "
#define TASK_ONLY "sam_distill.enabled=false resolution_distill.enabled=false "

typedef struct {
    uint8_t image[PIXELS * 3], teacher[PIXELS * 3], label[PIXELS];
    int64_t labelled;
} picture;

/* Scene `number`: tiles of colour with noise, of several classes and some void. */
static void make_picture(picture *p, int number, int has_label)
{
    dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, (uint64_t)number);
    p->labelled = 0;
    uint8_t tile[4][4][3];
    for (int i = 0; i < 48; i++) tile[i / 12][i / 3 % 4][i % 3] = (uint8_t)dram_rng_below(&r, 192);
    for (int i = 0; i < PIXELS; i++) {
        for (int c = 0; c < 3; c++)
            p->image[3 * i + c] = p->teacher[3 * i + c] =
                (uint8_t)(tile[i / SIDE / 16][i % SIDE / 16][c] + dram_rng_below(&r, 64));
        int block = i / SIDE / 16 + i % SIDE / 16;
        p->label[i] = (uint8_t)(!has_label || block == number % 4 ? IGNORE : (block * 5 + number) % CLASSES);
        p->labelled += p->label[i] != IGNORE;
    }
    assert_true(!has_label || p->labelled > PIXELS / 3);
}

static dram_sample sample_of(const picture *p)
{
    return (dram_sample){.student = p->image,
                         .teacher = p->teacher,
                         .label = p->label,
                         .student_height = SIDE,
                         .student_width = SIDE,
                         .teacher_height = SIDE,
                         .teacher_width = SIDE,
                         .has_label = p->labelled > 0,
                         .label_pixels = p->labelled};
}

/* What one step gave: losses, and the gradient of every trained weight, all in one row. */
typedef struct {
    dram_step_result result;
    int64_t labelled;
    float *gradient;
    int64_t n;
} outcome;

static void read_weights(dram_session *s, float **out, int64_t *n)
{
    const dram_slots *slots = &s->graphs.slots;
    *n = 0;
    for (int i = 0; i < slots->n; i++)
        if (slots->at[i]->trainable) *n += dram_elements(&slots->at[i]->shape);
    float *to = *out = malloc((size_t)*n * sizeof **out);
    assert_non_null(to);
    for (int i = 0; i < slots->n; i++) {
        if (!slots->at[i]->trainable) continue;
        int64_t count = dram_elements(&slots->at[i]->shape);
        assert_int_equal(slots->at[i]->dtype, DRAM_F32);
        assert_int_equal(dram_exec_read_slot(s->exec, i, 0, to, count * 4), DRAM_OK);
        to += count;
    }
}

/* One step over pictures number[0..n), labelled as has_label says. */
static outcome step_over(void **state, const char *set, int n, const int *number, const int *has_label)
{
    char all[1000];
    dram_session s;
    dram_feed feed = {0};
    outcome o = {0};
    float *after;
    snprintf(all, sizeof all, "%s train.batch_size=%d", set, n);
    dram_config *cfg = run_config(state, "step", all);
    if (dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK || dram_session_start(&s) != DRAM_OK ||
        dram_feed_open(&s.graphs, &feed) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    picture *pictures = malloc((size_t)n * sizeof *pictures);
    dram_sample samples[4];
    assert_true(pictures && n <= 4);
    for (int i = 0; i < n; i++) {
        make_picture(&pictures[i], number[i], has_label[i]);
        samples[i] = sample_of(&pictures[i]);
        o.labelled += pictures[i].labelled;
    }
    const dram_step_order order = {.kind = s.graphs.teacher_size ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP,
                                   .hyper = {1, 1, 1, 0},
                                   .loss_scale = 1,
                                   .sam_weight = 1,
                                   .labelled = dram_feed_label_pixels(samples, n)};
    read_weights(&s, &o.gradient, &o.n);
    if (dram_step_run(&s, &feed, &order, samples, n, NULL, &o.result) != DRAM_OK) fail_msg("%s", dram_error_text());
    read_weights(&s, &after, &o.n);
    for (int64_t i = 0; i < o.n; i++) o.gradient[i] -= after[i];
    free(after);
    free(pictures);
    dram_feed_close(&feed);
    dram_session_close(&s);
    dram_config_free(cfg);
    return o;
}

static double largest(const outcome *o)
{
    double most = 0;
    for (int64_t i = 0; i < o->n; i++) most = fmax(most, fabs((double)o->gradient[i]));
    return most;
}

/* Sums of fp32 in another order, over a network of 13 blocks with batch norm, and weights near 1 that hold the gradient
 * to 6e-8: 1e-4 of the largest element. */
static void assert_near(const float *have, const double *want, int64_t n, double most)
{
    int64_t compared = 0;
    assert_true(most > 0 && isfinite(most));
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)have[i] - want[i]);
        if (!(d <= 1e-4 * most)) fail_msg("element %lld: %g instead of %g", (long long)i, (double)have[i], want[i]);
        compared += want[i] != 0;
    }
    assert_true(compared > n / 2);
}

static double *widen(const outcome *o)
{
    double *wide = malloc((size_t)o->n * sizeof *wide);
    assert_non_null(wide);
    for (int64_t i = 0; i < o->n; i++) wide[i] = (double)o->gradient[i];
    return wide;
}

/* An image beside itself leaves batch norm's statistics as they are: so the loss of {A, A without label} must be that
 * of {A}, for all weights, and with it its gradient. A ViT, whose only batch norms are the head's: a RegNet's last
 * statistics are over the 4 cells that an image of this size has there, and enlarge rounding a thousand times. */
static void unlabelled_images_add_nothing(void **state)
{
    static const int numbers[] = {1, 1, 1}, labels[] = {LABELLED, UNLABELLED, UNLABELLED};
    outcome alone = step_over(state, DESCENT TASK_ONLY "student.arch=vit_micro ", 1, numbers, labels);
    double *want = widen(&alone);
    for (int n = 2; n <= 3; n++) {
        outcome mixed = step_over(state, DESCENT TASK_ONLY "student.arch=vit_micro ", n, numbers, labels);
        assert_int_equal(mixed.n, alone.n);
        assert_int_equal(mixed.labelled, alone.labelled);
        /* fp32 */
        assert_true(fabs(mixed.result.loss_task - alone.result.loss_task) <= 1e-5 * alone.result.loss_task);
        assert_near(mixed.gradient, want, alone.n, largest(&alone));
        free(mixed.gradient);
    }
    free(alone.gradient);
    free(want);
}

/* With the same images the statistics are the same, and the loss is a mean over labelled pixels: those of {A, B without
 * label} and {A without label, B}, weighted by their pixels, are that of {A, B}. */
static void labelled_images_add_up(void **state)
{
    static const int numbers[] = {2, 3}, first[] = {LABELLED, UNLABELLED}, second[] = {UNLABELLED, LABELLED},
                     both[] = {LABELLED, LABELLED};
    outcome a = step_over(state, DESCENT TASK_ONLY, 2, numbers, first);
    outcome b = step_over(state, DESCENT TASK_ONLY, 2, numbers, second);
    outcome ab = step_over(state, DESCENT TASK_ONLY, 2, numbers, both);
    assert_true(a.labelled != b.labelled && a.result.loss_task != b.result.loss_task);
    assert_int_equal(ab.labelled, a.labelled + b.labelled);
    double pixels = (double)ab.labelled, of_a = (double)a.labelled / pixels, of_b = (double)b.labelled / pixels;
    double loss = of_a * a.result.loss_task + of_b * b.result.loss_task;
    assert_true(fabs(ab.result.loss_task - loss) <= 1e-5 * loss);
    double *want = widen(&ab);
    for (int64_t i = 0; i < ab.n; i++) want[i] = of_a * (double)a.gradient[i] + of_b * (double)b.gradient[i];
    assert_near(ab.gradient, want, ab.n, largest(&ab));
    free(a.gradient);
    free(b.gradient);
    free(ab.gradient);
    free(want);
}

/* The embedding's loss and that of resolution do not know of labels; without any label the task's loss is 0 and the
 * rest is as it is without a task. */
static void the_embedding_sees_all(void **state)
{
    static const int numbers[] = {4, 5}, both[] = {LABELLED, LABELLED}, mixed[] = {UNLABELLED, LABELLED},
                     none[] = {UNLABELLED, UNLABELLED};
    outcome full = step_over(state, DESCENT, 2, numbers, both), part = step_over(state, DESCENT, 2, numbers, mixed);
    outcome bare = step_over(state, DESCENT, 2, numbers, none);
    assert_true(full.result.loss_sam == part.result.loss_sam && part.result.loss_sam == bare.result.loss_sam);
    assert_true(full.result.loss_resolution == bare.result.loss_resolution);
    assert_true(full.result.loss_sam > 0 && full.result.loss_task > 0 && part.result.loss_task > 0);
    assert_true(isnan(bare.result.loss_task));
    assert_int_equal(bare.labelled, 0);
    /* fp32: the weighted sum has 0 where the task was */
    double rest = bare.result.loss_sam + 0.5 * bare.result.loss_resolution;
    assert_true(fabs(bare.result.loss - rest) <= 1e-6 * rest);
    assert_true(isfinite(bare.result.grad_norm) && bare.result.grad_norm > 0);
    for (int64_t i = 0; i < bare.n; i++) assert_true(isfinite((double)bare.gradient[i]));
    /* the other image of a pair counts for the embedding whether it has a label or not */
    static const int twice[] = {5, 5};
    outcome other = step_over(state, DESCENT, 2, twice, mixed);
    assert_true(other.result.loss_sam != part.result.loss_sam);
    free(full.gradient);
    free(part.gradient);
    free(bare.gradient);
    free(other.gradient);
}

/* Whole runs: of eight scenes two have labels, and a batch is one image. */
static void runs_of_few_labels(void **state)
{
    run_order o = {.name = "few",
                   .set = "train.steps=8 train.batch_size=1 data.train.label_fraction=0.25 "
                          "resolution_distill.enabled=false"};
    run_ok(state, &o);
    int lines, without = 0;
    char *text = run_metrics(state, "few", &lines);
    assert_int_equal(lines, 8); /* one epoch */
    for (char *at = text; (at = strstr(at, "\"loss_task\":")); at++) {
        const char *value = at + strlen("\"loss_task\":");
        bool none = strncmp(value, "null,", 5) == 0;
        assert_true(none || atof(value) > 0);
        without += none;
    }
    assert_int_equal(without, 6);
    assert_null(strstr(text, "null,\"distilled\":false"));
    free(text);
    assert_true(isfinite(o.summary.final_loss) && isfinite(o.summary.eval.miou));
    run_remove(state, "few");
    /* accumulated: the micro-batches share the pixels of all */
    run_order four = {.name = "few",
                      .set = "train.steps=2 train.batch_size=4 train.accumulate=4 "
                             "data.train.label_fraction=0.25 resolution_distill.enabled=false"};
    run_ok(state, &four);
    assert_true(isfinite(four.summary.final_loss));
    run_remove(state, "few");
}

/* Which images have a label, as bits. */
static unsigned labelled(void **state, const char *set)
{
    char all[200];
    dram_dataset *train;
    unsigned bits = 0;
    snprintf(all, sizeof all, "data.train.label_fraction=0.5 %s", set);
    dram_config *cfg = run_config(state, "none", all);
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    for (int i = 0; i < SCENES; i++) bits |= (unsigned)dram_dataset_has_label(train, i) << i;
    dram_dataset_close(train);
    dram_config_free(cfg);
    return bits;
}

static void a_seed_of_their_own(void **state)
{
    unsigned one = labelled(state, "seed=1"), two = labelled(state, "seed=2");
    assert_true(one != two);
    assert_int_equal(labelled(state, "seed=2 data.train.label_seed=1"), one);
    assert_int_equal(labelled(state, "seed=1 data.train.label_seed=2"), two);
}

static void no_label_at_all(void **state)
{
    run_order o = {.name = "none", .set = "data.train.label_fraction=0.01"};
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.train.label_fraction: 0.01 of the labels of 8 images is not one label");
    char set[5000];
    assert_int_equal(mkdir(in_dir(state, "nolabels"), 0777), 0);
    snprintf(set, sizeof set, "data.labels_optional=true data.train.labels=%.4300s", in_dir(state, "nolabels"));
    o.set = set;
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.train.labels: none of the 8 images has a label");
    snprintf(set, sizeof set, "data.train.labels=%.4300s", in_dir(state, "nolabels"));
    run_fails(state, &o, DRAM_ERR_CONFIG, "8 of 8 images of ");
    assert_false(is_there(run_file(state, "none", "")));
    /* without the task nobody asks */
    snprintf(set, sizeof set, "train.steps=1 task.enabled=false data.train.labels=%.4300s", in_dir(state, "nolabels"));
    run_ok(state, &o);
    run_remove(state, "none");
}

static void copy_file(void **state, const char *from, const char *to)
{
    size_t bytes;
    char *data = get_file(in_dir(state, from), &bytes);
    put_file(in_dir(state, to), data, bytes);
    free(data);
}

/* mIoU over eight images of which three have labels is that over the three; the cosine is not. */
static void evaluation_leaves_them_out(void **state)
{
    static const char *const folders[] = {"part",  "part/images",  "part/labels",
                                          "three", "three/images", "three/labels"};
    char from[64], to[64], set[9400];
    for (int i = 0; i < 6; i++) assert_int_equal(mkdir(in_dir(state, folders[i]), 0777), 0);
    for (int i = 0; i < SCENES; i++) {
        for (int k = 0; k < 4; k++) { /* image or label, into part or three */
            bool label = k % 2;
            if ((label || k >= 2) && i % 3) continue;
            snprintf(from, sizeof from, "scenes/%s/%05d.%s", label ? "labels" : "images", i, label ? "png" : "jpg");
            snprintf(to, sizeof to, "%s/%s/%05d.%s", k < 2 ? "part" : "three", label ? "labels" : "images", i,
                     label ? "png" : "jpg");
            copy_file(state, from, to);
        }
    }
    run_order o = {.name = "trained", .set = "train.steps=6 optim.lr=0.01"};
    run_ok(state, &o);
    dram_eval_result result[2];
    for (int i = 0; i < 2; i++) {
        snprintf(set, sizeof set, "data.labels_optional=true data.val.images=%.4300s data.val.labels=%.4300s",
                 in_dir(state, folders[3 * i + 1]), in_dir(state, folders[3 * i + 2]));
        dram_config *cfg = run_config(state, "none", set);
        if (dram_evaluate_file(cfg, run_file(state, "trained", "student.safetensors"), NULL, NULL, NULL, &result[i]) !=
            DRAM_OK)
            fail_msg("%s", dram_error_text());
        dram_config_free(cfg);
    }
    assert_int_equal(result[0].images, 8);
    assert_int_equal(result[1].images, 3);
    assert_true(result[0].miou > 0 && result[0].miou == result[1].miou);
    assert_true(result[0].pixel_accuracy == result[1].pixel_accuracy);
    for (int k = 0; k < CLASSES; k++)
        assert_true(result[0].class_iou[k] == result[1].class_iou[k] ||
                    (isnan(result[0].class_iou[k]) && isnan(result[1].class_iou[k])));
    assert_true(result[0].embedding_cosine != result[1].embedding_cosine);
    run_remove(state, "trained");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlabelled_images_add_nothing), cmocka_unit_test(labelled_images_add_up),
        cmocka_unit_test(the_embedding_sees_all),        cmocka_unit_test(runs_of_few_labels),
        cmocka_unit_test(a_seed_of_their_own),           cmocka_unit_test(no_label_at_all),
        cmocka_unit_test(evaluation_leaves_them_out),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
