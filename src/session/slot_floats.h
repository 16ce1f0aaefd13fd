/* slot_floats: a slot of floats of any width, as fp32. */
#ifndef DRAM_SESSION_SLOT_FLOATS_H
#define DRAM_SESSION_SLOT_FLOATS_H

#include "session/session.h"

/* Elements that weights are moved by at once. */
enum { DRAM_SLOT_PIECE = 65536 };

/* The elements of its tensor that the slot has: all, or those of this rank's shard (first == end: none). */
void dram_slot_range(const dram_session *session, int slot, int64_t *first, int64_t *end);

/* Writes elements at .. at + count - 1 of a slot's tensor, of type f32, f16 or bf16, as far as the slot has them, rounded
 * to its type. The piece is spent: it is rounded where it lies. DRAM_ERR_FORMAT: a number is too large for fp16. */
dram_status dram_slot_write_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

/* Reads elements of a slot that is no shard. */
dram_status dram_slot_read_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

#endif
