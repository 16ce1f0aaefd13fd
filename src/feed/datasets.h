/* datasets: the folders that a config names, opened, and how their images are read. */
#ifndef DRAM_FEED_DATASETS_H
#define DRAM_FEED_DATASETS_H

#include "config/config.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/loader.h"
#include "session/programs.h"

/* data.train or, with `val`, data.val; labels only where the task is on. *out is NULL when the config names no such
 * folder. DRAM_ERR_CONFIG, with the key's place: see dram_dataset_open and dram_datasets_check_broken; and a
 * task that would see no label at all in training. */
dram_status dram_datasets_open(const dram_config *cfg, bool val, dram_dataset **out);

/* Warns of what a folder holds beside what is used: other files, folders that are not looked into, names that are no
 * file. For a folder that is named by itself; of those of a config src/check says it. */
void dram_datasets_say(const dram_dataset *dataset, bool recursive);

/* DRAM_ERR_CONFIG: an image or a label is no file, and data.on_bad is stop or more than 10 % are so. Where its folder
 * was named is put before the error, with ": ". */
dram_status dram_datasets_check_broken(const dram_config *cfg, const dram_dataset *dataset, const char *images_where,
                                       const char *labels_where);

/* How the config wants its images decoded: the one place that says so. */
dram_image_rules dram_datasets_image_rules(const dram_config *cfg);

/* The rules of a label of `height` by `width` pixels (0: of any size), its classes those of the config, whose map they
 * borrow. */
dram_label_rules dram_datasets_label_rules(const dram_config *cfg, int height, int width);

/* The whole data set once in its order, in batches of a micro-batch, at the sides that the programs take. A caller sets
 * what differs. */
dram_loader_params dram_datasets_params(const dram_config *cfg, const dram_graph_set *graphs,
                                        const dram_dataset *dataset);

#endif
