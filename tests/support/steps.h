/* steps: single steps of a session, from samples made here. Include after cmocka.h and support/runs.h; link
 * dram_train. */
#ifndef DRAM_TESTS_STEPS_H
#define DRAM_TESTS_STEPS_H

#include "session/budget.h"
#include "session/schedule.h"
#include "support/runs.h"
#include "train/step.h"

enum { STEP_SIDE = 64, STEP_IMAGES = 2 };

typedef struct {
    uint8_t image[STEP_IMAGES][STEP_SIDE * STEP_SIDE * 3], label[STEP_IMAGES][STEP_SIDE * STEP_SIDE];
    dram_sample sample[STEP_IMAGES];
    dram_config *cfg;
    dram_session session;
    dram_feed feed;
    dram_step_order order;
    dram_step_result result;
} step_run;

static inline step_run *step_open(void **state, const char *set)
{
    step_run *s = calloc(1, sizeof *s);
    assert_non_null(s);
    for (int i = 0; i < STEP_IMAGES; i++) {
        for (int p = 0; p < STEP_SIDE * STEP_SIDE; p++) {
            int y = p / STEP_SIDE, x = p % STEP_SIDE;
            for (int c = 0; c < 3; c++) s->image[i][3 * p + c] = (uint8_t)(y * (3 + i) + x * (5 - i) * (c + 1));
            s->label[i][p] = (uint8_t)((y / 8 + x / 16 + i) % 7);
        }
        s->sample[i] = (dram_sample){.student = s->image[i],
                                     .teacher = s->image[i],
                                     .label = s->label[i],
                                     .student_height = STEP_SIDE,
                                     .student_width = STEP_SIDE,
                                     .teacher_height = STEP_SIDE,
                                     .teacher_width = STEP_SIDE,
                                     .has_label = true,
                                     .label_pixels = STEP_SIDE * STEP_SIDE};
    }
    s->cfg = run_config(state, "steps", set);
    if (dram_budget_plan(s->cfg, DRAM_SET_TRAIN, 0, &s->session) != DRAM_OK ||
        dram_session_start(&s->session) != DRAM_OK || dram_feed_open(&s->session.graphs, &s->feed) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    s->order.kind = s->session.graphs.teacher_size ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP;
    s->order.loss_scale = 1;
    s->order.labelled = dram_feed_label_pixels(s->sample, STEP_IMAGES);
    dram_hyper(&s->session.cfg, 0, 0, s->order.hyper);
    return s;
}

static inline void step_run_once(step_run *s)
{
    if (dram_step_run(&s->session, &s->feed, &s->order, s->sample, STEP_IMAGES, NULL, &s->result) != DRAM_OK)
        fail_msg("%s", dram_error_text());
}

static inline void step_close(step_run *s)
{
    dram_feed_close(&s->feed);
    dram_session_close(&s->session);
    dram_config_free(s->cfg);
    free(s);
}

static inline int64_t step_slot_bytes(const step_run *s, int slot)
{
    const dram_slot *of = s->session.graphs.slots.at[slot];
    return dram_elements(&of->shape) * dram_dtype_bytes(of->dtype);
}

/* The bytes of all slots, one after the other. free() them. */
static inline char *step_slots(step_run *s)
{
    int64_t bytes = 0, at = 0;
    int n = s->session.graphs.slots.n;
    for (int i = 0; i < n; i++) bytes += step_slot_bytes(s, i);
    char *all = malloc((size_t)bytes);
    assert_non_null(all);
    for (int i = 0; i < n; at += step_slot_bytes(s, i), i++)
        assert_int_equal(dram_exec_read_slot(s->session.exec, i, 0, all + at, step_slot_bytes(s, i)), DRAM_OK);
    return all;
}

/* How many slots differ; running statistics are not counted. */
static inline int step_changed(step_run *s, const char *before)
{
    char *after = step_slots(s);
    int changed = 0;
    int64_t at = 0;
    for (int i = 0; i < s->session.graphs.slots.n; at += step_slot_bytes(s, i), i++)
        if (!strstr(s->session.graphs.slots.at[i]->name, ".running_"))
            changed += memcmp(before + at, after + at, (size_t)step_slot_bytes(s, i)) != 0;
    free(after);
    return changed;
}

/* Writes one number into a weight. */
static inline void step_poke(step_run *s, const char *group, const char *name, int64_t element, float number)
{
    int slot = dram_slots_find(&s->session.graphs.slots, group, name);
    assert_true(slot >= 0);
    assert_int_equal(dram_exec_write_slot(s->session.exec, slot, element * 4, &number, sizeof number), DRAM_OK);
}

#endif
