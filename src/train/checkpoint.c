#include "train/checkpoint.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "feed/feed.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "session/schedule.h"
#include "session/slot_floats.h"
#include "session/weights.h"

/* The files of a checkpoint directory. The SR head and a mean of weights are part of the training state only, so they
 * are in heads.safetensors here and not in the exported one. */
static const struct {
    const char *file;
    const char *groups[4];
    int n_groups;
    bool with_group;
} parts[] = {
    {"student.safetensors", {"student"}, 1, false},
    {"heads.safetensors", {"neck", "head", "sr", "mean"}, 4, true},
    {"optimizer.safetensors", {"optimizer"}, 1, false},
};
enum { PARTS = sizeof parts / sizeof parts[0], EXPORTED = 2 };

const char *dram_checkpoint_file(int i)
{
    return i < PARTS ? parts[i].file : NULL;
}

static const char sharded[] = "optimizer"; /* the group of which ranks may have pieces */

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
    TRY(dram_slots_gathered(s, sharded));
    return write_target(s, dir, state);
}

dram_status dram_checkpoint_lend(dram_session *s)
{
    return dram_slots_lend(s, sharded);
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
    status = dram_state_write(path, s->cfg.seed, s->batches_tracked, state);
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
    r->whole = r->there && step >= dram_end_step(&s->cfg);
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
    status = dram_state_read(path, s->cfg.seed, &s->batches_tracked, state);
done:
    dram_free(path);
    dram_free(directory);
    return status;
}

dram_status dram_student_export(dram_session *s, const char *directory)
{
    for (int i = 0; i < EXPORTED; i++) {
        char *path;
        int n = parts[i].with_group ? 2 : 1; /* neck and head, no more */
        TRY(dram_path_join(directory, parts[i].file, &path));
        dram_status status = dram_weights_save(s, path, parts[i].groups, n, parts[i].with_group, s->cfg.run.export);
        dram_free(path);
        TRY(status);
    }
    return DRAM_OK;
}
