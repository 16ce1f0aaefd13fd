#include "launch/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/path.h"

extern char **environ;

/* What makes a process a rank of a job (comm/world.h). A sweep may be one itself; its runs are none. */
static const char *const of_a_rank[] = {"RANK",
                                        "WORLD_SIZE",
                                        "LOCAL_RANK",
                                        "LOCAL_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "MPI_LOCALRANKID",
                                        "MPI_LOCALNRANKS",
                                        "SLURM_STEP_ID"};
enum { OF_A_RANK = sizeof of_a_rank / sizeof of_a_rank[0], WORDS = 16 };

static bool is_left_out(const char *variable, const char *cards)
{
    size_t n = strcspn(variable, "=");
    for (int i = 0; i < OF_A_RANK; i++)
        if (strlen(of_a_rank[i]) == n && strncmp(variable, of_a_rank[i], n) == 0) return true;
    static const char visible[] = "CUDA_VISIBLE_DEVICES";
    return cards && n == sizeof visible - 1 && strncmp(variable, visible, n) == 0;
}

/* Open MPI binds the ranks of every job to the first cores, those of a job beside it as well. */
static const char unbound[] = "OMPI_MCA_hwloc_base_binding_policy=none";

/* The environment of a child; the list alone, and the last text, are new. dram_free both. */
static char **make_environment(const char *cards, bool by_ranks, char **last)
{
    size_t n = 0;
    dram_str text = {0};
    *last = NULL;
    while (environ[n]) n++;
    char **out = dram_alloc((n + 3) * sizeof *out);
    if (!out) return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_left_out(environ[i], cards)) out[kept++] = environ[i];
    if (by_ranks && !getenv("OMPI_MCA_hwloc_base_binding_policy")) out[kept++] = (char *)(uintptr_t)unbound;
    if (cards) dram_str_add(&text, "CUDA_VISIBLE_DEVICES=%s", cards);
    if (text.text) out[kept++] = *last = text.text;
    out[kept] = NULL;
    return out;
}

static dram_status find_program(char path[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (n <= 0) return dram_fail(DRAM_ERR_RUN, "/proc/self/exe: cannot find this program: %m");
    path[n] = '\0';
    return DRAM_OK;
}

/* output: an open file that gets standard output, and of a run standard error too, which is in a group of its own. */
static dram_status spawn(char **words, const char *cards, int output, bool run, bool by_ranks, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all;
    char *last, **environment = make_environment(cards, by_ranks, &last);
    if (!environment) return dram_fail(DRAM_ERR_MEMORY, "no memory to start a run");
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    if (run) posix_spawn_file_actions_adddup2(&actions, output, 2);
    /* What this process ignores its children need not. */
    sigfillset(&all);
    sigdelset(&all, SIGHUP);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, (short)(POSIX_SPAWN_SETSIGDEF | (run ? POSIX_SPAWN_SETPGROUP : 0)));
    int reason = posix_spawnp(pid, words[0], &actions, &attributes, words, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    dram_free(last);
    dram_free(environment);
    return reason ? dram_fail(DRAM_ERR_RUN, "%s: cannot be started: %s", words[0], strerror(reason)) : DRAM_OK;
}

static int open_log(const char *directory, int64_t *before, dram_status *status)
{
    char *path;
    const char *why;
    struct stat info;
    *status = dram_path_join(directory, "log.txt", &path);
    if (*status != DRAM_OK) return -1;
    int fd = dram_file_open_to_write(path, O_WRONLY | O_APPEND | O_NONBLOCK, &why);
    if (fd < 0) *status = dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %s", path, why);
    *before = fd >= 0 && fstat(fd, &info) == 0 ? info.st_size : 0;
    if (fd >= 0) fcntl(fd, F_SETFL, O_APPEND);
    dram_free(path);
    return fd;
}

dram_status dram_child_start(const dram_child_order *order, dram_child *child)
{
    char program[PATH_MAX], ranks[16], stop[40], *config, *words[WORDS];
    dram_status status;
    int n = 0;
    *child = (dram_child){.by_ranks = order->ranks > 1};
    TRY(find_program(program));
    TRY(dram_path_join(order->directory, "config.yaml", &config));
    snprintf(ranks, sizeof ranks, "%d", order->ranks);
    snprintf(stop, sizeof stop, "train.stop_at=%lld", (long long)order->stop_at);
    if (child->by_ranks) {
        words[n++] = (char *)"mpirun";
        words[n++] = (char *)"-n";
        words[n++] = ranks;
    }
    words[n++] = program;
    words[n++] = (char *)"train";
    words[n++] = config;
    if (order->stop_at >= 0) words[n++] = stop;
    words[n++] = (char *)"--continue";
    words[n] = NULL;
    int log = open_log(order->directory, &child->log, &status);
    if (log >= 0) {
        fcntl(order->claim, F_SETFD, 0);
        status = spawn(words, order->cards, log, true, child->by_ranks, &child->pid);
        fcntl(order->claim, F_SETFD, FD_CLOEXEC);
        close(log);
    }
    dram_free(config);
    if (status != DRAM_OK) child->pid = 0;
    return status;
}

/* mpirun passes SIGUSR1 on to its ranks, and ends them at SIGTERM. */
void dram_child_stop(const dram_child *child)
{
    if (child->pid > 0) kill(child->pid, child->by_ranks ? SIGUSR1 : SIGTERM);
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool dram_child_ended(const dram_child *child, int *code)
{
    int status;
    pid_t got;
    while ((got = waitpid(child->pid, &status, WNOHANG)) < 0 && errno == EINTR) continue;
    if (got == 0) return false;
    *code = got < 0 ? 1 : code_of(status);
    return true;
}

/* ---- what it said ---- */

static const char own[] = "dram: "; /* begins the line with which dram fails */

/* The last such line, behind its beginning: mpirun says something of its own after it. Else the last that is not blank.
 * The text is cut behind it. */
static const char *last_line(char *text)
{
    char *failed = NULL;
    for (char *at = text; (at = strstr(at, own)); at++)
        if (at == text || at[-1] == '\n') failed = at + strlen(own);
    if (failed) {
        failed[strcspn(failed, "\n")] = '\0';
        return failed;
    }
    size_t n = strlen(text);
    while (n && strchr("\n\r \t", text[n - 1])) text[--n] = '\0';
    char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

void dram_child_last_words(const char *directory, const dram_child *child, int code, dram_str *text)
{
    enum { MOST = 8192 };
    char said[MOST + 1] = "", *path = NULL;
    struct stat info;
    const char *why;
    int fd = dram_path_join(directory, "log.txt", &path) == DRAM_OK ? dram_file_open(path, &info, &why) : -1;
    if (fd >= 0) {
        off_t from = info.st_size - MOST > child->log ? info.st_size - MOST : child->log;
        ssize_t n = dram_file_read_at(fd, said, MOST, from);
        said[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    dram_free(path);
    dram_error_clear();
    const char *line = last_line(said);
    if (code > 128 && code != 130)
        dram_str_add(text, "ended by signal %d (%s)%s%.1000s", code - 128, strsignal(code - 128),
                     *line ? "; its last line: " : "", line);
    else
        dram_str_add(text, "%.1000s", *line ? line : "it wrote nothing");
}

/* ---- other processes ---- */

static bool is_in_path(const char *program)
{
    const char *paths = getenv("PATH");
    char file[PATH_MAX];
    for (const char *at = paths; at && *at; at += strcspn(at, ":"), at += *at == ':') {
        int n = snprintf(file, sizeof file, "%.*s/%s", (int)strcspn(at, ":"), at, program);
        if (n < (int)sizeof file && access(file, X_OK) == 0) return true;
    }
    return false;
}

dram_status dram_child_check_ranks(int ranks)
{
    if (ranks <= 1 || is_in_path("mpirun")) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_CONFIG,
        "a run of %d ranks is started by mpirun, which is not in PATH; install Open MPI or MPICH, or leave "
        "ranks out of the sweep",
        ranks);
}

static dram_status read_all(FILE *file, dram_str *out)
{
    char part[4096];
    size_t n;
    rewind(file);
    while (out->length < 1 << 20 && (n = fread(part, 1, sizeof part - 1, file)) > 0) {
        part[n] = '\0';
        dram_str_add(out, "%s", part);
    }
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for what a process said") : DRAM_OK;
}

dram_status dram_child_ask(const char *const *asked, const char *cards, dram_str *out, int *code)
{
    char program[PATH_MAX], *words[WORDS] = {program};
    pid_t pid;
    int status;
    TRY(find_program(program));
    for (int i = 0; asked[i] && i < WORDS - 2; i++) words[i + 1] = (char *)asked[i];
    FILE *file = tmpfile();
    if (!file) return dram_fail(DRAM_ERR_IO, "cannot make a temporary file: %m");
    dram_status started = spawn(words, cards, fileno(file), false, false, &pid);
    if (started == DRAM_OK) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
        *code = code_of(status);
        started = read_all(file, out);
    }
    fclose(file);
    return started;
}
