/* tensor: element types, shapes and the tensor that kernels see. Layout is row-major, images are NHWC. */
#ifndef DRAM_BASE_TENSOR_H
#define DRAM_BASE_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

/*    id    bytes name */
#define DRAM_DTYPE_LIST(X)                                                                                             \
    X(F32, 4, "f32")                                                                                                   \
    X(F16, 2, "f16")                                                                                                   \
    X(BF16, 2, "bf16")                                                                                                 \
    X(I32, 4, "i32")                                                                                                   \
    X(U8, 1, "u8")

typedef enum {
#define X(ID, BYTES, NAME) DRAM_##ID,
    DRAM_DTYPE_LIST(X)
#undef X
        DRAM_DTYPE_COUNT
} dram_dtype;

enum { DRAM_MAX_RANK = 5 };

typedef struct {
    int rank; /* 0 is a scalar */
    int64_t dim[DRAM_MAX_RANK];
} dram_shape;

typedef struct {
    void *data;
    dram_dtype dtype;
    dram_shape shape;
} dram_tensor;

int64_t dram_dtype_bytes(dram_dtype dtype);
const char *dram_dtype_name(dram_dtype dtype);

static inline bool dram_dtype_is_float(dram_dtype dtype)
{
    return dtype == DRAM_F32 || dtype == DRAM_F16 || dtype == DRAM_BF16;
}

/* Product of the dimensions: 1 for a scalar. */
int64_t dram_elements(const dram_shape *shape);
bool dram_shape_equal(const dram_shape *a, const dram_shape *b);

/* "[2,14,14,64]" into out, which is returned. */
char *dram_format_shape(const dram_shape *shape, char *out, int size);

/* DRAM_SHAPE(2, 14, 14, 64) */
#define DRAM_SHAPE(...)                                                                                                \
    ((dram_shape){.rank = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dim = {__VA_ARGS__}})

/* Dimension counted from the end: dram_last(s, 0) is the channels of NHWC. */
static inline int64_t dram_last(const dram_shape *shape, int from_end)
{
    return shape->dim[shape->rank - 1 - from_end];
}

#endif
