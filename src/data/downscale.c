#include "data/downscale.h"

#include <math.h>

#include "base/alloc.h"

void dram_downscaled_size(int height, int width, int64_t max_pixels, int *out_height, int *out_width)
{
    *out_height = height;
    *out_width = width;
    if (max_pixels <= 0 || (int64_t)height * width <= max_pixels) return;
    double scale = sqrt((double)max_pixels / ((double)height * width));
    int h = (int)(height * scale), w = (int)(width * scale);
    if (h < 1) h = 1;
    if (w < 1) w = 1;
    while ((int64_t)h * w > max_pixels) { /* one side was raised to 1, or the root rounded up */
        if (h > w)
            h = (int)(max_pixels / w < h ? max_pixels / w : h - 1);
        else
            w = (int)(max_pixels / h < w ? max_pixels / h : w - 1);
    }
    *out_height = h;
    *out_width = w;
}

int64_t dram_downscale_bytes(int dw)
{
    return (int64_t)dw * 6 * (int64_t)sizeof(float);
}

dram_status dram_downscale_begin(dram_downscale *s, int sh, int sw, int dh, int dw, uint8_t *out)
{
    *s = (dram_downscale){.sh = sh, .sw = sw, .dh = dh, .dw = dw, .out = out};
    s->row = dram_calloc((size_t)dw * 6, sizeof(float));
    if (!s->row) return dram_fail(DRAM_ERR_MEMORY, "out of host memory while scaling an image down");
    s->sum = s->row + (size_t)dw * 3;
    return DRAM_OK;
}

/* Means over the columns. Positions are counted in 1/dw of a source pixel, so that all weights are whole numbers. */
static void reduce_columns(const dram_downscale *s, const uint8_t *row)
{
    int64_t sw = s->sw, dw = s->dw;
    float norm = 1.0f / (float)sw;
    for (int64_t x = 0; x < dw; x++) {
        int64_t begin = x * sw, end = begin + sw;
        int64_t first = begin / dw, last = (end - 1) / dw;
        uint64_t inner[3] = {0, 0, 0};
        for (int64_t i = first + 1; i < last; i++)
            for (int c = 0; c < 3; c++) inner[c] += row[3 * i + c];
        uint64_t head = (uint64_t)((first + 1) * dw - begin), tail = (uint64_t)(end - last * dw);
        for (int c = 0; c < 3; c++) {
            uint64_t sum = inner[c] * (uint64_t)dw;
            if (first == last)
                sum += (uint64_t)sw * row[3 * first + c];
            else
                sum += head * row[3 * first + c] + tail * row[3 * last + c];
            s->row[3 * x + c] = (float)sum * norm;
        }
    }
}

static void add_rows(dram_downscale *s, int64_t weight)
{
    int n = s->dw * 3;
    for (int i = 0; i < n; i++) s->sum[i] += (float)weight * s->row[i];
}

static void emit(dram_downscale *s)
{
    int n = s->dw * 3;
    float norm = 1.0f / (float)s->sh;
    uint8_t *out = s->out + (size_t)s->out_row * (size_t)n;
    for (int i = 0; i < n; i++) {
        float v = s->sum[i] * norm + 0.5f;
        out[i] = v > 255.0f ? 255 : (uint8_t)v;
        s->sum[i] = 0;
    }
    s->out_row++;
}

void dram_downscale_push(dram_downscale *s, const uint8_t *row)
{
    int64_t begin = (int64_t)s->source_row * s->dh, end = begin + s->dh;
    int64_t edge = ((int64_t)s->out_row + 1) * s->sh;
    reduce_columns(s, row);
    if (end < edge) {
        add_rows(s, end - begin);
    } else {
        add_rows(s, edge - begin);
        emit(s);
        if (end > edge) add_rows(s, end - edge);
    }
    s->source_row++;
}

void dram_downscale_end(dram_downscale *s)
{
    dram_free(s->row);
    *s = (dram_downscale){0};
}

dram_status dram_downscale_in_place(uint8_t *pixels, int sh, int sw, int dh, int dw)
{
    dram_downscale s;
    TRY(dram_downscale_begin(&s, sh, sw, dh, dw, pixels));
    for (int y = 0; y < sh; y++) dram_downscale_push(&s, pixels + (size_t)y * (size_t)sw * 3);
    dram_downscale_end(&s);
    return DRAM_OK;
}
