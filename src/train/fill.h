/* fill: makes the embeddings that a cache lacks. Internal to src/train. */
#ifndef DRAM_TRAIN_FILL_H
#define DRAM_TRAIN_FILL_H

#include "train/targets.h"

/* An embedding that is wanted: its key, and the image of data.train or data.val that it is made from. */
typedef struct {
    dram_hash128 key;
    bool val;
    dram_loader_item item;
} dram_wanted;

/* Makes wanted[0..n), which the cache does not have, in sessions of DRAM_SET_CACHE_FILL; other processes may do the
 * same at the same time. cfg: dram_targets_fill_config. datasets: data.train, data.val. Nothing is started, and no
 * weight is loaded, when none of the images is good. Errors are those of dram_targets_open. */
dram_status dram_fill(const dram_config *cfg, const dram_targets *targets, const dram_dataset *const datasets[2],
                      const dram_wanted *wanted, int n, const volatile sig_atomic_t *stop);

#endif
