/* From a file and overrides to a checked config. */
#include <string.h>

#include "config/keys.h"

/* Defaults that follow from other keys: the default warm-up is no longer than the run. */
static void settle_defaults(dram_config *cfg)
{
    bool by_default = strcmp(dram_config_where(cfg, "optim.warmup_steps"), "default") == 0;
    if (by_default && cfg->optim.warmup_steps > cfg->train.steps) cfg->optim.warmup_steps = cfg->train.steps;
}

dram_status dram_config_load(const char *file, const char *const *overrides, int n, dram_config **out)
{
    dram_config *cfg;
    dram_status status;
    *out = NULL;
    TRY(dram_config_new(file, &cfg));
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
