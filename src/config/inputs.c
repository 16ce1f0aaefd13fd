/* What only a run needs: its input files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/keys.h"

/* The weights that training began from. */
static bool is_beginning(const char *path)
{
    return strcmp(path, "student.weights") == 0 || strcmp(path, "student.heads") == 0;
}

/* An input path is not used when its top section has `enabled: false`, nor are labels without the task; an evaluation
 * reads neither the training data nor the weights that training began from. */
static bool is_used(const dram_config *cfg, const dram_key *key, bool training)
{
    char enabled[64];
    if (!training && (strncmp(key->path, "data.train.", 11) == 0 || is_beginning(key->path))) return false;
    snprintf(enabled, sizeof enabled, "%.*s.enabled", (int)strcspn(key->path, "."), key->path);
    int index = dram_key_find(enabled);
    if (index >= 0 && !dram_key_get(cfg, &dram_keys[index]).integer) return false;
    return cfg->task.enabled || strcmp(dram_key_name(key->path), "labels") != 0;
}

/* A path that is missing, and whose name is nearly a keyword: "randon". */
static const char *nearest_keyword(const dram_key *key, const char *path)
{
    static const char *const known[] = {"none", "random"};
    const char *near = dram_nearest(strrchr(path, '/') + 1, known, sizeof known / sizeof known[0]);
    return near && dram_key_has_keyword(key, near) ? near : NULL;
}

dram_status dram_config_check_inputs(const dram_config *cfg, bool training)
{
    if (training && !cfg->data.train.images)
        return dram_config_fail(cfg, "data.train.images", "training needs a folder of images; name one");
    if (training && cfg->task.enabled && !cfg->data.train.labels)
        return dram_config_fail(cfg, "task.enabled", "the task learns from labels; set data.train.labels");
    if (!training && !cfg->data.val.images)
        return dram_config_fail(cfg, "data.val.images", "evaluation needs a folder of images; name one");
    if (cfg->sam_distill.enabled && !cfg->sam_distill.teacher.weights)
        return dram_config_fail(cfg, "sam_distill.teacher.weights",
                                "the teacher needs weights; name a file of weights, or say random");
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind != DRAM_KEY_INPUT || !is_used(cfg, key, training)) continue;
        const char *path = dram_key_get(cfg, key).text;
        if (!path || path[0] != '/' || access(path, R_OK) == 0) continue; /* not a path: a keyword */
        int reason = errno;
        const char *near = reason == ENOENT ? nearest_keyword(key, path) : NULL;
        return dram_config_fail(cfg, key->path, "%s: %s%s%s%s", path, strerror(reason), near ? "; did you mean " : "",
                                near ? near : "", near ? "?" : "");
    }
    return DRAM_OK;
}
