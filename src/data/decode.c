#include "data/decode.h"

dram_status dram_bad_image(const dram_source *source, const char *reason)
{
    return dram_fail(DRAM_ERR_FORMAT, "%s: %s", source->name, reason);
}

dram_status dram_check_memory(const dram_source *source, int height, int width, int64_t bytes)
{
    int64_t need = bytes + (int64_t)source->n, limit = source->limits.max_bytes;
    if (limit > 0 && need > limit)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: %dx%d pixels: decoding it needs %lld MiB of host memory, the limit is %lld MiB; scale "
                         "the file down",
                         source->name, width, height, (long long)((need + (1 << 20) - 1) >> 20),
                         (long long)(limit >> 20));
    return DRAM_OK;
}

void dram_image_sized(dram_image *image, int full_height, int full_width, int height, int width)
{
    image->full_height = full_height;
    image->full_width = full_width;
    image->height = height;
    image->width = width;
    image->scale_y = (double)height / full_height;
    image->scale_x = (double)width / full_width;
}
