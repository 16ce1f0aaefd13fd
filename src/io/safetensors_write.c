/* The writing half of io/safetensors.h: the header is laid out first, then the data goes out piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/safetensors.h"

enum { CHUNK = 1 << 14 };

/* One tensor of the list with what the header says of it. */
typedef struct {
    const dram_st_out *out;
    int index; /* in the caller's list */
    int64_t elements, bytes, begin;
} entry;

/* Wide types first, else as given. */
static int by_width(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int difference = dram_st_dtype_bytes(y->out->dtype) - dram_st_dtype_bytes(x->out->dtype);
    return difference ? difference : x->index - y->index;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const entry *const *)a)->out->name, (*(const entry *const *)b)->out->name);
}

/* Sizes, order and places. */
static dram_status place(const char *path, const dram_st_out *tensors, int n, entry *entries)
{
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const dram_st_out *t = &tensors[i];
        entries[i] = (entry){.out = t, .index = i, .elements = 1};
        if (t->rank < 0 || t->rank > DRAM_ST_MAX_RANK || dram_st_dtype_bytes(t->dtype) == 0)
            return dram_fail(DRAM_ERR_INTERNAL, "%s: tensor \"%s\" has a rank or dtype that cannot be written", path,
                             t->name);
        for (int k = 0; k < t->rank; k++) {
            if (t->dim[k] < 0 || __builtin_mul_overflow(entries[i].elements, t->dim[k], &entries[i].elements))
                return dram_fail(DRAM_ERR_INTERNAL, "%s: tensor \"%s\" has a shape that cannot be written", path,
                                 t->name);
        }
        if (__builtin_mul_overflow(entries[i].elements, (int64_t)dram_st_dtype_bytes(t->dtype), &entries[i].bytes) ||
            __builtin_add_overflow(at, entries[i].bytes, &at) || at > (int64_t)1 << 49)
            return dram_fail(DRAM_ERR_INTERNAL, "%s: tensor \"%s\" is too large to be written", path, t->name);
        if (!t->data && !t->source && entries[i].elements > 0)
            return dram_fail(DRAM_ERR_INTERNAL, "%s: tensor \"%s\" has no data", path, t->name);
    }
    if (n > 0) qsort(entries, (size_t)n, sizeof *entries, by_width);
    at = 0;
    for (int i = 0; i < n; i++) {
        entries[i].begin = at;
        at += entries[i].bytes;
    }
    return DRAM_OK;
}

static dram_status check_names(const char *path, const entry *entries, int n)
{
    dram_status status = DRAM_OK;
    const entry **sorted = dram_alloc((size_t)n * sizeof *sorted);
    if (!sorted) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its header", path);
    for (int i = 0; i < n; i++) sorted[i] = &entries[i];
    if (n > 0) qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        const char *name = sorted[i]->out->name;
        if (strcmp(name, "__metadata__") == 0 || (i > 0 && strcmp(sorted[i - 1]->out->name, name) == 0))
            status = dram_fail(DRAM_ERR_INTERNAL, "%s: the name \"%s\" is used twice or not allowed", path, name);
    }
    dram_free(sorted);
    return status;
}

/* False when memory is out. An item that could not be put into its parent is freed. */
static bool add_to_object(cJSON *object, const char *name, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, name, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool add_number(cJSON *array, int64_t value)
{
    cJSON *item = cJSON_CreateNumber((double)value);
    if (item && cJSON_AddItemToArray(array, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool add_tensor(cJSON *root, const entry *e)
{
    cJSON *object = cJSON_AddObjectToObject(root, e->out->name);
    if (!object || !cJSON_AddStringToObject(object, "dtype", dram_st_dtype_name(e->out->dtype))) return false;
    cJSON *shape = cJSON_AddArrayToObject(object, "shape");
    for (int k = 0; shape && k < e->out->rank; k++)
        if (!add_number(shape, e->out->dim[k])) return false;
    cJSON *offsets = cJSON_AddArrayToObject(object, "data_offsets");
    return shape && offsets && add_number(offsets, e->begin) && add_number(offsets, e->begin + e->bytes);
}

static bool add_metadata(cJSON *root, const dram_st_pair *pairs, int n_pairs)
{
    cJSON *metadata = cJSON_CreateObject();
    if (!add_to_object(root, "__metadata__", metadata)) return false;
    if (!cJSON_AddStringToObject(metadata, "format", "pt")) return false;
    for (int i = 0; i < n_pairs; i++)
        if (!cJSON_AddStringToObject(metadata, pairs[i].key, pairs[i].value)) return false;
    return true;
}

/* The JSON text, NULL when memory is out; cJSON_free. */
static char *header_text(const entry *entries, int n, const dram_st_pair *pairs, int n_pairs)
{
    char *text = NULL;
    cJSON *root = cJSON_CreateObject();
    bool good = root && add_metadata(root, pairs, n_pairs);
    for (int i = 0; good && i < n; i++) good = add_tensor(root, &entries[i]);
    if (good) text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static uint64_t padding_of(uint64_t length)
{
    return (8 - length % 8) % 8;
}

static dram_status write_header(dram_atomic *file, const char *text)
{
    static const char spaces[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
    uint64_t length = strlen(text), padding = padding_of(length), whole = length + padding;
    TRY(dram_atomic_write(file, &whole, 8)); /* little-endian: see the assertion in safetensors.c */
    TRY(dram_atomic_write(file, text, length));
    return dram_atomic_write(file, spaces, padding);
}

typedef union {
    float f[CHUNK];
    int64_t i[CHUNK];
} chunk;

/* The first finite number that fp16 has none for ends the writing: as infinity it would pass for a weight. */
static dram_status to_fp16(const char *path, const char *name, const float *x, int64_t n, uint16_t *half)
{
    int64_t at = dram_floats_to_f16(x, n, half);
    if (at < n)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: %s has the number %g, which is too large for fp16; bf16 and fp32 hold it", path, name,
                         (double)x[at]);
    return DRAM_OK;
}

static dram_status write_data(const char *path, dram_atomic *file, const entry *e, chunk *in, uint16_t *half)
{
    const dram_st_out *t = e->out;
    bool narrow = !t->raw && (t->dtype == DRAM_ST_F16 || t->dtype == DRAM_ST_BF16);
    int64_t stored = dram_st_dtype_bytes(t->dtype);
    int64_t given = narrow ? 4 : stored; /* bytes of an element as the caller has it */
    for (int64_t offset = 0; offset < e->elements; offset += CHUNK) {
        int64_t n = e->elements - offset < CHUNK ? e->elements - offset : CHUNK;
        const void *from = in;
        if (t->data)
            from = (const char *)t->data + offset * given;
        else
            TRY(t->source(t->context, offset, n, in));
        const float *x = from;
        if (narrow && t->dtype == DRAM_ST_F16)
            TRY(to_fp16(path, t->name, x, n, half));
        else if (narrow)
            for (int64_t i = 0; i < n; i++) half[i] = dram_f32_to_bf16(x[i]);
        TRY(dram_atomic_write(file, narrow ? half : from, (size_t)(n * stored)));
    }
    return DRAM_OK;
}

dram_status dram_st_write(const char *path, const dram_st_out *tensors, int n, const dram_st_pair *pairs, int n_pairs)
{
    dram_status status;
    dram_atomic file = {0};
    char *text = NULL;
    entry *entries = dram_alloc((size_t)n * sizeof *entries);
    chunk *in = dram_alloc(sizeof *in);
    uint16_t *half = dram_alloc(CHUNK * sizeof *half);
    if (!entries || !in || !half) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for writing it", path);
        goto done;
    }
    TRY_GOTO(place(path, tensors, n, entries), done);
    TRY_GOTO(check_names(path, entries, n), done);
    text = header_text(entries, n, pairs, n_pairs);
    if (!text) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its header", path);
        goto done;
    }
    TRY_GOTO(dram_atomic_open(&file, path), done);
    TRY_GOTO(write_header(&file, text), done);
    for (int i = 0; i < n; i++) TRY_GOTO(write_data(path, &file, &entries[i], in, half), done);
    status = dram_atomic_commit(&file);
done:
    dram_atomic_abort(&file);
    cJSON_free(text);
    dram_free(half);
    dram_free(in);
    dram_free(entries);
    return status;
}

dram_status dram_st_size(const char *path, const dram_st_out *tensors, int n, int64_t *bytes)
{
    dram_status status;
    char *text = NULL;
    entry *entries = dram_alloc((size_t)n * sizeof *entries);
    if (!entries) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its size", path);
    TRY_GOTO(place(path, tensors, n, entries), done);
    text = header_text(entries, n, NULL, 0);
    if (!text) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its header", path);
        goto done;
    }
    uint64_t length = strlen(text);
    *bytes = (int64_t)(8 + length + padding_of(length));
    for (int i = 0; i < n; i++) *bytes += entries[i].bytes;
done:
    cJSON_free(text);
    dram_free(entries);
    return status;
}
