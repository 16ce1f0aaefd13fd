/* feed: puts a batch from the loader into the staged inputs of a program. */
#ifndef DRAM_TRAIN_FEED_H
#define DRAM_TRAIN_FEED_H

#include "data/loader.h"
#include "train/train.h"

/* Host room for masks and sizes of one micro-batch; taken once. */
typedef struct {
    float *mask;   /* the larger of [N,g,g] and [N,r,r] */
    int32_t *size; /* [N,2] */
} dram_feed;

dram_status dram_feed_open(const dram_programs *programs, dram_feed *feed);
void dram_feed_close(dram_feed *feed);

/* What the task's loss of each micro-batch is divided by: the labelled pixels of the whole effective batch, at least 1,
 * over the number of micro-batches. */
float dram_feed_label_count(const dram_programs *programs, const dram_sample *samples, int count);

/* Writes images, sizes, masks and labels of samples[0..count), a micro-batch, and the label count. Where count is below
 * the program's batch, the rest is empty: valid size 0, mask 0, no label. */
dram_status dram_feed_batch(dram_session *session, dram_feed *feed, dram_program_kind kind, const dram_sample *samples,
                            int count, float label_count);

#endif
