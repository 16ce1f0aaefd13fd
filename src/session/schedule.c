#include "session/schedule.h"

#include <math.h>

/* The rate of update `step` (0 is the first): a linear warm-up over warmup_steps, then constant, or half a cosine down
 * to zero at train.steps. */
static double learning_rate(const dram_config *cfg, int64_t step)
{
    double lr = cfg->optim.lr;
    int64_t warmup = cfg->optim.warmup_steps, steps = cfg->train.steps;
    if (step < warmup) return lr * (double)(step + 1) / (double)warmup;
    if (cfg->optim.schedule == DRAM_SCHEDULE_CONSTANT || steps <= warmup) return lr;
    double done = (double)(step - warmup) / (double)(steps - warmup);
    return 0.5 * lr * (1.0 + cos(3.14159265358979323846 * done));
}

/* The share of a weight in its mean. The first updates leave little of what the weights were before: they come from far
 * away. As TensorFlow's ExponentialMovingAverage with a number of updates. */
static double mean_share(const struct dram_config_resolution_distill *resolution, double updates)
{
    if (!resolution->enabled || resolution->target != DRAM_RESOLUTION_MEAN) return 0.0;
    return 1.0 - fmin(resolution->mean_decay, (1.0 + updates) / (10.0 + updates));
}

void dram_hyper(const dram_config *cfg, int64_t step, int64_t skipped, float hyper[4])
{
    double t = (double)(step - skipped + 1);
    hyper[0] = (float)learning_rate(cfg, step);
    /* The kernel decays by the betas as floats, so they are corrected for as floats. */
    hyper[1] = (float)(1.0 / (1.0 - pow((float)cfg->optim.beta1, t)));
    hyper[2] = (float)(1.0 / (1.0 - pow((float)cfg->optim.beta2, t)));
    hyper[3] = (float)mean_share(&cfg->resolution_distill, t - 1.0);
}

int64_t dram_end_step(const dram_config *cfg)
{
    int64_t steps = cfg->train.steps, stop_at = cfg->train.stop_at;
    return stop_at && stop_at < steps ? stop_at : steps;
}

int64_t dram_teacher_step(const dram_config *cfg, int64_t step)
{
    const dram_steps *interval = &cfg->sam_distill.distill_interval;
    int i = dram_steps_at(interval, step);
    return step - (step - interval->from[i]) % interval->value[i];
}

double dram_teacher_share(const dram_config *cfg)
{
    const dram_steps *interval = &cfg->sam_distill.distill_interval;
    int64_t ran = 0, steps = cfg->train.steps;
    if (interval->n == 1) return 1.0 / interval->value[0];
    for (int i = 0; i < interval->n; i++) {
        int64_t end = i + 1 < interval->n && interval->from[i + 1] < steps ? interval->from[i + 1] : steps;
        if (end > interval->from[i]) ran += (end - interval->from[i] + interval->value[i] - 1) / interval->value[i];
    }
    return (double)ran / (double)steps;
}

static const double FIRST_SCALE = 65536.0, MOST_SCALE = 16777216.0;
enum { GOOD_STEPS = 2000 };

dram_scaling dram_scaling_begin(void)
{
    return (dram_scaling){.scale = FIRST_SCALE};
}

bool dram_scaling_next(dram_scaling *s, bool finite)
{
    if (!finite) {
        s->skipped++;
        s->good = 0;
        if (s->scale <= 1.0) return false;
        s->scale *= 0.5;
        return true;
    }
    s->good++;
    if (s->good < GOOD_STEPS) return true;
    s->good = 0;
    if (s->scale < MOST_SCALE) s->scale *= 2.0;
    return true;
}
