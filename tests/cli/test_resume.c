/* dram train --resume and --resume=step-N, from a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

#define TASK "sam_distill.enabled=false device=cpu "
#define RUN                                                                                                            \
    "train run.yaml " TASK "run.save_every=1 run.keep=9 run.eval_every=0 data.val.images=none data.val.labels=none "

static int setup(void **state)
{
    if (dram_setup(state, 4) != 0) return -1;
    dram_ok(state, RUN);
    return 0;
}

static void shell(void **state, const char *command)
{
    char text[1000];
    snprintf(text, sizeof text, "cd '%s' && %s", (const char *)*state, command);
    if (system(text) != 0) fail_msg("%s", command);
}

static void expect(const char *text)
{
    if (!strstr(complained, text)) fail_msg("\"%s\" is not in: %s", text, complained);
}

static void a_damaged_checkpoint(void **state)
{
    shell(state, "printf '\\377' | dd of=runs/net/checkpoints/step-00000003/optimizer.safetensors bs=1 seek=9999 "
                 "conv=notrunc 2>/dev/null");
    dram_fails(state, RUN "--resume train.steps=4", 2,
               "dram: runs/net/checkpoints/step-00000003/optimizer.safetensors: damaged: its bytes are not those that "
               "were saved; the newest sound checkpoint is step-00000002: --resume=step-2 goes on from it\n");
    dram_ok(state, RUN "--resume=step-2 train.steps=4 optim.lr=5e-4");
    expect("\nwarning: optim.lr: 0.001 -> 0.0005\n");
    expect("the checkpoint of step 3 is kept as runs/net/checkpoints/step-00000003.before\n");
    expect("runs/net/config.step-00000002.yaml: the config from step 2 on; those before it stay as they are\n");
    shell(state, "test -e runs/net/checkpoints/step-00000004 && test $(wc -l < runs/net/metrics.jsonl) = 4");
    dram_ok(state, RUN "--resume=00000003 train.steps=3 optim.lr=5e-4");
    expect("the checkpoint of step 4 is kept as ");
}

static void what_is_refused(void **state)
{
    static const char *const steps[] = {"step-", "step-0", "4x", "", "-4", "step-99999999999999999", "latest"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char args[300];
        snprintf(args, sizeof args, RUN "--resume=%s", steps[i]);
        dram_fails(state, args, 2, ": a checkpoint is named by its step, as in --resume=step-400\n");
    }
    dram_fails(state, RUN "--resume=step-77", 2,
               "there is no checkpoint of step 77; there are step-1, step-2, step-3\n");
    dram_fails(state, RUN "--resume seed=7", 2,
               "dram: command line: seed: 1 -> 7: a run keeps its student, classes, seed, kind of optimiser and "
               "resolution_distill.target; ");
    dram_fails(state, RUN "--json=yes", 2, "train: --json takes no value");
    assert_int_equal(dram(state, "train --help"), 0);
    assert_non_null(strstr(printed, "\n  --resume[=step-N]    go on from the newest checkpoint of this run, or from "));
    assert_non_null(strstr(printed, "\n  --json               print "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_checkpoint),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
