#include "io/embedding.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

enum { MOST = 127 };

int64_t dram_embedding_bytes(dram_embedding_format format, int64_t cells, int channels)
{
    int64_t elements = cells * channels;
    return format == DRAM_EMBEDDING_FP16 ? elements * 2 : elements + (int64_t)sizeof(float) * channels;
}

static dram_status check_range(int64_t elements, const float *x)
{
    for (int64_t i = 0; i < elements; i++)
        if (!(fabsf(x[i]) < 65520.0f)) /* what F16 rounds to 65504, its largest */
            return dram_fail(DRAM_ERR_NUMERIC, "the teacher's embedding has the number %g, which fp16 cannot hold",
                             (double)x[i]);
    return DRAM_OK;
}

static void pack_int8(int64_t cells, int channels, const float *x, float *scale, int8_t *q)
{
    for (int c = 0; c < channels; c++) scale[c] = 0.0f;
    for (int64_t i = 0; i < cells; i++)
        for (int c = 0; c < channels; c++) scale[c] = fmaxf(scale[c], fabsf(x[i * channels + c]));
    for (int c = 0; c < channels; c++) scale[c] /= MOST;
    for (int64_t i = 0; i < cells; i++)
        for (int c = 0; c < channels; c++) {
            int64_t at = i * channels + c;
            long level = scale[c] > 0 ? lrintf(x[at] / scale[c]) : 0;
            q[at] = (int8_t)(level > MOST ? MOST : level < -MOST ? -MOST : level); /* rounding of the scale */
        }
}

dram_status dram_embedding_pack(dram_embedding_format format, int64_t cells, int channels, const float *x, void *packed)
{
    TRY(check_range(cells * channels, x));
    if (format == DRAM_EMBEDDING_FP16) {
        uint16_t *half = packed;
        for (int64_t i = 0; i < cells * channels; i++) half[i] = dram_f32_to_f16(x[i]);
        return DRAM_OK;
    }
    float *scale = packed;
    pack_int8(cells, channels, x, scale, (int8_t *)(scale + channels));
    return DRAM_OK;
}

void dram_embedding_unpack(dram_embedding_format format, int64_t cells, int channels, const void *packed,
                           uint16_t *half)
{
    if (format == DRAM_EMBEDDING_FP16) {
        memcpy(half, packed, (size_t)(cells * channels) * sizeof *half);
        return;
    }
    const float *scale = packed;
    const int8_t *q = (const int8_t *)(scale + channels);
    for (int64_t i = 0; i < cells; i++)
        for (int c = 0; c < channels; c++)
            half[i * channels + c] = dram_f32_to_f16(scale[c] * (float)q[i * channels + c]);
}
