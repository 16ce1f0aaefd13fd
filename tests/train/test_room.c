/* Room on the disk for what a run will save: known from the plan, asked for before the first step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "session/budget.h"
#include "session/weights.h"
#include "support/runs.h"

#define TASK_ONLY "sam_distill.enabled=false resolution_distill.enabled=false "

/* What the disk says that is free; -1: what it has. asks: how often; failing: the next one's errno. */
static int64_t free_bytes = -1;
static int asks, failing;

/* In the place of the C library's. */
int statvfs(const char *path, struct statvfs *info)
{
    asks++;
    if (failing) {
        errno = failing;
        failing = 0;
        return -1;
    }
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fstatvfs(fd, info);
    close(fd);
    if (free_bytes < 0) return result;
    info->f_frsize = 1;
    info->f_bavail = (fsblkcnt_t)free_bytes;
    return result;
}

static char warning[1000];
static int warnings;

static void hear(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING || !strstr(message, "of this disk are free")) return;
    snprintf(warning, sizeof warning, "%s", message);
    warnings++;
}

static int64_t size_of(void **state, const char *name, const char *file)
{
    struct stat info;
    if (stat(run_file(state, name, file), &info) != 0) fail_msg("%s is not there", file);
    return info.st_size;
}

/* Tensors of the checkpoint of `step`, and of the export. */
static int64_t checkpoint_bytes(void **state, const char *name, int step)
{
    static const char *const files[] = {"student", "heads", "optimizer"};
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof path, "checkpoints/step-%08d/%s.safetensors", step, files[i]);
        sum += size_of(state, name, path);
    }
    return sum;
}

static int64_t export_bytes(void **state, const char *name)
{
    return size_of(state, name, "student.safetensors") + size_of(state, name, "heads.safetensors");
}

/* Of a plan, without a file and without a start: the size that the file will have. */
static void the_plan_knows_each_file(void **state)
{
    static const char *const sets[] = {
        TASK_ONLY "train.steps=1", TASK_ONLY "train.steps=1 optim.type=sgd student.arch=vit_micro run.export=fp16",
        "train.steps=1 optim.state=int8 train.precision=bf16 run.export=bf16 sam_distill.fidelity_images=0"};
    static const char *const student[] = {"student"}, *const heads[] = {"neck", "head", "sr"},
                             *const optimizer[] = {"optimizer"};
    for (int i = 0; i < 3; i++) {
        run_order o = {.name = "sizes", .set = sets[i]};
        run_ok(state, &o);
        dram_session s;
        int64_t bytes;
        dram_config *cfg = run_config(state, "sizes", sets[i]);
        assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
        const dram_precision whole = DRAM_PRECISION_FP32;
        const struct {
            const char *file, *const *groups;
            int n;
            bool with;
            dram_precision precision;
        } cases[] = {
            {"checkpoints/step-00000001/student.safetensors", student, 1, false, whole},
            {"checkpoints/step-00000001/heads.safetensors", heads, 3, true, whole},
            {"checkpoints/step-00000001/optimizer.safetensors", optimizer, 1, false, whole},
            {"student.safetensors", student, 1, false, cfg->run.export},
            {"heads.safetensors", heads, 2, true, cfg->run.export},
        };
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            assert_int_equal(
                dram_weights_size(&s, "x", cases[k].groups, cases[k].n, cases[k].with, cases[k].precision, &bytes),
                DRAM_OK);
            if (bytes != size_of(state, "sizes", cases[k].file))
                fail_msg("%s: %lld bytes planned", cases[k].file, (long long)bytes);
        }
        dram_session_close(&s);
        dram_config_free(cfg);
        run_remove(state, "sizes");
    }
}

static void refused(void **state, run_order *o, const char *what)
{
    char has[32], text[100];
    dram_format_bytes(free_bytes, has, sizeof has);
    snprintf(text, sizeof text, "%s take ", what);
    asks = 0;
    assert_int_equal(run(state, o), DRAM_ERR_CONFIG);
    assert_int_equal(asks > 0, 1);
    if (!strstr(dram_error_text(), text)) fail_msg("%s", dram_error_text());
    snprintf(text, sizeof text, "and %s of this disk are free; make room, or set run.dir", has);
    if (!strstr(dram_error_text(), text)) fail_msg("%s", dram_error_text());
    dram_error_clear();
    assert_int_equal(o->progressed, 0);
}

/* Two checkpoints and the export, one with a checkpoint there, the export alone when all is done. */
static void what_a_run_still_needs(void **state)
{
    enum { SLACK = 256 << 10 }; /* for what is not tensors */
    static const char set[] = TASK_ONLY "train.steps=3 run.keep=1";
    run_order o = {.name = "small", .set = set};
    run_ok(state, &o);
    int64_t checkpoint = checkpoint_bytes(state, "small", 3), exported = export_bytes(state, "small");
    assert_true(checkpoint > 4 * SLACK && exported > 4 * SLACK);
    run_remove(state, "small");

    free_bytes = 2 * checkpoint + exported;
    refused(state, &o, "two checkpoints and the export");
    assert_false(is_there(run_file(state, "small", "")));
    free_bytes += SLACK;
    o.stop_at = 2;
    run_fails(state, &o, DRAM_INTERRUPTED, "2 steps are saved");

    o.resume = true;
    free_bytes = checkpoint + exported;
    refused(state, &o, "one more checkpoint and the export");
    free_bytes += SLACK;
    o.stop_at = 0;
    run_ok(state, &o);

    free_bytes = exported;
    refused(state, &o, "student and heads");
    free_bytes += SLACK;
    run_ok(state, &o);
    free_bytes = -1;
    run_remove(state, "small");
}

/* More checkpoints than two are no reason to refuse, but are said. */
static void those_that_are_kept(void **state)
{
    static const char set[] = TASK_ONLY "train.steps=2 run.keep=3 run.save_every=1";
    run_order o = {.name = "kept", .set = set};
    warnings = 0;
    run_ok(state, &o);
    assert_int_equal(warnings, 0);
    int64_t checkpoint = checkpoint_bytes(state, "kept", 2), exported = export_bytes(state, "kept");
    run_remove(state, "kept");
    free_bytes = 4 * checkpoint + exported;
    run_ok(state, &o);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warning, "3 checkpoints (run.keep), the next one beside them and the export will take "));
    run_remove(state, "kept");
    free_bytes += 1 << 20;
    run_ok(state, &o);
    assert_int_equal(warnings, 1);
    free_bytes = -1;
    run_remove(state, "kept");
}

/* The disk does not say: an error before anything is written. A signal on the way is none. */
static void a_disk_that_does_not_say(void **state)
{
    run_order o = {.name = "mute", .set = TASK_ONLY "train.steps=1"};
    failing = EIO;
    run_fails(state, &o, DRAM_ERR_IO, "runs/mute: cannot ask how much of this disk is free: Input/output error");
    assert_false(is_there(run_file(state, "mute", "")));
    failing = EINTR;
    run_ok(state, &o);
    assert_int_equal(failing, 0);
    run_remove(state, "mute");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_knows_each_file),
        cmocka_unit_test(what_a_run_still_needs),
        cmocka_unit_test(those_that_are_kept),
        cmocka_unit_test(a_disk_that_does_not_say),
    };
    dram_log_set_sink(hear, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
