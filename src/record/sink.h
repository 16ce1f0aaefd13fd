/* sink: what takes the facts of a run. One sink is one file of src/record and one row of the list in record.c. */
#ifndef DRAM_RECORD_SINK_H
#define DRAM_RECORD_SINK_H

#include "config/config.h"
#include "record/fact.h"

/* Calls of one sink are made one at a time, not all by one thread: a reading of the memory comes from the thread that
 * watches it, where no memory may be taken and no error text is read. NULL stands for what a sink has no need of. */
typedef struct {
    const char *file; /* its name in the run's directory */
    bool each_rank;   /* ranks after the first have one too, NAME.rank-0001.EXT; else the first alone writes */
    unsigned facts;   /* a set of dram_fact_kind, bit 1u << kind: no others come */
    /* Brings what a run that goes on has left to the `step` updates that it goes on from. No file is no error. */
    dram_status (*cut)(const char *path, int64_t step);
    bool (*asked)(const dram_config *cfg); /* NULL: always */
    /* For a run that has done `step` updates. path outlives the sink. */
    dram_status (*open)(const char *path, int64_t step, void **sink);
    /* The fact is written when it returns. A reading of the memory is never a failure: it is warned of, or comes with
     * the next fact of another kind. */
    dram_status (*fact)(void *sink, const dram_fact *fact);
    /* The errno with which closing failed, or 0. The sink is gone in any case. */
    int (*close)(void *sink);
} dram_sink;

extern const dram_sink dram_metrics_sink, dram_evaluations_sink, dram_memory_sink, dram_tensorboard_sink;

#endif
