/* Settings that contradict each other. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/keys.h"

static dram_status check_name(const dram_config *cfg)
{
    const char *name = cfg->name;
    bool fits = strlen(name) <= 200 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    for (const char *c = name; *c; c++) fits = fits && *c != '/' && !iscntrl((unsigned char)*c);
    if (fits) return DRAM_OK;
    return dram_config_fail(cfg, "name", "names a folder inside run.dir: at most 200 characters, no / among them");
}

/* "_L", or "OLD:NEW": ends of a file's name, without its ending. */
static dram_status check_pattern(const dram_config *cfg)
{
    static const char key[] = "data.label_pattern";
    const char *pattern = cfg->data.label_pattern;
    if (!pattern) return DRAM_OK;
    size_t length = strlen(pattern);
    const char *colon = strchr(pattern, ':');
    if (strpbrk(pattern, "/*"))
        return dram_config_fail(cfg, key, "%s: the end of a name alone, no folder and no *: _L, or OLD:NEW", pattern);
    if (length >= 4 && strcasecmp(pattern + length - 4, ".png") == 0)
        return dram_config_fail(cfg, key, "%s: .png is added to it; write %.*s", pattern, (int)length - 4, pattern);
    if (colon && strchr(colon + 1, ':')) return dram_config_fail(cfg, key, "%s: one : at most, as in OLD:NEW", pattern);
    if (colon && strncmp(pattern, colon + 1, (size_t)(colon - pattern)) == 0 && length == 2 * strlen(colon + 1) + 1)
        return dram_config_fail(cfg, key, "%s changes nothing; write none, _L or OLD:NEW", pattern);
    return DRAM_OK;
}

static dram_status check_data(const dram_config *cfg)
{
    const struct dram_config_data *data = &cfg->data;
    if (data->train.labels && !data->train.images)
        return dram_config_fail(cfg, "data.train.labels", "there are labels but no images; set data.train.images");
    if (data->val.labels && !data->val.images)
        return dram_config_fail(cfg, "data.val.labels", "there are labels but no images; set data.val.images");
    if (data->train.list && !data->train.images)
        return dram_config_fail(cfg, "data.train.list", "it names images of a folder; set data.train.images");
    if (data->val.list && !data->val.images)
        return dram_config_fail(cfg, "data.val.list", "it names images of a folder; set data.val.images");
    TRY(check_pattern(cfg));
    if (data->augment.scale_min > data->augment.scale_max)
        return dram_config_fail(cfg, "data.augment.scale_min", "%g is larger than data.augment.scale_max, %g",
                                data->augment.scale_min, data->augment.scale_max);
    return DRAM_OK;
}

/* A class that a map may lead to: one of data.classes or ignore_index; one more where all become one less. */
static dram_status check_class_map(const dram_config *cfg)
{
    const struct dram_config_data *data = &cfg->data;
    const dram_class_map *map = data->class_map;
    char from[16];
    for (int i = 0; map && data->classes && i < map->n; i++) {
        const dram_class_pair *pair = &map->pair[i];
        if (pair->to == data->ignore_index || pair->to < data->classes + data->reduce_zero_label) continue;
        snprintf(from, sizeof from, map->color ? "#%06x" : "%u", pair->from);
        return dram_config_fail(cfg, "data.class_map",
                                "%s is to be class %d, which is neither below data.classes, %d, nor "
                                "data.ignore_index, %d",
                                from, pair->to, data->classes, data->ignore_index);
    }
    return DRAM_OK;
}

static dram_status check_classes(const dram_config *cfg)
{
    const struct dram_config_data *data = &cfg->data;
    TRY(check_class_map(cfg));
    if (data->class_names && data->class_names->n != data->classes)
        return dram_config_fail(cfg, "data.class_names", "there %s %d name%s, and data.classes is %d; name every class",
                                data->class_names->n == 1 ? "is" : "are", data->class_names->n,
                                data->class_names->n == 1 ? "" : "s", data->classes);
    if (data->reduce_zero_label && data->ignore_index < data->classes)
        return dram_config_fail(cfg, "data.reduce_zero_label",
                                "it makes void of 0, and data.ignore_index, %d, is one of the %d classes; set "
                                "data.ignore_index to a value that is none",
                                data->ignore_index, data->classes);
    return DRAM_OK;
}

/* A distance is chosen once: by type, with the weight 1, or in add. */
static dram_status check_embed_loss(const dram_config *cfg)
{
    const struct dram_config_sam_distill_loss *loss = &cfg->sam_distill.loss;
    const char *word = dram_distance_word(loss->type);
    char key[64];
    if (dram_config_added(loss, loss->type) == 0) return DRAM_OK;
    snprintf(key, sizeof key, "sam_distill.loss.add.%s", word);
    return dram_config_fail(cfg, key,
                            "%s is sam_distill.loss.type already, with weight 1; set this to 0, or type to another "
                            "distance",
                            word);
}

static dram_status check_losses(const dram_config *cfg)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    const struct dram_config_resolution_distill *resolution = &cfg->resolution_distill;
    bool without_teacher = resolution->enabled || cfg->task.enabled;
    if (!sam->enabled && !without_teacher)
        return dram_config_fail(cfg, "sam_distill.enabled",
                                "there is no loss to train on; enable sam_distill, resolution_distill or task");
    if (cfg->task.enabled && cfg->data.classes < 2)
        return dram_config_fail(cfg, "task.enabled", "the task needs 2 classes or more; set data.classes (it is %d)",
                                cfg->data.classes);
    if (sam->enabled && dram_steps_most(&sam->distill_interval) > 1 && sam->between == DRAM_BETWEEN_NONE &&
        !without_teacher)
        return dram_config_fail(cfg, "sam_distill.distill_interval",
                                "there is nothing to learn from on the steps in between; enable task or "
                                "resolution_distill, or set sam_distill.between to reuse");
    if (sam->enabled && sam->between == DRAM_BETWEEN_REUSE && sam->loss.scale_with_interval)
        return dram_config_fail(
            cfg, "sam_distill.loss.scale_with_interval",
            "with sam_distill.between: reuse every step has the teacher's loss; set one of the two");
    if (sam->enabled) TRY(check_embed_loss(cfg));
    if (sam->pad_to && sam->pad_to < sam->sam_input_size)
        return dram_config_fail(cfg, "sam_distill.pad_to", "%d is smaller than sam_distill.sam_input_size, %d",
                                sam->pad_to, sam->sam_input_size);
    if (resolution->enabled && resolution->sr_target_scale * resolution->low_scale > 1.0 + 1e-9)
        return dram_config_fail(cfg, "resolution_distill.sr_target_scale",
                                "%g times low_scale, %g, is more than the full image; it may be %g at most",
                                resolution->sr_target_scale, resolution->low_scale, 1.0 / resolution->low_scale);
    if (resolution->enabled && resolution->low_scale * cfg->data.size < 32)
        return dram_config_fail(cfg, "resolution_distill.low_scale",
                                "%g times data.size, %d, is less than the 32 pixels a student needs",
                                resolution->low_scale, cfg->data.size);
    return DRAM_OK;
}

/* A trunk that is not trained has to be a good one already. */
static dram_status check_trainable(const dram_config *cfg)
{
    static const char key[] = "student.trainable";
    if (cfg->student.trainable == DRAM_TRAINABLE_ALL) return DRAM_OK;
    if (cfg->resolution_distill.enabled)
        return dram_config_fail(cfg, key,
                                "resolution_distill trains the trunk, which heads leaves as it is, and a head that no "
                                "export has; set resolution_distill.enabled to false, or this to all");
    if (!cfg->student.weights)
        return dram_config_fail(cfg, key,
                                "heads leaves the trunk as it is in student.weights, and that is none: random numbers "
                                "would stay what they are; set student.weights to a trained trunk, the "
                                "student.safetensors of a run say, or this to all");
    return DRAM_OK;
}

/* What changes the teacher's image at every step has no place in a cache; a flip is kept beside the image. */
static dram_status check_cache(const dram_config *cfg)
{
    if (!cfg->sam_distill.enabled || !cfg->sam_distill.cache) return DRAM_OK;
    if (cfg->data.augment.crop)
        return dram_config_fail(cfg, "sam_distill.cache",
                                "it keeps one embedding an image, and a random crop shows the teacher another part of "
                                "it at every step; set data.augment.crop to false");
    if (cfg->data.augment.color_jitter > 0)
        return dram_config_fail(cfg, "sam_distill.cache",
                                "it keeps one embedding an image, and color jitter shows the teacher other colours at "
                                "every step; set data.augment.color_jitter to 0");
    if (cfg->data.augment.hue > 0 || cfg->data.augment.gray > 0 || cfg->data.augment.blur > 0 ||
        cfg->data.augment.cutout > 0)
        return dram_config_fail(
            cfg, "sam_distill.cache",
            "it keeps one embedding an image, and hue, gray, blur and cutout show the teacher other "
            "pixels at every step; set these keys of data.augment to 0");
    return DRAM_OK;
}

static dram_status check_training(const dram_config *cfg)
{
    if (cfg->optim.warmup_steps > cfg->train.steps)
        return dram_config_fail(cfg, "optim.warmup_steps", "%d is more than train.steps, %d; lower it",
                                cfg->optim.warmup_steps, cfg->train.steps);
    if (cfg->train.batch_size % cfg->train.accumulate)
        return dram_config_fail(cfg, "train.accumulate", "%d does not divide train.batch_size, %d",
                                cfg->train.accumulate, cfg->train.batch_size);
    return DRAM_OK;
}

/* Where the update must wait for all gradients, a fused one cannot be had. */
static dram_status check_fused(const dram_config *cfg)
{
    static const char key[] = "optim.fused";
    static const char advice[] = "set optim.fused to auto or off";
    if (cfg->optim.fused != DRAM_FUSED_ON) return DRAM_OK;
    if (cfg->train.precision == DRAM_PRECISION_FP16)
        return dram_config_fail(cfg, key,
                                "under train.precision fp16 no weight may change before all gradients are "
                                "known to be finite; take bf16, or %s",
                                advice);
    if (cfg->train.accumulate > 1)
        return dram_config_fail(cfg, key, "with train.accumulate %d the gradients are summed first; set it to 1, or %s",
                                cfg->train.accumulate, advice);
    if (cfg->optim.clip_norm > 0)
        return dram_config_fail(cfg, key,
                                "clipping to optim.clip_norm, %g, needs the norm of all gradients first; set "
                                "it to 0, or %s",
                                cfg->optim.clip_norm, advice);
    return DRAM_OK;
}

static dram_status check_memory(const dram_config *cfg)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    int micro = cfg->train.batch_size / cfg->train.accumulate, group = sam->teacher.group;
    TRY(check_fused(cfg));
    if (cfg->optim.state == DRAM_OPTIM_STATE_INT8 && cfg->optim.type != DRAM_OPTIM_ADAMW)
        return dram_config_fail(cfg, "optim.state",
                                "only adamw has a state of 8 bits; set optim.type to adamw, or "
                                "optim.state to fp32");
    if (sam->enabled && group > micro)
        return dram_config_fail(cfg, "sam_distill.teacher.group", "%d is more than the micro-batch, %d", group, micro);
    if (sam->enabled && group && micro % group)
        return dram_config_fail(cfg, "sam_distill.teacher.group", "%d does not divide the micro-batch, %d", group,
                                micro);
    if (!cfg->memory.eager_free && cfg->memory.budget != DRAM_BYTES_NONE)
        return dram_config_fail(cfg, "memory.eager_free",
                                "without it every value is kept, which only serves to measure; "
                                "set it to true, or memory.budget to none");
    return DRAM_OK;
}

dram_status dram_config_check(const dram_config *cfg)
{
    TRY(check_name(cfg));
    TRY(check_data(cfg));
    TRY(check_classes(cfg));
    TRY(check_losses(cfg));
    TRY(check_trainable(cfg));
    TRY(check_cache(cfg));
    TRY(check_training(cfg));
    return check_memory(cfg);
}
