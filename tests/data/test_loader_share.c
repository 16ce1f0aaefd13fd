/* Several loaders, each with a share of one stream: together they draw what one loader draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/loaders.h"

enum { EACH = 3, ROUNDS = 11, MOST = 4 };

static dram_dataset *some_labelled(double fraction)
{
    dram_dataset *d;
    dram_dataset_params params = {.images = images, .labels = labels, .label_fraction = fraction, .seed = 4};
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    return d;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int skipped_of(const dram_loader *l, int *list, int n)
{
    for (int k = 0; k < dram_loader_skipped(l); k++) {
        bool there = false;
        for (int i = 0; i < n; i++) there |= list[i] == dram_loader_skipped_at(l, k);
        if (!there) list[n++] = dram_loader_skipped_at(l, k);
    }
    return n;
}

/* What one loader of ranks * EACH draws, batch by batch, and who draws it again in shares. */
static void compare(const dram_dataset *d, int ranks, double labelled_share, int64_t start)
{
    static uint64_t want[ROUNDS * MOST * EACH];
    int skipped[FILES], joined[FILES], n = 0;
    dram_loader_params params = usual(d, true);
    params.labelled_share = labelled_share;
    params.start = start;
    params.batch_size = ranks * EACH;
    dram_loader *whole = opened(&params), *share[MOST];
    dram_batch batch;
    for (int k = 0; k < ROUNDS; k++) {
        if (dram_loader_next(whole, &batch) != DRAM_OK) fail_msg("%s", dram_error_text());
        for (int i = 0; i < batch.count; i++) want[k * batch.count + i] = digest(&batch.samples[i]);
    }
    params.batch_size = EACH;
    params.stride = ranks * EACH;
    for (int r = 0; r < ranks; r++) {
        params.offset = r * EACH;
        params.workers = 1 + r % 3;
        share[r] = opened(&params);
    }
    for (int k = 0; k < ROUNDS; k++)
        for (int r = ranks - 1; r >= 0; r--) {
            assert_int_equal(dram_loader_position(share[r]), start + k * ranks * EACH);
            if (dram_loader_next(share[r], &batch) != DRAM_OK) fail_msg("%s", dram_error_text());
            assert_int_equal(batch.count, EACH);
            for (int i = 0; i < EACH; i++) {
                assert_int_equal(batch.samples[i].position, start + (k * ranks + r) * EACH + i);
                assert_true(digest(&batch.samples[i]) == want[(k * ranks + r) * EACH + i]);
            }
        }
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(dram_loader_position(share[r]), dram_loader_position(whole));
        n = skipped_of(share[r], joined, n);
        dram_loader_close(share[r]);
    }
    assert_int_equal(skipped_of(whole, skipped, 0), n);
    if (n) qsort(skipped, (size_t)n, sizeof *skipped, by_number);
    if (n) qsort(joined, (size_t)n, sizeof *joined, by_number);
    for (int i = 0; i < n; i++) assert_int_equal(joined[i], skipped[i]);
    dram_loader_close(whole);
}

static void shares_draw_what_one_draws(void **state)
{
    (void)state;
    static const double fraction[] = {1, 0.5}, labelled[] = {0, 0.4, 1};
    for (int bad = 0; bad < 2; bad++) {
        for (int f = 0; f < 2; f++) {
            dram_dataset *d = some_labelled(fraction[f]);
            for (int ranks = 1; ranks <= MOST; ranks++)
                for (int s = 0; s < 3; s++) compare(d, ranks, labelled[s], s == 1 ? 7 : 0);
            dram_dataset_close(d);
        }
        spoil(3);
        put_file(file_path(labels, 17, ".png"), "", 0);
    }
    assert_true(warnings > 0);
}

/* What another share met counts here too: of the images, not of those met here. */
static void what_others_met_counts(void **state)
{
    (void)state;
    spoil(3);
    spoil(8);
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.batch_size = FILES / 2;
    params.stride = FILES;
    dram_loader *l = opened(&params);
    dram_batch batch;
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    int met = dram_loader_skipped(l);
    dram_loader_count_skipped(l, 3);
    dram_loader_count_skipped(l, 8);
    dram_loader_count_skipped(l, 8);
    assert_int_equal(dram_loader_skipped(l), 2);
    for (int k = 0; k < 4; k++) assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    assert_int_equal(dram_loader_skipped(l), 2);
    assert_true(met < 2);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void shares_that_are_none(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    const struct {
        int offset, stride;
        bool train;
        const char *what;
    } wrong[] = {{-1, 0, true, "offset"}, {1, 0, true, "offset"},  {0, 3, true, "stride"}, {0, -4, true, "stride"},
                 {5, 8, true, "offset"},  {0, 8, false, "stride"}, {4, 0, false, "offset"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dram_loader_params params = usual(d, wrong[i].train);
        params.offset = wrong[i].offset;
        params.stride = wrong[i].stride;
        dram_loader *l;
        assert_int_equal(dram_loader_open(&params, &l), DRAM_ERR_CONFIG);
        assert_non_null(strstr(dram_error_text(), wrong[i].what));
        dram_error_clear();
    }
    dram_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(shares_draw_what_one_draws), CASE(what_others_met_counts),
                                       CASE(shares_that_are_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
