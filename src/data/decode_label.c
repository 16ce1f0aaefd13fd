/* PNG labels: what they hold, and the classes that it means. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "data/decode_png.h"

/* ---- what a value means ---- */

/* What the map makes of an id or a colour; -1: it is not in it. */
static int map_find(const dram_class_map *map, uint32_t from)
{
    int low = 0, high = map->n - 1;
    while (low <= high) {
        int middle = (low + high) / 2;
        uint32_t at = map->pair[middle].from;
        if (at == from) return map->pair[middle].to;
        if (at < from)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

static bool has_colors(const dram_label_rules *rules)
{
    return rules->map && rules->map->color;
}

/* What the map alone makes of a pixel; -1: it is no id. */
static int mapped(const dram_label_rules *rules, bool color_file, uint32_t value, uint32_t color)
{
    if (has_colors(rules)) return map_find(rules->map, color);
    if (color_file) return -1;
    int id = rules->map ? map_find(rules->map, value) : -1;
    return id < 0 ? (int)value : id;
}

/* A class above ignore_index does not become it by counting one less. */
static int reduced(const dram_label_rules *rules, int id)
{
    if (!rules->reduce_zero || id < 0 || id == rules->ignore_index) return id;
    if (id == 0) return rules->ignore_index;
    return id - 1 == rules->ignore_index ? -1 : id - 1;
}

int dram_label_class(const dram_label_rules *rules, bool color_file, uint32_t value, uint32_t color)
{
    int id = reduced(rules, mapped(rules, color_file, value, color));
    return id == rules->ignore_index || rules->classes == 0 || id < rules->classes ? id : -1;
}

/* ---- files ---- */

typedef struct {
    const dram_source *source;
    spng_ctx *png;
    struct spng_ihdr header;
    int height, width, depth, channels;
    uint32_t color[256]; /* of a value, where there is one channel */
} label_file;

/* close_label, after a failure too. */
static dram_status open_label(const dram_source *source, label_file *f)
{
    *f = (label_file){.source = source};
    if (source->n < 8 || memcmp(source->bytes, "\x89PNG\r\n\x1a\n", 8) != 0)
        return dram_bad_image(source, "a label must be a PNG; this file is not");
    TRY(dram_png_open(source, &f->png, &f->header));
    if (f->header.bit_depth == 16)
        return dram_bad_image(source, "a label must have 8 bits a sample at most; this one has 16: save it with 8");
    f->height = (int)f->header.height;
    f->width = (int)f->header.width;
    f->depth = f->header.bit_depth;
    f->channels = dram_png_channels(&f->header);
    return DRAM_OK;
}

static void close_label(label_file *f)
{
    spng_ctx_free(f->png);
}

/* Reads what stands before the pixels, if the file can be read beside `bytes` of its reader's. Adam7 gives the image in
 * seven passes: whole. */
static dram_status read_colors(label_file *f, int64_t bytes)
{
    int64_t whole = f->header.interlace_method ? (int64_t)dram_png_row_bytes(&f->header) * f->height : 0;
    int64_t need = whole + bytes + dram_png_library_bytes(&f->header);
    TRY(dram_check_memory(f->source, f->height, f->width, need));
    TRY(dram_png_limit_chunks(f->source, f->png, need));
    return f->channels == 1 ? dram_png_colors(f->source, f->png, &f->header, f->color) : DRAM_OK;
}

/* Takes row y, a byte a sample; false: no further row is wanted. */
typedef bool row_reader(void *context, const uint8_t *row, int y);

/* A byte a sample: `row` itself, or `wide` where a byte of the file holds several. */
static const uint8_t *widened(const label_file *f, const uint8_t *row, uint8_t *restrict wide)
{
    int depth = f->depth, width = f->width;
    if (depth == 8) return row;
    for (int x = 0; x < width; x++) wide[x] = (uint8_t)dram_png_sample(row, depth, x);
    return wide;
}

static dram_status read_rows(label_file *f, row_reader *take, void *context)
{
    size_t stride = dram_png_row_bytes(&f->header);
    bool whole = f->header.interlace_method != 0, more = true;
    int error, h = f->height;
    /* the passes of an interlaced image are or-ed into the buffer when a byte holds several pixels: it starts as
     * zero */
    uint8_t *packed = dram_calloc(whole ? (size_t)h : 1, stride), *wide = dram_alloc((size_t)f->width);
    if (!packed || !wide)
        error = SPNG_EMEM;
    else if (whole)
        error = spng_decode_image(f->png, packed, stride * (size_t)h, SPNG_FMT_RAW, 0);
    else
        error = spng_decode_image(f->png, NULL, 0, SPNG_FMT_RAW, SPNG_DECODE_PROGRESSIVE);
    for (int y = 0; y < h && !error && more; y++) {
        if (!whole) error = spng_decode_row(f->png, packed, stride);
        if (error == SPNG_EOI && y == h - 1) error = 0;
        if (!error) more = take(context, widened(f, whole ? packed + (size_t)y * stride : packed, wide), y);
    }
    dram_free(wide);
    dram_free(packed);
    return error ? dram_png_error(f->source, error) : DRAM_OK;
}

/* Of a file with colours, 8 bits a sample; the fourth sample, or the second beside grey, is alpha. */
static inline uint32_t color_at(const uint8_t *row, int channels, int x)
{
    const uint8_t *p = row + (size_t)x * (size_t)channels;
    return channels == 2 ? p[0] * 0x010101u : (uint32_t)(p[0] << 16 | p[1] << 8 | p[2]);
}

/* ---- a look at all values ---- */

enum { LANES = 4, SLOTS = 4 * DRAM_LABEL_VALUES, FULL = DRAM_LABEL_VALUES + 1 };

typedef struct {
    const label_file *file;
    dram_label_values *out;
    int64_t pixels[LANES][256]; /* of each value, where there is one channel; neighbours apart: they are often equal */
    int16_t slot[SLOTS];        /* of colours: 1 + the place in out->found; 0: free */
    uint32_t last;              /* the colour seen last, at last_at in out->found */
    int last_at;
} looker;

/* The place of a colour in out->found; -1: there is no room for it. */
static int find_color(looker *l, uint32_t color)
{
    unsigned at = (color * 2654435761u >> 16) % SLOTS;
    dram_label_values *out = l->out;
    for (; l->slot[at]; at = (at + 1) % SLOTS)
        if (out->found[l->slot[at] - 1].value == color) return l->slot[at] - 1;
    if (out->n >= DRAM_LABEL_VALUES) return -1;
    out->found[out->n].value = out->found[out->n].color = color;
    out->found[out->n].pixels = 0;
    l->slot[at] = (int16_t)++out->n;
    return out->n - 1;
}

static bool look_at_row(void *context, const uint8_t *row, int y)
{
    looker *l = context;
    const label_file *f = l->file;
    (void)y;
    for (int x = 0; f->channels == 1 && x < f->width; x++) l->pixels[x % LANES][row[x]]++;
    for (int x = 0; f->channels > 1 && x < f->width && l->out->n < FULL; x++) {
        uint32_t color = color_at(row, f->channels, x);
        if (color != l->last) {
            l->last = color;
            l->last_at = find_color(l, color);
            if (l->last_at < 0) l->out->n = FULL;
        }
        if (l->last_at >= 0) l->out->found[l->last_at].pixels++;
    }
    return true; /* to the end: a truncated file is found */
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b; /* the first of its members */
    return (x > y) - (x < y);
}

dram_status dram_label_look(const uint8_t *bytes, size_t n, const char *name, int64_t max_bytes, dram_label_values *out)
{
    const dram_source source = {.bytes = bytes, .n = n, .name = name, .rules = {.max_bytes = max_bytes}};
    dram_status status;
    label_file file;
    looker l = {.file = &file, .out = out, .last = DRAM_NO_COLOR};
    out->n = 0;
    TRY_GOTO(open_label(&source, &file), done);
    out->height = file.height;
    out->width = file.width;
    out->color = file.channels > 1;
    TRY_GOTO(read_colors(&file, (int64_t)file.height * file.width), done); /* as if it were decoded */
    TRY_GOTO(read_rows(&file, look_at_row, &l), done);
    for (uint32_t v = 0; v < 256; v++) {
        int64_t pixels = 0;
        for (int i = 0; i < LANES; i++) pixels += l.pixels[i][v];
        if (!pixels) continue;
        out->found[out->n].value = v;
        out->found[out->n].color = file.color[v];
        out->found[out->n++].pixels = pixels;
    }
    qsort(out->found, out->n < FULL ? (size_t)out->n : DRAM_LABEL_VALUES, sizeof out->found[0], by_value);
done:
    close_label(&file);
    return status;
}

/* ---- advice ---- */

enum { NAMED = 6, MOST_CLASSES_GUESSED = 8, PHOTOGRAPH = 128 };

/* "0, 7, 8 and 12 more" of the values that are not allowed, or of all; "" if there are none. */
static void list_values(const dram_label_rules *rules, const dram_label_values *v, bool all, dram_str *out)
{
    int n = 0;
    for (int i = 0; i < v->n && i < DRAM_LABEL_VALUES; i++) {
        uint32_t value = v->found[i].value, color = v->found[i].color;
        if (!all && dram_label_class(rules, v->color, value, color) >= 0) continue;
        bool shows_color = v->color || has_colors(rules);
        if (shows_color && color == DRAM_NO_COLOR) continue; /* nor can it be */
        if (n++ < NAMED)
            dram_str_add(out, shows_color ? "%s#%06x" : "%s%u", n > 1 ? ", " : "", shows_color ? color : value);
    }
    if (n > NAMED) dram_str_add(out, " and %d more", n - NAMED);
}

/* Masks of a few values that may be the classes in their order: {128: 1, 255: 2}. Of two classes the first is 0. What is
 * void alone is no mask. */
static bool advise_map(const dram_label_rules *rules, const dram_label_values *v, dram_str *out)
{
    bool two = rules->classes == 2 && v->n > 0 && v->n <= 2 && (v->n == 1 || v->found[0].value == 0);
    int pairs = 0;
    if (!two && (v->n != rules->classes || v->n < 3 || v->n > MOST_CLASSES_GUESSED)) return false;
    if (v->found[v->n - 1].value < (uint32_t)rules->classes) return false;
    if (v->n == 1 && v->found[0].value == (uint32_t)rules->ignore_index) return false;
    for (int i = 0; i < v->n && !two; i++)
        if (v->found[i].value == (uint32_t)rules->ignore_index) return false;
    for (int i = 0; i < v->n; i++) {
        int to = two ? v->found[i].value != 0 : i;
        if (v->found[i].value == (uint32_t)to) continue;
        if (!pairs && two && v->found[i].value != 255) dram_str_add(out, "if %u is class 1, ", v->found[i].value);
        dram_str_add(out, "%s%u: %d", pairs++ ? ", " : "set data.class_map to {", v->found[i].value, to);
    }
    dram_str_add(out, "}");
    return true;
}

static void advise_any(const dram_label_rules *rules, const dram_label_values *v, dram_str *out)
{
    dram_str bad = {0};
    list_values(rules, v, false, &bad);
    if (bad.length && rules->map)
        dram_str_add(out, "add to data.class_map: %s", bad.text);
    else if (bad.length)
        dram_str_add(out, "values that are no class: %s; say in data.class_map what they are, or raise data.classes",
                     bad.text);
    out->failed |= bad.failed;
    dram_str_free(&bad);
}

static void advise_ids(const dram_label_rules *rules, const dram_label_values *v, dram_str *out)
{
    int low = 256, high = -1, k = rules->classes;
    for (int i = 0; i < v->n; i++) {
        int id = (int)v->found[i].value;
        if (id == rules->ignore_index) continue;
        if (id < low) low = id;
        if (id > high) high = id;
    }
    if (high == k && low > 0)
        dram_str_add(out,
                     "ids that count from 1: set data.reduce_zero_label to true (0 is void then), or data.classes to "
                     "%d if 0 is a class",
                     k + 1);
    else if (high == k)
        dram_str_add(out,
                     "ids from 0 to %d: set data.classes to %d, or data.reduce_zero_label to true if 0 is no class", k,
                     k + 1);
    else if (!advise_map(rules, v, out))
        advise_any(rules, v, out);
}

static void advise(const dram_label_rules *rules, const dram_label_values *v, dram_str *out)
{
    if (v->color ? v->n > DRAM_LABEL_VALUES : v->n > PHOTOGRAPH && v->n > 2 * rules->classes) {
        dram_str_add(out, "%s%d different %s: this looks like a photograph, not like a label",
                     v->n > DRAM_LABEL_VALUES ? "more than " : "", v->n > DRAM_LABEL_VALUES ? v->n - 1 : v->n,
                     v->color ? "colours" : "values");
    } else if (v->color && !has_colors(rules)) {
        dram_str_add(out, "say in data.class_map which colour is which class: ");
        list_values(rules, v, true, out);
    } else if (rules->map || rules->reduce_zero) {
        advise_any(rules, v, out);
    } else if (rules->classes > 0) {
        advise_ids(rules, v, out);
    }
}

char *dram_label_advice(const dram_label_rules *rules, const dram_label_values *values, char *out, size_t size)
{
    dram_str text = {0};
    advise(rules, values, &text);
    snprintf(out, size, "%s", text.length && !text.failed ? text.text : "");
    dram_str_free(&text);
    return out;
}

/* ---- labels ---- */

typedef struct {
    const label_file *file;
    const dram_label_rules *rules;
    uint8_t *ids;
    int16_t id[256]; /* of each value, where there is one channel */
    uint32_t last;   /* the colour seen last, and its id */
    int last_id;
    int bad_x, bad_y; /* the first pixel that is not allowed; bad_x -1: there is none */
    uint32_t value, color;
    bool transparent;
} decoder;

static bool is_transparent(const label_file *f, const uint8_t *row, int x)
{
    return f->channels % 2 == 0 && row[(size_t)x * (size_t)f->channels + (size_t)f->channels - 1] == 0;
}

/* The ids of a row of values; the first that is not allowed, or `width`. */
static int decode_values(const int16_t *id, const uint8_t *row, int width, uint8_t *restrict out)
{
    int all = 0, x = 0;
    for (int i = 0; i < width; i++) {
        all |= id[row[i]];
        out[i] = (uint8_t)id[row[i]];
    }
    if (all >= 0) return width; /* none has the sign */
    while (id[row[x]] >= 0) x++;
    return x;
}

/* The same of colours. */
static int decode_colors(decoder *d, const uint8_t *row, int width, uint8_t *restrict out)
{
    uint32_t last = d->last;
    int id = d->last_id, channels = d->file->channels;
    for (int x = 0; x < width; x++) {
        uint32_t color = color_at(row, channels, x);
        if (color != last) id = dram_label_class(d->rules, true, color, color);
        if (id < 0) return x;
        last = color;
        out[x] = (uint8_t)id;
    }
    d->last = last;
    d->last_id = id;
    return width;
}

static bool decode_row(void *context, const uint8_t *row, int y)
{
    decoder *d = context;
    const label_file *f = d->file;
    uint8_t *out = d->ids + (size_t)y * (size_t)f->width;
    bool one = f->channels == 1;
    int x = one ? decode_values(d->id, row, f->width, out) : decode_colors(d, row, f->width, out);
    if (x == f->width) return true;
    d->bad_x = x;
    d->bad_y = y;
    d->value = one ? row[x] : color_at(row, f->channels, x);
    d->color = one ? f->color[d->value] : d->value;
    d->transparent = is_transparent(f, row, x);
    return false;
}

/* ", which data.class_map makes 12"; "" where the value is the id. */
static void tell_made(const decoder *d, dram_str *out)
{
    const dram_label_rules *rules = d->rules;
    int id = mapped(rules, d->file->channels > 1, d->value, d->color), less = reduced(rules, id);
    bool is_mapped = has_colors(rules) || id != (int)d->value, is_less = less != id && less >= 0;
    if (is_mapped) dram_str_add(out, ", which data.class_map makes %d", id);
    if (is_less) dram_str_add(out, "%s data.reduce_zero_label makes %d", is_mapped ? " and" : ", which", less);
    if (is_mapped || is_less) dram_str_add(out, ",");
}

/* "colour #804080 at x 3, y 0 is not in data.class_map". */
static void tell_pixel(const decoder *d, dram_str *out)
{
    const dram_label_rules *rules = d->rules;
    if (has_colors(rules) && d->color == DRAM_NO_COLOR) {
        dram_str_add(out, "the palette has no colour for index %u at x %d, y %d", d->value, d->bad_x, d->bad_y);
        return;
    }
    dram_str_add(out, has_colors(rules) ? "colour #%06x at x %d, y %d%s" : "class id %u at x %d, y %d%s",
                 has_colors(rules) ? d->color : d->value, d->bad_x, d->bad_y,
                 d->transparent ? " (transparent: alpha does not count)" : "");
    if (has_colors(rules) && map_find(rules->map, d->color) < 0) {
        dram_str_add(out, " is not in data.class_map");
        return;
    }
    tell_made(d, out);
    dram_str_add(out, " is out of range: data.classes is %d, data.ignore_index is %d", rules->classes,
                 rules->ignore_index);
}

/* The pixel as it is stored, where it is, what it became, and what the whole file suggests. */
static dram_status bad_pixel(const decoder *d)
{
    dram_label_values values;
    char advice[600] = "";
    dram_str text = {0};
    tell_pixel(d, &text);
    const dram_source *source = d->file->source;
    if (dram_label_look(source->bytes, source->n, source->name, d->rules->max_bytes, &values) == DRAM_OK)
        dram_label_advice(d->rules, &values, advice, sizeof advice);
    else
        dram_error_clear();
    dram_status status =
        text.failed ? dram_png_error(source, SPNG_EMEM)
                    : dram_fail(DRAM_ERR_FORMAT, "%s: %s%s%s", source->name, text.text, advice[0] ? "; " : "", advice);
    dram_str_free(&text);
    return status;
}

static dram_status check_header(const label_file *f, const dram_label_rules *rules)
{
    const dram_source *source = f->source;
    dram_label_values values;
    char advice[600] = "";
    TRY(dram_check_label_size(source, rules, f->height, f->width));
    if (f->channels == 1 || has_colors(rules)) return DRAM_OK;
    TRY(dram_label_look(source->bytes, source->n, source->name, rules->max_bytes, &values));
    return dram_fail(DRAM_ERR_FORMAT,
                     "%s: a label must be a PNG of one channel (grey or palette); this one has colour or alpha: %s",
                     source->name, dram_label_advice(rules, &values, advice, sizeof advice));
}

dram_status dram_decode_label(const dram_source *source, const dram_label_rules *rules, dram_label *out)
{
    dram_status status;
    label_file file;
    decoder d = {.file = &file, .rules = rules, .last = DRAM_NO_COLOR, .bad_x = -1};
    TRY_GOTO(open_label(source, &file), done);
    TRY_GOTO(check_header(&file, rules), done);
    TRY_GOTO(read_colors(&file, (int64_t)file.height * file.width), done);
    for (uint32_t v = 0; v < 256 && file.channels == 1; v++)
        d.id[v] = (int16_t)dram_label_class(rules, false, v, file.color[v]);
    *out = (dram_label){
        .ids = dram_alloc((size_t)file.height * (size_t)file.width), .height = file.height, .width = file.width};
    if (!out->ids) {
        status = dram_png_error(source, SPNG_EMEM);
        goto done;
    }
    d.ids = out->ids;
    TRY_GOTO(read_rows(&file, decode_row, &d), done);
    if (d.bad_x >= 0) status = bad_pixel(&d);
done:
    close_label(&file);
    return status;
}
