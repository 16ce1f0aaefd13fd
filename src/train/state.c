#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "io/json.h"

static bool add_skipped(cJSON *root, const dram_run_state *state)
{
    cJSON *names = cJSON_AddArrayToObject(root, "skipped_images");
    for (int i = 0; names && i < dram_dataset_count(state->dataset); i++) {
        if (!state->is_skipped[i]) continue;
        dram_str room = {0};
        const char *text = dram_json_name(dram_dataset_name(state->dataset, i), &room);
        cJSON *name = text ? cJSON_CreateString(text) : NULL;
        dram_str_free(&room);
        if (!name || !cJSON_AddItemToArray(names, name)) return false;
    }
    return names != NULL;
}

static bool add_effective(cJSON *root, const dram_run_state *state)
{
    const dram_effective *e = &state->effective;
    return !e->ranks || (cJSON_AddNumberToObject(root, "ranks", e->ranks) &&
                         cJSON_AddNumberToObject(root, "effective_batch", e->batch) &&
                         cJSON_AddNumberToObject(root, "accumulate", e->accumulate));
}

/* As text, since JSON's numbers are doubles. */
static const char *seed_text(int64_t seed, char out[32])
{
    snprintf(out, 32, "%lld", (long long)seed);
    return out;
}

dram_status dram_state_write(const char *path, int64_t seed, int64_t batches_tracked, const dram_run_state *state)
{
    char digits[32];
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "version", DRAM_VERSION) &&
                cJSON_AddNumberToObject(root, "step", (double)state->step) &&
                cJSON_AddNumberToObject(root, "position", (double)state->position) &&
                cJSON_AddNumberToObject(root, "batches_tracked", (double)batches_tracked) &&
                cJSON_AddNumberToObject(root, "loss_scale", state->scaling.scale) &&
                cJSON_AddNumberToObject(root, "good_steps", (double)state->scaling.good) &&
                cJSON_AddNumberToObject(root, "skipped_steps", (double)state->scaling.skipped) &&
                cJSON_AddStringToObject(root, "seed", seed_text(seed, digits)) && add_effective(root, state) &&
                add_skipped(root, state);
    dram_status status = good ? dram_json_write(path, root) : dram_fail(DRAM_ERR_MEMORY, "no memory to save the state");
    cJSON_Delete(root);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The texts of a list, sorted; what is no text is passed over. *sorted is the caller's, its texts the list's. */
static bool sort_texts(const cJSON *list, const char ***sorted, size_t *n)
{
    const cJSON *item;
    *n = 0;
    *sorted = dram_alloc((size_t)cJSON_GetArraySize(list) * sizeof **sorted);
    if (!*sorted) return false;
    cJSON_ArrayForEach(item, list) if (cJSON_IsString(item))(*sorted)[(*n)++] = item->valuestring;
    if (*n) qsort(*sorted, *n, sizeof **sorted, by_text);
    return true;
}

/* A file that is no longer there is not asked for again. Both sides may be hundreds of thousands: each image is looked
 * for among sorted names. */
static dram_status read_skipped(const cJSON *root, const char *path, dram_run_state *state)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "skipped_images");
    const char **names;
    size_t n;
    bool good;
    if (!cJSON_IsArray(list)) return dram_fail(DRAM_ERR_FORMAT, "%s: skipped_images is not a list of files", path);
    state->skipped = 0;
    good = sort_texts(list, &names, &n);
    for (int i = 0; i < dram_dataset_count(state->dataset) && good; i++) {
        dram_str room = {0};
        const char *text = dram_json_name(dram_dataset_name(state->dataset, i), &room);
        state->is_skipped[i] = text && n && bsearch(&text, names, n, sizeof *names, by_text);
        state->skipped += state->is_skipped[i];
        good = text != NULL;
        dram_str_free(&room);
    }
    dram_free(names);
    return good ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for the names of images", path);
}

/* Numbers of state.json are below this: JSON as it is written here keeps 15 digits (io/json.h). */
static const int64_t most = 999999999999999;

static dram_status read_scaling(const cJSON *root, const char *path, dram_scaling *scaling)
{
    int exponent;
    TRY(dram_json_number(root, path, "loss_scale", &scaling->scale));
    if (!(scaling->scale >= 1.0 && scaling->scale <= (double)most) || frexp(scaling->scale, &exponent) != 0.5)
        return dram_fail(DRAM_ERR_FORMAT, "%s: loss_scale is no power of two from 1 on", path);
    TRY(dram_json_int(root, path, "good_steps", 0, most, &scaling->good));
    return dram_json_int(root, path, "skipped_steps", 0, most, &scaling->skipped);
}

/* The members of state.json that are read; a newer dram may write more. */
static void tell_unknown(const cJSON *root, const char *path)
{
    static const char *const known[] = {"version",        "step",       "position",        "batches_tracked",
                                        "loss_scale",     "good_steps", "skipped_steps",   "seed",
                                        "skipped_images", "ranks",      "effective_batch", "accumulate"};
    const char *version = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "version"));
    const cJSON *item;
    dram_str names = {0};
    cJSON_ArrayForEach(item, root)
    {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known = is_known || strcmp(item->string, known[i]) == 0;
        if (!is_known) dram_str_add(&names, "%s%s", names.length ? ", " : "", item->string);
    }
    if (names.length)
        dram_warn("%s: %s: not known to dram %s, and passed over; dram %s saved it", path, names.text, DRAM_VERSION,
                  version ? version : "of no version");
    dram_str_free(&names);
}

dram_status dram_state_read(const char *path, int64_t seed, int64_t *batches_tracked, dram_run_state *state)
{
    char mine[32];
    cJSON *root;
    const char *saved;
    dram_status status;
    TRY(dram_json_read(path, &root));
    tell_unknown(root, path);
    TRY_GOTO(dram_json_text(root, path, "seed", &saved), done);
    if (strcmp(saved, seed_text(seed, mine)) != 0) {
        status = dram_fail(DRAM_ERR_CONFIG, "%s is of a run with seed %.32s: resume it with that seed", path, saved);
        goto done;
    }
    TRY_GOTO(dram_json_int(root, path, "step", 0, most, &state->step), done);
    TRY_GOTO(dram_json_int(root, path, "position", 0, most, &state->position), done);
    TRY_GOTO(dram_json_int(root, path, "batches_tracked", 0, most, batches_tracked), done);
    TRY_GOTO(read_scaling(root, path, &state->scaling), done);
    status = read_skipped(root, path, state);
done:
    cJSON_Delete(root);
    return status;
}
