/* alive: what has its bytes when the arena is fullest. */
#ifndef DRAM_PLAN_ALIVE_H
#define DRAM_PLAN_ALIVE_H

#include "plan/plan.h"

/* Something alive at the peak of the program that is fullest: a slot, a value or the workspace of a node. */
typedef struct {
    enum { DRAM_LIVING_SLOT, DRAM_LIVING_VALUE, DRAM_LIVING_WORKSPACE } kind;
    int index; /* of the slot, the value or the node */
    int64_t bytes;
} dram_living;

/* The `most` largest in the device's space, in falling order, the first of equals first; list[most]. Their number: 0
 * where there is no program. A value that another one takes over at this very node is left to that one. */
int dram_plan_largest(const dram_plan *plan, dram_living *list, int most);

/* "student.s1.b1.conv1.conv", or "NODE.workspace". `text` holds what is not a name of the graph's. */
const char *dram_living_name(const dram_plan *plan, const dram_living *living, char *text, size_t size);

/* The n largest, n up to 8: "student.s1.b1.conv1.conv 64.00 MiB, ...". */
dram_status dram_plan_alive(const dram_plan *plan, int n, dram_str *out);

#endif
