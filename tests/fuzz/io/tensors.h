/* tensors: an open file of weights, and every tensor of it read whole and in part. */
#ifndef DRAM_TESTS_FUZZ_TENSORS_H
#define DRAM_TESTS_FUZZ_TENSORS_H

#include "fuzz/fuzz.h"
#include "io/safetensors.h"

enum { MOST_BYTES = 1 << 16, MOST_TENSORS = 16 };

/* Both ways to read give the same numbers, whole and in part. */
static void check_read(const dram_st *st, const dram_st_tensor *t)
{
    static char whole[MOST_BYTES], part[MOST_BYTES];
    static float numbers[MOST_BYTES];
    int64_t item = dram_st_dtype_bytes(t->dtype), n = t->elements, from = n / 3, some = (n - from + 1) / 2;
    bool fits = n <= MOST_BYTES && t->bytes <= MOST_BYTES;
    if (dram_st_read_raw(st, t, 0, fits ? n : 1, whole) != DRAM_OK) {
        must(!item || !t->run);
        refused();
        return;
    }
    must(item && dram_st_read_raw(st, t, n, 1, part) == DRAM_ERR_INTERNAL);
    dram_error_clear();
    if (!fits) return;
    must(dram_st_read_raw(st, t, from, some, part) == DRAM_OK);
    must(memcmp(part, whole + from * item, (size_t)(some * item)) == 0);
    if (dram_st_read_f32(st, t, from, some, numbers) != DRAM_OK) {
        must(t->dtype == DRAM_ST_I64);
        refused();
    }
    if (t->dtype == DRAM_ST_F32) must(memcmp(numbers, part, (size_t)(some * item)) == 0);
}

static void check_tensor(const dram_st *st, int i)
{
    char shape[64];
    const dram_st_tensor *t = dram_st_at(st, i);
    int64_t elements = 1;
    must(dram_st_find(st, t->name) == t);
    must(i == 0 || strcmp(dram_st_at(st, i - 1)->name, t->name) < 0);
    must(t->rank >= 0 && t->rank <= DRAM_ST_MAX_RANK);
    for (int d = 0; d < t->rank; d++) must(t->dim[d] >= 0);
    for (int d = 0; d < t->rank; d++) elements = t->dim[d] ? elements : 0;
    for (int d = 0; d < t->rank && elements; d++) must(!__builtin_mul_overflow(elements, t->dim[d], &elements));
    must(t->elements == elements);
    dram_st_format_shape(t, shape, sizeof shape);
    check_read(st, t);
}

static void check_weights(const char *path)
{
    dram_st *st;
    int64_t before = dram_alloc_bytes();
    dram_status status = dram_st_open(path, &st);
    if (status == DRAM_OK) {
        int n = dram_st_count(st);
        for (int i = 0; i < n && i < MOST_TENSORS; i++) check_tensor(st, i);
        dram_st_strip(st, "module.");
        for (int i = 0; i < n && i < MOST_TENSORS; i++) must(dram_st_find(st, dram_st_at(st, i)->name));
        must(!dram_st_find(st, "\n"));
        (void)dram_st_metadata(st, "format");
        dram_st_close(st);
        must(!*dram_error_text());
    } else {
        must(!st && (status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG)); /* a shard that is not there */
        refused();
    }
    must(dram_alloc_bytes() == before);
}

#endif
