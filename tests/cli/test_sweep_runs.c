/* dram sweep, its runs: two processes on one folder, a sweep that is killed, one that is asked to stop, runs that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "sweep/sweep.h"
#include "synth/synth.h"

#define LIMIT "300MiB" /* two runs of these, and not three */

static const char base[] = "device: cpu\n"
                           "threads: 1\n"
                           "data:\n"
                           "  {size: 32, workers: 1, prefetch: 2, max_decode_bytes: 16777216, classes: 12,\n"
                           "   train: {images: scenes/images, labels: scenes/labels},\n"
                           "   val: {images: scenes/images, labels: scenes/labels}}\n"
                           "student: {arch: regnetx_002}\n"
                           "sam_distill: {enabled: false}\n"
                           "task: {enabled: true}\n"
                           "optim: {warmup_steps: 1}\n"
                           "train: {batch_size: 2}\n"
                           "run: {save_every: 20, eval_every: 0}\n";

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "base.yaml"), base, sizeof base - 1);
    return dram_synth_write(in_dir(state, "scenes"), 4, DRAM_SYNTH_PLAIN, 3, 48, 64) == DRAM_OK ? 0 : -1;
}

/* The file NAME.yaml of a sweep over `n` learning rates, of so many steps. */
static void write_sweep(void **state, const char *name, int n, int steps, const char *more)
{
    static const char *const rates[] = {"[1.0e-3]", "[1.0e-3, 2.0e-3]", "[1.0e-3, 2.0e-3, 3.0e-3]"};
    char file[64], text[600];
    snprintf(file, sizeof file, "%s.yaml", name);
    int bytes = snprintf(text, sizeof text,
                         "sweep:\n  name: %s\n  base: base.yaml\n  set: {train.steps: %d}\n  grid: {optim.lr: %s}\n%s",
                         name, steps, rates[n - 1], more);
    put_file(in_dir(state, file), text, (size_t)bytes);
}

static pid_t start(void **state, const char *args, const char *log)
{
    int fd = open_output(state, log);
    pid_t child = dram_start(state, args, fd, fd);
    close(fd);
    return child;
}

/* ---- what events.jsonl says ---- */

enum { MOST = 200 };

typedef struct {
    char event[16], run[48], text[400];
    int exit;
} told;

static told said[MOST];
static int n_said;

static void copy(const cJSON *root, const char *key, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    snprintf(out, size, "%s", cJSON_IsString(item) ? item->valuestring : "");
}

static void read_events(void **state, const char *name)
{
    char file[100];
    snprintf(file, sizeof file, "runs/%s/events.jsonl", name);
    n_said = 0;
    if (!is_there(in_dir(state, file))) return;
    char *text = get_file(in_dir(state, file), NULL), *rest = text;
    for (char *line = strtok_r(text, "\n", &rest); line && n_said < MOST; line = strtok_r(NULL, "\n", &rest)) {
        cJSON *root = cJSON_Parse(line);
        if (!root) continue; /* it is being written */
        told *t = &said[n_said++];
        copy(root, "event", t->event, sizeof t->event);
        copy(root, "run", t->run, sizeof t->run);
        copy(root, "text", t->text, sizeof t->text);
        const cJSON *code = cJSON_GetObjectItemCaseSensitive(root, "exit");
        t->exit = cJSON_IsNumber(code) ? code->valueint : -1;
        cJSON_Delete(root);
    }
    free(text);
}

static int count(const char *event)
{
    int n = 0;
    for (int i = 0; i < n_said; i++) n += strcmp(said[i].event, event) == 0;
    return n;
}

static const told *find(const char *event)
{
    for (int i = 0; i < n_said; i++)
        if (strcmp(said[i].event, event) == 0) return &said[i];
    fail_msg("nothing was %s", event);
    return NULL;
}

/* Waits until there are `n` such events; fails after a minute. */
static void wait_for(void **state, const char *name, const char *event, int n)
{
    for (int i = 0; i < 3000; i++) {
        read_events(state, name);
        if (count(event) >= n) return;
        usleep(10000);
    }
    fail_msg("%s: no %d %s", name, n, event);
}

/* Replays starts and ends: what runs at once never takes more than the limit, and at some time two ran. */
static void assert_packed(int64_t limit)
{
    char running[8][48];
    int64_t bytes[8], sum = 0;
    int n = 0, most = 0, starts = 0;
    for (int i = 0; i < n_said; i++) {
        const told *t = &said[i];
        if (strcmp(t->event, "started") == 0) {
            long long takes;
            assert_int_equal(sscanf(t->text, "takes %lld bytes and", &takes), 1);
            assert_true(n < 8 && takes > 0);
            snprintf(running[n], sizeof running[n], "%s", t->run);
            bytes[n++] = takes;
            sum += takes;
            starts++;
            assert_true(sum <= limit);
            most = n > most ? n : most;
        }
        bool ended = strcmp(t->event, "done") == 0 || strcmp(t->event, "failed") == 0;
        for (int r = 0; ended && r < n; r++) {
            if (strcmp(running[r], t->run) != 0) continue;
            sum -= bytes[r];
            bytes[r] = bytes[--n];
            memmove(running[r], running[n], sizeof running[r]);
            break;
        }
    }
    assert_true(starts >= 2 && most == 2);
}

/* Every run that was done was done once, by one start where nothing was killed. */
static void assert_once(int runs, bool unbroken)
{
    assert_int_equal(count("done"), runs);
    if (unbroken) assert_int_equal(count("started"), runs);
    for (int i = 0; i < n_said; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(said[j].event, "done") == 0 && strcmp(said[i].run, said[j].run) == 0)
                fail_msg("%s was %s after it was done", said[i].run, said[i].event);
}

/* Every step of every run is there once, and no run met another process. */
static void assert_steps(void **state, const char *name, int steps)
{
    char path[200];
    int checked = 0;
    for (int i = 0; i < n_said; i++) {
        if (strcmp(said[i].event, "done") != 0) continue;
        snprintf(path, sizeof path, "%s/runs/%s/%s/metrics.jsonl", (const char *)*state, name, said[i].run);
        char *text = get_file(path, NULL), *rest = text;
        int step = 0;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            int n = -1;
            assert_int_equal(sscanf(line, "{\"step\":%d", &n), 1);
            assert_int_equal(n, step++);
        }
        assert_int_equal(step, steps);
        free(text);
        snprintf(path, sizeof path, "%s/runs/%s/%s/log.txt", (const char *)*state, name, said[i].run);
        text = get_file(path, NULL);
        assert_null(strstr(text, "is training in this run"));
        free(text);
        checked++;
    }
    assert_true(checked > 0);
}

/* ---- tests ---- */

static void two_processes(void **state)
{
    write_sweep(state, "shared", 3, 2, "");
    pid_t a = start(state, "sweep shared.yaml --jobs 1 --memory " LIMIT, "a.txt");
    wait_for(state, "shared", "started", 1);
    char path[200];
    snprintf(path, sizeof path, "%s/runs/shared/%s/lock", (const char *)*state, find("started")->run);
    for (int i = 0; i < 3000 && !is_there(path); i++) usleep(10000);
    kill(a, SIGSTOP); /* so that both have a part in it, whoever gets the processor */
    pid_t b = start(state, "sweep shared.yaml --jobs 1 --memory " LIMIT, "b.txt");
    for (int i = 1; i < 6000 && (read_events(state, "shared"), count("done") == 0); i++) {
        usleep(10000);
        if (i % 200) continue;
        kill(a, SIGCONT); /* it may hold what the other waits for */
        usleep(5000);
        kill(a, SIGSTOP);
    }
    kill(a, SIGCONT);
    assert_int_equal(dram_wait(a), 0);
    assert_int_equal(dram_wait(b), 0);
    read_events(state, "shared");
    assert_once(3, true);
    assert_packed(300 << 20);
    assert_steps(state, "shared", 2);
    char *first = get_file(in_dir(state, "a.txt"), NULL), *second = get_file(in_dir(state, "b.txt"), NULL);
    assert_true(strstr(first, "\nstarted ") && strstr(second, "\nstarted "));
    free(first);
    free(second);
    /* Nothing is left to do, and a folder that was deleted is made again. */
    dram_ok(state, "sweep shared.yaml --memory " LIMIT);
    read_events(state, "shared");
    assert_once(3, true);
    assert_null(strstr(printed, "started "));
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s/runs/shared/%s'", (const char *)*state, find("done")->run);
    assert_int_equal(system(command), 0);
    dram_ok(state, "sweep shared.yaml --memory " LIMIT);
    assert_non_null(strstr(complained, "this run was begun, and its folder is gone: it is made again"));
    read_events(state, "shared");
    assert_int_equal(count("done"), 4);
}

/* SIGKILL: the child goes on, the next sweep waits for it, and nothing is made twice. */
static void killed(void **state)
{
    write_sweep(state, "killed", 1, 20, "");
    pid_t a = start(state, "sweep killed.yaml --jobs 1 --memory " LIMIT, "a.txt");
    wait_for(state, "killed", "started", 1);
    kill(a, SIGKILL);
    waitpid(a, NULL, 0);
    dram_ok(state, "sweep killed.yaml --jobs 1 --memory " LIMIT);
    read_events(state, "killed");
    assert_once(1, false);
    assert_steps(state, "killed", 20);
}

/* Asks a sweep to stop as soon as its run has made a step; false where it was done before that. */
static bool stop_it(void **state, int steps)
{
    char path[200];
    write_sweep(state, "stopped", 1, steps, "");
    pid_t a = start(state, "sweep stopped.yaml --memory " LIMIT, "a.txt");
    wait_for(state, "stopped", "started", 1);
    snprintf(path, sizeof path, "%s/runs/stopped/%s/metrics.jsonl", (const char *)*state, find("started")->run);
    for (int i = 0; i < 3000 && !is_there(path); i++) usleep(10000);
    kill(a, SIGTERM);
    int code = dram_wait(a);
    if (code == 130) return true;
    assert_int_equal(code, 0);
    snprintf(path, sizeof path, "rm -r '%s/runs/stopped'", (const char *)*state);
    assert_int_equal(system(path), 0);
    return false;
}

/* SIGTERM: the child saves, and the same command goes on from there. */
static void stopped(void **state)
{
    int steps = 60; /* more, where this process gets no time before they are made */
    while (!stop_it(state, steps)) steps *= 4;
    read_events(state, "stopped");
    assert_int_equal(find("interrupted")->exit, 130);
    assert_int_equal(count("done"), 0);
    char *text = get_file(in_dir(state, "a.txt"), NULL);
    assert_non_null(strstr(text, "interrupted: 0 of 1 runs are done, and those that ran are saved; the same command "));
    free(text);
    dram_ok(state, "sweep stopped.yaml --memory " LIMIT);
    read_events(state, "stopped");
    assert_once(1, false);
    assert_steps(state, "stopped", steps);
}

/* What fails stays, with its reason, and stops nobody; --failed makes it again. */
static void failed(void **state)
{
    write_sweep(state, "failed", 2, 2, "");
    dram_ok(state, "sweep failed.yaml --plan");
    /* Who starts a sweep may not care how children end; the sweep does. */
    signal(SIGCHLD, SIG_IGN);
    pid_t a = start(state, "sweep failed.yaml --jobs 1 --index 1 --memory " LIMIT, "a.txt");
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(dram_wait(a), 0);
    read_events(state, "failed");
    assert_int_equal(count("done"), 1);
    char path[300], command[1000];
    /* A name that is taken by what is no run: its child cannot write there. */
    snprintf(path, sizeof path, "%s/runs/failed/%s", (const char *)*state, find("done")->run);
    snprintf(command, sizeof command, "rm -r '%s' && mkdir '%s' && echo 'nonsense: 1' >'%s/config.yaml'", path, path,
             path);
    assert_int_equal(system(command), 0);
    assert_int_equal(dram(state, "sweep failed.yaml --memory " LIMIT), 1);
    assert_non_null(strstr(complained, "1 of 2 runs failed: log.txt in their folders has why, and --failed makes "));
    read_events(state, "failed");
    assert_int_equal(count("failed"), 1);
    assert_int_equal(find("failed")->exit, 2);
    assert_non_null(strstr(find("failed")->text, "nonsense"));
    assert_int_equal(count("done"), 2);
    assert_int_equal(dram(state, "sweep failed.yaml --memory " LIMIT), 1);
    read_events(state, "failed");
    assert_int_equal(count("failed"), 1); /* it was not made again */
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
    dram_ok(state, "sweep failed.yaml --failed --memory " LIMIT);
    read_events(state, "failed");
    assert_int_equal(count("done"), 3);
}

static void without_room(void **state)
{
    write_sweep(state, "large", 2, 2, "");
    assert_int_equal(dram(state, "sweep large.yaml --memory 20MiB"), 3);
    assert_non_null(strstr(complained, "no run of this sweep has room on this machine"));
    assert_non_null(strstr(printed, "of memory, and all runs together may take 20.0 MiB here (--memory)"));
    read_events(state, "large");
    assert_int_equal(count("started"), 0);
}

/* Two points of a tier, one of which goes on; both have trained every step of theirs once. */
static void halved(void **state)
{
    write_sweep(state, "halved", 2, 6,
                "  halving: {rungs: [2], keep: 0.5}\n"
                "  quality: miou\n");
    dram_ok(state, "sweep halved.yaml --memory " LIMIT);
    read_events(state, "halved");
    assert_int_equal(count("promoted"), 1);
    assert_int_equal(count("done"), 3); /* two at the rung, one at the end */
    assert_int_equal(count("started"), 3);
    dram_ok(state, "sweep halved.yaml --memory " LIMIT);
    read_events(state, "halved");
    assert_int_equal(count("started"), 3);
}

/* The field of a line of a CSV file, by the column's name. */
static char *field(const char *csv, int line, const char *column, char out[64])
{
    int at = 0;
    const char *names = csv, *row = csv;
    while (strncmp(names, column, strlen(column)) != 0 || !strchr(",\n", names[strlen(column)])) {
        names += strcspn(names, ",\n");
        if (*names++ != ',') fail_msg("there is no column %s", column);
        at++;
    }
    while (line-- > 0) row = strchr(row, '\n') + 1;
    for (; at > 0; at--) {
        row += strcspn(row, ",\n");
        assert_int_equal(*row++, ',');
    }
    snprintf(out, 64, "%.*s", (int)strcspn(row, ",\n"), row);
    return out;
}

/* Points that differ by an exact lever: one is trained, the others make a few steps for their time, and have its quality. */
static void timed(void **state)
{
    enum { STEPS = DRAM_SWEEP_TIMED_STEPS + 4 };
    static const char yaml[] = "sweep:\n  name: timed\n  base: base.yaml\n  set: {train.steps: 24}\n"
                               "  grid: {memory.checkpoint: [none, blocks]}\n";
    static const char *const own[] = {"seconds_per_image", "measured_bytes", "process_bytes"};
    char a[64], b[64], path[100];
    put_file(in_dir(state, "timed.yaml"), yaml, sizeof yaml - 1);
    dram_ok(state, "sweep timed.yaml --memory " LIMIT);
    read_events(state, "timed");
    assert_once(2, true);
    int found = 0;
    for (int i = 0; i < n_said; i++) {
        if (strcmp(said[i].event, "done") != 0) continue;
        bool is_short = strstr(said[i].run, "-time") != NULL;
        snprintf(path, sizeof path, "runs/timed/%s/metrics.jsonl", said[i].run);
        char *text = get_file(in_dir(state, path), NULL);
        int lines = 0;
        for (const char *c = text; *c; c++) lines += *c == '\n';
        assert_int_equal(lines, is_short ? DRAM_SWEEP_TIMED_STEPS : STEPS);
        free(text);
        found += is_short;
    }
    assert_int_equal(found, 1);
    char *csv = get_file(in_dir(state, "runs/timed/points.csv"), NULL);
    assert_string_equal(field(csv, 1, "role", a), "trained");
    assert_string_equal(field(csv, 2, "role", a), "timed");
    assert_string_equal(field(csv, 2, "timed_with", a), "1");
    assert_true(strtod(field(csv, 1, "mean", a), NULL) > 0);
    assert_string_equal(field(csv, 2, "mean", b), a);
    for (int i = 0; i < 3; i++) {
        double first = strtod(field(csv, 1, own[i], a), NULL), second = strtod(field(csv, 2, own[i], b), NULL);
        assert_true(first > 0 && second > 0 && first != second);
    }
    free(csv);
    dram_ok(state, "sweep timed.yaml --memory " LIMIT);
    read_events(state, "timed");
    assert_once(2, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_processes), cmocka_unit_test(killed), cmocka_unit_test(stopped), cmocka_unit_test(failed),
        cmocka_unit_test(without_room),  cmocka_unit_test(halved), cmocka_unit_test(timed)};
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
