/* index: a hash table from names to their places in an array. */
#ifndef DRAM_IR_INDEX_H
#define DRAM_IR_INDEX_H

#include <stdbool.h>
#include <stdint.h>

/* Start from {0}. */
typedef struct {
    struct {
        uint64_t hash;
        int32_t item; /* + 1; 0: the cell is free */
    } * cell;
    int room; /* 0 or a power of two */
    int n;
} dram_index;

/* Walks the items that were added with that hash; -1 after the last. Begin with *at = -1. The caller compares names. */
int dram_index_next(const dram_index *index, uint64_t hash, int *at);

/* Returns false when memory is out, the index then being as it was. */
bool dram_index_add(dram_index *index, uint64_t hash, int item);

/* Takes an item away again; nothing if it is not there. */
void dram_index_drop(dram_index *index, uint64_t hash, int item);

void dram_index_free(dram_index *index); /* leaves {0} */

#endif
