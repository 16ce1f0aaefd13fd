/* Implements the half of drive.h that is about trials and processes. */
#include "faults/drive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATIENCE = 240 }; /* seconds, hundreds of times what a run takes */

const char *drive_work;
fault_order *drive_order;

char trial_text[1024];
static int failed;

/* ---- trials ---- */

void give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("faults: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void describe(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trial_text, sizeof trial_text, format, args);
    va_end(args);
}

void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

verdict complain(const char *format, ...)
{
    char text[2048], kept[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(kept, sizeof kept, "failed-%d", ++failed);
    note("FAILED %s: %s (%s)", trial_text, text, kept);
    copy_folder("trial", kept);
    return FAILED;
}

/* What was done of a mode: seed, trials, failures. */
static void read_progress(const char *path, unsigned long *seed, int *done)
{
    FILE *file = fopen(path, "r");
    *done = 0;
    if (!file) return;
    if (fscanf(file, "%lu %d %d", seed, done, &failed) != 3) give_up("%s: not what was done before", path);
    fclose(file);
}

static void write_progress(const char *path, unsigned long seed, int done)
{
    char text[100], next[PATH_ROOM + 8];
    snprintf(next, sizeof next, "%s.new", path);
    int n = snprintf(text, sizeof text, "%lu %d %d\n", seed, done, failed);
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, text, (size_t)n) != n || close(fd) != 0 || rename(next, path) != 0)
        give_up("%s: %s", path, strerror(errno));
}

int run_trials(const char *mode, int n, unsigned long seed, verdict (*trial)(unsigned long seed, int i))
{
    char path[PATH_ROOM];
    int done;
    double begin = dram_clock();
    snprintf(path, sizeof path, "%s", in_work("%s.done", mode));
    read_progress(path, &seed, &done);
    note("%s: %d trials, seed %lu%s", mode, n, seed, done ? ", going on" : "");
    int before = done;
    for (; done < n; done++) {
        trial_text[0] = '\0';
        trial(seed, done);
        write_progress(path, seed, done + 1);
    }
    note("%s: %d trials, %d of them now in %.0f s: %d failed", mode, n, n - before, dram_clock() - begin, failed);
    return failed;
}

/* ---- processes ---- */

static int open_output(const char *name, int slot)
{
    int fd = open(in_work("%s-%d.txt", name, slot), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) give_up("%s: %s", name, strerror(errno));
    return fd;
}

static void set_environment(bool faulty)
{
    unsetenv("LD_PRELOAD");
    if (!faulty) return;
    /* A sanitizer's library must come first. */
    setenv("LD_PRELOAD", *DRAM_RUNTIME ? DRAM_RUNTIME ":" DRAM_SHIM : DRAM_SHIM, 1);
    setenv("FAULTS_ORDER", in_work("order"), 1);
}

pid_t start_dram(const char *folder, const char *args, bool faulty, int slot)
{
    static char text[ARGS_ROOM];
    char *argv[64] = {(char *)(uintptr_t) "dram"}, *rest = text;
    int n = 1;
    snprintf(text, sizeof text, "%s", args);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) argv[n++] = word;
    argv[n] = NULL;
    int out = open_output("out", slot), err = open_output("err", slot);
    pid_t child = fork();
    if (child < 0) give_up("fork: %s", strerror(errno));
    if (child == 0) {
        if (chdir(in_work("%s", folder)) != 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
            _exit(99);
        set_environment(faulty);
        execv(DRAM_PROGRAM, argv);
        _exit(99);
    }
    close(out);
    close(err);
    return child;
}

static void read_output(const char *name, int slot, char text[TEXT_ROOM])
{
    FILE *file = fopen(in_work("%s-%d.txt", name, slot), "r");
    size_t n = file ? fread(text, 1, TEXT_ROOM - 1, file) : 0;
    text[n] = '\0';
    if (file) fclose(file);
}

void sleep_seconds(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

double cpu_of(pid_t child)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(child, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void finish_dram(pid_t child, double begin, int slot, outcome *o)
{
    int how;
    struct rusage used;
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    *o = (outcome){.code = -1};
    if (end.fd < 0) give_up("pidfd_open: %s", strerror(errno));
    o->hung = poll(&end, 1, PATIENCE * 1000) == 0;
    if (o->hung) kill(child, SIGKILL);
    if (wait4(child, &how, 0, &used) != child) give_up("wait4: %s", strerror(errno));
    close(end.fd);
    o->seconds = dram_clock() - begin;
    o->cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
             1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (WIFEXITED(how))
        o->code = WEXITSTATUS(how);
    else
        o->signal = WTERMSIG(how);
    if (o->code == 99) give_up("%s cannot be started in %s", DRAM_PROGRAM, drive_work);
    read_output("out", slot, o->out);
    read_output("err", slot, o->err);
}

void run_dram(const char *folder, const char *args, bool faulty, outcome *o)
{
    double begin = dram_clock();
    finish_dram(start_dram(folder, args, faulty, 0), begin, 0, o);
}

void order_count(const char *folder)
{
    *drive_order = (fault_order){.effect = FAULT_NONE};
    snprintf(drive_order->folder, sizeof drive_order->folder, "%s", in_work("%s", folder));
}

void order_fault(const char *folder, fault_call call, int from, int until, fault_effect effect, int error)
{
    order_count(folder);
    drive_order->effect = effect;
    drive_order->call = call;
    drive_order->from = from;
    drive_order->until = until;
    drive_order->error = error;
}

const char *last_line(char *text)
{
    size_t n = strlen(text);
    if (n && text[n - 1] == '\n') text[--n] = '\0';
    char *end = strrchr(text, '\n');
    return end ? end + 1 : text;
}
