#include "comm/agree.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* What an exchange is for: all ranks must be in the same place. */
enum { STEP, WORKING, DONE, GATHER }; /* WORKING and DONE meet each other */

enum { TEXT_SIZE = 256 }; /* of the error of a rank that failed */

/* What a rank says. */
typedef struct {
    int64_t number;   /* of the step, or the bytes of a gather: the same on all ranks */
    int64_t labelled; /* pixels */
    double busy;      /* seconds since the exchange before */
    int32_t kind, status, stop;
    char unused[28];
} words;
_Static_assert(sizeof(words) == 64, "one cache line a rank");

size_t dram_said_bytes(int ranks)
{
    return (size_t)ranks * (sizeof(words) + TEXT_SIZE);
}

dram_status dram_host_gather(dram_comm *c, const char *what, const void *mine, int64_t bytes, void *all)
{
    dram_watch_begin(c->watch, what, -1, c->host);
    dram_status status = c->host->ops->host_gather(c->host, mine, bytes, all);
    dram_watch_end(c->watch);
    return status;
}

/* The text of the first rank that failed; all ranks come here, since all have heard of it. */
static dram_status tell_failure(dram_comm *c, const words *said, dram_status mine)
{
    char text[TEXT_SIZE] = "", *texts = (char *)c->said + (size_t)c->size * sizeof *said;
    int first = 0, others = -1;
    snprintf(text, sizeof text, "%s", *dram_error_text() ? dram_error_text() : dram_status_text(mine));
    for (int r = c->size - 1; r >= 0; r--) {
        if (said[r].status == DRAM_OK) continue;
        first = r;
        others++;
    }
    c->failed_rank = first;
    TRY(dram_host_gather(c, "the text of an error", text, TEXT_SIZE, texts));
    if (mine != DRAM_OK && others) dram_comm_prefix_rank(c, mine); /* its own line alone says whose it is */
    if (mine != DRAM_OK) return mine;
    char more[64] = "";
    if (others) snprintf(more, sizeof more, " (and %d more rank%s)", others, others == 1 ? "" : "s");
    return dram_fail(DRAM_ERR_PEER, "rank %d on %s: %.*s%s", first, c->peers[first].host, TEXT_SIZE,
                     texts + (size_t)first * TEXT_SIZE, more);
}

static const char *place_of(int32_t kind)
{
    return kind == STEP ? "the agreement of a step" : kind == GATHER ? "a gather" : "a wait for other ranks";
}

static dram_status must_be_together(const dram_comm *c, const words *said)
{
    for (int r = 1; r < c->size; r++) {
        const char *here = place_of(said[r].kind), *there = place_of(said[0].kind);
        if (here != there) return dram_fail(DRAM_ERR_INTERNAL, "rank %d is in %s, rank 0 in %s", r, here, there);
        if (said[r].number != said[0].number)
            return dram_fail(DRAM_ERR_INTERNAL, "rank %d is in %s (%lld), rank 0 in that of %lld", r, here,
                             (long long)said[r].number, (long long)said[0].number);
    }
    return DRAM_OK;
}

/* Once a failure is known to all nothing more is asked: who comes here again is on its way out. */
static dram_status heard_before(int32_t mine)
{
    if (mine != DRAM_OK) return (dram_status)mine;
    return *dram_error_text() ? DRAM_ERR_PEER : dram_fail(DRAM_ERR_PEER, "another rank has failed");
}

/* One exchange: said[0..size) is what all ranks say. */
static dram_status exchange(dram_comm *c, words mine, const words **said)
{
    char what[96];
    bool failed = false;
    if (c->failed) return heard_before(mine.status);
    mine.busy = dram_clock() - c->since;
    snprintf(what, sizeof what, "%s (%lld)", place_of(mine.kind), (long long)mine.number);
    c->failed = true; /* unless it goes well */
    TRY(dram_host_gather(c, what, &mine, sizeof mine, c->said));
    c->since = dram_clock();
    *said = c->said;
    for (int r = 0; r < c->size; r++) {
        failed |= (*said)[r].status != DRAM_OK;
        c->stop |= (*said)[r].stop != 0;
    }
    if (failed) return tell_failure(c, *said, (dram_status)mine.status); /* wherever the others are */
    TRY(must_be_together(c, *said));
    c->failed = false;
    return DRAM_OK;
}

dram_status dram_comm_agree(dram_comm *c, const dram_agreement *mine, dram_agreed *agreed)
{
    *agreed = (dram_agreed){.stop = mine->stop, .labelled = mine->labelled};
    if (dram_comm_size(c) == 1) return mine->status;
    const words *said;
    const words mine_now = {
        .kind = STEP, .number = mine->step, .status = mine->status, .stop = mine->stop, .labelled = mine->labelled};
    double begin = dram_clock();
    TRY(exchange(c, mine_now, &said));
    agreed->waited = c->since - begin;
    agreed->stop = c->stop;
    agreed->labelled = 0;
    for (int r = 0; r < c->size; r++) {
        agreed->labelled += said[r].labelled;
        if (said[r].busy > said[agreed->last].busy) agreed->last = r;
    }
    if (c->step > 0) dram_watch_step(c->watch, c->since - c->step);
    c->step = c->since;
    return DRAM_OK;
}

/* Often enough for the others' patience, seldom enough that ranks which all work do not wait for each other. */
static double time_between(dram_comm *c)
{
    double quarter = dram_watch_limit(c->watch) / 4;
    return quarter < 5 ? quarter : 5;
}

dram_status dram_comm_busy(dram_comm *c, const volatile sig_atomic_t *asked, bool *stop)
{
    const words *said;
    *stop = asked && *asked;
    if (dram_comm_size(c) == 1) return DRAM_OK;
    if (c->failed || dram_clock() - c->since >= time_between(c) || (*stop && !c->stop))
        TRY(exchange(c, (words){.kind = WORKING, .stop = *stop}, &said));
    *stop = c->stop;
    return DRAM_OK;
}

dram_status dram_comm_wait(dram_comm *c, dram_status status, const volatile sig_atomic_t *asked, bool *stop)
{
    *stop = asked && *asked;
    if (dram_comm_size(c) == 1) return status;
    for (bool working = true; working;) {
        const words *said;
        TRY(exchange(c, (words){.kind = DONE, .status = status, .stop = asked && *asked}, &said));
        working = false;
        for (int r = 0; r < c->size; r++) working |= said[r].kind == WORKING;
    }
    *stop = c->stop;
    c->step = 0; /* the time of this is no step's */
    return DRAM_OK;
}

/* An exchange of words comes first: who has failed is heard of, and nobody takes other bytes for these. */
static dram_status gather(dram_comm *c, const void *mine, int64_t bytes, void *all)
{
    const words *said;
    TRY(exchange(c, (words){.kind = GATHER, .number = bytes}, &said));
    dram_status status = dram_host_gather(c, "a gather", mine, bytes, all);
    c->failed = status != DRAM_OK;
    return status;
}

dram_status dram_comm_gather(dram_comm *c, const void *mine, int64_t bytes, void *all)
{
    if (dram_comm_size(c) > 1) return gather(c, mine, bytes, all);
    memmove(all, mine, (size_t)bytes);
    return DRAM_OK;
}

/* The numbers of all ranks, n of each; dram_free. */
static dram_status gather_numbers(dram_comm *c, const void *mine, int n, void **all)
{
    *all = dram_calloc((size_t)c->size * (size_t)n, 8);
    if (!*all) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d numbers of %d ranks", n, c->size);
    return gather(c, mine, 8 * (int64_t)n, *all);
}

dram_status dram_comm_sum(dram_comm *c, double *values, int n)
{
    void *all;
    if (dram_comm_size(c) == 1) return DRAM_OK;
    dram_status status = gather_numbers(c, values, n, &all);
    const double *x = all;
    for (int i = 0; status == DRAM_OK && i < n; i++) {
        double sum = 0;
        for (int r = 0; r < c->size; r++) sum += x[(size_t)r * (size_t)n + (size_t)i];
        values[i] = sum;
    }
    dram_free(all);
    return status;
}

dram_status dram_comm_sum_counts(dram_comm *c, int64_t *counts, int n)
{
    void *all;
    if (dram_comm_size(c) == 1) return DRAM_OK;
    dram_status status = gather_numbers(c, counts, n, &all);
    const int64_t *x = all;
    for (int i = 0; status == DRAM_OK && i < n; i++) {
        counts[i] = 0;
        for (int r = 0; r < c->size; r++) counts[i] += x[(size_t)r * (size_t)n + (size_t)i];
    }
    dram_free(all);
    return status;
}
