#include "train/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "feed/feed.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "session/weights.h"

/* The files of a checkpoint directory. The SR head is part of the training state only, so it is in heads.safetensors
 * here and not in the exported one. */
static const struct {
    const char *file;
    const char *groups[3];
    int n_groups;
    bool with_group;
} parts[] = {
    {"student.safetensors", {"student"}, 1, false},
    {"heads.safetensors", {"neck", "head", "sr"}, 3, true},
    {"optimizer.safetensors", {"optimizer"}, 1, false},
};
enum { PARTS = sizeof parts / sizeof parts[0], EXPORTED = 2 };

const char *dram_checkpoint_file(int i)
{
    return i < PARTS ? parts[i].file : NULL;
}

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

/* As text, since JSON's numbers are doubles. */
static const char *seed_text(const dram_session *s, char out[32])
{
    snprintf(out, 32, "%lld", (long long)s->cfg.seed);
    return out;
}

static dram_status write_json(const dram_session *s, const char *path, const dram_run_state *state)
{
    char seed[32];
    int ranks = dram_comm_size(s->comm);
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "version", DRAM_VERSION) &&
                cJSON_AddNumberToObject(root, "step", (double)state->step) &&
                cJSON_AddNumberToObject(root, "position", (double)state->position) &&
                cJSON_AddNumberToObject(root, "batches_tracked", (double)s->batches_tracked) &&
                cJSON_AddNumberToObject(root, "loss_scale", state->scaling.scale) &&
                cJSON_AddNumberToObject(root, "good_steps", (double)state->scaling.good) &&
                cJSON_AddNumberToObject(root, "skipped_steps", (double)state->scaling.skipped) &&
                cJSON_AddStringToObject(root, "seed", seed_text(s, seed)) &&
                cJSON_AddNumberToObject(root, "ranks", ranks) &&
                cJSON_AddNumberToObject(root, "effective_batch", ranks * s->cfg.train.batch_size) &&
                cJSON_AddNumberToObject(root, "accumulate", s->cfg.train.accumulate) && add_skipped(root, state);
    dram_status status = good ? dram_json_write(path, root) : dram_fail(DRAM_ERR_MEMORY, "no memory to save the state");
    cJSON_Delete(root);
    return status;
}

static const char target_file[] = "target.safetensors";

static dram_status write_target(const dram_session *s, const dram_dir *dir, const dram_run_state *state)
{
    char *path;
    const dram_st_out out = {.name = "target",
                             .dtype = DRAM_ST_F32,
                             .rank = 1,
                             .dim = {state->target_count * dram_comm_size(s->comm)},
                             .data = state->targets ? state->targets : state->target};
    if (!state->target) return DRAM_OK;
    TRY(dram_dir_file(dir, target_file, &path));
    dram_status status = dram_st_write(path, &out, 1, NULL, 0);
    dram_free(path);
    return status;
}

/* The file has those of the whole effective batch, in the order of the stream. */
static dram_status read_target(const dram_session *s, const char *directory, const dram_run_state *state)
{
    const int64_t each = state->target_count;
    char *path;
    dram_st *file;
    dram_status status;
    if (!state->target) return DRAM_OK;
    TRY(dram_path_join(directory, target_file, &path));
    TRY_GOTO(dram_st_open(path, &file), done);
    const dram_st_tensor *tensor = dram_st_find(file, "target");
    if (tensor && tensor->elements == each * dram_comm_size(s->comm))
        status = dram_st_read_f32(file, tensor, each * dram_comm_rank(s->comm), each, state->target);
    else
        status =
            dram_fail(DRAM_ERR_CONFIG, "%s: not of this batch and size; resume with those the run began with", path);
    dram_st_close(file);
done:
    dram_free(path);
    return status;
}

static dram_status write_tensors(dram_session *s, const dram_dir *dir, const dram_run_state *state)
{
    char *path;
    for (int i = 0; i < PARTS; i++) {
        TRY(dram_dir_file(dir, parts[i].file, &path));
        dram_status status =
            dram_weights_save(s, path, parts[i].groups, parts[i].n_groups, parts[i].with_group, DRAM_PRECISION_FP32);
        dram_free(path);
        TRY(status);
    }
    return write_target(s, dir, state);
}

/* checkpoint.json: the version, what the run depends on, and the hashes of all that was written before. */
static dram_status seal(const dram_dir *dir, const dram_run_state *state)
{
    cJSON *root = cJSON_CreateObject();
    dram_status status = DRAM_OK;
    if (!root || !cJSON_AddStringToObject(root, "version", DRAM_VERSION))
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the hashes of a checkpoint");
    if (status == DRAM_OK) status = dram_depends_add(state->depends, root);
    if (status == DRAM_OK) status = dram_checkpoint_seal(dir->temporary, root);
    cJSON_Delete(root);
    return status;
}

static dram_status write_files(dram_session *s, const dram_dir *dir, const dram_run_state *state)
{
    char *path;
    TRY(write_tensors(s, dir, state));
    TRY(dram_dir_file(dir, "config.yaml", &path));
    dram_status status = dram_atomic_save(path, state->config->text, state->config->length);
    dram_free(path);
    TRY(status);
    TRY(dram_dir_file(dir, "state.json", &path));
    status = write_json(s, path, state);
    dram_free(path);
    return status == DRAM_OK ? seal(dir, state) : status;
}

dram_status dram_checkpoint_save(dram_session *s, const char *folder, const dram_run_state *state)
{
    char *path;
    dram_dir dir = {0};
    dram_status status;
    TRY(dram_checkpoint_path(folder, state->step, &path));
    TRY_GOTO(dram_dir_begin(&dir, path), done);
    TRY_GOTO(write_files(s, &dir, state), done);
    TRY_GOTO(dram_dir_commit(&dir), done);
    status = dram_checkpoint_prune(folder, s->cfg.run.keep, state->step);
done:
    dram_dir_abort(&dir);
    dram_free(path);
    return status;
}

/* state.json, folders, and the ends of files in their last blocks, of a checkpoint; the logs of a run. */
enum { SMALL_BYTES = 64 << 10 };

/* Bytes of a checkpoint, and of what is exported. */
static dram_status count_bytes(dram_session *s, int64_t *checkpoint, int64_t *exported)
{
    *checkpoint = SMALL_BYTES + dram_feed_kept(&s->graphs) * (int64_t)sizeof(float);
    *exported = SMALL_BYTES;
    for (int i = 0; i < PARTS; i++) {
        int64_t bytes;
        const char *file = parts[i].file, *const *groups = parts[i].groups;
        bool with = parts[i].with_group;
        TRY(dram_weights_size(s, file, groups, parts[i].n_groups, with, DRAM_PRECISION_FP32, &bytes));
        *checkpoint += bytes;
        if (i >= EXPORTED) continue;
        TRY(dram_weights_size(s, file, groups, with ? 2 : 1, with, s->cfg.run.export, &bytes));
        *exported += bytes;
    }
    return DRAM_OK;
}

/* What is there of a run's checkpoints, and what is still to be written. */
typedef struct {
    int there;
    bool whole; /* all steps are in the newest: none is written any more */
    int64_t checkpoint, exported, free_bytes;
} disk;

static dram_status find_room(dram_session *s, const char *directory, int64_t step, disk *r)
{
    char *folder;
    int64_t *steps;
    TRY(dram_path_join(directory, "checkpoints", &folder));
    dram_status status = dram_checkpoint_list(folder, &steps, &r->there);
    dram_free(folder);
    TRY(status);
    while (r->there && steps[r->there - 1] > step) r->there--; /* they will be put aside */
    r->whole = r->there && step >= s->cfg.train.steps;
    dram_free(steps);
    TRY(dram_path_free_bytes(directory, &r->free_bytes));
    return count_bytes(s, &r->checkpoint, &r->exported);
}

/* Bytes that are still to be written until `n` checkpoints and the export are there. */
static int64_t bytes_until(const disk *r, int n)
{
    int64_t more = r->whole ? 0 : n > r->there ? n - r->there : 1;
    return more * r->checkpoint + r->exported;
}

dram_status dram_checkpoint_check_room(dram_session *s, const char *directory, int64_t step)
{
    disk r;
    char asked[32], has[32];
    int keep = s->cfg.run.keep;
    TRY(find_room(s, directory, step, &r));
    dram_format_bytes(r.free_bytes, has, sizeof has);
    dram_format_bytes(bytes_until(&r, 2), asked, sizeof asked);
    if (bytes_until(&r, 2) > r.free_bytes)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s: %s take %s, and %s of this disk are free; make room, or set run.dir to a folder on "
                         "another disk",
                         directory,
                         r.whole   ? "student and heads"
                         : r.there ? "one more checkpoint and the export"
                                   : "two checkpoints and the export",
                         asked, has);
    /* The next one is whole before the oldest goes. */
    if (s->cfg.run.save_every > 0 && bytes_until(&r, keep + 1) > r.free_bytes)
        dram_warn("%s: %d checkpoints (run.keep), the next one beside them and the export will take %s more, and %s of "
                  "this disk are free",
                  directory, keep, dram_format_bytes(bytes_until(&r, keep + 1), asked, sizeof asked), has);
    return DRAM_OK;
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

static dram_status read_scaling(const cJSON *root, const char *path, int64_t most, dram_scaling *scaling)
{
    int exponent;
    TRY(dram_json_number(root, path, "loss_scale", &scaling->scale));
    if (!(scaling->scale >= 1.0) || frexp(scaling->scale, &exponent) != 0.5)
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

static dram_status read_json(dram_session *s, const char *path, dram_run_state *state)
{
    char mine[32];
    cJSON *root;
    const char *seed;
    dram_status status;
    TRY(dram_json_read(path, &root));
    tell_unknown(root, path);
    const int64_t most = (int64_t)1 << 53;
    TRY_GOTO(dram_json_text(root, path, "seed", &seed), done);
    if (strcmp(seed, seed_text(s, mine)) != 0) {
        status = dram_fail(DRAM_ERR_CONFIG, "%s is of a run with seed %.32s: resume it with that seed", path, seed);
        goto done;
    }
    TRY_GOTO(dram_json_int(root, path, "step", 0, most, &state->step), done);
    TRY_GOTO(dram_json_int(root, path, "position", 0, most, &state->position), done);
    TRY_GOTO(dram_json_int(root, path, "batches_tracked", 0, most, &s->batches_tracked), done);
    TRY_GOTO(read_scaling(root, path, most, &state->scaling), done);
    status = read_skipped(root, path, state);
done:
    cJSON_Delete(root);
    return status;
}

/* Loads the files of tensors, or holds their names and shapes against the session's. */
static dram_status read_tensors(dram_session *s, const char *directory, bool load)
{
    for (int i = 0; i < PARTS; i++) {
        char *path;
        TRY(dram_path_join(directory, parts[i].file, &path));
        dram_status status =
            dram_weights_resume(s, path, parts[i].groups, parts[i].n_groups, parts[i].with_group, load);
        dram_free(path);
        TRY(status);
    }
    return DRAM_OK;
}

dram_status dram_checkpoint_fits(dram_session *s, const char *directory, int64_t step)
{
    char *folder, *path = NULL;
    TRY(dram_path_join(directory, "checkpoints", &folder));
    dram_status status = dram_checkpoint_path(folder, step, &path);
    if (status == DRAM_OK) status = read_tensors(s, path, false);
    dram_free(path);
    dram_free(folder);
    return status;
}

dram_status dram_checkpoint_load(dram_session *s, const char *folder, int64_t step, dram_run_state *state)
{
    char *directory, *path = NULL;
    dram_status status;
    TRY(dram_checkpoint_path(folder, step, &directory));
    TRY_GOTO(read_tensors(s, directory, true), done);
    TRY_GOTO(read_target(s, directory, state), done);
    TRY_GOTO(dram_path_join(directory, "state.json", &path), done);
    status = read_json(s, path, state);
done:
    dram_free(path);
    dram_free(directory);
    return status;
}

dram_status dram_student_export(dram_session *s, const char *directory)
{
    for (int i = 0; i < EXPORTED; i++) {
        char *path;
        int n = parts[i].with_group ? 2 : 1; /* neck and head, not sr */
        TRY(dram_path_join(directory, parts[i].file, &path));
        dram_status status = dram_weights_save(s, path, parts[i].groups, n, parts[i].with_group, s->cfg.run.export);
        dram_free(path);
        TRY(status);
    }
    return DRAM_OK;
}
