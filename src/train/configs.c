#include "train/configs.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/log.h"
#include "io/atomic.h"
#include "io/path.h"

/* A file of the run: step 0 is config.yaml; `again` counts those of one step from 1. */
typedef struct {
    int64_t step;
    int again;
} place;

enum { NAME_SIZE = 80 };

static const char *name_of(place p, char out[NAME_SIZE])
{
    if (p.step == 0)
        snprintf(out, NAME_SIZE, "config.yaml");
    else if (p.again == 1)
        snprintf(out, NAME_SIZE, "config.step-%08" PRId64 ".yaml", p.step);
    else
        snprintf(out, NAME_SIZE, "config.step-%08" PRId64 ".%d.yaml", p.step, p.again);
    return out;
}

/* The place of a name that name_of makes; false for all others. */
static bool parse_name(const char *name, place *p)
{
    char again[NAME_SIZE];
    *p = (place){.again = 1};
    if (strcmp(name, "config.yaml") == 0) return true;
    if (sscanf(name, "config.step-%" SCNd64 ".%d.yaml", &p->step, &p->again) < 1 || p->step < 1 || p->again < 1)
        return false;
    return strcmp(name, name_of(*p, again)) == 0;
}

bool dram_configs_name(const char *name, int64_t *step, int *again)
{
    place p;
    if (!parse_name(name, &p)) return false;
    *step = p.step;
    *again = p.again;
    return true;
}

static bool is_later(place a, place b)
{
    return a.step != b.step ? a.step > b.step : a.again > b.again;
}

/* The latest of them after `after`; *found is false where there is none. */
static dram_status find_latest(const char *directory, place after, place *latest, bool *found)
{
    const struct dirent *entry;
    dram_status status = DRAM_OK;
    place p;
    *latest = after;
    *found = false;
    DIR *dir = opendir(directory);
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", directory);
    while ((entry = dram_folder_next(dir)) != NULL) {
        if (!parse_name(entry->d_name, &p) || !is_later(p, *latest)) continue;
        *latest = p;
        *found = true;
    }
    if (errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", directory);
    closedir(dir);
    return status;
}

dram_status dram_configs_latest(const char *directory, char **path)
{
    char name[NAME_SIZE];
    place latest;
    bool found;
    *path = NULL;
    TRY(find_latest(directory, (place){.step = -1}, &latest, &found));
    return found ? dram_path_join(directory, name_of(latest, name), path) : DRAM_OK;
}

/* Whether a file has this very text. What cannot be read has another: it stays, and a file beside it gets the text. */
static bool has_text(const char *path, const dram_str *yaml)
{
    struct stat info;
    const char *why;
    bool equal = false;
    if (dram_file_link(path)) return false;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return false;
    char *text = info.st_size == (off_t)yaml->length ? dram_alloc(yaml->length + 1) : NULL;
    if (text)
        equal = dram_file_read(fd, text, yaml->length) == (ssize_t)yaml->length &&
                memcmp(text, yaml->text, yaml->length) == 0;
    dram_free(text);
    close(fd);
    return equal;
}

static dram_status put_aside(const char *path)
{
    char *aside;
    TRY(dram_path_put_aside(path, &aside));
    dram_info("%s is kept as %s", path, aside);
    dram_free(aside);
    return DRAM_OK;
}

dram_status dram_configs_keep(const char *directory, int64_t step, const dram_str *yaml)
{
    char name[NAME_SIZE], *path = NULL;
    place p = {.step = step, .again = 1}, latest;
    bool found, equal;
    dram_status status;
    TRY(find_latest(directory, (place){.step = -1}, &latest, &found));
    if (found) {
        TRY(dram_path_join(directory, name_of(latest, name), &path));
        equal = has_text(path, yaml);
        dram_free(path);
        path = NULL;
        if (equal) return DRAM_OK;
    }
    if (found && step > 0 && latest.step >= step) p = (place){.step = latest.step, .again = latest.again + 1};
    TRY(dram_path_join(directory, name_of(p, name), &path));
    if (step == 0 && dram_path_exists(path)) TRY_GOTO(put_aside(path), done);
    status = dram_atomic_save(path, yaml->text, yaml->length);
    if (status == DRAM_OK && step > 0)
        dram_info("%s: the config from step %" PRId64 " on; those before it stay as they are", path, step);
done:
    dram_free(path);
    return status;
}

dram_status dram_configs_write_base(const dram_config *cfg, dram_str *yaml)
{
    const char *file = dram_config_file(cfg), *base = dram_config_base(cfg);
    dram_str what = {0};
    if (!file) return DRAM_OK;
    dram_str_add(&what, base ? "the base of %s" : "%s", base ? file : "without what the command line set");
    dram_status status = what.failed ? dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its base", file)
                                     : dram_config_write_base(base ? base : file, what.text, yaml);
    dram_str_free(&what);
    return status;
}

static dram_status is_inside(const char *file, const char *directory, bool *inside)
{
    char *folder;
    TRY(dram_path_folder(file, &folder));
    *inside = dram_same_place(folder, directory);
    dram_free(folder);
    return DRAM_OK;
}

dram_status dram_configs_keep_base(const char *directory, const dram_config *cfg, const dram_str *yaml)
{
    bool inside;
    char *path;
    dram_status status = DRAM_OK;
    if (!yaml->length) return DRAM_OK;
    TRY(is_inside(dram_config_file(cfg), directory, &inside));
    if (inside) return DRAM_OK;
    TRY(dram_path_join(directory, DRAM_CONFIGS_BASE, &path));
    if (!has_text(path, yaml)) {
        if (dram_path_exists(path)) status = put_aside(path);
        if (status == DRAM_OK) status = dram_atomic_save(path, yaml->text, yaml->length);
    }
    dram_free(path);
    return status;
}

dram_status dram_configs_put_aside(const char *directory, int64_t step)
{
    char name[NAME_SIZE], *path;
    place latest;
    bool found = true;
    while (found) {
        TRY(find_latest(directory, (place){.step = step, .again = INT32_MAX}, &latest, &found));
        if (!found) break;
        TRY(dram_path_join(directory, name_of(latest, name), &path));
        dram_status status = put_aside(path);
        dram_free(path);
        TRY(status);
    }
    return DRAM_OK;
}
