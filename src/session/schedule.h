/* schedule: learning rate, AdamW's bias corrections and the loss scale, as numbers the step reads. */
#ifndef DRAM_SESSION_SCHEDULE_H
#define DRAM_SESSION_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"

/* hyper[4] of the update ops at `step`: lr, 1 / (1 - beta1^t), 1 / (1 - beta2^t), r, where t - 1 of the steps before
 * made their update (all but the skipped ones). r: a mean of weights takes over that share of the new ones, 1 -
 * min(resolution_distill.mean_decay, t / (9 + t)); 0 without a mean. */
void dram_hyper(const dram_config *cfg, int64_t step, int64_t skipped, float hyper[4]);

/* The updates after which a run of this config ends, for good or for now: train.stop_at, or train.steps. */
int64_t dram_end_step(const dram_config *cfg);

/* The last step not after `step` on which the teacher runs: 0, N, 2N, ... with sam_distill.distill_interval N, counted
 * from where that N begins. */
int64_t dram_teacher_step(const dram_config *cfg, int64_t step);

/* Share of the steps on which the teacher runs: 1 / N, or with several N the run's own. */
double dram_teacher_share(const dram_config *cfg);

/* Dynamic loss scaling (Micikevicius et al. 2018): begins at 65536, is halved by a step whose gradient is not finite,
 * which is skipped, and doubled after 2000 good ones in a row, up to 2^24. */
typedef struct {
    double scale;    /* a power of two */
    int64_t good;    /* good steps since it last changed */
    int64_t skipped; /* steps so far */
} dram_scaling;

dram_scaling dram_scaling_begin(void);

/* After a step. False when a step failed at a scale of 1: there is nothing left to lower. */
bool dram_scaling_next(dram_scaling *scaling, bool finite);

#endif
