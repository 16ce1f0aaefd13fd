/* The folder of a sweep: made once, found again, and refused where it is another's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"
#include "sweep/plan_file.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
}

/* ---- is it this one? ---- */

static const char *shown(const dram_sweep_point *p)
{
    return *p->overrides ? p->overrides : "the base as it is";
}

static dram_status differs(const dram_sweep *there, const char *what)
{
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s holds another sweep: %s; give this one another name, or go on with what that was made of",
                     there->directory, what);
}

static bool is_same_halving(const dram_sweep *a, const dram_sweep *b)
{
    if (a->n_rungs != b->n_rungs || (a->n_rungs && a->keep != b->keep)) return false;
    for (int i = 0; i < a->n_rungs; i++)
        if (a->rungs[i] != b->rungs[i]) return false;
    return true;
}

static bool is_same_seeds(const dram_sweep *a, const dram_sweep *b)
{
    return a->n_seeds == b->n_seeds && memcmp(a->seeds, b->seeds, (size_t)a->n_seeds * sizeof *a->seeds) == 0;
}

/* Fails with the first difference. */
static dram_status check_same(const dram_sweep *there, const dram_sweep *asked)
{
    char what[900];
    int n = there->n_points < asked->n_points ? there->n_points : asked->n_points;
    for (int i = 0; i < n; i++) {
        const dram_sweep_point *was = &there->points[i], *is = &asked->points[i];
        if (strcmp(was->hash, is->hash) == 0) continue;
        if (strcmp(was->overrides, is->overrides) == 0)
            snprintf(what, sizeof what, "point %d (%.300s) comes to other settings than then: its base has changed",
                     i + 1, shown(is));
        else
            snprintf(what, sizeof what, "point %d is %.300s there, and %.300s here", i + 1, shown(was), shown(is));
        return differs(there, what);
    }
    if (there->n_points != asked->n_points) {
        snprintf(what, sizeof what, "it has %d points, and this has %d", there->n_points, asked->n_points);
        return differs(there, what);
    }
    if (!is_same_seeds(there, asked)) return differs(there, "its seeds are others");
    if (there->quality != asked->quality) {
        snprintf(what, sizeof what, "its quality is %s, and here it is %s", dram_quality_name(there->quality),
                 dram_quality_name(asked->quality));
        return differs(there, what);
    }
    if (!is_same_halving(there, asked)) return differs(there, "its halving is another");
    return DRAM_OK;
}

/* What was planned before takes the place of what was asked for. */
static dram_status take_over(dram_sweep *sweep)
{
    dram_sweep there;
    TRY(dram_sweep_plan_read(sweep->directory, &there));
    dram_status status = check_same(&there, sweep);
    if (status != DRAM_OK) {
        dram_sweep_free(&there);
        return status;
    }
    dram_sweep_free(sweep);
    *sweep = there;
    return DRAM_OK;
}

/* ---- making it ---- */

/* What a process that was killed before plan.json may have left. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {".", "..", "configs", "sweep.yaml", "base.yaml", "plan.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strncmp(name, ".dram-tmp-", 10) == 0;
}

static dram_status check_empty(const char *directory)
{
    const struct dirent *entry;
    dram_status status = DRAM_OK;
    DIR *dir = opendir(directory);
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", directory);
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL)
        if (!is_ours(entry->d_name))
            status = dram_fail(
                DRAM_ERR_CONFIG,
                "%s is there, without a plan.json and with %s in it: it is no sweep's; give the sweep another "
                "name",
                directory, entry->d_name);
    if (status == DRAM_OK && errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", directory);
    closedir(dir);
    return status;
}

static dram_status save(const dram_sweep *sweep, const char *name, const char *text)
{
    char *path;
    TRY(dram_path_join(sweep->directory, name, &path));
    dram_status status = dram_atomic_save(path, text, strlen(text));
    dram_free(path);
    return status;
}

static dram_status save_configs(const dram_sweep *sweep)
{
    char *path;
    TRY(dram_path_join(sweep->directory, "configs", &path));
    dram_status status = dram_make_folders(path);
    dram_free(path);
    for (int i = 0; i < sweep->n_points && status == DRAM_OK; i++) {
        const dram_sweep_point *p = &sweep->points[i];
        if (!p->settled) continue;
        TRY(dram_sweep_config_path(sweep, p, &path));
        status = dram_atomic_save(path, p->settled, strlen(p->settled));
        dram_free(path);
    }
    return status;
}

/* plan.json comes last: with it the folder is a sweep's. */
static dram_status fill(const dram_sweep *sweep)
{
    char *path;
    TRY(check_empty(sweep->directory));
    TRY(save_configs(sweep));
    TRY(save(sweep, "sweep.yaml", sweep->yaml));
    TRY(save(sweep, "base.yaml", sweep->base));
    cJSON *root = dram_sweep_json(sweep);
    if (!root) return DRAM_ERR_MEMORY;
    dram_status status = dram_sweep_plan_path(sweep->directory, &path);
    if (status == DRAM_OK) {
        status = dram_json_write_sealed(path, root);
        dram_free(path);
    }
    cJSON_Delete(root);
    return status;
}

/* Holds plan.lock of the folder, so that one process at a time makes it; -1 where it cannot be locked: whole files and
 * their order have to do then. */
static int lock(const dram_sweep *sweep)
{
    char *path;
    const char *why;
    if (dram_path_join(sweep->directory, "plan.lock", &path) != DRAM_OK) return -1;
    int fd = dram_file_open_to_write(path, O_CREAT, &why);
    dram_free(path);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0 && errno == EINTR) {
    }
    return fd;
}

bool dram_sweep_is_there(const dram_sweep *sweep)
{
    char *path;
    if (dram_sweep_plan_path(sweep->directory, &path) != DRAM_OK) return false;
    bool there = dram_path_exists(path);
    dram_free(path);
    return there;
}

dram_status dram_sweep_open(dram_sweep *sweep, bool *is_new)
{
    bool made = false;
    dram_status status;
    if (!dram_sweep_is_there(sweep)) {
        TRY(dram_make_folders(sweep->directory));
        int fd = lock(sweep);
        made = !dram_sweep_is_there(sweep);
        status = made ? fill(sweep) : DRAM_OK;
        if (fd >= 0) close(fd);
        TRY(status);
    }
    if (is_new) *is_new = made;
    return made ? DRAM_OK : take_over(sweep);
}

dram_status dram_sweep_load(const char *directory, dram_sweep *sweep)
{
    char *path;
    TRY(dram_sweep_plan_path(directory, &path));
    bool there = dram_path_exists(path);
    dram_free(path);
    if (there) return dram_sweep_plan_read(directory, sweep);
    *sweep = (dram_sweep){0};
    return dram_fail(DRAM_ERR_CONFIG, "%s: there is no plan.json in it: it is not the folder of a sweep", directory);
}

/* ---- what a run is given ---- */

static dram_status set_text(char **place, const char *text)
{
    char *copy = dram_strdup(text);
    if (!copy) return no_memory();
    dram_free(*place);
    *place = copy;
    return DRAM_OK;
}

dram_status dram_sweep_config(const dram_sweep *sweep, const dram_sweep_run *run, dram_str *yaml)
{
    char *path;
    dram_config *cfg;
    TRY(dram_sweep_config_path(sweep, &sweep->points[run->point], &path));
    dram_status status = dram_config_load(path, NULL, 0, &cfg);
    dram_free(path);
    TRY(status);
    status = set_text(&cfg->name, run->name);
    if (status == DRAM_OK) status = set_text(&cfg->run.dir, sweep->directory);
    cfg->seed = run->seed;
    if (run->timed && cfg->train.steps > DRAM_SWEEP_TIMED_STEPS) cfg->train.stop_at = DRAM_SWEEP_TIMED_STEPS;
    if (status == DRAM_OK) status = dram_config_write_yaml(cfg, yaml);
    dram_config_free(cfg);
    return status;
}
