/* A call is up to three rounds over its nodes: pieces are exchanged, added, gathered. The transport has the nodes of a
 * round together. */
#include "comm/collective.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "comm/job.h"

typedef struct {
    dram_comm *comm;
    dram_op op;
    void *stream;
} call;

/* On a slot's bytes or on bytes of its own. */
static bool is_all_reduce(const call *c)
{
    return c->op == DRAM_OP_all_reduce || c->op == DRAM_OP_all_reduce_into;
}

static bool is_sum(const call *c)
{
    return is_all_reduce(c) || c->op == DRAM_OP_reduce_scatter;
}

static bool is_gather(const call *c)
{
    return c->op == DRAM_OP_all_gather || c->op == DRAM_OP_all_gather_into || c->op == DRAM_OP_gather_ranks;
}

static bool ordered(const dram_kernel_args *a)
{
    return a->attr->mode == DRAM_REDUCE_ORDERED;
}

/* Cuts n elements of `unit` bytes into a piece of at most p elements for each rank. */
static const int64_t *cut(const call *c, int64_t n, int64_t p, int64_t unit)
{
    for (int r = 0; r <= c->comm->size; r++) c->comm->at[r] = (r * p < n ? r * p : n) * unit;
    return c->comm->at;
}

/* The elements of this rank's piece, and the first of them. */
static int64_t mine(const call *c, int64_t n, int64_t p, int64_t *first)
{
    const int64_t *at = cut(c, n, p, 1);
    *first = at[c->comm->rank];
    return at[c->comm->rank + 1] - *first;
}

/* What a sum cuts pieces by. */
static int64_t piece_of(const call *c, int64_t n)
{
    return is_all_reduce(c) ? dram_rank_piece(n, c->comm->size) : dram_rank_shard(n, c->comm->size);
}

static int64_t elements_in(const dram_kernel_args *a)
{
    return dram_elements(&a->in[0].shape);
}

/* ---- kernels, in the queue of the collectives ---- */

/* out[n] = the sum of x[ranks][n] in rank order. */
static dram_status add_ranks(const call *c, const dram_kernel_args *a, void *x, float *out, int64_t n)
{
    if (n == 0) return DRAM_OK;
    dram_kernel_args sum = {.n_in = 1, .n_out = 1, .attr = a->attr, .pool = a->pool, .device = a->device};
    sum.in[0] = (dram_tensor){.data = x, .dtype = DRAM_F32, .shape = DRAM_SHAPE(c->comm->size, n)};
    sum.out[0] = (dram_tensor){.data = out, .dtype = DRAM_F32, .shape = DRAM_SHAPE(n)};
    return c->comm->kernels[DRAM_OP_rank_sum](&sum);
}

static dram_status clear(const call *c, const dram_kernel_args *a, float *x, int64_t n)
{
    if (n == 0) return DRAM_OK;
    dram_kernel_args zero = {.n_in = 1, .n_out = 1, .attr = a->attr, .pool = a->pool, .device = a->device};
    zero.in[0] = zero.out[0] = (dram_tensor){.data = x, .dtype = DRAM_F32, .shape = DRAM_SHAPE(n)};
    return c->comm->kernels[DRAM_OP_clear](&zero);
}

/* ---- the rounds ---- */

/* Sums in rank order: small tensors are gathered whole, of others each rank gets its piece of all. */
static dram_status exchange(const call *c, const dram_kernel_args *a)
{
    dram_transport *t = c->comm->data;
    const int64_t n = elements_in(a);
    const void *x = a->in[0].data;
    if (is_all_reduce(c) && dram_rank_gathers(n))
        return t->ops->all_gather(t, x, cut(c, c->comm->size * n, n, sizeof(float)), a->workspace, c->stream);
    return t->ops->all_to_all(t, x, cut(c, n, piece_of(c, n), sizeof(float)), a->workspace, c->stream);
}

static dram_status add_up(const call *c, const dram_kernel_args *a)
{
    const int64_t n = elements_in(a);
    float *out = a->out[0].data;
    int64_t first, count = mine(c, n, piece_of(c, n), &first);
    if (c->op == DRAM_OP_reduce_scatter) return add_ranks(c, a, a->workspace, out, count);
    if (dram_rank_gathers(n)) return add_ranks(c, a, a->workspace, out, n);
    return add_ranks(c, a, a->workspace, out + first, count);
}

static dram_status gather_sums(const call *c, const dram_kernel_args *a)
{
    dram_transport *t = c->comm->data;
    const int64_t n = elements_in(a);
    if (!is_all_reduce(c) || dram_rank_gathers(n)) return DRAM_OK;
    const int64_t *at = cut(c, n, piece_of(c, n), sizeof(float));
    char *out = a->out[0].data;
    return t->ops->all_gather(t, out + at[c->comm->rank], at, out, c->stream);
}

static dram_status reduce_fast(const call *c, const dram_kernel_args *a)
{
    dram_transport *t = c->comm->data;
    const int64_t n = elements_in(a);
    if (is_all_reduce(c)) return t->ops->all_reduce(t, a->in[0].data, a->out[0].data, n, c->stream);
    return t->ops->reduce_scatter(t, a->in[0].data, cut(c, n, piece_of(c, n), 1), a->out[0].data, c->stream);
}

/* A shard is longer than the last ranks' pieces. */
static dram_status clear_rest(const call *c, const dram_kernel_args *a)
{
    int64_t first, n = elements_in(a), p = piece_of(c, n), count = mine(c, n, p, &first);
    if (c->op != DRAM_OP_reduce_scatter) return DRAM_OK;
    return clear(c, a, (float *)a->out[0].data + count, p - count);
}

static dram_status gather(const call *c, const dram_kernel_args *a)
{
    dram_transport *t = c->comm->data;
    const int64_t unit = dram_dtype_bytes(a->in[0].dtype), n = dram_elements(&a->out[0].shape);
    const int64_t p = c->op == DRAM_OP_gather_ranks ? elements_in(a) : dram_rank_shard(n, c->comm->size);
    const int64_t *at = cut(c, n, p, unit);
    char *all = a->out[0].data;
    const void *own = c->op == DRAM_OP_all_gather_into ? all + at[c->comm->rank] : a->in[0].data;
    return t->ops->all_gather(t, own, at, all, c->stream);
}

/* ---- calls ---- */

typedef dram_status (*round)(const call *c, const dram_kernel_args *a);

static dram_status each(const call *c, round what, const dram_kernel_args *const *args, int n)
{
    for (int i = 0; i < n; i++) TRY(what(c, args[i]));
    return DRAM_OK;
}

static dram_status together(const call *c, round what, const dram_kernel_args *const *args, int n)
{
    dram_transport *t = c->comm->data;
    TRY(t->ops->group_begin(t));
    TRY(each(c, what, args, n));
    return t->ops->group_end(t, c->stream);
}

static dram_status run_nodes(const call *c, const dram_kernel_args *const *args, int n)
{
    if (is_gather(c)) return together(c, gather, args, n);
    if (!is_sum(c)) return dram_fail(DRAM_ERR_INTERNAL, "%s is no collective", dram_op_rows[c->op].name);
    if (ordered(args[0])) {
        TRY(together(c, exchange, args, n));
        TRY(each(c, add_up, args, n));
        TRY(together(c, gather_sums, args, n));
    } else {
        TRY(together(c, reduce_fast, args, n));
    }
    return each(c, clear_rest, args, n);
}

/* How many nodes from the first on are added in the same way: those of a program are. */
static int alike(const dram_kernel_args *const *args, int n)
{
    int same = 1;
    while (same < n && args[same]->attr->mode == args[0]->attr->mode) same++;
    return same;
}

static dram_status run(void *comm, dram_op op, const dram_kernel_args *const *args, int n, void *stream)
{
    const call c = {comm, op, stream};
    const double begin = dram_clock();
    char what[64];
    dram_status status = DRAM_OK;
    snprintf(what, sizeof what, "%s, collective", dram_op_rows[op].name);
    dram_watch_begin(c.comm->watch, what, c.comm->collective++, c.comm->data);
    for (int from = 0, same; status == DRAM_OK && from < n; from += same) {
        same = alike(args + from, n - from);
        status = run_nodes(&c, args + from, same);
    }
    dram_watch_end(c.comm->watch);
    c.comm->seconds += dram_clock() - begin;
    return status;
}

/* A queue may hold collectives of which no call tells: those of a recorded program. */
static void wait_for_queues(void *comm, bool begins)
{
    dram_comm *c = comm;
    if (begins)
        dram_watch_begin(c->watch, "the GPU's queues", -1, c->data);
    else
        dram_watch_end(c->watch);
}

const dram_collectives dram_rank_collectives = {.run = run, .wait = wait_for_queues};
