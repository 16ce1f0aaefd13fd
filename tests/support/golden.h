/* golden: reads a file of tests/golden/ and holds a tensor against an entry of it.
 *
 * An entry has a few values of a tensor, its shape and the sums over the whole of it (tests/golden/README.md). A
 * comparison looks at every kept value and at both sums, so that no element goes unseen; NaN fails, and so does an
 * entry without values. Include after cmocka.h for golden_assert.
 */
#ifndef DRAM_TESTS_GOLDEN_H
#define DRAM_TESTS_GOLDEN_H

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "support/hashweights.h"

typedef struct {
    char name[160];
    int rank;
    int64_t dim[8], elements, kept; /* kept == elements: all of them, in order */
    double sum, sumsq, rms;
    float *values; /* owned */
} golden_entry;

/* How the tensor to be compared lies in memory. */
typedef enum {
    GOLDEN_FILE, /* as in the file */
    GOLDEN_NHWC  /* rank 4, the file's second dimension at the end: NCHW held as NHWC, OIHW as OHWI */
} golden_layout;

/* 0 when the entry is there and sound; free() entry->values. Else the reason is in `why`. */
static inline int golden_read(const dram_st *st, const char *name, golden_entry *entry, char *why, size_t size)
{
    const dram_st_tensor *t = dram_st_find(st, name);
    const char *text = dram_st_metadata(st, name);
    *entry = (golden_entry){.elements = 1};
    snprintf(entry->name, sizeof entry->name, "%s", name);
    if (!t || !text || *text != '[') {
        snprintf(why, size, "no entry \"%s\"", name);
        return -1;
    }
    const char *p = text + 1;
    while (*p && *p != ']' && entry->rank < 8) {
        char *end;
        int64_t d = strtoll(p, &end, 10);
        if (end == p || d < 0) break;
        entry->dim[entry->rank++] = d;
        entry->elements *= d;
        p = *end == ',' ? end + 1 : end;
    }
    entry->kept = t->elements;
    if (sscanf(p, "] sum %lf sumsq %lf", &entry->sum, &entry->sumsq) != 2 || entry->kept < 1 ||
        entry->kept > entry->elements) {
        snprintf(why, size, "entry \"%s\" is damaged: %s", name, text);
        return -1;
    }
    entry->rms = sqrt(entry->sumsq / (double)entry->elements);
    entry->values = malloc((size_t)entry->kept * sizeof *entry->values);
    if (!entry->values || dram_st_read_f32(st, t, 0, entry->kept, entry->values) != DRAM_OK) {
        snprintf(why, size, "entry \"%s\" cannot be read: %s", name, dram_error_text());
        free(entry->values);
        entry->values = NULL;
        return -1;
    }
    return 0;
}

/* Place in the file's layout of kept value j. */
static inline int64_t golden_place(const golden_entry *e, int64_t j)
{
    return e->kept == e->elements ? j : hash_index(e->name, j, e->elements);
}

/* Where element i of the file's layout lies in memory. */
static inline int64_t golden_memory(const golden_entry *e, golden_layout layout, int64_t i)
{
    if (layout == GOLDEN_FILE) return i;
    int64_t plane = e->dim[2] * e->dim[3], channels = e->dim[1];
    return (i / (plane * channels) * plane + i % plane) * channels + i / plane % channels;
}

/* Compares got, a tensor of the given shape (the file's, even for GOLDEN_NHWC), with the entry.
 *
 * Each kept value must satisfy |got - want| <= rms_tol * rms + rtol * |want|, rms being the entry's root mean square:
 * rounding errors of a tensor are as large as its large elements make them, so rms_tol is the one to set, and rtol
 * may be 0. The sums must agree to what such an error in each element would amount to.
 *
 * Returns the largest share of the allowance that was used; 1 or less is agreement. Anything that is not agreement,
 * NaN, another shape and a missing entry too, gives more than 1 (or infinity), with the reason in `why`. */
static inline double golden_compare(const dram_st *st, const char *name, const float *got, int rank, const int64_t *dim,
                                    golden_layout layout, double rms_tol, double rtol, char *why, size_t size)
{
    golden_entry e;
    double worst = 0, sum = 0, sumsq = 0;
    why[0] = '\0';
    if (golden_read(st, name, &e, why, size) != 0) return INFINITY;
    bool same = rank == e.rank && (layout == GOLDEN_FILE || rank == 4);
    for (int k = 0; same && k < rank; k++) same = dim[k] == e.dim[k];
    if (!same) {
        snprintf(why, size, "another shape than \"%s\" has: %s", name, dram_st_metadata(st, name));
        free(e.values);
        return INFINITY;
    }
    for (int64_t j = 0; j < e.kept; j++) {
        int64_t i = golden_place(&e, j);
        double x = got[golden_memory(&e, layout, i)], want = e.values[j];
        double allowed = rms_tol * e.rms + rtol * fabs(want), off = fabs(x - want);
        double used = off == 0 ? 0 : off / allowed;
        if (used <= worst) continue;
        worst = isnan(used) ? INFINITY : used;
        snprintf(why, size, "%s at %" PRId64 ": got %.9g, want %.9g, off by %.2g rms", name, i, x, want, off / e.rms);
        if (isinf(worst)) break;
    }
    free(e.values);
    for (int64_t i = 0; i < e.elements; i++) {
        sum += got[i];
        sumsq += (double)got[i] * got[i];
    }
    /* an error of (rms_tol + rtol) rms in every element, all of one sign */
    double each = (rms_tol + rtol) * e.rms, n = (double)e.elements;
    double sum_used = sum == e.sum ? 0 : fabs(sum - e.sum) / (n * each);
    double sumsq_used = sumsq == e.sumsq ? 0 : fabs(sumsq - e.sumsq) / (n * each * (2 * e.rms + each));
    if (!(sum_used <= worst) && !isinf(worst)) {
        worst = isnan(sum_used) ? INFINITY : sum_used;
        snprintf(why, size, "%s: the sum is %.9g, want %.9g", name, sum, e.sum);
    }
    if (!(sumsq_used <= worst) && !isinf(worst)) {
        worst = isnan(sumsq_used) ? INFINITY : sumsq_used;
        snprintf(why, size, "%s: the sum of squares is %.9g, want %.9g", name, sumsq, e.sumsq);
    }
    return worst;
}

/* Opens DIR/tests/golden/NAME.safetensors. */
static inline dram_status golden_open(const char *source_dir, const char *name, dram_st **st)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", source_dir, name);
    return dram_st_open(path, st);
}

/* golden_compare that fails the cmocka test. */
#define golden_assert(st, name, got, rank, dim, layout, rms_tol, rtol)                                                 \
    do {                                                                                                               \
        char golden_why_[512];                                                                                         \
        double golden_used_ =                                                                                          \
            golden_compare(st, name, got, rank, dim, layout, rms_tol, rtol, golden_why_, sizeof golden_why_);          \
        if (!(golden_used_ <= 1)) fail_msg("%s (%.3g of what is allowed)", golden_why_, golden_used_);                 \
    } while (0)

#endif
