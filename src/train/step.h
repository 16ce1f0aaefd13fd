/* step: one update on the device: the micro-batches of an effective batch, then the weights. */
#ifndef DRAM_TRAIN_STEP_H
#define DRAM_TRAIN_STEP_H

#include "feed/feed.h"

/* What the host decides about a step. */
typedef struct {
    dram_program_kind kind; /* distil or plain step */
    float hyper[4];         /* of the update (session/schedule.h) */
    double loss_scale;      /* read in fp16 */
    double sam_weight;      /* read with sam_distill.loss.scale_with_interval: the interval */
    int64_t labelled;       /* pixels of the effective batch, those of all ranks */
} dram_step_order;

/* What it gave, over the effective batch of all ranks, of which each gets the same. `loss` is what was trained: a term in which an image has nothing to compare counts it as 0. The terms
 * themselves are means over what was compared; NAN: the step has no such loss, or compared nothing. What was left out
 * is NAN where the step has no such loss. */
typedef struct {
    double loss, loss_task, loss_sam, loss_resolution;
    double label_pixels;            /* that the task's loss is a mean over */
    double sam_out, resolution_out; /* images without a cell that holds image, on the grid of that loss */
    double grad_norm;      /* of the gradient without the loss scale. Where it is not finite no update was made; a fused
                            * step has updated the weights before the first gradient that is not finite */
    double device_seconds; /* in which programs ran */
    bool ran;              /* false after an error: no program ran, and no slot has changed */
} dram_step_result;

/* samples[0..count): this rank's part of the effective batch, count = micro-batch times its number of micro-batches. All
 * ranks make the call. An error of one alone ends the job, unless there is one rank: the others wait within a program.
 * loader: lets go of
 * the samples (dram_loader_release) once the last micro-batch is staged; NULL: the caller keeps them. */
dram_status dram_step_run(dram_session *session, dram_feed *feed, const dram_step_order *order,
                          const dram_sample *samples, int count, dram_loader *loader, dram_step_result *result);

/* After a step that was not finite: does its forward and backward again, with no effect on any slot, until a tensor is
 * not finite. Writes "student.s1.b2.conv1.conv (conv2d, f16 [8,64,64,96])" into text, "" if none is. */
dram_status dram_step_trace(dram_session *session, dram_feed *feed, const dram_step_order *order,
                            const dram_sample *samples, int count, char *text, int size);

#endif
