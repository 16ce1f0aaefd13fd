#include "data/image.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/decode.h"

/* Turns the pixels as EXIF orientation 2..8 says; counts and origin follow. */
static dram_status orient(dram_image *image)
{
    int orientation = image->orientation;
    bool swap = orientation >= 5;
    bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    int sh = image->height, sw = image->width;
    int h = swap ? sw : sh, w = swap ? sh : sw;
    uint8_t *turned = dram_alloc((size_t)h * (size_t)w * 3);
    if (!turned) return dram_fail(DRAM_ERR_MEMORY, "out of host memory while turning an image");
    uint8_t *out = turned;
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++, out += 3) {
            int sy = swap ? x : y, sx = swap ? y : x;
            if (flip_y) sy = sh - 1 - sy;
            if (flip_x) sx = sw - 1 - sx;
            memcpy(out, image->pixels + 3 * ((size_t)sy * (size_t)sw + (size_t)sx), 3);
        }
    }
    dram_free(image->pixels);
    dram_image s = *image;
    if (flip_y) s.origin_y = s.height - s.scale_y * s.full_height;
    if (flip_x) s.origin_x = s.width - s.scale_x * s.full_width;
    *image = s;
    if (swap)
        *image = (dram_image){.orientation = orientation,
                              .peak = s.peak,
                              .height = s.width,
                              .width = s.height,
                              .full_height = s.full_width,
                              .full_width = s.full_height,
                              .scale_y = s.scale_x,
                              .scale_x = s.scale_y,
                              .origin_y = s.origin_x,
                              .origin_x = s.origin_y};
    image->pixels = turned;
    return DRAM_OK;
}

dram_status dram_image_decode(const uint8_t *bytes, size_t n, const char *name, const dram_image_rules *rules,
                              dram_image *out)
{
    dram_source source = {.bytes = bytes, .n = n, .name = name, .rules = *rules};
    const dram_image_format *format;
    *out = (dram_image){0};
    TRY(dram_image_format_of(&source, &format));
    dram_status status = format->decode(&source, out);
    if (status == DRAM_OK && out->orientation != 1 && !rules->stored) status = orient(out);
    if (status != DRAM_OK) dram_image_free(out);
    return status;
}

void dram_image_free(dram_image *image)
{
    dram_free(image->pixels);
    *image = (dram_image){0};
}

dram_status dram_image_read(const char *path, int64_t max_bytes, uint8_t **bytes, size_t *n)
{
    dram_status status = DRAM_OK;
    struct stat info;
    uint8_t *data = NULL;
    const char *why;
    size_t size = 0;
    ssize_t have;
    *bytes = NULL;
    *n = 0;
    int file = dram_file_open(path, &info, &why);
    if (file < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open: %s", path, why);
    if (max_bytes > 0 && info.st_size > max_bytes) {
        status = dram_fail(DRAM_ERR_FORMAT, "%s: the file alone has %lld MiB, the limit of decoding is %lld MiB", path,
                           (long long)(info.st_size >> 20), (long long)(max_bytes >> 20));
        goto done;
    }
    size = (size_t)info.st_size;
    data = dram_alloc(size);
    if (!data) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while reading %zu bytes", path, size);
        goto done;
    }
    have = dram_file_read(file, data, size); /* fewer, if it was cut meanwhile: truncated to the decoder */
    if (have < 0) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
        goto done;
    }
    *bytes = data;
    *n = (size_t)have;
    data = NULL;
done:
    dram_free(data);
    close(file);
    return status;
}

dram_status dram_image_load(const char *path, const dram_image_rules *rules, dram_image *out)
{
    uint8_t *bytes;
    size_t n;
    *out = (dram_image){0};
    TRY(dram_image_read(path, rules->max_bytes, &bytes, &n));
    dram_status status = dram_image_decode(bytes, n, path, rules, out);
    dram_free(bytes);
    return status;
}

dram_status dram_label_load(const char *path, const dram_label_rules *rules, dram_label *out)
{
    uint8_t *bytes;
    size_t n;
    *out = (dram_label){0};
    TRY(dram_image_read(path, rules->max_bytes, &bytes, &n));
    dram_source source = {.bytes = bytes, .n = n, .name = path, .rules = {.max_bytes = rules->max_bytes}};
    dram_status status = dram_decode_label(&source, rules, out);
    if (status != DRAM_OK) dram_label_free(out);
    dram_free(bytes);
    return status;
}

void dram_label_free(dram_label *label)
{
    dram_free(label->ids);
    *label = (dram_label){0};
}
