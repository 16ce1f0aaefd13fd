/* batch_slice, batch_put, crop, copy: bytes moved, each read and written once. Elements of every type alike. */
#include "kernels/cpu/cpu.h"

enum { PIECE = 256 << 10 }; /* bytes a task */

typedef struct {
    char *out;
    const char *from; /* NULL: zeros */
    int64_t bytes;
} job;

static void move_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t at = task * PIECE, n = dram_min(PIECE, j->bytes - at);
    (void)worker;
    if (j->from)
        memcpy(j->out + at, j->from + at, (size_t)n);
    else
        memset(j->out + at, 0, (size_t)n);
}

static void move(dram_pool *pool, void *out, const void *from, int64_t bytes)
{
    job j = {.out = out, .from = from, .bytes = bytes};
    if (out != from && bytes > 0) dram_pool_run(pool, dram_ceil_div(bytes, PIECE), move_piece, &j);
}

static int64_t bytes_of(const dram_tensor *t)
{
    return dram_elements(&t->shape) * dram_dtype_bytes(t->dtype);
}

DRAM_CPU_KERNEL(batch_slice)
{
    const dram_tensor *x = &args->in[0];
    int64_t image = bytes_of(x) / x->shape.dim[0];
    move(args->pool, args->out[0].data, (const char *)x->data + args->attr->first * image, bytes_of(&args->out[0]));
    return DRAM_OK;
}

/* What lies around x comes from acc, or is there already where the output has acc's bytes. */
DRAM_CPU_KERNEL(batch_put)
{
    const dram_tensor *x = &args->in[0], *acc = &args->in[1];
    int64_t image = bytes_of(x) / x->shape.dim[0], begin = args->attr->first * image, end = begin + bytes_of(x);
    char *out = args->out[0].data;
    const char *rest = args->n_in > 1 ? acc->data : NULL;
    move(args->pool, out, rest, begin);
    move(args->pool, out + begin, x->data, end - begin);
    move(args->pool, out + end, rest ? rest + end : NULL, bytes_of(&args->out[0]) - end);
    return DRAM_OK;
}

typedef struct {
    char *out;
    const char *x;
    int64_t row, x_row, height, x_height; /* bytes of a row, rows of an image */
} crop_job;

static void crop_row(void *context, int64_t task, int worker)
{
    const crop_job *j = context;
    int64_t image = task / j->height, row = task % j->height;
    (void)worker;
    memcpy(j->out + task * j->row, j->x + (image * j->x_height + row) * j->x_row, (size_t)j->row);
}

DRAM_CPU_KERNEL(crop)
{
    const dram_tensor *x = &args->in[0], *out = &args->out[0];
    crop_job j = {.out = out->data, .x = x->data, .height = out->shape.dim[1], .x_height = x->shape.dim[1]};
    int64_t rows = out->shape.dim[0] * j.height;
    j.row = bytes_of(out) / rows;
    j.x_row = bytes_of(x) / (x->shape.dim[0] * j.x_height);
    dram_pool_run(args->pool, rows, crop_row, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(copy)
{
    move(args->pool, args->out[0].data, args->in[0].data, bytes_of(&args->in[0]));
    return DRAM_OK;
}
