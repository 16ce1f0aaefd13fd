/* share: an evaluation cut into shares, one a rank, and what they come to together. Internal to src/evaluate.
 *
 * Rank r of n evaluates batches r, r + n, r + 2n .. of the data set. What each batch gives is kept apart and added in
 * the order of the batches, so the result has the bits of one rank that evaluates them all.
 */
#ifndef DRAM_EVALUATE_SHARE_H
#define DRAM_EVALUATE_SHARE_H

#include "evaluate/eval.h"

/* The sums of a share that are whole numbers; behind them the confusion, [K,K]: label, prediction. */
enum {
    DRAM_EVAL_IMAGES,
    DRAM_EVAL_LABELLED,    /* pixels */
    DRAM_EVAL_VOID_PIXELS, /* of labels */
    DRAM_EVAL_WITH_PIXELS, /* images with a labelled pixel */
    DRAM_EVAL_EMBEDDED,    /* images that the next two are over */
    DRAM_EVAL_SKIPPED,     /* images that the loader met and left out */
    DRAM_EVAL_COUNTS
};

/* What one batch adds to the cosine and to the MSE: the sum over its images. */
typedef struct {
    double cosine, mse;
} dram_eval_term;

typedef struct {
    int n_counts;          /* DRAM_EVAL_COUNTS + K * K */
    int64_t *counts;       /* [n_counts] */
    int most;              /* batches that a share of this data set may have, the same for all ranks */
    dram_eval_term *terms; /* [most], one a batch of this rank; {0} where it has none */
} dram_eval_share;

/* Memory for the share of one of `ranks` of a data set of `images`. Zeros. */
dram_status dram_eval_share_open(const dram_session *session, int images, int ranks, dram_eval_share *share);
void dram_eval_share_close(dram_eval_share *share); /* {0} is allowed */

typedef struct {
    const dram_dataset *dataset;
    int rank, ranks;
    /* [images] those that are in no batch, since they are bad. With one rank NULL: the loader leaves them out as it meets
     * them. With more, a batch of which an image turns out to be bad is short, and those behind it are not what one rank
     * has: then the share is of no use but for what it adds here. */
    bool *left_out;
    const dram_predictions *predictions; /* NULL: none are written */
    const volatile sig_atomic_t *stop;   /* NULL: never */
} dram_eval_work;

/* Evaluates one rank's batches into an open share of zeros. Between batches a session of several ranks says that it is
 * at work. DRAM_INTERRUPTED: this rank was asked to stop, or another was. */
dram_status dram_eval_share_run(dram_session *session, dram_feed *feed, const dram_eval_work *work,
                                dram_eval_share *share);

/* counts: the sum of all shares; terms: [ranks][most], those of all. *result is all that they say. */
void dram_eval_share_score(const dram_session *session, const int64_t *counts, const dram_eval_term *terms, int ranks,
                           int most, dram_eval_result *result);

#endif
