#include "config/steps.h"

int dram_steps_at(const dram_steps *steps, int64_t step)
{
    int i = steps->n - 1;
    while (i > 0 && steps->from[i] > step) i--;
    return i;
}

int dram_steps_most(const dram_steps *steps)
{
    int most = steps->value[0];
    for (int i = 1; i < steps->n; i++)
        if (steps->value[i] > most) most = steps->value[i];
    return most;
}

dram_steps dram_steps_always(int value)
{
    return (dram_steps){.value = {value}, .n = 1};
}

bool dram_steps_equal(const dram_steps *a, const dram_steps *b)
{
    bool equal = a->n == b->n;
    for (int i = 0; i < a->n && equal; i++) equal = a->from[i] == b->from[i] && a->value[i] == b->value[i];
    return equal;
}
