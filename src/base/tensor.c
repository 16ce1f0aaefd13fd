#include "base/tensor.h"

#include <stdio.h>
#include <string.h>

int64_t dram_dtype_bytes(dram_dtype dtype)
{
    static const int64_t bytes[DRAM_DTYPE_COUNT] = {
#define X(ID, BYTES, NAME) [DRAM_##ID] = BYTES,
        DRAM_DTYPE_LIST(X)
#undef X
    };
    return bytes[dtype];
}

const char *dram_dtype_name(dram_dtype dtype)
{
    static const char *const name[DRAM_DTYPE_COUNT] = {
#define X(ID, BYTES, NAME) [DRAM_##ID] = NAME,
        DRAM_DTYPE_LIST(X)
#undef X
    };
    return name[dtype];
}

int64_t dram_elements(const dram_shape *shape)
{
    int64_t n = 1;
    for (int i = 0; i < shape->rank; i++) n *= shape->dim[i];
    return n;
}

bool dram_shape_equal(const dram_shape *a, const dram_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

char *dram_format_shape(const dram_shape *shape, char *out, int size)
{
    int n = snprintf(out, (size_t)size, "[");
    for (int i = 0; i < shape->rank && n < size; i++)
        n += snprintf(out + n, (size_t)(size - n), "%s%lld", i ? "," : "", (long long)shape->dim[i]);
    if (n < size) snprintf(out + n, (size_t)(size - n), "]");
    return out;
}
