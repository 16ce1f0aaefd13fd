/* From a file and overrides to a checked config. */
#include <string.h>

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

dram_status dram_config_load(const char *file, const char *const *overrides, int n, dram_config **out)
{
    dram_config *cfg;
    dram_status status;
    *out = NULL;
    TRY_GOTO(dram_config_new(file, &cfg), fail);
    if (file) TRY_GOTO(dram_config_read_file(cfg, file), fail);
    for (int i = 0; i < n; i++) TRY_GOTO(dram_config_read_override(cfg, overrides[i]), fail);
    shorten_warmup(cfg);
    TRY_GOTO(dram_config_check(cfg), fail);
    tell_unused(cfg);
    *out = cfg;
    return DRAM_OK;
fail:
    dram_config_free(cfg);
    return status;
}
