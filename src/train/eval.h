/* eval: mIoU of the task and nearness to the teacher, over data.val. */
#ifndef DRAM_TRAIN_EVAL_H
#define DRAM_TRAIN_EVAL_H

#include "data/dataset.h"
#include "train/feed.h"
#include "train/predictions.h"

/* Runs the evaluation program over the whole data set once. Each label is compared at its own size: the logits are
 * upsampled to it, as the loss does. Reads nothing but running statistics and weights, and changes neither. Images
 * without a label count for the embedding alone. predictions: also written for every image; NULL: not. */
dram_status dram_evaluate(dram_session *session, dram_feed *feed, const dram_dataset *dataset,
                          const dram_predictions *predictions, dram_eval_result *result);

#endif
