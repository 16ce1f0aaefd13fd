#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"

typedef struct {
    const char *name; /* in the text block */
    uint64_t key;     /* for the choice of labels */
    bool has_label;
} item;

struct dram_dataset {
    char *images, *labels; /* folders; labels may be NULL */
    char *text;            /* all names, zero-terminated */
    int text_length, text_room;
    item *items;
    int count, labelled;
    int longest; /* name */
    dram_dataset_found found;
};

static dram_status no_memory(const char *folder)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while listing the folder", folder);
}

/* "WHERE: " if the caller said where the folder was named. */
#define AT(where) (where) ? (where) : "", (where) ? ": " : ""

static bool is_image_name(const char *name)
{
    static const char *const known[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof known / sizeof known[0]; i++)
        if (strcasecmp(dot, known[i]) == 0) return true;
    return false;
}

/* NULL, or why this entry, which is no folder, is no file to read. */
static const char *look_at(DIR *folder, const struct dirent *entry, bool *is_file)
{
    struct stat info;
    *is_file = entry->d_type == DT_REG;
    if (entry->d_type == DT_REG || entry->d_type == DT_DIR) return NULL;
    const char *why = dram_file_look(dirfd(folder), entry->d_name, &info, is_file);
    if (!*is_file || S_ISREG(info.st_mode)) return why;
    *is_file = false;
    return S_ISDIR(info.st_mode) ? NULL : dram_file_kind(&info);
}

static bool add_name(dram_dataset *d, const char *name)
{
    int n = (int)strlen(name) + 1;
    if (!DRAM_GROW(d->text, d->text_room, d->text_length + n)) return false;
    memcpy(d->text + d->text_length, name, (size_t)n);
    d->text_length += n;
    if (n - 1 > d->longest) d->longest = n - 1;
    d->count++;
    return true;
}

static dram_status list_images(dram_dataset *d, const dram_dataset_params *params)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    int others = 0;
    char other[256] = "";
    DIR *folder = opendir(d->images);
    if (!folder)
        return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: cannot open the folder of images: %s", AT(params->images_where),
                         d->images, strerror(errno));
    while (status == DRAM_OK && (entry = dram_folder_next(folder))) {
        bool is_image = is_image_name(entry->d_name), is_file;
        if (entry->d_name[0] == '.') continue;
        const char *why = look_at(folder, entry, &is_file);
        if (why && is_image)
            status = dram_fail(DRAM_ERR_CONFIG, "%s%s%s/%s: no image can be read here: %s", AT(params->images_where),
                               d->images, entry->d_name, why);
        else if (is_file && is_image && !add_name(d, entry->d_name))
            status = no_memory(d->images);
        else if ((is_file || why) && !is_image && others++ == 0)
            snprintf(other, sizeof other, "%s", entry->d_name);
    }
    if (status == DRAM_OK && errno != 0)
        status = dram_fail(DRAM_ERR_IO, "%s%s%s: cannot list the folder of images to its end: %s",
                           AT(params->images_where), d->images, strerror(errno));
    closedir(folder);
    TRY(status);
    if (d->count == 0)
        return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: no image in the folder (files *.jpg, *.jpeg, *.png, *.webp)",
                         AT(params->images_where), d->images);
    d->found.others = others;
    if (others)
        dram_warn("%s: %d file%s left aside, not *.jpg, *.jpeg, *.png or *.webp (the first: %s)", d->images, others,
                  others == 1 ? "" : "s", other);
    return DRAM_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static dram_status sort_items(dram_dataset *d)
{
    d->items = dram_calloc((size_t)d->count, sizeof *d->items);
    if (!d->items) return no_memory(d->images);
    const char *name = d->text;
    for (int i = 0; i < d->count; i++, name += strlen(name) + 1) d->items[i].name = name;
    qsort(d->items, (size_t)d->count, sizeof *d->items, by_name);
    return DRAM_OK;
}

/* The first of them by name, and how many there are. */
static dram_status missing_labels(const dram_dataset *d, const dram_dataset_params *params, int missing)
{
    enum { LISTED = 8 };
    dram_str names = {0};
    int n = 0;
    for (int i = 0; i < d->count && n < LISTED; i++)
        if (!d->items[i].has_label) dram_str_add(&names, "%s%s", n++ ? ", " : "", d->items[i].name);
    dram_status status =
        dram_fail(DRAM_ERR_CONFIG,
                  "%s%s%s: %d of %d images of %s have no label (STEM.png) here: %.900s%s; add the files, or set "
                  "data.labels_optional to true",
                  AT(params->labels_where), d->labels, missing, d->count, d->images, names.failed ? "" : names.text,
                  missing > n ? ", ..." : "");
    dram_str_free(&names);
    return status;
}

/* Only where nothing has the name is there no label: whatever else stands in the way of one is an error. */
static dram_status find_label(const char *path, const dram_dataset_params *params, bool *there)
{
    struct stat info;
    const char *why = dram_file_look(-1, path, &info, there);
    if (*there && !S_ISREG(info.st_mode)) why = dram_file_kind(&info);
    if (!why) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: no label can be read here: %s", AT(params->labels_where), path, why);
}

static dram_status find_labels(dram_dataset *d, const dram_dataset_params *params)
{
    dram_status status = DRAM_OK;
    int missing = 0, room = dram_dataset_path_room(d);
    DIR *folder = opendir(d->labels);
    if (!folder)
        return dram_fail(DRAM_ERR_CONFIG, "%s%s%s: cannot open the folder of labels: %s", AT(params->labels_where),
                         d->labels, strerror(errno));
    closedir(folder);
    char *path = dram_alloc((size_t)room);
    if (!path) return no_memory(d->labels);
    for (int i = 0; i < d->count; i++) {
        TRY_GOTO(find_label(dram_dataset_label_path(d, i, path, room), params, &d->items[i].has_label), done);
        d->labelled += d->items[i].has_label;
        missing += !d->items[i].has_label;
    }
    d->found.labels = d->found.pairs = d->labelled;
    d->found.images_alone = missing;
    if (missing && !params->labels_optional) status = missing_labels(d, params, missing);
done:
    dram_free(path);
    return status;
}

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

dram_status dram_dataset_open(const dram_dataset_params *params, dram_dataset **out)
{
    dram_status status;
    *out = NULL;
    if (params->labels && !(params->label_fraction >= 0 && params->label_fraction <= 1))
        return dram_fail(DRAM_ERR_CONFIG, "label_fraction is %g; it must be 0 to 1", params->label_fraction);
    dram_dataset *d = dram_calloc(1, sizeof *d);
    if (!d) return no_memory(params->images);
    d->images = dram_strdup(params->images);
    d->labels = params->labels && !params->labels_aside ? dram_strdup(params->labels) : NULL;
    if (!d->images || (params->labels && !params->labels_aside && !d->labels)) {
        status = no_memory(params->images);
        goto failed;
    }
    TRY_GOTO(list_images(d, params), failed);
    TRY_GOTO(sort_items(d), failed);
    if (d->labels) {
        TRY_GOTO(find_labels(d, params), failed);
        TRY_GOTO(choose_labels(d, params), failed);
    }
    d->found.images = d->count;
    *out = d;
    return DRAM_OK;
failed:
    dram_dataset_close(d);
    return status;
}

void dram_dataset_close(dram_dataset *d)
{
    if (!d) return;
    dram_free(d->items);
    dram_free(d->text);
    dram_free(d->labels);
    dram_free(d->images);
    dram_free(d);
}

const dram_dataset_found *dram_dataset_findings(const dram_dataset *d)
{
    return &d->found;
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
    return (int)folder + 1 + d->longest + (int)sizeof ".png";
}

const char *dram_dataset_image_path(const dram_dataset *d, int i, char *out, int room)
{
    snprintf(out, (size_t)room, "%s/%s", d->images, d->items[i].name);
    return out;
}

const char *dram_dataset_label_path(const dram_dataset *d, int i, char *out, int room)
{
    const char *name = d->items[i].name;
    snprintf(out, (size_t)room, "%s/%.*s.png", d->labels, dram_stem(name), name);
    return out;
}
