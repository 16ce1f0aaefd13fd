/* A teacher of one's own: a ViT trained on labels is one, and a RegNet is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "evaluate/eval_file.h"
#include "support/runs.h"

#define ON_LABELS "train.steps=2 sam_distill.enabled=false resolution_distill.enabled=false "

static const char *taught_by(const char *file, const char *more)
{
    static char set[5000];
    snprintf(set, sizeof set, "train.steps=2 sam_distill.teacher.weights=%.4300s %s", file, more);
    return set;
}

static void a_trained_vit_is_a_teacher(void **state)
{
    run_order teacher = {.name = "teacher", .set = ON_LABELS "student.arch=vit_micro"};
    run_ok(state, &teacher);
    assert_true(isfinite(teacher.summary.final_loss) && isfinite(teacher.summary.eval.miou));
    assert_true(isnan(teacher.summary.eval.embedding_cosine));
    const char *file = run_file(state, "teacher", "student.safetensors");

    run_order taught = {.name = "taught", .set = taught_by(file, "")}, drawn = {.name = "drawn"};
    run_ok(state, &taught);
    drawn.set = "train.steps=2";
    run_ok(state, &drawn);
    /* it is these weights that teach */
    assert_true(taught.summary.eval.embedding_cosine != drawn.summary.eval.embedding_cosine);
    /* a student that is the teacher, at its size, has its embedding to the bit */
    char set[9400];
    snprintf(set, sizeof set, "student.arch=vit_micro sam_distill.teacher.weights=%.4300s", file);
    dram_eval_result result;
    dram_config *cfg = run_config(state, "none", set);
    if (dram_evaluate_file(cfg, file, NULL, NULL, NULL, &result) != DRAM_OK) fail_msg("%s", dram_error_text());
    dram_config_free(cfg);
    assert_true(result.embedding_mse == 0);
    assert_true(result.miou == teacher.summary.eval.miou);
    run_remove(state, "taught");
    run_remove(state, "drawn");
}

static void what_is_no_teacher_is_named(void **state)
{
    run_order student = {.name = "student", .set = ON_LABELS "student.arch=regnety_002"}, o = {.name = "refused"};
    run_ok(state, &student);
    o.set = taught_by(run_file(state, "student", "student.safetensors"), "");
    run_fails(state, &o, DRAM_ERR_FORMAT,
              "student.safetensors does not hold the weights of vit_micro: it is a file of regnety_002, which is no "
              "teacher: only SAM encoders (vit_...) are");
    run_fails(state, &o, DRAM_ERR_FORMAT, "command line: sam_distill.teacher.weights: ");
    o.set = taught_by(run_file(state, "teacher", "student.safetensors"), "sam_distill.teacher.model_type=vit_tiny");
    run_fails(state, &o, DRAM_ERR_FORMAT, "does not hold the weights of vit_tiny: it is a file of vit_micro; ");
    o.set = taught_by(run_file(state, "teacher", "heads.safetensors"), "");
    run_fails(state, &o, DRAM_ERR_FORMAT, "does not hold the weights of vit_micro; ");
    o.set = taught_by("random", "sam_distill.teacher.model_type=regnety_002");
    run_fails(state, &o, DRAM_ERR_CONFIG, "regnety_002 is no SAM encoder");
    assert_false(is_there(run_file(state, "refused", "")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trained_vit_is_a_teacher),
        cmocka_unit_test(what_is_no_teacher_is_named),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
