#include "feed/datasets.h"

#include <stdio.h>

#include "base/log.h"

/* A fraction may round to none, and labels that are optional may all be missing. */
static dram_status check_labelled(const dram_config *cfg, const dram_dataset *train)
{
    const char *hint = dram_dataset_findings(train)->hint;
    if (!cfg->task.enabled || dram_dataset_labelled(train)) return DRAM_OK;
    if (cfg->data.train.label_fraction < 1.0 && dram_dataset_findings(train)->pairs)
        return dram_config_fail(cfg, "data.train.label_fraction",
                                "%g of the labels of %d images is not one label, and the task learns from labels; "
                                "raise it, or set task.enabled to false",
                                cfg->data.train.label_fraction, dram_dataset_count(train));
    return dram_config_fail(cfg, "data.train.labels",
                            "none of the %d images has a label, and the task learns from labels; name the folder that "
                            "holds them, or set task.enabled to false%s%s",
                            dram_dataset_count(train), hint ? "; " : "", hint ? hint : "");
}

void dram_datasets_say(const dram_dataset *dataset, bool recursive)
{
    const dram_dataset_found *found = dram_dataset_findings(dataset);
    char broken[600];
    if (found->others)
        dram_warn("%d file%s left aside, no image or label by %s (the first: %s)", found->others,
                  found->others == 1 ? "" : "s", found->others == 1 ? "its name" : "their names", found->other);
    if (found->folders)
        dram_warn("%d folder%s not looked into%s (the first: %s)", found->folders, found->folders == 1 ? "" : "s",
                  recursive ? ", since another name leads there too" : "; data.recursive: true does it", found->folder);
    if (found->broken)
        dram_warn("%d of %d images %s left out%s: %s", found->broken, found->images + found->broken,
                  found->broken == 1 ? "is" : "are", found->broken == 1 ? "" : ", the first",
                  dram_dataset_broken_text(found, broken, sizeof broken));
}

dram_status dram_datasets_check_broken(const dram_config *cfg, const dram_dataset *dataset, const char *images_where,
                                       const char *labels_where)
{
    const dram_dataset_found *found = dram_dataset_findings(dataset);
    bool stop = cfg->data.on_bad == DRAM_ON_BAD_STOP;
    char first[600], why[120] = " (data.on_bad is stop)";
    int broken = found->broken, all = found->images + broken;
    if (!broken) return DRAM_OK;
    if (!stop && !dram_dataset_is_too_bad(broken, all)) return DRAM_OK;
    dram_dataset_broken_text(found, first, sizeof first);
    if (!stop) snprintf(why, sizeof why, "; %d of %d images are so, more than 10 %%", broken, all);
    return dram_fail(DRAM_ERR_CONFIG, "%s: %s%s", found->broken_is_label ? labels_where : images_where, first, why);
}

/* "FILE:LINE:COLUMN: data.train.images", in memory of its own. */
static void key_and_place(const dram_config *cfg, bool val, const char *name, char *where, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "data.%s.%s", val ? "val" : "train", name);
    snprintf(where, n, "%s: %s", dram_config_where(cfg, path), path);
}

dram_status dram_datasets_open(const dram_config *cfg, bool val, dram_dataset **out)
{
    char images_where[600], labels_where[600], list_where[600];
    *out = NULL;
    key_and_place(cfg, val, "images", images_where, sizeof images_where);
    key_and_place(cfg, val, "labels", labels_where, sizeof labels_where);
    key_and_place(cfg, val, "list", list_where, sizeof list_where);
    int64_t seed = cfg->data.train.label_seed ? cfg->data.train.label_seed : cfg->seed;
    const dram_dataset_params params = {
        .images = val ? cfg->data.val.images : cfg->data.train.images,
        .labels = val ? cfg->data.val.labels : cfg->data.train.labels,
        .labels_aside = !cfg->task.enabled,
        .label_pattern = cfg->data.label_pattern,
        .list = val ? cfg->data.val.list : cfg->data.train.list,
        .recursive = cfg->data.recursive,
        .labels_optional = cfg->data.labels_optional,
        .label_fraction = val ? 1.0 : cfg->data.train.label_fraction,
        .seed = (uint64_t)seed,
        .images_where = images_where,
        .labels_where = labels_where,
        .list_where = list_where,
    };
    if (!params.images) return DRAM_OK;
    TRY(dram_dataset_open(&params, out));
    dram_status status = dram_datasets_check_broken(cfg, *out, images_where, labels_where);
    if (status == DRAM_OK && !val) status = check_labelled(cfg, *out);
    if (status == DRAM_OK) return DRAM_OK;
    dram_dataset_close(*out);
    *out = NULL;
    return status;
}

dram_label_rules dram_datasets_label_rules(const dram_config *cfg, int height, int width)
{
    const struct dram_config_data *data = &cfg->data;
    return (dram_label_rules){.height = height,
                              .width = width,
                              .classes = data->classes,
                              .ignore_index = data->ignore_index,
                              .map = data->class_map,
                              .reduce_zero = data->reduce_zero_label,
                              .max_bytes = data->max_decode_bytes};
}

dram_image_rules dram_datasets_image_rules(const dram_config *cfg)
{
    return (dram_image_rules){.max_pixels = cfg->data.max_pixels,
                              .max_bytes = cfg->data.max_decode_bytes,
                              .stored = cfg->data.orientation == DRAM_ORIENTATION_STORED,
                              .range = cfg->data.range};
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
        .images = dram_datasets_image_rules(cfg),
        .labels = dram_datasets_label_rules(cfg, 0, 0),
        .stop_on_bad = cfg->data.on_bad == DRAM_ON_BAD_STOP,
    };
}
