/* eval: mIoU of the task and nearness to the teacher, over data.val. */
#ifndef DRAM_EVALUATE_EVAL_H
#define DRAM_EVALUATE_EVAL_H

#include <signal.h>

#include "data/dataset.h"
#include "evaluate/predictions.h"
#include "feed/feed.h"

typedef struct {
    double miou;             /* mean over the classes that are in some label; NAN without a labelled pixel */
    double pixel_accuracy;   /* NAN without a labelled pixel */
    double embedding_cosine; /* mean over the images with a valid cell of the mean over those; NAN: there is none, or */
    double embedding_mse;    /* no teacher */
    int images, skipped;
    int embedded, without_cell;           /* images that those means are over, and too thin ones; -1: no teacher */
    int64_t labelled_pixels, void_pixels; /* of the labels; void: ignore_index */
    int unlabelled;                       /* images without a labelled pixel; they count in no number of the task */
    int classes;                          /* 0: no task */
    int absent;                           /* classes that are in no label, ignore_index left out */
    double class_iou[256];                /* NAN for a class that is in no label */
    const dram_texts *class_names;        /* [classes] of the config, which must outlive it; NULL: there are none */
} dram_eval_result;

/* Runs the evaluation program over the whole data set once. Each label is compared at its own size: the logits are
 * upsampled to it, as the loss does. Reads nothing but running statistics and weights, and changes neither. Images
 * without a label count for the embedding alone; what compared nothing counts in no mean. Of several evaluations with
 * one feed, which are of one data set, the first alone warns of a bad image. predictions: also written for every image;
 * NULL: not. stop: looked at for each batch; non-zero ends with DRAM_INTERRUPTED, and *result is of no use; NULL:
 * never. */
dram_status dram_evaluate(dram_session *session, dram_feed *feed, const dram_dataset *dataset,
                          const dram_predictions *predictions, const volatile sig_atomic_t *stop,
                          dram_eval_result *result);

#endif
