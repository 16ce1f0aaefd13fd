#include "data/decode_png.h"

#include <stdbool.h>

#include "base/alloc.h"
#include "data/downscale.h"

/* Text, profiles and the like of one file may take this much. */
enum { CHUNK_LIMIT = 64 << 20 };

/* Set when memory was refused to libspng or to its zlib, which call that a damaged stream; the hooks carry no
 * context. */
static _Thread_local bool starved;

static void *hook_check(void *memory)
{
    if (!memory) starved = true;
    return memory;
}

static void *hook_alloc(size_t bytes)
{
    return hook_check(dram_alloc(bytes));
}

static void *hook_realloc(void *old, size_t bytes)
{
    return hook_check(dram_realloc(old, bytes));
}

static void *hook_calloc(size_t count, size_t bytes)
{
    return hook_check(dram_calloc(count, bytes));
}

dram_status dram_png_error(const dram_source *source, int error)
{
    if (error == SPNG_EMEM || starved)
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while decoding", source->name);
    return dram_fail(DRAM_ERR_FORMAT, "%s: damaged or truncated PNG: %s", source->name, spng_strerror(error));
}

dram_status dram_png_open(const dram_source *source, spng_ctx **png, struct spng_ihdr *header)
{
    struct spng_alloc hook = {
        .malloc_fn = hook_alloc, .realloc_fn = hook_realloc, .calloc_fn = hook_calloc, .free_fn = dram_free};
    starved = false;
    *png = spng_ctx_new2(&hook, 0);
    if (!*png) return dram_png_error(source, SPNG_EMEM);
    int error = spng_set_image_limits(*png, DRAM_IMAGE_MAX_SIDE, DRAM_IMAGE_MAX_SIDE);
    if (!error) error = spng_set_chunk_limits(*png, CHUNK_LIMIT, CHUNK_LIMIT);
    if (!error) error = spng_set_png_buffer(*png, source->bytes, source->n);
    if (!error) error = spng_get_ihdr(*png, header);
    return error ? dram_png_error(source, error) : DRAM_OK;
}

/* Of the scanlines (libspng's two, ours, a converted one) and of zlib's window. */
int64_t dram_png_library_bytes(const struct spng_ihdr *header)
{
    return 4 * (8 * (int64_t)header->width + 64) + 131072;
}

int dram_png_channels(const struct spng_ihdr *header)
{
    static const int channels[7] = {1, 0, 3, 1, 2, 0, 4}; /* by colour type */
    return channels[header->color_type];
}

dram_status dram_png_colors(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                            uint32_t color[256])
{
    int most = header->bit_depth < 8 ? (1 << header->bit_depth) - 1 : 255;
    struct spng_plte palette;
    if (header->color_type != SPNG_COLOR_TYPE_INDEXED) {
        for (int i = 0; i < 256; i++) color[i] = i <= most ? 0x010101u * (unsigned)(i * 255 / most) : DRAM_NO_COLOR;
        return DRAM_OK;
    }
    int error = spng_get_plte(png, &palette);
    if (error) return dram_png_error(source, error);
    for (uint32_t i = 0; i < 256; i++) {
        const struct spng_plte_entry *e = &palette.entries[i];
        color[i] = i < palette.n_entries ? (uint32_t)(e->red << 16 | e->green << 8 | e->blue) : DRAM_NO_COLOR;
    }
    return DRAM_OK;
}

/* How rows become RGB. libspng does it too, but several times slower than it reads them. */
typedef struct {
    int depth, channels;
    uint8_t colour[256][3]; /* of a grey value or a palette index */
} converter;

static dram_status converter_make(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                                  converter *out)
{
    uint32_t color[256];
    *out = (converter){.depth = header->bit_depth, .channels = dram_png_channels(header)};
    TRY(dram_png_colors(source, png, header, color));
    for (int i = 0; i < 256; i++) {
        if (color[i] == DRAM_NO_COLOR) continue; /* black */
        out->colour[i][0] = (uint8_t)(color[i] >> 16);
        out->colour[i][1] = (uint8_t)(color[i] >> 8);
        out->colour[i][2] = (uint8_t)color[i];
    }
    return DRAM_OK;
}

static void convert(const converter *by, const uint8_t *row, int width, uint8_t *out)
{
    for (int x = 0; x < width; x++, out += 3) {
        if (by->channels >= 3)
            for (int c = 0; c < 3; c++) out[c] = (uint8_t)dram_png_sample(row, by->depth, x * by->channels + c);
        else
            memcpy(out, by->colour[dram_png_sample(row, by->depth, x * by->channels)], 3);
    }
}

/* Rows one by one into the destination or, if it is smaller, into the filter. */
static dram_status decode_rows(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                               dram_image *out, int small_h, int small_w)
{
    dram_status status;
    dram_downscale shrink = {0};
    int h = (int)header->height, w = (int)header->width;
    bool shrinks = small_h < h || small_w < w;
    size_t stride;
    uint8_t *row = NULL, *rgb = NULL;
    converter by;
    TRY_GOTO(converter_make(source, png, header, &by), done);
    stride = ((size_t)w * (size_t)(by.depth * by.channels) + 7) / 8;
    row = dram_alloc(stride);
    rgb = dram_alloc(shrinks ? (size_t)w * 3 : 0);
    if (!row || !rgb) {
        status = dram_png_error(source, SPNG_EMEM);
        goto done;
    }
    if (shrinks) TRY_GOTO(dram_downscale_begin(&shrink, h, w, small_h, small_w, out->pixels), done);
    int error = spng_decode_image(png, NULL, 0, SPNG_FMT_PNG, SPNG_DECODE_PROGRESSIVE);
    for (int y = 0; y < h && !error; y++) {
        error = spng_decode_row(png, row, stride);
        if (error == SPNG_EOI && y == h - 1) error = 0;
        if (error) break;
        convert(&by, row, w, shrinks ? rgb : out->pixels + (size_t)y * (size_t)w * 3);
        if (shrinks) dram_downscale_push(&shrink, rgb);
    }
    status = error ? dram_png_error(source, error) : DRAM_OK;
done:
    dram_downscale_end(&shrink);
    dram_free(rgb);
    dram_free(row);
    return status;
}

dram_status dram_decode_png(const dram_source *source, dram_image *out)
{
    dram_status status;
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    int small_h, small_w;
    TRY_GOTO(dram_png_open(source, &png, &header), done);
    int h = (int)header.height, w = (int)header.width;
    dram_downscaled_size(h, w, source->limits.max_pixels, &small_h, &small_w);
    bool whole = header.interlace_method != 0; /* Adam7 gives the image in seven passes */
    size_t full = (size_t)h * (size_t)w * 3, small = (size_t)small_h * (size_t)small_w * 3;
    int64_t scratch = dram_png_library_bytes(&header) + dram_downscale_bytes(small_w);
    TRY_GOTO(dram_check_memory(source, h, w, (int64_t)(whole ? full : small) + scratch), done);
    out->pixels = dram_alloc(whole ? full : small);
    if (!out->pixels) {
        status = dram_png_error(source, SPNG_EMEM);
        goto done;
    }
    if (whole) {
        int error = spng_decode_image(png, out->pixels, full, SPNG_FMT_RGB8, 0);
        if (error) {
            status = dram_png_error(source, error);
            goto done;
        }
        if (small < full) {
            TRY_GOTO(dram_downscale_in_place(out->pixels, h, w, small_h, small_w), done);
            uint8_t *less = dram_realloc(out->pixels, small);
            if (less) out->pixels = less;
        }
    } else {
        TRY_GOTO(decode_rows(source, png, &header, out, small_h, small_w), done);
    }
    dram_image_sized(out, h, w, small_h, small_w);
done:
    spng_ctx_free(png);
    return status;
}
