/* N ranks with B images each train as one rank with N B images in N micro-batches does, bit for bit: threads of this
 * process are the ranks (trainers.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/trainers.h"

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

/* Of a frozen trunk nothing is summed, and no statistics are of a batch: without the head's, ranks that share them have
 * nothing to share. The trunk is that of its file on every rank. */
static void a_frozen_trunk(void **state)
{
    static const char *const
        group = "student",
        *const sets[] = {"distributed.batch_norm=local optim.shard=gradients optim.clip_norm=0.05",
                         "distributed.batch_norm=sync task.enabled=false optim.clip_norm=0 train.precision=bf16"};
    char file[256], set[500];
    trainer drawn;
    snprintf(file, sizeof file, "%.250s", in_dir(state, "trunk.safetensors"));
    begin(state, &drawn, NO_VAL "threads=1 resolution_distill.enabled=false train.batch_size=2 seed=5", samples, 2,
          NULL);
    work(&drawn);
    assert_int_equal(dram_weights_save(&drawn.s, file, &group, 1, false, DRAM_PRECISION_FP32), DRAM_OK);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        job *j = calloc(1, sizeof *j);
        int compared, trunk = 0;
        assert_non_null(j);
        snprintf(set, sizeof set,
                 "%.90s " NO_VAL "resolution_distill.enabled=false student.trainable=heads student.weights=%s", sets[i],
                 file);
        run_both(state, j, 2, 2, 1, set, true);
        check_ranks(j, set);
        assert_int_equal(differing(&j->alone, &j->rank[0], &compared), 0);
        for (int k = 0; k < drawn.s.graphs.slots.n; k++) {
            const dram_slot *slot = drawn.s.graphs.slots.at[k];
            if (strcmp(slot->group, "student") != 0) continue;
            int64_t bytes;
            void *x = bytes_of(&drawn, slot, &bytes), *y = bytes_of(&j->rank[1], slot, &bytes);
            assert_memory_equal(x, y, (size_t)bytes);
            trunk++;
            free(x);
            free(y);
        }
        assert_true(trunk > 100);
        end_both(j);
        free(j);
    }
    end(&drawn);
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

/* Two ranks with the same images and shards: a sum is twice what is there, a whole the first shard again and again. */
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
    for (int i = 0; i < n && op == DRAM_OP_all_gather_into; i++) {
        float *w = args[i]->out[0].data;
        const int64_t all = dram_elements(&args[i]->out[0].shape), c = dram_rank_shard(all, 2);
        for (int64_t k = c; k < all; k++) w[k] = w[k - c];
    }
    if (op == DRAM_OP_all_gather_into) return DRAM_OK;
    bool scatter = op == DRAM_OP_reduce_scatter;
    if (op != DRAM_OP_all_reduce && op != DRAM_OP_all_reduce_into && !scatter)
        return dram_fail(DRAM_ERR_INTERNAL, "no sum");
    for (int i = 0; i < n; i++) {
        const float *x = args[i]->in[0].data;
        float *out = args[i]->out[0].data;
        memset(args[i]->workspace, 0xff, (size_t)args[i]->workspace_bytes);
        for (int64_t k = 0; k < dram_elements(&args[i]->out[0].shape); k++) out[k] = x[k] + x[k];
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
        "train.batch_size=4 train.accumulate=2 sam_distill.teacher.placement=stream distributed.bucket=64KiB",
        "train.batch_size=4 train.accumulate=2 optim.shard=gradients distributed.bucket=64KiB",
        "train.batch_size=2 optim.clip_norm=0 optim.shard=state distributed.bucket=64KiB",
        "train.batch_size=2 optim.shard=gradients distributed.bucket=64KiB"};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        trainer alone, apart;
        char text[600];
        int compared, images = strstr(sets[i], "batch_size=4") ? 4 : 2;
        snprintf(text, sizeof text, "threads=1 distributed.ranks=2 " VIT VAL "%s", sets[i]);
        begin_on(state, &alone, text, samples, images, &echo, NULL, NULL);
        work(&alone);
        for (int k = 0; k < 2; k++) {
            begin_on(state, &apart, text, samples, images, &echo, NULL, orders[k]);
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
        cmocka_unit_test(a_frozen_trunk),
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
