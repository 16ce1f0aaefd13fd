/* The weights that a session begins with: random numbers, then what the files that its config names have, and a mean's
 * from what it is a mean of. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "session/slot_floats.h"
#include "session/weights.h"

/* ---- random numbers ---- */

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

/* ---- what a config names ---- */

static void write_where(const dram_session *s, const char *key, char where[1200])
{
    snprintf(where, 1200, "%s: %s: ", dram_config_where(&s->cfg, key), key);
}

/* A teacher whose embeddings come from a cache has no slots, and a cache fill has no student. */
static dram_status load_key(dram_session *s, const char *group, const char *key, const char *file)
{
    char where[1200];
    if (!file || !dram_weights_has(s, group)) return DRAM_OK;
    write_where(s, key, where);
    return dram_weights_load(s, file, &group, 1, false, where);
}

/* Neck and task head, as far as both the file and the session have them. */
typedef struct {
    const char *group[2];
    int n;
    bool there; /* the file has one of them, wanted or not */
} head_parts;

static bool has_part(const dram_st *st, const char *group)
{
    size_t length = strlen(group);
    for (int i = 0; i < dram_st_count(st); i++) {
        const char *name = dram_st_at(st, i)->name;
        if (strncmp(name, group, length) == 0 && name[length] == '.') return true;
    }
    return false;
}

/* Of a task head of other classes: how many; else 0. */
static int other_classes(const dram_session *s, const dram_st *st)
{
    const dram_st_tensor *classifier = dram_st_find(st, "head.classifier.weight");
    int classes = classifier && classifier->rank > 0 ? (int)classifier->dim[0] : 0;
    return classes != s->graphs.classes ? classes : 0;
}

static dram_status find_parts(dram_session *s, const char *file, head_parts *parts)
{
    static const char *const groups[] = {"neck", "head"};
    dram_st *st;
    TRY(dram_st_open(file, &st));
    for (int i = 0; i < 2; i++) {
        if (!has_part(st, groups[i])) continue;
        parts->there = true;
        if (!dram_weights_has(s, groups[i])) continue;
        if (i == 1) s->began.other_classes = other_classes(s, st);
        if (i == 0 || !s->began.other_classes) parts->group[parts->n++] = groups[i];
    }
    dram_st_close(st);
    return DRAM_OK;
}

static dram_status load_heads(dram_session *s)
{
    static const char key[] = "student.heads";
    const char *file = s->cfg.student.heads;
    char where[1200];
    head_parts parts = {0};
    if (!file || s->set != DRAM_SET_TRAIN) return DRAM_OK;
    write_where(s, key, where);
    dram_status status = find_parts(s, file, &parts);
    if (status == DRAM_OK && !parts.there)
        return dram_config_fail(&s->cfg, key,
                                "%s has neither a neck nor a task head; name the heads.safetensors of a run", file);
    if (status == DRAM_OK && !parts.n)
        return dram_config_fail(
            &s->cfg, key,
            "nothing begins from %s: this run has no neck or task head like those of the file; leave "
            "the key out",
            file);
    if (status == DRAM_OK) status = dram_weights_load_parts(s, file, parts.group, parts.n);
    for (int i = 0; i < parts.n; i++) *(parts.group[i][0] == 'n' ? &s->began.neck : &s->began.head) = true;
    return status == DRAM_OK ? status : dram_error_prefix(status, where);
}

dram_status dram_weights_load_config(dram_session *s)
{
    const char *teacher = s->cfg.sam_distill.teacher.weights;
    if (s->cfg.sam_distill.enabled && teacher && strcmp(teacher, DRAM_WEIGHTS_RANDOM) != 0)
        TRY(load_key(s, "teacher", "sam_distill.teacher.weights", teacher));
    TRY(load_key(s, "student", "student.weights", s->cfg.student.weights));
    return load_heads(s);
}

static void tell_part(const dram_session *s, const char *part, const char *group, bool loaded, dram_str *text)
{
    if (!dram_weights_has(s, group)) return;
    dram_str_add(text, ", %s ", part);
    if (loaded)
        dram_str_add(text, "of %s", s->cfg.student.heads);
    else
        dram_str_add(text, "of random numbers");
}

void dram_weights_tell(const dram_session *s)
{
    const struct dram_config_student *student = &s->cfg.student;
    dram_str text = {0};
    if (!student->heads && student->trainable == DRAM_TRAINABLE_ALL) return;
    dram_str_add(&text, "the run begins with: trunk of %s", student->weights ? student->weights : "random numbers");
    tell_part(s, "neck", "neck", s->began.neck, &text);
    tell_part(s, "task head", "head", s->began.head, &text);
    if (s->began.other_classes)
        dram_str_add(&text, " (in the file it is of %d classes, and data.classes is %d)", s->began.other_classes,
                     s->graphs.classes);
    if (!text.failed) dram_info("%s", text.text);
    dram_str_free(&text);
}

/* ---- a mean of weights ---- */

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
