/* The stream of samples where images or labels are bad, or cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/loaders.h"

static void bad_files_are_replaced_in_training(void **state)
{
    (void)state;
    enum { N = 90 };
    uint64_t clean[N], want[N], got[N];
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.batch_size = 3;
    stream(&params, N, clean);
    spoil(3);
    put_file(file_path(images, 17, ".jpg"), "", 0);
    stream(&params, N, want);
    int changed = 0;
    for (int i = 0; i < N; i++) changed += want[i] != clean[i];
    assert_int_equal(changed, 6); /* two files in three epochs; every other position is as before */
    assert_int_equal(warnings, 2);
    assert_non_null(strstr(last_warning, ".jpg: "));
    params.workers = 4;
    params.prefetch = 16;
    stream(&params, N, got);
    assert_memory_equal(got, want, sizeof got);
    params.start = 42;
    params.workers = 1;
    stream(&params, N - 42, got);
    assert_memory_equal(got, want + 42, (N - 42) * sizeof *got);

    warnings = 0;
    params.start = 0;
    dram_loader *l = opened(&params);
    int skipped = 0;
    for (int k = 0; k < N; k += 3) {
        dram_batch batch;
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        for (int i = 0; i < 3; i++) assert_true(batch.samples[i].index != 3 && batch.samples[i].index != 17);
        assert_int_equal(warnings, dram_loader_skipped(l)); /* once a file, when the stream is there */
        skipped = dram_loader_skipped(l);
    }
    assert_int_equal(skipped, 2);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void bad_files_are_left_out_of_evaluation(void **state)
{
    (void)state;
    spoil(1);
    spoil(2);
    spoil(29);
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, false);
    params.prefetch = 4; /* no slot to spare: a hole must give its own back */
    dram_loader *l = opened(&params);
    dram_batch batch;
    int total = 0, last = -1;
    do {
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        for (int i = 0; i < batch.count; i++) {
            assert_true(batch.samples[i].index > last);
            last = batch.samples[i].index;
            assert_true(last != 1 && last != 2 && last != 29);
        }
        total += batch.count;
    } while (batch.count);
    assert_int_equal(total, FILES - 3);
    assert_int_equal(dram_loader_skipped(l), 3);
    assert_int_equal(warnings, 3);
    dram_loader_close(l);
    dram_dataset_close(d);
}

/* A bad file costs one look: what is gone afterwards would end the stream if it were opened again. */
static void a_bad_file_is_read_once(void **state)
{
    (void)state;
    dram_batch batch;
    spoil(3);
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.batch_size = 3;
    params.workers = 1;
    dram_loader *l = opened(&params);
    for (int k = 0; k < 5 * FILES; k += 3) {
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        if (dram_loader_skipped(l)) unlink(file_path(images, 3, ".jpg"));
    }
    assert_int_equal(dram_loader_skipped(l), 1);
    assert_int_equal(warnings, 1);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void more_than_a_tenth_bad_stops(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) spoil(5 * i + 2);
    dram_dataset *d = open_dataset(true);
    for (int k = 0; k < 4; k++) {
        dram_loader_params params = usual(d, k % 2);
        params.workers = 1 + k;
        int seen = runs_into(&params, DRAM_ERR_RUN, "4 of 30 images are bad, more than 10 %");
        if (k % 2 == 0) assert_int_equal(seen, 12); /* file 17 is the fourth: three whole batches came before it */
    }
    dram_dataset_close(d);
    for (int i = 0; i < FILES; i++) spoil(i);
    d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    assert_int_equal(runs_into(&params, DRAM_ERR_RUN, "more than 10 %"), 0);
    dram_dataset_close(d);
}

/* Spoils a label, in one of the ways that there are. */
static void spoil_label(int i, int way)
{
    uint8_t ids[90 * 90] = {0};
    int h = 20 + i * 7 % 31, w = 25 + i * 11 % 37;
    if (way == 1) h--; /* another size than its image */
    if (way == 2) ids[h * w - 1] = 77;
    blob file = encode_png(ids, (size_t)(h * w), h, w, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    put_file(file_path(labels, i, ".png"), way == 0 ? (const void *)"text" : file.bytes,
             way == 0 ? 4 : file.n / (way == 3 ? 2 : 1));
    free(file.bytes);
}

static const char *const label_reason[] = {"", "the label has ", "class id 77", ""};
enum { LABEL_WAYS = sizeof label_reason / sizeof label_reason[0] };

/* An image whose label is bad is one that is bad: replaced in training, left out of an evaluation, said and counted
 * once. Every other position is as it was. */
static void a_bad_label_is_skipped_with_its_image(void **state)
{
    enum { N = 90, BAD = 12 };
    (void)state;
    uint64_t clean[N], got[N];
    dram_dataset *d = open_dataset(true);
    assert_true(dram_dataset_has_label(d, BAD));
    dram_loader_params params = usual(d, true);
    params.batch_size = 3;
    stream(&params, N, clean);
    for (int way = 0; way < LABEL_WAYS; way++) {
        int changed = 0;
        dram_batch batch;
        spoil_label(BAD, way);
        warnings = 0;
        stream(&params, N, got);
        for (int i = 0; i < N; i++) changed += got[i] != clean[i];
        assert_int_equal(changed, 3); /* one file in three epochs */
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, "f12.png"));
        assert_non_null(strstr(last_warning, label_reason[way]));
        dram_loader_params once = usual(d, false);
        dram_loader *l = opened(&once);
        int total = 0;
        do {
            assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
            for (int i = 0; i < batch.count; i++) assert_int_not_equal(batch.samples[i].index, BAD);
            total += batch.count;
        } while (batch.count);
        assert_int_equal(total, FILES - 1);
        assert_int_equal(dram_loader_skipped(l), 1);
        assert_int_equal(dram_loader_skipped_at(l, 0), BAD);
        dram_loader_close(l);
    }
    dram_loader_params teacher = usual(d, false); /* reads no label */
    teacher.student_size = 0;
    dram_loader *l = opened(&teacher);
    dram_batch batch;
    for (int i = 0; i < FILES; i += 4) assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    assert_int_equal(dram_loader_skipped(l), 0);
    dram_loader_close(l);
    dram_dataset_close(d);
}

/* With stop_on_bad the first ends the stream: an image or a label, new or counted by the stream that this one goes on
 * from. */
static void stopping_at_the_first_bad_one(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    spoil_label(12, 2);
    for (int train = 0; train < 2; train++) {
        dram_loader_params params = usual(d, train);
        params.stop_on_bad = true;
        warnings = 0;
        int seen = runs_into(&params, DRAM_ERR_RUN, "f12.png");
        if (!train) assert_int_equal(seen, 12);
        runs_into(&params, DRAM_ERR_RUN, "(data.on_bad is stop)");
        assert_int_equal(warnings, 0);
    }
    dram_loader_params params = usual(d, false);
    params.stop_on_bad = true;
    params.start = 8;
    dram_batch batch;
    dram_loader *l = opened(&params);
    dram_loader_count_skipped(l, 12);
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    assert_int_equal(dram_loader_next(l, &batch), DRAM_ERR_RUN);
    assert_int_equal(dram_loader_skipped(l), 1);
    dram_error_clear();
    dram_loader_close(l);
    spoil(3);
    params.start = 0;
    assert_int_equal(runs_into(&params, DRAM_ERR_RUN, "f03.jpg"), 0);
    dram_dataset_close(d);
}

/* Those of the stream before come first, each once; then those that are met, in their order. */
static void the_skipped_are_listed_in_order(void **state)
{
    (void)state;
    static const int bad[] = {21, 4, 13};
    for (int i = 0; i < 3; i++) spoil(bad[i]);
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, false);
    dram_loader *l = opened(&params);
    dram_batch batch;
    dram_loader_count_skipped(l, 21);
    dram_loader_count_skipped(l, 21);
    do assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    while (batch.count);
    assert_int_equal(dram_loader_skipped(l), 3);
    assert_int_equal(warnings, 2);
    for (int k = 0; k < 3; k++) assert_int_equal(dram_loader_skipped_at(l, k), bad[k]);
    dram_loader_close(l);
    dram_dataset_close(d);
}

/* What cannot be read may be there again later: that is no bad file, and ends the stream. */
static void a_label_that_went_away_stops(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    int first = 0;
    while (!dram_dataset_has_label(d, first)) first++;
    unlink(file_path(labels, first, ".png"));
    for (int train = 0; train < 2; train++) {
        dram_loader_params params = usual(d, train);
        runs_into(&params, DRAM_ERR_IO, "cannot open");
    }
    dram_loader_params params = usual(d, false);
    params.labels.classes = 3; /* nearly every label has the class id 3 */
    params.start = first + 1;
    runs_into(&params, DRAM_ERR_RUN, "4 of 30 images are bad, more than 10 %");
    assert_non_null(strstr(last_warning, "class id 3"));
    dram_dataset_close(d);
}

static void a_missing_image_stops(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    unlink(file_path(images, 6, ".jpg"));
    dram_loader_params params = usual(d, false);
    assert_int_equal(runs_into(&params, DRAM_ERR_IO, "f06.jpg: cannot open"), 4);
    dram_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bad_files_are_replaced_in_training),
        CASE(bad_files_are_left_out_of_evaluation),
        CASE(more_than_a_tenth_bad_stops),
        CASE(a_bad_label_is_skipped_with_its_image),
        CASE(stopping_at_the_first_bad_one),
        CASE(the_skipped_are_listed_in_order),
        CASE(a_bad_file_is_read_once),
        CASE(a_label_that_went_away_stops),
        CASE(a_missing_image_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
