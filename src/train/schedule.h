/* schedule: learning rate, and AdamW's bias corrections, as numbers the update reads. */
#ifndef DRAM_TRAIN_SCHEDULE_H
#define DRAM_TRAIN_SCHEDULE_H

#include "config/config.h"

/* The rate of update `step` (0 is the first): linear warm-up over warmup_steps, then constant, or
 * a half cosine down to zero at train.steps. */
double dram_learning_rate(const dram_config *cfg, int64_t step);

/* hyper[4] of the update ops: lr, 1 / (1 - beta1^t), 1 / (1 - beta2^t), 0, with t = step + 1. */
void dram_hyper(const dram_config *cfg, int64_t step, float hyper[4]);

#endif
