#include "train/schedule.h"

#include <math.h>

double dram_learning_rate(const dram_config *cfg, int64_t step)
{
    double lr = cfg->optim.lr;
    int64_t warmup = cfg->optim.warmup_steps, steps = cfg->train.steps;
    if (step < warmup) return lr * (double)(step + 1) / (double)warmup;
    if (cfg->optim.schedule == DRAM_SCHEDULE_CONSTANT || steps <= warmup) return lr;
    double done = (double)(step - warmup) / (double)(steps - warmup);
    return 0.5 * lr * (1.0 + cos(3.14159265358979323846 * done));
}

void dram_hyper(const dram_config *cfg, int64_t step, float hyper[4])
{
    double t = (double)(step + 1);
    hyper[0] = (float)dram_learning_rate(cfg, step);
    /* The kernel decays by the betas as floats, so they are corrected for as floats. */
    hyper[1] = (float)(1.0 / (1.0 - pow((float)cfg->optim.beta1, t)));
    hyper[2] = (float)(1.0 / (1.0 - pow((float)cfg->optim.beta2, t)));
    hyper[3] = 0.0f;
}
