#include "io/safetensors.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/half.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian and so is this reader");

enum { MAX_HEADER = 100 * 1000 * 1000, CHUNK = 1 << 14 };

struct dram_st {
    char *path;
    int fd;
    int64_t data_start; /* of the data section in the file */
    int count;
    dram_st_tensor *tensors; /* sorted by name; names are owned */
    cJSON *metadata;         /* object, or NULL */
};

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

const char *dram_st_dtype_name(dram_st_dtype dtype)
{
    return dtype == DRAM_ST_OTHER ? "another type" : dtypes[dtype].name;
}

int dram_st_dtype_bytes(dram_st_dtype dtype)
{
    return dtype == DRAM_ST_OTHER ? 0 : dtypes[dtype].bits / 8;
}

static dram_status out_of_memory(const char *path)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its header", path);
}

/* Reads exactly `bytes` at `offset`. */
static dram_status read_at(int fd, const char *path, void *dst, int64_t bytes, int64_t offset)
{
    char *p = dst;
    while (bytes > 0) {
        ssize_t n = pread(fd, p, (size_t)bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path);
        if (n == 0) return dram_fail(DRAM_ERR_FORMAT, "%s: truncated at byte %" PRId64, path, offset);
        p += n;
        bytes -= n;
        offset += n;
    }
    return DRAM_OK;
}

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
    snprintf(t->dtype_name, sizeof t->dtype_name, "%s", dtypes[k].name);
    t->elements = 1;
    bool empty = false;
    cJSON_ArrayForEach(dim, shape) {
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
    int64_t bits, end;
    for (const char *p = item->string; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return dram_fail(DRAM_ERR_FORMAT, "%s: a tensor's name holds a control character", path);
    }
    t->name = dram_strdup(item->string);
    if (!t->name) return out_of_memory(path);
    if (!cJSON_IsObject(item)) return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" is not an object", path, t->name);
    cJSON_ArrayForEach(child, item) {
        for (int k = 0; k < 3; k++) {
            if (strcmp(child->string, key[k]) != 0) continue;
            if (field[k]) return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" has two %s", path, t->name, key[k]);
            field[k] = child;
        }
    }
    if (!cJSON_IsString(field[0]) || !cJSON_IsArray(field[1]) || !cJSON_IsArray(field[2]))
        return dram_fail(DRAM_ERR_FORMAT, "%s: tensor \"%s\" lacks a proper dtype, shape or data_offsets", path, t->name);
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

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dram_st_tensor *)a)->name, ((const dram_st_tensor *)b)->name);
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
            return dram_fail(DRAM_ERR_FORMAT, "%s: tensors \"%s\" and \"%s\" overlap", st->path, st->tensors[i - 1].name,
                             t->name);
        if (t->begin > at)
            return dram_fail(DRAM_ERR_FORMAT, "%s: %" PRId64 " bytes before tensor \"%s\" belong to no tensor", st->path,
                             t->begin - at, t->name);
        at = t->begin + t->bytes;
    }
    if (at != data_bytes)
        return dram_fail(DRAM_ERR_FORMAT, "%s: the last %" PRId64 " bytes belong to no tensor", st->path,
                         data_bytes - at);
    if (st->count > 0) qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_name);
    for (int i = 1; i < st->count; i++) {
        if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0)
            return dram_fail(DRAM_ERR_FORMAT, "%s: two tensors are named \"%s\"", st->path, st->tensors[i].name);
    }
    return DRAM_OK;
}

static dram_status parse_header(dram_st *st, cJSON *root, int64_t data_bytes)
{
    cJSON *item, *text, *next;
    int n = cJSON_GetArraySize(root);
    st->tensors = dram_calloc((size_t)n, sizeof *st->tensors);
    if (!st->tensors) return out_of_memory(st->path);
    for (item = root->child; item; item = next) {
        next = item->next;
        if (strcmp(item->string, "__metadata__") != 0) {
            TRY(parse_tensor(st->path, item, data_bytes, &st->tensors[st->count++]));
            continue;
        }
        bool good = cJSON_IsObject(item) && !st->metadata;
        cJSON_ArrayForEach(text, item) good = good && cJSON_IsString(text);
        if (!good)
            return dram_fail(DRAM_ERR_FORMAT, "%s: __metadata__ is not one object of texts", st->path);
        st->metadata = cJSON_DetachItemViaPointer(root, item);
    }
    return check_places(st, data_bytes);
}

/* The header as a tree. Spaces may follow the object, nothing else. */
static dram_status read_header(dram_st *st, int64_t bytes, cJSON **root)
{
    const char *end = NULL;
    dram_status status;
    char *text = dram_alloc((size_t)bytes + 1);
    if (!text) return out_of_memory(st->path);
    TRY_GOTO(read_at(st->fd, st->path, text, bytes, 8), done);
    text[bytes] = '\0';
    if (text[0] != '{' || memchr(text, 0, (size_t)bytes)) {
        status = dram_fail(DRAM_ERR_FORMAT, "%s: not a safetensors file: its header is not a JSON object", st->path);
        goto done;
    }
    if (strstr(text, "\\u0000")) {
        status = dram_fail(DRAM_ERR_FORMAT, "%s: its header holds a name or text with a zero character", st->path);
        goto done;
    }
    int64_t before = dram_alloc_bytes();
    *root = cJSON_ParseWithLengthOpts(text, (size_t)bytes, &end, 0);
    (void)before;
    bool whole = *root && end;
    while (whole && *end) whole = *end++ == ' ';
    if (!whole)
        status = dram_fail(DRAM_ERR_FORMAT, "%s: not a safetensors file: its header is not JSON", st->path);
done:
    dram_free(text);
    return status;
}
