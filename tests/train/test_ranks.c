/* N ranks with B images each train as one rank with N B images in N micro-batches does, bit for bit: threads of this
 * process are the ranks, and what they exchange is added in rank order (tests/support/ranks.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static void make_samples(void)
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
static void begin_on(void **state, trainer *t, const char *set, const dram_sample *first, int count,
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
        if (order) queued_begin(t->s.device, order);
    }
    if (status == DRAM_OK) status = dram_exec_open(t->s.device, t->s.plan, &t->s.exec);
    if (status == DRAM_OK) status = dram_weights_draw(&t->s);
    if (status == DRAM_OK) status = dram_weights_load_config(&t->s);
    if (status == DRAM_OK) status = dram_feed_open(&t->s.graphs, &t->feed);
    if (status != DRAM_OK) fail_msg("%s: %s", set, dram_error_text());
    t->loss_scale = t->s.graphs.scaled ? 256 : 1;
}

static void begin(void **state, trainer *t, const char *set, const dram_sample *first, int count, one_rank *comm)
{
    begin_on(state, t, set, first, count, comm ? &ranks_collectives : NULL, comm, NULL);
}

static void end(trainer *t)
{
    dram_feed_close(&t->feed);
    dram_session_close(&t->s);
    dram_config_free(t->cfg);
}

/* The teacher runs in the first update, and in each where there is no interval. */
static void *work(void *context)
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

static void *bytes_of(trainer *t, const dram_slot *slot, int64_t *bytes)
{
    int at = dram_slots_find(&t->s.graphs.slots, slot->group, slot->name);
    *bytes = dram_elements(&slot->shape) * dram_dtype_bytes(slot->dtype);
    void *data = malloc((size_t)*bytes + 1);
    assert_non_null(data);
    if (at < 0) fail_msg("there is no slot %s.%s", slot->group, slot->name);
    assert_int_equal(dram_exec_read_slot(t->s.exec, at, 0, data, *bytes), DRAM_OK);
    return data;
}

/* Trained weights and their moments; how many have other bytes. */
static int differing(trainer *a, trainer *b, int *compared)
{
    const dram_slots *slots = &a->s.graphs.slots; /* of the teacher a rank may have a shard alone */
    int differ = 0;
    *compared = 0;
    for (int i = 0; i < slots->n; i++) {
        const dram_slot *slot = slots->at[i];
        int64_t bytes, others;
        if (strcmp(slot->group, "gradient") == 0 || strcmp(slot->group, "teacher") == 0 ||
            strstr(slot->name, ".running_"))
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
static double distance(trainer *a, trainer *b)
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
static void run_both(void **state, job *j, int n, int batch, int accumulate, const char *set, bool poison)
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

static void end_both(job *j)
{
    for (int r = 0; r < j->all.n; r++) end(&j->rank[r]);
    end(&j->alone);
    ranks_close(&j->all);
}

/* In the order of ranks: each has the same weights, the norm of each update is the same, planned = measured. */
static void check_ranks(job *j, const char *set)
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

static void equal_bits(void **state, int n, int batch, const char *set)
{
    job *j = calloc(1, sizeof *j);
    int compared;
    assert_non_null(j);
    run_both(state, j, n, batch, 1, set, false);
    check_ranks(j, set);
    int differ = differing(&j->alone, &j->rank[0], &compared);
    if (differ) fail_msg("%d ranks, %s: %d of %d tensors differ", n, set, differ, compared);
    assert_true(compared > 60);
    for (int u = 0; u < UPDATES; u++) {
        double a = (double)j->rank[0].norm[u], b = (double)j->alone.norm[u];
        if (!(fabs(a - b) <= 1e-5 * b) || !(b > 0)) fail_msg("%s: norm %g, alone %g", set, a, b);
    }
    assert_true(j->all.calls > 0 && j->all.nodes > j->all.calls);
    end_both(j);
    free(j);
}

#define VIT "student.arch=vit_micro resolution_distill.enabled=false "
#define NO_VAL "data.val.images=none data.val.labels=none "
#define VAL "distributed.batch_norm=local " NO_VAL

static void a_vit(void **state)
{
    for (int n = 2; n <= 4; n++) equal_bits(state, n, 1, VIT VAL "optim.clip_norm=0");
}

static void a_vit_is_clipped(void **state)
{
    equal_bits(state, 3, 1, VIT VAL "optim.clip_norm=0.05 distributed.bucket=64KiB");
}

static void a_vit_of_another_type(void **state)
{
    equal_bits(state, 3, 1, VIT VAL "optim.clip_norm=0 train.precision=bf16 optim.state=int8 distributed.bucket=1");
    equal_bits(state, 2, 1, VIT VAL "train.precision=fp16 distributed.bucket=300KiB");
}

/* Statistics are each rank's own, as those of a micro-batch are; trained tensors. */
static void a_regnet(void **state)
{
    equal_bits(state, 2, 2, VAL "optim.clip_norm=0 distributed.bucket=100KiB");
    equal_bits(state, 3, 2, VAL "student.arch=regnety_002 memory.checkpoint=blocks resolution_distill.enabled=false");
    equal_bits(state, 4, 2, VAL "optim.type=sgd sam_distill.distill_interval=3 sam_distill.between=reuse");
}

static double slot_distance(trainer *a, trainer *b, const char *part)
{
    const dram_slots *slots = &a->s.graphs.slots;
    double most = 0;
    int compared = 0;
    for (int i = 0; i < slots->n; i++) {
        int64_t bytes;
        if (!strstr(slots->at[i]->name, part)) continue;
        float *x = bytes_of(a, slots->at[i], &bytes), *y = bytes_of(b, slots->at[i], &bytes);
        for (int64_t k = 0; k < bytes / 4; k++) most = fmax(most, fabs((double)x[k] - (double)y[k]));
        compared++;
        free(x);
        free(y);
    }
    assert_true(compared > 20);
    return most;
}

/* Statistics over the images of all ranks are those of one rank with the whole batch, but for rounding: weights, running
 * statistics and norms. With those of each rank alone they are not. All ranks have the same running ones. */
static void statistics_of_all_ranks(void **state)
{
    static const char *const sets[] = {
        "distributed.batch_norm=sync student.arch=regnety_002 sam_distill.loss.standardize=true "
        "memory.checkpoint=blocks",
        "distributed.batch_norm=local student.arch=regnety_002 sam_distill.loss.standardize=true"};
    double far[2], running[2];
    for (int i = 0; i < 2; i++) {
        job *j = calloc(1, sizeof *j);
        char text[600];
        int compared;
        void *context[RANKS_MOST];
        assert_non_null(j);
        ranks_open(&j->all, 3);
        for (int r = 0; r < 3; r++) {
            snprintf(text, sizeof text,
                     "threads=1 optim.type=sgd optim.lr=0.02 train.batch_size=2 distributed.ranks=3 %s " NO_VAL,
                     sets[i]);
            begin(state, &j->rank[r], text, &samples[2 * r], 2, &j->all.one[r]);
            dram_exec_poison(j->rank[r].s.exec, i == 0);
            context[r] = &j->rank[r];
        }
        snprintf(text, sizeof text, "threads=1 optim.type=sgd optim.lr=0.02 train.batch_size=6 %s " NO_VAL, sets[i]);
        begin(state, &j->alone, text, samples, 6, NULL);
        ranks_go(&j->all, work, context);
        work(&j->alone);
        check_ranks(j, sets[i]);
        far[i] = distance(&j->alone, &j->rank[0]);
        running[i] = slot_distance(&j->alone, &j->rank[0], ".running_");
        if (i == 0) {
            for (int u = 0; u < UPDATES; u++) {
                double a = (double)j->rank[0].norm[u], b = (double)j->alone.norm[u];
                if (!(fabs(a - b) < 1e-3 * b)) fail_msg("norm %g, alone %g", a, b);
            }
            assert_true(slot_distance(&j->rank[0], &j->rank[2], ".running_") == 0);
        }
        assert_true(differing(&j->rank[0], &j->rank[1], &compared) == 0);
        end_both(j);
        free(j);
    }
    if (!(far[0] < 1e-4 && far[1] > 20 * far[0])) fail_msg("weights: %g, with local statistics %g", far[0], far[1]);
    if (!(running[0] < 1e-4 && running[1] > 20 * running[0]))
        fail_msg("running statistics: %g, with local ones %g", running[0], running[1]);
}

static int count_shards(const trainer *t)
{
    int n = 0;
    for (int i = 0; i < t->s.graphs.slots.n; i++) n += t->s.graphs.slots.at[i]->whole.rank > 0;
    return n;
}

/* The teacher in pieces on three ranks, put together block by block: the same bits from fewer bytes. A rank that has
 * another's piece is seen. */
static void a_teacher_in_shards(void **state)
{
    static const char set[] = VIT VAL "sam_distill.teacher.placement=shard memory.checkpoint=blocks optim.clip_norm=0";
    job *j = calloc(1, sizeof *j);
    int compared;
    assert_non_null(j);
    run_both(state, j, 3, 1, 1, set, true);
    check_ranks(j, set);
    assert_int_equal(differing(&j->alone, &j->rank[0], &compared), 0);
    assert_int_equal(count_shards(&j->alone), 0);
    assert_true(count_shards(&j->rank[0]) > 4);
    assert_true(j->rank[0].s.plan->slots_by_category[DRAM_CATEGORY_TEACHER_WEIGHTS] * 2 <
                j->alone.s.plan->slots_by_category[DRAM_CATEGORY_TEACHER_WEIGHTS]);
    end_both(j);
    free(j);
}

/* Each rank adds its own micro-batches first, so that one rank's order is another: rounding, and all ranks alike. */
static void accumulating_ranks(void **state)
{
    static const char *const sets[] = {VIT VAL "optim.clip_norm=0 optim.type=sgd optim.lr=0.1",
                                       VIT VAL "optim.type=sgd"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        job *j = calloc(1, sizeof *j);
        assert_non_null(j);
        run_both(state, j, 2, 2, 2, sets[i], false);
        check_ranks(j, sets[i]);
        double far = distance(&j->alone, &j->rank[0]);
        if (!(far > 0 && far < 2e-6)) fail_msg("%s: %g", sets[i], far);
        end_both(j);
        free(j);
    }
}

/* Dead bytes are written over, node by node: no node reads a sum, or what is summed, after the plan gave its bytes away,
 * and blocks that run again do without the others. */
static void nothing_reads_dead_bytes(void **state)
{
    static const char *const sets[] = {
        VIT VAL "optim.clip_norm=0 distributed.bucket=64KiB memory.checkpoint=blocks",
        VAL "student.arch=regnety_002 resolution_distill.enabled=false memory.checkpoint=blocks optim.clip_norm=0"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        job *j = calloc(1, sizeof *j);
        int compared;
        assert_non_null(j);
        run_both(state, j, 2, 2, 1, sets[i], true);
        check_ranks(j, sets[i]);
        assert_int_equal(differing(&j->alone, &j->rank[0], &compared), 0);
        assert_int_equal(j->all.calls, j->all.nodes);
        end_both(j);
        free(j);
    }
}

/* The comparison sees a sum in another order, and a gradient that is not over the ranks. */
static void another_order_is_seen(void **state)
{
    job *j = calloc(1, sizeof *j);
    int compared;
    assert_non_null(j);
    j->all.backwards = true;
    const char *set = VIT VAL "optim.clip_norm=0";
    char text[600];
    void *context[RANKS_MOST];
    ranks_open(&j->all, 3);
    j->all.backwards = true;
    for (int r = 0; r < 3; r++) {
        snprintf(text, sizeof text, "threads=1 train.batch_size=1 distributed.ranks=3 %s", set);
        begin(state, &j->rank[r], text, &samples[r], 1, &j->all.one[r]);
        context[r] = &j->rank[r];
    }
    snprintf(text, sizeof text, "threads=1 train.batch_size=3 train.accumulate=3 %s", set);
    begin(state, &j->alone, text, samples, 3, NULL);
    ranks_go(&j->all, work, context);
    work(&j->alone);
    assert_true(differing(&j->alone, &j->rank[0], &compared) > compared / 4);
    end_both(j);
    free(j);
}

/* Two ranks with the same images and shards: a sum is twice what is there, a whole the shard again and again. */
static dram_status run_echo(void *comm, dram_op op, const dram_kernel_args *const *args, int n, void *stream)
{
    (void)comm;
    (void)stream;
    for (int i = 0; i < n && op == DRAM_OP_all_gather; i++) {
        const char *x = args[i]->in[0].data;
        int64_t each = dram_dtype_bytes(args[i]->out[0].dtype), bytes = dram_elements(&args[i]->out[0].shape) * each;
        int64_t c = dram_elements(&args[i]->in[0].shape) * each;
        for (int64_t k = 0; k < bytes; k++) ((char *)args[i]->out[0].data)[k] = x[k % c];
    }
    if (op == DRAM_OP_all_gather) return DRAM_OK;
    if (op != DRAM_OP_all_reduce && op != DRAM_OP_all_reduce_into) return dram_fail(DRAM_ERR_INTERNAL, "no sum");
    for (int i = 0; i < n; i++) {
        const float *x = args[i]->in[0].data;
        float *out = args[i]->out[0].data;
        memset(args[i]->workspace, 0xff, (size_t)args[i]->workspace_bytes);
        for (int64_t k = 0; k < dram_elements(&args[i]->in[0].shape); k++) out[k] = x[k] + x[k];
    }
    return DRAM_OK;
}

/* Each queue in turn as far ahead of the others as the joins let it, or as far behind: the same bits. */
static void queues_run_apart(void **state)
{
    static const int orders[][DRAM_QUEUE_COUNT] = {{0, 1, 2}, {2, 1, 0}};
    static const dram_collectives echo = {.run = run_echo};
    static const char *const sets[] = {
        "train.batch_size=2 optim.clip_norm=0 distributed.bucket=64KiB",
        "train.batch_size=2 memory.checkpoint=blocks distributed.bucket=300KiB sam_distill.teacher.placement=shard",
        "train.batch_size=4 train.accumulate=2 sam_distill.teacher.placement=stream distributed.bucket=64KiB"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        trainer alone, apart;
        char text[600];
        int compared;
        snprintf(text, sizeof text, "threads=1 distributed.ranks=2 " VIT VAL "%s", sets[i]);
        begin_on(state, &alone, text, samples, i == 2 ? 4 : 2, &echo, NULL, NULL);
        work(&alone);
        for (int k = 0; k < 2; k++) {
            begin_on(state, &apart, text, samples, i == 2 ? 4 : 2, &echo, NULL, orders[k]);
            work(&apart);
            if (alone.why[0] || apart.why[0]) fail_msg("%s%s", alone.why, apart.why);
            assert_true(queued.calls >= 10 * UPDATES && queued.waits >= 10 * UPDATES);
            assert_int_equal(differing(&alone, &apart, &compared), 0);
            assert_memory_equal(alone.norm, apart.norm, sizeof alone.norm);
            end(&apart);
        }
        end(&alone);
    }
}

/* A block is made again as with one rank: sums between two readers do not make them far from each other. */
static void as_much_runs_again(void **state)
{
    static const char *const sets[] = {VAL "student.arch=regnety_002 distributed.bucket=64KiB distributed.ranks=",
                                       VAL "student.arch=regnety_002 distributed.bucket=64KiB memory.checkpoint=blocks "
                                           "distributed.ranks="};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        int64_t again[2];
        for (int k = 0; k < 2; k++) {
            char text[600];
            dram_session s;
            snprintf(text, sizeof text, "%s%d", sets[i], k ? 8 : 1);
            dram_config *cfg = run_config(state, "again", text);
            assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
            again[k] = s.recomputed_flops[DRAM_PROGRAM_DISTIL_STEP];
            dram_session_close(&s);
            dram_config_free(cfg);
        }
        assert_true(again[0] > 0);
        assert_int_equal(again[0], again[1]);
    }
}

static void *look(void *context)
{
    trainer *t = context;
    const dram_step_order order = {.kind = DRAM_PROGRAM_DISTIL_STEP, .loss_scale = 1, .labelled = SIDE * SIDE};
    if (dram_step_trace(&t->s, &t->feed, &order, t->first, t->count, t->why, sizeof t->why) != DRAM_OK)
        snprintf(t->why, sizeof t->why, "failed: %s", dram_error_text());
    return NULL;
}

/* One rank has a weight that is not finite. It names what that weight made, the other the first that it hears of; both
 * come to the end, through all collectives, and with micro-batches as often. */
static void who_looks_for_the_cause_runs_on(void **state)
{
    job *j = calloc(1, sizeof *j);
    void *context[RANKS_MOST];
    const float bad = NAN;
    assert_non_null(j);
    ranks_open(&j->all, 2);
    for (int r = 0; r < 2; r++) {
        begin(state, &j->rank[r],
              "threads=1 student.arch=regnety_002 train.batch_size=4 train.accumulate=2 "
              "distributed.ranks=2 sam_distill.teacher.placement=shard " NO_VAL,
              samples, 4, &j->all.one[r]);
        context[r] = &j->rank[r];
    }
    int slot = dram_slots_find(&j->rank[1].s.graphs.slots, "student", "stem.conv.weight");
    assert_int_equal(dram_exec_write_slot(j->rank[1].s.exec, slot, 0, &bad, sizeof bad), DRAM_OK);
    ranks_go(&j->all, look, context);
    assert_non_null(strstr(j->rank[1].why, "stem.conv"));
    assert_non_null(strstr(j->rank[0].why, "bn"));
    for (int r = 0; r < 2; r++) end(&j->rank[r]);
    ranks_close(&j->all);
    free(j);
}

/* A plan of several ranks on a device of one. */
static void one_process_is_refused(void **state)
{
    trainer t = {.cfg = run_config(state, "ranks", VIT VAL "distributed.ranks=2")};
    assert_int_equal(dram_budget_plan(t.cfg, DRAM_SET_TRAIN, 0, &t.s), DRAM_OK);
    assert_int_not_equal(dram_session_start(&t.s), DRAM_OK);
    assert_non_null(strstr(dram_error_text(), "joins 2 ranks"));
    dram_error_clear();
    dram_session_close(&t.s);
    dram_config_free(t.cfg);
}

int main(void)
{
    make_samples();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vit),
        cmocka_unit_test(a_vit_is_clipped),
        cmocka_unit_test(a_vit_of_another_type),
        cmocka_unit_test(a_regnet),
        cmocka_unit_test(statistics_of_all_ranks),
        cmocka_unit_test(a_teacher_in_shards),
        cmocka_unit_test(accumulating_ranks),
        cmocka_unit_test(nothing_reads_dead_bytes),
        cmocka_unit_test(another_order_is_seen),
        cmocka_unit_test(queues_run_apart),
        cmocka_unit_test(who_looks_for_the_cause_runs_on),
        cmocka_unit_test(as_much_runs_again),
        cmocka_unit_test(one_process_is_refused),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
