/* activation: what a product may end in. */
#ifndef DRAM_KERNELS_CPU_ACTIVATION_H
#define DRAM_KERNELS_CPU_ACTIVATION_H

#include "kernels/cpu/cpu.h"

/* GELU in place, with the bits of the op: rows of `columns` elements of a stored matrix, the first at element `at`,
 * `ld` elements from one to the next. */
void DRAM_CPU(gelu_rows)(void *data, dram_dtype dtype, int64_t at, int64_t rows, int64_t columns, int64_t ld);

#endif
