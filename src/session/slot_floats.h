/* slot_floats: a slot of floats of any width, as fp32. One of bytes (a state of 8 bits) is as many small numbers. */
#ifndef DRAM_SESSION_SLOT_FLOATS_H
#define DRAM_SESSION_SLOT_FLOATS_H

#include "session/session.h"

/* Elements that weights are moved by at once. */
enum { DRAM_SLOT_PIECE = 65536 };

/* The elements of its tensor between which the slot's lie: all, or those of this rank's shard (first == end: none). */
void dram_slot_range(const dram_session *session, int slot, int64_t *first, int64_t *end);

/* Writes elements at .. at + count - 1 of a slot's tensor, as far as the slot has them, rounded to its type. The piece is
 * spent: it is rounded where it lies. DRAM_ERR_FORMAT: a number is too large for fp16. */
dram_status dram_slot_write_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

/* Reads elements of a slot that is no shard. */
dram_status dram_slot_read_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

/* ---- shards, for who writes them ----
 *
 * Rank 0 asks for the tensors that all have pieces of, in any order, and then says that it is done; the others lend
 * theirs meanwhile. Each rank has host memory for one such tensor. Without shards of the group nothing is done. Who
 * fails says so in dram_comm_wait (comm/comm.h), and the others hear of it here. */

/* The whole tensor of a slot that is a shard, [elements of the tensor], from all ranks. On rank 0. */
dram_status dram_slot_gather_floats(dram_session *session, int slot, float *whole);

/* Rank 0 asks for no more. */
dram_status dram_slots_gathered(dram_session *session, const char *group);

/* The other ranks, until then. */
dram_status dram_slots_lend(dram_session *session, const char *group);

#endif
