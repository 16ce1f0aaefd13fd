/* What a label's numbers mean: maps of ids and of colours, labels that count from 1, and what is said of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/testing.h"
#include "data/decode.h"
#include "data/encode.h"

enum { H = 13, W = 21, GREY = SPNG_COLOR_TYPE_GRAYSCALE, PALETTE = SPNG_COLOR_TYPE_INDEXED };
enum {
    RGB = SPNG_COLOR_TYPE_TRUECOLOR,
    RGBA = SPNG_COLOR_TYPE_TRUECOLOR_ALPHA,
    GREY_ALPHA = SPNG_COLOR_TYPE_GRAYSCALE_ALPHA
};

/* ---- maps and files ---- */

/* Pairs by rising `from`; free it. */
static dram_class_map *map_of(bool color, int n, const dram_class_pair *pair)
{
    dram_class_map *map = malloc(sizeof *map + (size_t)n * sizeof *pair);
    assert_non_null(map);
    map->color = color;
    map->n = n;
    memcpy(map->pair, pair, (size_t)n * sizeof *pair);
    return map;
}
#define MAP(COLOR, ...)                                                                                                \
    map_of(COLOR, (int)(sizeof((dram_class_pair[]){__VA_ARGS__}) / sizeof(dram_class_pair)),                           \
           (dram_class_pair[]){__VA_ARGS__})

static dram_status decode(blob file, const dram_label_rules *rules, dram_label *label)
{
    const dram_source source = {.bytes = file.bytes, .n = file.n, .name = "l.png"};
    int64_t before = dram_alloc_bytes();
    *label = (dram_label){0};
    dram_error_clear();
    dram_status status = dram_decode_label(&source, rules, label);
    if (status != DRAM_OK) {
        dram_label_free(label);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    return status;
}

static void expect_ids(blob file, const dram_label_rules *rules, const uint8_t *want, int n)
{
    dram_label label;
    if (decode(file, rules, &label) != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_int_equal(label.height * label.width, n);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        if (label.ids[i] != want[i]) fail_msg("pixel %d is %d, not %d", i, label.ids[i], want[i]);
    dram_label_free(&label);
    free(file.bytes);
}

static void expect_refusal(blob file, const dram_label_rules *rules, const char *text)
{
    dram_label label;
    assert_int_equal(decode(file, rules, &label), DRAM_ERR_FORMAT);
    if (strcmp(dram_error_text(), text) != 0) fail_msg("\n  got:  %s\n  want: %s", dram_error_text(), text);
    dram_error_clear();
    free(file.bytes);
}

/* One row of 8-bit samples. */
static blob row_png(int type, int w, const uint8_t *samples)
{
    int channels = type == RGB ? 3 : type == RGBA ? 4 : type == GREY_ALPHA ? 2 : 1;
    return encode_png(samples, (size_t)(w * channels), 1, w, 8, type, false, NULL);
}
#define ROW(TYPE, W, ...) row_png(TYPE, W, (const uint8_t[]){__VA_ARGS__})
#define IDS(...) (const uint8_t[]){__VA_ARGS__}, (int)sizeof((const uint8_t[]){__VA_ARGS__})

/* ---- ids ---- */

/* Masks of 0 and 255. 255 is void by itself, and class 1 by a map. */
static void masks_of_0_and_255(void **state)
{
    (void)state;
    dram_class_map *map = MAP(false, {255, 1});
    dram_label_rules rules = {.classes = 2, .ignore_index = 255};
    expect_ids(ROW(GREY, 4, 0, 255, 255, 0), &rules, IDS(0, 255, 255, 0));
    rules.map = map;
    expect_ids(ROW(GREY, 4, 0, 255, 255, 0), &rules, IDS(0, 1, 1, 0));
    free(map);
}

/* As in ADE20K: 0 is no class, 1 to 150 are. */
static void labels_that_count_from_1(void **state)
{
    (void)state;
    const dram_label_rules rules = {.classes = 150, .ignore_index = 255, .reduce_zero = true};
    expect_ids(ROW(GREY, 5, 0, 1, 150, 2, 255), &rules, IDS(255, 0, 149, 1, 255));
    expect_refusal(ROW(GREY, 2, 1, 151), &rules,
                   "l.png: class id 151 at x 1, y 0, which data.reduce_zero_label makes 150, is out of range: "
                   "data.classes is 150, data.ignore_index is 255; values that are no class: 151; say in "
                   "data.class_map what they are, or raise data.classes");
    /* A class does not become void by being one less. */
    const dram_label_rules low = {.classes = 2, .ignore_index = 7, .reduce_zero = true};
    expect_ids(ROW(GREY, 4, 0, 1, 2, 7), &low, IDS(7, 0, 1, 7));
    expect_refusal(ROW(GREY, 1, 8), &low,
                   "l.png: class id 8 at x 0, y 0 is out of range: data.classes is 2, data.ignore_index is 7; values "
                   "that are no class: 8; say in data.class_map what they are, or raise data.classes");
}

/* As in Cityscapes: 34 ids, of which some are classes and the others void. */
static void ids_and_train_ids(void **state)
{
    (void)state;
    static const int train[34] = {255, 255, 255, 255, 255, 255, 255, 0,  1,  255, 255, 2,  3,   4,   255, 255, 255,
                                  5,   255, 6,   7,   8,   9,   10,  11, 12, 13,  14,  15, 255, 255, 16,  17,  18};
    dram_class_pair pair[34];
    uint8_t stored[34], want[34];
    for (int i = 0; i < 34; i++) {
        pair[i] = (dram_class_pair){(uint32_t)i, train[i]};
        stored[i] = (uint8_t)i;
        want[i] = (uint8_t)train[i];
    }
    dram_class_map *map = map_of(false, 34, pair);
    dram_label_rules rules = {.classes = 19, .ignore_index = 255, .map = map};
    expect_ids(row_png(GREY, 34, stored), &rules, want, 34);
    rules.map = NULL;
    expect_refusal(
        row_png(GREY, 34, stored), &rules,
        "l.png: class id 19 at x 19, y 0 is out of range: data.classes is 19, data.ignore_index is 255; values "
        "that are no class: 19, 20, 21, 22, 23, 24 and 9 more; say in data.class_map what they are, or raise "
        "data.classes");
    free(map);
}

static void to_and_from_void(void **state)
{
    (void)state;
    dram_class_map *map = MAP(false, {1, 9}, {9, 1}, {77, 9});
    dram_label_rules rules = {.classes = 3, .ignore_index = 9, .map = map};
    expect_ids(ROW(GREY, 5, 0, 1, 2, 9, 77), &rules, IDS(0, 9, 2, 1, 9));
    rules.reduce_zero = true; /* after the map */
    expect_ids(ROW(GREY, 5, 0, 1, 2, 9, 77), &rules, IDS(9, 9, 1, 0, 9));
    free(map);
    map = MAP(false, {7, 12});
    const dram_label_rules wrong = {.classes = 3, .ignore_index = 255, .map = map};
    expect_refusal(ROW(GREY, 2, 2, 7), &wrong,
                   "l.png: class id 7 at x 1, y 0, which data.class_map makes 12, is out of range: data.classes is 3, "
                   "data.ignore_index is 255; add to data.class_map: 7");
    const dram_label_rules both = {.classes = 3, .ignore_index = 255, .map = map, .reduce_zero = true};
    expect_refusal(ROW(GREY, 2, 2, 7), &both,
                   "l.png: class id 7 at x 1, y 0, which data.class_map makes 12 and data.reduce_zero_label makes 11, "
                   "is out of range: data.classes is 3, data.ignore_index is 255; add to data.class_map: 7");
    free(map);
}

/* ---- colours ---- */

static void colours_of_every_file(void **state)
{
    (void)state;
    dram_class_map *map = MAP(true, {0x000000, 0}, {0x555555, 3}, {0x804080, 7}, {0xffffff, 255});
    const dram_label_rules rules = {.classes = 8, .ignore_index = 255, .map = map};
    expect_ids(ROW(RGB, 4, 128, 64, 128, 0, 0, 0, 255, 255, 255, 128, 64, 128), &rules, IDS(7, 0, 255, 7));
    /* alpha does not count, nor does transparency */
    expect_ids(ROW(RGBA, 3, 128, 64, 128, 255, 0, 0, 0, 0, 85, 85, 85, 1), &rules, IDS(7, 0, 3));
    expect_ids(ROW(GREY_ALPHA, 3, 255, 0, 0, 255, 85, 9), &rules, IDS(255, 0, 3));
    expect_ids(ROW(GREY, 3, 255, 0, 85), &rules, IDS(255, 0, 3));
    struct spng_plte palette = {.n_entries = 2};
    palette.entries[0] = (struct spng_plte_entry){128, 64, 128, 255};
    palette.entries[1] = (struct spng_plte_entry){255, 255, 255, 255};
    for (int bits = 1; bits <= 8; bits *= 2) {
        uint8_t row[4] = {0}, grey[4] = {0};
        int most = (1 << bits) - 1;
        row[bits / 8] |= (uint8_t)(1 << (bits == 8 ? 0 : 8 - 2 * bits)); /* indices 0, 1 */
        expect_ids(encode_png(row, (size_t)(2 * bits + 7) / 8, 1, 2, bits, PALETTE, false, &palette), &rules,
                   IDS(7, 255));
        grey[bits / 8] |= (uint8_t)(most << (bits == 8 ? 0 : 8 - 2 * bits)); /* black, white */
        expect_ids(encode_png(grey, (size_t)(2 * bits + 7) / 8, 1, 2, bits, GREY, false, NULL), &rules, IDS(0, 255));
    }
    uint8_t third = 0x10; /* 0, 1 of 0..3: black, 85 */
    expect_ids(encode_png(&third, 1, 1, 2, 2, GREY, false, NULL), &rules, IDS(0, 3));
    free(map);
}

static void colours_that_are_not_known(void **state)
{
    (void)state;
    dram_class_map *map = MAP(true, {0x000000, 0}, {0x804080, 1});
    const dram_label_rules rules = {.classes = 2, .ignore_index = 255, .map = map};
    expect_refusal(
        ROW(RGB, 3, 0, 0, 0, 128, 64, 129, 1, 2, 3), &rules,
        "l.png: colour #804081 at x 1, y 0 is not in data.class_map; add to data.class_map: #010203, #804081");
    expect_refusal(
        ROW(RGBA, 2, 0, 0, 0, 255, 255, 0, 0, 0), &rules,
        "l.png: colour #ff0000 at x 1, y 0 (transparent: alpha does not count) is not in data.class_map; add "
        "to data.class_map: #ff0000");
    expect_refusal(ROW(GREY, 2, 0, 1), &rules,
                   "l.png: colour #010101 at x 1, y 0 is not in data.class_map; add to data.class_map: #010101");
    struct spng_plte palette = {.n_entries = 1};
    uint8_t index = 0x10; /* indices 0, 1 */
    expect_refusal(encode_png(&index, 1, 1, 2, 2, PALETTE, false, &palette), &rules,
                   "l.png: the palette has no colour for index 1 at x 1, y 0");
    uint8_t *noise = noise_bytes(40 * 50 * 3, 3);
    noise[0] = noise[1] = noise[2] = 0;
    noise[3] = 1;
    blob file = encode_png(noise, 40 * 50 * 3, 40, 50, 8, RGB, false, NULL);
    dram_label label;
    assert_int_equal(decode(file, &rules, &label), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "at x 1, y 0 is not in data.class_map; more than 256 different colours: "
                                              "this looks like a photograph, not like a label"));
    dram_error_clear();
    free(file.bytes);
    free(noise);
    free(map);
}

/* A PNG with colours is no label where nothing says what they are. */
static void colours_without_a_map(void **state)
{
    (void)state;
    dram_class_map *ids = MAP(false, {255, 1});
    for (int with = 0; with < 2; with++) {
        const dram_label_rules rules = {.classes = 2, .ignore_index = 255, .map = with ? ids : NULL};
        expect_refusal(ROW(RGB, 3, 128, 64, 128, 0, 0, 0, 128, 64, 128), &rules,
                       "l.png: a label must be a PNG of one channel (grey or palette); this one has colour or alpha: "
                       "say in data.class_map which colour is which class: #000000, #804080");
        expect_refusal(ROW(GREY_ALPHA, 2, 0, 255, 1, 255), &rules,
                       "l.png: a label must be a PNG of one channel (grey or palette); this one has colour or alpha: "
                       "say in data.class_map which colour is which class: #000000, #010101");
        struct spng_plte palette = {.n_entries = 2};
        palette.entries[1] = (struct spng_plte_entry){1, 2, 3, 255};
        uint8_t index = 0x40;
        expect_ids(encode_png(&index, 1, 1, 2, 1, PALETTE, false, &palette), &rules, IDS(0, 1));
    }
    free(ids);
    const dram_label_rules many = {.classes = 150, .ignore_index = 255}; /* as many classes as a palette has colours */
    uint8_t *noise = noise_bytes(40 * 50 * 3, 3);
    expect_refusal(encode_png(noise, 40 * 50 * 3, 40, 50, 8, RGB, false, NULL), &many,
                   "l.png: a label must be a PNG of one channel (grey or palette); this one has colour or alpha: more "
                   "than 256 different colours: this looks like a photograph, not like a label");
    free(noise);
}

/* ---- advice ---- */

static void what_ids_suggest(void **state)
{
    (void)state;
#define RANGE(ID, X, K)                                                                                                \
    "l.png: class id " #ID " at x " #X ", y 0 is out of range: data.classes is " #K ", data.ignore_index is "
    dram_label_rules rules = {.classes = 2, .ignore_index = 254};
    expect_refusal(ROW(GREY, 3, 0, 255, 0), &rules, RANGE(255, 1, 2) "254; set data.class_map to {255: 1}");
    expect_refusal(ROW(GREY, 1, 255), &rules, RANGE(255, 0, 2) "254; set data.class_map to {255: 1}");
    expect_refusal(ROW(GREY, 3, 1, 2, 1), &rules,
                   RANGE(2, 1, 2) "254; ids that count from 1: set data.reduce_zero_label to true (0 is void then), or "
                                  "data.classes to 3 if 0 is a class");
    rules.ignore_index = 255;
    expect_refusal(ROW(GREY, 3, 0, 77, 0), &rules,
                   RANGE(77, 1, 2) "255; if 77 is class 1, set data.class_map to {77: 1}");
    expect_refusal(ROW(GREY, 4, 0, 255, 128, 0), &rules,
                   RANGE(128, 2, 2) "255; values that are no class: 128; say in data.class_map what they are, or raise "
                                    "data.classes");
    rules.classes = 3;
    expect_refusal(ROW(GREY, 4, 0, 200, 128, 0), &rules,
                   RANGE(200, 1, 3) "255; set data.class_map to {128: 1, 200: 2}");
    expect_refusal(
        ROW(GREY, 4, 85, 255, 3, 1), &rules,
        RANGE(85, 0, 3) "255; values that are no class: 3, 85; say in data.class_map what they are, or raise "
                        "data.classes");
    expect_refusal(ROW(GREY, 4, 0, 255, 3, 1), &rules,
                   RANGE(3, 2, 3) "255; ids from 0 to 3: set data.classes to 4, or data.reduce_zero_label to true if 0 "
                                  "is no class");
    uint8_t photograph[200];
    for (int i = 0; i < 200; i++) photograph[i] = (uint8_t)(i + 10);
    expect_refusal(row_png(GREY, 200, photograph), &rules,
                   RANGE(10, 0, 3) "255; 200 different values: this looks like a photograph, not like a label");
    rules.classes = 150; /* which may have as many */
    expect_refusal(
        row_png(GREY, 200, photograph), &rules,
        RANGE(150, 140, 150) "255; values that are no class: 150, 151, 152, 153, 154, 155 and 54 more; say in "
                             "data.class_map what they are, or raise data.classes");
}

/* Where nothing is refused there may be something to say all the same. */
static void advice_where_nothing_is_refused(void **state)
{
    (void)state;
    char room[200];
    dram_label_values values = {.n = 2};
    values.found[1].value = 255;
    dram_label_rules rules = {.classes = 2, .ignore_index = 255};
    assert_string_equal(dram_label_advice(&rules, &values, room, sizeof room), "set data.class_map to {255: 1}");
    assert_string_equal(dram_label_advice(&rules, &values, room, 9), "set data");
    values.found[1].value = 1;
    assert_string_equal(dram_label_advice(&rules, &values, room, sizeof room), "");
    values.n = 1; /* void alone is no mask */
    values.found[0].value = 255;
    assert_string_equal(dram_label_advice(&rules, &values, room, sizeof room), "");
    values.n = 2;
    values.found[0].value = 0;
    rules.classes = 0;
    values.found[1].value = 77;
    assert_string_equal(dram_label_advice(&rules, &values, room, sizeof room), "");
    values.n = 0;
    rules.classes = 2;
    assert_string_equal(dram_label_advice(&rules, &values, room, sizeof room), "");
}

/* ---- a look ---- */

static dram_status look(blob file, int64_t max_bytes, dram_label_values *out)
{
    int64_t before = dram_alloc_bytes();
    dram_error_clear();
    dram_status status = dram_label_look(file.bytes, file.n, "l.png", max_bytes, out);
    assert_int_equal(dram_alloc_bytes(), before);
    return status;
}

static void what_is_no_label_file(void **state)
{
    (void)state;
    uint8_t *data = noise_bytes(H * W * 8, 5);
    blob cut = encode_png(data, H * W, H, W, 8, GREY, false, NULL), colour_cut;
    cut.n /= 2;
    colour_cut = encode_png(data, H * W * 3, H, W, 8, RGB, false, NULL);
    colour_cut.n -= 40;
    const struct {
        blob file;
        const char *text;
    } cases[] = {
        {encode_png(data, H * W * 2, H, W, 16, GREY, false, NULL), "at most; this one has 16"},
        {encode_png(data, H * W * 6, H, W, 16, RGB, false, NULL), "at most; this one has 16"},
        {encode_jpeg(data, H, W, 0, TJPF_GRAY, TJSAMP_GRAY, 0), "a label must be a PNG; this file is not"},
        {blob_of("", 0), "a label must be a PNG; this file is not"},
        {cut, "truncated PNG"},
        {colour_cut, "truncated PNG"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_label_values values;
        assert_int_equal(look(cases[i].file, 0, &values), DRAM_ERR_FORMAT);
        if (!strstr(dram_error_text(), cases[i].text)) fail_msg("%s", dram_error_text());
        assert_int_equal(strncmp(dram_error_text(), "l.png: ", 7), 0);
        free(cases[i].file.bytes);
    }
    blob good = encode_png(data, H * W * 3, H, W, 8, RGB, true, NULL);
    dram_label_values values;
    assert_int_equal(look(good, 4096, &values), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "needs"));
    assert_int_equal(look(good, 1 << 20, &values), DRAM_OK);
    assert_int_equal(values.n, DRAM_LABEL_VALUES + 1);
    dram_error_clear();
    free(good.bytes);
    free(data);
}

static void no_memory(void **state)
{
    (void)state;
    uint8_t *data = noise_bytes(H * W * 3, 5);
    for (int i = 0; i < H * W * 3; i++) data[i] %= 2;
    for (int kind = 0; kind < 4; kind++) {
        dram_label_values values;
        dram_label label;
        const dram_label_rules rules = {.classes = kind < 2 ? 2 : 1, .ignore_index = 255};
        blob file = encode_png(data, H * W * (kind == 3 ? 3 : 1), H, W, 8, kind == 3 ? RGB : GREY, kind == 1, NULL);
        for (int64_t n = 0;; n++) { /* a file that is refused too: its text needs memory */
            dram_alloc_fail_after(n);
            dram_status looked = look(file, 0, &values);
            dram_alloc_fail_after(n);
            dram_status decoded = decode(file, &rules, &label);
            dram_alloc_fail_after(-1);
            dram_status last = kind < 2 ? DRAM_OK : DRAM_ERR_FORMAT;
            assert_true(looked == DRAM_ERR_MEMORY || looked == DRAM_OK);
            assert_true(decoded == DRAM_ERR_MEMORY || decoded == last);
            if (decoded == DRAM_OK) dram_label_free(&label);
            if (looked == DRAM_OK && decoded == last && (kind < 2 || n > 60)) break;
            assert_true(n < 200);
        }
        free(file.bytes);
    }
    dram_error_clear();
    free(data);
}

/* ---- against a slow reference ---- */

/* From the words of docs/data.md, with no table and no search. */
static int slow_class(const dram_label_rules *rules, bool color_file, uint32_t value, uint32_t color)
{
    int id = (int)value, found = 0;
    bool colors = rules->map && rules->map->color;
    if (color_file && !colors) return -1;
    for (int i = 0; rules->map && i < rules->map->n; i++)
        if (rules->map->pair[i].from == (colors ? color : value)) {
            id = rules->map->pair[i].to;
            found++;
        }
    if (colors && !found) return -1;
    if (rules->reduce_zero && id != rules->ignore_index) {
        id = id == 0 ? 1000 : id - 1;
        if (id == rules->ignore_index) return -1;
        if (id == 1000) id = rules->ignore_index;
    }
    if (id == rules->ignore_index) return id;
    return rules->classes && id >= rules->classes ? -1 : id;
}

typedef struct {
    int type, bits, channels;
    bool interlaced;
    int h, w;
    struct spng_plte palette;
    uint32_t value[40 * 40], color[40 * 40]; /* of each pixel */
    blob file;
} drawing;

static const struct {
    int type, bits;
} kinds[] = {{GREY, 1},    {GREY, 2},    {GREY, 4}, {GREY, 8}, {PALETTE, 1},   {PALETTE, 2},
             {PALETTE, 4}, {PALETTE, 8}, {RGB, 8},  {RGBA, 8}, {GREY_ALPHA, 8}};

/* A file with few values or many, in runs or pixel by pixel. */
static void draw(dram_rng *r, drawing *d)
{
    uint64_t kind = dram_rng_below(r, sizeof kinds / sizeof kinds[0]);
    d->type = kinds[kind].type;
    d->bits = kinds[kind].bits;
    d->channels = d->type == RGB ? 3 : d->type == RGBA ? 4 : d->type == GREY_ALPHA ? 2 : 1;
    d->interlaced = dram_rng_below(r, 3) == 0;
    d->h = 1 + (int)dram_rng_below(r, 40);
    d->w = 1 + (int)dram_rng_below(r, 40);
    size_t stride = ((size_t)(d->w * d->bits * d->channels) + 7) / 8;
    uint8_t *data = calloc((size_t)d->h, stride);
    assert_non_null(data);
    int most = 1 << d->bits, values = 1 + (int)dram_rng_below(r, dram_rng_below(r, 4) ? 6 : 300);
    d->palette = (struct spng_plte){.n_entries = 1 + (uint32_t)dram_rng_below(r, (uint64_t)most)};
    for (uint32_t i = 0; i < d->palette.n_entries; i++)
        d->palette.entries[i] = (struct spng_plte_entry){(uint8_t)(dram_rng_below(r, 3) * 100), (uint8_t)i, 7, 255};
    uint8_t pixel[4] = {0};
    for (int i = 0; i < d->h * d->w; i++) {
        if (i == 0 || dram_rng_below(r, 3) == 0) {
            uint64_t v = dram_rng_below(r, (uint64_t)values);
            for (int c = 0; c < 4; c++) pixel[c] = (uint8_t)(v * (c == 1 ? 3 : 1) % 256);
        }
        uint8_t *row = data + (size_t)(i / d->w) * stride;
        int x = i % d->w;
        if (d->channels > 1) {
            memcpy(row + x * d->channels, pixel, (size_t)d->channels);
            d->value[i] =
                d->channels == 2 ? pixel[0] * 0x010101u : (uint32_t)(pixel[0] << 16 | pixel[1] << 8 | pixel[2]);
            d->color[i] = d->value[i];
            continue;
        }
        uint32_t v = pixel[0] % (unsigned)most;
        row[x * d->bits / 8] |= (uint8_t)(v << (8 - d->bits - x * d->bits % 8));
        d->value[i] = v;
        const struct spng_plte_entry *e = &d->palette.entries[v];
        d->color[i] = d->type == GREY            ? v * 255 / (unsigned)(most - 1) * 0x010101u
                      : v < d->palette.n_entries ? (uint32_t)(e->red << 16 | e->green << 8 | e->blue)
                                                 : DRAM_NO_COLOR;
    }
    d->file = encode_png(data, stride * (size_t)d->h, d->h, d->w, d->bits, d->type, d->interlaced,
                         d->type == PALETTE ? &d->palette : NULL);
    free(data);
}

static int by_from(const void *a, const void *b)
{
    uint32_t x = ((const dram_class_pair *)a)->from, y = ((const dram_class_pair *)b)->from;
    return (x > y) - (x < y);
}

/* Of values that the drawing has, and of others. */
static dram_class_map *random_map(dram_rng *r, const drawing *d)
{
    dram_class_pair pair[40];
    bool color = dram_rng_below(r, 2);
    int n = 1 + (int)dram_rng_below(r, 40), unique = 1;
    for (int i = 0; i < n; i++) {
        uint64_t at = dram_rng_below(r, (uint64_t)(d->h * d->w));
        uint32_t from = color ? d->color[at] & 0xffffff : d->value[at] & 255;
        if (dram_rng_below(r, 4) == 0) from = (uint32_t)dram_rng_below(r, color ? 1 << 24 : 256);
        pair[i] = (dram_class_pair){from, (int)dram_rng_below(r, dram_rng_below(r, 3) ? 5 : 256)};
    }
    qsort(pair, (size_t)n, sizeof *pair, by_from);
    for (int i = 1; i < n; i++)
        if (pair[i].from != pair[unique - 1].from) pair[unique++] = pair[i];
    return map_of(color, unique, pair);
}

static void expect_values(const drawing *d)
{
    dram_label_values v;
    int64_t pixels = 0;
    assert_int_equal(look(d->file, 0, &v), DRAM_OK);
    assert_int_equal(v.height, d->h);
    assert_int_equal(v.width, d->w);
    assert_int_equal(v.color, d->channels > 1);
    assert_in_range(v.n, 1, DRAM_LABEL_VALUES + 1);
    if (v.n > DRAM_LABEL_VALUES) return;
    for (int i = 0; i < v.n; i++) {
        int64_t count = 0;
        uint32_t color = 0;
        for (int k = 0; k < d->h * d->w; k++) {
            if (d->value[k] != v.found[i].value) continue;
            count++;
            color = d->color[k];
        }
        assert_int_equal(v.found[i].pixels, count);
        assert_int_equal(v.found[i].color, color);
        assert_true(count > 0 && (i == 0 || v.found[i].value > v.found[i - 1].value));
        pixels += count;
    }
    assert_int_equal(pixels, d->h * d->w);
}

static void random_maps(void **state)
{
    (void)state;
    static drawing d;
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 7);
    int good = 0, bad = 0;
    for (int round = 0; round < 4000; round++) {
        draw(&r, &d);
        dram_class_map *map = dram_rng_below(&r, 4) ? random_map(&r, &d) : NULL;
        const dram_label_rules rules = {.classes = (int)dram_rng_below(&r, 2) * (1 + (int)dram_rng_below(&r, 256)),
                                        .ignore_index = (int)dram_rng_below(&r, 256),
                                        .reduce_zero = dram_rng_below(&r, 3) == 0,
                                        .map = map};
        dram_label label;
        dram_status status = decode(d.file, &rules, &label);
        int n = d.h * d.w, first = 0;
        bool color_file = d.channels > 1;
        while (first < n && slow_class(&rules, color_file, d.value[first], d.color[first]) >= 0) first++;
        assert_int_equal(status, first < n ? DRAM_ERR_FORMAT : DRAM_OK);
        for (int i = 0; i < n; i++) {
            int want = slow_class(&rules, color_file, d.value[i], d.color[i]);
            assert_int_equal(dram_label_class(&rules, color_file, d.value[i], d.color[i]), want);
            if (status == DRAM_OK && label.ids[i] != want) fail_msg("pixel %d is %d, not %d", i, label.ids[i], want);
        }
        if (first < n && (!color_file || (map && map->color))) {
            char place[64];
            snprintf(place, sizeof place, " at x %d, y %d", first % d.w, first / d.w);
            if (!strstr(dram_error_text(), place)) fail_msg("\"%s\" has no%s", dram_error_text(), place);
        }
        good += status == DRAM_OK;
        bad += status != DRAM_OK;
        expect_values(&d);
        dram_error_clear();
        dram_label_free(&label);
        free(map);
        free(d.file.bytes);
    }
    assert_true(good > 500 && bad > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_of_0_and_255),
        cmocka_unit_test(labels_that_count_from_1),
        cmocka_unit_test(ids_and_train_ids),
        cmocka_unit_test(to_and_from_void),
        cmocka_unit_test(colours_of_every_file),
        cmocka_unit_test(colours_that_are_not_known),
        cmocka_unit_test(colours_without_a_map),
        cmocka_unit_test(what_ids_suggest),
        cmocka_unit_test(advice_where_nothing_is_refused),
        cmocka_unit_test(what_is_no_label_file),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(random_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
