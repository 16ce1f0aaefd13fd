/* ranks: several ranks as threads of one process, each with a device of its own. What they exchange meets at a barrier;
 * sums are added in rank order from 0. Include after cmocka.h; link dram_device.
 *
 * A failure in a thread cannot fail a cmocka test: it is a text in ranks.why, which the test looks at. */
#ifndef TESTS_SUPPORT_RANKS_H
#define TESTS_SUPPORT_RANKS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ranks.h"
#include "device/device.h"
#include "ir/op.h"

enum { RANKS_MOST = 4 };

typedef struct {
    int rank;
    struct ranks *all;
} one_rank;

typedef struct ranks {
    int n;
    pthread_barrier_t barrier;
    one_rank one[RANKS_MOST];
    const dram_kernel_args *const *args[RANKS_MOST]; /* of the call in which all are */
    dram_op op[RANKS_MOST];
    int count[RANKS_MOST];
    int64_t calls, nodes; /* of rank 0 */
    bool backwards;       /* sums go from the last rank to the first */
    char why[200];
} ranks;

static inline void ranks_open(ranks *all, int n)
{
    *all = (ranks){.n = n};
    for (int r = 0; r < n; r++) all->one[r] = (one_rank){.rank = r, .all = all};
    assert_int_equal(pthread_barrier_init(&all->barrier, NULL, (unsigned)n), 0);
}

static inline void ranks_close(ranks *all)
{
    pthread_barrier_destroy(&all->barrier);
}

static inline dram_status ranks_fail(ranks *all, const char *why)
{
    snprintf(all->why, sizeof all->why, "%s", why);
    return dram_fail(DRAM_ERR_PEER, "%s", why);
}

static inline int64_t ranks_room(const dram_kernel_args *a, dram_op op)
{
    int64_t n = dram_elements(&a->in[0].shape);
    if (a->attr->mode != DRAM_REDUCE_ORDERED) return 0;
    if (op == DRAM_OP_all_reduce || op == DRAM_OP_all_reduce_into) return dram_rank_workspace(n, a->attr->ranks) * 4;
    if (op == DRAM_OP_reduce_scatter) return a->attr->ranks * dram_rank_shard(n, a->attr->ranks) * 4;
    return 0;
}

/* What every rank must have brought: the same op, so many nodes, of the same sizes. */
static inline bool ranks_agree(const ranks *all, dram_op op, const dram_kernel_args *const *args, int n)
{
    for (int r = 0; r < all->n; r++) {
        if (all->op[r] != op || all->count[r] != n) return false;
        for (int i = 0; i < n; i++) {
            const dram_kernel_args *mine = args[i], *theirs = all->args[r][i];
            if (!dram_shape_equal(&mine->in[0].shape, &theirs->in[0].shape)) return false;
            if (mine->attr->ranks != all->n || theirs->attr->bucket != mine->attr->bucket) return false;
        }
    }
    return true;
}

/* The sum of all ranks' inputs of node i. */
static inline float *ranks_sum(const ranks *all, int i, int64_t n)
{
    float *sum = calloc((size_t)n + 1, sizeof *sum);
    for (int k = 0; sum && k < all->n; k++) {
        const float *x = all->args[all->backwards ? all->n - 1 - k : k][i]->in[0].data;
        for (int64_t e = 0; e < n; e++) sum[e] += x[e];
    }
    return sum;
}

/* What this rank gets of node i, to be put into its output when all have read. */
static inline void *ranks_result(const one_rank *me, dram_op op, int i, int64_t *bytes)
{
    const ranks *all = me->all;
    const dram_kernel_args *a = all->args[me->rank][i];
    int64_t n = dram_elements(&a->in[0].shape), each = n * dram_dtype_bytes(a->in[0].dtype);
    *bytes = dram_elements(&a->out[0].shape) * dram_dtype_bytes(a->out[0].dtype);
    if (op == DRAM_OP_all_reduce || op == DRAM_OP_all_reduce_into) return ranks_sum(all, i, n);
    char *out = calloc(1, (size_t)*bytes + 1);
    if (op == DRAM_OP_reduce_scatter) {
        float *sum = ranks_sum(all, i, n);
        int64_t c = *bytes / 4, from = me->rank * c, here = n - from < c ? n - from : c;
        if (out && sum && here > 0) memcpy(out, sum + from, (size_t)here * sizeof *sum);
        free(sum);
    }
    int64_t c = op == DRAM_OP_all_gather_into ? dram_rank_shard(n, all->n) * dram_dtype_bytes(a->in[0].dtype) : each;
    for (int r = 0; out && op != DRAM_OP_reduce_scatter && r < all->n; r++) {
        int64_t from = r * c, here = *bytes - from < c ? *bytes - from : c;
        const char *x = all->args[r][i]->in[0].data;
        if (here > 0) memcpy(out + from, op == DRAM_OP_all_gather_into ? x + from : x, (size_t)here);
    }
    return out;
}

static inline dram_status ranks_run(void *comm, dram_op op, const dram_kernel_args *const *args, int n, void *stream)
{
    const one_rank *me = comm;
    ranks *all = me->all;
    void **out = calloc((size_t)n, sizeof *out);
    int64_t *bytes = calloc((size_t)n, sizeof *bytes);
    dram_status status = out && bytes && !stream ? DRAM_OK : ranks_fail(all, "no memory, or a stream on a CPU");
    for (int i = 0; i < n; i++) { /* scratch is scratch: what is in it is lost, and nothing of it is another's */
        if (args[i]->workspace_bytes < ranks_room(args[i], op)) status = ranks_fail(all, "a workspace is too small");
        if (args[i]->workspace) memset(args[i]->workspace, 0xff, (size_t)args[i]->workspace_bytes);
    }
    all->args[me->rank] = args;
    all->op[me->rank] = op;
    all->count[me->rank] = n;
    if (me->rank == 0) {
        all->calls++;
        all->nodes += n;
    }
    pthread_barrier_wait(&all->barrier);
    bool agree = ranks_agree(all, op, args, n);
    if (!agree) status = ranks_fail(all, "the ranks do not come with the same");
    for (int i = 0; agree && i < n; i++) out[i] = ranks_result(me, op, i, &bytes[i]);
    pthread_barrier_wait(&all->barrier);
    for (int i = 0; agree && i < n; i++) {
        memcpy(args[i]->out[0].data, out[i], (size_t)bytes[i]);
        free(out[i]);
    }
    pthread_barrier_wait(&all->barrier);
    free(out);
    free(bytes);
    return status;
}

static const dram_collectives ranks_collectives = {.run = ranks_run};

/* Runs work(context[r]) in a thread for each rank. */
static inline void ranks_go(ranks *all, void *(*work)(void *), void *const *context)
{
    pthread_t thread[RANKS_MOST];
    for (int r = 0; r < all->n; r++) assert_int_equal(pthread_create(&thread[r], NULL, work, context[r]), 0);
    for (int r = 0; r < all->n; r++) pthread_join(thread[r], NULL);
    if (all->why[0]) fail_msg("%s", all->why);
}

#endif
