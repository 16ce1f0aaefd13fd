/* guard: watches the machine's memory while a run goes on.
 *
 * A thread of its own reads, at once and then once in an interval, what the run holds and what the machine has left. It
 * keeps the peaks, and warns (dram_warn) once when 90 % and once when 95 % of the machine's memory is in use. The record
 * is told each reading of the first 60, then for each 60th the worst since the one before, and the last. It takes no
 * memory after it was opened.
 */
#ifndef DRAM_TRAIN_GUARD_H
#define DRAM_TRAIN_GUARD_H

#include "device/device.h"
#include "record/record.h"

typedef struct {
    int64_t device_bytes;  /* taken from the device, in its own space */
    int64_t process_bytes; /* resident in RAM */
    int64_t free_bytes;    /* of the machine, within the limits of the control groups */
    int64_t card_free;     /* of a GPU's memory; 0 without one */
    int64_t card_process;  /* what its driver counts to this process; 0: it does not */
    int64_t total_bytes;   /* the same with nothing in use; 0: not known, and nothing is warned of */
    double cpu_seconds;    /* that the process has taken so far */
} dram_reading;

/* Fills *reading. Called by one thread at a time, not always the same. */
typedef void (*dram_reader)(void *context, dram_reading *reading);

/* What the host and the device, the context, say now. */
void dram_read_host(void *device, dram_reading *reading);

typedef struct {
    dram_reader read;    /* dram_read_host in a run */
    void *context;       /* must outlive the guard */
    double interval;     /* seconds between readings */
    int cores;           /* that 100 % of the processor is */
    int64_t step;        /* updates done so far */
    dram_record *record; /* what is told the readings; it must outlive the guard. NULL: none */
} dram_guard_params;

typedef struct {
    int64_t device_bytes, process_bytes, card_process; /* the most that was read */
    int64_t free_bytes;                                /* the least */
    int64_t readings;
    int warned; /* 0, 90 or 95 */
} dram_guard_peaks;

typedef struct dram_guard dram_guard;

/* Makes the first reading and starts the thread. */
dram_status dram_guard_open(const dram_guard_params *params, dram_guard **out);

/* Updates done, for the lines of the file. */
void dram_guard_step(dram_guard *guard, int64_t step);

/* Joins the thread and makes the last reading. guard NULL is allowed; *peaks is {0} then. peaks may be NULL. */
void dram_guard_close(dram_guard *guard, dram_guard_peaks *peaks);

#endif
