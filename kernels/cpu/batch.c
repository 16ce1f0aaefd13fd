/* batch_slice, batch_put, copy: bytes moved, each read and written once. Elements of every type alike. */
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

DRAM_CPU_KERNEL(copy)
{
    move(args->pool, args->out[0].data, args->in[0].data, bytes_of(&args->in[0]));
    return DRAM_OK;
}
