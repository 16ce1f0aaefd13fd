#include "sweep/plan_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "io/path.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
}

dram_status dram_sweep_plan_path(const char *directory, char **path)
{
    return dram_path_join(directory, "plan.json", path);
}

dram_status dram_sweep_config_path(const dram_sweep *sweep, const dram_sweep_point *point, char **path)
{
    char name[64];
    snprintf(name, sizeof name, "configs/%04d-%s.yaml", point->index, point->hash);
    return dram_path_join(sweep->directory, name, path);
}

/* ---- writing ---- */

static bool add_number(cJSON *object, const char *key, double value)
{
    return cJSON_AddNumberToObject(object, key, value) != NULL;
}

static bool add_index(cJSON *object, const char *key, int index)
{
    return index ? add_number(object, key, index) : cJSON_AddNullToObject(object, key) != NULL;
}

static const double EXACT = 999999999999999; /* numbers of JSON are written with 15 digits (cJSON) */

/* A seed may have more digits. */
static bool add_integer(cJSON *array, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    cJSON *item = value > (int64_t)EXACT ? cJSON_CreateString(text) : cJSON_CreateNumber((double)value);
    if (item && cJSON_AddItemToArray(array, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool add_point(cJSON *o, const dram_sweep_point *p)
{
    return o && add_number(o, "index", p->index) && dram_json_add_text(o, "hash", p->hash) &&
           dram_json_add_text(o, "overrides", p->overrides) && dram_json_add_text(o, "differs", p->differs) &&
           add_number(o, "asked", p->asked) && dram_json_add_text(o, "status", dram_point_status_word(p->status)) &&
           dram_json_add_text(o, "text", p->text) && dram_json_add_text(o, "advice", p->advice) &&
           add_number(o, "floor_bytes", (double)p->floor_bytes) && dram_json_add_text(o, "pulled", p->pulled) &&
           add_number(o, "planned_bytes", (double)p->planned_bytes) &&
           add_number(o, "host_bytes", (double)p->host_bytes) &&
           add_number(o, "reserve_bytes", (double)p->reserve_bytes) &&
           add_number(o, "process_bytes", (double)p->process_bytes) && add_number(o, "flops", p->flops) &&
           cJSON_AddBoolToObject(o, "gpu", p->gpu) && add_number(o, "cores", p->cores) &&
           add_number(o, "ranks", p->ranks) && add_number(o, "steps", p->steps) &&
           add_index(o, "equal_to", p->equal_to) && add_index(o, "timed_with", p->timed_with);
}

static bool add_halving(cJSON *root, const dram_sweep *sweep)
{
    if (!sweep->n_rungs) return cJSON_AddNullToObject(root, "halving") != NULL;
    cJSON *o = cJSON_AddObjectToObject(root, "halving"), *rungs = o ? cJSON_AddArrayToObject(o, "rungs") : NULL;
    bool good = rungs && add_number(o, "keep", sweep->keep);
    for (int i = 0; i < sweep->n_rungs && good; i++) good = add_integer(rungs, sweep->rungs[i]);
    return good;
}

static bool fill(cJSON *root, const dram_sweep *sweep)
{
    bool good = dram_json_add_text(root, "name", sweep->name) &&
                dram_json_add_text(root, "directory", sweep->directory) &&
                dram_json_add_text(root, "source", sweep->source) &&
                dram_json_add_text(root, "quality", dram_quality_name(sweep->quality)) && add_halving(root, sweep) &&
                add_number(root, "asked", sweep->asked);
    cJSON *seeds = good ? cJSON_AddArrayToObject(root, "seeds") : NULL;
    for (int i = 0; seeds && i < sweep->n_seeds; i++)
        if (!add_integer(seeds, sweep->seeds[i])) return false;
    cJSON *points = seeds ? cJSON_AddArrayToObject(root, "points") : NULL;
    for (int i = 0; points && i < sweep->n_points; i++)
        if (!add_point(dram_json_append(points), &sweep->points[i])) return false;
    cJSON *runs = points ? cJSON_AddArrayToObject(root, "runs") : NULL;
    for (int i = 0; runs && i < sweep->n_runs; i++) {
        cJSON *item = cJSON_CreateString(sweep->runs[i].name);
        if (!item || !cJSON_AddItemToArray(runs, item)) return false;
    }
    return runs != NULL;
}

cJSON *dram_sweep_json(const dram_sweep *sweep)
{
    cJSON *root = cJSON_CreateObject();
    if (root && fill(root, sweep)) return root;
    cJSON_Delete(root);
    no_memory();
    return NULL;
}

/* ---- reading ---- */

/* A member that is a text or null; *out is a copy, or NULL. */
static dram_status read_text(const cJSON *o, const char *path, const char *key, char **out)
{
    const char *text;
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(o, key))) return DRAM_OK;
    TRY(dram_json_text(o, path, key, &text));
    *out = dram_strdup(text);
    return *out ? DRAM_OK : no_memory();
}

static dram_status read_number(const cJSON *o, const char *path, const char *key, int64_t *out)
{
    return dram_json_int(o, path, key, 0, INT64_MAX / 2, out);
}

static dram_status read_count(const cJSON *o, const char *path, const char *key, int low, int high, int *out)
{
    int64_t value;
    TRY(dram_json_int(o, path, key, low, high, &value));
    *out = (int)value;
    return DRAM_OK;
}

static dram_status read_flops(const cJSON *o, const char *path, double *out)
{
    TRY(dram_json_number(o, path, "flops", out));
    return *out >= 0 ? DRAM_OK : dram_fail(DRAM_ERR_FORMAT, "%s: flops: %g is out of range", path, *out);
}

static dram_status read_index(const cJSON *o, const char *path, const char *key, int n, int *out)
{
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(o, key))) return DRAM_OK;
    return read_count(o, path, key, 1, n, out);
}

/* The place of a word in words[0..n), -1: none. */
static int find_word(const char *word, const char *(*word_of)(int), int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(word, word_of(i)) == 0) return i;
    return -1;
}

static const char *status_word(int i)
{
    return dram_point_status_word((dram_point_status)i);
}

static const char *quality_word(int i)
{
    return dram_quality_name((dram_quality)i);
}

static dram_status read_word(const cJSON *o, const char *path, const char *key, const char *(*word_of)(int), int n,
                             int *out)
{
    const char *text;
    TRY(dram_json_text(o, path, key, &text));
    *out = find_word(text, word_of, n);
    return *out >= 0 ? DRAM_OK : dram_fail(DRAM_ERR_FORMAT, "%s: %s: \"%.60s\" is none", path, key, text);
}

static dram_status read_point(const cJSON *o, const char *path, int n, dram_sweep_point *p)
{
    const char *hash;
    int status;
    TRY(dram_json_text(o, path, "hash", &hash));
    if (strlen(hash) >= sizeof p->hash || strspn(hash, "0123456789abcdef") != strlen(hash))
        return dram_fail(DRAM_ERR_FORMAT, "%s: hash: \"%.60s\" is none", path, hash);
    strcpy(p->hash, hash);
    TRY(read_word(o, path, "status", status_word, DRAM_POINT_TOO_BIG + 1, &status));
    p->status = (dram_point_status)status;
    p->gpu = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "gpu"));
    TRY(read_text(o, path, "overrides", &p->overrides));
    TRY(read_text(o, path, "differs", &p->differs));
    TRY(read_text(o, path, "text", &p->text));
    TRY(read_text(o, path, "advice", &p->advice));
    TRY(read_text(o, path, "pulled", &p->pulled));
    TRY(read_number(o, path, "floor_bytes", &p->floor_bytes));
    TRY(read_number(o, path, "planned_bytes", &p->planned_bytes));
    TRY(read_number(o, path, "host_bytes", &p->host_bytes));
    TRY(read_number(o, path, "reserve_bytes", &p->reserve_bytes));
    TRY(read_number(o, path, "process_bytes", &p->process_bytes));
    TRY(read_flops(o, path, &p->flops));
    TRY(read_count(o, path, "asked", 1, DRAM_SWEEP_POINTS, &p->asked));
    TRY(read_count(o, path, "cores", 0, 100000, &p->cores));
    TRY(read_count(o, path, "ranks", 1, 4096, &p->ranks));
    TRY(read_count(o, path, "steps", 0, INT32_MAX, &p->steps));
    TRY(read_index(o, path, "equal_to", n, &p->equal_to));
    return read_index(o, path, "timed_with", n, &p->timed_with);
}

static dram_status no_list(const char *path, const char *key)
{
    return dram_fail(DRAM_ERR_FORMAT, "%s: %s: is no list that a sweep may have", path, key);
}

static dram_status read_points(const cJSON *root, const char *path, dram_sweep *sweep)
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(root, "points"), *o;
    int n = cJSON_GetArraySize(array);
    if (!cJSON_IsArray(array) || n < 1 || n > DRAM_SWEEP_POINTS) return no_list(path, "points");
    sweep->points = dram_calloc((size_t)n, sizeof *sweep->points);
    if (!sweep->points) return no_memory();
    cJSON_ArrayForEach(o, array)
    {
        dram_sweep_point *p = &sweep->points[sweep->n_points];
        p->index = ++sweep->n_points;
        TRY(read_point(o, path, n, p));
    }
    return DRAM_OK;
}

static dram_status read_integers(const cJSON *array, const char *path, const char *key, int64_t *out)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array)
    {
        if (cJSON_IsString(item))
            *out = strtoll(item->valuestring, NULL, 10);
        else if (cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= EXACT)
            *out = (int64_t)item->valuedouble;
        else
            return no_list(path, key);
        out++;
    }
    return DRAM_OK;
}

static dram_status read_halving(const cJSON *root, const char *path, dram_sweep *sweep)
{
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "halving");
    if (cJSON_IsNull(o)) return DRAM_OK;
    const cJSON *rungs = cJSON_GetObjectItemCaseSensitive(o, "rungs");
    sweep->n_rungs = cJSON_GetArraySize(rungs);
    if (!cJSON_IsArray(rungs) || sweep->n_rungs < 1 || sweep->n_rungs > DRAM_SWEEP_RUNGS) return no_list(path, "rungs");
    TRY(read_integers(rungs, path, "rungs", sweep->rungs));
    return dram_json_number(o, path, "keep", &sweep->keep);
}

static dram_status read_sweep(const cJSON *root, const char *path, dram_sweep *sweep)
{
    int quality;
    const cJSON *seeds = cJSON_GetObjectItemCaseSensitive(root, "seeds");
    TRY(read_text(root, path, "name", &sweep->name));
    TRY(read_text(root, path, "source", &sweep->source));
    TRY(read_word(root, path, "quality", quality_word, DRAM_QUALITY_COUNT, &quality));
    sweep->quality = (dram_quality)quality;
    TRY(read_count(root, path, "asked", 1, DRAM_SWEEP_POINTS, &sweep->asked));
    sweep->n_seeds = cJSON_GetArraySize(seeds);
    if (!cJSON_IsArray(seeds) || sweep->n_seeds < 1 || sweep->n_seeds > DRAM_SWEEP_SEEDS) return no_list(path, "seeds");
    sweep->seeds = dram_calloc((size_t)sweep->n_seeds, sizeof *sweep->seeds);
    if (!sweep->seeds) return no_memory();
    TRY(read_integers(seeds, path, "seeds", sweep->seeds));
    TRY(read_halving(root, path, sweep));
    return read_points(root, path, sweep);
}

dram_status dram_sweep_plan_read(const char *directory, dram_sweep *sweep)
{
    char *path;
    cJSON *root = NULL;
    *sweep = (dram_sweep){0};
    TRY(dram_sweep_plan_path(directory, &path));
    dram_status status = dram_json_read_sealed(path, &root);
    if (status == DRAM_OK) status = read_sweep(root, path, sweep);
    if (status == DRAM_OK && !(sweep->directory = dram_strdup(directory))) status = no_memory();
    if (status == DRAM_OK) status = dram_sweep_list_runs(sweep);
    cJSON_Delete(root);
    dram_free(path);
    if (status != DRAM_OK) dram_sweep_free(sweep);
    return status;
}
