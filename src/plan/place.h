/* place: offsets for buffers whose sizes and lifetimes are known (dynamic storage allocation).
 *
 * Greedy placement in several orders, the best kept: by duration, area, pressure, size, birth, each with the lowest gap
 * that is large enough and with the smallest (orders as in TensorFlow Lite's planners, XLA's heap simulator and TVM's
 * USMP). Then a short local search over the order, where the result is above the lower bound. Pure: no tensors, no
 * devices.
 */
#ifndef DRAM_PLAN_PLACE_H
#define DRAM_PLAN_PLACE_H

#include <stdint.h>

#include "base/status.h"

typedef struct {
    int64_t bytes;       /* in: a multiple of the alignment; 0 takes no room */
    int32_t first, last; /* in: alive from the start of node `first` to the end of node `last`, both included */
    int64_t offset;      /* out */
} dram_buffer;

typedef struct {
    int64_t top;      /* bytes of the arena that holds them */
    int64_t max_live; /* most bytes alive at one node: no placement can be below it */
    int32_t max_live_at;
} dram_placement;

/* Sets the offsets. Offsets are sums of sizes, so they are aligned when the sizes are. Deterministic. */
dram_status dram_place(dram_buffer *buffers, int n, dram_placement *result);

/* Whether two buffers that live at the same time share a byte: 1 and the pair, 0, or -1 when memory is out and it is
 * not known. O(n log n + pairs alive together). */
int dram_place_overlap(const dram_buffer *buffers, int n, int *a, int *b);

#endif
