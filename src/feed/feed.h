/* feed: puts a batch from the loader into the staged inputs of a program. */
#ifndef DRAM_FEED_FEED_H
#define DRAM_FEED_FEED_H

#include "data/loader.h"
#include "feed/targets.h"
#include "session/session.h"

/* Host memory for masks and sizes of one micro-batch; taken once. Letters as in session/programs.h. */
typedef struct {
    float *mask;    /* the larger of [N,g,g] and [N,r,r] */
    int32_t *size;  /* [N,2] */
    float *kept;    /* [A,N,g,g,256]: targets of the last distil step, for the steps that reuse them; NULL: none do */
    bool *said;     /* [images of data.val] bad ones that were warned about; NULL: none so far */
    bool *left_out; /* [images of data.val] bad ones that an evaluation of several ranks met; NULL: none so far */
    /* Where targets come from the cache. The caller sets it and keeps it; it outlives the feed. */
    dram_targets *targets;
} dram_feed;

/* Elements of `kept`. */
int64_t dram_feed_kept(const dram_graph_set *graphs);

dram_status dram_feed_open(const dram_graph_set *graphs, dram_feed *feed);
void dram_feed_close(dram_feed *feed);

/* What the task's loss of each micro-batch is divided by: the labelled pixels of the whole effective batch, at least 1,
 * over the number of its micro-batches, those of all ranks. */
float dram_feed_label_count(int64_t pixels, int micro_batches);

/* Labelled pixels of samples[0..count). */
int64_t dram_feed_label_pixels(const dram_sample *samples, int count);

/* How many of the images have a cell that holds image, on a grid of `cells` a side: those over which a mean over cells
 * exists. */
int dram_feed_with_cells(const dram_graph_set *graphs, const dram_sample *samples, int count, int cells);

/* Writes images, sizes, masks, targets and labels of samples[0..count), micro-batch k, and the label count. Where count
 * is below the program's batch, the rest is empty: valid size 0, mask 0, no label. */
dram_status dram_feed_batch(dram_session *session, dram_feed *feed, dram_program_kind kind, int k,
                            const dram_sample *samples, int count, float label_count);

/* After a distil step's program: keeps micro-batch k's target, if it is to be reused. */
dram_status dram_feed_keep(dram_session *session, dram_feed *feed, dram_program_kind kind, int k);

#endif
