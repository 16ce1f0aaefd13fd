/* The stream of samples: order, resume, bad files, errors, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/testing.h"
#include "data/encode.h"
#include "data/loader.h"
#include "support/tempdir.h"
#include "support/warnings.h"

enum { FILES = 30, STUDENT = 48, TEACHER = 64 };

static char images[4300], labels[4300];
static const char *file_path(const char *folder, int i, const char *end)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/f%02d%s", folder, i, end);
    return path;
}

/* Images of many sizes, in all three formats, each with a label of classes 0..3. */
static int fresh(void **state)
{
    if (tempdir_make(state)) return -1;
    snprintf(images, sizeof images, "%s/images", (const char *)*state);
    snprintf(labels, sizeof labels, "%s/labels", (const char *)*state);
    if (mkdir(images, 0777) || mkdir(labels, 0777)) return -1;
    for (int i = 0; i < FILES; i++) {
        int h = 20 + i * 7 % 31, w = 25 + i * 11 % 37;
        size_t n = (size_t)h * (size_t)w;
        uint8_t *rgb = noise_bytes(n * 3, (uint64_t)i + 1);
        blob file = i % 3 == 0   ? encode_jpeg(rgb, h, w, 0, TJPF_RGB, TJSAMP_420, 0)
                    : i % 3 == 1 ? encode_png(rgb, n * 3, h, w, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL)
                                 : encode_webp(rgb, h, w, 3, 70);
        put_file(file_path(images, i, ".jpg"), file.bytes, file.n);
        free(file.bytes);
        for (size_t k = 0; k < n; k++) rgb[k] %= 4;
        file = encode_png(rgb, n, h, w, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
        put_file(file_path(labels, i, ".png"), file.bytes, file.n);
        free(file.bytes);
        free(rgb);
    }
    warnings = 0;
    dram_error_clear();
    dram_log_set_sink(keep_warning, NULL);
    return 0;
}

static int cleared(void **state)
{
    dram_log_set_sink(NULL, NULL);
    return tempdir_remove(state);
}

static void spoil(int i)
{
    put_file(file_path(images, i, ".jpg"), "not an image", 12);
}

static dram_dataset *open_dataset(bool with_labels)
{
    dram_dataset *d;
    dram_dataset_params params = {
        .images = images, .labels = with_labels ? labels : NULL, .label_fraction = 0.8, .seed = 4};
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    return d;
}

static dram_loader_params usual(const dram_dataset *d, bool train)
{
    return (dram_loader_params){.dataset = d,
                                .seed = 11,
                                .train = train,
                                .student_size = STUDENT,
                                .teacher_size = TEACHER,
                                .teacher_canvas = TEACHER,
                                .batch_size = 4,
                                .workers = 2,
                                .prefetch = 8,
                                .augment = {.scale_min = 0.5, .scale_max = 2, .crop = true, .flip = 0.5, .jitter = 0.3},
                                .images = {.max_pixels = 900, .max_bytes = 16 << 20},
                                .labels = {.classes = 4, .ignore_index = 255}};
}

static dram_loader *opened(const dram_loader_params *params)
{
    dram_loader *l;
    dram_error_clear();
    if (dram_loader_open(params, &l) != DRAM_OK) fail_msg("%s", dram_error_text());
    return l;
}

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return h;
}

/* Everything that a sample says. */
static uint64_t digest(const dram_sample *s)
{
    int numbers[] = {s->student_height, s->student_width, s->teacher_height,    s->teacher_width, s->has_label,
                     s->index,          s->full_height,   (int)s->label_pixels, s->full_width};
    uint64_t h = hash_bytes(hash_bytes(0xcbf29ce484222325u, &s->position, sizeof s->position), numbers, sizeof numbers);
    h = hash_bytes(h, s->name, strlen(s->name));
    h = hash_bytes(h, s->student, STUDENT * STUDENT * 3);
    if (s->teacher) h = hash_bytes(h, s->teacher, TEACHER * TEACHER * 3);
    return s->label ? hash_bytes(h, s->label, STUDENT * STUDENT) : h;
}

/* The next n digests of a stream; the loader is closed. */
static void stream(const dram_loader_params *params, int n, uint64_t *out)
{
    dram_loader *l = opened(params);
    dram_batch batch;
    for (int have = 0; have < n;) {
        assert_int_equal(dram_loader_position(l), params->start + have);
        if (dram_loader_next(l, &batch) != DRAM_OK) fail_msg("%s", dram_error_text());
        assert_int_equal(batch.count, params->batch_size);
        for (int i = 0; i < batch.count && have < n; i++) out[have++] = digest(&batch.samples[i]);
        if (have % 3) dram_loader_release(l);
    }
    dram_loader_close(l);
}

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

/* Runs until the stream ends with the status; the text must hold the words. Returns the samples seen before. */
static int runs_into(const dram_loader_params *params, dram_status status, const char *words)
{
    dram_loader *l = opened(params);
    dram_batch batch = {0};
    dram_status got = DRAM_OK;
    int seen = 0;
    for (int k = 0; k < 100 && got == DRAM_OK; k++) {
        got = dram_loader_next(l, &batch);
        seen += batch.count;
    }
    assert_int_equal(got, status);
    if (!strstr(dram_error_text(), words)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), words);
    dram_error_clear();
    assert_int_equal(dram_loader_next(l, &batch), status);
    if (!strstr(dram_error_text(), words)) fail_msg("second time: \"%s\"", dram_error_text());
    assert_int_equal(batch.count, 0);
    dram_error_clear();
    dram_loader_close(l);
    return seen;
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
    dram_loader_params bad[13];
    for (int i = 0; i < 13; i++) bad[i] = usual(d, true);
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
    for (int i = 0; i < 13; i++) {
        dram_loader *l;
        dram_error_clear();
        assert_int_equal(dram_loader_open(&bad[i], &l), DRAM_ERR_CONFIG);
        assert_null(l);
    }
    dram_error_clear();
    dram_dataset_close(d);
}

#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, fresh, cleared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_stream_depends_on_seed_and_position_only),
        CASE(an_epoch_shows_every_file_once),
        CASE(samples_are_what_they_say),
        CASE(evaluation_is_one_pass_in_order),
        CASE(without_labels_or_teacher),
        CASE(a_list_of_images),
        CASE(bad_files_are_replaced_in_training),
        CASE(bad_files_are_left_out_of_evaluation),
        CASE(more_than_a_tenth_bad_stops),
        CASE(a_bad_label_is_skipped_with_its_image),
        CASE(stopping_at_the_first_bad_one),
        CASE(the_skipped_are_listed_in_order),
        CASE(a_label_that_went_away_stops),
        CASE(a_missing_image_stops),
        CASE(closing_at_any_moment),
        CASE(memory_stays_flat),
        CASE(memory_that_runs_out),
        CASE(parameters_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
