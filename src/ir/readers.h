/* readers: who reads each value of a program, and which output takes over its bytes. The passes foretell by these rules
 * what the plan then finds by the same. */
#ifndef DRAM_IR_READERS_H
#define DRAM_IR_READERS_H

#include "ir/graph.h"

/* Of each value of a graph. A node that reads a value twice counts once. */
typedef struct {
    int *first, *last; /* nodes; DRAM_NONE: nobody reads it */
    int *count;
} dram_readers;

dram_status dram_readers_find(const dram_graph *g, dram_readers *readers);
void dram_readers_free(dram_readers *readers); /* {0} is allowed */

/* The values of a program as it runs: those of a graph, or of a trace in which some of its nodes run again. */
typedef struct {
    const dram_graph *g;
    const int *origin; /* of a value: the graph's value that it is or repeats; NULL: that of its own number */
    const int *last;   /* of a value: the node, or the step of the trace, that needs it last */
    bool apart;        /* the teacher's activations share no bytes with anything else */
} dram_lives;

/* The input whose bytes output 0 of the node at that place takes over: the first that dies there, where op, types and
 * sizes allow it, nobody keeps it, and no other input is the same value. DRAM_NONE if there is none, and of an output
 * that updates something. `in` and `out` are the values that the node reads and makes there. */
dram_val dram_takes_over(const dram_lives *lives, int at, const dram_node *node, const dram_val *in,
                         const dram_val *out);

static inline bool dram_of_teacher(const dram_value *v)
{
    return v->category == DRAM_CATEGORY_TEACHER_ACTIVATIONS;
}

#endif
