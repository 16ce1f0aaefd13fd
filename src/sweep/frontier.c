#include "sweep/frontier.h"

#include <math.h>

/* Lentz's continued fraction, which converges fast for x below (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    h = d;
    for (int m = 1; m <= 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return h;
}

double dram_beta(double a, double b, double x)
{
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Of Student's t above 0 or below. */
static double upper_tail(double t, double df)
{
    double half = 0.5 * dram_beta(df / 2, 0.5, df / (df + t * t));
    return t > 0 ? half : 1 - half;
}

double dram_welch(dram_quality_sample a, dram_quality_sample b)
{
    double df, se;
    if (a.n == 1 || b.n == 1) {
        const dram_quality_sample *many = a.n == 1 ? &b : &a;
        se = many->sd * sqrt(1 + 1.0 / many->n);
        df = many->n - 1;
    } else {
        double va = a.sd * a.sd / a.n, vb = b.sd * b.sd / b.n;
        se = sqrt(va + vb);
        df = (va + vb) * (va + vb) / (va * va / (a.n - 1) + vb * vb / (b.n - 1));
    }
    if (se == 0) return a.mean > b.mean ? 0 : a.mean < b.mean ? 1 : 0.5;
    return upper_tail((a.mean - b.mean) / se, df);
}

bool dram_is_better(dram_quality_sample a, dram_quality_sample b, bool less_is_better)
{
    if (less_is_better) {
        a.mean = -a.mean;
        b.mean = -b.mean;
    }
    if (a.mean <= b.mean) return false;
    return (a.n == 1 && b.n == 1) || dram_welch(a, b) < 0.05;
}

static dram_quality_sample sample_of(const dram_sweep_outcome *o)
{
    return (dram_quality_sample){.mean = o->mean, .sd = o->sd, .n = o->n};
}

/* Times of one machine differ by a few percent when nothing does. */
static bool dominates(const dram_sweep *sweep, const dram_sweep_outcome *outcomes, int k, int i)
{
    const dram_sweep_outcome *a = &outcomes[k], *b = &outcomes[i];
    const double same_time = 1.05;
    if (k == i || !a->known || sweep->points[k].planned_bytes > sweep->points[i].planned_bytes) return false;
    if (a->seconds_per_image > same_time * b->seconds_per_image) return false;
    return dram_is_better(sample_of(a), sample_of(b), dram_quality_less_is_better(sweep->quality));
}

void dram_sweep_frontier(const dram_sweep *sweep, dram_sweep_outcome *outcomes)
{
    for (int i = 0; i < sweep->n_points; i++) {
        dram_sweep_outcome *o = &outcomes[i];
        o->known = o->n > 0 && isfinite(o->mean) && isfinite(o->seconds_per_image);
        o->single = o->known && o->n == 1;
    }
    for (int i = 0; i < sweep->n_points; i++) {
        dram_sweep_outcome *o = &outcomes[i];
        o->n_dominated_by = 0;
        for (int k = 0; o->known && k < sweep->n_points && o->n_dominated_by < DRAM_SWEEP_DOMINATED; k++)
            if (dominates(sweep, outcomes, k, i)) o->dominated_by[o->n_dominated_by++] = sweep->points[k].index;
        o->pareto = o->known && o->n_dominated_by == 0;
    }
}
