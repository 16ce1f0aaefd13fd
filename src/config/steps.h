/* steps: a number that may change as a run goes on. */
#ifndef DRAM_CONFIG_STEPS_H
#define DRAM_CONFIG_STEPS_H

#include <stdbool.h>
#include <stdint.h>

/* value[i] holds from step from[i] on. from[0] is 0, from rises, and n is at least 1. */
enum { DRAM_STEPS = 16 };
typedef struct {
    int64_t from[DRAM_STEPS];
    int value[DRAM_STEPS];
    int n;
} dram_steps;

/* Index of the entry that holds at a step. */
int dram_steps_at(const dram_steps *steps, int64_t step);

/* The largest value. */
int dram_steps_most(const dram_steps *steps);

/* The one entry `value`, which holds from step 0 on. */
dram_steps dram_steps_always(int value);

bool dram_steps_equal(const dram_steps *a, const dram_steps *b);

#endif
