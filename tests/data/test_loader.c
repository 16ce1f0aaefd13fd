/* The stream of samples: order, resume, lists, memory, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/loaders.h"

static void the_stream_depends_on_seed_and_position_only(void **state)
{
    (void)state;
    enum { N = 80 };
    static const struct {
        int workers, prefetch, batch, start;
    } ways[] = {{1, 4, 4, 0}, {4, 16, 4, 0}, {3, 1, 1, 0}, {2, 9, 7, 0}, {4, 4, 4, 37}, {1, 20, 5, 79}};
    uint64_t want[N], got[N];
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    stream(&params, N, want);
    for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
        params = usual(d, true);
        params.workers = ways[k].workers;
        params.prefetch = ways[k].prefetch;
        params.batch_size = ways[k].batch;
        params.start = ways[k].start;
        stream(&params, N - ways[k].start, got);
        assert_memory_equal(got, want + ways[k].start, (size_t)(N - ways[k].start) * sizeof *got);
    }
    params = usual(d, true);
    params.seed = 12;
    stream(&params, N, got);
    for (int i = 0; i < N; i++) assert_true(got[i] != want[i]);
    dram_dataset_close(d);
}

static void an_epoch_shows_every_file_once(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.batch_size = 6;
    dram_loader *l = opened(&params);
    int order[3][FILES], same = 0;
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[FILES] = {0};
        for (int at = 0; at < FILES; at += 6) {
            dram_batch batch;
            assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
            for (int i = 0; i < 6; i++) {
                assert_int_equal(batch.samples[i].position, epoch * FILES + at + i);
                order[epoch][at + i] = batch.samples[i].index;
                assert_int_equal(seen[batch.samples[i].index]++, 0);
            }
        }
    }
    for (int i = 0; i < FILES; i++)
        same += order[0][i] == order[1][i] || order[1][i] == order[2][i] || order[0][i] == i;
    assert_in_range(same, 0, FILES / 2);
    assert_int_equal(dram_loader_skipped(l), 0);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void samples_are_what_they_say(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    dram_loader *l = opened(&params);
    int labelled = 0, unlabelled = 0;
    for (int k = 0; k < 12; k++) {
        dram_batch batch;
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        for (int i = 0; i < batch.count; i++) {
            const dram_sample *s = &batch.samples[i];
            dram_geometry g =
                dram_geometry_draw(&params.augment, params.seed, (uint64_t)s->position, s->full_height, s->full_width);
            uint8_t pixels[TEACHER * TEACHER * 3];
            char path[8192];
            dram_image image;
            int h, w;
            int64_t valid = 0;
            assert_string_equal(s->name, dram_dataset_name(d, s->index));
            dram_dataset_image_path(d, s->index, path, sizeof path);
            assert_int_equal(dram_image_load(path, &params.images, &image), DRAM_OK);
            assert_int_equal(image.full_height, s->full_height);
            assert_int_equal(dram_geometry_image(&g, &image, TEACHER, TEACHER, pixels, &h, &w), DRAM_OK);
            assert_memory_equal(pixels, s->teacher, sizeof pixels);
            assert_true(h == s->teacher_height && w == s->teacher_width);
            assert_int_equal(dram_geometry_image(&g, &image, STUDENT, STUDENT, pixels, &h, &w), DRAM_OK);
            assert_memory_equal(pixels, s->student, STUDENT * STUDENT * 3);
            assert_true(h == s->student_height && w == s->student_width);
            dram_image_free(&image);
            for (int p = 0; p < STUDENT * STUDENT; p++) valid += s->label[p] != 255;
            assert_int_equal(valid, s->label_pixels);
            assert_int_equal(s->has_label, dram_dataset_has_label(d, s->index));
            assert_int_equal(valid, s->has_label ? h * w : 0);
            *(s->has_label ? &labelled : &unlabelled) += 1;
        }
    }
    assert_true(labelled > 0 && unlabelled > 0);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void evaluation_is_one_pass_in_order(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, false);
    params.images.max_pixels = 0;
    dram_loader *l = opened(&params);
    dram_batch batch;
    int next = 0;
    do {
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        assert_int_equal(batch.count, FILES - next < 4 ? FILES - next : 4);
        for (int i = 0; i < batch.count; i++) {
            const dram_sample *s = &batch.samples[i];
            assert_int_equal(s->index, next++);
            assert_int_equal(s->full_width > s->full_height ? s->student_width : s->student_height, STUDENT);
            assert_false(s->geometry.flip);
        }
    } while (batch.count);
    assert_int_equal(next, FILES);
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    assert_int_equal(batch.count, 0);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void without_labels_or_teacher(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(false);
    dram_loader_params params = usual(d, true);
    params.teacher_size = 0;
    params.labels = (dram_label_rules){.ignore_index = -1};
    dram_loader *l = opened(&params);
    dram_batch batch;
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    for (int i = 0; i < batch.count; i++) {
        assert_null(batch.samples[i].teacher);
        assert_null(batch.samples[i].label);
        assert_false(batch.samples[i].has_label);
    }
    dram_loader_close(l);
    dram_dataset_close(d);
}

/* The images that a list names, as often as it does, flipped where it says so; the teacher's alone. */
static void a_list_of_images(void **state)
{
    (void)state;
    static const dram_loader_item list[] = {{7, false}, {7, true}, {2, true}, {29, false}, {5, false},
                                            {0, true},  {5, true}, {2, true}, {0, false}};
    enum { LISTED = sizeof list / sizeof list[0], BAD = 5 };
    spoil(BAD);
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, false);
    params.list = list;
    params.list_count = LISTED;
    params.student_size = 0;
    params.teacher_canvas = TEACHER + 16;
    params.labels.classes = 0; /* of labels, which are not read */
    dram_loader *l = opened(&params);
    dram_batch batch;
    int next = 0;
    do {
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        for (int i = 0; i < batch.count; i++, next++) {
            const dram_sample *s = &batch.samples[i];
            static uint8_t pixels[(TEACHER + 16) * (TEACHER + 16) * 3];
            char path[8192];
            dram_image image;
            int h, w;
            while (list[next].index == BAD) next++;
            assert_int_equal(s->position, next);
            assert_int_equal(s->index, list[next].index);
            assert_int_equal(s->geometry.flip, list[next].flip);
            assert_null(s->student);
            assert_null(s->label);
            assert_false(s->has_label);
            dram_dataset_image_path(d, s->index, path, sizeof path);
            assert_int_equal(dram_image_load(path, &params.images, &image), DRAM_OK);
            dram_geometry g = dram_geometry_fit(image.full_height, image.full_width);
            g.flip = list[next].flip;
            assert_int_equal(dram_geometry_image(&g, &image, TEACHER, TEACHER + 16, pixels, &h, &w), DRAM_OK);
            assert_memory_equal(pixels, s->teacher, sizeof pixels);
            assert_true(h == s->teacher_height && w == s->teacher_width);
            dram_image_free(&image);
        }
    } while (batch.count);
    assert_int_equal(next, LISTED);
    assert_int_equal(dram_loader_skipped(l), 1);
    assert_int_equal(warnings, 1);
    dram_loader_close(l);
    params.list_count = 0;
    l = opened(&params);
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    assert_int_equal(batch.count, 0);
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void closing_at_any_moment(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    int64_t before = dram_alloc_bytes();
    for (int k = 0; k < 30; k++) {
        dram_loader_params params = usual(d, k % 2);
        params.workers = 1 + k % 4;
        dram_loader *l = opened(&params);
        dram_batch batch;
        for (int i = 0; i < k % 3; i++) assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        dram_loader_close(l);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    dram_dataset_close(d);
}

static void memory_stays_flat(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.workers = 1;
    params.prefetch = 4; /* all slots are held after a batch, so the worker is idle then */
    dram_loader *l = opened(&params);
    dram_batch batch;
    assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
    int64_t before = dram_alloc_bytes();
    for (int k = 0; k < 60; k++) {
        assert_int_equal(dram_loader_next(l, &batch), DRAM_OK);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    dram_loader_close(l);
    dram_dataset_close(d);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    dram_loader_params params = usual(d, true);
    params.workers = 1;
    int64_t before = dram_alloc_bytes();
    int at_open = 0, later = 0;
    for (int after = 0; after < 200; after++) {
        dram_loader *l;
        dram_batch batch;
        dram_error_clear();
        dram_alloc_fail_after(after);
        dram_status status = dram_loader_open(&params, &l);
        if (status != DRAM_OK) {
            assert_int_equal(status, DRAM_ERR_MEMORY);
            assert_null(l);
            at_open++;
        } else {
            for (int k = 0; k < 4 && status == DRAM_OK; k++) status = dram_loader_next(l, &batch);
            if (status != DRAM_OK) assert_int_equal(status, DRAM_ERR_MEMORY);
            later += status != DRAM_OK;
        }
        dram_alloc_fail_after(-1);
        dram_loader_close(l);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    assert_true(at_open > 10 && later > 10);
    dram_error_clear();
    dram_dataset_close(d);
}

static void parameters_out_of_range(void **state)
{
    (void)state;
    dram_dataset *d = open_dataset(true);
    static const dram_loader_item item = {0, false};
    dram_loader_params bad[14];
    for (int i = 0; i < 14; i++) bad[i] = usual(d, true);
    bad[0].student_size = 0;
    bad[1].teacher_size = -1;
    bad[2].batch_size = 0;
    bad[3].workers = 0;
    bad[4].start = -1;
    bad[5].augment.scale_min = 0;
    bad[6].augment.scale_max = 0.4;
    bad[7].augment.jitter = NAN;
    bad[8].labels.ignore_index = 256;
    bad[9].labels.classes = 0;
    bad[10].list = &item; /* a training stream */
    bad[11].train = false;
    bad[11].list = &item;
    bad[11].list_count = -1;
    bad[12].train = false;
    bad[12].student_size = bad[12].teacher_size = 0;
    bad[13].augment.hue = 0.6;
    for (int i = 0; i < 14; i++) {
        dram_loader *l;
        dram_error_clear();
        assert_int_equal(dram_loader_open(&bad[i], &l), DRAM_ERR_CONFIG);
        assert_null(l);
    }
    dram_error_clear();
    dram_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_stream_depends_on_seed_and_position_only),
        CASE(an_epoch_shows_every_file_once),
        CASE(samples_are_what_they_say),
        CASE(evaluation_is_one_pass_in_order),
        CASE(without_labels_or_teacher),
        CASE(a_list_of_images),
        CASE(closing_at_any_moment),
        CASE(memory_stays_flat),
        CASE(memory_that_runs_out),
        CASE(parameters_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
