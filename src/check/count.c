#include "check/count.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "data/augment.h"
#include "feed/datasets.h"
#include "session/programs.h"

void dram_some_add(dram_check_some *some, const char *format, ...)
{
    va_list args;
    if (some->n++) return;
    va_start(args, format);
    vsnprintf(some->first, sizeof some->first, format, args);
    va_end(args);
}

/* What one data set is counted with. */
typedef struct {
    const dram_config *cfg;
    const dram_surveyed *seen;
    dram_image_rules images;
    dram_label_values values;
    char *path; /* [room] */
    int room;
} counter;

static void take_found(const dram_surveyed *seen, dram_check_set *out)
{
    const dram_dataset_found *f = dram_dataset_findings(seen->dataset);
    const struct {
        int n;
        const char *first;
        dram_check_some *some;
    } all[] = {
        {f->images_alone, f->image_alone, &out->images_alone},
        {f->labels_alone, f->label_alone, &out->labels_alone},
        {f->folders, f->folder, &out->folders},
        {f->others, f->other, &out->others},
        {f->twins, f->twin, &out->twins},
    };
    out->images = f->images;
    out->labels = f->labels;
    out->pairs = f->pairs;
    out->unlisted = f->unlisted;
    out->used = dram_dataset_labelled(seen->dataset);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        all[i].some->n = all[i].n;
        if (all[i].n && all[i].first) snprintf(all[i].some->first, sizeof all[i].some->first, "%s", all[i].first);
    }
    out->broken.n = f->broken;
    if (f->broken) dram_dataset_broken_text(f, out->broken.first, sizeof out->broken.first);
    if (f->hint) snprintf(out->hint, sizeof out->hint, "%s", f->hint);
}

/* ---- images ---- */

static bool is_turned(const counter *c, const dram_facts *image)
{
    return image->orientation > 1 && !c->images.stored;
}

/* Height and width as a run sees them. */
static void size_of(const counter *c, const dram_facts *image, int *height, int *width)
{
    bool swapped = is_turned(c, image) && image->orientation >= 5;
    *height = swapped ? image->width : image->height;
    *width = swapped ? image->height : image->width;
}

static bool is_thin(const dram_config *cfg, int height, int width)
{
    int valid_height, valid_width, cells = cfg->data.size / DRAM_VIT_PATCH;
    const dram_geometry whole = dram_geometry_fit(height, width);
    if (!cfg->sam_distill.enabled && !cfg->resolution_distill.enabled) return false;
    dram_geometry_valid(&whole, cfg->data.size, &valid_height, &valid_width);
    return !dram_valid_any(cfg->data.size, valid_height, valid_width, cells);
}

/* What is wrong with the first bad image is asked of the one who will read it in a run. */
static void add_bad_image(const counter *c, int i, dram_check_some *some)
{
    dram_image image;
    dram_dataset_image_path(c->seen->dataset, i, c->path, c->room);
    dram_error_clear();
    if (some->n == 0 && dram_image_load(c->path, &c->images, &image) == DRAM_OK) dram_image_free(&image);
    dram_some_add(some, "%s", *dram_error_text() ? dram_error_text() : c->path);
    dram_error_clear();
}

static void take_size(int height, int width, dram_check_set *out)
{
    int64_t pixels = (int64_t)height * width;
    if (!out->smallest[0] || pixels < (int64_t)out->smallest[0] * out->smallest[1]) {
        out->smallest[0] = height;
        out->smallest[1] = width;
    }
    if (pixels > (int64_t)out->largest[0] * out->largest[1]) {
        out->largest[0] = height;
        out->largest[1] = width;
    }
}

static void count_image(const counter *c, int i, const dram_facts *image, dram_check_set *out)
{
    int height, width;
    const char *name = dram_dataset_name(c->seen->dataset, i);
    size_of(c, image, &height, &width);
    take_size(height, width, out);
    if (is_thin(c->cfg, height, width)) dram_some_add(&out->thin, "%s", name);
    if (image->bits != 16) return;
    out->deep++;
    out->deep_looked += image->peak > 0;
    if (image->peak > out->peak) out->peak = image->peak;
}

/* ---- labels ---- */

static dram_label_rules rules_of(const counter *c, const dram_facts *image)
{
    int height = 0, width = 0;
    bool known = image->depth && !image->bad;
    if (known) size_of(c, image, &height, &width);
    dram_label_rules rules = dram_datasets_label_rules(c->cfg, height, width);
    rules.orientation = known ? image->orientation : 0;
    rules.stored = c->images.stored;
    return rules;
}

static void add_pixels(const dram_label_rules *rules, int class, int64_t pixels, dram_check_set *out)
{
    bool is_void = class == rules->ignore_index;
    *(is_void ? &out->void_pixels : &out->labelled_pixels) += pixels;
    if (!is_void) out->pixels[class] += pixels;
}

/* A label of more colours than were counted, under a map that may have them all. */
static bool count_decoded(const counter *c, int i, const dram_label_rules *rules, bool adds, dram_check_set *out)
{
    dram_label label;
    dram_dataset_label_path(c->seen->dataset, i, c->path, c->room);
    if (dram_label_load(c->path, rules, &label) != DRAM_OK) {
        dram_error_clear();
        return false;
    }
    for (int64_t k = 0; adds && k < (int64_t)label.height * label.width; k++) add_pixels(rules, label.ids[k], 1, out);
    dram_label_free(&label);
    return true;
}

/* Adds the pixels of a label whose values are all allowed. An image that is bad leaves its label out. */
static bool count_values(counter *c, int i, const dram_label_rules *rules, const dram_facts *image,
                         const dram_facts *label, dram_check_set *out)
{
    dram_label_values *v = &c->values;
    int id[DRAM_LABEL_VALUES];
    if (!dram_facts_values(label, v)) return false;
    if (v->n > DRAM_LABEL_VALUES)
        return rules->map && rules->map->color && count_decoded(c, i, rules, !image->bad, out);
    for (int k = 0; k < v->n; k++) {
        id[k] = dram_label_class(rules, v->color, v->found[k].value, v->found[k].color);
        if (id[k] < 0) return false;
    }
    for (int k = 0; k < v->n && !image->bad; k++) add_pixels(rules, id[k], v->found[k].pixels, out);
    return true;
}

static bool is_good_label(counter *c, int i, const dram_label_rules *rules, const dram_facts *image,
                          const dram_facts *label, dram_check_set *out)
{
    bool fits = !rules->height || (rules->height == label->height && rules->width == label->width);
    if (label->bad || !label->is_png || !fits) return false;
    return label->depth == DRAM_DEPTH_PIXELS ? count_values(c, i, rules, image, label, out) : label->bits <= 8;
}

static void add_bad_label(const counter *c, int i, const dram_label_rules *rules, dram_check_some *some)
{
    dram_label label;
    dram_dataset_label_path(c->seen->dataset, i, c->path, c->room);
    dram_error_clear();
    if (some->n == 0 && dram_label_load(c->path, rules, &label) == DRAM_OK) dram_label_free(&label);
    dram_some_add(some, "%s", *dram_error_text() ? dram_error_text() : c->path);
    dram_error_clear();
}

/* An image that EXIF turns by a quarter has another shape than the file, if it is no square: the label's tells whether
 * it was turned as well. */
static void count_turned(const counter *c, int i, const dram_facts *image, dram_check_set *out)
{
    const char *name = dram_dataset_name(c->seen->dataset, i);
    if (!image->depth || image->bad || !is_turned(c, image)) return;
    dram_some_add(&out->turned, "%s", name);
    if (image->orientation < 5 || image->height == image->width) dram_some_add(&out->unsure, "%s", name);
}

/* Returns whether a run would not leave it out, as far as is known. */
static bool count_label(counter *c, int i, const dram_facts *image, const dram_facts *label, dram_check_set *out)
{
    const dram_label_rules rules = rules_of(c, image);
    count_turned(c, i, image, out);
    if (!label->depth) return true;
    out->looked_labels++;
    out->read_labels += label->depth == DRAM_DEPTH_PIXELS || label->bad;
    if (is_good_label(c, i, &rules, image, label, out)) {
        if (!out->advice[0] && label->depth == DRAM_DEPTH_PIXELS && c->values.n <= DRAM_LABEL_VALUES)
            dram_label_advice(&rules, &c->values, out->advice, sizeof out->advice);
        return true;
    }
    if (!label->unread && !out->bad_labels.n) out->first_bad[1] = i;
    add_bad_label(c, i, &rules, label->unread ? &out->unread : &out->bad_labels);
    return label->unread;
}

dram_status dram_count_set(const dram_config *cfg, const dram_surveyed *seen, dram_check_set *out)
{
    counter c = {.cfg = cfg, .seen = seen, .images = dram_datasets_image_rules(cfg)};
    const dram_facts *image = seen->facts[DRAM_IMAGES], *label = seen->facts[DRAM_LABELS];
    c.room = dram_dataset_path_room(seen->dataset);
    c.path = dram_alloc((size_t)c.room);
    if (!c.path) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for what was found in the data");
    out->there = true;
    out->has_labels = label != NULL;
    out->classes = label ? cfg->data.classes : 0;
    out->known = seen->known;
    take_found(seen, out);
    for (int i = 0; i < dram_dataset_count(seen->dataset); i++) {
        bool good = !image[i].bad || image[i].unread;
        out->looked_images += image[i].depth > 0;
        if (image[i].bad && !image[i].unread && !out->bad_images.n) out->first_bad[0] = i;
        if (image[i].bad)
            add_bad_image(&c, i, image[i].unread ? &out->unread : &out->bad_images);
        else if (image[i].depth)
            count_image(&c, i, &image[i], out);
        if (label && dram_dataset_has_label(seen->dataset, i)) good &= count_label(&c, i, &image[i], &label[i], out);
        out->bad += !good;
    }
    dram_free(c.path);
    return DRAM_OK;
}
