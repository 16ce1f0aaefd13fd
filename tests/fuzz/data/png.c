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

static dram_status decode_label(const uint8_t *data, size_t size, dram_label_rules rules, dram_label *out)
{
    const dram_source source = {.bytes = data, .n = size, .name = "input", .rules = {.max_bytes = MAX_BYTES}};
    *out = (dram_label){0};
    rules.max_bytes = MAX_BYTES;
    heap_watch();
    dram_status status = dram_decode_label(&source, &rules, out);
    must(heap_most() <= MAX_BYTES);
    must(status == DRAM_OK || status == DRAM_ERR_FORMAT);
    if (status != DRAM_OK) refused();
    must(!*dram_error_text());
    return status;
}

/* The class of a value; values that were not found have none. */
static int class_of(const dram_label_rules *rules, const dram_label_values *found, uint32_t value)
{
    for (int i = 0; i < found->n; i++)
        if (found->found[i].value == value) return dram_label_class(rules, found->color, value, found->found[i].color);
    return -1;
}

/* Under rules a label is refused just where one of its values is, and has the values' classes. raw: the values as they are
 * stored, NULL where the file has colours. */
static void check_rules_of(const uint8_t *data, size_t size, const dram_label_rules *rules,
                           const dram_label_values *found, const uint8_t *raw)
{
    dram_label label;
    char advice[512];
    bool fits = true;
    int64_t n = (int64_t)found->height * found->width, counted[256] = {0};
    for (int i = 0; i < found->n; i++) {
        int k = dram_label_class(rules, found->color, found->found[i].value, found->found[i].color);
        fits = fits && k >= 0;
        if (k >= 0) counted[k] += found->found[i].pixels;
    }
    must(is_one_line(dram_label_advice(rules, found, advice, sizeof advice)));
    must((decode_label(data, size, *rules, &label) == DRAM_OK) == fits);
    for (int64_t i = 0; fits && i < n; i++) {
        if (raw) must(label.ids[i] == class_of(rules, found, raw[i]));
        counted[label.ids[i]]--;
    }
    for (int k = 0; fits && k < 256; k++) must(counted[k] == 0);
    dram_label_free(&label);
}

/* Maps are one block of memory. */
static const dram_class_map *map_of(bool color, int n, const dram_class_pair *pairs)
{
    dram_class_map *map = malloc(sizeof *map + (size_t)n * sizeof *pairs);
    must(map);
    map->color = color;
    map->n = n;
    memcpy(map->pair, pairs, (size_t)n * sizeof *pairs);
    return map;
}

static void check_all_rules(const uint8_t *data, size_t size, const dram_label_values *found, const uint8_t *raw)
{
    static const dram_class_map *ids, *colors;
    if (!ids) ids = map_of(false, 3, (const dram_class_pair[]){{1, 255}, {7, 0}, {255, 1}});
    if (!colors) colors = map_of(true, 4, (const dram_class_pair[]){{0, 0}, {0xff, 2}, {0xff00, 1}, {0xff0000, 255}});
    const dram_label_rules rules[] = {{.classes = 4, .ignore_index = 255},
                                      {.classes = 3, .ignore_index = 255, .map = ids},
                                      {.classes = 3, .ignore_index = 2, .reduce_zero = true},
                                      {.classes = 3, .ignore_index = 255, .map = ids, .reduce_zero = true},
                                      {.classes = 3, .ignore_index = 255, .map = colors},
                                      {.classes = 0, .ignore_index = -1, .map = colors}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) check_rules_of(data, size, &rules[i], found, raw);
}

/* Returns whether it is a label without colours. What a look at one finds is what it has. */
static bool check_label(const uint8_t *data, size_t size)
{
    enum { SMALL = 1024 }; /* pixels for which the memory suffices */
    static dram_label_values found;
    dram_label label;
    int64_t before = dram_alloc_bytes();
    heap_watch();
    dram_status looked = dram_label_look(data, size, "input", MAX_BYTES, &found);
    must(heap_most() <= MAX_BYTES);
    if (looked != DRAM_OK) refused();
    dram_status status = decode_label(data, size, (dram_label_rules){.ignore_index = -1}, &label);
    int64_t pixels = 0, n = status == DRAM_OK ? (int64_t)label.height * label.width : 0;
    must(status != DRAM_OK || (looked == DRAM_OK && !found.color));
    if (looked == DRAM_OK && (int64_t)found.height * found.width <= SMALL) {
        must(status == DRAM_OK || found.color);
        for (int i = 0; i < found.n && i < DRAM_LABEL_VALUES; i++) pixels += found.found[i].pixels;
        must(pixels <= SMALL && (found.color || n == pixels));
        if (found.n <= DRAM_LABEL_VALUES) check_all_rules(data, size, &found, label.ids);
    }
    dram_label_free(&label);
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
