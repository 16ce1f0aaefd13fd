/* guess: which network of the registry a file of weights holds, told by names and shapes. */
#ifndef DRAM_MODEL_GUESS_H
#define DRAM_MODEL_GUESS_H

#include "model/names.h"

/* The shape that a file gives a tensor, in the file's order; false: there is no such tensor. */
typedef bool (*dram_guess_shape)(const void *context, const char *name, dram_shape *shape);

/* The network whose number of blocks, widths, groups and size a file has, under any naming that dram reads; NULL: none.
 * A few tensors are looked at, not all: a damaged file is still named. */
const dram_arch *dram_arch_guess(dram_guess_shape shape, const void *context);

#endif
