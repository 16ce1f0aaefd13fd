/* A mean of weights as the target of resolution distillation: held against a reference in double precision, against the
 * target `now`, over ranks, and through what moves no bits; what is kept of it, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/safetensors.h"
#include "train/trainers.h"

#define ON "threads=1 sam_distill.enabled=false " NO_VAL
#define MEAN ON "resolution_distill.target=mean "
#define ALONE MEAN "task.enabled=false "

#ifdef DRAM_SANITIZED /* some rows are enough there, where each takes long */
enum { FEWER = 2 };
#else
enum { FEWER = 0 };
#endif

static void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

/* Of `count` images. */
static void open_on(void **state, trainer *t, const char *set, int count)
{
    char text[800];
    snprintf(text, sizeof text, "train.batch_size=%d %s", count, set);
    begin(state, t, text, samples, count, NULL);
}

static void one_step(trainer *t, int64_t step, int64_t skipped, double loss_scale, dram_step_result *result)
{
    bool distils = t->s.graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph != NULL;
    dram_step_order order = {.kind = distils ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP,
                             .loss_scale = loss_scale,
                             .labelled = (int64_t)t->count * SIDE * SIDE};
    dram_hyper(&t->s.cfg, step, skipped, order.hyper);
    ok(dram_step_run(&t->s, &t->feed, &order, t->first, t->count, NULL, result));
    assert_int_equal(t->s.device->bytes_peak, t->s.plan->arena_bytes);
}

static bool is_mean(const dram_slot *slot)
{
    return strcmp(slot->group, "mean") == 0;
}

static const dram_slot *mean_of(const trainer *t, const dram_slot *slot)
{
    int at = dram_slots_find(&t->s.graphs.slots, "student", slot->name);
    if (at == DRAM_NONE) fail_msg("%s is the mean of nothing", slot->name);
    return t->s.graphs.slots.at[at];
}

/* ---- against a reference ---- */

/* What the mean of each slot should be; NULL for other slots. */
static double **begin_reference(trainer *t)
{
    const dram_slots *slots = &t->s.graphs.slots;
    double **want = calloc((size_t)slots->n, sizeof *want);
    assert_non_null(want);
    for (int i = 0; i < slots->n; i++) {
        int64_t bytes, others;
        if (!is_mean(slots->at[i])) continue;
        float *mean = bytes_of(t, slots->at[i], &bytes), *w = bytes_of(t, mean_of(t, slots->at[i]), &others);
        assert_int_equal(bytes, others);
        assert_memory_equal(mean, w, (size_t)bytes); /* it begins as the student */
        want[i] = calloc((size_t)bytes / 4, sizeof **want);
        assert_non_null(want[i]);
        for (int64_t k = 0; k < bytes / 4; k++) want[i][k] = (double)w[k];
        free(mean);
        free(w);
    }
    return want;
}

/* After an update of which `kept` stays; how many numbers were compared, and how many have moved since. */
static int64_t compare_reference(trainer *t, double **want, double kept, int64_t *moved)
{
    const dram_slots *slots = &t->s.graphs.slots;
    int64_t n = 0;
    *moved = 0;
    for (int i = 0; i < slots->n; i++) {
        int64_t bytes;
        if (!want[i]) continue;
        float *mean = bytes_of(t, slots->at[i], &bytes), *w = bytes_of(t, mean_of(t, slots->at[i]), &bytes);
        for (int64_t k = 0; k < bytes / 4; k++) {
            double before = want[i][k], wide = fabs(before) + fabs((double)w[k]);
            want[i][k] = kept * before + (1 - kept) * (double)w[k];
            if (!(fabs((double)mean[k] - want[i][k]) <= 1e-6 * wide + 2e-9))
                fail_msg("%s[%lld]: %.9g instead of %.9g, the weight is %.9g", slots->at[i]->name, (long long)k,
                         (double)mean[k], want[i][k], (double)w[k]);
            *moved += fabs((double)w[k] - before) > 1e-5 * wide;
        }
        n += bytes / 4;
        free(mean);
        free(w);
    }
    return n;
}

/* Once an update, whatever makes it: micro-batches, updates that come as soon as they may, low precision, a teacher on
 * every second step. The first updates leave less. */
static void the_mean_follows_the_weights(void **state)
{
    static const struct {
        int images;
        const char *set;
    } rows[] = {{2, MEAN}, /* updates wait for the norm */
                {4, MEAN "train.accumulate=2 optim.type=sgd train.precision=bf16"},
                {2, ALONE "student.arch=vit_micro optim.clip_norm=0"}, /* and here they do not */
                {4, "threads=1 resolution_distill.target=mean train.accumulate=2 sam_distill.distill_interval=2 "}};
    for (size_t i = FEWER; i < sizeof rows / sizeof rows[0]; i++) {
        char set[600];
        trainer t;
        int64_t moved;
        snprintf(set, sizeof set, "%s resolution_distill.mean_decay=0.2", rows[i].set);
        open_on(state, &t, set, rows[i].images);
        double **want = begin_reference(&t);
        for (int step = 0; step < 3; step++) {
            dram_step_result result;
            const double kept[] = {1.0 / 10, 2.0 / 11, 0.2};
            one_step(&t, step, 0, t.loss_scale, &result);
            int64_t compared = compare_reference(&t, want, kept[step], &moved);
            assert_true(compared > 100000 && moved > compared / 4);
        }
        for (int k = 0; k < t.s.graphs.slots.n; k++) free(want[k]);
        free(want);
        end(&t);
    }
}

/* ---- what it is made of ---- */

/* Mean weights are f32, never trained, and no running statistics; the plan tells their bytes. */
static void check_slots(const trainer *t, int *n)
{
    const dram_slots *slots = &t->s.graphs.slots;
    int64_t bytes = 0;
    *n = 0;
    for (int i = 0; i < slots->n; i++) {
        const dram_slot *slot = slots->at[i];
        assert_null(strstr(slot->name, ".mean."));
        if (!is_mean(slot)) continue;
        assert_true(!slot->trainable && slot->dtype == DRAM_F32);
        assert_null(strstr(slot->name, "running_"));
        bytes += dram_aligned(&t->s.plan->profile, dram_elements(&slot->shape) * 4);
        ++*n;
    }
    assert_int_equal(t->s.plan->slots_by_category[DRAM_CATEGORY_MEAN_WEIGHTS], bytes);
}

/* The mean's forward has no gradient, reads no weight of the student, and is dead before the student's own pass. */
static void check_forward(const trainer *t, dram_program_kind kind)
{
    const dram_io *io = &t->s.graphs.io[kind];
    const dram_graph *g = io->graph;
    const dram_program *plan = &t->s.plan->programs[io->index];
    int first = -1, made = 0;
    for (int i = 0; i < g->n_nodes && first < 0; i++)
        if (g->nodes[i]->op == DRAM_OP_bn_running) first = i; /* of the student's own pass alone */
    assert_true(first > 0);
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = dram_value_at(g, v);
        if (value->slot != DRAM_NONE || strncmp(value->name, "mean.", 5) != 0) continue;
        assert_false(value->requires_grad);
        assert_true(value->producer < g->backward_begin);
        if (plan->value[v].last >= first) fail_msg("%s is alive in the student's own pass", value->name);
        for (int k = 0; k < g->nodes[value->producer]->n_in; k++) {
            dram_val in = g->nodes[value->producer]->in[k];
            int slot = in == DRAM_NONE ? DRAM_NONE : dram_value_at(g, in)->slot;
            assert_true(slot == DRAM_NONE || is_mean(t->s.graphs.slots.at[slot]));
        }
        made++;
    }
    assert_true(made > 30);
}

/* By itself it trains the trunk to stride 16 by way of the low image, and the SR head; no more. */
static void it_trains_by_the_low_image(void **state)
{
    trainer t;
    int n;
    open_on(state, &t, ALONE "train.precision=bf16", 2);
    const dram_slots *slots = &t.s.graphs.slots;
    check_slots(&t, &n);
    check_forward(&t, DRAM_PROGRAM_PLAIN_STEP);
    int trained = 0;
    for (int i = 0; i < slots->n; i++) {
        char name[256];
        const dram_slot *slot = slots->at[i];
        snprintf(name, sizeof name, "m.%s.%s", slot->group, slot->name);
        bool has = dram_slots_find(slots, "optimizer", name) != DRAM_NONE;
        bool wants = strcmp(slot->group, "sr") == 0 ||
                     (slot->trainable && dram_slots_find(slots, "mean", slot->name) != DRAM_NONE);
        if (has != wants) fail_msg("%s of %s is %strained", slot->name, slot->group, has ? "" : "not ");
        trained += has;
        if (strncmp(slot->name, "s4.", 3) == 0) assert_false(has);
    }
    assert_int_equal(trained, n + 4); /* the SR head has four */
    end(&t);
}

/* ---- against `now` ---- */

/* With a decay of 0 the mean is the student at the moment. The loss of the first step is that of `now`, to the bit, and
 * so is what it does to the SR head, which learns the same from both; the trunk learns on the other side. */
static void without_decay_it_is_now(void **state)
{
    trainer now, mean;
    dram_step_result a, b;
    open_on(state, &now, ON "optim.clip_norm=0", 2);
    open_on(state, &mean, MEAN "optim.clip_norm=0 resolution_distill.mean_decay=0", 2);
    one_step(&now, 0, 0, 1, &a);
    one_step(&mean, 0, 0, 1, &b);
    assert_true(a.loss_resolution > 0 && a.loss_resolution == b.loss_resolution && a.loss_task == b.loss_task);
    const dram_slots *slots = &mean.s.graphs.slots;
    int same = 0, apart = 0;
    for (int i = 0; i < slots->n; i++) {
        int64_t bytes;
        const dram_slot *slot = slots->at[i];
        bool head = strcmp(slot->group, "sr") == 0;
        if (!slot->trainable || !(head || strcmp(slot->group, "student") == 0)) continue;
        void *x = bytes_of(&now, slot, &bytes), *y = bytes_of(&mean, slot, &bytes);
        bool equal = memcmp(x, y, (size_t)bytes) == 0;
        if (head && !equal) fail_msg("%s differs", slot->name);
        same += head;
        apart += !equal;
        free(x);
        free(y);
    }
    assert_true(same == 4 && apart > 20);
    for (int step = 1; step < 3; step++) {
        for (int i = 0; i < slots->n; i++) {
            int64_t bytes;
            if (!is_mean(slots->at[i])) continue;
            void *x = bytes_of(&mean, slots->at[i], &bytes), *y = bytes_of(&mean, mean_of(&mean, slots->at[i]), &bytes);
            assert_memory_equal(x, y, (size_t)bytes);
            free(x);
            free(y);
        }
        one_step(&mean, step, 0, 1, &b);
    }
    end(&now);
    end(&mean);
}

/* ---- bits that stay ---- */

/* A step that fp16 skips leaves the mean as it is, far from the weights, and does not count as an update. */
static void a_skipped_step(void **state)
{
    trainer t, before;
    dram_step_result result;
    int64_t moved;
    int compared;
    static const char set[] = MEAN "train.precision=fp16 resolution_distill.mean_decay=0.9";
    open_on(state, &t, set, 2);
    open_on(state, &before, set, 2);
    double **want = begin_reference(&t);
    one_step(&t, 0, 0, 256, &result);
    one_step(&before, 0, 0, 256, &result);
    assert_true(isfinite(result.grad_norm));
    assert_true(compare_reference(&t, want, 1.0 / 10, &moved) > 100000 && moved > 10000);
    one_step(&t, 1, 0, 0x1p100, &result);
    assert_false(isfinite(result.grad_norm));
    assert_int_equal(differing(&t, &before, &compared), 0);
    assert_true(compared > 100);
    one_step(&t, 2, 1, 256, &result);
    assert_true(isfinite(result.grad_norm));
    assert_true(compare_reference(&t, want, 2.0 / 11, &moved) > 100000 && moved > 10000);
    for (int k = 0; k < t.s.graphs.slots.n; k++) free(want[k]);
    free(want);
    end(&t);
    end(&before);
}

/* Two passes of one trunk with a gradient are one chain: blocks of both are made again, and no bit moves. */
static void recompute_of_two_passes(void **state)
{
    static const char *const sets[] = {"memory.checkpoint=blocks", "memory.checkpoint=sqrt", "memory.budget=21MiB",
                                       "memory.recompute_norms=false"};
    trainer stored, t;
    dram_step_result result;
    open_on(state, &stored, MEAN, 2);
    one_step(&stored, 0, 0, 1, &result);
    for (size_t i = FEWER; i < sizeof sets / sizeof sets[0]; i++) {
        char set[600];
        int compared;
        snprintf(set, sizeof set, "%s%s", MEAN, sets[i]);
        open_on(state, &t, set, 2);
        if (i == 2 && !t.s.schedule[DRAM_PROGRAM_PLAIN_STEP].n)
            fail_msg("%lld bytes fit without recompute", (long long)stored.s.plan->arena_bytes);
        one_step(&t, 0, 0, 1, &result);
        assert_int_equal(differing(&stored, &t, &compared), 0);
        assert_true(compared > 200);
        end(&t);
    }
    end(&stored);
}

/* The same mean on each rank, whole, from weights whose state they share out; that of one rank with as many images. */
static void the_same_on_every_rank(void **state)
{
    static const char set[] = "student.arch=vit_micro resolution_distill.target=mean " VAL
                              "optim.clip_norm=0.05 optim.shard=gradients resolution_distill.mean_decay=0.12";
    job *j = calloc(1, sizeof *j);
    int compared, means;
    assert_non_null(j);
    run_both(state, j, 2, 1, 1, set, true);
    check_ranks(j, set);
    assert_int_equal(differing(&j->alone, &j->rank[0], &compared), 0);
    check_slots(&j->rank[1], &means);
    assert_true(means > 50 && compared > 2 * means);
    end_both(j);
    free(j);
}

/* ---- files ---- */

static int named(const char *file, const char *prefix)
{
    dram_st *st;
    int n = 0;
    ok(dram_st_open(file, &st));
    for (int i = 0; i < dram_st_count(st); i++) n += strncmp(dram_st_at(st, i)->name, prefix, strlen(prefix)) == 0;
    dram_st_close(st);
    return n;
}

/* A checkpoint has the mean, the export has not; a run keeps its target, and may lose the loss. */
static void where_it_is_kept(void **state)
{
    run_order o = {.name = "kept", .set = MEAN "train.steps=1"};
    run_ok(state, &o);
    assert_int_equal(named(run_file(state, "kept", "heads.safetensors"), "mean."), 0);
    assert_true(named(run_file(state, "kept", "heads.safetensors"), "neck.") > 0);
    assert_int_equal(named(run_file(state, "kept", "student.safetensors"), "mean"), 0);
    assert_true(named(run_file(state, "kept", "checkpoints/step-00000001/heads.safetensors"), "mean.stem.") > 2);
    o.resume = true;
    o.set = ON "train.steps=2";
    run_fails(state, &o, DRAM_ERR_CONFIG, "resolution_distill.target: mean -> now: a run keeps");
    o.set = MEAN "train.steps=2 resolution_distill.enabled=false";
    run_ok(state, &o);
    assert_int_equal(named(run_file(state, "kept", "checkpoints/step-00000002/heads.safetensors"), "mean."), 0);
    run_remove(state, "kept");
}

int main(void)
{
    make_samples();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_follows_the_weights),
        cmocka_unit_test(it_trains_by_the_low_image),
        cmocka_unit_test(without_decay_it_is_now),
        cmocka_unit_test(a_skipped_step),
        cmocka_unit_test(recompute_of_two_passes),
        cmocka_unit_test(the_same_on_every_rank),
        cmocka_unit_test(where_it_is_kept),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
