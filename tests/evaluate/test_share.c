/* An evaluation in shares, joined again, has the bits of one that is not cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "evaluate/share.h"
#include "feed/datasets.h"
#include "session/budget.h"
#include "support/runs.h"

typedef struct {
    dram_config *cfg;
    dram_dataset *val;
    dram_session session;
    dram_feed feed;
} opened;

static void open_all(void **state, const char *set, opened *o)
{
    *o = (opened){.cfg = run_config(state, "share", set)};
    if (dram_datasets_open(o->cfg, true, &o->val) != DRAM_OK ||
        dram_budget_plan(o->cfg, DRAM_SET_EVALUATION, 0, &o->session) != DRAM_OK ||
        dram_session_start(&o->session) != DRAM_OK || dram_feed_open(&o->session.graphs, &o->feed) != DRAM_OK)
        fail_msg("%s", dram_error_text());
}

static void close_all(opened *o)
{
    dram_feed_close(&o->feed);
    dram_session_close(&o->session);
    dram_dataset_close(o->val);
    dram_config_free(o->cfg);
}

/* What `ranks` ranks come to, each with its share, in an order that is none of theirs. Returns the rounds that it took
 * until no rank met a bad image. */
static int evaluate_in_shares(opened *o, int ranks, dram_eval_result *result)
{
    int images = dram_dataset_count(o->val), rounds = 0;
    bool *left_out = calloc((size_t)images, sizeof *left_out), *seen = calloc((size_t)images, sizeof *seen);
    int64_t *counts = NULL, met = 1;
    dram_eval_term *terms = NULL;
    dram_eval_share share;
    assert_true(left_out && seen);
    for (; met; rounds++) {
        met = 0;
        free(counts);
        free(terms);
        counts = NULL;
        for (int r = ranks - 1; r >= 0; r--) {
            bool *own = malloc((size_t)images * sizeof *own);
            assert_non_null(own);
            memcpy(own, left_out, (size_t)images * sizeof *own);
            const dram_eval_work work = {.dataset = o->val, .rank = r, .ranks = ranks, .left_out = own};
            assert_int_equal(dram_eval_share_open(&o->session, images, ranks, &share), DRAM_OK);
            if (dram_eval_share_run(&o->session, &o->feed, &work, &share) != DRAM_OK) fail_msg("%s", dram_error_text());
            if (!counts) {
                counts = calloc((size_t)share.n_counts, sizeof *counts);
                terms = calloc((size_t)ranks * (size_t)share.most + 1, sizeof *terms);
                assert_true(counts && terms);
            }
            for (int i = 0; i < share.n_counts; i++) counts[i] += share.counts[i];
            memcpy(terms + r * share.most, share.terms, (size_t)share.most * sizeof *terms);
            met += share.counts[DRAM_EVAL_SKIPPED];
            for (int i = 0; i < images; i++) seen[i] |= own[i];
            free(own);
            if (r) dram_eval_share_close(&share);
        }
        memcpy(left_out, seen, (size_t)images * sizeof *left_out);
        if (!met) dram_eval_share_score(&o->session, counts, terms, ranks, share.most, result);
        dram_eval_share_close(&share);
    }
    for (int i = 0; i < images; i++) result->skipped += left_out[i];
    free(counts);
    free(terms);
    free(left_out);
    free(seen);
    return rounds;
}

static void compare(const dram_eval_result *a, const dram_eval_result *b)
{
    assert_true(isfinite(a->miou) && isfinite(a->embedding_cosine));
    assert_memory_equal(&a->miou, &b->miou, sizeof a->miou);
    assert_memory_equal(&a->pixel_accuracy, &b->pixel_accuracy, sizeof a->miou);
    assert_memory_equal(&a->embedding_cosine, &b->embedding_cosine, sizeof a->miou);
    assert_memory_equal(&a->embedding_mse, &b->embedding_mse, sizeof a->miou);
    assert_memory_equal(a->class_iou, b->class_iou, sizeof a->class_iou);
    assert_int_equal(a->images, b->images);
    assert_int_equal(a->skipped, b->skipped);
    assert_int_equal(a->embedded, b->embedded);
    assert_true(a->labelled_pixels == b->labelled_pixels && a->void_pixels == b->void_pixels);
    assert_int_equal(a->unlabelled, b->unlabelled);
    assert_int_equal(a->absent, b->absent);
}

static void shares_are_the_whole(void **state)
{
    static const char *const batches[] = {"train.batch_size=1", "train.batch_size=2", "train.batch_size=3",
                                          "train.batch_size=8"};
    for (size_t k = 0; k < sizeof batches / sizeof batches[0]; k++) {
        opened o;
        dram_eval_result whole, joined;
        open_all(state, batches[k], &o);
        assert_int_equal(dram_evaluate(&o.session, &o.feed, o.val, NULL, NULL, &whole), DRAM_OK);
        for (int ranks = 1; ranks <= 4; ranks++) {
            assert_int_equal(evaluate_in_shares(&o, ranks, &joined), 1);
            compare(&whole, &joined);
        }
        close_all(&o);
    }
}

/* An image that turns out to be bad moves those behind it into other batches: what was found is found again. */
static void a_bad_image_in_a_share(void **state)
{
    enum { SETS = 12 };
    opened o;
    dram_eval_result whole, joined;
    char set[9000];
    if (dram_synth_write(in_dir(state, "spoiled"), SETS, DRAM_SYNTH_PLAIN, 5, SCENE_HEIGHT, SCENE_WIDTH) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    put_file(in_dir(state, "spoiled/images/00002.jpg"), "none", 4);
    snprintf(set, sizeof set, "train.batch_size=2 data.val.images=%.4000s/images data.val.labels=%.4000s/labels",
             in_dir(state, "spoiled"), in_dir(state, "spoiled"));
    open_all(state, set, &o);
    assert_int_equal(dram_evaluate(&o.session, &o.feed, o.val, NULL, NULL, &whole), DRAM_OK);
    assert_int_equal(whole.skipped, 1);
    assert_int_equal(whole.images, SETS - 1);
    for (int ranks = 2; ranks <= 4; ranks++) {
        assert_int_equal(evaluate_in_shares(&o, ranks, &joined), 2);
        compare(&whole, &joined);
    }
    close_all(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_are_the_whole),
                                       cmocka_unit_test(a_bad_image_in_a_share)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
