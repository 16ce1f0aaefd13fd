/* events: events.jsonl of a sweep, a line for each thing that happened, of all processes that work on it. */
#ifndef DRAM_SWEEP_EVENTS_H
#define DRAM_SWEEP_EVENTS_H

#include "io/lines.h"
#include "sweep/sweep.h"

#define DRAM_SWEEP_EVENT_LIST(X)                                                                                       \
    X(PLANNED, planned)         /* the run is known */                                                                 \
    X(CLAIMED, claimed)         /* a process will make it, or has taken it over */                                     \
    X(STARTED, started)         /* its child has begun; text: what it takes */                                         \
    X(PROMOTED, promoted)       /* it goes on past a rung */                                                           \
    X(DONE, done)               /* for good, or, of halving, at a rung: text */                                        \
    X(FAILED, failed)           /* exit and text: its last words */                                                    \
    X(INTERRUPTED, interrupted) /* it has saved, and goes on with the same command */

typedef enum {
#define X(ID, WORD) DRAM_SWEEP_EVENT_##ID,
    DRAM_SWEEP_EVENT_LIST(X)
#undef X
        DRAM_SWEEP_EVENT_COUNT
} dram_sweep_event;

/* What is known of a run by them. */
typedef struct {
    bool any, begun; /* there is one; it was started once */
    dram_sweep_event last;
    int exit;                      /* with the last; -1: none */
    char *text;                    /* of the last, where it failed; NULL: none */
    int promoted;                  /* rungs that it was let past */
    double rung[DRAM_SWEEP_RUNGS]; /* of halving: its quality there; NAN: none, or it has not come to it */
} dram_sweep_event_state;

typedef struct {
    const dram_sweep *sweep;
    char *path;
    dram_lines lines;
    int64_t place;              /* to which the file was read */
    dram_sweep_event_state *of; /* [sweep->n_runs] */
    int *by_name;               /* [sweep->n_runs], runs in the order of their names */
    bool warned;
} dram_events;

/* Opens the file, which is made if it is not there, and reads it. The sweep outlives it. */
dram_status dram_events_open(const dram_sweep *sweep, dram_events *events);

/* Reads the file, if it is there, and changes nothing: nothing can be added. A damaged line is nothing, as is one that
 * is still being written. */
dram_status dram_events_look(const dram_sweep *sweep, dram_events *events);

/* Reads what others have written since. A damaged line is left out, and warned of once. */
dram_status dram_events_read(dram_events *events);

/* The text of a `done` that is at a rung: what dram_events_read has it from. */
void dram_events_rung_text(const dram_sweep *sweep, int rung, double quality, dram_str *text);

/* Appends an event of a run, its place in sweep->runs; text may be NULL, exit -1. What fails leaves no part of a line. */
dram_status dram_events_add(dram_events *events, int run, dram_sweep_event event, int exit, const char *text);

void dram_events_close(dram_events *events); /* {0} is allowed */

#endif
