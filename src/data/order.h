/* order: which image of a dataset stands at which position of the training stream. */
#ifndef DRAM_DATA_ORDER_H
#define DRAM_DATA_ORDER_H

#include "base/rng.h"
#include "base/status.h"
#include "data/dataset.h"

typedef struct dram_order dram_order;

/* labelled_share 0: images as they come, each epoch shuffled. Above 0: of any n positions in a row that share, rounded
 * down or up, is drawn from the labelled images and the rest from the others, each with epochs of its own; 1: labelled
 * images alone. Where all images are labelled, or none, a share changes nothing. */
dram_status dram_order_open(const dram_dataset *dataset, uint64_t seed, double labelled_share, dram_order **out);
void dram_order_close(dram_order *order); /* NULL is allowed */

/* The image at a position: of (seed, position) alone. One thread at a time; fast for positions that rise. */
int dram_order_at(dram_order *order, int64_t position);

/* Another image that could stand there, for one that is bad. Any thread. */
int dram_order_replacement(const dram_order *order, int64_t position, dram_rng *rng);

#endif
