#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/rng.h"
#include "base/str.h"
#include "data/pairs.h"

typedef struct {
    const char *name;  /* in the list of the folder */
    const char *label; /* name of it, or NULL */
    uint64_t key;      /* for the choice of labels */
    bool has_label;    /* it is used */
} item;

struct dram_dataset {
    char *images, *labels; /* folders; labels NULL: none, or not used */
    dram_folder_list image_names, label_names;
    item *items;
    int count, labelled;
    int longest; /* name */
    dram_dataset_found found;
};

/* What is known while it is opened. */
typedef struct {
    dram_dataset *d;
    const dram_dataset_params *params;
    dram_pair_side images, labels;
    bool one_folder; /* of images and labels */
} opening;

/* "WHERE: " if the caller said where the folder was named. */
#define AT(where) (where) ? (where) : "", (where) ? ": " : ""

static dram_status no_memory(const char *folder)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while listing the folder", folder);
}

static bool has_ending(const char *name, const char *ending)
{
    const char *dot = strrchr(name, '.');
    return dot && strcasecmp(dot, ending) == 0;
}

static bool is_image_name(const char *name)
{
    return has_ending(name, ".jpg") || has_ending(name, ".jpeg") || has_ending(name, ".png") ||
           has_ending(name, ".webp");
}

static bool is_label_name(const char *name)
{
    return has_ending(name, ".png");
}

/* ---- the folders ---- */

/* Files of a side; the others are counted. */
static dram_status take_files(dram_dataset *d, dram_folder_list *list, bool (*is_one)(const char *),
                              dram_pair_side *side)
{
    side->files = dram_alloc((size_t)list->n * sizeof *side->files);
    if (!side->files) return no_memory(side->folder);
    for (int i = 0; i < list->n; i++) {
        const dram_folder_file *file = &list->files[i];
        if (is_one(file->name))
            side->files[side->n++] = dram_pair_file_of(file->name, file->why);
        else if (d->found.others++ == 0 && !(d->found.other = dram_folder_keep(list, side->folder, file->name)))
            return no_memory(side->folder);
    }
    d->found.folders += list->inside;
    if (!list->folder || d->found.folder) return DRAM_OK;
    d->found.folder = dram_folder_keep(list, side->folder, list->folder);
    return d->found.folder ? DRAM_OK : no_memory(side->folder);
}

/* Moves the labels of the one folder from the images to the labels. */
static dram_status split_folder(opening *o)
{
    dram_pair_side *images = &o->images, *labels = &o->labels;
    int n = 0;
    bool *is_label = dram_calloc((size_t)images->n, sizeof *is_label);
    dram_status status = is_label ? DRAM_OK : no_memory(images->folder);
    if (status == DRAM_OK) status = dram_pairs_split(images, o->params->label_pattern, is_label);
    if (status == DRAM_OK) labels->files = dram_alloc((size_t)images->n * sizeof *labels->files);
    if (status == DRAM_OK && !labels->files) status = no_memory(images->folder);
    for (int i = 0; i < images->n && status == DRAM_OK; i++) {
        if (is_label[i])
            labels->files[labels->n++] = images->files[i];
        else
            images->files[n++] = images->files[i];
    }
    if (status == DRAM_OK) images->n = n;
    dram_free(is_label);
    return status;
}

static dram_status no_image(const opening *o)
{
    const dram_dataset_found *found = &o->d->found;
    char more[700] = "";
    if (o->labels.n)
        snprintf(more, sizeof more, "; its %d PNG files are labels", o->labels.n);
    else if (found->folders && !o->params->recursive)
        snprintf(more, sizeof more, "; the folders inside it (the first: %.500s) are looked into with data.recursive",
                 found->folder);
    else if (found->others)
        snprintf(more, sizeof more, "; %d other files are there (the first: %.500s)", found->others, found->other);
    return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: no image in the folder (files *.jpg, *.jpeg, *.png, *.webp)%s",
                     AT(o->params->images_where), o->params->images, more);
}

static dram_status list_folders(opening *o)
{
    dram_dataset *d = o->d;
    const dram_dataset_params *p = o->params;
    o->one_folder = p->labels && dram_same_place(p->images, p->labels);
    const dram_folder_params images = {.path = p->images,
                                       .what = "images",
                                       .where = p->images_where,
                                       .apart = o->one_folder ? NULL : p->labels,
                                       .recursive = p->recursive};
    const dram_folder_params labels = {
        .path = p->labels, .what = "labels", .where = p->labels_where, .apart = p->images, .recursive = p->recursive};
    TRY(dram_folder_list_read(&images, &d->image_names));
    TRY(take_files(d, &d->image_names, is_image_name, &o->images));
    if (o->one_folder) TRY(split_folder(o));
    if (o->images.n == 0) return no_image(o);
    if (!d->labels || o->one_folder) return DRAM_OK;
    TRY(dram_folder_list_read(&labels, &d->label_names));
    return take_files(d, &d->label_names, is_label_name, &o->labels);
}

/* ---- the list of names ---- */

typedef struct {
    dram_pair_side *images;
    dram_pair_index by_path;
    int *line; /* [images->n] in which an image is named; 0: in none */
    int at;    /* the line that is read; 0: none */
    int taken; /* names found so far */
} name_list;

static int by_name(const void *name, const void *file)
{
    return strcmp(name, ((const dram_pair_file *)file)->name);
}

/* Says which other name was probably meant, or why this one may not be found. */
static dram_status not_found(const name_list *l, const opening *o, const char *name)
{
    const char *last = name, *meant = NULL;
    for (const char *at = name; *at; at++)
        if (*at == '/' || *at == '\\') last = at + 1; /* a list may be of Windows */
    int n = dram_stem(last);
    for (int i = 0; i < l->images->n && !meant; i++) {
        const dram_pair_file *file = &l->images->files[i];
        bool same_stem = file->stem - file->last == n && memcmp(file->name + file->last, last, (size_t)n) == 0;
        if (same_stem || strcmp(file->name + file->last, last) == 0) meant = file->name;
    }
    if (meant)
        return dram_fail(DRAM_ERR_CONFIG, "\"%.300s\" is no image of %s; did you mean %.300s?", name, l->images->folder,
                         meant);
    /* A file whose first line is nothing like an image's name may be no list, and hold what no one is to see. */
    const char *quote = l->taken || is_image_name(name) ? "\"" : "";
    return dram_fail(DRAM_ERR_CONFIG, "%s%.300s%s is no image of %s; a line is the name of one file as it is there%s",
                     quote, *quote ? name : "this", quote, l->images->folder,
                     o->d->found.folders && !o->params->recursive
                         ? ", and folders inside it are looked into with data.recursive"
                         : "");
}

static dram_status take_name(name_list *l, const opening *o, const char *name)
{
    dram_pair_side *images = l->images;
    int count = 1, i;
    const dram_pair_file *exact = bsearch(name, images->files, (size_t)images->n, sizeof *images->files, by_name);
    if (exact) {
        i = (int)(exact - images->files);
    } else {
        int first = dram_pair_index_find(&l->by_path, name, (int)strlen(name), &count);
        if (count == 0) return not_found(l, o, name);
        i = l->by_path.keys[first].file;
        if (count > 1)
            return dram_fail(DRAM_ERR_CONFIG, "\"%.300s\" may be %s or %s; name it with its ending", name,
                             images->files[i].name, images->files[l->by_path.keys[first + 1].file].name);
    }
    if (l->line[i]) return dram_fail(DRAM_ERR_CONFIG, "%s is in line %d already", images->files[i].name, l->line[i]);
    l->line[i] = l->at;
    images->files[i].is_listed = true;
    return DRAM_OK;
}

/* Cuts the text into its lines. */
static dram_status take_lines(name_list *l, const opening *o, char *text, size_t bytes)
{
    char *next = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text; /* a mark of UTF-8 */
    if (memchr(text, '\0', bytes))
        return dram_fail(DRAM_ERR_CONFIG, "it has zero bytes, as a text in UTF-16 has; save it as UTF-8");
    while (*next) {
        char *name = next, *end = next + strcspn(next, "\n");
        next = *end ? end + 1 : end;
        l->at++;
        while (end > name && strchr(" \t\r\n", end[-1])) end--;
        *end = '\0';
        if (!*name || *name == '#') continue;
        if (strncmp(name, "./", 2) == 0) name += 2;
        TRY(take_name(l, o, name));
        l->taken++;
    }
    l->at = 0;
    return l->taken ? DRAM_OK : dram_fail(DRAM_ERR_CONFIG, "it names no image; it has one name a line");
}

/* The whole file, with a zero after it. */
static dram_status read_list(const char *path, char **text, size_t *bytes)
{
    struct stat info;
    const char *why = NULL;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_CONFIG, "the list of names cannot be read: %s", why);
    *text = dram_alloc((size_t)info.st_size + 1);
    ssize_t n = *text ? dram_file_read(fd, *text, (size_t)info.st_size) : 0;
    int reason = errno;
    close(fd);
    if (!*text) return no_memory(path);
    *bytes = n < 0 ? 0 : (size_t)n;
    (*text)[*bytes] = '\0';
    return n < 0 ? dram_fail(DRAM_ERR_IO, "the list of names cannot be read: %s", strerror(reason)) : DRAM_OK;
}

static dram_status in_list(const dram_dataset_params *p, int line, dram_status status)
{
    char where[2048], at[16] = "";
    if (line) snprintf(at, sizeof at, ":%d", line);
    snprintf(where, sizeof where, "%s%s%s%s: ", AT(p->list_where), p->list, at);
    return dram_error_prefix(status, where);
}

/* Which images are of the data set: all, or those that the list names. */
static dram_status choose_images(opening *o)
{
    dram_pair_side *images = &o->images;
    name_list l = {.images = images};
    char *text = NULL;
    size_t bytes = 0;
    dram_status status;
    for (int i = 0; i < images->n; i++) images->files[i].is_listed = !o->params->list;
    if (!o->params->list) return DRAM_OK;
    TRY_GOTO(read_list(o->params->list, &text, &bytes), done);
    TRY_GOTO(dram_pair_index_make(images, true, &l.by_path), done);
    l.line = dram_calloc((size_t)images->n, sizeof *l.line);
    status = l.line ? take_lines(&l, o, text, bytes) : no_memory(images->folder);
    for (int i = 0; i < images->n; i++) o->d->found.unlisted += !images->files[i].is_listed;
done:
    dram_free(l.line);
    dram_free(l.by_path.keys);
    dram_free(text);
    return status == DRAM_OK ? DRAM_OK : in_list(o->params, l.at, status);
}

/* ---- what is there ---- */

static dram_status add_hint(opening *o)
{
    dram_dataset_found *found = &o->d->found;
    dram_str hint = {0};
    if (!found->images_alone || !found->labels_alone) return DRAM_OK;
    dram_status status = dram_pairs_hint(&o->images, &o->labels, o->params->label_pattern, &hint);
    if (status == DRAM_OK && hint.length) {
        found->hint = dram_folder_keep(&o->d->image_names, hint.text, NULL);
        if (!found->hint) status = no_memory(o->params->images);
    }
    dram_str_free(&hint);
    return status;
}

/* Why labels may not be found: words for the end of an error. */
static void explain_missing(const opening *o, dram_str *text)
{
    const dram_dataset_found *found = &o->d->found;
    if (found->hint) dram_str_add(text, "; %s", found->hint);
    if (o->d->label_names.inside && !o->params->recursive)
        dram_str_add(text, "; folders inside it (the first: %s) are looked into with data.recursive",
                     o->d->label_names.folder);
    else if (!o->labels.n && o->d->label_names.n)
        dram_str_add(text, "; labels are PNG files, and there is none, but %s", o->d->label_names.files[0].name);
}

/* The first of them by name, and how many there are. */
static dram_status missing_labels(const opening *o)
{
    enum { LISTED = 8 };
    const dram_dataset_params *p = o->params;
    dram_str names = {0}, why = {0};
    int n = 0, missing = o->d->found.images_alone;
    for (int i = 0; i < o->images.n && n < LISTED; i++) {
        const dram_pair_file *image = &o->images.files[i];
        if (image->is_listed && image->partner < 0) dram_str_add(&names, "%s%s", n++ ? ", " : "", image->name);
    }
    explain_missing(o, &why);
    dram_status status = dram_fail(
        DRAM_ERR_CONFIG,
        "%s%s%s: %d of %d images of %s have no label (%s%s.png) here: %.500s%s%.700s; add the files, or set "
        "data.labels_optional to true%s",
        AT(p->labels_where), p->labels, missing, o->d->found.images + o->d->found.broken, p->images,
        p->label_pattern && strchr(p->label_pattern, ':') ? "STEM with " : "STEM",
        p->label_pattern ? p->label_pattern : "", names.failed ? "" : names.text, missing > n ? ", ..." : "",
        why.length ? why.text : "",
        o->d->found.pairs && !p->list ? ", or name those that have one in a list (data.train.list, data.val.list)"
                                      : "");
    dram_str_free(&names);
    dram_str_free(&why);
    return status;
}

/* A pair one of whose files cannot be read. */
static dram_status add_broken(opening *o, const dram_pair_side *side, const dram_pair_file *file)
{
    dram_dataset_found *found = &o->d->found;
    if (found->broken++) return DRAM_OK;
    found->broken_why = file->why;
    found->broken_is_label = side == &o->labels;
    found->broken_name = dram_folder_keep(&o->d->image_names, side->folder, file->name);
    return found->broken_name ? DRAM_OK : no_memory(side->folder);
}

static dram_status add_images(opening *o)
{
    dram_dataset *d = o->d;
    dram_dataset_found *found = &d->found;
    d->items = dram_alloc((size_t)o->images.n * sizeof *d->items);
    if (!d->items) return no_memory(d->images);
    for (int i = 0; i < o->images.n; i++) {
        const dram_pair_file *image = &o->images.files[i];
        const dram_pair_file *label = image->partner < 0 ? NULL : &o->labels.files[image->partner];
        if (!image->is_listed) continue;
        if (image->why || (label && label->why)) {
            TRY(add_broken(o, image->why ? &o->images : &o->labels, image->why ? image : label));
            continue;
        }
        if (!label && d->labels && found->images_alone++ == 0) found->image_alone = image->name;
        d->items[d->count++] = (item){.name = image->name, .label = label ? label->name : NULL, .has_label = label};
        d->labelled += label != NULL;
    }
    found->images = d->count;
    found->pairs = d->labelled;
    return DRAM_OK;
}

static void count_labels(opening *o)
{
    dram_dataset_found *found = &o->d->found;
    found->labels = o->labels.n;
    for (int i = 0; i < o->labels.n; i++)
        if (o->d->labels && o->labels.files[i].partner < 0 && found->labels_alone++ == 0)
            found->label_alone = o->labels.files[i].name;
}

/* Where no folder of labels is known, images of one stem may be photographs and their labels. */
static dram_status count_twins(opening *o)
{
    dram_pair_index index;
    dram_dataset_found *found = &o->d->found;
    const dram_pair_file *files = o->images.files;
    if (o->params->labels) return DRAM_OK;
    TRY(dram_pair_index_make(&o->images, true, &index));
    for (int k = 1; k < index.n; k++) {
        const dram_pair_key *key = &index.keys[k];
        if (key->length != key[-1].length || memcmp(key->text, key[-1].text, (size_t)key->length) != 0) continue;
        if (found->twins++ == 0) found->twin = files[key->file].name;
    }
    dram_free(index.keys);
    return DRAM_OK;
}

static void find_longest(dram_dataset *d)
{
    for (int i = 0; i < d->count; i++) {
        int n = (int)strlen(d->items[i].name), m = d->items[i].label ? (int)strlen(d->items[i].label) : 0;
        if (n > d->longest) d->longest = n;
        if (m > d->longest) d->longest = m;
    }
}

/* ---- the share of the labels ---- */

static int by_key(const void *a, const void *b)
{
    const item *x = *(const item *const *)a, *y = *(const item *const *)b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Keeps the labels with the smallest keys. */
static dram_status choose_labels(dram_dataset *d, const dram_dataset_params *params)
{
    int keep = (int)(params->label_fraction * d->labelled + 0.5), n = 0;
    if (keep >= d->labelled) return DRAM_OK;
    item **order = dram_alloc((size_t)d->labelled * sizeof *order);
    char *stem = dram_alloc((size_t)d->longest + 1);
    if (!order || !stem) {
        dram_free(order);
        dram_free(stem);
        return no_memory(d->labels);
    }
    for (int i = 0; i < d->count; i++) {
        item *it = &d->items[i];
        if (!it->has_label) continue;
        strcpy(stem, it->name);
        stem[dram_stem(stem)] = '\0';
        dram_rng r = dram_rng_make(params->seed, DRAM_RNG_LABELS, dram_hash_name(stem));
        it->key = dram_rng_u64(&r);
        order[n++] = it;
    }
    qsort(order, (size_t)n, sizeof *order, by_key);
    for (int i = keep; i < n; i++) order[i]->has_label = false;
    d->labelled = keep;
    dram_free(order);
    dram_free(stem);
    return DRAM_OK;
}

/* ---- opening ---- */

static dram_status fill(opening *o)
{
    dram_dataset *d = o->d;
    const dram_dataset_params *p = o->params;
    char broken[600];
    d->images = dram_strdup(p->images);
    d->labels = p->labels && !p->labels_aside ? dram_strdup(p->labels) : NULL;
    if (!d->images || (p->labels && !p->labels_aside && !d->labels)) return no_memory(p->images);
    TRY(list_folders(o));
    TRY(choose_images(o));
    if (d->labels) TRY(dram_pairs_match(&o->images, &o->labels, p->label_pattern, o->one_folder));
    TRY(add_images(o));
    count_labels(o);
    find_longest(d);
    TRY(count_twins(o));
    TRY(add_hint(o));
    if (d->found.images_alone && !p->labels_optional) return missing_labels(o);
    if (d->count == 0)
        return dram_fail(DRAM_ERR_CONFIG, "%s%s%s; and no other image is left",
                         AT(d->found.broken_is_label ? p->labels_where : p->images_where),
                         dram_dataset_broken_text(&d->found, broken, sizeof broken));
    return d->labels ? choose_labels(d, p) : DRAM_OK;
}

dram_status dram_dataset_open(const dram_dataset_params *params, dram_dataset **out)
{
    *out = NULL;
    if (params->labels && !(params->label_fraction >= 0 && params->label_fraction <= 1))
        return dram_fail(DRAM_ERR_CONFIG, "label_fraction is %g; it must be 0 to 1", params->label_fraction);
    dram_dataset *d = dram_calloc(1, sizeof *d);
    if (!d) return no_memory(params->images);
    opening o = {.d = d,
                 .params = params,
                 .images = {.folder = params->images, .where = params->images_where},
                 .labels = {.folder = params->labels, .where = params->labels_where}};
    dram_status status = fill(&o);
    dram_free(o.images.files);
    dram_free(o.labels.files);
    if (status == DRAM_OK)
        *out = d;
    else
        dram_dataset_close(d);
    return status;
}

void dram_dataset_close(dram_dataset *d)
{
    if (!d) return;
    dram_folder_list_free(&d->image_names);
    dram_folder_list_free(&d->label_names);
    dram_free(d->items);
    dram_free(d->labels);
    dram_free(d->images);
    dram_free(d);
}

const dram_dataset_found *dram_dataset_findings(const dram_dataset *d)
{
    return &d->found;
}

const char *dram_dataset_broken_text(const dram_dataset_found *found, char *out, size_t size)
{
    snprintf(out, size, "%s: no %s can be read here: %s", found->broken_name,
             found->broken_is_label ? "label" : "image", found->broken_why);
    return out;
}

bool dram_dataset_is_too_bad(int bad, int images)
{
    return (int64_t)bad * 10 > images;
}

int dram_dataset_count(const dram_dataset *d)
{
    return d->count;
}

int dram_dataset_labelled(const dram_dataset *d)
{
    return d->labelled;
}

const char *dram_dataset_name(const dram_dataset *d, int i)
{
    return d->items[i].name;
}

bool dram_dataset_has_label(const dram_dataset *d, int i)
{
    return d->items[i].has_label;
}

int dram_dataset_path_room(const dram_dataset *d)
{
    size_t folder = strlen(d->images);
    if (d->labels && strlen(d->labels) > folder) folder = strlen(d->labels);
    return (int)folder + 1 + d->longest + 1;
}

const char *dram_dataset_image_path(const dram_dataset *d, int i, char *out, int room)
{
    snprintf(out, (size_t)room, "%s/%s", d->images, d->items[i].name);
    return out;
}

const char *dram_dataset_label_path(const dram_dataset *d, int i, char *out, int room)
{
    snprintf(out, (size_t)room, "%s/%s", d->labels, d->items[i].label);
    return out;
}
