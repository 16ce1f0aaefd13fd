/* memory: guarded memory of one value, and running one node over such values. */
#ifndef TESTS_OPS_MEMORY_H
#define TESTS_OPS_MEMORY_H

#include "device/device.h"
#include "ir/op.h"

typedef struct {
    unsigned char *base;
    void *data; /* `bytes` bytes, aligned to 64, between two guards; the device's, if there is one */
    int64_t bytes;
} guarded;

/* The device on which values are and nodes run from now on; NULL: the CPU. Ends the program when it fails. */
void memory_use(dram_device *device);

guarded
guarded_new(int64_t bytes); /* filled with 0xff: NaN as float, -1 as i32. Ends the program when memory is out. */
void guarded_free(guarded *m);
bool guarded_intact(const guarded *m); /* nothing was written outside */
void guarded_junk(guarded *m);

/* All of its bytes from and to the host. */
void guarded_write(guarded *m, const void *host);
void guarded_read(const guarded *m, void *host);
bool guarded_equal(const guarded *a, const guarded *b);
void guarded_copy(guarded *to, const guarded *from);

typedef struct {
    dram_graph *graph;
    guarded *value; /* of each value of the graph */
    const dram_kernel *kernels;
    dram_pool *pool;
    dram_profile profile;
} memory_run;

/* Runs node k into the memory of its outputs, or with alias >= 0 into other memory with output 0 on the bytes of that
 * input, and compares the two. Returns NULL, or what is wrong. */
const char *memory_run_node(const memory_run *r, const dram_node *node, int alias);

/* Whether the node may be run with output 0 on input i. */
bool memory_may_alias(const dram_graph *g, const dram_node *node, int i);

#endif
