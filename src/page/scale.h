/* scale: an axis: what it spans, where its ticks are, and how its numbers are written. */
#ifndef DRAM_PAGE_SCALE_H
#define DRAM_PAGE_SCALE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { DRAM_UNIT_NUMBER, DRAM_UNIT_BYTES, DRAM_UNIT_SECONDS, DRAM_UNIT_PERCENT } dram_unit;

enum { DRAM_TICKS = 32, DRAM_TICK_LABEL = 32 };

typedef struct {
    double low, high; /* what the axis spans; low < high */
    bool log;
    dram_unit unit;
    double tick[DRAM_TICKS]; /* rising, within low..high */
    int n_ticks;
    double step, part; /* linear: between ticks; the unit in which labels are: 1048576 for MiB */
} dram_scale;

/* How an axis is to be laid: numbers from `least` to `most` (not finite: from 0 to 1) are to be on it, with about
 * `ticks` ticks. A log axis of numbers that are not above 0 becomes a linear one. */
typedef struct {
    double least, most;
    dram_unit unit;
    bool log;
    bool from_zero; /* linear: 0 is on it */
    bool tight;     /* it ends with the numbers, not with the ticks around them */
    int ticks;
} dram_scale_wish;

dram_scale dram_scale_fit(const dram_scale_wish *wish);

/* Where a number lies: 0 at `low`, 1 at `high`; outside for what is outside. */
double dram_scale_place(const dram_scale *scale, double value);

/* The label of a tick, into out, which is returned. */
char *dram_scale_label(const dram_scale *scale, double tick, char out[DRAM_TICK_LABEL]);

/* The least of 1, 2, 5 times a power of ten that is not below `least`, which is above 0. */
double dram_scale_round(double least);

/* A number for a person, into out, which is returned: "0.7312", "89.8 MiB", "1 h 12 min", "71.2 %". NaN: "-", an
 * infinity: "not finite". */
char *dram_format_unit(double value, dram_unit unit, char *out, size_t size);

#endif
