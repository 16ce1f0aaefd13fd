/* metrics: metrics.jsonl, one JSON object a step. */
#ifndef DRAM_REPORT_METRICS_H
#define DRAM_REPORT_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* A number that the step did not have is NAN and becomes null, as an infinity does. `distilled` is written as true
 * exactly when loss_sam is not null. Losses, lr, grad_norm and loss_scale have 9 digits: a float comes back the same.
 */
typedef struct {
    int64_t step;
    double loss, loss_task, loss_sam, loss_resolution;
    double lr, grad_norm, loss_scale;
    bool teacher_ran;
    double images_per_second;
    int64_t planned_peak_bytes, measured_peak_bytes;
} dram_metrics;

typedef struct dram_metrics_file dram_metrics_file;

/* Opens the file for appending; it is made if it is not there. */
dram_status dram_metrics_open(const char *path, dram_metrics_file **file);

/* Hands one whole line to the system. After a failure (a full disk) the part that was written is taken back. */
dram_status dram_metrics_append(dram_metrics_file *file, const dram_metrics *metrics);

void dram_metrics_close(dram_metrics_file *file); /* NULL is allowed */

/* Keeps the lines with a step below `step`; a torn last line (no newline) is dropped. Atomic. No file is no error; a
 * whole line that is not an object with a step is DRAM_ERR_FORMAT with its number, the file as it was. */
dram_status dram_metrics_truncate(const char *path, int64_t step);

#endif
