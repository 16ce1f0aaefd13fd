/* loaders: a folder of images and labels, loaders over it, and what their streams say. Include after cmocka.h. */
#ifndef DRAM_TESTS_LOADERS_H
#define DRAM_TESTS_LOADERS_H

#include "base/log.h"
#include "base/testing.h"
#include "data/encode.h"
#include "data/loader.h"
#include "support/tempdir.h"
#include "support/warnings.h"

enum { FILES = 30, STUDENT = 48, TEACHER = 64 };

static char images[4300], labels[4300];
static inline const char *file_path(const char *folder, int i, const char *end)
{
    static char path[8192];
    snprintf(path, sizeof path, "%s/f%02d%s", folder, i, end);
    return path;
}

/* Images of many sizes, in all three formats, each with a label of classes 0..3. */
static inline int fresh(void **state)
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

static inline int cleared(void **state)
{
    dram_log_set_sink(NULL, NULL);
    return tempdir_remove(state);
}

static inline void spoil(int i)
{
    put_file(file_path(images, i, ".jpg"), "not an image", 12);
}

static inline dram_dataset *open_dataset(bool with_labels)
{
    dram_dataset *d;
    dram_dataset_params params = {
        .images = images, .labels = with_labels ? labels : NULL, .label_fraction = 0.8, .seed = 4};
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    return d;
}

static inline dram_loader_params usual(const dram_dataset *d, bool train)
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

static inline dram_loader *opened(const dram_loader_params *params)
{
    dram_loader *l;
    dram_error_clear();
    if (dram_loader_open(params, &l) != DRAM_OK) fail_msg("%s", dram_error_text());
    return l;
}

static inline uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    return h;
}

/* Everything that a sample says. */
static inline uint64_t digest(const dram_sample *s)
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
static inline void stream(const dram_loader_params *params, int n, uint64_t *out)
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

/* Runs until the stream ends with the status; the text must hold the words. Returns the samples seen before. */
static inline int runs_into(const dram_loader_params *params, dram_status status, const char *words)
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

#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, fresh, cleared)

#endif
