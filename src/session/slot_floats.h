/* slot_floats: a slot of floats of any width, as fp32. */
#ifndef DRAM_SESSION_SLOT_FLOATS_H
#define DRAM_SESSION_SLOT_FLOATS_H

#include "session/session.h"

/* Elements that weights are moved by at once. */
enum { DRAM_SLOT_PIECE = 65536 };

/* Writes `count` elements of a slot of type f32, f16 or bf16 from element `at` on, rounded to its type. The piece is
 * spent: it is rounded where it lies. DRAM_ERR_FORMAT: a number is too large for fp16. */
dram_status dram_slot_write_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

/* Reads them. */
dram_status dram_slot_read_floats(dram_session *session, int slot, int64_t at, int64_t count, float *piece);

#endif
