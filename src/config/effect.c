/* Keys that have no effect beside others: one table, and what is said of it. */
#include <string.h>

#include "base/log.h"
#include "config/keys.h"

static bool reads_temperature(const dram_config *cfg)
{
    static const bool reads[] = {
#define X(ID, WORD, NAME, READS) [ID] = READS,
        DRAM_DISTANCE_LIST(X)
#undef X
    };
    const struct dram_config_sam_distill_loss *loss = &cfg->sam_distill.loss;
    for (int d = 0; d < DRAM_DISTANCE_COUNT; d++)
        if (reads[d] && ((int)loss->type == d || dram_config_added(loss, (dram_distance)d) > 0)) return true;
    return false;
}

static bool draws_teacher(const dram_config *cfg)
{
    const char *weights = cfg->sam_distill.teacher.weights;
    return !weights || strcmp(weights, DRAM_WEIGHTS_RANDOM) == 0;
}

/* Labels that are not learned still tell which files of one folder are no photographs. */
static bool uses_labels(const dram_config *cfg, const char *images, const char *labels)
{
    return cfg->task.enabled || !images || !labels || strcmp(images, labels) == 0;
}

/* A row: the keys, "|" between them, and a "." at the end for all of a section; the condition under which they have an
 * effect; the key that decides it. The first row whose condition fails speaks for a key. A new key that another can
 * take the effect from gets a row here. */
#define EFFECT_LIST(X)                                                                                                 \
    X(sam, "sam_distill.|memory.share_teacher", cfg->sam_distill.enabled, "sam_distill.enabled")                       \
    X(resolution, "resolution_distill.", cfg->resolution_distill.enabled, "resolution_distill.enabled")                \
    X(mean, "resolution_distill.mean_decay", cfg->resolution_distill.target == DRAM_RESOLUTION_MEAN,                   \
      "resolution_distill.target")                                                                                     \
    X(train_labels, "data.train.labels", uses_labels(cfg, cfg->data.train.images, cfg->data.train.labels),             \
      "task.enabled")                                                                                                  \
    X(val_labels, "data.val.labels", uses_labels(cfg, cfg->data.val.images, cfg->data.val.labels), "task.enabled")     \
    X(task,                                                                                                            \
      "task.|data.train.label_fraction|data.train.label_seed|data.train.labelled_share|data.classes|"                  \
      "data.ignore_index|data.labels_optional|data.class_map|data.reduce_zero_label|data.class_names",                 \
      cfg->task.enabled, "task.enabled")                                                                               \
    X(pattern, "data.label_pattern", cfg->data.train.labels || cfg->data.val.labels, "data.train.labels")              \
    X(fraction, "data.train.label_seed", cfg->data.train.label_fraction < 1, "data.train.label_fraction")              \
    X(share, "data.train.labelled_share", cfg->sam_distill.enabled || cfg->resolution_distill.enabled,                 \
      "sam_distill.enabled")                                                                                           \
    X(val, "run.eval_every", cfg->data.val.images || !cfg->run.eval_every, "data.val.images")                          \
    X(evaluation, "run.eval_every|data.val.images", cfg->task.enabled || cfg->sam_distill.enabled,                     \
      "sam_distill.enabled")                                                                                           \
    X(crop, "data.augment.scale_min|data.augment.scale_max", cfg->data.augment.crop, "data.augment.crop")              \
    X(drawn, "sam_distill.teacher.seed", draws_teacher(cfg), "sam_distill.teacher.weights")                            \
    X(interval, "sam_distill.between|sam_distill.loss.scale_with_interval",                                            \
      dram_steps_most(&cfg->sam_distill.distill_interval) > 1, "sam_distill.distill_interval")                         \
    X(temperature, "sam_distill.loss.temperature", reads_temperature(cfg), "sam_distill.loss.type")                    \
    X(cache, "sam_distill.cache_format", cfg->sam_distill.cache, "sam_distill.cache")                                  \
    X(sgd, "optim.momentum", cfg->optim.type == DRAM_OPTIM_SGD, "optim.type")                                          \
    X(adamw, "optim.beta1|optim.beta2|optim.eps", cfg->optim.type == DRAM_OPTIM_ADAMW, "optim.type")                   \
    X(stop_at, "train.stop_at", cfg->train.stop_at < cfg->train.steps, "train.steps")                                  \
    X(first_weights, "student.zero_init_last", !cfg->student.weights, "student.weights")                               \
    X(frozen, "memory.checkpoint", cfg->student.trainable == DRAM_TRAINABLE_ALL, "student.trainable")                  \
    X(gpu, "cuda.graph|cuda.workspace", cfg->device != DRAM_RUN_DEVICE_CPU, "device")

#define X(NAME, KEYS, CONDITION, DECIDER)                                                                              \
    static bool has_##NAME(const dram_config *cfg)                                                                     \
    {                                                                                                                  \
        return (CONDITION);                                                                                            \
    }
EFFECT_LIST(X)
#undef X

static const struct {
    const char *keys, *decider;
    bool (*has_effect)(const dram_config *cfg);
} rows[] = {
#define X(NAME, KEYS, CONDITION, DECIDER) {KEYS, DECIDER, has_##NAME},
    EFFECT_LIST(X)
#undef X
};
enum { ROWS = sizeof rows / sizeof rows[0], LISTED = 4 };

static bool names(const char *keys, const char *path)
{
    for (; *keys; keys += strcspn(keys, "|"), keys += *keys == '|') {
        size_t n = strcspn(keys, "|");
        bool section = keys[n - 1] == '.';
        if (strncmp(keys, path, n) == 0 && (section || path[n] == '\0')) return true;
    }
    return false;
}

static bool is_default(const dram_config *cfg, const dram_key *key)
{
    const dram_key_value is = dram_key_get(cfg, key), was = dram_key_default(key);
    if (key->kind == DRAM_KEY_STEPS) return dram_steps_equal(&is.steps, &was.steps);
    if (is.map != was.map || is.texts != was.texts) return false; /* by default there is none */
    if (!is.text || !was.text) return is.integer == was.integer && is.real == was.real && is.text == was.text;
    return strcmp(is.text, was.text) == 0;
}

/* The row that speaks for a key, -1: none. */
static int row_of(const dram_config *cfg, const dram_key *key)
{
    for (int r = 0; r < ROWS; r++)
        if (!rows[r].has_effect(cfg) && names(rows[r].keys, key->path) && strcmp(rows[r].decider, key->path) != 0)
            return r;
    return -1;
}

bool dram_key_has_effect(const dram_config *cfg, const dram_key *key)
{
    return row_of(cfg, key) < 0;
}

/* Whether the decider is the `enabled` of the section that the key is in. */
static bool is_own_switch(const char *decider, const char *path)
{
    size_t section = (size_t)(dram_key_name(decider) - decider);
    return section && strcmp(decider + section, "enabled") == 0 && strncmp(decider, path, section) == 0;
}

/* What a weaker source set, a stronger one has switched off on purpose; and so has one that says `enabled: false` beside
 * what it sets. */
static bool is_idle(const dram_config *cfg, const dram_key *key, int row)
{
    const char *decider = rows[row].decider;
    if (key->kind <= DRAM_KEY_SECTION || row_of(cfg, key) != row || is_default(cfg, key)) return false;
    if (strcmp(dram_config_where(cfg, key->path), "default") == 0) return false;
    if (is_own_switch(decider, key->path)) return dram_config_outranks(cfg, key->path, decider);
    return !dram_config_outranks(cfg, decider, key->path);
}

/* "data.augment.crop is false" */
static void add_decider(const dram_config *cfg, const char *path, dram_str *text)
{
    const dram_key *key = &dram_keys[dram_key_find(path)];
    const dram_key_value value = dram_key_get(cfg, key);
    dram_str_add(text, "%s is ", path);
    if (dram_key_write(key, &value, text) != DRAM_OK) text->failed = true;
}

void dram_config_tell_idle(const dram_config *cfg)
{
    for (int r = 0; r < ROWS; r++) {
        dram_str text = {0};
        const char *where = NULL;
        int n = 0;
        if (rows[r].has_effect(cfg)) continue;
        for (int i = 0; i < dram_n_keys; i++) {
            if (!is_idle(cfg, &dram_keys[i], r)) continue;
            if (!where) where = dram_config_where(cfg, dram_keys[i].path);
            if (n++ < LISTED) dram_str_add(&text, "%s%s", n > 1 ? ", " : "", dram_keys[i].path);
        }
        if (n > LISTED) dram_str_add(&text, " and %d more", n - LISTED);
        dram_str_add(&text, " %s no effect: ", n == 1 ? "has" : "have");
        add_decider(cfg, rows[r].decider, &text);
        if (n && !text.failed) dram_info("%s: %s", where, text.text);
        dram_str_free(&text);
    }
}
