#include "session/slot_floats.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

void dram_slot_range(const dram_session *s, int slot, int64_t *first, int64_t *end)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t whole = dram_elements(dram_slot_tensor(of)), each = dram_elements(&of->shape);
    *first = of->whole.rank ? s->rank * each : 0;
    *end = *first + each;
    if (*first > whole) *first = whole;
    if (*end > whole) *end = whole;
}

static dram_status write_all(dram_session *s, int slot, int64_t at, int64_t count, float *piece)
{
    dram_dtype dtype = s->graphs.slots.at[slot]->dtype;
    int64_t each = dram_dtype_bytes(dtype);
    /* Each element goes to a place that has been read already. */
    for (int64_t i = 0; dtype != DRAM_F32 && i < count; i++) {
        uint16_t h = dtype == DRAM_BF16 ? dram_f32_to_bf16(piece[i]) : dram_f32_to_f16(piece[i]);
        if (dtype == DRAM_F16 && isfinite(piece[i]) && (h & 0x7fff) == 0x7c00)
            return dram_fail(DRAM_ERR_FORMAT, "%s has the number %g, which is too large for fp16: take bf16 or fp32",
                             s->graphs.slots.at[slot]->name, (double)piece[i]);
        memcpy((char *)piece + each * i, &h, sizeof h);
    }
    return dram_exec_write_slot(s->exec, slot, at * each, piece, count * each);
}

dram_status dram_slot_write_floats(dram_session *s, int slot, int64_t at, int64_t count, float *piece)
{
    int64_t first, end;
    dram_slot_range(s, slot, &first, &end);
    const int64_t from = at > first ? at : first, to = at + count < end ? at + count : end;
    return from < to ? write_all(s, slot, from - first, to - from, piece + (from - at)) : DRAM_OK;
}

dram_status dram_slot_read_floats(dram_session *s, int slot, int64_t at, int64_t count, float *piece)
{
    dram_dtype dtype = s->graphs.slots.at[slot]->dtype;
    int64_t each = dram_dtype_bytes(dtype);
    TRY(dram_exec_read_slot(s->exec, slot, at * each, piece, count * each));
    /* From the last on, for the same reason. */
    for (int64_t i = count - 1; dtype != DRAM_F32 && i >= 0; i--) {
        uint16_t h;
        memcpy(&h, (const char *)piece + each * i, sizeof h);
        piece[i] = dtype == DRAM_BF16 ? dram_bf16_to_f32(h) : dram_f16_to_f32(h);
    }
    return DRAM_OK;
}
