/* pieces: how kernels cut n elements, or rows, whose sums are added in the order of the cuts.
 *
 * src/scratch has what an op's rule and its kernels must agree on: how work is cut and how many bytes of scratch that
 * takes. A header a family of ops, plain C, read by the rule (src/ops) and by the kernels of every device. All numbers
 * depend on shapes alone, or on them, the workers and each worker's share.
 */
#ifndef DRAM_SCRATCH_PIECES_H
#define DRAM_SCRATCH_PIECES_H

#include "base/kernel.h"

/* Elements of a task on the CPU: pieces of 32 Ki keep both cores busy and the pool's overhead (about a microsecond a
 * call) out of sight. Independent of the number of workers. */
enum { DRAM_PIECE = 32768 };

static inline int64_t dram_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Parts of n things, `each` of them or so a part: at most `most`, none of them empty; 0 of nothing. */
static inline int64_t dram_parts_of(int64_t n, int64_t each, int64_t most)
{
    return dram_min(dram_ceil_div(n, each), most);
}

#endif
