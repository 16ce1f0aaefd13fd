/* types: numbers of every dtype as doubles, and the tolerance of what is stored in one. */
#ifndef TESTS_OPS_TYPES_H
#define TESTS_OPS_TYPES_H

#include "ir/graph.h"
#include "optest.h"

bool types_float(dram_dtype dtype); /* f32, bf16, f16 */
bool types_low(dram_dtype dtype);   /* bf16, f16 */

/* The nearest number that dtype has. */
double types_round(dram_dtype dtype, double x);

/* n numbers that dtype has, into its memory; and out of it, as fp32. */
void types_store(void *to, dram_dtype dtype, const double *from, int64_t n);
void types_load(float *to, const void *from, dram_dtype dtype, int64_t n);

/* What `tol` allows to an fp32 result, after `roundings` more to dtype: see there. */
optest_tol types_tolerance(optest_tol tol, dram_dtype dtype, double roundings);

/* An op must refuse float inputs of mixed types: the node again, alone, with one input of another type at a time. NULL,
 * or the input that was taken all the same, formatted into text. `typed`: the op's other types are tested too, so that
 * a node wholly of fp32 says nothing. */
const char *types_not_refused(const dram_graph *g, const dram_node *node, bool typed, char *text, int size);

#endif
