/* cast between f32, bf16 and f16. Bound by memory: 6 bytes an element between f32 and the others. */
#include "kernels/cpu/lowp.h"

typedef struct {
    const void *x;
    void *out;
    dram_dtype from, to;
    int64_t n;
} job;

static void cast_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * DRAM_PIECE, to = dram_min(j->n, from + DRAM_PIECE);
    float buffer[DRAM_LOWP_RUN];
    (void)worker;
    if (j->to == DRAM_F32) {
        dram_lowp_widen(j->x, j->from, from, to - from, (float *)j->out + from);
        return;
    }
    while (from < to) {
        int64_t n = dram_lowp_run(j->from, to - from);
        dram_lowp_narrow(j->out, j->to, from, dram_lowp_load(j->x, j->from, from, n, buffer), n);
        from += n;
    }
}

DRAM_CPU_KERNEL(cast)
{
    const dram_tensor *x = &args->in[0], *out = &args->out[0];
    job j = {.x = x->data, .out = out->data, .from = x->dtype, .to = out->dtype, .n = dram_elements(&x->shape)};
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), cast_piece, &j);
    return DRAM_OK;
}
