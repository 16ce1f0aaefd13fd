#include "data/decode.h"

#include <stdio.h>

dram_status dram_bad_image(const dram_source *source, const char *reason)
{
    return dram_fail(DRAM_ERR_FORMAT, "%s: %s", source->name, reason);
}

dram_status dram_check_memory(const dram_source *source, int height, int width, int64_t bytes)
{
    int64_t need = bytes + (int64_t)source->n, limit = source->rules.max_bytes;
    if (limit > 0 && need > limit)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: %dx%d pixels: decoding it needs %lld MiB of host memory, the limit is %lld MiB; scale "
                         "the file down",
                         source->name, width, height, (long long)((need + (1 << 20) - 1) >> 20),
                         (long long)(limit >> 20));
    return DRAM_OK;
}

int64_t dram_turning_bytes(const dram_source *source, const dram_image *image, int64_t bytes)
{
    return source->rules.stored || image->orientation == 1 ? 0 : 2 * bytes;
}

dram_status dram_check_label_size(const dram_source *source, const dram_label_rules *rules, int height, int width)
{
    char why[300] = "";
    if (!rules->height || (height == rules->height && width == rules->width)) return DRAM_OK;
    bool swapped = rules->orientation >= 5 && height == rules->width && width == rules->height;
    if (swapped && rules->stored)
        snprintf(why, sizeof why,
                 ": EXIF's orientation %d would turn the image, and data.orientation is stored; set it to exif if the "
                 "labels are drawn on turned images",
                 rules->orientation);
    else if (swapped)
        snprintf(why, sizeof why,
                 ": the image is turned by EXIF's orientation %d, and labels are taken as stored; draw them on the "
                 "turned image, or set data.orientation to stored",
                 rules->orientation);
    return dram_fail(DRAM_ERR_FORMAT, "%s: the label has %dx%d pixels, its image %dx%d; they must be equal%s",
                     source->name, width, height, rules->width, rules->height, why);
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
