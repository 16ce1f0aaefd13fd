/* Signals as users, terminals and schedulers send them: each saves, and --resume goes on to the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "cli/commands.h"

static int setup(void **state)
{
    if (dram_setup(state, 4) != 0) return -1;
    dram_ok(state, "synth many --count 30 --seed 5");
    return 0;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static pid_t start(void **state, const char *args)
{
    int out = open_output(state, "stdout.txt"), err = open_output(state, "stderr.txt");
    pid_t child = dram_start(state, args, out, err);
    close(out);
    close(err);
    return child;
}

static int lines_of(void **state, const char *name)
{
    int n = 0;
    if (!is_there(in_dir(state, name))) return 0;
    char *text = get_file(in_dir(state, name), NULL);
    for (char *at = text; (at = strchr(at, '\n')); at++) n++;
    free(text);
    return n;
}

/* Waits, two minutes at most, until a file has so many lines, or the child is gone. */
static void wait_for_lines(void **state, pid_t child, const char *name, int n)
{
    siginfo_t info = {0};
    for (int i = 0; i < 12000 && lines_of(state, name) < n; i++) {
        sleep_ms(10);
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child) return;
    }
}

/* Waits, as long, until the child catches the signal. */
static void wait_until_caught(pid_t child, int number)
{
    char path[64], *caught;
    snprintf(path, sizeof path, "/proc/%d/status", (int)child);
    for (int i = 0; i < 12000; i++) {
        FILE *file = fopen(path, "r");
        char text[8192];
        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
        caught = strstr(text, "SigCgt:");
        if (caught && strtoull(caught + 7, NULL, 16) >> (number - 1) & 1) return;
        sleep_ms(10);
    }
    fail_msg("signal %d is not caught", number);
}

static void each_signal_saves(void **state)
{
    static const int numbers[] = {SIGHUP, SIGUSR1, SIGTERM, SIGINT};
    for (int i = 0; i < 4; i++) {
        char args[100], metrics[64];
        snprintf(args, sizeof args, "train run.yaml name=n%d train.steps=100000", i);
        snprintf(metrics, sizeof metrics, "runs/n%d/metrics.jsonl", i);
        pid_t child = start(state, args);
        wait_for_lines(state, child, metrics, 1);
        assert_int_equal(kill(child, numbers[i]), 0);
        if (i % 2 == 0) kill(child, numbers[i]); /* sent to the process and to its group: one request */
        assert_int_equal(dram_wait(child), 130);
        keep_output(state);
        assert_non_null(strstr(complained, "steps are saved, go on with --resume"));
    }
}

/* What nohup started outlives its terminal, and still hears the others. */
static void a_hangup_that_is_ignored(void **state)
{
    void (*before)(int) = signal(SIGHUP, SIG_IGN);
    pid_t child = start(state, "train run.yaml name=nohup train.steps=100000");
    signal(SIGHUP, before);
    wait_for_lines(state, child, "runs/nohup/metrics.jsonl", 1);
    int done = lines_of(state, "runs/nohup/metrics.jsonl");
    assert_int_equal(kill(child, SIGHUP), 0);
    wait_for_lines(state, child, "runs/nohup/metrics.jsonl", done + 3);
    assert_true(lines_of(state, "runs/nohup/metrics.jsonl") >= done + 3);
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(dram_wait(child), 130);
}

/* A program that waits for its reader cannot save; a later signal ends it at once. */
static void a_second_one_ends_it(void **state)
{
    int pipes[2], how;
    char full[4096] = {0};
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_true(fcntl(pipes[1], F_SETFL, O_NONBLOCK) == 0);
    while (write(pipes[1], full, sizeof full) > 0) continue;
    assert_true(fcntl(pipes[1], F_SETFL, 0) == 0);
    int err = open_output(state, "stderr.txt");
    pid_t child = dram_start(state, "train run.yaml name=blocked", pipes[1], err);
    close(err);
    close(pipes[1]);
    wait_until_caught(child, SIGTERM);
    assert_int_equal(kill(child, SIGTERM), 0);
    sleep_ms(1500);
    assert_int_equal(waitpid(child, &how, WNOHANG), 0);
    assert_int_equal(kill(child, SIGTERM), 0);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGTERM);
    close(pipes[0]);
}

/* Most of the time of such a run goes into evaluations and checkpoints. */
#define STOPPED_ALL_THE_TIME                                                                                           \
    "train run.yaml data.val.images=many/images data.val.labels=many/labels train.steps=4 run.eval_every=1 "           \
    "run.save_every=1 sam_distill.fidelity_images=2 "

static void assert_same(void **state, const char *file)
{
    char a[100], b[100];
    size_t n, m;
    snprintf(a, sizeof a, "runs/whole/%s", file);
    snprintf(b, sizeof b, "runs/part/%s", file);
    char *x = get_file(in_dir(state, a), &n), *y = get_file(in_dir(state, b), &m);
    if (n == 0 || n != m || memcmp(x, y, n) != 0) fail_msg("%s differs", file);
    free(x);
    free(y);
}

/* Stopped over and over, each time a little later: in the end what it is without. */
static void any_moment(void **state)
{
    static const char *const same[] = {"student.safetensors",
                                       "heads.safetensors",
                                       "evaluations.jsonl",
                                       "checkpoints/step-00000004/student.safetensors",
                                       "checkpoints/step-00000004/heads.safetensors",
                                       "checkpoints/step-00000004/optimizer.safetensors",
                                       "checkpoints/step-00000004/state.json"};
    int stopped = 0, code = 130;
    dram_ok(state, STOPPED_ALL_THE_TIME "name=whole");
    for (int k = 0; code == 130 && k < 200; k++) {
        char args[400];
        bool there = is_there(in_dir(state, "runs/part"));
        snprintf(args, sizeof args, STOPPED_ALL_THE_TIME "name=part%s", there ? " --resume" : "");
        pid_t child = start(state, args);
        wait_until_caught(child, SIGTERM);
        sleep_ms(20 + 350 * k); /* so that it comes to an end */
        kill(child, k % 2 ? SIGTERM : SIGUSR1);
        code = dram_wait(child);
        keep_output(state);
        if (code == 130 && !strstr(complained, "interrupted")) fail_msg("%s", complained);
        stopped += code == 130;
    }
    if (code != 0) fail_msg("exit code %d: %s", code, complained);
    assert_true(stopped >= 2);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) assert_same(state, same[i]);
    assert_int_equal(lines_of(state, "runs/part/metrics.jsonl"), 4);
}

/* dram eval and dram features save nothing and end the same. */
static void commands_without_a_run(void **state)
{
    char args[4096] = "features run.yaml --weights runs/whole/student.safetensors --out looks";
    for (int i = 0; i < 30; i++) {
        size_t n = strlen(args);
        snprintf(args + n, sizeof args - n, " many/images/%05d.jpg", i);
    }
    const char *const commands[] = {"eval run.yaml --weights runs/whole/student.safetensors "
                                    "data.val.images=many/images data.val.labels=many/labels",
                                    "plan run.yaml --calibrate", args};
    for (int i = 0; i < 3; i++) {
        pid_t child = start(state, commands[i]);
        wait_until_caught(child, SIGTERM);
        assert_int_equal(kill(child, SIGTERM), 0);
        int code = dram_wait(child);
        keep_output(state);
        if (code != 130 || strncmp(complained, "dram: interrupted", 17) != 0)
            fail_msg("%s: exit code %d, %s", commands[i], code, complained);
    }
    assert_false(is_there(in_dir(state, "dram-profile.json")));
}

/* A file of holes that takes hours to read. */
static void put_endless(void **state, const char *name)
{
    int fd = open(in_dir(state, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    off_t size = (off_t)1 << 43;
    while (ftruncate(fd, size) != 0 && size > (off_t)1 << 36) size /= 2; /* more than the file system takes */
    assert_int_equal(close(fd), 0);
}

/* Waits, two minutes at most, until the child has the file open; false where it has ended. */
static bool wait_until_open(pid_t child, const char *file)
{
    char folder[64], path[340], target[4096];
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)child);
    for (int i = 0; i < 12000; i++) {
        struct dirent *entry;
        DIR *dir = opendir(folder);
        bool open = false;
        while (dir && (entry = readdir(dir))) {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            ssize_t n = readlink(path, target, sizeof target - 1);
            target[n > 0 ? n : 0] = '\0';
            open |= strcmp(target, file) == 0;
        }
        if (dir) closedir(dir);
        siginfo_t info = {0};
        if (open) return true;
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child) return false;
        sleep_ms(10);
    }
    return false;
}

/* Before a run begins, and before one goes on, files are read to their end for their hashes. */
static void while_files_are_hashed(void **state)
{
    static const struct {
        const char *args, *file;
    } cases[] = {
        {"train run.yaml name=t device=cpu sam_distill.teacher.weights=endless", "endless"},
        {"train run.yaml name=s device=cpu student.weights=endless", "endless"},
        {"train run.yaml name=hashed device=cpu --resume", "runs/hashed/checkpoints/step-00000003/heads.safetensors"},
    };
    char real[4096], want[4300];
    dram_ok(state, "train run.yaml name=hashed device=cpu");
    put_endless(state, cases[0].file);
    put_endless(state, cases[2].file);
    for (int i = 0; i < 3; i++) {
        pid_t child = start(state, cases[i].args);
        assert_non_null(realpath(in_dir(state, cases[i].file), real));
        if (!wait_until_open(child, real)) fail_msg("%s: the file is not read", cases[i].args);
        assert_int_equal(kill(child, SIGTERM), 0);
        assert_int_equal(dram_wait(child), 130);
        keep_output(state);
        snprintf(want, sizeof want, "/%s was read\n", cases[i].file);
        if (strncmp(complained, "dram: interrupted while ", 24) != 0 || (i < 2 && !strstr(complained, want)))
            fail_msg("%s: %s", cases[i].args, complained);
    }
    assert_false(is_there(in_dir(state, "runs/t")));
    assert_false(is_there(in_dir(state, "runs/hashed/lock")));
    assert_int_equal(unlink(in_dir(state, cases[0].file)), 0);
    assert_int_equal(unlink(in_dir(state, cases[2].file)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_signal_saves),      cmocka_unit_test(a_hangup_that_is_ignored),
        cmocka_unit_test(a_second_one_ends_it),   cmocka_unit_test(any_moment),
        cmocka_unit_test(commands_without_a_run), cmocka_unit_test(while_files_are_hashed),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
