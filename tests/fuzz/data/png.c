/* Bytes as a PNG, as they are and with their checksums put right: as an image, and as a label.
 * -max_len=640 */
#include <zlib.h>

enum { MAX_BYTES = 1 << 18 };
#include "fuzz/data/images.h"

enum { SIGNATURE = 8, CHUNK = 12, ROOM = 4096 };

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The checksum at the end of a zlib stream, of what its data unpack to. */
static void mend_stream(uint8_t *stream, size_t n)
{
    static uint8_t out[1 << 16];
    z_stream z = {
        .next_in = stream + 2, .avail_in = n > 2 ? (uInt)(n - 2) : 0, .next_out = out, .avail_out = sizeof out};
    if (n < 6 || inflateInit2(&z, -15) != Z_OK) return;
    if (inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in >= 4)
        write_u32(stream + 2 + z.total_in, (uint32_t)adler32(1, out, (uInt)z.total_out));
    inflateEnd(&z);
}

static void mend(uint8_t *png, size_t n)
{
    for (size_t at = SIGNATURE; at < n && n - at >= CHUNK;) {
        size_t length = read_u32(png + at);
        if (length > n - at - CHUNK) return;
        if (memcmp(png + at + 4, "IDAT", 4) == 0) mend_stream(png + at + 8, length);
        write_u32(png + at + 8 + length, (uint32_t)crc32(0, png + at + 4, (uInt)length + 4));
        at += CHUNK + length;
    }
}

static dram_status decode_label(const uint8_t *data, size_t size, int classes, dram_label *out)
{
    const dram_label_rules rules = {.classes = classes, .ignore_index = 255, .max_bytes = MAX_BYTES};
    const dram_source source = {.bytes = data, .n = size, .name = "input", .limits = {.max_bytes = MAX_BYTES}};
    *out = (dram_label){0};
    heap_watch();
    dram_status status = dram_decode_label(&source, &rules, out);
    must(heap_most() <= MAX_BYTES);
    must(status == DRAM_OK || status == DRAM_ERR_FORMAT);
    if (status != DRAM_OK) refused();
    must(!*dram_error_text());
    return status;
}

/* With rules a label is refused just where one of its ids is. */
static bool check_label(const uint8_t *data, size_t size)
{
    enum { CLASSES = 4 };
    dram_label any, few;
    int64_t before = dram_alloc_bytes();
    bool fits = true;
    dram_status status = decode_label(data, size, 0, &any);
    if (status == DRAM_OK) {
        size_t n = (size_t)any.height * (size_t)any.width;
        must(any.height >= 1 && any.width >= 1);
        for (size_t i = 0; i < n; i++) fits = fits && (any.ids[i] < CLASSES || any.ids[i] == 255);
        must((decode_label(data, size, CLASSES, &few) == DRAM_OK) == fits);
        must(few.height == any.height && few.width == any.width && memcmp(few.ids, any.ids, n) == 0);
        dram_label_free(&few);
    }
    dram_label_free(&any);
    must(dram_alloc_bytes() == before);
    return status == DRAM_OK;
}

/* What is a label is an image too. */
static bool check_both(const uint8_t *data, size_t size)
{
    bool image = check_image(data, size);
    must(!check_label(data, size) || image);
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t copy[ROOM];
    if (size < SIGNATURE || size > ROOM || memcmp(data, "\x89PNG\r\n\x1a\n", SIGNATURE) != 0) return 0;
    if (check_both(data, size)) return 0;
    memcpy(copy, data, size);
    mend(copy, size);
    if (memcmp(copy, data, size) == 0) return 0;
    uint8_t *exact = malloc(size); /* without room behind it */
    must(exact);
    memcpy(exact, copy, size);
    check_both(exact, size);
    free(exact);
    return 0;
}
