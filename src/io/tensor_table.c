#include "io/tensor_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"

dram_status dram_table_no_memory(const char *path)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its header", path);
}

static dram_status open_regular(dram_st *st)
{
    struct stat info;
    const char *why;
    st->fd = dram_file_open(st->path, &info, &why);
    if (st->fd < 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open: %s", st->path, why);
    st->bytes = info.st_size;
    return DRAM_OK;
}

dram_status dram_table_open(const char *path, dram_st **out)
{
    dram_status status;
    *out = NULL;
    dram_st *st = dram_calloc(1, sizeof *st);
    if (!st) return dram_table_no_memory(path);
    st->fd = -1;
    st->path = dram_strdup(path);
    status = st->path ? open_regular(st) : dram_table_no_memory(path);
    if (status == DRAM_OK)
        *out = st;
    else
        dram_st_close(st);
    return status;
}

void dram_st_close(dram_st *st)
{
    if (!st) return;
    for (int i = 0; i < st->n_shards; i++) dram_st_close(st->shards[i]);
    dram_free(st->shards);
    for (int i = 0; i < st->count; i++) dram_free((char *)st->tensors[i].name);
    dram_free(st->tensors);
    cJSON_Delete(st->metadata);
    if (st->fd >= 0) close(st->fd);
    dram_free(st->path);
    dram_free(st);
}

dram_status dram_table_read_at(const dram_st *st, void *dst, int64_t bytes, int64_t offset)
{
    int64_t got = dram_file_read_at(st->fd, dst, (size_t)bytes, (off_t)offset);
    if (got < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", st->path);
    if (got < bytes) return dram_fail(DRAM_ERR_FORMAT, "%s: truncated at byte %" PRId64, st->path, offset + got);
    return DRAM_OK;
}

dram_status dram_table_name(const char *path, const char *text, size_t length, const char **name)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return dram_fail(DRAM_ERR_FORMAT, "%s: a tensor's name holds a control character", path);
    char *copy = dram_alloc(length + 1);
    if (!copy) return dram_table_no_memory(path);
    memcpy(copy, text, length);
    copy[length] = '\0';
    *name = copy;
    return DRAM_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dram_st_tensor *)a)->name, ((const dram_st_tensor *)b)->name);
}

dram_status dram_table_sort(dram_st *st)
{
    if (st->count > 0) qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_name);
    for (int i = 1; i < st->count; i++)
        if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0)
            return dram_fail(DRAM_ERR_FORMAT, "%s: two tensors are named \"%s\"", st->path, st->tensors[i].name);
    return DRAM_OK;
}

int dram_st_count(const dram_st *st)
{
    return st->count;
}

const dram_st_tensor *dram_st_at(const dram_st *st, int i)
{
    return &st->tensors[i];
}

const dram_st_tensor *dram_st_find(const dram_st *st, const char *name)
{
    dram_st_tensor key = {.name = name};
    if (st->count == 0) return NULL;
    return bsearch(&key, st->tensors, (size_t)st->count, sizeof key, by_name);
}

const char *dram_st_metadata(const dram_st *st, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(st->metadata, key));
}

void dram_st_strip(dram_st *st, const char *prefix)
{
    size_t n = strlen(prefix);
    for (int i = 0; i < st->count; i++)
        if (strncmp(st->tensors[i].name, prefix, n) != 0 || !st->tensors[i].name[n]) return;
    for (int i = 0; i < st->count; i++) {
        char *name = (char *)(uintptr_t)st->tensors[i].name; /* the reader's own */
        memmove(name, name + n, strlen(name + n) + 1);
    }
}
