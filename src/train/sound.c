#include "train/sound.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "io/checkpoint.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "train/checkpoint.h"

dram_status dram_sound_check(const char *folder, int64_t step, const volatile sig_atomic_t *stop, cJSON **root)
{
    char *path;
    cJSON *tree;
    TRY(dram_checkpoint_path(folder, step, &path));
    dram_status status = dram_checkpoint_verify(path, stop, &tree);
    dram_free(path);
    if (root)
        *root = tree;
    else
        cJSON_Delete(tree);
    return status;
}

/* ---- finite numbers ---- */

enum { PIECE = 1 << 16 };

static dram_status look_at_tensor(const dram_st *file, const dram_st_tensor *tensor, float *piece, bool *finite)
{
    if (tensor->dtype != DRAM_ST_F32) return DRAM_OK; /* a counter, or a state of 8 bits */
    for (int64_t at = 0; at < tensor->elements && *finite; at += PIECE) {
        int64_t n = tensor->elements - at < PIECE ? tensor->elements - at : PIECE;
        TRY(dram_st_read_f32(file, tensor, at, n, piece));
        for (int64_t i = 0; i < n; i++) *finite = *finite && isfinite(piece[i]);
    }
    return DRAM_OK;
}

static dram_status look_at_file(const char *path, float *piece, bool *finite)
{
    dram_st *file;
    dram_status status = DRAM_OK;
    TRY(dram_st_open(path, &file));
    for (int i = 0; i < dram_st_count(file) && status == DRAM_OK && *finite; i++)
        status = look_at_tensor(file, dram_st_at(file, i), piece, finite);
    dram_st_close(file);
    return status;
}

static dram_status look_for_nonfinite(const char *folder, int64_t step, bool *finite)
{
    char *directory = NULL, *path;
    dram_status status;
    float *piece = dram_alloc(PIECE * sizeof *piece);
    *finite = true;
    if (!piece) return dram_fail(DRAM_ERR_MEMORY, "%s: no memory to look at its checkpoints", folder);
    TRY_GOTO(dram_checkpoint_path(folder, step, &directory), done);
    for (int i = 0; dram_checkpoint_file(i) && status == DRAM_OK; i++) {
        TRY_GOTO(dram_path_join(directory, dram_checkpoint_file(i), &path), done);
        status = look_at_file(path, piece, finite);
        dram_free(path);
    }
done:
    dram_free(directory);
    dram_free(piece);
    return status;
}

/* ---- the newest ---- */

typedef enum { SOUND, NOT_SOUND, NOT_KNOWN } soundness;

/* A failure is no error here: the caller has one already. */
static soundness judge(const char *folder, int64_t step, bool want_finite)
{
    cJSON *root = NULL;
    bool finite = true;
    dram_status status = dram_sound_check(folder, step, NULL, &root);
    if (status == DRAM_OK && want_finite) status = look_for_nonfinite(folder, step, &finite);
    if (status != DRAM_OK) dram_error_clear();
    soundness is = status != DRAM_OK || !finite ? NOT_SOUND : root ? SOUND : NOT_KNOWN;
    cJSON_Delete(root);
    return is;
}

const char *dram_sound_newest(const char *folder, bool finite, char *text, size_t size)
{
    int64_t *steps = NULL;
    int n = 0, i;
    soundness is = NOT_SOUND;
    if (dram_checkpoint_list(folder, &steps, &n) != DRAM_OK) {
        dram_error_clear();
        snprintf(text, size, "; which checkpoints there are cannot be seen");
        return text;
    }
    for (i = n - 1; i >= 0 && is == NOT_SOUND; i--) is = judge(folder, steps[i], finite);
    int64_t step = is == NOT_SOUND ? 0 : steps[i + 1];
    char taken[64] = "--resume";
    if (i + 1 < n - 1) snprintf(taken, sizeof taken, "--resume=step-%" PRId64, step);
    if (is == NOT_SOUND)
        snprintf(text, size, n ? "; none of the %d checkpoints can be gone on with" : "; there is no checkpoint", n);
    else if (is == SOUND)
        snprintf(text, size, "; the newest sound checkpoint is step-%08" PRId64 ": %s goes on from it", step, taken);
    else
        snprintf(text, size, "; step-%08" PRId64 " is of an older dram and cannot be checked: %s takes it", step,
                 taken);
    dram_free(steps);
    return text;
}
