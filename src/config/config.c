#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "config/keys.h"

enum { DEFAULT_RANK = INT_MIN };

struct dram_config_origin {
    char *file;   /* the file that was loaded, NULL for none */
    char **where; /* for each key: "file:line:column", NULL for a default */
    int *rank;    /* for each key: of the source that set it */
};

static dram_status make_defaults(const char *file, dram_config *cfg)
{
    struct dram_config_origin *origin = dram_calloc(1, sizeof *origin);
    if (!origin) return dram_config_no_memory();
    cfg->origin = origin;
    origin->where = dram_calloc((size_t)dram_n_keys, sizeof *origin->where);
    origin->rank = dram_calloc((size_t)dram_n_keys, sizeof *origin->rank);
    if (!origin->where || !origin->rank) return dram_config_no_memory();
    if (file && !(origin->file = dram_strdup(file))) return dram_config_no_memory();
    for (int i = 0; i < dram_n_keys; i++) {
        dram_value value = dram_key_default(&dram_keys[i]);
        if (value.text && !(value.text = dram_strdup(value.text))) return dram_config_no_memory();
        dram_key_set(cfg, &dram_keys[i], &value);
        origin->rank[i] = DEFAULT_RANK;
    }
    return DRAM_OK;
}

/* Defaults that follow from other keys: the default warm-up is no longer than the run. */
static void settle_defaults(dram_config *cfg)
{
    bool by_default = strcmp(dram_config_where(cfg, "optim.warmup_steps"), "default") == 0;
    if (by_default && cfg->optim.warmup_steps > cfg->train.steps) cfg->optim.warmup_steps = cfg->train.steps;
}

dram_status dram_config_load(const char *file, const char *const *overrides, int n, dram_config **out)
{
    dram_status status;
    *out = NULL;
    dram_config *cfg = dram_calloc(1, sizeof *cfg);
    if (!cfg) return dram_config_no_memory();
    TRY_GOTO(make_defaults(file, cfg), fail);
    if (file) TRY_GOTO(dram_config_read_file(cfg, file), fail);
    for (int i = 0; i < n; i++) TRY_GOTO(dram_config_read_override(cfg, overrides[i]), fail);
    settle_defaults(cfg);
    TRY_GOTO(dram_config_check(cfg), fail);
    *out = cfg;
    return DRAM_OK;
fail:
    dram_config_free(cfg);
    return status;
}

void dram_config_free(dram_config *cfg)
{
    if (!cfg) return;
    for (int i = 0; i < dram_n_keys; i++) dram_key_set(cfg, &dram_keys[i], &(dram_value){0}); /* frees the texts */
    struct dram_config_origin *origin = cfg->origin;
    if (origin) {
        for (int i = 0; origin->where && i < dram_n_keys; i++) dram_free(origin->where[i]);
        dram_free(origin->where);
        dram_free(origin->rank);
        dram_free(origin->file);
        dram_free(origin);
    }
    dram_free(cfg);
}

dram_status dram_config_put(dram_config *cfg, int index, dram_value *value, const dram_place *place, int rank)
{
    dram_str where = {0};
    if (rank < cfg->origin->rank[index]) {
        dram_free(value->text);
        return DRAM_OK;
    }
    if (place->file)
        dram_str_add(&where, "%s:%d:%d", place->file, place->line, place->column);
    else
        dram_str_add(&where, "command line");
    if (where.failed) {
        dram_str_free(&where);
        dram_free(value->text);
        return dram_config_no_memory();
    }
    dram_free(cfg->origin->where[index]);
    cfg->origin->where[index] = where.text;
    cfg->origin->rank[index] = rank;
    dram_key_set(cfg, &dram_keys[index], value);
    return DRAM_OK;
}

const char *dram_config_where(const dram_config *cfg, const char *key)
{
    int index = dram_key_find(key);
    const char *where = index < 0 ? NULL : cfg->origin->where[index];
    return where ? where : "default";
}

dram_status dram_config_fail(const dram_config *cfg, const char *key, const char *format, ...)
{
    va_list args;
    int index = dram_key_find(key);
    const char *where = index < 0 ? NULL : cfg->origin->where[index];
    if (!where) where = cfg->origin->file;
    va_start(args, format);
    dram_config_error(where ? where : "", key, format, args);
    va_end(args);
    return DRAM_ERR_CONFIG;
}

/* An input path is not used when its top section has `enabled: false`, nor are labels without the task; an evaluation
 * reads neither the training data nor the weights that training began from. */
static bool is_used(const dram_config *cfg, const dram_key *key, bool training)
{
    char enabled[64];
    if (!training && (strncmp(key->path, "data.train.", 11) == 0 || strcmp(key->path, "student.weights") == 0))
        return false;
    snprintf(enabled, sizeof enabled, "%.*s.enabled", (int)strcspn(key->path, "."), key->path);
    int index = dram_key_find(enabled);
    if (index >= 0 && !dram_key_get(cfg, &dram_keys[index]).integer) return false;
    return cfg->task.enabled || strcmp(dram_key_name(key->path), "labels") != 0;
}

dram_status dram_config_check_inputs(const dram_config *cfg, bool training)
{
    if (training && !cfg->data.train.images)
        return dram_config_fail(cfg, "data.train.images", "training needs a folder of images; name one");
    if (!training && !cfg->data.val.images)
        return dram_config_fail(cfg, "data.val.images", "evaluation needs a folder of images; name one");
    if (cfg->sam_distill.enabled && !cfg->sam_distill.teacher.weights)
        return dram_config_fail(cfg, "sam_distill.teacher.weights",
                                "the teacher needs weights; name a safetensors file, or say random");
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind != DRAM_KEY_INPUT || !is_used(cfg, key, training)) continue;
        const char *path = dram_key_get(cfg, key).text;
        if (!path || path[0] != '/' || access(path, R_OK) == 0) continue; /* not a path: a keyword */
        return dram_config_fail(cfg, key->path, "%s: %s", path, strerror(errno));
    }
    return DRAM_OK;
}

dram_config dram_config_one_image(const dram_config *cfg)
{
    dram_config one = *cfg;
    one.train.batch_size = one.train.accumulate = 1;
    one.sam_distill.teacher.group = 0;
    one.sam_distill.cache = NULL;
    one.student.weights = NULL;
    return one;
}
