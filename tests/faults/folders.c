/* Implements the half of drive.h that is about folders. */
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults/drive.h"

const char *in_work(const char *format, ...)
{
    static char path[4][PATH_ROOM];
    static int next;
    char *out = path[next++ % 4];
    va_list args;
    va_start(args, format);
    int n = snprintf(out, PATH_ROOM, "%s/", drive_work);
    vsnprintf(out + n, (size_t)(PATH_ROOM - n), format, args);
    va_end(args);
    return out;
}

bool is_there(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* The program's own work with folders: a failure is no trial's. */
static void shell(const char *format, ...)
{
    char command[4 * PATH_ROOM];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) give_up("failed: %s", command);
}

void remove_folder(const char *folder)
{
    if (is_there(in_work("%s", folder))) shell("rm -rf '%s'", in_work("%s", folder));
}

void remove_work(void)
{
    shell("rm -rf '%s'", drive_work);
}

void copy_folder(const char *from, const char *to)
{
    remove_folder(to);
    if (is_there(in_work("%s", from))) shell("cp -a '%s' '%s'", in_work("%s", from), in_work("%s", to));
}

/* ---- what trials start from ---- */

static const char run_yaml[] = "name: net\n"
                               "threads: 1\n"
                               "device: cpu\n"
                               "data:\n"
                               "  size: 32\n"
                               "  workers: 1\n"
                               "  prefetch: 2\n"
                               "  train: {images: scenes/images, labels: scenes/labels}\n"
                               "  val: {images: held/images, labels: held/labels}\n"
                               "  classes: 12\n"
                               "student: {arch: vit_micro, weights: vit_micro.safetensors}\n"
                               "sam_distill: {teacher: {model_type: vit_micro, weights: vit_micro.safetensors}, "
                               "sam_input_size: 64, fidelity_images: 0}\n"
                               "task: {enabled: true}\n"
                               "optim: {type: sgd, warmup_steps: 1}\n"
                               "train: {steps: 4, batch_size: 2}\n"
                               "run: {save_every: 2, eval_every: 2, keep: 1}\n";

void make_base(const char *name, int scenes, int held)
{
    char folder[256], args[128];
    outcome o;
    snprintf(folder, sizeof folder, "bases/%s", name);
    if (is_there(in_work("%s/run.yaml", folder))) return;
    remove_folder(folder);
    shell("mkdir -p '%s'", in_work("%s", folder));
    shell("cp '%s/configs/teacher/vit_micro.safetensors' '%s'", DRAM_SOURCE_DIR, in_work("%s", folder));
    for (int i = 0; i < 2; i++) {
        snprintf(args, sizeof args, "synth %s --count %d --seed %d", i ? "held" : "scenes", i ? held : scenes, 3 + i);
        run_dram(folder, args, false, &o);
        if (o.code != 0) give_up("dram %s: %s", args, o.err);
    }
    FILE *file = fopen(in_work("%s/run.yaml", folder), "w");
    if (!file || fputs(run_yaml, file) < 0 || fclose(file) != 0) give_up("%s: %s", folder, strerror(errno));
}

/* An outcome is kept beside its folder, as bytes. */
static bool keep_outcome(const char *name, outcome *o, bool write)
{
    FILE *file = fopen(in_work("whole/%s.outcome", name), write ? "w" : "r");
    if (!file && !write) return false;
    size_t n = !file ? 0 : write ? fwrite(o, sizeof *o, 1, file) : fread(o, sizeof *o, 1, file);
    if (n != 1 || fclose(file) != 0) give_up("whole/%s.outcome: %s", name, strerror(errno));
    return true;
}

void make_whole(const char *name, const char *from, const char *args, outcome *o)
{
    char folder[256];
    if (keep_outcome(name, o, false)) return;
    snprintf(folder, sizeof folder, "whole/%s", name);
    shell("mkdir -p '%s'", in_work("whole"));
    copy_folder(from, "trial"); /* where trials run, so that paths are the same */
    run_dram("trial", args, false, o);
    if (o->code != 0) give_up("dram %s: %s", args, o->err);
    copy_folder("trial", folder);
    keep_outcome(name, o, true);
}

void make_stopped(const char *name, const char *base, const char *args, int lines)
{
    outcome o;
    if (is_there(in_work("%s", name))) return;
    copy_folder(base, "trial");
    order_fault("trial", FAULT_WRITE, lines, lines, FAULT_KILL_AFTER, 0);
    snprintf(drive_order->match, sizeof drive_order->match, "metrics.jsonl");
    run_dram("trial", args, true, &o);
    if (o.signal != SIGKILL || lines_of(in_work("trial/runs/net/metrics.jsonl")) != lines)
        give_up("the run was not stopped: %s", o.err);
    copy_folder("trial", name);
}

/* ---- what is in a run ---- */

int newest_checkpoint(const char *run)
{
    int newest = -1, step;
    char folder[PATH_ROOM];
    const struct dirent *entry;
    snprintf(folder, sizeof folder, "%s/checkpoints", run);
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    while ((entry = readdir(dir)))
        if (sscanf(entry->d_name, "step-%d", &step) == 1 && step > newest) newest = step;
    closedir(dir);
    return newest;
}

bool has_temporary(const char *folder)
{
    bool found = false;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    while (dir && !found && (entry = readdir(dir))) found = strncmp(entry->d_name, ".dram-tmp-", 10) == 0;
    if (dir) closedir(dir);
    return found;
}

int lines_of(const char *path)
{
    int n = 0, c;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while ((c = getc_unlocked(file)) != EOF) n += c == '\n';
    fclose(file);
    return n;
}

void next_args(const char *args, bool again, char next[ARGS_ROOM])
{
    const char *end = strstr(args, " --resume");
    bool there = is_there(in_work("trial/runs/net"));
    bool resume = newest_checkpoint(in_work("trial/runs/net")) >= 0 || (again && there);
    snprintf(next, ARGS_ROOM, "%.*s%s", end ? (int)(end - args) : (int)strlen(args), args, resume ? " --resume" : "");
}

/* ---- comparing ---- */

typedef struct {
    char *data;
    size_t bytes;
} content;

static content read_file(const char *path)
{
    content c = {0};
    struct stat info;
    FILE *file = fopen(path, "r");
    if (!file || fstat(fileno(file), &info) != 0 || !(c.data = malloc((size_t)info.st_size + 1)))
        give_up("%s: %s", path, strerror(errno));
    c.bytes = fread(c.data, 1, (size_t)info.st_size, file);
    c.data[c.bytes] = '\0';
    fclose(file);
    return c;
}

/* Lines of metrics up to what depends on the clock. */
static void cut_lines(content *c)
{
    char *to = c->data;
    for (char *line = c->data, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end) end = line + strlen(line) - 1;
        char *cut = strstr(line, ",\"images_per_second\"");
        if (!cut || cut > end) cut = end;
        memmove(to, line, (size_t)(cut - line));
        to += cut - line;
        *to++ = '\n';
    }
    c->bytes = (size_t)(to - c->data);
}

/* What is in these depends on the clock, or (embeddings) on which process made which first. */
static bool differs_by_right(const char *name)
{
    static const char *const names[] = {"memory.jsonl", "summary.json", ".dram-check", "embeddings.bin"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static bool are_same(const char *a, const char *b, const char *name)
{
    struct stat x, y;
    if (stat(a, &x) != 0 || stat(b, &y) != 0) return false;
    if (S_ISDIR(x.st_mode) || S_ISDIR(y.st_mode)) return S_ISDIR(x.st_mode) && S_ISDIR(y.st_mode);
    if (strcmp(name, "embeddings.bin") == 0) return x.st_size == y.st_size;
    if (differs_by_right(name)) return (x.st_size > 0) == (y.st_size > 0);
    content p = read_file(a), q = read_file(b);
    if (strcmp(name, "metrics.jsonl") == 0) {
        cut_lines(&p);
        cut_lines(&q);
    }
    bool same = p.bytes == q.bytes && memcmp(p.data, q.data, p.bytes) == 0;
    free(p.data);
    free(q.data);
    return same;
}

/* What may be on one side alone: logs of a run that came to no checkpoint, and what is kept of data, in its folder or, where
 * that failed and was said, beside the runs. */
static bool comes_and_goes(const char *name)
{
    return strstr(name, ".before") || strcmp(name, ".dram-check") == 0 || strncmp(name, "dram-check-", 11) == 0;
}

/* Looks at all of `from`; with `whole`, its files must be in `to` with the same bytes, else be there at all. */
static const char *look_through(const char *from, const char *to, bool whole)
{
    static char text[2 * PATH_ROOM];
    char other[2 * PATH_ROOM], top[PATH_ROOM];
    const char *found = NULL;
    snprintf(top, sizeof top, "%s", from);
    char *const tops[] = {top, NULL};
    FTS *tree = fts_open(tops, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;
    while (tree && !found && (entry = fts_read(tree))) {
        if (entry->fts_info == FTS_DP) continue;
        const char *below = entry->fts_path + strlen(top);
        snprintf(other, sizeof other, "%s%s", to, below);
        if (!is_there(other) && !comes_and_goes(entry->fts_name))
            snprintf(text, sizeof text, "%s is %s", below + 1, whole ? "not there" : "left over"), found = text;
        else if (whole && is_there(other) && !are_same(entry->fts_path, other, entry->fts_name))
            snprintf(text, sizeof text, "%s differs", below + 1), found = text;
    }
    if (tree) fts_close(tree);
    return found;
}

const char *compare_folders(const char *whole, const char *trial)
{
    const char *found = look_through(whole, trial, true);
    return found ? found : look_through(trial, whole, false);
}
