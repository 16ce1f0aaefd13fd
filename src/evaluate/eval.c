#include "evaluate/eval.h"

#include "base/alloc.h"
#include "comm/comm.h"
#include "evaluate/share.h"
#include "feed/marked.h"

/* What one rank finds out for itself. */
static dram_status open_feed_lists(const dram_session *s, dram_feed *feed, int images)
{
    if (!feed->said) feed->said = dram_calloc((size_t)images, sizeof *feed->said);
    if (dram_comm_size(s->comm) == 1) return DRAM_OK;
    if (!feed->left_out) feed->left_out = dram_calloc((size_t)images, sizeof *feed->left_out);
    return feed->left_out ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory to keep which images are bad");
}

/* The share of this rank, once all have done theirs. DRAM_INTERRUPTED on all ranks where one was asked to stop. */
static dram_status run_share(dram_session *s, dram_feed *feed, const dram_eval_work *work, dram_eval_share *share)
{
    bool asked;
    int images = dram_dataset_count(work->dataset);
    dram_status status = open_feed_lists(s, feed, images);
    if (status == DRAM_OK) status = dram_eval_share_open(s, images, work->ranks, share);
    dram_eval_work mine = *work;
    mine.left_out = feed->left_out;
    if (status == DRAM_OK) status = dram_eval_share_run(s, feed, &mine, share);
    if (dram_comm_size(s->comm) == 1) return status;
    bool interrupted = status == DRAM_INTERRUPTED;
    TRY(dram_comm_wait(s->comm, interrupted ? DRAM_OK : status, work->stop, &asked));
    if (interrupted) return status;
    return asked ? dram_fail(DRAM_INTERRUPTED, "interrupted: another rank was asked to stop") : DRAM_OK;
}

/* Bad images that a rank has met are known to all. *again: a batch had one, so what is behind it is to be evaluated
 * again, in the batches that one rank has. */
static dram_status join_left_out(const dram_session *s, const dram_feed *feed, const dram_dataset *dataset,
                                 int64_t met_here, int *left_out, bool *again)
{
    int more, images = dram_dataset_count(dataset);
    int64_t met = met_here;
    *left_out = 0;
    TRY(dram_comm_sum_counts(s->comm, &met, 1));
    TRY(dram_marked_join(s->comm, feed->left_out, images, &more));
    for (int i = 0; i < images; i++) *left_out += feed->left_out[i];
    *again = met > 0;
    if (!dram_dataset_is_too_bad(*left_out, images)) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%d of %d images are bad, more than 10 %%; remove or repair them", *left_out,
                     images);
}

/* The sums of all ranks; all get the same. */
static dram_status join(dram_session *s, int ranks, dram_eval_share *share, dram_eval_result *result)
{
    dram_eval_term *terms = dram_alloc((size_t)ranks * ((size_t)share->most + 1) * sizeof *terms);
    dram_status status;
    if (!terms) return dram_fail(DRAM_ERR_MEMORY, "no memory to evaluate");
    TRY_GOTO(dram_comm_sum_counts(s->comm, share->counts, share->n_counts), done);
    TRY_GOTO(dram_comm_gather(s->comm, share->terms, share->most * (int64_t)sizeof *terms, terms), done);
    dram_eval_share_score(s, share->counts, terms, ranks, share->most, result);
done:
    dram_free(terms);
    return status;
}

dram_status dram_evaluate(dram_session *s, dram_feed *feed, const dram_dataset *dataset,
                          const dram_predictions *predictions, const volatile sig_atomic_t *stop,
                          dram_eval_result *result)
{
    const dram_eval_work work = {.dataset = dataset,
                                 .rank = dram_comm_rank(s->comm),
                                 .ranks = dram_comm_size(s->comm),
                                 .predictions = predictions,
                                 .stop = stop};
    dram_eval_share share = {0};
    dram_status status;
    int left_out = 0;
    for (bool again = true; again;) {
        dram_eval_share_close(&share);
        TRY_GOTO(run_share(s, feed, &work, &share), done);
        again = false;
        if (work.ranks > 1)
            TRY_GOTO(join_left_out(s, feed, dataset, share.counts[DRAM_EVAL_SKIPPED], &left_out, &again), done);
    }
    TRY_GOTO(join(s, work.ranks, &share, result), done);
    if (work.ranks > 1) result->skipped = left_out;
done:
    dram_eval_share_close(&share);
    return status;
}
