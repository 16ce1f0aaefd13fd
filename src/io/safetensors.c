#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/json.h"
#include "io/tensor_table.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian and so is this reader");

static const struct {
    const char *name;
    int bits;
    dram_st_dtype dtype;
} dtypes[] = {{"F32", 32, DRAM_ST_F32},      {"F16", 16, DRAM_ST_F16},      {"BF16", 16, DRAM_ST_BF16},
              {"I64", 64, DRAM_ST_I64},      {"BOOL", 8, DRAM_ST_OTHER},    {"U8", 8, DRAM_ST_OTHER},
              {"I8", 8, DRAM_ST_OTHER},      {"I16", 16, DRAM_ST_OTHER},    {"U16", 16, DRAM_ST_OTHER},
              {"I32", 32, DRAM_ST_OTHER},    {"U32", 32, DRAM_ST_OTHER},    {"U64", 64, DRAM_ST_OTHER},
              {"F64", 64, DRAM_ST_OTHER},    {"C64", 64, DRAM_ST_OTHER},    {"F8_E5M2", 8, DRAM_ST_OTHER},
              {"F8_E4M3", 8, DRAM_ST_OTHER}, {"F8_E8M0", 8, DRAM_ST_OTHER}, {"F6_E2M3", 6, DRAM_ST_OTHER},
              {"F6_E3M2", 6, DRAM_ST_OTHER}, {"F4", 4, DRAM_ST_OTHER}};

enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

/* A number of the header as a count: an integer from 0 to 2^53. */
static bool as_count(const cJSON *item, int64_t *value)
{
    if (!cJSON_IsNumber(item)) return false;
    double x = item->valuedouble;
    if (!(x >= 0 && x <= 0x1p53) || x != floor(x)) return false;
    *value = (int64_t)x;
    return true;
}

/* Checks and takes dtype and shape; *bits is the tensor's size. */
static dram_status parse_layout(const char *path, const cJSON *dtype, const cJSON *shape, dram_st_tensor *t,
                                int64_t *bits)
{
    const cJSON *dim;
    int k = 0;
    while (k < DTYPES && strcmp(dtypes[k].name, dtype->valuestring) != 0) k++;
    if (k == DTYPES)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has the unknown dtype \"%.32s\"", path, t->name,
                         dtype->valuestring);
    t->dtype = dtypes[k].dtype;
    t->dtype_name = dtypes[k].name;
    t->elements = 1;
    bool empty = false;
    cJSON_ArrayForEach(dim, shape)
    {
        int64_t d;
        if (t->rank == DRAM_ST_MAX_RANK)
            return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has more than %d dimensions", path, t->name,
                             DRAM_ST_MAX_RANK);
        if (!as_count(dim, &d))
            return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\": dimension %d is not a count", path, t->name, t->rank);
        t->dim[t->rank++] = d;
        empty = empty || d == 0;
        if (!empty && __builtin_mul_overflow(t->elements, d, &t->elements))
            return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has too many elements", path, t->name);
    }
    if (empty) t->elements = 0;
    t->run = t->elements;
    if (__builtin_mul_overflow(t->elements, dtypes[k].bits, bits))
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has too many elements", path, t->name);
    if (*bits % 8 != 0)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" does not fill its last byte", path, t->name);
    return DRAM_OK;
}

/* One member of the header object: its name is copied, the rest checked by itself. */
static dram_status parse_tensor(const char *path, const cJSON *item, int64_t data_bytes, dram_st_tensor *t)
{
    const cJSON *child, *field[3] = {0};
    static const char *const key[3] = {"dtype", "shape", "data_offsets"};
    int64_t bits = 0, end = 0;
    TRY(dram_table_name(path, item->string, strlen(item->string), &t->name));
    if (!cJSON_IsObject(item)) return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" is not an object", path, t->name);
    cJSON_ArrayForEach(child, item)
    {
        for (int k = 0; k < 3; k++) {
            if (strcmp(child->string, key[k]) != 0) continue;
            if (field[k]) return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has two %s", path, t->name, key[k]);
            field[k] = child;
        }
    }
    if (!cJSON_IsString(field[0]) || !cJSON_IsArray(field[1]) || !cJSON_IsArray(field[2]))
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" lacks a proper dtype, shape or data_offsets", path,
                         t->name);
    TRY(parse_layout(path, field[0], field[1], t, &bits));
    if (cJSON_GetArraySize(field[2]) != 2 || !as_count(cJSON_GetArrayItem(field[2], 0), &t->begin) ||
        !as_count(cJSON_GetArrayItem(field[2], 1), &end) || end < t->begin)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\": data_offsets are not [begin, end]", path, t->name);
    t->bytes = end - t->begin;
    if (t->bytes != bits / 8)
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has %" PRId64 " bytes, its shape and dtype need %" PRId64,
                         path, t->name, t->bytes, bits / 8);
    if (end > data_bytes)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: truncated or out of range: tensor \"%s\" ends at byte %" PRId64
                         " of the data, the file holds %" PRId64,
                         path, t->name, end, data_bytes);
    return DRAM_OK;
}

/* Empty tensors before the one that starts where they lie. */
static int by_place(const void *a, const void *b)
{
    const dram_st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The tensors must cover the data once, and no two share a name. Leaves them sorted by name. */
static dram_status check_places(dram_st *st, int64_t data_bytes)
{
    int64_t at = 0;
    if (st->count > 0) qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_place);
    for (int i = 0; i < st->count; i++) {
        const dram_st_tensor *t = &st->tensors[i];
        if (t->begin < at)
            return dram_fail(DRAM_ERR_FORMAT, "%s: tensors \"%s\" and \"%s\" overlap", st->path,
                             st->tensors[i - 1].name, t->name);
        if (t->begin > at)
            return dram_fail(DRAM_ERR_FORMAT, "%s: %" PRId64 " bytes before tensor \"%s\" belong to no tensor",
                             st->path, t->begin - at, t->name);
        at = t->begin + t->bytes;
    }
    if (at != data_bytes)
        return dram_fail(DRAM_ERR_FORMAT, "%s: the last %" PRId64 " bytes belong to no tensor", st->path,
                         data_bytes - at);
    return dram_table_sort(st);
}

static dram_status parse_header(dram_st *st, cJSON *root, int64_t data_bytes)
{
    cJSON *item, *text, *next;
    int n = cJSON_GetArraySize(root);
    st->tensors = dram_calloc((size_t)n, sizeof *st->tensors);
    if (!st->tensors) return dram_table_no_memory(st->path);
    for (item = root->child; item; item = next) {
        next = item->next;
        if (strcmp(item->string, "__metadata__") != 0) {
            TRY(parse_tensor(st->path, item, data_bytes, &st->tensors[st->count++]));
            continue;
        }
        bool good = cJSON_IsObject(item) && !st->metadata;
        cJSON_ArrayForEach(text, item) good = good && cJSON_IsString(text);
        if (!good) return dram_fail(DRAM_ERR_FORMAT, "%s: __metadata__ is not one object of texts", st->path);
        st->metadata = cJSON_DetachItemViaPointer(root, item);
    }
    return check_places(st, data_bytes);
}

/* The header as a tree. Spaces may follow the object, nothing else. */
static dram_status read_header(dram_st *st, int64_t bytes, cJSON **root)
{
    dram_status status;
    char *text = dram_alloc((size_t)bytes + 1);
    if (!text) return dram_table_no_memory(st->path);
    TRY_GOTO(dram_table_read_at(st, text, bytes, 8), done);
    text[bytes] = '\0';
    if (strstr(text, "\\u0000")) {
        status = dram_fail(DRAM_ERR_FORMAT, "%s: its header holds a name or text with a zero character", st->path);
        goto done;
    }
    status = dram_json_parse(text, (size_t)bytes, root, NULL);
    if (status == DRAM_ERR_MEMORY) dram_table_no_memory(st->path);
    if (status == DRAM_ERR_FORMAT || (status == DRAM_OK && (text[0] != '{' || !cJSON_IsObject(*root))))
        status = dram_fail(DRAM_ERR_FORMAT, "%s: not a safetensors file: its header is not a JSON object", st->path);
done:
    dram_free(text);
    return status;
}

dram_status dram_table_read_safetensors(dram_st *st)
{
    dram_status status;
    uint64_t length;
    cJSON *root = NULL;
    if (st->bytes < 8)
        return dram_fail(DRAM_ERR_FORMAT, "%s: truncated: %" PRId64 " bytes are no safetensors file", st->path,
                         st->bytes);
    TRY(dram_table_read_at(st, &length, 8, 0));
    if (length > DRAM_ST_MAX_HEADER)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: header too large: %" PRIu64 " bytes, %d are allowed (is it a safetensors file?)",
                         st->path, length, DRAM_ST_MAX_HEADER);
    if ((int64_t)length > st->bytes - 8)
        return dram_fail(DRAM_ERR_FORMAT, "%s: truncated: a header of %" PRIu64 " bytes in a file of %" PRId64,
                         st->path, length, st->bytes);
    TRY_GOTO(read_header(st, (int64_t)length, &root), done);
    st->data_start = 8 + (int64_t)length;
    status = parse_header(st, root, st->bytes - st->data_start);
done:
    cJSON_Delete(root);
    return status;
}
