/* trainers: ranks that are threads of this process and train on a few images, beside one that has the images of all:
 * what they exchange is added in rank order (tests/support/ranks.h). Include after cmocka.h. */
#ifndef TESTS_TRAIN_TRAINERS_H
#define TESTS_TRAIN_TRAINERS_H

#include "device/queued.h"
#include "device/testing.h"
#include "session/budget.h"
#include "session/machine.h"
#include "session/schedule.h"
#include "session/weights.h"
#include "support/ranks.h"
#include "support/runs.h"
#include "train/step.h"

enum { SIDE = 64, IMAGES = 16, UPDATES = 2 };

static uint8_t image[IMAGES][SIDE * SIDE * 3], label[IMAGES][SIDE * SIDE];
static dram_sample samples[IMAGES];

static inline void make_samples(void)
{
    for (int i = 0; i < IMAGES; i++) {
        for (int p = 0; p < SIDE * SIDE; p++) {
            int y = p / SIDE, x = p % SIDE;
            for (int c = 0; c < 3; c++)
                image[i][3 * p + c] = (uint8_t)(y * (3 + i) + x * (5 - i) * (c + 1) + i * y * x);
            label[i][p] = (uint8_t)((y / 8 + x / 16 + i) % 7);
        }
        samples[i] = (dram_sample){.student = image[i],
                                   .teacher = image[i],
                                   .label = label[i],
                                   .student_height = SIDE,
                                   .student_width = SIDE,
                                   .teacher_height = SIDE,
                                   .teacher_width = SIDE,
                                   .has_label = true,
                                   .label_pixels = SIDE * SIDE};
    }
}

/* A rank with its images of each update. */
typedef struct {
    dram_config *cfg;
    dram_session s;
    dram_feed feed;
    const dram_sample *first;
    int count;
    double loss_scale;
    float norm[UPDATES];
    char why[300];
} trainer;

/* order: of queues that run apart (device/queued.h); NULL: the CPU as it is. */
static inline void begin_on(void **state, trainer *t, const char *set, const dram_sample *first, int count,
                            const dram_collectives *collectives, void *comm, const int *order)
{
    *t = (trainer){.first = first, .count = count};
    t->cfg = run_config(state, "ranks", set);
    dram_status status = dram_budget_plan(t->cfg, DRAM_SET_TRAIN, 0, &t->s);
    if (status == DRAM_OK) status = dram_machine_open(&t->s.cfg, &t->s.plan->profile, &t->s.device);
    if (status == DRAM_OK) {
        t->s.rank = collectives == &ranks_collectives ? ((const one_rank *)comm)->rank : 0;
        t->s.device->collectives = collectives;
        t->s.device->comm = comm;
        t->s.device->rank = t->s.rank;
        if (order) queued_begin(t->s.device, order);
    }
    if (status == DRAM_OK) status = dram_exec_open(t->s.device, t->s.plan, &t->s.exec);
    if (status == DRAM_OK) status = dram_weights_draw(&t->s);
    if (status == DRAM_OK) status = dram_weights_load_config(&t->s);
    if (status == DRAM_OK) status = dram_weights_begin_mean(&t->s);
    if (status == DRAM_OK) status = dram_feed_open(&t->s.graphs, &t->feed);
    if (status != DRAM_OK) fail_msg("%s: %s", set, dram_error_text());
    t->loss_scale = t->s.graphs.scaled ? 256 : 1;
}

static inline void begin(void **state, trainer *t, const char *set, const dram_sample *first, int count, one_rank *comm)
{
    begin_on(state, t, set, first, count, comm ? &ranks_collectives : NULL, comm, NULL);
}

static inline void end(trainer *t)
{
    dram_feed_close(&t->feed);
    dram_session_close(&t->s);
    dram_config_free(t->cfg);
}

/* The teacher runs in the first update, and in each where there is no interval. */
static inline void *work(void *context)
{
    trainer *t = context;
    for (int u = 0; u < UPDATES; u++) {
        bool plain = u > 0 && t->s.graphs.io[DRAM_PROGRAM_PLAIN_STEP].graph;
        dram_step_order order = {.kind = plain ? DRAM_PROGRAM_PLAIN_STEP : DRAM_PROGRAM_DISTIL_STEP,
                                 .loss_scale = t->loss_scale,
                                 .labelled = (int64_t)t->s.graphs.ranks * t->count * SIDE * SIDE};
        dram_step_result result;
        dram_hyper(&t->s.cfg, u + 1, u + 1, order.hyper);
        if (dram_step_run(&t->s, &t->feed, &order, t->first, t->count, NULL, &result) != DRAM_OK) {
            snprintf(t->why, sizeof t->why, "%s", dram_error_text());
            break;
        }
        t->norm[u] = (float)result.grad_norm;
    }
    return NULL;
}

static inline void *bytes_of(trainer *t, const dram_slot *slot, int64_t *bytes)
{
    int at = dram_slots_find(&t->s.graphs.slots, slot->group, slot->name);
    *bytes = dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype);
    void *data = malloc((size_t)*bytes + 1);
    assert_non_null(data);
    if (at < 0) fail_msg("there is no slot %s.%s", slot->group, slot->name);
    assert_int_equal(dram_exec_read_slot(t->s.exec, at, 0, data, *bytes), DRAM_OK);
    return data;
}

static inline bool is_shard(trainer *t, const dram_slot *slot)
{
    int at = dram_slots_find(&t->s.graphs.slots, slot->group, slot->name);
    return at >= 0 && t->s.graphs.slots.at[at]->whole.rank > 0;
}

/* Trained weights and their moments, as far as both have them whole; how many have other bytes. */
static inline int differing(trainer *a, trainer *b, int *compared)
{
    const dram_slots *slots = &a->s.graphs.slots; /* of the teacher a rank may have a shard alone */
    int differ = 0;
    *compared = 0;
    for (int i = 0; i < slots->n; i++) {
        const dram_slot *slot = slots->at[i];
        int64_t bytes, others;
        if (strcmp(slot->group, "gradient") == 0 || strcmp(slot->group, "teacher") == 0 ||
            strstr(slot->name, ".running_") || is_shard(a, slot) || is_shard(b, slot))
            continue;
        void *x = bytes_of(a, slot, &bytes), *y = bytes_of(b, slot, &others);
        differ += bytes != others || memcmp(x, y, (size_t)bytes) != 0;
        ++*compared;
        free(x);
        free(y);
    }
    return differ;
}

/* The largest difference of a trained weight. */
static inline double distance(trainer *a, trainer *b)
{
    const dram_slots *slots = &a->s.graphs.slots;
    double most = 0;
    for (int i = 0; i < slots->n; i++) {
        int64_t bytes;
        if (!slots->at[i]->trainable) continue;
        float *x = bytes_of(a, slots->at[i], &bytes), *y = bytes_of(b, slots->at[i], &bytes);
        for (int64_t k = 0; k < bytes / 4; k++) most = fmax(most, fabs((double)x[k] - (double)y[k]));
        free(x);
        free(y);
    }
    return most;
}

typedef struct {
    ranks all;
    trainer rank[RANKS_MOST], alone;
} job;

/* N ranks of B images, and one rank with as many in N times the micro-batches. */
static inline void run_both(void **state, job *j, int n, int batch, int accumulate, const char *set, bool poison)
{
    char text[600];
    void *context[RANKS_MOST];
    ranks_open(&j->all, n);
    for (int r = 0; r < n; r++) {
        snprintf(text, sizeof text, "threads=1 train.batch_size=%d train.accumulate=%d distributed.ranks=%d %s", batch,
                 accumulate, n, set);
        begin(state, &j->rank[r], text, &samples[r * batch], batch, &j->all.one[r]);
        dram_exec_poison(j->rank[r].s.exec, poison);
        context[r] = &j->rank[r];
    }
    snprintf(text, sizeof text, "threads=1 train.batch_size=%d train.accumulate=%d %s", n * batch, n * accumulate, set);
    begin(state, &j->alone, text, samples, n * batch, NULL);
    ranks_go(&j->all, work, context);
    work(&j->alone);
    for (int r = 0; r < n; r++)
        if (j->rank[r].why[0]) fail_msg("rank %d: %s", r, j->rank[r].why);
    if (j->alone.why[0]) fail_msg("%s", j->alone.why);
}

static inline void end_both(job *j)
{
    for (int r = 0; r < j->all.n; r++) end(&j->rank[r]);
    end(&j->alone);
    ranks_close(&j->all);
}

/* In the order of ranks: each has the same weights, the norm of each update is the same, planned = measured. */
static inline void check_ranks(job *j, const char *set)
{
    int compared;
    for (int r = 0; r < j->all.n; r++) {
        trainer *t = &j->rank[r];
        if (r && differing(&j->rank[0], t, &compared)) fail_msg("%s: rank %d has other weights", set, r);
        assert_memory_equal(t->norm, j->rank[0].norm, sizeof t->norm);
        assert_int_equal(t->s.device->bytes_peak, t->s.plan->arena_bytes);
        assert_int_equal(t->s.plan->arena_bytes, j->rank[0].s.plan->arena_bytes);
    }
}

#define VIT "student.arch=vit_micro resolution_distill.enabled=false "
#define NO_VAL "data.val.images=none data.val.labels=none "
#define VAL "distributed.batch_norm=local " NO_VAL

#endif
