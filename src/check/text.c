/* What was found as text: the summary of a run's first screen, and the page of `dram check`. */
#include <stdarg.h>
#include <stdio.h>

#include "check/words.h"

/* A line, safe to show. */
static void add_line(dram_str *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_line(dram_str *out, const char *format, ...)
{
    char line[2400], shown[4 * sizeof line];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    dram_str_add(out, "%s\n", dram_visible(line, shown, sizeof shown));
}

/* "960x720", "480x360 to 960x720": width first, as people say it; "" where no image is known. */
static void format_sizes(const dram_check_set *s, char *out, size_t size)
{
    const int *a = s->smallest, *b = s->largest;
    out[0] = '\0';
    if (a[0] == b[0] && a[1] == b[1] && a[0])
        snprintf(out, size, "%dx%d", a[1], a[0]);
    else if (a[0])
        snprintf(out, size, "%dx%d to %dx%d", a[1], a[0], b[1], b[0]);
}

/* "367 images, 367 labels, 367 pairs". */
static void format_counts(const dram_check_set *s, char *out, size_t size)
{
    int n = snprintf(out, size, "%d image%s", s->images, S(s->images));
    if (!s->has_labels)
        snprintf(out + n, size - (size_t)n, ", no labels");
    else
        snprintf(out + n, size - (size_t)n, ", %d label%s, %d pair%s", s->labels, S(s->labels), s->pairs, S(s->pairs));
}

/* What was looked at, of images and of labels. */
static void format_looked(const dram_check *c, const dram_check_set *s, char *out, size_t size)
{
    int n;
    if (c->how == DRAM_DATA_CHECK_NONE) {
        snprintf(out, size, "nothing but the names (data.check: none)");
        return;
    }
    if (s->looked_images == s->images)
        n = snprintf(out, size, "all images");
    else
        n = snprintf(out, size, "%d of %d images", s->looked_images, s->images);
    if (s->used && s->read_labels == s->used)
        n +=
            snprintf(out + n, size - (size_t)n, ", every pixel of %s labels", s->used == s->pairs ? "all" : "the used");
    else if (s->used && s->read_labels)
        n += snprintf(out + n, size - (size_t)n, ", every pixel of %d of %d labels", s->read_labels, s->used);
    if (s->read_labels < s->used && s->looked_labels > s->read_labels)
        n += snprintf(out + n, size - (size_t)n, ", %d headers of labels", s->looked_labels - s->read_labels);
    if (s->known) n += snprintf(out + n, size - (size_t)n, " (%d files as they were known)", s->known);
    if (c->sampled) snprintf(out + n, size - (size_t)n, " (data.check: auto)");
}

/* ---- the summary ---- */

static double share(int64_t part, int64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

/* The class with the most pixels of those that are not taken yet; -1: there is none. */
static int next_class(const dram_check_set *s, bool *taken)
{
    int best = -1;
    for (int k = 0; k < DRAM_CHECK_CLASSES; k++)
        if (s->pixels[k] && !taken[k] && (best < 0 || s->pixels[k] > s->pixels[best])) best = k;
    if (best >= 0) taken[best] = true;
    return best;
}

/* "11 of 12 classes: road 31.2 %, sky 18.0 %, 9 more; void 3.2 %": of labelled pixels, void of all. */
static void add_classes(const dram_config *cfg, const dram_check_set *s, dram_str *out)
{
    enum { NAMED = 4 };
    bool taken[DRAM_CHECK_CLASSES] = {false};
    char room[32], line[600] = "";
    size_t at = 0;
    int n = 0;
    for (int k = 0; k < DRAM_CHECK_CLASSES; k++) n += s->pixels[k] > 0;
    for (int i = 0; i < n && i < NAMED; i++) {
        int k = next_class(s, taken);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%s%.100s %.1f %%", i ? ", " : "",
                               cfg->data.class_names ? "" : "class ", dram_class_name(cfg, k, room, sizeof room),
                               share(s->pixels[k], s->labelled_pixels));
    }
    if (n > NAMED) snprintf(line + at, sizeof line - at, ", %d more", n - NAMED);
    add_line(out, "       %d of %d classes: %s; void %.1f %%", n, cfg->data.classes, line,
             share(s->void_pixels, s->void_pixels + s->labelled_pixels));
}

/* What is not as it should be, in a word each: a noun that has a plural, and what follows it. */
static void format_odd(const dram_check_set *s, char *out, size_t size)
{
    const struct {
        int n;
        const char *noun, *rest;
    } odd[] = {
        {s->images_alone.n, NULL, "without a label"},
        {s->labels_alone.n, "label", " without an image"},
        {s->folders.n, "folder", " not looked into"},
        {s->broken.n, "broken name", ""},
        {s->others.n, "other file", ""},
        {s->unread.n, "unreadable file", ""},
        {s->bad_images.n, "bad image", ""},
        {s->bad_labels.n, "bad label", ""},
        {s->copies.n, "duplicate", ""},
        {s->turned.n, NULL, "turned by EXIF"},
        {s->thin.n, NULL, "too thin"},
        {s->unlisted, NULL, "not in the list"},
    };
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof odd / sizeof odd[0] && at < size; i++)
        if (odd[i].n)
            at += (size_t)snprintf(out + at, size - at, "%s%d %s%s%s", at ? ", " : "", odd[i].n,
                                   odd[i].noun ? odd[i].noun : "", odd[i].noun ? S(odd[i].n) : "", odd[i].rest);
}

static void summarise(const dram_config *cfg, const dram_check *c, const dram_check_set *s, const char *name,
                      dram_str *out)
{
    char counts[120], sizes[80], looked[300], odd[400];
    if (!s->there) return;
    format_counts(s, counts, sizeof counts);
    format_sizes(s, sizes, sizeof sizes);
    format_looked(c, s, looked, sizeof looked);
    add_line(out, "%s %s%s%s%s", name, counts, sizes[0] ? ", " : "", sizes,
             s->used < s->pairs ? "; not all labels are used" : "");
    if (s->labelled_pixels) add_classes(cfg, s, out);
    format_odd(s, odd, sizeof odd);
    add_line(out, "       looked at %s%s%s", looked, odd[0] ? "; " : "", odd);
}

void dram_check_summary(const dram_config *cfg, const dram_check *c, dram_str *out)
{
    summarise(cfg, c, &c->train, "train:", out);
    summarise(cfg, c, &c->val, "val:", out);
}

/* ---- the page ---- */

enum { KEY = 18 };

/* "  bad labels         2 labels (the first: ...)": what they are is a noun and what follows it. */
static void add_some(const char *key, const dram_check_some *some, const char *noun, const char *rest, dram_str *out)
{
    if (some->n)
        add_line(out, "  %-*s %d %s%s%s (%s%s)", KEY, key, some->n, noun, S(some->n), rest, FIRST(some->n),
                 some->first);
}

static void add_page_classes(const dram_config *cfg, const dram_check_set *s, dram_str *out)
{
    char room[32], key[200];
    int64_t all = s->labelled_pixels + s->void_pixels;
    for (int k = 0; all && k < cfg->data.classes; k++) {
        const char *name = dram_class_name(cfg, k, room, sizeof room);
        if (k == cfg->data.ignore_index) continue;
        snprintf(key, sizeof key, name == room ? "class %d" : "class %d %s", k, name);
        if (s->pixels[k])
            add_line(out, "  %-*s %6.2f %%", KEY, key, share(s->pixels[k], s->labelled_pixels));
        else
            add_line(out, "  %-*s in no label", KEY, key);
    }
    if (all)
        add_line(out, "  %-*s %6.2f %% of all pixels (%d)", KEY, "void", share(s->void_pixels, all),
                 cfg->data.ignore_index);
}

static void add_page(const dram_config *cfg, const dram_check *c, const dram_check_set *s, bool val, dram_str *out)
{
    char text[400];
    const char *images = val ? cfg->data.val.images : cfg->data.train.images;
    const char *labels = val ? cfg->data.val.labels : cfg->data.train.labels;
    if (s->refused[0]) add_line(out, "%s refused: %s", val ? "val:" : "train:", s->refused);
    if (!s->there) return;
    format_counts(s, text, sizeof text);
    add_line(out, "%s %s", val ? "val:" : "train:", text);
    add_line(out, "  %-*s %s", KEY, "images", images);
    if (s->has_labels) add_line(out, "  %-*s %s", KEY, "labels", labels);
    if (s->used < s->pairs) add_line(out, "  %-*s %d of %d", KEY, "used labels", s->used, s->pairs);
    format_looked(c, s, text, sizeof text);
    add_line(out, "  %-*s %s", KEY, "looked at", text);
    format_sizes(s, text, sizeof text);
    if (text[0]) add_line(out, "  %-*s %s", KEY, "sizes", text);
    add_some("without a label", &s->images_alone, "image", "", out);
    add_some("without an image", &s->labels_alone, "label", "", out);
    if (s->unlisted) add_line(out, "  %-*s %d image%s", KEY, "not in the list", s->unlisted, S(s->unlisted));
    add_some("not looked into", &s->folders, "folder", "", out);
    add_some("left aside", &s->others, "other file", "", out);
    add_some("broken", &s->broken, "name", "", out);
    add_some("same name", &s->twins, "image", ", but for the ending", out);
    add_some("cannot be read", &s->unread, "file", "", out);
    add_some("bad images", &s->bad_images, "image", "", out);
    add_some("bad labels", &s->bad_labels, "label", "", out);
    add_some("turned by EXIF", &s->turned, "image", " with a label", out);
    add_some("too thin", &s->thin, "image", " without a cell", out);
    add_some("duplicates", &s->copies, "image", "", out);
    if (s->deep)
        add_line(out, "  %-*s %d image%s; the largest value of %d is %d (data.range: %d)", KEY, "16 bits", s->deep,
                 S(s->deep), s->deep_looked, s->peak, cfg->data.range);
    add_page_classes(cfg, s, out);
}

void dram_check_page(const dram_config *cfg, const dram_check *c, dram_str *out)
{
    if (c->refused[0]) add_line(out, "refused: %s", c->refused);
    add_page(cfg, c, &c->train, false, out);
    add_page(cfg, c, &c->val, true, out);
    if (!c->train.there || !c->val.there) return;
    add_some("also in train", &c->shared, "image", " of val, by name", out);
    add_some("also in train", &c->between, "image", " of val, by content", out);
}

/* ", 2 of them are left out". */
static void format_left_out(const dram_config *cfg, int bad, char *out, size_t size)
{
    out[0] = '\0';
    if (bad) snprintf(out, size, ", %d left out (data.on_bad: %s)", bad, dram_on_bad_word(cfg->data.on_bad));
}

void dram_check_outlook(const dram_config *cfg, const dram_check *c, dram_str *out)
{
    char labels[80] = "", left[80], val[160] = "";
    const dram_check_set *t = &c->train, *v = &c->val;
    if (t->has_labels) snprintf(labels, sizeof labels, ", %d of them with a label", t->used);
    format_left_out(cfg, v->bad, left, sizeof left);
    if (v->there) snprintf(val, sizeof val, ", and evaluate on %d%s", v->images, left);
    format_left_out(cfg, t->bad, left, sizeof left);
    add_line(out, "a run would train on %d images%s%s%s", t->images, labels, left, val);
}
