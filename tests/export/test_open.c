/* What is exported: runs, checkpoints and files, and those that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/export.h"
#include "export/weights.h"
#include "session/slot_floats.h"

enum { CLASSES = 3 };

static const char config[] = "student: {arch: regnetx_002}\n"
                             "data: {size: 96, classes: 3}\n"
                             "task: {enabled: true}\n"
                             "sam_distill: {enabled: false}\n"
                             "train: {steps: 5}\n";

static void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

/* A run's folder that came to its last step, 5, as far as an export looks: its checkpoint is empty. */
static void write_run(void **state, const char *name)
{
    char checkpoint[128];
    write_student(state, name, "regnetx_002", CLASSES);
    put_text(student_path(state, name, "config.yaml"), config);
    put_text(student_path(state, name, "summary.json"), "{\"steps\": 5, \"exit\": 0, \"eval\": null}");
    assert_int_equal(mkdir(student_path(state, name, "checkpoints"), 0777), 0);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoints", name);
    assert_int_equal(mkdir(student_path(state, checkpoint, "step-00000005"), 0777), 0);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoints/step-00000005", name);
    put_text(student_path(state, checkpoint, "state.json"), "{}");
}

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    write_run(state, "run");
    put_text(in_dir(state, "x.yaml"), config);
    return 0;
}

static void refuses(const char *from, const char *with, int size, dram_status want, const char *text)
{
    dram_export e;
    const dram_export_request request = {.from = from, .config = with, .size = size};
    dram_status status = dram_export_open(&request, &e);
    dram_export_close(&e);
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* ---- what can be exported ---- */

static void assert_holds_weights(const dram_export *e)
{
    static const char *const groups[] = {"student", "neck", "head"};
    dram_session *s = (dram_session *)(uintptr_t)&e->session;
    int seen = 0;
    for (int i = 0; i < s->graphs.slots.n; i++) {
        const dram_slot *slot = s->graphs.slots.at[i];
        float first;
        bool known = false;
        for (int k = 0; k < 3; k++) known |= strcmp(slot->group, groups[k]) == 0;
        assert_true(known); /* no teacher, no optimiser */
        ok(dram_slot_read_floats(s, i, 0, 1, &first));
        assert_true(first != 0);
        seen++;
    }
    assert_true(seen > 100);
}

static void a_run_is_opened(void **state)
{
    dram_export e;
    const dram_export_request request = {.from = in_dir(state, "run")};
    ok(dram_export_open(&request, &e));
    assert_string_equal(e.arch->name, "regnetx_002");
    assert_string_equal(e.run, request.from);
    assert_true(e.has_config && e.neck && e.head);
    assert_int_equal(e.size, 96);
    assert_int_equal(e.grid, 6);
    assert_int_equal(e.classes, CLASSES);
    assert_true(e.mean[0] == 123.675f && e.std[2] == 57.375f);
    assert_int_equal(strlen(e.weights_hash), 32);
    assert_int_equal(strlen(e.heads_hash), 32);
    assert_true(e.io->tap[4] != DRAM_NONE && e.io->student_embedding != DRAM_NONE && e.io->logits != DRAM_NONE);
    assert_holds_weights(&e);
    /* The weights once, and nothing to run in. */
    assert_int_equal(e.session.plan->arena_bytes, e.session.plan->slots_bytes);
    dram_export_close(&e);
}

/* With a size of its own, and the newest config of a run that went on with another. */
static void size_is_that_asked_for(void **state)
{
    dram_export e;
    char newer[400];
    dram_export_request request = {.from = in_dir(state, "run"), .size = 160};
    ok(dram_export_open(&request, &e));
    assert_int_equal(e.size, 160);
    assert_int_equal(e.grid, 10);
    dram_export_close(&e);
    snprintf(newer, sizeof newer, "%s", config);
    memcpy(strstr(newer, "96"), "64", 2);
    put_text(in_dir(state, "run/config.step-00000002.yaml"), newer);
    request.size = 0;
    ok(dram_export_open(&request, &e));
    assert_int_equal(e.size, 64);
    dram_export_close(&e);
    assert_int_equal(remove(in_dir(state, "run/config.step-00000002.yaml")), 0);
}

static void a_checkpoint_is_opened(void **state)
{
    dram_export e;
    write_student(state, "step-00000003", "regnetx_002", CLASSES);
    put_text(in_dir(state, "step-00000003/config.yaml"), config);
    put_text(in_dir(state, "step-00000003/state.json"), "{}");
    const dram_export_request request = {.from = in_dir(state, "step-00000003")};
    ok(dram_export_open(&request, &e));
    assert_int_equal(e.size, 96);
    assert_holds_weights(&e);
    dram_export_close(&e);
}

/* Without a config the file says which network it is, and that of the heads how many classes there are. */
static void a_file_alone_is_told(void **state)
{
    dram_export e;
    dram_export_request request = {.from = in_dir(state, "run/student.safetensors")};
    ok(dram_export_open(&request, &e));
    assert_string_equal(e.arch->name, "regnetx_002");
    assert_null(e.run);
    assert_false(e.has_config);
    assert_int_equal(e.size, 512);
    assert_int_equal(e.classes, CLASSES);
    dram_export_close(&e);
    write_student(state, "vit", "vit_micro", 5);
    request.from = in_dir(state, "vit/student.safetensors");
    ok(dram_export_open(&request, &e));
    assert_string_equal(e.arch->name, "vit_micro");
    assert_int_equal(e.size, 256); /* its own */
    assert_int_equal(e.classes, 5);
    dram_export_close(&e);
    assert_int_equal(remove(in_dir(state, "vit/heads.safetensors")), 0);
    ok(dram_export_open(&request, &e));
    assert_true(e.neck && !e.head); /* its embedding is the trunk's */
    assert_null(e.heads);
    dram_export_close(&e);
}

static void a_file_has_its_config(void **state)
{
    dram_export e;
    const dram_export_request request = {.from = in_dir(state, "run/student.safetensors"),
                                         .config = in_dir(state, "x.yaml")};
    ok(dram_export_open(&request, &e));
    assert_true(e.has_config);
    assert_int_equal(e.size, 96);
    dram_export_close(&e);
}

/* ---- what cannot ---- */

static void runs_that_did_not_finish_are_refused(void **state)
{
    write_run(state, "early");
    put_text(in_dir(state, "early/summary.json"),
             "{\"steps\": 4, \"exit\": 0, \"eval\": null}"); /* the run has gone on since */
    refuses(in_dir(state, "early"), NULL, 0, DRAM_ERR_CONFIG, "export its last checkpoint, ");
    put_text(in_dir(state, "early/summary.json"), "{\"steps\": 5, \"exit\": 130, \"eval\": null}");
    refuses(in_dir(state, "early"), NULL, 0, DRAM_ERR_CONFIG, "early/checkpoints/step-00000005");
    assert_int_equal(remove(in_dir(state, "early/summary.json")), 0);
    assert_int_equal(remove(in_dir(state, "early/student.safetensors")), 0);
    refuses(in_dir(state, "early"), NULL, 0, DRAM_ERR_CONFIG, "this run has not come to its end; `dram train`");
    assert_int_equal(remove(in_dir(state, "early/checkpoints/step-00000005/state.json")), 0);
    refuses(in_dir(state, "early"), NULL, 0, DRAM_ERR_CONFIG, "not come to its end, nor to a checkpoint");
}

static void what_is_no_run_is_refused(void **state)
{
    refuses(in_dir(state, "nothing"), NULL, 0, DRAM_ERR_CONFIG, "there is no such run or file");
    assert_int_equal(mkdir(in_dir(state, "empty"), 0777), 0);
    refuses(in_dir(state, "empty"), NULL, 0, DRAM_ERR_CONFIG, "no run's folder, for it has no config.yaml");
    refuses(in_dir(state, "x.yaml"), NULL, 0, DRAM_ERR_FORMAT, "x.yaml");
    refuses(in_dir(state, "run/heads.safetensors"), NULL, 0, DRAM_ERR_FORMAT, "it holds no network that dram knows");
    refuses(in_dir(state, "run"), in_dir(state, "x.yaml"), 0, DRAM_ERR_CONFIG, "a run has its own config; leave");
    refuses(in_dir(state, "run/student.safetensors"), in_dir(state, "no.yaml"), 0, DRAM_ERR_CONFIG, "no.yaml");
}

static void weights_of_another_network_are_refused(void **state)
{
    put_text(in_dir(state, "other.yaml"), "student: {arch: regnety_004}\n");
    refuses(in_dir(state, "run/student.safetensors"), in_dir(state, "other.yaml"), 0, DRAM_ERR_FORMAT,
            "does not hold the weights of regnety_004: it is a file of regnetx_002");
    put_text(in_dir(state, "other.yaml"), "student: {arch: regnet}\n");
    refuses(in_dir(state, "run/student.safetensors"), in_dir(state, "other.yaml"), 0, DRAM_ERR_CONFIG,
            "unknown architecture \"regnet\"");
    put_text(in_dir(state, "other.yaml"), "student: {arch: regnetx_002}\ndata: {classes: 4}\ntask: {enabled: true}\n");
    refuses(in_dir(state, "run/student.safetensors"), in_dir(state, "other.yaml"), 0, DRAM_ERR_FORMAT,
            "2 misshapen: head.classifier.");
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    refuses(in_dir(state, "run"), NULL, 100, DRAM_ERR_CONFIG, "data.size");
    refuses(in_dir(state, "run"), NULL, 16, DRAM_ERR_CONFIG, "from 32 to 8192");
    refuses(in_dir(state, "run"), NULL, 1 << 20, DRAM_ERR_CONFIG, "from 32 to 8192");
}

static void what_is_there_is_not_replaced(void **state)
{
    assert_int_equal(dram_export_check_target("--onnx", in_dir(state, "new.onnx")), DRAM_OK);
    assert_int_equal(dram_export_check_target("--onnx", in_dir(state, "x.yaml")), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "--onnx"));
    assert_non_null(strstr(dram_error_text(), "it is there already"));
    dram_error_clear();
    assert_int_equal(dram_export_check_target("--timm", in_dir(state, "run")), DRAM_ERR_CONFIG);
    dram_error_clear();
    assert_int_equal(dram_export_check_target("--onnx", in_dir(state, "nowhere/new.onnx")), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "there is no folder"));
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_opened),
        cmocka_unit_test(size_is_that_asked_for),
        cmocka_unit_test(a_checkpoint_is_opened),
        cmocka_unit_test(a_file_alone_is_told),
        cmocka_unit_test(a_file_has_its_config),
        cmocka_unit_test(runs_that_did_not_finish_are_refused),
        cmocka_unit_test(what_is_no_run_is_refused),
        cmocka_unit_test(weights_of_another_network_are_refused),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(what_is_there_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
