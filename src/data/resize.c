#include "data/resize.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

/* The source pixels first .. first + count - 1 of each output pixel and their weights, `room` a pixel. */
typedef struct {
    int room;
    int *first, *count;
    float *weight; /* [n,room]; the one block that all three lie in */
} taps;

static dram_status make_taps(int n, int source, double begin, double end, taps *out)
{
    double scale = (end - begin) / n, width = scale > 1.0 ? scale : 1.0;
    int room = (int)ceil(2.0 * width) + 1;
    if (room > source) room = source;
    *out = (taps){.room = room};
    out->weight = dram_alloc((size_t)n * ((size_t)room * sizeof(float) + 2 * sizeof(int)));
    if (!out->weight) return dram_fail(DRAM_ERR_MEMORY, "out of host memory while resizing an image");
    out->first = (int *)(out->weight + (size_t)n * (size_t)room);
    out->count = out->first + n;
    for (int i = 0; i < n; i++) {
        double centre = begin + (i + 0.5) * scale, sum = 0;
        float *weight = out->weight + (size_t)i * (size_t)room;
        int first = (int)fmax(floor(centre - width + 0.5), 0.0);
        int last = (int)fmin(floor(centre + width + 0.5), (double)source) - 1; /* both have their centre in reach */
        if (first > source - 1) first = source - 1;
        if (last < first) last = first;
        if (last > first + room - 1) last = first + room - 1;
        for (int j = first; j <= last; j++) {
            double w = 1.0 - fabs((j + 0.5 - centre) / width);
            sum += w > 0 ? w : 0;
        }
        for (int j = first; j <= last; j++) {
            double w = 1.0 - fabs((j + 0.5 - centre) / width);
            weight[j - first] = sum > 0 ? (float)((w > 0 ? w : 0) / sum) : (j == first ? 1.0f : 0.0f);
        }
        out->first[i] = first;
        out->count[i] = last - first + 1;
    }
    return DRAM_OK;
}

/* sum[i] = the weighted rows at src + i; rows two by two, for the memory traffic of sum. */
static void blend_rows(const uint8_t *restrict src, size_t stride, int count, const float *weight, int n,
                       float *restrict sum)
{
    int t = 0;
    for (int i = 0; i < n; i++) sum[i] = weight[0] * (float)src[i];
    for (t = 1; t + 1 < count; t += 2) {
        const uint8_t *a = src + (size_t)t * stride, *b = a + stride;
        float wa = weight[t], wb = weight[t + 1];
        for (int i = 0; i < n; i++) sum[i] = sum[i] + wa * (float)a[i] + wb * (float)b[i];
    }
    if (t < count) {
        const uint8_t *a = src + (size_t)t * stride;
        float wa = weight[t];
        for (int i = 0; i < n; i++) sum[i] += wa * (float)a[i];
    }
}

/* row points at column 0 of the source; three channels are summed as four, the last one is not used. */
static void blend_columns(const float *row, const taps *x, int dw, bool flip, uint8_t *dst)
{
    for (int i = 0; i < dw; i++) {
        int from = flip ? dw - 1 - i : i;
        const float *p = row + 3 * (int64_t)x->first[from];
        const float *weight = x->weight + (size_t)from * (size_t)x->room;
        float sum[4] = {0, 0, 0, 0};
        for (int t = 0; t < x->count[from]; t++, p += 3)
            for (int c = 0; c < 4; c++) sum[c] += weight[t] * p[c];
        for (int c = 0; c < 3; c++) dst[3 * i + c] = (uint8_t)(int)(sum[c] + 0.5f); /* a mean of bytes: in range */
    }
}

dram_status dram_resize_rgb(const uint8_t *src, int sh, int sw, dram_box box, bool flip, uint8_t *dst,
                            int64_t dst_stride, int dh, int dw)
{
    dram_status status;
    taps x = {0}, y = {0};
    float *row = NULL;
    TRY_GOTO(make_taps(dw, sw, box.x0, box.x1, &x), done);
    TRY_GOTO(make_taps(dh, sh, box.y0, box.y1, &y), done);
    /* rows first, then columns: one row of fp32 is all that lies between */
    int begin = x.first[0], end = x.first[dw - 1] + x.count[dw - 1], n = (end - begin) * 3;
    row = dram_calloc((size_t)n + 1, sizeof(float));
    if (!row) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of host memory while resizing an image");
        goto done;
    }
    for (int i = 0; i < dw; i++) x.first[i] -= begin;
    for (int i = 0; i < dh; i++) {
        const uint8_t *from = src + ((size_t)y.first[i] * (size_t)sw + (size_t)begin) * 3;
        blend_rows(from, (size_t)sw * 3, y.count[i], y.weight + (size_t)i * (size_t)y.room, n, row);
        blend_columns(row, &x, dw, flip, dst + i * dst_stride);
    }
done:
    dram_free(row);
    dram_free(y.weight);
    dram_free(x.weight);
    return status;
}

static int under_centre(int i, double begin, double scale, int source)
{
    double at = floor(begin + (i + 0.5) * scale);
    return at < 0 ? 0 : at > source - 1 ? source - 1 : (int)at;
}

dram_status dram_resize_nearest(const uint8_t *src, int sh, int sw, dram_box box, bool flip, uint8_t *dst,
                                int64_t dst_stride, int dh, int dw)
{
    double scale_x = (box.x1 - box.x0) / dw, scale_y = (box.y1 - box.y0) / dh;
    int *column = dram_alloc((size_t)dw * sizeof *column);
    if (!column) return dram_fail(DRAM_ERR_MEMORY, "out of host memory while resizing a label");
    for (int i = 0; i < dw; i++) column[flip ? dw - 1 - i : i] = under_centre(i, box.x0, scale_x, sw);
    for (int i = 0; i < dh; i++) {
        const uint8_t *row = src + (size_t)under_centre(i, box.y0, scale_y, sh) * (size_t)sw;
        uint8_t *out = dst + i * dst_stride;
        for (int j = 0; j < dw; j++) out[j] = row[column[j]];
    }
    dram_free(column);
    return DRAM_OK;
}
