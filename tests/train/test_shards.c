/* optim.shard: ranks that have a piece each of the optimiser's state, and of the summed gradients, train as one rank
 * does, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/state8.h"
#include "train/trainers.h"

/* How many bytes of the whole at `from`, of `end`, are not those of a piece; what lies beyond the end must be zero. */
static int64_t other_bytes(const char *whole, int64_t from, int64_t end, const char *piece, int64_t n)
{
    int64_t differ = 0;
    for (int64_t i = 0; i < n; i++) differ += piece[i] != (from + i < end ? whole[from + i] : 0);
    return differ;
}

/* Moments of which each rank has a piece, against those of one that has all; how many there are. Of 8 bits they are cut
 * between blocks, so that codes and maxima are those of the whole. */
static int compare_pieces(job *j)
{
    int pieces = 0;
    for (int i = 0; i < j->alone.s.graphs.slots.n; i++) {
        const dram_slot *slot = j->alone.s.graphs.slots.at[i];
        if (strcmp(slot->group, "optimizer") != 0 || !is_shard(&j->rank[0], slot)) continue;
        int64_t bytes, each, differ = 0;
        char *whole = bytes_of(&j->alone, slot, &bytes);
        for (int r = 0; r < j->all.n; r++) {
            const dram_slots *slots = &j->rank[r].s.graphs.slots;
            char *piece = bytes_of(&j->rank[r], slots->at[dram_slots_find(slots, slot->group, slot->name)], &each);
            int64_t codes = slot->dtype == DRAM_U8 ? each * 256 / 260 : each, maxima = each - codes;
            int64_t border = slot->dtype == DRAM_U8 ? dram_state8_maxima_in(bytes) : bytes;
            differ += other_bytes(whole, r * codes, border, piece, codes);
            differ += other_bytes(whole, border + r * maxima, bytes, piece + codes, maxima);
            assert_true(each * (j->all.n - 1) < bytes + 2048 * j->all.n && bytes <= each * j->all.n);
            free(piece);
        }
        if (differ) fail_msg("%s: %lld bytes of pieces differ", slot->name, (long long)differ);
        pieces++;
        free(whole);
    }
    return pieces;
}

/* Each rank has a piece of the state, and of gradients that wait: the bits of one rank, and the norm too. */
static void an_optimiser_in_shards(void **state)
{
    static const struct {
        int ranks, batch;
        const char *set;
    } jobs[] = {
        {3, 1, VIT VAL "optim.clip_norm=0 optim.shard=state optim.state=int8 train.precision=bf16"},
        {2, 1, VIT VAL "optim.clip_norm=0.05 optim.shard=gradients distributed.bucket=64KiB"},
        {2, 2,
         VAL "optim.type=sgd optim.shard=gradients optim.clip_norm=0.05 distributed.bucket=300KiB "
             "sam_distill.teacher.placement=shard"},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        job *j = calloc(1, sizeof *j);
        int compared;
        assert_non_null(j);
        run_both(state, j, jobs[i].ranks, jobs[i].batch, 1, jobs[i].set, i == 1);
        check_ranks(j, jobs[i].set);
        int differ = differing(&j->alone, &j->rank[0], &compared);
        if (differ) fail_msg("%s: %d of %d tensors differ", jobs[i].set, differ, compared);
        assert_true(compared > 60);
        if (compare_pieces(j) < 20) fail_msg("%s: too few pieces", jobs[i].set);
        if (strstr(jobs[i].set, "clip_norm=0.05"))
            assert_memory_equal(j->rank[0].norm, j->alone.norm, sizeof j->alone.norm);
        end_both(j);
        free(j);
    }
}

/* Gradients of more than all ranks' micro-batches: pieces of sums are added, which rounds elsewhere; their norm is that
 * of whole ones. The state alone changes no bit. */
static void accumulated_shards(void **state)
{
    static const char *const sets[] = {VIT VAL "optim.type=sgd optim.shard=none",
                                       VIT VAL "optim.type=sgd optim.shard=state",
                                       VIT VAL "optim.type=sgd optim.shard=gradients distributed.bucket=64KiB"};
    job *j[3];
    for (int i = 0; i < 3; i++) {
        j[i] = calloc(1, sizeof **j);
        assert_non_null(j[i]);
        run_both(state, j[i], 2, 2, 2, sets[i], i == 2);
        check_ranks(j[i], sets[i]);
    }
    int compared, sums = 0;
    assert_int_equal(differing(&j[0]->rank[0], &j[1]->rank[0], &compared), 0);
    assert_memory_equal(j[0]->rank[0].norm, j[1]->rank[0].norm, sizeof j[0]->rank[0].norm);
    double far = distance(&j[0]->rank[0], &j[2]->rank[0]);
    if (!(far > 0 && far < 2e-6)) fail_msg("accumulated pieces: %g", far);
    const dram_slots *slots = &j[2]->rank[0].s.graphs.slots;
    for (int i = 0; i < slots->n; i++) sums += strcmp(slots->at[i]->group, "gradient") == 0 && slots->at[i]->whole.rank;
    assert_true(sums > 10);
    assert_true(j[2]->rank[0].s.plan->slots_by_category[DRAM_CATEGORY_GRADIENTS] * 3 <
                j[1]->rank[0].s.plan->slots_by_category[DRAM_CATEGORY_GRADIENTS] * 2);
    for (int i = 0; i < 3; i++) {
        end_both(j[i]);
        free(j[i]);
    }
}

/* A gradient that is not finite, on one rank, in a piece that another has: all skip the update, and have the state that
 * they had. */
static void a_skipped_update_of_shards(void **state)
{
    job *j = calloc(1, sizeof *j);
    void *context[RANKS_MOST];
    int compared;
    assert_non_null(j);
    ranks_open(&j->all, 2);
    for (int r = 0; r < 2; r++) {
        begin(state, &j->rank[r],
              "threads=1 train.batch_size=1 distributed.ranks=2 train.precision=fp16 optim.shard=gradients " VIT VAL,
              &samples[r], 1, &j->all.one[r]);
        context[r] = &j->rank[r];
        if (r) j->rank[r].loss_scale = 0x1p100;
    }
    begin(state, &j->alone, "threads=1 train.batch_size=1 train.precision=fp16 " VIT VAL, samples, 1, NULL);
    ranks_go(&j->all, work, context);
    assert_false(isfinite(j->rank[0].norm[0]) || isfinite(j->rank[1].norm[0]));
    assert_int_equal(differing(&j->alone, &j->rank[0], &compared), 0); /* as they were drawn */
    assert_int_equal(differing(&j->alone, &j->rank[1], &compared), 0);
    assert_true(compared > 60 && compare_pieces(j) > 20);
    end_both(j);
    free(j);
}

int main(void)
{
    make_samples();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_optimiser_in_shards),
        cmocka_unit_test(accumulated_shards),
        cmocka_unit_test(a_skipped_update_of_shards),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
