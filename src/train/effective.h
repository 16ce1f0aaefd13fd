/* effective: the effective batch of a run, which does not depend on the number of ranks that it goes on with. */
#ifndef DRAM_TRAIN_EFFECTIVE_H
#define DRAM_TRAIN_EFFECTIVE_H

#include "config/config.h"

/* What a checkpoint was trained with. */
typedef struct {
    int ranks;
    int batch;      /* images of an update, of all ranks */
    int accumulate; /* micro-batches of each rank */
} dram_effective;

/* Reads state.json of a checkpoint's folder. One that says nothing of ranks is of one, with the batch and the number of
 * micro-batches of `before`, its config. */
dram_status dram_effective_read(const char *checkpoint, const dram_config *before, dram_effective *was);

/* Sets train.batch_size and train.accumulate so that `ranks` ranks have the effective batch that the run had, in
 * micro-batches no larger than they were. Nothing is changed where it is the same already, nor for one rank that goes on
 * with what one rank began. What the command line says of train.batch_size stays, with a warning if samples shift.
 * DRAM_ERR_CONFIG: the batch cannot be shared by so many ranks; the text has the numbers that can. */
dram_status dram_effective_keep(const dram_effective *was, int ranks, dram_config *cfg);

#endif
