/* graph: one step as a static program: values, and the nodes that make them, in the order in which they run.
 *
 * Object model. A `dram_slots` is the table of everything that outlives a program: weights, running statistics,
 * optimiser state. Several graphs (distil step, evaluation, ...) are built over one table. A graph owns its values and
 * nodes; both are named by index and never move once made. Graphs are built by appending nodes; the forward, the
 * backward and the update are all ordinary nodes.
 *
 * Building is sticky: after a failure graph->status stays set, every later call returns DRAM_NONE and does nothing, and
 * the builder checks once at its end (return graph->status).
 */
#ifndef DRAM_IR_GRAPH_H
#define DRAM_IR_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/kernel.h"
#include "base/status.h"
#include "base/tensor.h"
#include "ir/index.h"
#include "ir/op_list.h"

typedef int32_t dram_val; /* index of a value in its graph */
enum { DRAM_NONE = -1 };

/* Where a value's bytes are, and which queue a node runs on. A value that is read on another queue than the one that
 * made it lives until the event that joins the two. */
typedef enum { DRAM_SPACE_DEVICE, DRAM_SPACE_PINNED, DRAM_SPACE_HOST, DRAM_SPACE_COUNT } dram_space;
typedef enum { DRAM_QUEUE_COMPUTE, DRAM_QUEUE_COPY, DRAM_QUEUE_COMM, DRAM_QUEUE_COUNT } dram_queue;

/* The byte account's categories, with the names of `dram plan --json`. */
#define DRAM_CATEGORY_LIST(X)                                                                                          \
    X(TEACHER_WEIGHTS, "teacher_weights")                                                                              \
    X(STUDENT_WEIGHTS, "student_weights")                                                                              \
    X(MEAN_WEIGHTS, "mean_weights")                                                                                    \
    X(GRADIENTS, "gradients")                                                                                          \
    X(OPTIMIZER, "optimizer")                                                                                          \
    X(ACTIVATIONS, "activations")                                                                                      \
    X(TEACHER_ACTIVATIONS, "teacher_activations")                                                                      \
    X(WORKSPACE, "workspace")                                                                                          \
    X(INPUT, "input")

typedef enum {
#define X(ID, NAME) DRAM_CATEGORY_##ID,
    DRAM_CATEGORY_LIST(X)
#undef X
        DRAM_CATEGORY_COUNT
} dram_category;

const char *dram_category_name(dram_category category);

/* How a weight begins when no file gives it. */
typedef enum { DRAM_INIT_ZERO, DRAM_INIT_ONE, DRAM_INIT_NORMAL, DRAM_INIT_TRUNC_NORMAL } dram_init;

/* How a file lays out what we keep as [O, kh, kw, I]: PyTorch keeps [O, I, kh, kw]. */
typedef enum { DRAM_LAYOUT_SAME, DRAM_LAYOUT_OIHW } dram_layout;

/* Something that outlives the programs and keeps its place in the arena. */
typedef struct {
    char *name; /* the file's name for it: "stem.conv.weight", "image_encoder.pos_embed" */
    dram_dtype dtype;
    dram_shape shape;
    dram_category category;
    bool trainable;
    bool decays; /* takes weight decay: not norms, not biases, not relative positions */
    dram_init init;
    float init_std;
    dram_layout layout;
    dram_shape whole; /* of the tensor, where the slot is a shard of it, `shape` being [dram_rank_shard]; else rank 0 */
    dram_space space; /* DEVICE, or HOST: outside the arena of the device */
    const char *group; /* "teacher", "student", "mean", "neck", "head", "sr", "optimizer": its owner; static text */
} dram_slot;

/* Of the tensor that the slot is, or is a shard of. */
static inline const dram_shape *dram_slot_tensor(const dram_slot *slot)
{
    return slot->whole.rank ? &slot->whole : &slot->shape;
}

typedef struct {
    dram_slot **at;
    int n, room;
    dram_index names; /* of at[] */
} dram_slots;

/* Adds a slot (copied, its name too) and gives its index; the slot of that group and name if there is one already,
 * which must then have the same shape, dtype and space. */
dram_status dram_slots_add(dram_slots *slots, const dram_slot *slot, int *index);
int dram_slots_find(const dram_slots *slots, const char *group, const char *name); /* DRAM_NONE if absent */
void dram_slots_free(dram_slots *slots);

typedef enum {
    DRAM_VALUE_TEMP,  /* made and read within the program */
    DRAM_VALUE_INPUT, /* staged from the host before the program runs; its bytes are free after its last reader */
    DRAM_VALUE_SLOT   /* a slot as it is at this point of the program */
} dram_value_kind;

typedef struct {
    const char *name; /* unique in the graph; owned by it */
    dram_value_kind kind;
    dram_dtype dtype;
    dram_shape shape;
    dram_space space;
    dram_category category;
    int slot;         /* of kind SLOT (and of a value that updates one), else DRAM_NONE */
    int32_t producer; /* node, DRAM_NONE for inputs and slots at the start */
    bool requires_grad;
    bool output;   /* read by the host after the program: lives to its end */
    int namesakes; /* that were given its name with ~2, ~3, ... behind it */
} dram_value;

typedef struct {
    dram_op op;
    dram_queue queue;
    int n_in, n_out;
    dram_val in[DRAM_MAX_IN]; /* DRAM_NONE for an optional input that was not given */
    dram_val out[DRAM_MAX_OUT];
    dram_attr attr;
    int block;        /* recompute's unit: nodes of a residual or ViT block and of its gradient; 0: of none */
    const char *name; /* owned by the graph */
} dram_node;

typedef struct {
    const char *name;  /* of the program: "distil_step" */
    dram_slots *slots; /* not owned */
    dram_value **values;
    dram_node **nodes;
    int n_values, values_room;
    int n_nodes, nodes_room;
    dram_index names;     /* of the values */
    dram_val *slot_value; /* slot -> the value that is the slot at this point, DRAM_NONE if not read yet */
    int slot_values;
    int backward_begin;     /* the first node of the backward; 0: there is none */
    char scope[160];        /* prefix of new names */
    dram_category category; /* of new temporaries */
    dram_space space;       /* of new values */
    bool detached;          /* new nodes carry no gradient */
    int block;              /* of new nodes; 0: none */
    int n_blocks;           /* made so far */
    int sync; /* ranks over whose batches statistics of a batch are taken; 0: over the graph's own alone */
    dram_reduce_mode reduce; /* how those ranks add */
    dram_status status;      /* sticky */
} dram_graph;

dram_status dram_graph_new(const char *name, dram_slots *slots, dram_graph **graph);
void dram_graph_free(dram_graph *graph); /* NULL is allowed */

static inline dram_value *dram_value_at(const dram_graph *g, dram_val v)
{
    return g->values[v];
}
static inline const dram_shape *dram_shape_of(const dram_graph *g, dram_val v)
{
    return &g->values[v]->shape;
}
int64_t dram_value_bytes(const dram_value *value); /* not rounded */

/* Names made between push and pop begin with "part."; push returns the length to pop to. */
int dram_scope_push(dram_graph *g, const char *part);
void dram_scope_pop(dram_graph *g, int length);

/* Nodes made between enter and leave are one more block; blocks do not nest. */
void dram_block_enter(dram_graph *g);
void dram_block_leave(dram_graph *g);

/* A staged input. `name` is used as it is, without the scope. */
dram_val dram_graph_input(dram_graph *g, const char *name, dram_dtype dtype, dram_shape shape);

/* The slot's present value in this graph; the slot is added to the table when it is new. The scope has no part in its
 * name. */
dram_val dram_graph_slot(dram_graph *g, const dram_slot *slot);

/* Appends a node. n_in counts places: optional inputs that are not given are DRAM_NONE. The op's shape rule checks the
 * inputs and sets the outputs' shapes. `name` is put behind the scope. outs receives the op's outputs.
 * Sticky: a failure is kept in g->status, and outs are DRAM_NONE. */
void dram_graph_add(dram_graph *g, dram_op op, const char *name, const dram_attr *attr, const dram_val *in, int n_in,
                    dram_val *outs);

/* Puts the nodes in another order: order[i] is the present index of the node that is to be number i. */
dram_status dram_graph_order(dram_graph *g, const int *order);

/* The host reads this value after the program. */
void dram_graph_output(dram_graph *g, dram_val v);

/* Sets the sticky status with a text; for builders and shape rules. Returns the status. */
dram_status dram_graph_fail(dram_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
