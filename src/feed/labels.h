/* labels: what the labels of data.train hold, looked at before the first step. */
#ifndef DRAM_FEED_LABELS_H
#define DRAM_FEED_LABELS_H

#include "config/config.h"
#include "data/dataset.h"

typedef struct {
    int64_t pixels[256]; /* of each id, void (ignore_index) among them */
    int labels, looked;  /* labels that the run uses, and those that were read and are good */
    int bad;             /* that were read and are not */
} dram_label_counts;

/* Reads labels of `dataset`, spread over it, by `data.workers` threads: all of them where there are at most 512 and
 * they take at most two seconds, else as many. A bad label is counted, and one's reason warned about. The labels' sizes
 * are not held against the images'. DRAM_ERR_MEMORY, DRAM_ERR_RUN: no memory, no threads. */
dram_status dram_labels_count(const dram_config *cfg, const dram_dataset *dataset, dram_label_counts *counts);

/* Counts the labels of data.train, and says so where not all were read. Warns of classes that are in no label and of
 * more than half void. DRAM_ERR_CONFIG: all labels were read, and none has a labelled pixel. Nothing is done where the
 * task is off. */
dram_status dram_labels_check(const dram_config *cfg, const dram_dataset *train);

#endif
