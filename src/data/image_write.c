/* The writing half of image.h: JPEG and PNG files. */
#include <errno.h>
#include <spng.h>
#include <stdio.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/alloc.h"
#include "base/file.h"
#include "data/image.h"

static dram_status write_file(const char *path, const void *bytes, size_t n)
{
    const char *why;
    FILE *file = dram_file_create(path, &why);
    if (!file) return dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", path, why);
    size_t written = fwrite(bytes, 1, n, file);
    int cause = errno;
    if (fclose(file) != 0 && written == n) {
        written = 0;
        cause = errno;
    }
    if (written != n) return dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", path, strerror(cause));
    return DRAM_OK;
}

dram_status dram_image_write_jpeg(const char *path, const uint8_t *rgb, int height, int width, int quality)
{
    dram_status status;
    unsigned char *bytes = NULL; /* turbojpeg's */
    unsigned long n = 0;
    tjhandle handle = tjInitCompress();
    if (!handle) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while encoding", path);
    if (tjCompress2(handle, rgb, width, 0, height, TJPF_RGB, &bytes, &n, TJSAMP_420, quality, 0) == 0)
        status = write_file(path, bytes, n);
    else
        status = dram_fail(DRAM_ERR_IO, "%s: cannot encode: %s", path, tjGetErrorStr2(handle));
    tjFree(bytes);
    tjDestroy(handle);
    return status;
}

static dram_status encode_png(const char *name, const char *software, const uint8_t *pixels, int height, int width,
                              int color_type, int channels, void **bytes, size_t *n)
{
    struct spng_alloc hook = {
        .malloc_fn = dram_alloc, .realloc_fn = dram_realloc, .calloc_fn = dram_calloc, .free_fn = dram_free};
    struct spng_ihdr header = {
        .width = (uint32_t)width, .height = (uint32_t)height, .bit_depth = 8, .color_type = (uint8_t)color_type};
    struct spng_text text = {.keyword = "Software", .type = SPNG_TEXT, .text = (char *)(uintptr_t)software};
    *bytes = NULL;
    *n = 0;
    spng_ctx *png = spng_ctx_new2(&hook, SPNG_CTX_ENCODER);
    if (!png) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while encoding", name);
    int error = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (!error) error = spng_set_ihdr(png, &header);
    if (!error && software) {
        text.length = strlen(software);
        error = spng_set_text(png, &text, 1);
    }
    if (!error)
        error = spng_encode_image(png, pixels, (size_t)height * (size_t)width * (size_t)channels, SPNG_FMT_PNG,
                                  SPNG_ENCODE_FINALIZE);
    if (!error) *bytes = spng_get_png_buffer(png, n, &error);
    spng_ctx_free(png);
    if (*bytes) return DRAM_OK;
    return dram_fail(error == SPNG_EMEM ? DRAM_ERR_MEMORY : DRAM_ERR_IO, "%s: cannot encode: %s", name,
                     spng_strerror(error));
}

static dram_status write_png(const char *path, const uint8_t *pixels, int height, int width, int color_type,
                             int channels)
{
    void *bytes;
    size_t n;
    TRY(encode_png(path, NULL, pixels, height, width, color_type, channels, &bytes, &n));
    dram_status status = write_file(path, bytes, n);
    dram_free(bytes);
    return status;
}

dram_status dram_image_encode_png(const char *name, const char *software, const uint8_t *rgb, int height, int width,
                                  void **bytes, size_t *n)
{
    return encode_png(name, software, rgb, height, width, SPNG_COLOR_TYPE_TRUECOLOR, 3, bytes, n);
}

dram_status dram_image_write_png(const char *path, const uint8_t *rgb, int height, int width)
{
    return write_png(path, rgb, height, width, SPNG_COLOR_TYPE_TRUECOLOR, 3);
}

dram_status dram_label_write_png(const char *path, const uint8_t *ids, int height, int width)
{
    return write_png(path, ids, height, width, SPNG_COLOR_TYPE_GRAYSCALE, 1);
}
