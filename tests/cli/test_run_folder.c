/* The folder of a run: one process writes it, nothing of others is touched, and a damaged log keeps no run from going
 * on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

static int setup(void **state)
{
    return dram_setup(state, 4);
}

static void shell(void **state, const char *command)
{
    char text[6000];
    snprintf(text, sizeof text, "cd '%s' && %s", (const char *)*state, command);
    if (system(text) != 0) fail_msg("%s", command);
}

/* Starts a run and stops the process once it holds the run's lock. */
static pid_t start_and_stop(void **state, const char *args, const char *lock)
{
    const struct timespec moment = {.tv_nsec = 2 * 1000 * 1000};
    char want[64];
    int how, out = open_output(state, "first.txt");
    pid_t child = dram_start(state, args, out, out);
    close(out);
    snprintf(want, sizeof want, "process %ld on host ", (long)child);
    for (;;) {
        char *text = is_there(in_dir(state, lock)) ? get_file(in_dir(state, lock), NULL) : NULL;
        bool held = text && strstr(text, want);
        free(text);
        if (held) break;
        if (waitpid(child, &how, WNOHANG) != 0) fail_msg("dram %s ended early", args);
        nanosleep(&moment, NULL);
    }
    assert_int_equal(kill(child, SIGSTOP), 0);
    assert_int_equal(waitpid(child, &how, WUNTRACED), child);
    assert_true(WIFSTOPPED(how));
    return child;
}

/* Whoever comes second is told who is there. */
static void refused(void **state, const char *name, pid_t owner)
{
    char args[200], want[200];
    snprintf(want, sizeof want, "dram: runs/%s: process %ld on host ", name, (long)owner);
    for (int i = 0; i < 3; i++) {
        snprintf(args, sizeof args, "train run.yaml name=%s%s%s", name, i ? " --resume" : "",
                 i == 2 ? " train.steps=40" : "");
        dram_fails(state, args, 2, want);
        assert_non_null(
            strstr(complained, " is training in this run: wait until it has ended, or choose another name"));
    }
}

static void expect_same_run(void **state, const char *other)
{
    char command[700];
    snprintf(command, sizeof command,
             "for f in student.safetensors heads.safetensors evaluations.jsonl checkpoints; do "
             "diff -r runs/whole/$f runs/%s/$f || exit 1; done; cut -d, -f1-8 runs/whole/metrics.jsonl > a; "
             "cut -d, -f1-8 runs/%s/metrics.jsonl > b; test -s a && diff a b && test $(wc -l < a) = 8",
             other, other);
    shell(state, command);
    snprintf(command, sizeof command, "test ! -e runs/%s/lock && test -z \"$(find runs/%s -name '.dram-tmp-*')\"",
             other, other);
    shell(state, command);
}

#define LONGER "train.steps=8 run.save_every=1 run.keep=9 run.eval_every=4 device=cpu"

static void two_processes_on_one_run(void **state)
{
    dram_ok(state, "train run.yaml name=whole " LONGER);
    pid_t first = start_and_stop(state, "train run.yaml name=both " LONGER, "runs/both/lock");
    refused(state, "both", first);
    shell(state, "touch runs/both/mine.tmp runs/both/checkpoints/mine.tmp runs/both/.dram-tmp-1-1");
    refused(state, "both", first);
    shell(state, "test -e runs/both/.dram-tmp-1-1 && rm runs/both/.dram-tmp-1-1");
    assert_int_equal(kill(first, SIGCONT), 0);
    assert_int_equal(dram_wait(first), 0);
    shell(state, "rm runs/both/mine.tmp runs/both/checkpoints/mine.tmp");
    expect_same_run(state, "both");
}

/* The lock of a process that was killed is free, and what it left half-written goes. */
static void a_dead_owner(void **state)
{
    int how;
    pid_t first = start_and_stop(state, "train run.yaml name=dead " LONGER, "runs/dead/lock");
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(waitpid(first, &how, 0), first);
    shell(state, "test -e runs/dead/lock && mkdir -p runs/dead/checkpoints/.dram-tmp-1-1/in && "
                 "touch runs/dead/.dram-tmp-1-2 runs/dead/mine.tmp");
    first = start_and_stop(state, "train run.yaml name=dead --resume " LONGER, "runs/dead/lock");
    refused(state, "dead", first);
    assert_int_equal(kill(first, SIGCONT), 0);
    assert_int_equal(dram_wait(first), 0);
    shell(state, "rm runs/dead/mine.tmp");
    expect_same_run(state, "dead");
}

/* A refusal leaves no lock, and a folder that it may not write to is said. */
static void the_lock_goes_with_every_end(void **state)
{
    dram_ok(state, "train run.yaml name=ends device=cpu");
    assert_false(is_there(in_dir(state, "runs/ends/lock")));
    assert_int_equal(dram(state, "train run.yaml name=ends --resume student.weights=run.yaml device=cpu"), 2);
    assert_false(is_there(in_dir(state, "runs/ends/lock")));
    assert_int_equal(dram(state, "train run.yaml name=ends --resume memory.budget=1MiB device=cpu"), 3);
    assert_false(is_there(in_dir(state, "runs/ends/lock")));
    put_file(in_dir(state, "runs/ends/lock"), "the user's", 10);
    dram_fails(state, "train run.yaml name=ends --resume device=cpu", 2,
               "runs/ends/lock: the lock of this run would take the place of what is no lock of dram's");
    assert_file_is(in_dir(state, "runs/ends/lock"), "the user's", 10);
}

/* Whatever is linked is as it was. What is written whole takes the link's place, a log is not written, nor is the config
 * that a run began with. */
static void links_in_place_of_files(void **state)
{
    static const char *const logs[] = {"metrics.jsonl", "evaluations.jsonl", "memory.jsonl"};
    char command[500], want[200];
    dram_ok(state, "train run.yaml name=linked device=cpu");
    shell(state, "mkdir out && cp runs/linked/config.yaml out/ && echo mine > out/file && cp -r out kept && "
                 "cd runs/linked && ln -sf ../../out/config.yaml config.yaml && "
                 "for f in summary.json student.safetensors; do ln -sf ../../out/file $f; done && "
                 "ln -sf ../../out/gone heads.safetensors && ln -s ../../../out checkpoints/step-00000004.tmp && "
                 "ln -s ../../out .dram-tmp-1-1 && ln -s ../../out/file .dram-tmp-1-2");
    dram_ok(state, "train run.yaml name=linked --resume train.steps=4 device=cpu");
    shell(state, "diff -r out kept && cd runs/linked && "
                 "for f in config.step-00000003.yaml summary.json student.safetensors heads.safetensors; do "
                 "test -s $f && test ! -L $f || exit 1; done; test -L config.yaml && test ! -L .dram-tmp-1-1 && test ! -L .dram-tmp-1-2");
    for (int i = 0; i < 3; i++)
        for (int dangling = 0; dangling < 2; dangling++) {
            snprintf(command, sizeof command, "cd runs/linked && mv %s aside && ln -s ../../out/%s %s", logs[i],
                     dangling ? "gone" : "file", logs[i]);
            shell(state, command);
            snprintf(want, sizeof want, "dram: runs/linked/%s: cannot open: a link, and dram writes through none",
                     logs[i]);
            assert_int_equal(dram(state, "train run.yaml name=linked --resume train.steps=5 device=cpu"), 1);
            if (!strstr(complained, want)) fail_msg("\"%s\" is not in: %s", want, complained);
            snprintf(command, sizeof command, "diff -r out kept && cd runs/linked && mv aside %s", logs[i]);
            shell(state, command);
        }
    shell(state, "mv runs/linked/checkpoints out/ && ln -s ../../out/checkpoints runs/linked/checkpoints");
    assert_int_equal(dram(state, "train run.yaml name=linked --resume train.steps=5 device=cpu"), 2);
    assert_non_null(strstr(complained, "runs/linked/checkpoints: a link, and dram writes through none within a run"));
}

static void plans_are_not_written_through_links(void **state)
{
    char args[100];
    for (int i = 0; i < 2; i++) {
        const char *option = i ? "--dump" : "--svg";
        put_file(in_dir(state, "theirs"), "theirs", 6);
        shell(state, "ln -sf theirs plan.out");
        snprintf(args, sizeof args, "plan run.yaml device=cpu %s plan.out", option);
        assert_int_equal(dram(state, args), 2);
        assert_non_null(strstr(complained, "plan.out cannot be written: a link, and dram writes through none"));
        assert_file_is(in_dir(state, "theirs"), "theirs", 6);
        shell(state, "ln -sf nowhere plan.out");
        assert_int_equal(dram(state, args), 2);
        assert_false(is_there(in_dir(state, "nowhere")));
        shell(state, "rm plan.out");
    }
    /* A link of the system's, to the pipe. */
    shell(state, DRAM_PROGRAM " plan run.yaml device=cpu --svg /dev/stdout | grep -q '<svg'");
}

/* Resumes a copy of a run whose files a command has damaged. */
static void resume_damaged(void **state, const char *command, int code, const char *want)
{
    shell(state, "rm -rf runs/hurt && cp -r runs/sound runs/hurt");
    char text[800];
    snprintf(text, sizeof text, "cd runs/hurt && %s", command);
    shell(state, text);
    int got = dram(state, "train run.yaml name=hurt --resume train.steps=6 run.eval_every=2 device=cpu");
    if (got != code || !strstr(complained, want))
        fail_msg("%s: exit code %d, \"%s\" is not in: %s", command, got, want, complained);
}

/* How many lines a log has of each of its steps, as "0 1 2 3 4 5 ". */
static void expect_steps(void **state, const char *log, const char *steps)
{
    char command[300];
    snprintf(command, sizeof command,
             "test \"$(sed 's/.*\"step\":\\([0-9]*\\).*/\\1/' runs/hurt/%s | tr '\\n' ' ')\" = '%s'", log, steps);
    shell(state, command);
}

static void damaged_logs_are_mended(void **state)
{
#define DAMAGED(LINE, WHY) "hurt/metrics.jsonl:" LINE ": this line is damaged (" WHY "); it is left out\n"
#define NO_OBJECT "not an object with a step"
    static const struct {
        const char *command, *said, *steps;
    } cases[] = {
        {"printf '{\"step\":3,\"lo' >> metrics.jsonl", DAMAGED("5", NO_OBJECT), "0 1 2 3 4 5 "},
        {"sed -i '2s/.*/garbage/' metrics.jsonl", DAMAGED("2", NO_OBJECT), "0 2 3 4 5 "},
        {"sed -i '2s/,/\\x00/' metrics.jsonl", DAMAGED("2", "a NUL in it"), "0 2 3 4 5 "},
        {"sed -i '4s/\"step\":3/\"step\":1/' metrics.jsonl", DAMAGED("4", "its step is out of order"), "0 1 2 4 5 "},
        {"sed -i 's/$/\\r/' metrics.jsonl", "", "0 1 2 3 4 5 "},
        {"rm metrics.jsonl", "", "4 5 "},
        {"printf '\\n\\n' >> metrics.jsonl",
         "hurt/metrics.jsonl:5: this line is damaged (" NO_OBJECT "); it is left out, as 1 of the lines after it\n",
         "0 1 2 3 4 5 "},
    };
    dram_ok(state, "train run.yaml name=sound train.steps=4 run.eval_every=2 device=cpu");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        resume_damaged(state, cases[i].command, 0, cases[i].said);
        expect_steps(state, "metrics.jsonl", cases[i].steps);
        const char *first = strstr(complained, "is damaged");
        assert_true(first ? !strstr(first + 1, "is damaged") && *cases[i].said : !*cases[i].said);
    }
    resume_damaged(state, "sed -i '1s/^./x/' evaluations.jsonl", 0, "hurt/evaluations.jsonl:1: this line is damaged");
    expect_steps(state, "evaluations.jsonl", "4 6 ");
    resume_damaged(state, "sed -i '1s/^./\\x00/' memory.jsonl", 0, "hurt/memory.jsonl:1: this line is damaged (a NUL");
    expect_steps(state, "metrics.jsonl", "0 1 2 3 4 5 ");
    static const char *const logs[] = {"metrics.jsonl", "evaluations.jsonl", "memory.jsonl"};
    for (int i = 0; i < 3; i++) {
        char command[200], want[100];
        snprintf(command, sizeof command, "rm %s && mkdir %s", logs[i], logs[i]);
        snprintf(want, sizeof want, "dram: runs/hurt/%s: cannot open: not a file: a folder", logs[i]);
        resume_damaged(state, command, 1, want);
    }
    resume_damaged(state, "echo x > checkpoints/step-00000004/state.json", 2,
                   "step-00000004/state.json:"); /* a state */
    resume_damaged(state, "printf x > checkpoints/step-00000004/student.safetensors", 2, "student.safetensors: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_processes_on_one_run),
        cmocka_unit_test(a_dead_owner),
        cmocka_unit_test(the_lock_goes_with_every_end),
        cmocka_unit_test(links_in_place_of_files),
        cmocka_unit_test(plans_are_not_written_through_links),
        cmocka_unit_test(damaged_logs_are_mended),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
