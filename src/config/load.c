/* From a file and overrides to a checked config. */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "config/keys.h"

/* A shorter run has a shorter warm-up. This holds where train.steps comes from a stronger source than
 * optim.warmup_steps: the command line before a file, a file before its base, any of them before the default. */
static void shorten_warmup(dram_config *cfg)
{
    const char *where = dram_config_where(cfg, "optim.warmup_steps");
    int steps = cfg->train.steps, warmup = cfg->optim.warmup_steps;
    if (warmup <= steps || !dram_config_outranks(cfg, "train.steps", "optim.warmup_steps")) return;
    if (strcmp(where, "default") != 0)
        dram_info("the warm-up is shortened to train.steps, %d: optim.warmup_steps is %d in %s", steps, warmup, where);
    cfg->optim.warmup_steps = steps;
}

/* What labels mean is asked by the task alone. */
static void tell_unused(const dram_config *cfg)
{
    const struct dram_config_data *data = &cfg->data;
    static const char text[] = "%s (%s) has no effect: task.enabled is false, so no label is read";
    if (cfg->task.enabled) return;
    if (data->class_map) dram_info(text, "data.class_map", dram_config_where(cfg, "data.class_map"));
    if (data->reduce_zero_label)
        dram_info(text, "data.reduce_zero_label", dram_config_where(cfg, "data.reduce_zero_label"));
}

/* *out is the caller's to free, after a failure too. */
static dram_status read_all(const char *file, const dram_config_override *overrides, int n, dram_config **out)
{
    TRY(dram_config_new(file, out));
    if (file) TRY(dram_config_read_file(*out, file));
    for (int i = 0; i < n; i++) TRY(dram_config_read_override(*out, &overrides[i]));
    return DRAM_OK;
}

dram_status dram_config_try(const char *file, const dram_config_override *overrides, int n, dram_config **out)
{
    dram_config *cfg;
    dram_status status = read_all(file, overrides, n, &cfg);
    if (status != DRAM_OK || !out) {
        dram_config_free(cfg);
        cfg = NULL;
    }
    if (out) *out = cfg;
    return status;
}

dram_status dram_config_load(const char *file, const char *const *overrides, int n, dram_config **out)
{
    *out = NULL;
    dram_config_override *all = dram_calloc((size_t)n + 1, sizeof *all);
    if (!all) return dram_config_no_memory();
    for (int i = 0; i < n; i++) all[i].text = overrides[i];
    dram_status status = dram_config_load_from(file, all, n, out);
    dram_free(all);
    return status;
}

dram_status dram_config_load_from(const char *file, const dram_config_override *overrides, int n, dram_config **out)
{
    dram_config *cfg;
    dram_status status;
    *out = NULL;
    TRY_GOTO(read_all(file, overrides, n, &cfg), fail);
    shorten_warmup(cfg);
    TRY_GOTO(dram_config_check(cfg), fail);
    tell_unused(cfg);
    *out = cfg;
    return DRAM_OK;
fail:
    dram_config_free(cfg);
    return status;
}
