#include "evaluate/pca.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"

/* LAPACK, in Fortran's calling convention: OpenBLAS holds it, and its headers do not declare it. */
void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
            const int *lwork, int *info, size_t jobz_length, size_t uplo_length);

/* The cells that count, less their mean: rows of `out`. Returns their number. */
static int64_t center(const float *x, const float *mask, int64_t n, int channels, double *mean, double *out)
{
    int64_t count = 0;
    for (int c = 0; c < channels; c++) mean[c] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (mask[i] == 0) continue;
        for (int c = 0; c < channels; c++) mean[c] += out[count * channels + c] = (double)x[i * channels + c];
        count++;
    }
    for (int c = 0; c < channels && count; c++) mean[c] /= (double)count;
    for (int64_t i = 0; i < count * channels; i++) out[i] -= mean[i % channels];
    return count;
}

/* Eigenvectors over the matrix, a row each, by rising eigenvalue. */
static dram_status decompose(double *matrix, double *values, int n)
{
    double size;
    int query = -1, info;
    dsyev_("V", "L", &n, matrix, &n, values, &size, &query, &info, 1, 1);
    int room = info == 0 ? (int)size : 0;
    double *work = dram_alloc((size_t)room * sizeof *work);
    if (!work) return dram_fail(DRAM_ERR_MEMORY, "no memory for principal components");
    dsyev_("V", "L", &n, matrix, &n, values, work, &room, &info, 1, 1);
    dram_free(work);
    return info == 0 ? DRAM_OK
                     : dram_fail(DRAM_ERR_NUMERIC, "the principal components were not found (dsyev: %d)", info);
}

static void take_axis(const double *from, int channels, double *axis)
{
    int largest = 0;
    for (int c = 1; c < channels; c++)
        if (fabs(from[c]) > fabs(from[largest])) largest = c;
    for (int c = 0; c < channels; c++) axis[c] = from[largest] < 0 ? -from[c] : from[c];
}

/* Axes and deviations from the covariance [C,C], of which the upper half by rows is there; it is spent. */
static dram_status take_axes(double *covariance, double *values, dram_pca *pca)
{
    static const double NOTHING = 1e-12; /* of the whole variance: rounding of the sums */
    static const double ALIKE = 1e-24;   /* of the mean's square: the mean's rounding, far below that of a float */
    int channels = pca->channels;
    double whole = 0, held = 0, square = 0;
    for (int c = 0; c < channels; c++) {
        whole += covariance[(size_t)c * (size_t)(channels + 1)];
        square += pca->mean[c] * pca->mean[c];
    }
    if (!isfinite(whole)) return dram_fail(DRAM_ERR_NUMERIC, "the embedding is not finite");
    TRY(decompose(covariance, values, channels));
    for (int k = 0; k < DRAM_PCA_AXES; k++) {
        int from = channels - 1 - k;
        take_axis(covariance + (size_t)from * (size_t)channels, channels, pca->axis + (size_t)k * (size_t)channels);
        if (!(values[from] > NOTHING * whole) || !(whole > ALIKE * square)) continue;
        pca->deviation[k] = sqrt(values[from]);
        held += values[from];
    }
    pca->explained = whole > ALIKE * square ? held / whole : NAN;
    return DRAM_OK;
}

dram_status dram_pca_fit(const float *x, const float *mask, int64_t n, int channels, dram_pca *pca)
{
    size_t c = (size_t)channels;
    dram_status status;
    *pca = (dram_pca){.channels = channels};
    pca->mean = dram_alloc(c * sizeof *pca->mean);
    pca->axis = dram_calloc(DRAM_PCA_AXES * c, sizeof *pca->axis);
    double *centered = dram_alloc((size_t)n * c * sizeof *centered);
    double *covariance = dram_calloc(c * c, sizeof *covariance), *values = dram_alloc(c * sizeof *values);
    if (!pca->mean || !pca->axis || !centered || !covariance || !values) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for principal components");
        goto done;
    }
    int64_t count = center(x, mask, n, channels, pca->mean, centered);
    if (count)
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, channels, (int)count, 1.0 / (double)count, centered,
                    channels, 0.0, covariance, channels);
    status = take_axes(covariance, values, pca);
done:
    dram_free(centered);
    dram_free(covariance);
    dram_free(values);
    if (status != DRAM_OK) dram_pca_free(pca);
    return status;
}

void dram_pca_free(dram_pca *pca)
{
    dram_free(pca->mean);
    dram_free(pca->axis);
    *pca = (dram_pca){0};
}

void dram_pca_project(const dram_pca *pca, const float *x, double out[DRAM_PCA_AXES])
{
    for (int k = 0; k < DRAM_PCA_AXES; k++) {
        const double *axis = pca->axis + (size_t)k * (size_t)pca->channels;
        double sum = 0;
        for (int c = 0; c < pca->channels; c++) sum += axis[c] * ((double)x[c] - pca->mean[c]);
        out[k] = pca->deviation[k] > 0 ? sum / pca->deviation[k] : 0;
    }
}
