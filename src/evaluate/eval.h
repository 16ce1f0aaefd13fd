/* eval: mIoU of the task and nearness to the teacher, over data.val. */
#ifndef DRAM_EVALUATE_EVAL_H
#define DRAM_EVALUATE_EVAL_H

#include "data/dataset.h"
#include "evaluate/predictions.h"
#include "feed/feed.h"

typedef struct {
    double miou;             /* NAN without labels */
    double pixel_accuracy;   /* NAN without labels */
    double embedding_cosine; /* NAN without a teacher; mean over the images of the mean over valid cells */
    double embedding_mse;    /* NAN without a teacher */
    int images, skipped;
    int classes;
    double class_iou[256]; /* NAN for a class that is in no label */
} dram_eval_result;

/* Runs the evaluation program over the whole data set once. Each label is compared at its own size: the logits are
 * upsampled to it, as the loss does. Reads nothing but running statistics and weights, and changes neither. Images
 * without a label count for the embedding alone. predictions: also written for every image; NULL: not. */
dram_status dram_evaluate(dram_session *session, dram_feed *feed, const dram_dataset *dataset,
                          const dram_predictions *predictions, dram_eval_result *result);

#endif
