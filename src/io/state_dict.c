#include "io/state_dict.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "io/pickle.h"

enum { SHOWN = DRAM_PICKLE_SHOWN, MAX_TENSORS = 1 << 16 };

static const struct {
    dram_st_dtype dtype;
    const char *name;
    int bytes;
} storage_types[] = {
#define X(NAME, DTYPE, TEXT, BYTES) {DTYPE, TEXT, BYTES},
    DRAM_PICKLE_STORAGES(X)
#undef X
};

static const dram_pickle_entry *entry_at(const dram_pickle *m, int i)
{
    return (const dram_pickle_entry *)m->entries.at + i;
}

static bool has_tensors(const dram_pickle *m, int64_t dict)
{
    for (int i = 0; i < m->entries.n; i++)
        if (entry_at(m, i)->dict == dict && entry_at(m, i)->value.kind == DRAM_PICKLE_TENSOR) return true;
    return false;
}

static const char *entry_names(const dram_pickle *m, int64_t dict, char *out, size_t size)
{
    enum { LISTED = 6 };
    char name[SHOWN];
    int n = 0;
    size_t length = 0;
    snprintf(out, size, "nothing");
    for (int i = 0; i < m->entries.n && n <= LISTED; i++) {
        if (entry_at(m, i)->dict != dict) continue;
        const char *text = n < LISTED ? dram_pickle_show(m, entry_at(m, i)->key, name) : "...";
        length += (size_t)snprintf(out + length, size - length, "%s%s", n++ ? ", " : "", text);
    }
    return out;
}

static dram_status no_state_dict(const dram_pickle *m, dram_pickle_value root)
{
    static const char way_out[] = "in Python, torch.save(model.state_dict(), \"weights.pth\") writes what dram reads";
    char name[SHOWN], names[8 * SHOWN];
    if (root.kind == DRAM_PICKLE_OBJECT)
        return dram_fail(DRAM_ERR_FORMAT, "%s: it holds an object of %s, and no dict of tensors: %s", m->path,
                         dram_pickle_show(m, root, name), way_out);
    if (root.kind == DRAM_PICKLE_DICT)
        return dram_fail(DRAM_ERR_FORMAT, "%s: it holds no dict of tensors, but %s: %s", m->path,
                         entry_names(m, root.at, names, sizeof names), way_out);
    return dram_fail(DRAM_ERR_FORMAT, "%s: it holds no dict of tensors: %s", m->path, way_out);
}

static const char *const wrappers[] = {"model", "state_dict", "teacher", "ema"};
enum { WRAPPERS = sizeof wrappers / sizeof wrappers[0], LAYERS = 3 };

/* The entry of a dict under this name, if it is of this kind; else NULL. */
static const dram_pickle_entry *find_entry(const dram_pickle *m, int64_t dict, const char *name, dram_pickle_kind kind)
{
    for (int i = 0; i < m->entries.n; i++) {
        const dram_pickle_entry *e = entry_at(m, i);
        if (e->dict == dict && e->value.kind == kind && dram_pickle_is(m, e->key, name)) return e;
    }
    return NULL;
}

/* A dict of tensors, and the wrappers on the way: the one that was taken, and the next that holds tensors too. */
typedef struct {
    int64_t dict;
    const char *taken, *beside; /* NULL: there was no choice */
} choice;

/* A wrapped dict wins over tensors beside it: a checkpoint may have the state of a generator there. */
static bool find_tensors(const dram_pickle *m, int64_t dict, int layers, choice *found)
{
    bool any = false;
    for (int k = 0; k < WRAPPERS && layers > 1; k++) {
        choice inner_choice = {0};
        const dram_pickle_entry *inner = find_entry(m, dict, wrappers[k], DRAM_PICKLE_DICT);
        if (!inner || !find_tensors(m, inner->value.at, layers - 1, &inner_choice)) continue;
        if (any) {
            found->beside = wrappers[k];
            return true;
        }
        any = true;
        *found = inner_choice;
        if (found->beside) return true;
        found->taken = wrappers[k];
    }
    if (any) return true;
    *found = (choice){.dict = dict};
    return has_tensors(m, dict);
}

static dram_status find_state_dict(const dram_pickle *m, choice *found)
{
    if (m->root.kind != DRAM_PICKLE_DICT) return no_state_dict(m, m->root);
    if (find_tensors(m, m->root.at, LAYERS, found)) return DRAM_OK;
    for (int k = 0; k < WRAPPERS; k++) {
        const dram_pickle_entry *inner = find_entry(m, m->root.at, wrappers[k], DRAM_PICKLE_OBJECT);
        if (inner) return no_state_dict(m, inner->value);
    }
    return no_state_dict(m, m->root);
}

static dram_status describe(const dram_pickle *m, const dram_pickle_entry *from, dram_state_tensor *out)
{
    char name[SHOWN];
    const dram_pickle_tensor *t = (const dram_pickle_tensor *)m->tensors.at + from->value.at;
    const dram_pickle_storage *s = (const dram_pickle_storage *)m->storages.at + t->storage;
    if (s->type < 0)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has a type of numbers that dram does not know", m->path,
                         dram_pickle_show(m, from->key, name));
    if (t->dim.length > DRAM_ST_MAX_RANK)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has more than %d dimensions", m->path,
                         dram_pickle_show(m, from->key, name), DRAM_ST_MAX_RANK);
    *out = (dram_state_tensor){.name = (const char *)m->bytes + from->key.at,
                               .name_length = from->key.length,
                               .key = (const char *)m->bytes + s->key.at,
                               .key_length = s->key.length,
                               .dtype = storage_types[s->type].dtype,
                               .dtype_name = storage_types[s->type].name,
                               .item_bytes = storage_types[s->type].bytes,
                               .storage_items = s->items,
                               .offset = t->offset,
                               .rank = t->dim.length};
    for (int i = 0; i < out->rank; i++) {
        out->dim[i] = dram_pickle_item(m, t->dim, i)->at;
        out->stride[i] = dram_pickle_item(m, t->stride, i)->at;
    }
    return DRAM_OK;
}

/* A tensor that torch makes in another way (quantised, sparse, a class of its own) would be missing without a word. */
static dram_status check_object(const dram_pickle *m, const dram_pickle_entry *e)
{
    static const char torch[] = "torch._";
    enum { LENGTH = sizeof torch - 1 };
    char name[SHOWN], class[SHOWN];
    if (e->value.kind != DRAM_PICKLE_OBJECT || e->value.length < LENGTH ||
        memcmp(m->bytes + e->value.at, torch, LENGTH) != 0)
        return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" is made by %s, which dram does not read", m->path,
                     dram_pickle_show(m, e->key, name), dram_pickle_show(m, e->value, class));
}

static dram_status collect(const dram_pickle *m, int64_t dict, dram_state_dict *out)
{
    int n = 0;
    for (int i = 0; i < m->entries.n; i++)
        n += entry_at(m, i)->dict == dict && entry_at(m, i)->value.kind == DRAM_PICKLE_TENSOR;
    if (n > MAX_TENSORS)
        return dram_fail(DRAM_ERR_FORMAT, "%s: it holds %d tensors, %d are allowed", m->path, n, MAX_TENSORS);
    out->tensors = dram_calloc((size_t)n, sizeof *out->tensors);
    if (!out->tensors) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its data.pkl", m->path);
    for (int i = 0; i < m->entries.n; i++) {
        const dram_pickle_entry *e = entry_at(m, i);
        if (e->dict != dict) continue;
        TRY(check_object(m, e));
        if (e->value.kind == DRAM_PICKLE_TENSOR) TRY(describe(m, e, &out->tensors[out->count++]));
    }
    return DRAM_OK;
}

dram_status dram_state_dict_read(const char *path, const unsigned char *bytes, int64_t size, dram_state_dict *out)
{
    dram_status status;
    dram_pickle pickle = {.path = path, .bytes = bytes, .size = size};
    choice found = {0};
    *out = (dram_state_dict){0};
    TRY_GOTO(dram_pickle_run(&pickle), done);
    TRY_GOTO(find_state_dict(&pickle, &found), done);
    if (found.beside) {
        out->taken = found.taken;
        out->beside = found.beside;
    }
    status = collect(&pickle, found.dict, out);
done:
    dram_pickle_free(&pickle);
    if (status != DRAM_OK) {
        dram_free(out->tensors);
        *out = (dram_state_dict){0};
    }
    return status;
}
