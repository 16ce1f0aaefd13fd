/* cwd_loss, cwd_loss_grad: for each image and channel a softmax over the valid cells of s / T and of t / T, and how far
 * the first is from the second.
 *
 * A task is a strip of channels of one image, so that a softmax is within a task: 16 bytes an element forward (s and t
 * for the maxima, and again for the sums), 28 backward, at 2 and 4 exponentials. Cells with a mask of 0 are not read,
 * so whatever the padding holds does not matter. Exponentials are in fp32, their sums in fp64.
 */
#include "scratch/cwd_loss.h"
#include "kernels/cpu/math.h"

enum { STRIP = DRAM_CWD_STRIP }; /* sums of a task are on the stack */

typedef struct {
    const float *s, *t, *mask, *acc;
    float *out;
    double *part; /* [N,strips]: sum over the strip's channels */
    int64_t images, cells, channels, strips;
    float sharpness; /* 1 / T */
    double factor;   /* of p_s - p_t in the gradient */
} job;

static job job_of(const dram_kernel_args *args)
{
    const int64_t *s = args->in[0].shape.dim;
    return (job){.s = args->in[0].data,
                 .t = args->in[1].data,
                 .mask = args->in[2].data,
                 .images = s[0],
                 .cells = s[1] * s[2],
                 .channels = s[3],
                 .strips = dram_cwd_strips(s[3]),
                 .sharpness = 1.0f / args->attr->scale};
}

/* Where a task's strip is. */
typedef struct {
    const float *mask; /* [cells] of the image */
    int64_t at;        /* element of the first cell; the next cell's is `channels` further */
    int64_t n;         /* channels */
} place;

static place place_of(const job *j, int64_t task)
{
    int64_t image = task / j->strips, channel = task % j->strips * STRIP;
    return (place){.mask = j->mask + image * j->cells,
                   .at = image * j->cells * j->channels + channel,
                   .n = dram_min(STRIP, j->channels - channel)};
}

/* Of each channel over the valid cells. */
typedef struct {
    float most_s[STRIP], most_t[STRIP]; /* maxima, which keep the exponentials at 1 and below */
    double sum_s[STRIP], sum_t[STRIP];  /* of the exponentials; 0: there is no valid cell */
    double cross[STRIP];                /* sum of e^b (b - a): see exponentials */
} sums;

/* a = (s - most_s) / T and b = (t - most_t) / T of one cell: e^a, e^b, and b - a. */
static void exponentials(const job *j, const sums *z, const float *s, const float *t, int64_t n, float *exp_s,
                         float *exp_t, float *apart)
{
    const float sharpness = j->sharpness;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        float a = (s[c] - z->most_s[c]) * sharpness, b = (t[c] - z->most_t[c]) * sharpness;
        exp_s[c] = dram_expf(a);
        exp_t[c] = dram_expf(b);
        apart[c] = b - a;
    }
}

static void add_up(const job *j, const place *p, sums *z)
{
    float exp_s[STRIP], exp_t[STRIP], apart[STRIP];
    *z = (sums){.sum_s = {0}};
    for (int c = 0; c < STRIP; c++) z->most_s[c] = z->most_t[c] = -INFINITY;
    for (int64_t i = 0; i < j->cells; i++) {
        const float *s = j->s + p->at + i * j->channels, *t = j->t + p->at + i * j->channels;
        if (p->mask[i] == 0) continue;
#pragma omp simd
        for (int64_t c = 0; c < p->n; c++) {
            z->most_s[c] = s[c] > z->most_s[c] ? s[c] : z->most_s[c];
            z->most_t[c] = t[c] > z->most_t[c] ? t[c] : z->most_t[c];
        }
    }
    for (int64_t i = 0; i < j->cells; i++) {
        const float *s = j->s + p->at + i * j->channels, *t = j->t + p->at + i * j->channels;
        if (p->mask[i] == 0) continue;
        exponentials(j, z, s, t, p->n, exp_s, exp_t, apart);
#pragma omp simd
        for (int64_t c = 0; c < p->n; c++) {
            z->sum_s[c] += (double)exp_s[c];
            z->sum_t[c] += (double)exp_t[c];
            z->cross[c] += (double)exp_t[c] * (double)apart[c];
        }
    }
}

/* KL(p_t || p_s) = sum p_t (log p_t - log p_s), log p_t = b - log sum_t, log p_s = a - log sum_s. */
static void loss_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    place p = place_of(j, task);
    sums z;
    double sum = 0;
    (void)worker;
    add_up(j, &p, &z);
    for (int64_t c = 0; c < p.n; c++)
        if (z.sum_t[c] != 0) sum += z.cross[c] / z.sum_t[c] + log(z.sum_s[c]) - log(z.sum_t[c]);
    j->part[task] = sum;
}

DRAM_CPU_KERNEL(cwd_loss)
{
    job j = job_of(args);
    double loss = 0, temperature = (double)args->attr->scale;
    j.part = args->workspace;
    dram_pool_run(args->pool, j.images * j.strips, loss_strip, &j);
    for (int64_t i = 0; i < j.images * j.strips; i++) loss += j.part[i];
    *(float *)args->out[0].data = (float)(loss * temperature * temperature / (double)(j.images * j.channels));
    return DRAM_OK;
}

/* ---- gradient ---- */

/* dKL/ds = (p_s - p_t) / T at each valid cell. Where s and t are the same it is exactly 0. */
static void gradient_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    place p = place_of(j, task);
    sums z;
    float exp_s[STRIP], exp_t[STRIP], apart[STRIP], of_s[STRIP], of_t[STRIP];
    (void)worker;
    add_up(j, &p, &z);
    for (int64_t c = 0; c < p.n; c++) {
        of_s[c] = (float)(j->factor / z.sum_s[c]);
        of_t[c] = (float)(j->factor / z.sum_t[c]);
    }
    for (int64_t i = 0; i < j->cells; i++) {
        int64_t at = p.at + i * j->channels;
        const float *acc = j->acc ? j->acc + at : NULL;
        float *out = j->out + at;
        if (p.mask[i] != 0) {
            exponentials(j, &z, j->s + at, j->t + at, p.n, exp_s, exp_t, apart);
#pragma omp simd
            for (int64_t c = 0; c < p.n; c++) out[c] = exp_s[c] * of_s[c] - exp_t[c] * of_t[c] + (acc ? acc[c] : 0.0f);
        } else if (!acc) {
            memset(out, 0, (size_t)p.n * sizeof *out);
        } else if (acc != out) {
            memcpy(out, acc, (size_t)p.n * sizeof *out);
        }
    }
}

DRAM_CPU_KERNEL(cwd_loss_grad)
{
    job j = job_of(args);
    double dloss = (double)*(const float *)args->in[3].data;
    j.factor = dloss * (double)args->attr->scale / (double)(j.images * j.channels);
    j.acc = args->n_in > 4 ? args->in[4].data : NULL;
    j.out = args->out[0].data;
    dram_pool_run(args->pool, j.images * j.strips, gradient_strip, &j);
    return DRAM_OK;
}
