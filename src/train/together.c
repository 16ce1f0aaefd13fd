#include "train/together.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "comm/machines.h"
#include "io/hash.h"
#include "plan/traffic.h"
#include "session/slot_floats.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for what the ranks do together");
}

/* ---- statistics of a batch ---- */

/* is_running[slots]: those that bn_running moves. */
static void find_running(const dram_session *s, bool *is_running)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_graph *g = s->graphs.io[k].graph;
        for (int i = 0; g && i < g->n_nodes; i++) {
            const dram_node *node = g->nodes[i];
            if (node->op != DRAM_OP_bn_running) continue;
            for (int out = 0; out < node->n_out; out++) {
                int slot = dram_value_at(g, node->out[out])->slot;
                if (slot != DRAM_NONE) is_running[slot] = true;
            }
        }
    }
}

static dram_status average_slot(dram_session *s, int slot)
{
    int64_t n = dram_elements(&s->graphs.slots.at[slot]->shape);
    int ranks = dram_comm_size(s->comm);
    float *piece = dram_alloc((size_t)n * sizeof *piece);
    double *sum = dram_alloc((size_t)n * sizeof *sum);
    dram_status status = piece && sum ? dram_slot_read_floats(s, slot, 0, n, piece) : no_memory();
    if (status == DRAM_OK) {
        for (int64_t i = 0; i < n; i++) sum[i] = (double)piece[i];
        status = dram_comm_sum(s->comm, sum, (int)n);
    }
    if (status == DRAM_OK) {
        for (int64_t i = 0; i < n; i++) piece[i] = (float)(sum[i] / ranks);
        status = dram_slot_write_floats(s, slot, 0, n, piece);
    }
    dram_free(piece);
    dram_free(sum);
    return status;
}

dram_status dram_together_average(dram_session *s)
{
    int n = s->graphs.slots.n;
    if (dram_comm_size(s->comm) == 1 || s->cfg.distributed.batch_norm == DRAM_BATCH_NORM_SYNC) return DRAM_OK;
    bool *is_running = dram_calloc((size_t)n + 1, sizeof *is_running);
    dram_status status = is_running ? DRAM_OK : no_memory();
    if (status == DRAM_OK) find_running(s, is_running);
    for (int slot = 0; slot < n && status == DRAM_OK; slot++)
        if (is_running[slot]) status = average_slot(s, slot);
    dram_free(is_running);
    return status;
}

/* ---- equal weights ---- */

static dram_status hash_slot(dram_session *s, int slot, void *piece, uint64_t *hash)
{
    const int64_t bytes = dram_elements(&s->graphs.slots.at[slot]->shape) *
                          dram_dtype_bytes(s->graphs.slots.at[slot]->dtype),
                  most = DRAM_SLOT_PIECE * (int64_t)sizeof(float);
    *hash = 0;
    for (int64_t at = 0; at < bytes; at += most) {
        int64_t n = bytes - at < most ? bytes - at : most;
        TRY(dram_exec_read_slot(s->exec, slot, at, piece, n));
        *hash = dram_mix64(*hash ^ dram_hash_64(piece, (size_t)n));
    }
    return DRAM_OK;
}

/* What training changes: not the teacher, no sum of gradients that is under way, and no shard, which is another on each
 * rank. */
static bool is_compared(const dram_slot *slot, bool running, bool wanted)
{
    if (strcmp(slot->group, "teacher") == 0 || strcmp(slot->group, "gradient") == 0) return false;
    if (slot->whole.rank > 0) return false;
    return wanted || !running;
}

static dram_status hash_slots(dram_session *s, const bool *is_running, bool running, uint64_t *hashes)
{
    void *piece = dram_alloc(DRAM_SLOT_PIECE * sizeof(float));
    dram_status status = piece ? DRAM_OK : no_memory();
    for (int i = 0; i < s->graphs.slots.n && status == DRAM_OK; i++)
        if (is_compared(s->graphs.slots.at[i], is_running[i], running)) status = hash_slot(s, i, piece, &hashes[i]);
    dram_free(piece);
    return status;
}

/* The first slot of which a rank has another hash than rank 0. */
static dram_status name_difference(dram_session *s, const uint64_t *hashes)
{
    int n = s->graphs.slots.n, ranks = dram_comm_size(s->comm);
    uint64_t *all = dram_alloc((size_t)ranks * (size_t)n * sizeof *all);
    dram_status status = all ? dram_comm_gather(s->comm, hashes, n * (int64_t)sizeof *hashes, all) : no_memory();
    for (int i = 0; i < n && status == DRAM_OK; i++)
        for (int r = 1; r < ranks && status == DRAM_OK; r++)
            if (all[(size_t)r * (size_t)n + (size_t)i] != all[i])
                status = dram_fail(DRAM_ERR_RUN,
                                   "the ranks have come apart: %s.%s is not the same on rank 0 (%s) and rank %d (%s); "
                                   "a processor or a memory gives wrong results; the last checkpoint is of before",
                                   s->graphs.slots.at[i]->group, s->graphs.slots.at[i]->name,
                                   dram_comm_host(s->comm, 0), r, dram_comm_host(s->comm, r));
    dram_free(all);
    return status;
}

/* *equal: all ranks have the same n bytes. */
static dram_status compare_bytes(dram_comm *comm, const void *mine, size_t n, bool *equal)
{
    size_t ranks = (size_t)dram_comm_size(comm);
    char *all = dram_alloc(ranks * n);
    *equal = true;
    dram_status status = all ? dram_comm_gather(comm, mine, (int64_t)n, all) : no_memory();
    for (size_t r = 1; r < ranks && status == DRAM_OK; r++) *equal = *equal && memcmp(all, all + r * n, n) == 0;
    dram_free(all);
    return status;
}

dram_status dram_together_compare(dram_session *s, bool running)
{
    size_t n = (size_t)s->graphs.slots.n;
    bool equal = true;
    dram_status status = DRAM_OK;
    if (dram_comm_size(s->comm) == 1) return DRAM_OK;
    bool *is_running = dram_calloc(n + 1, sizeof *is_running);
    uint64_t *hashes = dram_calloc(n + 1, sizeof *hashes);
    if (!is_running || !hashes) status = no_memory();
    if (status == DRAM_OK) find_running(s, is_running);
    if (status == DRAM_OK) status = hash_slots(s, is_running, running, hashes);
    if (status == DRAM_OK) {
        dram_hash128 hash = dram_hash_128(hashes, n * sizeof *hashes);
        status = compare_bytes(s->comm, &hash, sizeof hash, &equal);
    }
    if (status == DRAM_OK && !equal) status = name_difference(s, hashes);
    dram_free(is_running);
    dram_free(hashes);
    return status;
}

/* ---- what each has of a whole ---- */

dram_status dram_together_collect(dram_comm *comm, const float *mine, int64_t n, int64_t piece, float *all)
{
    int ranks = dram_comm_size(comm);
    float *pieces = dram_alloc((size_t)ranks * (size_t)piece * sizeof *pieces);
    dram_status status = pieces ? DRAM_OK : no_memory();
    for (int64_t at = 0; at < n && status == DRAM_OK; at += piece) {
        int64_t part = n - at < piece ? n - at : piece;
        status = dram_comm_gather(comm, mine + at, part * (int64_t)sizeof *mine, pieces);
        for (int r = 0; r < ranks && all && status == DRAM_OK; r++)
            memcpy(all + r * n + at, pieces + r * part, (size_t)part * sizeof *all);
    }
    dram_free(pieces);
    return status;
}

/* ---- equal plans ---- */

typedef struct {
    uint64_t hash;
    int64_t arena_bytes;
    int32_t workers, unused;
} plan_words;

static dram_status tell_plans(const dram_session *s, const plan_words *all, int rank)
{
    char here[32], there[32];
    return dram_fail(DRAM_ERR_RUN,
                     "the ranks have different plans: rank 0 on %s has an arena of %s for %d threads, rank %d on %s of "
                     "%s for %d; they need processors of one kind, and the same threads and memory.profile",
                     dram_comm_host(s->comm, 0), dram_format_bytes(all[0].arena_bytes, here, sizeof here),
                     all[0].workers, rank, dram_comm_host(s->comm, rank),
                     dram_format_bytes(all[rank].arena_bytes, there, sizeof there), all[rank].workers);
}

dram_status dram_together_compare_plans(const dram_session *s)
{
    int ranks = dram_comm_size(s->comm);
    if (ranks == 1) return DRAM_OK;
    const plan_words mine = {
        .hash = dram_plan_hash(s->plan), .arena_bytes = s->plan->arena_bytes, .workers = s->plan->profile.workers};
    plan_words *all = dram_alloc((size_t)ranks * sizeof *all);
    dram_status status = all ? dram_comm_gather(s->comm, &mine, sizeof mine, all) : no_memory();
    for (int r = 1; r < ranks && status == DRAM_OK; r++)
        if (memcmp(&all[r], &all[0], sizeof mine) != 0) status = tell_plans(s, all, r);
    dram_free(all);
    return status;
}
