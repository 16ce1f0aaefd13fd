/* First weights: from random numbers, and a mean's from what it is a mean of. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "session/slot_floats.h"
#include "session/weights.h"

static double draw(const dram_slot *slot, dram_rng *rng)
{
    switch (slot->init) {
    case DRAM_INIT_ONE:
        return 1.0;
    case DRAM_INIT_NORMAL:
        return slot->init_std * dram_rng_normal(rng);
    case DRAM_INIT_TRUNC_NORMAL:
        for (;;) { /* within two standard deviations */
            double x = dram_rng_normal(rng);
            if (fabs(x) <= 2.0) return slot->init_std * x;
        }
    default:
        return 0.0;
    }
}

/* A state that is no float begins at zero. */
static dram_status zero_slot(dram_session *s, int index, float *piece)
{
    const dram_slot *slot = s->graphs.slots.at[index];
    int64_t bytes = dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype);
    memset(piece, 0, DRAM_SLOT_PIECE * sizeof *piece);
    for (int64_t at = 0; at < bytes; at += DRAM_SLOT_PIECE)
        TRY(dram_exec_write_slot(s->exec, index, at, piece,
                                 bytes - at < DRAM_SLOT_PIECE ? bytes - at : DRAM_SLOT_PIECE));
    return DRAM_OK;
}

static dram_status draw_slot(dram_session *s, int index, float *piece)
{
    char name[256];
    const dram_slot *slot = s->graphs.slots.at[index];
    bool teacher = strcmp(slot->group, "teacher") == 0;
    int64_t n = dram_elements(dram_slot_tensor(slot));
    if (!dram_dtype_is_float(slot->dtype)) return zero_slot(s, index, piece);
    snprintf(name, sizeof name, "%s/%s", slot->group, slot->name);
    uint64_t seed = (uint64_t)(teacher ? s->cfg.sam_distill.teacher.seed : s->cfg.seed);
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_INIT, dram_hash_name(name));
    for (int64_t at = 0; at < n; at += DRAM_SLOT_PIECE) {
        int64_t count = n - at < DRAM_SLOT_PIECE ? n - at : DRAM_SLOT_PIECE;
        for (int64_t i = 0; i < count; i++) piece[i] = (float)draw(slot, &rng);
        TRY(dram_slot_write_floats(s, index, at, count, piece));
    }
    return DRAM_OK;
}

dram_status dram_weights_draw(dram_session *s)
{
    dram_status status = DRAM_OK;
    float *piece = dram_alloc(DRAM_SLOT_PIECE * sizeof *piece);
    if (!piece) return dram_fail(DRAM_ERR_MEMORY, "no memory to draw the weights");
    for (int i = 0; i < s->graphs.slots.n && status == DRAM_OK; i++) status = draw_slot(s, i, piece);
    dram_free(piece);
    return status;
}

static dram_status copy_slot(dram_session *s, int from, int to, float *piece)
{
    const int64_t n = dram_elements(&s->graphs.slots.at[to]->shape);
    for (int64_t at = 0; at < n; at += DRAM_SLOT_PIECE) {
        const int64_t count = n - at < DRAM_SLOT_PIECE ? n - at : DRAM_SLOT_PIECE;
        TRY(dram_slot_read_floats(s, from, at, count, piece));
        TRY(dram_slot_write_floats(s, to, at, count, piece));
    }
    return DRAM_OK;
}

dram_status dram_weights_begin_mean(dram_session *s)
{
    const dram_slots *slots = &s->graphs.slots;
    dram_status status = DRAM_OK;
    float *piece = dram_alloc(DRAM_SLOT_PIECE * sizeof *piece);
    if (!piece) return dram_fail(DRAM_ERR_MEMORY, "no memory to begin a mean of weights");
    for (int i = 0; i < slots->n && status == DRAM_OK; i++) {
        if (strcmp(slots->at[i]->group, "mean") != 0) continue;
        int from = dram_slots_find(slots, "student", slots->at[i]->name);
        status = from == DRAM_NONE ? dram_fail(DRAM_ERR_INTERNAL, "%s: nothing has this mean", slots->at[i]->name)
                                   : copy_slot(s, from, i, piece);
    }
    dram_free(piece);
    return status;
}
