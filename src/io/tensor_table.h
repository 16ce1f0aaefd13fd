/* tensor_table: an open file of tensors, as its readers fill it. For the files of src/io that know a format. */
#ifndef DRAM_IO_TENSOR_TABLE_H
#define DRAM_IO_TENSOR_TABLE_H

#include <stddef.h>

#include "io/json.h"
#include "io/safetensors.h"

enum { DRAM_ST_MAX_HEADER = 100 * 1000 * 1000 };

struct dram_st {
    char *path;
    int fd;
    int64_t bytes;      /* of the file */
    int64_t data_start; /* of the data section in the file */
    int count;
    dram_st_tensor *tensors;    /* sorted by name; names are owned */
    cJSON *metadata;            /* object, or NULL */
    const char *taken, *beside; /* of dram_st_choice; static text, or NULL */
    dram_st **shards;           /* of an index, owned: its tensors lie in them */
    int n_shards;
};

/* Opens the file, which must be a regular one: *st is to be given to dram_st_close. */
dram_status dram_table_open(const char *path, dram_st **st);

/* Exactly `bytes` bytes at `offset` of the file. */
dram_status dram_table_read_at(const dram_st *st, void *dst, int64_t bytes, int64_t offset);

/* Each fills data_start, tensors (sorted) and metadata of a file of its format. */
dram_status dram_table_read_safetensors(dram_st *st);
dram_status dram_table_read_torch(dram_st *st);

/* A tensor's name from `length` bytes without control characters: *name is owned by the caller. */
dram_status dram_table_name(const char *path, const char *text, size_t length, const char **name);

/* Sorts by name; two of one name are refused. */
dram_status dram_table_sort(dram_st *st);

dram_status dram_table_no_memory(const char *path);

#endif
