/* The embedding losses in a run: a student that is its teacher has nothing to learn, every loss teaches, and whatever
 * is learned by, it is evaluated by the same numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "evaluate/eval_file.h"
#include "session/budget.h"
#include "session/weights.h"
#include "support/runs.h"

#define DISTIL_ONLY "task.enabled=false resolution_distill.enabled=false data.val.labels=none "

#ifdef DRAM_SANITIZED /* some of the runs */
enum { SKIP = 2 };
#else
enum { SKIP = 0 };
#endif

static void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

/* A vit_micro with the weights that teacher.seed draws, in a file. */
static const char *teacher_file(void **state)
{
    static const char *const group = "teacher";
    const char *file = in_dir(state, "teacher.safetensors");
    dram_session s;
    if (is_there(file)) return file;
    dram_config *cfg = run_config(state, "none", DISTIL_ONLY);
    ok(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s));
    ok(dram_session_start(&s));
    ok(dram_weights_save(&s, file, &group, 1, false, DRAM_PRECISION_FP32));
    dram_session_close(&s);
    dram_config_free(cfg);
    return file;
}

/* loss_sam of the first and the last step of a run, which is then removed. */
static void losses(void **state, const char *name, const char *set, double *first, double *last)
{
    static const char key[] = "\"loss_sam\":";
    run_order o = {.name = name, .set = set};
    int lines;
    run_ok(state, &o);
    char *text = run_metrics(state, name, &lines), *at = strstr(text, key);
    assert_true(lines >= 1 && at);
    *first = atof(at + strlen(key));
    for (char *next = at; next; next = strstr(next + 1, key)) at = next;
    *last = atof(at + strlen(key));
    free(text);
    run_remove(state, name);
}

/* The student's ViT from the teacher's file, at the teacher's size and in its precision: the images, the weights as
 * they are stored and every kernel are the same, and so is every bit of the two embeddings. */
static void self_distillation_is_exactly_zero(void **state)
{
    static const char *const precisions[] = {"fp32", "bf16"};
    static const char *const types[] = {"mse", "huber", "cwd", "mse sam_distill.loss.standardize=true"};
    char set[9400];
    const char *file = teacher_file(state);
    double first, last;
    for (size_t p = 0; p < 2; p++)
        for (size_t t = p * SKIP; t < 4; t++) {
            snprintf(set, sizeof set,
                     DISTIL_ONLY "student.arch=vit_micro student.weights=%.4000s sam_distill.teacher.weights=%.4000s "
                                 "train.precision=%s sam_distill.teacher.precision=%s train.steps=1 "
                                 "sam_distill.loss.type=%s",
                     file, file, precisions[p], precisions[p], types[t]);
            losses(state, "self", set, &first, &last);
            if (first != 0) fail_msg("%s, %s: a loss of %g", precisions[p], types[t], first);
        }
    /* the number is not 0 by itself: another teacher, and the same one rounded another way */
    snprintf(set, sizeof set,
             DISTIL_ONLY "student.arch=vit_micro student.weights=%.4000s sam_distill.teacher.seed=2 train.steps=1",
             file);
    losses(state, "self", set, &first, &last);
    assert_true(first > 0.1);
    snprintf(set, sizeof set,
             DISTIL_ONLY "student.arch=vit_micro student.weights=%.4000s sam_distill.teacher.weights=%.4000s "
                         "sam_distill.teacher.precision=bf16 train.steps=1",
             file, file);
    losses(state, "self", set, &first, &last);
    assert_true(first > 0 && first < 0.01);
}

/* A few steps over few scenes bring each down. */
static void every_loss_teaches(void **state)
{
    static const char *const types[] = {
        "mse",
        "cosine",
        "huber",
        "cwd",
        "cwd sam_distill.loss.temperature=4",
        "mse sam_distill.loss.standardize=true",
        "cwd sam_distill.loss.standardize=true train.precision=bf16",
        "mse sam_distill.loss.add.cosine=0.5 sam_distill.loss.add.cwd=2 sam_distill.loss.add.huber=1",
    };
    for (size_t i = 3 * SKIP; i < sizeof types / sizeof types[0]; i += 1 + SKIP) {
        char set[600];
        double first, last;
        snprintf(set, sizeof set,
                 DISTIL_ONLY "train.steps=12 train.batch_size=4 data.augment.crop=false data.augment.color_jitter=0 "
                             "data.augment.flip=0 optim.schedule=constant sam_distill.loss.type=%s",
                 types[i]);
        losses(state, "taught", set, &first, &last);
        print_message("%s: %g to %g\n", types[i], first, last);
        if (!(last < 0.9 * first)) fail_msg("%s: %g to %g", types[i], first, last);
    }
}

/* The weighted sum in a run is that of the terms as they are alone, on the same weights and images. */
static void terms_add_up_in_a_run(void **state)
{
    static const char *const types[] = {"mse", "cosine", "huber", "cwd"};
    static const double weights[] = {1, 0.5, 1, 2};
    double want = 0, got, last;
    for (int i = 0; i < 4; i++) {
        char set[300];
        double loss;
        snprintf(set, sizeof set, DISTIL_ONLY "train.steps=1 sam_distill.loss.type=%s", types[i]);
        losses(state, "term", set, &loss, &last);
        want += weights[i] * loss;
    }
    losses(state, "terms",
           DISTIL_ONLY "train.steps=1 sam_distill.loss.type=mse sam_distill.loss.add.cosine=0.5 "
                       "sam_distill.loss.add.huber=1 sam_distill.loss.add.cwd=2",
           &got, &last);
    /* one rounding of fp32, and what the digits of metrics.jsonl leave out */
    if (!(fabs(got - want) <= 1e-6 * want)) fail_msg("%.9g instead of %.9g", got, want);
}

/* The student stays in the teacher's units, and the evaluation does not know what it was taught by. */
static void evaluation_stays_raw(void **state)
{
    static const char *const sets[] = {"", "sam_distill.loss.type=cwd sam_distill.loss.standardize=true",
                                       "sam_distill.loss.type=huber sam_distill.loss.add.mse=3"};
    run_order o = {.name = "raw", .set = DISTIL_ONLY "train.steps=2"};
    run_ok(state, &o);
    assert_true(o.summary.eval.embedding_mse > 0);
    for (int i = 0; i < 3; i++) {
        char set[300];
        dram_eval_result result;
        snprintf(set, sizeof set, DISTIL_ONLY "train.steps=2 %s", sets[i]);
        dram_config *cfg = run_config(state, "raw", set);
        ok(dram_evaluate_file(cfg, run_file(state, "raw", "student.safetensors"), NULL, NULL, NULL, &result));
        assert_true(result.embedding_mse == o.summary.eval.embedding_mse);
        assert_true(result.embedding_cosine == o.summary.eval.embedding_cosine);
        dram_config_free(cfg);
    }
    run_remove(state, "raw");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_distillation_is_exactly_zero),
        cmocka_unit_test(every_loss_teaches),
        cmocka_unit_test(terms_add_up_in_a_run),
        cmocka_unit_test(evaluation_stays_raw),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
