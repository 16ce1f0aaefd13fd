/* datasets: the folders that a config names, opened. */
#ifndef DRAM_FEED_DATASETS_H
#define DRAM_FEED_DATASETS_H

#include "config/config.h"
#include "data/dataset.h"

/* data.train or, with `val`, data.val; labels only where the task is on. *out is NULL when the config names no such
 * folder. DRAM_ERR_CONFIG, with the key's place: see dram_dataset_open; and a task that would see no label at all in
 * training. */
dram_status dram_datasets_open(const dram_config *cfg, bool val, dram_dataset **out);

#endif
