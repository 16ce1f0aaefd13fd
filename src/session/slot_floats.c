#include "session/slot_floats.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "base/state8.h"

/* Bytes at `slot` of a slot are those at `tensor` of its tensor. */
typedef struct {
    int64_t tensor, slot, bytes;
} part;

/* Those of a shard that lie before `end`. */
static part part_before(int64_t end, int64_t tensor, int64_t slot, int64_t bytes)
{
    const int64_t left = tensor < end ? end - tensor : 0;
    return (part){.tensor = tensor, .slot = slot, .bytes = bytes < left ? bytes : left};
}

static int64_t bytes_of(const dram_slot *slot, const dram_shape *shape)
{
    return dram_elements(shape) * dram_dtype_bytes(slot->dtype);
}

/* What a rank has of a slot's tensor: one part, but for a shard of 8-bit state, which has codes and maxima. */
static int find_parts(const dram_slot *slot, int rank, part parts[2])
{
    const int64_t whole = bytes_of(slot, dram_slot_tensor(slot)), each = bytes_of(slot, &slot->shape);
    parts[0] = part_before(whole, slot->whole.rank ? rank * each : 0, 0, each);
    if (!slot->whole.rank || slot->dtype != DRAM_U8) return 1;
    const int64_t maxima = dram_state8_maxima_in(whole), codes = dram_state8_maxima_in(each), rest = each - codes;
    parts[0] = part_before(maxima, rank * codes, 0, codes);
    parts[1] = part_before(whole, maxima + rank * rest, codes, rest);
    return 2;
}

void dram_slot_range(const dram_session *s, int slot, int64_t *first, int64_t *end)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t each = dram_dtype_bytes(of->dtype);
    part parts[2];
    int n = find_parts(of, s->rank, parts);
    *first = parts[0].tensor / each;
    *end = (parts[n - 1].tensor + parts[n - 1].bytes) / each;
    if (*first > *end) *first = *end;
}

/* ---- between fp32 and a slot's bytes ---- */

/* In place: each element goes to a place that has been read already. */
static dram_status narrow(const dram_slot *slot, int64_t count, float *piece)
{
    const int64_t each = dram_dtype_bytes(slot->dtype);
    for (int64_t i = 0; slot->dtype != DRAM_F32 && i < count; i++) {
        uint16_t h = slot->dtype == DRAM_BF16 ? dram_f32_to_bf16(piece[i]) : dram_f32_to_f16(piece[i]);
        if (slot->dtype == DRAM_F16 && isfinite(piece[i]) && (h & 0x7fff) == 0x7c00)
            return dram_fail(DRAM_ERR_FORMAT, "%s has the number %g, which is too large for fp16: take bf16 or fp32",
                             slot->name, (double)piece[i]);
        memcpy((char *)piece + each * i, &h, (size_t)each);
    }
    return DRAM_OK;
}

/* From the last on, for the same reason. A byte is the fp16 number of its bits. */
static void widen(const dram_slot *slot, int64_t count, float *piece)
{
    const int64_t each = dram_dtype_bytes(slot->dtype);
    for (int64_t i = count - 1; slot->dtype != DRAM_F32 && i >= 0; i--) {
        uint16_t h = 0;
        memcpy(&h, (const char *)piece + each * i, (size_t)each);
        piece[i] = slot->dtype == DRAM_BF16 ? dram_bf16_to_f32(h) : dram_f16_to_f32(h);
    }
}

dram_status dram_slot_write_floats(dram_session *s, int slot, int64_t at, int64_t count, float *piece)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t each = dram_dtype_bytes(of->dtype), begin = at * each, end = begin + count * each;
    part parts[2];
    int n = find_parts(of, s->rank, parts);
    TRY(narrow(of, count, piece));
    for (int i = 0; i < n; i++) {
        const part *p = &parts[i];
        const int64_t from = begin > p->tensor ? begin : p->tensor, last = p->tensor + p->bytes;
        const int64_t to = end < last ? end : last;
        if (from >= to) continue;
        TRY(dram_exec_write_slot(s->exec, slot, p->slot + from - p->tensor, (char *)piece + (from - begin), to - from));
    }
    return DRAM_OK;
}

dram_status dram_slot_read_floats(dram_session *s, int slot, int64_t at, int64_t count, float *piece)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    int64_t each = dram_dtype_bytes(of->dtype);
    if (s->reader) return s->reader(s->reads_from, slot, at, count, piece);
    TRY(dram_exec_read_slot(s->exec, slot, at * each, piece, count * each));
    widen(of, count, piece);
    return DRAM_OK;
}

/* ---- shards ---- */

enum { NO_MORE = -1 };

static bool has_shards(const dram_session *s, const char *group)
{
    for (int i = 0; i < s->graphs.slots.n; i++)
        if (s->graphs.slots.at[i]->whole.rank && strcmp(s->graphs.slots.at[i]->group, group) == 0) return true;
    return false;
}

/* All ranks learn which slot rank 0 asks for. */
static dram_status ask(dram_session *s, int64_t *slot)
{
    int64_t *all = dram_calloc((size_t)dram_comm_size(s->comm), sizeof *all);
    if (!all) return dram_fail(DRAM_ERR_MEMORY, "no memory to gather what ranks have pieces of");
    dram_status status = dram_comm_gather(s->comm, slot, sizeof *slot, all);
    *slot = all[0];
    dram_free(all);
    return status;
}

/* The shards of all ranks, one after another: *all, which is to be freed. */
static dram_status exchange(dram_session *s, int slot, char **all)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t each = bytes_of(of, &of->shape);
    const size_t ranks = (size_t)dram_comm_size(s->comm);
    char *both = dram_alloc((ranks + 1) * (size_t)each), *mine = both + ranks * (size_t)each;
    *all = both;
    if (!both) return dram_fail(DRAM_ERR_MEMORY, "no memory to gather %s.%s", of->group, of->name);
    TRY(dram_exec_read_slot(s->exec, slot, 0, mine, each));
    return dram_comm_gather(s->comm, mine, each, both);
}

dram_status dram_slot_gather_floats(dram_session *s, int slot, float *whole)
{
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t each = bytes_of(of, &of->shape);
    int64_t asked = slot;
    char *all = NULL;
    part parts[2];
    TRY(ask(s, &asked));
    dram_status status = exchange(s, slot, &all);
    for (int r = 0; r < dram_comm_size(s->comm) && status == DRAM_OK; r++)
        for (int i = find_parts(of, r, parts) - 1; i >= 0; i--)
            memcpy((char *)whole + parts[i].tensor, all + r * each + parts[i].slot, (size_t)parts[i].bytes);
    dram_free(all);
    if (status == DRAM_OK) widen(of, dram_elements(dram_slot_tensor(of)), whole);
    return status;
}

dram_status dram_slots_gathered(dram_session *s, const char *group)
{
    int64_t no_more = NO_MORE;
    return has_shards(s, group) ? ask(s, &no_more) : DRAM_OK;
}

dram_status dram_slots_lend(dram_session *s, const char *group)
{
    while (has_shards(s, group)) {
        int64_t slot = NO_MORE;
        char *all = NULL;
        TRY(ask(s, &slot));
        if (slot == NO_MORE) break;
        dram_status status = exchange(s, (int)slot, &all);
        dram_free(all);
        TRY(status);
    }
    return DRAM_OK;
}
