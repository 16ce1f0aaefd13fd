/* optim: sums of squares, a double for each piece of a tensor. On the CPU a piece is DRAM_PIECE. */
#ifndef DRAM_SCRATCH_OPTIM_H
#define DRAM_SCRATCH_OPTIM_H

#include "scratch/pieces.h"

enum { DRAM_SQUARES_PIECE_GPU = 8192 }; /* elements; rank_shard's squares have as much on every device */

#endif
