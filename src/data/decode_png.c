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
    if (error == SPNG_ECHUNK_LIMITS)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: texts or profiles in it take more host memory than is left for decoding it; write the "
                         "PNG without them",
                         source->name);
    return dram_fail(DRAM_ERR_FORMAT, "%s: damaged or truncated PNG: %s", source->name, spng_strerror(error));
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* CRC-32 of a chunk's letters and data (PNG, annex D). */
static uint32_t checksum(const uint8_t *bytes, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

typedef struct {
    const uint8_t *exif; /* data of the first eXIf chunk that is whole; it may stand before the pixels or behind */
    size_t exif_n;
    bool pixels; /* the first chunk of pixels is reached */
    bool ended;  /* all chunks are in the file, to the last */
} png_chunks;

/* A chunk is its length, four letters, data and their checksum. */
static png_chunks read_chunks(const dram_source *source)
{
    png_chunks found = {0};
    size_t n = source->n;
    for (size_t at = 8; n - at >= 12 && !found.ended;) {
        const uint8_t *chunk = source->bytes + at + 4;
        size_t size = read_u32(chunk - 4);
        if (memcmp(chunk, "IDAT", 4) == 0) found.pixels = true;
        if (size > n - at - 12) break;
        found.ended = memcmp(chunk, "IEND", 4) == 0;
        if (!found.exif && memcmp(chunk, "eXIf", 4) == 0 && checksum(chunk, 4 + size) == read_u32(chunk + 4 + size)) {
            found.exif = chunk + 4;
            found.exif_n = size;
        }
        at += 12 + size;
    }
    return found;
}

dram_status dram_png_open(const dram_source *source, spng_ctx **png, struct spng_ihdr *header)
{
    struct spng_alloc hook = {
        .malloc_fn = hook_alloc, .realloc_fn = hook_realloc, .calloc_fn = hook_calloc, .free_fn = dram_free};
    starved = false;
    /* libspng takes the memory that a chunk's length asks for before it sees that the file has not as much */
    if (!read_chunks(source).pixels) return dram_bad_image(source, "damaged or truncated PNG: no pixels");
    *png = spng_ctx_new2(&hook, 0);
    if (!*png) return dram_png_error(source, SPNG_EMEM);
    int error = spng_set_image_limits(*png, DRAM_IMAGE_MAX_SIDE, DRAM_IMAGE_MAX_SIDE);
    if (!error) error = spng_set_chunk_limits(*png, CHUNK_LIMIT, CHUNK_LIMIT);
    if (!error) error = spng_set_png_buffer(*png, source->bytes, source->n);
    if (!error) error = spng_get_ihdr(*png, header);
    return error ? dram_png_error(source, error) : DRAM_OK;
}

dram_status dram_png_limit_chunks(const dram_source *source, spng_ctx *png, int64_t bytes)
{
    int64_t most = source->rules.max_bytes, left = CHUNK_LIMIT;
    if (most > 0 && (most - (int64_t)source->n - bytes) / 2 < left) left = (most - (int64_t)source->n - bytes) / 2;
    int error = spng_set_chunk_limits(png, (size_t)left, (size_t)left);
    return error ? dram_png_error(source, error) : DRAM_OK;
}

static dram_status find_orientation(const dram_source *source, int *orientation)
{
    png_chunks chunks = read_chunks(source);
    *orientation = 1;
    return chunks.exif ? dram_exif_orientation(chunks.exif, chunks.exif_n, orientation) : DRAM_OK;
}

int dram_png_channels(const struct spng_ihdr *header)
{
    static const int channels[7] = {1, 0, 3, 1, 2, 0, 4}; /* by colour type */
    return channels[header->color_type];
}

size_t dram_png_row_bytes(const struct spng_ihdr *header)
{
    return ((size_t)header->width * (size_t)(header->bit_depth * dram_png_channels(header)) + 7) / 8;
}

/* Of the scanlines (libspng's two, ours, a converted one) and of zlib's window. */
int64_t dram_png_library_bytes(const struct spng_ihdr *header)
{
    return 4 * (8 * (int64_t)header->width + 64) + 131072;
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
    int range, peak;        /* of 16 bits: white, and the largest sample so far */
} converter;

static dram_status converter_make(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                                  converter *out)
{
    uint32_t color[256];
    *out = (converter){.depth = header->bit_depth, .channels = dram_png_channels(header)};
    out->range = source->rules.range ? source->rules.range : DRAM_IMAGE_FULL_RANGE;
    TRY(dram_png_colors(source, png, header, color));
    for (int i = 0; i < 256; i++) {
        if (color[i] == DRAM_NO_COLOR) continue; /* black */
        out->colour[i][0] = (uint8_t)(color[i] >> 16);
        out->colour[i][1] = (uint8_t)(color[i] >> 8);
        out->colour[i][2] = (uint8_t)color[i];
    }
    return DRAM_OK;
}

/* Sample i of a row of 16 bits, in the machine's byte order. */
static inline uint8_t narrow(converter *by, const uint8_t *row, int i)
{
    uint16_t wide;
    memcpy(&wide, row + 2 * (size_t)i, sizeof wide);
    if (wide > by->peak) by->peak = wide;
    if (by->range == DRAM_IMAGE_FULL_RANGE) return (uint8_t)(wide >> 8);
    int value = (wide * 255 + by->range / 2) / by->range;
    return (uint8_t)(value > 255 ? 255 : value);
}

/* Every step-th pixel of a row, from x on, to where it belongs in the row of RGB. */
static void convert(converter *by, const uint8_t *row, int x, int step, int width, uint8_t *rgb)
{
    const int depth = by->depth, n = by->channels;
    const bool colour = n >= 3; /* which has 8 bits or 16 */
    for (; x < width; x += step) {
        uint8_t *out = rgb + 3 * (size_t)x;
        if (depth == 16 && colour)
            for (int c = 0; c < 3; c++) out[c] = narrow(by, row, x * n + c);
        else if (depth == 16)
            memset(out, narrow(by, row, x * n), 3);
        else if (colour)
            memcpy(out, row + (size_t)x * (size_t)n, 3);
        else
            memcpy(out, by->colour[dram_png_sample(row, depth, x * n)], 3);
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
    stride = dram_png_row_bytes(header);
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
        convert(&by, row, 0, 1, w, shrinks ? rgb : out->pixels + (size_t)y * (size_t)w * 3);
        if (shrinks) dram_downscale_push(&shrink, rgb);
    }
    out->peak = by.peak;
    status = error ? dram_png_error(source, error) : DRAM_OK;
done:
    dram_downscale_end(&shrink);
    dram_free(rgb);
    dram_free(row);
    return status;
}

/* Every row of every pass of an interlaced image, or of the one pass of another; by: into the whole image of RGB; NULL:
 * they are only read. libspng puts the pixels of a pass where they belong in the row. */
static dram_status read_passes(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header, converter *by,
                               uint8_t *rgb)
{
    static const int first[7] = {0, 4, 0, 2, 0, 1, 0}, step[7] = {8, 8, 4, 4, 2, 2, 1};
    size_t stride = dram_png_row_bytes(header);
    struct spng_row_info at;
    uint8_t *row = dram_calloc(1, stride);
    if (!row) return dram_png_error(source, SPNG_EMEM);
    int error = spng_decode_image(png, NULL, 0, SPNG_FMT_PNG, SPNG_DECODE_PROGRESSIVE);
    while (!error) {
        error = spng_get_row_info(png, &at);
        if (!error) error = spng_decode_row(png, row, stride);
        if ((error && error != SPNG_EOI) || !by) continue;
        int w = (int)header->width, from = header->interlace_method ? first[at.pass] : 0;
        convert(by, row, from, header->interlace_method ? step[at.pass] : 1, w,
                rgb + (size_t)at.row_num * (size_t)w * 3);
    }
    dram_free(row);
    return error == SPNG_EOI ? DRAM_OK : dram_png_error(source, error);
}

/* The whole image into `out`, then scaled down there. */
static dram_status decode_interlaced(const dram_source *source, spng_ctx *png, const struct spng_ihdr *header,
                                     dram_image *out, int small_h, int small_w)
{
    int h = (int)header->height, w = (int)header->width;
    size_t full = (size_t)h * (size_t)w * 3, small = (size_t)small_h * (size_t)small_w * 3;
    if (header->bit_depth == 16) {
        converter by;
        TRY(converter_make(source, png, header, &by));
        TRY(read_passes(source, png, header, &by, out->pixels));
        out->peak = by.peak;
    } else {
        int error = spng_decode_image(png, out->pixels, full, SPNG_FMT_RGB8, 0);
        if (error) return dram_png_error(source, error);
    }
    if (small == full) return DRAM_OK;
    TRY(dram_downscale_in_place(out->pixels, h, w, small_h, small_w));
    uint8_t *less = dram_realloc(out->pixels, small);
    if (less) out->pixels = less;
    return DRAM_OK;
}

dram_status dram_decode_png(const dram_source *source, dram_image *out)
{
    dram_status status;
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    int small_h, small_w;
    TRY_GOTO(dram_png_open(source, &png, &header), done);
    TRY_GOTO(find_orientation(source, &out->orientation), done);
    int h = (int)header.height, w = (int)header.width;
    dram_downscaled_size(h, w, source->rules.max_pixels, &small_h, &small_w);
    bool whole = header.interlace_method != 0; /* Adam7 gives the image in seven passes */
    size_t full = (size_t)h * (size_t)w * 3, small = (size_t)small_h * (size_t)small_w * 3;
    int64_t first = (int64_t)(whole ? full : small) + dram_png_library_bytes(&header) + dram_downscale_bytes(small_w);
    int64_t second = dram_turning_bytes(source, out, (int64_t)small);
    TRY_GOTO(dram_check_memory(source, h, w, first > second ? first : second), done);
    TRY_GOTO(dram_png_limit_chunks(source, png, first), done);
    out->pixels = dram_alloc(whole ? full : small);
    if (!out->pixels) {
        status = dram_png_error(source, SPNG_EMEM);
        goto done;
    }
    TRY_GOTO((whole ? decode_interlaced : decode_rows)(source, png, &header, out, small_h, small_w), done);
    dram_image_sized(out, h, w, small_h, small_w);
done:
    spng_ctx_free(png);
    return status;
}

dram_status dram_look_png(const dram_source *source, dram_image_header *out)
{
    dram_status status;
    struct spng_ihdr header;
    spng_ctx *png = NULL;
    TRY_GOTO(dram_png_open(source, &png, &header), done);
    *out = (dram_image_header){
        .height = (int)header.height, .width = (int)header.width, .orientation = 1, .bits = header.bit_depth};
    png_chunks chunks = read_chunks(source);
    if (chunks.exif) TRY_GOTO(dram_exif_orientation(chunks.exif, chunks.exif_n, &out->orientation), done);
    /* The last rows may be there although the last bytes are not. That is rare, so it may cost the reading of them. */
    if (!chunks.ended) TRY_GOTO(read_passes(source, png, &header, NULL, NULL), done);
done:
    spng_ctx_free(png);
    return status;
}
