/* Finds images of the same content: count.h. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/folder.h"
#include "check/count.h"

typedef struct {
    dram_hash128 hash;
    int set, image;
} item;

static int by_content(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->hash.high != y->hash.high) return x->hash.high < y->hash.high ? -1 : 1;
    if (x->hash.low != y->hash.low) return x->hash.low < y->hash.low ? -1 : 1;
    return x->set != y->set ? x->set - y->set : x->image - y->image;
}

/* A pair of the same content; the first by the name of `image` is told. */
typedef struct {
    int n;
    const item *image, *other;
} pairs;

static void add_pair(pairs *p, const item *image, const item *other)
{
    p->n++;
    if (p->image && p->image->image <= image->image) return;
    p->image = image;
    p->other = other;
}

typedef struct {
    const dram_surveyed *seen[DRAM_SETS];
    bool one_folder;
} sets;

static const char *name_of(const sets *s, const item *it)
{
    return dram_dataset_name(s->seen[it->set]->dataset, it->image);
}

static bool is_same_file(const sets *s, const item *a, const item *b)
{
    return s->one_folder && strcmp(name_of(s, a), name_of(s, b)) == 0;
}

/* items[0..n) have one content: those of train come first, and then those of val. */
static void count_group(const sets *s, const item *items, int n, pairs within[DRAM_SETS], pairs *between)
{
    int train = 0;
    while (train < n && items[train].set == DRAM_TRAIN) train++;
    for (int i = 1; i < train; i++) add_pair(&within[DRAM_TRAIN], &items[i], &items[0]);
    for (int i = train + 1; i < n; i++) add_pair(&within[DRAM_VAL], &items[i], &items[train]);
    for (int i = train; i < n && train; i++) {
        const item *other = &items[0];
        if (is_same_file(s, &items[i], other)) other = train > 1 ? &items[1] : NULL;
        if (other) add_pair(between, &items[i], other);
    }
}

static int collect(const dram_surveyed *seen, int set, item *to)
{
    int n = 0;
    for (int i = 0; seen->dataset && i < dram_dataset_count(seen->dataset); i++) {
        const dram_facts *f = &seen->facts[DRAM_IMAGES][i];
        if (f->depth && !f->bad) to[n++] = (item){.hash = f->hash, .set = set, .image = i};
    }
    return n;
}

/* Both are sorted by name. */
static void count_shared(const sets *s, dram_check_some *out)
{
    const dram_dataset *train = s->seen[DRAM_TRAIN]->dataset, *val = s->seen[DRAM_VAL]->dataset;
    for (int i = 0, j = 0; i < dram_dataset_count(train) && j < dram_dataset_count(val);) {
        int order = strcmp(dram_dataset_name(train, i), dram_dataset_name(val, j));
        if (order == 0) dram_some_add(out, "%s", dram_dataset_name(val, j));
        i += order <= 0;
        j += order >= 0;
    }
}

static void tell(const sets *s, const pairs *p, const char *where, dram_check_some *out)
{
    if (p->n) dram_some_add(out, "%s is %s%s", name_of(s, p->image), name_of(s, p->other), where);
    out->n = p->n;
}

dram_status dram_count_copies(const dram_surveyed *train, const dram_surveyed *val, dram_check *out)
{
    sets s = {.seen = {train, val}};
    pairs within[DRAM_SETS] = {{0}}, between = {0};
    int most = (train->dataset ? dram_dataset_count(train->dataset) : 0) +
               (val->dataset ? dram_dataset_count(val->dataset) : 0);
    item *items = dram_alloc((size_t)most * sizeof *items);
    if (!items) return dram_fail(DRAM_ERR_MEMORY, "out of host memory to compare the images");
    if (train->dataset && val->dataset)
        s.one_folder = dram_same_place(train->folder[DRAM_IMAGES], val->folder[DRAM_IMAGES]);
    int n = collect(train, DRAM_TRAIN, items);
    n += collect(val, DRAM_VAL, items + n);
    qsort(items, (size_t)n, sizeof *items, by_content);
    for (int i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && memcmp(&items[i].hash, &items[next].hash, sizeof items->hash) == 0;) next++;
        count_group(&s, items + i, next - i, within, &between);
    }
    tell(&s, &within[DRAM_TRAIN], "", &out->train.copies);
    tell(&s, &within[DRAM_VAL], "", &out->val.copies);
    tell(&s, &between, " of data.train", &out->between);
    if (s.one_folder) count_shared(&s, &out->shared);
    dram_free(items);
    return DRAM_OK;
}
