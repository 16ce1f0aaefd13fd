/* together: what the ranks of a run do together besides a step. With one rank nothing is done. All ranks make each call,
 * at the same step. */
#ifndef DRAM_TRAIN_TOGETHER_H
#define DRAM_TRAIN_TOGETHER_H

#include "session/session.h"

/* With distributed.batch_norm local each rank's BatchNorm follows what that rank saw: its running statistics become the
 * mean over the ranks, the same bits on all. */
dram_status dram_together_average(dram_session *session);

/* Whether all ranks have the same weights and optimiser state, bit for bit; `running`: and running statistics. Else
 * DRAM_ERR_RUN on all, which names the first tensor that differs and the ranks. */
dram_status dram_together_compare(dram_session *session, bool running);

/* DRAM_ERR_RUN on all: the ranks have made different plans. Before anything is allocated. */
dram_status dram_together_compare_plans(const dram_session *session);

/* all[0..n * ranks): the n floats of every rank, in rank order, through memory for `piece` of each. On rank 0; `all` is
 * NULL on the others. */
dram_status dram_together_collect(dram_comm *comm, const float *mine, int64_t n, int64_t piece, float *all);

#endif
