/* record: the one stream of a run's facts, and the sinks that they go to. */
#ifndef DRAM_RECORD_RECORD_H
#define DRAM_RECORD_RECORD_H

#include "record/sink.h"

typedef struct dram_record dram_record;

/* What a rank has written into a run's directory before gets names of its own (dram_path_put_aside), which is said. */
dram_status dram_record_put_aside(const char *directory, int rank);

/* The same is brought to the step from which the run goes on, whether the config asks for more of it or not. */
dram_status dram_record_cut(const char *directory, int rank, int64_t step);

/* A stream without sinks, for a run that has done `step` updates; the caller's. */
dram_status dram_record_open(int64_t step, dram_record **out);

/* Opens a sink on a path of its own; or all that the config asks for, in a run's directory. */
dram_status dram_record_add(dram_record *record, const dram_sink *sink, const char *path);
dram_status dram_record_add_files(dram_record *record, const dram_config *cfg, const char *directory, int rank);

/* Adds one that is open and stays the caller's: nothing of it is called but `fact`. */
dram_status dram_record_listen(dram_record *record, const dram_sink *sink, void *opened);

/* Hands a fact to the sinks that take it, in the order in which they were added, up to the first that fails. From any
 * thread. record NULL: nobody listens. */
dram_status dram_record_tell(dram_record *record, const dram_fact *fact);

/* Whether anyone takes such facts. */
bool dram_record_takes(const dram_record *record, dram_fact_kind kind);

/* Closes all of it; nobody tells anything any more. A file that cannot be closed may lack its end: DRAM_ERR_IO, or,
 * where the run has `failed` already, a warning. NULL is allowed. */
dram_status dram_record_close(dram_record *record, bool failed);

#endif
