/* embed_loss, embed_loss_grad: an error a cell, weighted by the mask, a mean over the valid cells of each image.
 *
 * Bound by memory: 8 bytes an element of s forward, 12 backward (16 with acc), at 3 to 10 FLOPs. Cells with a mask of 0
 * are not read, so whatever the padding holds does not matter.
 */
#include "scratch/embed_loss.h"
#include "kernels/cpu/cpu.h"

typedef struct {
    const float *s, *t, *mask, *acc;
    float *out;
    dram_embed_sum *row; /* [N,H] */
    int64_t images, height, width, channels;
    int mode;
    float dloss;
} job;

static job job_of(const dram_kernel_args *args)
{
    const int64_t *s = args->in[0].shape.dim;
    return (job){.s = args->in[0].data,
                 .t = args->in[1].data,
                 .mask = args->in[2].data,
                 .images = s[0],
                 .height = s[1],
                 .width = s[2],
                 .channels = s[3],
                 .mode = args->attr->mode};
}

typedef struct {
    float st, ss, tt; /* products of s and t */
} products;

static products multiply(const float *s, const float *t, int64_t n)
{
    float st = 0, ss = 0, tt = 0;
#pragma omp simd reduction(+ : st, ss, tt)
    for (int64_t c = 0; c < n; c++) {
        st += s[c] * t[c];
        ss += s[c] * s[c];
        tt += t[c] * t[c];
    }
    return (products){st, ss, tt};
}

/* |s| |t|; 0 where one of them has no direction. The cosine is then 0, and so is its gradient. */
static float lengths(products p)
{
    float both = sqrtf(p.ss) * sqrtf(p.tt);
    return both < 1e-12f ? 0.0f : both;
}

/* e of one cell. */
static float cell_error(const job *j, const float *s, const float *t)
{
    const int64_t n = j->channels;
    float sum = 0;
    if (j->mode == DRAM_EMBED_COSINE) {
        products p = multiply(s, t, n);
        float both = lengths(p);
        return both == 0 ? 1.0f : 1.0f - p.st / both;
    }
    if (j->mode == DRAM_EMBED_MSE) {
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < n; c++) {
            float d = s[c] - t[c];
            sum += d * d;
        }
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < n; c++) {
            float d = fabsf(s[c] - t[c]);
            sum += d < 1.0f ? 0.5f * d * d : d - 0.5f;
        }
    }
    return sum / (float)n;
}

static void loss_row(void *context, int64_t task, int worker)
{
    const job *j = context;
    const float *mask = j->mask + task * j->width;
    dram_embed_sum sum = {0};
    (void)worker;
    for (int64_t x = 0; x < j->width; x++) {
        int64_t at = (task * j->width + x) * j->channels;
        if (mask[x] == 0) continue;
        sum.error += (double)mask[x] * (double)cell_error(j, j->s + at, j->t + at);
        sum.mask += (double)mask[x];
    }
    j->row[task] = sum;
}

DRAM_CPU_KERNEL(embed_loss)
{
    job j = job_of(args);
    double loss = 0;
    j.row = args->workspace;
    dram_pool_run(args->pool, j.images * j.height, loss_row, &j);
    for (int64_t n = 0; n < j.images; n++) {
        dram_embed_sum sum = {0};
        for (int64_t y = 0; y < j.height; y++) {
            sum.error += j.row[n * j.height + y].error;
            sum.mask += j.row[n * j.height + y].mask;
        }
        if (sum.mask != 0) loss += sum.error / sum.mask;
    }
    *(float *)args->out[0].data = (float)(loss / (double)j.images);
    return DRAM_OK;
}

/* ---- gradient ---- */

/* out = factor de/ds (+ acc) of one cell. */
static void cell_gradient(const job *j, const float *s, const float *t, const float *acc, float *out, float factor)
{
    const int64_t n = j->channels;
    if (j->mode == DRAM_EMBED_COSINE) {
        products p = multiply(s, t, n);
        float both = lengths(p), of_t = both == 0 ? 0.0f : -factor / both,
              of_s = both == 0 ? 0.0f : -of_t * (p.st / p.ss);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) out[c] = DRAM_FMA(of_t, t[c], of_s * s[c]) + (acc ? acc[c] : 0.0f);
    } else if (j->mode == DRAM_EMBED_MSE) {
        const float f = 2.0f * factor / (float)n;
#pragma omp simd
        for (int64_t c = 0; c < n; c++) out[c] = f * (s[c] - t[c]) + (acc ? acc[c] : 0.0f);
    } else {
        const float f = factor / (float)n;
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            float d = s[c] - t[c];
            d = d > 1.0f ? 1.0f : d;
            d = d < -1.0f ? -1.0f : d;
            out[c] = f * d + (acc ? acc[c] : 0.0f);
        }
    }
}

static void gradient_row(void *context, int64_t task, int worker)
{
    const job *j = context;
    const float *image = j->mask + task / j->height * j->height * j->width, *mask = j->mask + task * j->width;
    const size_t bytes = (size_t)j->channels * sizeof(float);
    double sum = 0;
    (void)worker;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < j->height * j->width; i++) sum += (double)image[i];
    for (int64_t x = 0; x < j->width; x++) {
        int64_t at = (task * j->width + x) * j->channels;
        const float *acc = j->acc ? j->acc + at : NULL;
        float *out = j->out + at;
        if (mask[x] != 0 && sum != 0)
            cell_gradient(j, j->s + at, j->t + at, acc, out,
                          (float)((double)j->dloss * (double)mask[x] / (sum * (double)j->images)));
        else if (!acc)
            memset(out, 0, bytes);
        else if (acc != out)
            memcpy(out, acc, bytes);
    }
}

DRAM_CPU_KERNEL(embed_loss_grad)
{
    job j = job_of(args);
    j.dloss = *(const float *)args->in[3].data;
    j.acc = args->n_in > 4 ? args->in[4].data : NULL;
    j.out = args->out[0].data;
    dram_pool_run(args->pool, j.images * j.height, gradient_row, &j);
    return DRAM_OK;
}
