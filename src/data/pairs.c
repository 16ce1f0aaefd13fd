#include "data/pairs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

/* What differs between the last parts of an image's stem and its label's: the end `from` becomes `to`. */
typedef struct {
    const char *from, *to;
    int from_length;
} change;

/* "WHERE: " if the caller said where the folder was named. */
#define AT(where) (where) ? (where) : "", (where) ? ": " : ""

static dram_status no_memory(const dram_pair_side *side)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for the names of its files", side->folder);
}

dram_pair_file dram_pair_file_of(const char *name, const char *why)
{
    const char *slash = strrchr(name, '/');
    int last = slash ? (int)(slash + 1 - name) : 0;
    return (dram_pair_file){
        .name = name, .why = why, .last = last, .stem = last + dram_stem(name + last), .partner = -1};
}

/* ---- files by their stems ---- */

static int compare(const char *a, int n, const char *b, int m)
{
    int order = memcmp(a, b, (size_t)(n < m ? n : m));
    return order ? order : (n > m) - (n < m);
}

static int by_text(const void *a, const void *b)
{
    const dram_pair_key *x = a, *y = b;
    int order = compare(x->text, x->length, y->text, y->length);
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

dram_status dram_pair_index_make(const dram_pair_side *side, bool with_folders, dram_pair_index *out)
{
    *out = (dram_pair_index){.keys = dram_alloc((size_t)side->n * sizeof *out->keys), .n = side->n};
    if (!out->keys) return no_memory(side);
    for (int i = 0; i < side->n; i++) {
        const dram_pair_file *file = &side->files[i];
        int begin = with_folders ? 0 : file->last;
        out->keys[i] = (dram_pair_key){.text = file->name + begin, .length = file->stem - begin, .file = i};
    }
    qsort(out->keys, (size_t)out->n, sizeof *out->keys, by_text);
    return DRAM_OK;
}

/* The first key that is not before the text or, with `behind`, the first that is after it. */
static int bound(const dram_pair_index *index, const char *text, int length, bool behind)
{
    int low = 0, high = index->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = compare(index->keys[middle].text, index->keys[middle].length, text, length);
        if (order < 0 || (behind && order == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int dram_pair_index_find(const dram_pair_index *index, const char *text, int length, int *count)
{
    int first = bound(index, text, length, false);
    *count = bound(index, text, length, true) - first;
    return first;
}

/* ---- what an image's label is called ---- */

static change read_pattern(const char *pattern)
{
    const char *colon = pattern ? strchr(pattern, ':') : NULL;
    if (colon) return (change){.from = pattern, .from_length = (int)(colon - pattern), .to = colon + 1};
    return (change){.from = "", .to = pattern ? pattern : ""};
}

static bool ends_with(const char *text, int length, const char *end, int end_length)
{
    return length >= end_length && memcmp(text + length - end_length, end, (size_t)end_length) == 0;
}

/* Whether the image can have a label: its stem, with folders, into *text from `text_room` bytes on. */
static dram_status wanted(const dram_pair_side *images, const dram_pair_file *image, const change *c, dram_str *text,
                          bool *can)
{
    int keep = image->stem - c->from_length;
    *can = ends_with(image->name + image->last, image->stem - image->last, c->from, c->from_length);
    if (!*can) return DRAM_OK;
    text->length = 0;
    dram_str_add(text, "%.*s%s", keep, image->name, c->to);
    return text->failed ? no_memory(images) : DRAM_OK;
}

/* ---- one folder ---- */

static bool is_png(const dram_pair_file *file)
{
    return strcasecmp(file->name + file->stem, ".png") == 0;
}

/* The labels of an image in its own folder. A PNG without a change to its stem would be its own. */
static dram_status mark_labels(const dram_pair_side *files, int image, const dram_pair_index *index, const change *c,
                               dram_str *text, bool *is_label)
{
    bool can;
    int count;
    TRY(wanted(files, &files->files[image], c, text, &can));
    if (!can) return DRAM_OK;
    int first = dram_pair_index_find(index, text->text, (int)text->length, &count);
    for (int k = first; k < first + count; k++) {
        int other = index->keys[k].file;
        bool same_stem = strcmp(c->to, c->from) == 0 && is_png(&files->files[image]);
        if (other != image && !same_stem && is_png(&files->files[other])) is_label[other] = true;
    }
    return DRAM_OK;
}

dram_status dram_pairs_split(const dram_pair_side *files, const char *pattern, bool *is_label)
{
    change c = read_pattern(pattern);
    dram_pair_index index = {0};
    dram_str text = {0};
    dram_status status;
    int end = (int)strlen(c.to);
    TRY_GOTO(dram_pair_index_make(files, true, &index), done);
    for (int i = 0; i < files->n; i++) {
        const dram_pair_file *file = &files->files[i];
        is_label[i] = end && is_png(file) && ends_with(file->name + file->last, file->stem - file->last, c.to, end);
    }
    for (int i = 0; i < files->n; i++)
        if (!is_label[i]) TRY_GOTO(mark_labels(files, i, &index, &c, &text, is_label), done);
done:
    dram_str_free(&text);
    dram_free(index.keys);
    return status;
}

/* ---- pairs ---- */

typedef struct {
    dram_pair_side *images, *labels;
    dram_pair_index by_path, by_last; /* labels */
    change change;
    dram_str text; /* the stem that an image's label would have */
} matching;

static dram_status two_labels(const matching *m, const dram_pair_file *image, const dram_pair_key *first, int count)
{
    const char *names[2] = {0};
    for (int k = 0, n = 0; k < count && n < 2; k++) {
        const dram_pair_file *label = &m->labels->files[first[k].file];
        if (count == 2 || label->partner < 0) names[n++] = label->name;
    }
    return dram_fail(
        DRAM_ERR_CONFIG,
        "%s%s%s/%s: this image could have two labels of %s, %s and %s; leave one of them, or give image and "
        "label the same path",
        AT(m->images->where), m->images->folder, image->name, m->labels->folder, names[0], names[1]);
}

/* An image that is not of the data set keeps a label from being without one, and from nothing else. */
static dram_status pair(matching *m, int image, int label)
{
    dram_pair_file *images = m->images->files, *of = &m->labels->files[label];
    if (of->partner >= 0 && images[of->partner].is_listed && images[image].is_listed)
        return dram_fail(
            DRAM_ERR_CONFIG,
            "%s%s%s/%s: two images have this label, %s and %s of %s; leave one of them there, or name those "
            "that are meant in a list (data.train.list, data.val.list)",
            AT(m->labels->where), m->labels->folder, of->name, images[of->partner].name, images[image].name,
            m->images->folder);
    images[image].partner = label;
    if (of->partner < 0 || images[image].is_listed) of->partner = image;
    return DRAM_OK;
}

static dram_status match_path(matching *m, int i)
{
    bool can;
    int count;
    dram_pair_file *image = &m->images->files[i];
    TRY(wanted(m->images, image, &m->change, &m->text, &can));
    if (!can) return DRAM_OK;
    int first = dram_pair_index_find(&m->by_path, m->text.text, (int)m->text.length, &count);
    if (count > 1 && image->is_listed) return two_labels(m, image, &m->by_path.keys[first], 2);
    return count ? pair(m, i, m->by_path.keys[first].file) : DRAM_OK;
}

/* A label that has an image at its own path is no other's. */
static void count_alone(matching *m)
{
    dram_pair_key *keys = m->by_last.keys;
    for (int k = 0, first = 0; k < m->by_last.n; k++) {
        if (compare(keys[k].text, keys[k].length, keys[first].text, keys[first].length) != 0) first = k;
        keys[first].alone += m->labels->files[keys[k].file].partner < 0;
    }
}

static dram_status match_last(matching *m, int i)
{
    bool can;
    int count;
    dram_pair_file *image = &m->images->files[i];
    if (image->partner >= 0) return DRAM_OK;
    TRY(wanted(m->images, image, &m->change, &m->text, &can));
    if (!can) return DRAM_OK;
    int first =
        dram_pair_index_find(&m->by_last, m->text.text + image->last, (int)m->text.length - image->last, &count);
    const dram_pair_key *key = &m->by_last.keys[first];
    if (count > 1 && key->alone > 1 && image->is_listed) return two_labels(m, image, key, count);
    return count == 1 && key->alone ? pair(m, i, key->file) : DRAM_OK;
}

static dram_status refuse_own(const dram_pair_side *images, const dram_pair_file *image, const dram_str *label)
{
    if (!is_png(image) || compare(image->name, image->stem, label->text, (int)label->length) != 0) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s%s%s/%s: images and labels are one folder, and this image would be its own label; name the "
                     "folder of the labels, or in data.label_pattern what the names of labels end with",
                     AT(images->where), images->folder, image->name);
}

static dram_status check_own(matching *m)
{
    for (int i = 0; i < m->images->n; i++) {
        bool can;
        const dram_pair_file *image = &m->images->files[i];
        if (!image->is_listed) continue;
        TRY(wanted(m->images, image, &m->change, &m->text, &can));
        if (can) TRY(refuse_own(m->images, image, &m->text));
    }
    return DRAM_OK;
}

dram_status dram_pairs_match(dram_pair_side *images, dram_pair_side *labels, const char *pattern, bool one_folder)
{
    matching m = {.images = images, .labels = labels, .change = read_pattern(pattern)};
    dram_status status;
    TRY_GOTO(dram_pair_index_make(labels, true, &m.by_path), done);
    TRY_GOTO(dram_pair_index_make(labels, false, &m.by_last), done);
    if (one_folder) TRY_GOTO(check_own(&m), done);
    for (int i = 0; i < images->n; i++) TRY_GOTO(match_path(&m, i), done);
    count_alone(&m);
    for (int i = 0; i < images->n && !one_folder; i++) TRY_GOTO(match_last(&m, i), done);
done:
    dram_str_free(&m.text);
    dram_free(m.by_path.keys);
    dram_free(m.by_last.keys);
    return status;
}

/* ---- what would fit ---- */

enum { SAMPLE = 64, TRIED = 8, NEAR = 8, CANDIDATES = 32, SHOWN = 3 };

typedef struct {
    const dram_pair_side *images;
    dram_pair_index by_last; /* labels without an image */
    int sample[SAMPLE], n_sample;
    dram_str pattern[CANDIDATES];
    int fits[CANDIDATES], n;
    dram_str text;
} guess;

static bool is_separator(char c)
{
    return c == '_' || c == '-' || c == '.' || c == ' ';
}

/* The pattern that makes this label the image's, if it can be written: a whole word of the stem's end is replaced. */
static dram_status add_candidate(guess *g, const char *stem, int length, const dram_pair_key *label)
{
    int same = 0;
    dram_str pattern = {0};
    while (same < length && same < label->length && stem[same] == label->text[same]) same++;
    while (same < length && same > 0 && !is_separator(stem[same])) same--;
    if (same == 0 && length > 0) return DRAM_OK;
    if (memchr(stem + same, ':', (size_t)(length - same))) return DRAM_OK;
    if (memchr(label->text + same, ':', (size_t)(label->length - same))) return DRAM_OK;
    if (same < length) dram_str_add(&pattern, "%.*s:", length - same, stem + same);
    dram_str_add(&pattern, "%.*s", label->length - same, label->text + same);
    if (pattern.failed) return no_memory(g->images);
    bool known = g->n == CANDIDATES || strpbrk(pattern.text, "*") || strlen(pattern.text) > 100;
    for (int c = 0; c < g->n && !known; c++) known = strcmp(g->pattern[c].text, pattern.text) == 0;
    if (known)
        dram_str_free(&pattern);
    else
        g->pattern[g->n++] = pattern;
    return DRAM_OK;
}

static dram_status add_candidates(guess *g, const dram_pair_file *image)
{
    int count, length = image->stem - image->last;
    int at = dram_pair_index_find(&g->by_last, image->name + image->last, length, &count);
    int first = at < NEAR ? 0 : at - NEAR;
    for (int k = first; k < at + NEAR && k < g->by_last.n; k++)
        TRY(add_candidate(g, image->name + image->last, length, &g->by_last.keys[k]));
    return DRAM_OK;
}

static dram_status count_fits(guess *g, int candidate)
{
    const change c = read_pattern(g->pattern[candidate].text);
    for (int i = 0; i < g->n_sample; i++) {
        bool can;
        int count;
        const dram_pair_file *image = &g->images->files[g->sample[i]];
        TRY(wanted(g->images, image, &c, &g->text, &can));
        if (!can) continue;
        dram_pair_index_find(&g->by_last, g->text.text + image->last, (int)g->text.length - image->last, &count);
        g->fits[candidate] += count > 0;
    }
    return DRAM_OK;
}

/* The labels that no image has, by the last part of their names. */
static dram_status index_alone(guess *g, const dram_pair_side *labels)
{
    int n = 0;
    TRY(dram_pair_index_make(labels, false, &g->by_last));
    for (int k = 0; k < g->by_last.n; k++)
        if (labels->files[g->by_last.keys[k].file].partner < 0) g->by_last.keys[n++] = g->by_last.keys[k];
    g->by_last.n = n;
    return DRAM_OK;
}

/* Images without a label, spread over all of them. */
static void draw_sample(guess *g)
{
    int alone = 0, seen = 0;
    const dram_pair_side *images = g->images;
    for (int i = 0; i < images->n; i++) alone += images->files[i].is_listed && images->files[i].partner < 0;
    int step = alone <= SAMPLE ? 1 : (alone + SAMPLE - 1) / SAMPLE;
    for (int i = 0; i < images->n; i++)
        if (images->files[i].is_listed && images->files[i].partner < 0 && seen++ % step == 0)
            g->sample[g->n_sample++] = i;
}

static void say_patterns(const guess *g, const dram_pair_side *labels, const char *pattern, dram_str *out)
{
    int best = 0, shown = 0;
    for (int c = 0; c < g->n; c++)
        if (g->fits[c] > best) best = g->fits[c];
    dram_str_add(out, "labels are called like %s", labels->files[g->by_last.keys[0].file].name);
    if (2 * best < g->n_sample) return;
    for (int c = 0; c < g->n; c++) {
        const char *text = g->pattern[c].text;
        if (g->fits[c] < best || (!*text && !pattern) || shown == SHOWN) continue;
        if (!*text)
            dram_str_add(out, "%s leave data.label_pattern out", shown ? ", or" : ":");
        else
            dram_str_add(out, "%s %s", shown ? ", or" : ": set data.label_pattern to", text);
        shown++;
    }
}

dram_status dram_pairs_hint(const dram_pair_side *images, const dram_pair_side *labels, const char *pattern,
                            dram_str *out)
{
    guess g = {.images = images};
    dram_status status;
    draw_sample(&g);
    TRY_GOTO(index_alone(&g, labels), done);
    if (g.n_sample == 0 || g.by_last.n == 0) goto done;
    for (int i = 0; i < g.n_sample && i < TRIED; i++) TRY_GOTO(add_candidates(&g, &images->files[g.sample[i]]), done);
    for (int c = 0; c < g.n; c++) TRY_GOTO(count_fits(&g, c), done);
    say_patterns(&g, labels, pattern, out);
    if (out->failed) status = no_memory(images);
done:
    for (int c = 0; c < g.n; c++) dram_str_free(&g.pattern[c]);
    dram_str_free(&g.text);
    dram_free(g.by_last.keys);
    return status;
}
