#include "feed/datasets.h"

#include <stdio.h>

/* A fraction may round to none, and labels that are optional may all be missing. */
static dram_status check_labelled(const dram_config *cfg, const dram_dataset *train)
{
    if (!cfg->task.enabled || dram_dataset_labelled(train)) return DRAM_OK;
    if (cfg->data.train.label_fraction < 1.0)
        return dram_config_fail(cfg, "data.train.label_fraction",
                                "%g of the labels of %d images is not one label, and the task learns from labels; "
                                "raise it, or set task.enabled to false",
                                cfg->data.train.label_fraction, dram_dataset_count(train));
    return dram_config_fail(cfg, "data.train.labels",
                            "none of the %d images has a label, and the task learns from labels; name the folder that "
                            "holds them, or set task.enabled to false",
                            dram_dataset_count(train));
}

dram_status dram_datasets_open(const dram_config *cfg, bool val, dram_dataset **out)
{
    char images_where[600], labels_where[600], path[64];
    const char *images = val ? cfg->data.val.images : cfg->data.train.images;
    const char *labels = val ? cfg->data.val.labels : cfg->data.train.labels;
    const char *key = val ? "data.val" : "data.train";
    *out = NULL;
    if (!images) return DRAM_OK;
    snprintf(path, sizeof path, "%s.images", key);
    snprintf(images_where, sizeof images_where, "%s: %s", dram_config_where(cfg, path), path);
    snprintf(path, sizeof path, "%s.labels", key);
    snprintf(labels_where, sizeof labels_where, "%s: %s", dram_config_where(cfg, path), path);
    int64_t seed = cfg->data.train.label_seed ? cfg->data.train.label_seed : cfg->seed;
    const dram_dataset_params params = {
        .images = images,
        .labels = cfg->task.enabled ? labels : NULL,
        .labels_optional = cfg->data.labels_optional,
        .label_fraction = val ? 1.0 : cfg->data.train.label_fraction,
        .seed = (uint64_t)seed,
        .images_where = images_where,
        .labels_where = labels_where,
    };
    TRY(dram_dataset_open(&params, out));
    dram_status status = val ? DRAM_OK : check_labelled(cfg, *out);
    if (status == DRAM_OK) return DRAM_OK;
    dram_dataset_close(*out);
    *out = NULL;
    return status;
}

dram_loader_params dram_datasets_params(const dram_config *cfg, const dram_graph_set *p, const dram_dataset *dataset)
{
    return (dram_loader_params){
        .dataset = dataset,
        .seed = (uint64_t)cfg->seed,
        .student_size = p->student_size,
        .teacher_size = p->teacher_size,
        .teacher_canvas = p->teacher_canvas,
        .batch_size = p->batch,
        .workers = cfg->data.workers,
        .prefetch = cfg->data.prefetch,
        .limits = {.max_pixels = cfg->data.max_pixels, .max_bytes = cfg->data.max_decode_bytes},
        .classes = p->classes,
        .ignore_index = cfg->data.ignore_index,
        .stop_on_bad = cfg->data.on_bad == DRAM_ON_BAD_STOP,
    };
}
