/* metrics: metrics.jsonl, one JSON object a step. */
#ifndef DRAM_REPORT_METRICS_H
#define DRAM_REPORT_METRICS_H

#include <stdbool.h>

#include "io/lines.h"

/* A number that the step did not have is NAN and becomes null, as an infinity does. `distilled` is written as true
 * exactly when loss_sam is not null. Losses, lr, grad_norm and loss_scale have 9 digits: a float comes back the
 * same. */
typedef struct {
    int64_t step;
    double loss, loss_task, loss_sam, loss_resolution;
    double lr, grad_norm, loss_scale;
    /* What the losses are means over: labelled pixels, and the images that had no cell to compare (train/step.h). */
    double label_pixels, sam_images_left_out, resolution_images_left_out;
    bool teacher_ran;
    double images_per_second;
    int64_t planned_peak_bytes, measured_peak_bytes;
    /* Written for several ranks alone. */
    int ranks;
    double wait_seconds; /* of the first rank for the others, before the step */
    int last_rank;       /* which all waited for */
} dram_metrics;

/* Appends one line. */
dram_status dram_metrics_append(const dram_lines *lines, const dram_metrics *metrics);

#endif
