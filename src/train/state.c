#include "train/state.h"

#include "base/alloc.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "train/weights.h"

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

static dram_status write_json(const dram_session *s, const char *path, const dram_state *state)
{
    cJSON *root = cJSON_CreateObject();
    bool good = root && cJSON_AddStringToObject(root, "version", DRAM_VERSION) &&
                cJSON_AddNumberToObject(root, "step", (double)state->step) &&
                cJSON_AddNumberToObject(root, "position", (double)state->position) &&
                cJSON_AddNumberToObject(root, "skipped_images", state->skipped) &&
                cJSON_AddNumberToObject(root, "batches_tracked", (double)s->batches_tracked) &&
                cJSON_AddNumberToObject(root, "seed", (double)s->cfg->seed);
    dram_status status = good ? dram_json_write(path, root) : dram_fail(DRAM_ERR_MEMORY, "no memory to save the state");
    cJSON_Delete(root);
    return status;
}

static dram_status write_files(dram_session *s, const dram_dir *dir, const dram_state *state)
{
    char *path;
    for (int i = 0; i < PARTS; i++) {
        TRY(dram_dir_file(dir, parts[i].file, &path));
        dram_status status =
            dram_weights_save(s, path, parts[i].groups, parts[i].n_groups, parts[i].with_group, DRAM_PRECISION_FP32);
        dram_free(path);
        TRY(status);
    }
    TRY(dram_dir_file(dir, "state.json", &path));
    dram_status status = write_json(s, path, state);
    dram_free(path);
    return status;
}

dram_status dram_state_save(dram_session *s, const char *folder, const dram_state *state)
{
    char *path;
    dram_dir dir = {0};
    dram_status status;
    TRY(dram_checkpoint_path(folder, state->step, &path));
    TRY_GOTO(dram_dir_begin(&dir, path), done);
    TRY_GOTO(write_files(s, &dir, state), done);
    TRY_GOTO(dram_dir_commit(&dir), done);
    status = dram_checkpoint_keep(folder, s->cfg->run.keep, state->step);
done:
    dram_dir_abort(&dir);
    dram_free(path);
    return status;
}

static dram_status read_json(dram_session *s, const char *path, dram_state *state)
{
    cJSON *root;
    int64_t skipped, seed;
    dram_status status;
    TRY(dram_json_read(path, &root));
    const int64_t most = (int64_t)1 << 53;
    TRY_GOTO(dram_json_int(root, path, "step", 0, most, &state->step), done);
    TRY_GOTO(dram_json_int(root, path, "position", 0, most, &state->position), done);
    TRY_GOTO(dram_json_int(root, path, "skipped_images", 0, INT32_MAX, &skipped), done);
    TRY_GOTO(dram_json_int(root, path, "batches_tracked", 0, most, &s->batches_tracked), done);
    TRY_GOTO(dram_json_int(root, path, "seed", 0, most, &seed), done);
    state->skipped = (int)skipped;
    if (seed != s->cfg->seed)
        status = dram_fail(DRAM_ERR_CONFIG, "%s is of a run with seed %lld: resume it with that seed", path,
                           (long long)seed);
done:
    cJSON_Delete(root);
    return status;
}

dram_status dram_state_load(dram_session *s, const char *folder, dram_state *state)
{
    int64_t step;
    char *directory, *path = NULL;
    dram_status status = DRAM_OK;
    *state = (dram_state){0};
    TRY(dram_checkpoint_latest(folder, &step));
    if (step < 0) return DRAM_OK;
    TRY(dram_checkpoint_path(folder, step, &directory));
    for (int i = 0; i < PARTS; i++) {
        TRY_GOTO(dram_path_join(directory, parts[i].file, &path), done);
        TRY_GOTO(dram_weights_load(s, path, parts[i].groups, parts[i].n_groups, parts[i].with_group, ""), done);
        dram_free(path);
        path = NULL;
    }
    TRY_GOTO(dram_path_join(directory, "state.json", &path), done);
    status = read_json(s, path, state);
done:
    dram_free(path);
    dram_free(directory);
    return status;
}

dram_status dram_state_export(dram_session *s, const char *directory)
{
    for (int i = 0; i < EXPORTED; i++) {
        char *path;
        int n = parts[i].with_group ? 2 : 1; /* neck and head, not sr */
        TRY(dram_path_join(directory, parts[i].file, &path));
        dram_status status = dram_weights_save(s, path, parts[i].groups, n, parts[i].with_group, s->cfg->run.export);
        dram_free(path);
        TRY(status);
    }
    return DRAM_OK;
}
