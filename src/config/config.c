/* A config as an object: its defaults, its end, and where each value came from. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "config/keys.h"

enum { DEFAULT_RANK = INT_MIN };

struct dram_config_origin {
    char *file;   /* the file that was loaded, NULL for none */
    char *base;   /* the file that it names, NULL for none */
    char **where; /* for each key: "file:line:column", NULL for a default */
    int *rank;    /* for each key: of the source that set it */
};

dram_status dram_config_new(const char *file, dram_config **out)
{
    dram_config *cfg = *out = dram_calloc(1, sizeof *cfg);
    if (!cfg) return dram_config_no_memory();
    struct dram_config_origin *origin = cfg->origin = dram_calloc(1, sizeof *origin);
    if (!origin) return dram_config_no_memory();
    origin->where = dram_calloc((size_t)dram_n_keys, sizeof *origin->where);
    origin->rank = dram_calloc((size_t)dram_n_keys, sizeof *origin->rank);
    if (!origin->where || !origin->rank) return dram_config_no_memory();
    if (file && !(origin->file = dram_strdup(file))) return dram_config_no_memory();
    for (int i = 0; i < dram_n_keys; i++) {
        dram_key_value value = dram_key_default(&dram_keys[i]);
        if (value.text && !(value.text = dram_strdup(value.text))) return dram_config_no_memory();
        dram_key_set(cfg, &dram_keys[i], &value);
        origin->rank[i] = DEFAULT_RANK;
    }
    return DRAM_OK;
}

void dram_config_free(dram_config *cfg)
{
    if (!cfg) return;
    for (int i = 0; i < dram_n_keys; i++)
        dram_key_set(cfg, &dram_keys[i], &(dram_key_value){0}); /* frees what it had */
    struct dram_config_origin *origin = cfg->origin;
    if (origin) {
        for (int i = 0; origin->where && i < dram_n_keys; i++) dram_free(origin->where[i]);
        dram_free(origin->where);
        dram_free(origin->rank);
        dram_free(origin->file);
        dram_free(origin->base);
        dram_free(origin);
    }
    dram_free(cfg);
}

dram_status dram_config_put(dram_config *cfg, int index, dram_key_value *value, const dram_key_place *place, int rank)
{
    dram_str where = {0};
    if (rank < cfg->origin->rank[index]) {
        dram_key_value_free(value);
        return DRAM_OK;
    }
    if (place->file)
        dram_str_add(&where, "%s:%d:%d", place->file, place->line, place->column);
    else
        dram_str_add(&where, "command line");
    if (where.failed) {
        dram_str_free(&where);
        dram_key_value_free(value);
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

const char *dram_config_file(const dram_config *cfg)
{
    return cfg->origin->file;
}

const char *dram_config_base(const dram_config *cfg)
{
    return cfg->origin->base;
}

dram_status dram_config_name_base(dram_config *cfg, const char *file)
{
    return (cfg->origin->base = dram_strdup(file)) ? DRAM_OK : dram_config_no_memory();
}

bool dram_config_outranks(const dram_config *cfg, const char *key, const char *other)
{
    return cfg->origin->rank[dram_key_find(key)] > cfg->origin->rank[dram_key_find(other)];
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

dram_config dram_config_one_image(const dram_config *cfg)
{
    dram_config one = *cfg;
    one.train.batch_size = one.train.accumulate = 1;
    one.sam_distill.teacher.group = 0;
    one.sam_distill.cache = NULL;
    one.student.weights = one.student.heads = NULL;
    return one;
}

const char *dram_class_name(const dram_config *cfg, int k, char *out, size_t size)
{
    const dram_texts *names = cfg->data.class_names;
    if (names && k >= 0 && k < names->n) return names->text[k];
    snprintf(out, size, "%d", k);
    return out;
}

dram_config_value dram_config_value_of(const char *path, int *multiple)
{
    int index = dram_key_find(path);
    *multiple = 1;
    if (index < 0) return DRAM_CONFIG_NO_KEY;
    const dram_key *key = &dram_keys[index];
    switch (key->kind) {
    case DRAM_KEY_SECTION:
        return DRAM_CONFIG_SECTION;
    case DRAM_KEY_INT:
        *multiple = (int)key->multiple;
        return DRAM_CONFIG_WHOLE;
    case DRAM_KEY_INT64:
    case DRAM_KEY_STEPS:
    case DRAM_KEY_BYTES:
        return DRAM_CONFIG_WHOLE;
    case DRAM_KEY_REAL:
        return DRAM_CONFIG_REAL;
    default:
        return DRAM_CONFIG_OTHER;
    }
}
