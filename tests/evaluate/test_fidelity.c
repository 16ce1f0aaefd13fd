/* The teacher at sam_input_size against the teacher at 1024. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "evaluate/fidelity.h"
#include "feed/feed.h"
#include "session/budget.h"
#include "support/runs.h"
#include "support/warnings.h"
#include "train/train.h"

enum { FULL = 64 /* cells of a side at 1024 */, C = DRAM_EMBED_CHANNELS };
#ifdef DRAM_SANITIZED /* a teacher at 1024 takes long there */
enum { IMAGES = 1, CASES = 1 };
#else
enum { IMAGES = 2, CASES = 2 };
#endif

static dram_fidelity fidelity_of(void **state, const char *set, const char *folder)
{
    dram_fidelity result;
    dram_config *cfg = run_config(state, "none", set);
    if (dram_fidelity_folder(cfg, folder, NULL, &result) != DRAM_OK) fail_msg("%s", dram_error_text());
    dram_config_free(cfg);
    return result;
}

static void fidelity_fails(void **state, const char *set, const char *folder, dram_status want, const char *text)
{
    dram_fidelity result;
    dram_config *cfg = run_config(state, "none", set);
    dram_status status = dram_fidelity_folder(cfg, folder, NULL, &result);
    dram_config_free(cfg);
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    dram_error_clear();
}

/* A folder with the first n scenes. */
static const char *some_scenes(void **state, const char *name, int n)
{
    char file[64];
    assert_int_equal(mkdir(in_dir(state, name), 0777), 0);
    for (int i = 0; i < n; i++) {
        size_t bytes;
        snprintf(file, sizeof file, "scenes/images/%05d.jpg", i);
        char *data = get_file(in_dir(state, file), &bytes);
        snprintf(file, sizeof file, "%s/%05d.jpg", name, i);
        put_file(in_dir(state, file), data, bytes);
        free(data);
    }
    return in_dir(state, name);
}

/* ---- against an account of its own ---- */

/* The teacher's embedding of an image file at a size, [t,t,256], by the program that fills a cache. */
static float *embed(void **state, const char *path, int size, int canvas)
{
    char set[200];
    dram_session s;
    dram_feed feed = {0};
    dram_image image;
    const dram_image_rules limits = {0};
    snprintf(set, sizeof set, "train.batch_size=1 sam_distill.sam_input_size=%d sam_distill.pad_to=%d", size, canvas);
    dram_config *cfg = run_config(state, "none", set);
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_CACHE_FILL, 0, &s), DRAM_OK);
    assert_int_equal(dram_session_start(&s), DRAM_OK);
    assert_int_equal(dram_feed_open(&s.graphs, &feed), DRAM_OK);
    assert_int_equal(dram_image_load(path, &limits, &image), DRAM_OK);
    int side = s.graphs.teacher_canvas, t = size / 16;
    uint8_t *pixels = malloc((size_t)side * (size_t)side * 3);
    float *embedding = malloc((size_t)t * (size_t)t * C * sizeof *embedding);
    assert_true(pixels && embedding);
    dram_sample sample = {.teacher = pixels, .geometry = dram_geometry_fit(image.full_height, image.full_width)};
    assert_int_equal(dram_geometry_image(&sample.geometry, &image, size, side, pixels, &sample.teacher_height,
                                         &sample.teacher_width),
                     DRAM_OK);
    const dram_io *io = &s.graphs.io[DRAM_PROGRAM_CACHE_FILL];
    assert_int_equal(dram_feed_batch(&s, &feed, DRAM_PROGRAM_CACHE_FILL, 0, &sample, 1, 1), DRAM_OK);
    assert_int_equal(dram_exec_run(s.exec, io->index), DRAM_OK);
    assert_int_equal(dram_exec_read(s.exec, io->index, io->embedding, embedding, (int64_t)t * t * C * 4), DRAM_OK);
    dram_image_free(&image);
    free(pixels);
    dram_feed_close(&feed);
    dram_session_close(&s);
    dram_config_free(cfg);
    return embedding;
}

/* Bilinear at cell (i, j) of the full grid, half-pixel centres, edges repeated. */
static void sample_at(const float *low, int t, int i, int j, double out[C])
{
    double y = fmin(fmax((i + 0.5) * t / FULL - 0.5, 0), t - 1), x = fmin(fmax((j + 0.5) * t / FULL - 0.5, 0), t - 1);
    int y0 = (int)y, x0 = (int)x, y1 = y0 + 1 < t ? y0 + 1 : y0, x1 = x0 + 1 < t ? x0 + 1 : x0;
    for (int c = 0; c < C; c++)
        out[c] =
            (1 - (y - y0)) * ((1 - (x - x0)) * low[(y0 * t + x0) * C + c] + (x - x0) * low[(y0 * t + x1) * C + c]) +
            (y - y0) * ((1 - (x - x0)) * low[(y1 * t + x0) * C + c] + (x - x0) * low[(y1 * t + x1) * C + c]);
}

/* Mean cosine over the cells whose middle is on an image of 64 x 48. */
static double cosine_of(const float *low, int t, const float *full)
{
    double sum = 0, a[C];
    int cells = 0, rows = FULL * SCENE_HEIGHT / SCENE_WIDTH;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < FULL; j++) {
            const float *b = full + (i * FULL + j) * C;
            double ab = 0, aa = 0, bb = 0;
            sample_at(low, t, i, j, a);
            for (int c = 0; c < C; c++) {
                ab += a[c] * (double)b[c];
                aa += a[c] * a[c];
                bb += (double)b[c] * (double)b[c];
            }
            sum += ab / sqrt(aa * bb);
            cells++;
        }
    assert_int_equal(cells, 48 * 64);
    return sum / cells;
}

static void the_cosine_is_what_it_says(void **state)
{
    static const struct {
        const char *set;
        int size, canvas;
    } cases[] = {{"sam_distill.sam_input_size=448", 448, 0},
                 {"sam_distill.sam_input_size=320 sam_distill.pad_to=512", 320, 512}};
    char path[64];
    const char *folder = some_scenes(state, "some", IMAGES);
    float *full[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        snprintf(path, sizeof path, "some/%05d.jpg", i);
        full[i] = embed(state, in_dir(state, path), 1024, 0);
    }
    for (int k = 0; k < CASES; k++) {
        double mean = 0, worst = 2;
        int which = 0;
        for (int i = 0; i < IMAGES; i++) {
            snprintf(path, sizeof path, "some/%05d.jpg", i);
            float *low = embed(state, in_dir(state, path), cases[k].size, cases[k].canvas);
            double cosine = cosine_of(low, cases[k].size / 16, full[i]);
            free(low);
            assert_true(cosine < 0.99999 && cosine != worst);
            mean += cosine / IMAGES;
            if (cosine < worst) which = i;
            if (cosine < worst) worst = cosine;
        }
        dram_fidelity r = fidelity_of(state, cases[k].set, folder);
        assert_int_equal(r.images, IMAGES);
        assert_int_equal(r.skipped, 0);
        assert_int_equal(r.size, cases[k].size);
        assert_int_equal(r.canvas, cases[k].canvas ? cases[k].canvas : cases[k].size);
        /* fp32 cosines of 256 numbers, and a mean that is kept as 1 less a float */
        assert_true(fabs(r.cosine - mean) <= 2e-6);
        assert_true(fabs(r.worst - worst) <= 2e-6);
        snprintf(path, sizeof path, "%05d.jpg", which);
        assert_string_equal(r.worst_image, path);
    }
    for (int i = 0; i < IMAGES; i++) free(full[i]);
}

/* Wherever its weights are. */
static void placements_agree(void **state)
{
    const char *folder = some_scenes(state, "one", 1);
    dram_fidelity device = fidelity_of(state, "sam_distill.sam_input_size=256", folder);
    dram_fidelity stream =
        fidelity_of(state, "sam_distill.sam_input_size=256 sam_distill.teacher.placement=stream", folder);
    assert_true(device.images == 1 && device.cosine == stream.cosine && device.cosine == device.worst);
    dram_fidelity half =
        fidelity_of(state, "sam_distill.sam_input_size=256 sam_distill.teacher.precision=bf16", folder);
    assert_true(fabs(half.cosine - device.cosine) < 0.01 && half.cosine != device.cosine); /* 8 bits of mantissa */
}

static void a_low_value_is_a_warning(void **state)
{
    const char *folder = in_dir(state, "one");
    dram_log_set_sink(keep_warning, NULL);
    warnings = 0;
    dram_fidelity low = fidelity_of(state, "sam_distill.sam_input_size=32", folder);
    char want[200];
    assert_true(low.cosine < 0.8);
    assert_int_equal(warnings, 1);
    snprintf(want, sizeof want,
             "the teacher at 32 gives another embedding than at 1024: the cosine between them is %.3f (below 0.8); a "
             "larger sam_distill.sam_input_size",
             low.cosine);
    assert_memory_equal(last_warning, want, strlen(want));
#ifndef DRAM_SANITIZED
    /* and a high one is none */
    dram_fidelity high = fidelity_of(state, "sam_distill.sam_input_size=896", folder);
    assert_true(high.cosine > 0.8);
    assert_int_equal(warnings, 1);
#endif
    dram_log_set_sink(NULL, NULL);
}

static void nothing_to_compare(void **state)
{
    dram_fidelity r = fidelity_of(state, "sam_distill.sam_input_size=1024", in_dir(state, "one"));
    assert_true(r.images == 0 && isnan(r.cosine) && isnan(r.worst));
    r = fidelity_of(state, "sam_distill.sam_input_size=1024 sam_distill.pad_to=1024", in_dir(state, "one"));
    assert_int_equal(r.images, 0);
}

static void bad_input(void **state)
{
    static const char set[] = "sam_distill.sam_input_size=64";
    char weights[4600];
    fidelity_fails(state, set, in_dir(state, "nowhere"), DRAM_ERR_CONFIG, "nowhere: cannot open the folder of images");
    fidelity_fails(state, set, in_dir(state, "base.yaml"), DRAM_ERR_CONFIG, "cannot open the folder of images");
    assert_int_equal(mkdir(in_dir(state, "empty"), 0777), 0);
    fidelity_fails(state, set, in_dir(state, "empty"), DRAM_ERR_CONFIG, "no image in the folder");
    fidelity_fails(state, "sam_distill.enabled=false", in_dir(state, "one"), DRAM_ERR_CONFIG, "there is no teacher");
    fidelity_fails(state, "sam_distill.teacher.weights=none", in_dir(state, "one"), DRAM_ERR_CONFIG,
                   "sam_distill.teacher.weights: the teacher needs weights");
    snprintf(weights, sizeof weights, "%s sam_distill.teacher.weights=%.4400s", set, in_dir(state, "nowhere"));
    fidelity_fails(state, weights, in_dir(state, "one"), DRAM_ERR_CONFIG, "nowhere: No such file");
    snprintf(weights, sizeof weights, "%s sam_distill.teacher.weights=%.4400s", set, in_dir(state, "base.yaml"));
    fidelity_fails(state, weights, in_dir(state, "one"), DRAM_ERR_FORMAT, "base.yaml");

    /* bad images are left out with a warning each; when no other is there it is an error */
    const char *folder = some_scenes(state, "bad", 1);
    put_file(in_dir(state, "bad/text.jpg"), "no image", 8);
    put_file(in_dir(state, "bad/nothing.png"), "", 0);
    dram_log_set_sink(keep_warning, NULL);
    warnings = 0;
    dram_fidelity r = fidelity_of(state, "sam_distill.sam_input_size=512", folder);
    dram_log_set_sink(NULL, NULL);
    assert_true(r.images == 1 && r.skipped == 2 && warnings == 2);
    assert_non_null(strstr(last_warning, "text.jpg: not a JPEG, PNG or WebP image; left out"));
    assert_int_equal(remove(in_dir(state, "bad/00000.jpg")), 0);
    fidelity_fails(state, set, folder, DRAM_ERR_FORMAT, "none of the 2 images of ");
}

/* ---- before a run ---- */

typedef struct {
    int calls, steps_before;
    int64_t steps;
    dram_fidelity said;
} listener;

static dram_status hear_step(void *context, const dram_fact *fact)
{
    listener *l = context;
    l->steps = fact->step;
    return DRAM_OK;
}

static const dram_sink steps = {.facts = 1u << DRAM_FACT_STEP, .fact = hear_step};

static void hear(void *context, const dram_fidelity *r)
{
    listener *l = context;
    l->calls++;
    l->steps_before = (int)l->steps;
    l->said = *r;
}

static listener listen_to(void **state, const char *name, const char *set, bool resume)
{
    listener l = {0};
    dram_summary summary;
    dram_config *cfg = run_config(state, name, set);
    const dram_hooks hooks = {.context = &l, .fidelity = hear, .sink = &steps};
    if (dram_train(cfg, NULL, (dram_resume){.on = resume}, &hooks, &summary) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_int_equal(summary.planned_peak_bytes, summary.measured_peak_bytes);
    dram_config_free(cfg);
    return l;
}

static void a_run_says_it_first(void **state)
{
    listener with = listen_to(state, "with", "train.steps=2 sam_distill.fidelity_images=2", false);
    assert_int_equal(with.calls, 1);
    assert_int_equal(with.steps_before, 0);
    if (with.said.left_out[0]) fail_msg("left out: %s", with.said.left_out);
    assert_int_equal(with.said.images, 2);
    /* images 0 and 4 of the eight, whole */
    char file[64];
    dram_fidelity each[2];
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        snprintf(file, sizeof file, "scenes/images/%05d.jpg", 4 * i);
        char *data = get_file(in_dir(state, file), &bytes);
        put_file(in_dir(state, "one/00000.jpg"), data, bytes);
        free(data);
        each[i] = fidelity_of(state, "sam_distill.sam_input_size=64", in_dir(state, "one"));
    }
    assert_true(fabs(with.said.cosine - (each[0].cosine + each[1].cosine) / 2) < 1e-12);
    assert_true(with.said.worst == fmin(each[0].cosine, each[1].cosine));

    /* and changes nothing */
    listener without = listen_to(state, "without", "train.steps=2 sam_distill.fidelity_images=0", false);
    assert_int_equal(without.calls, 0);
    assert_same_run(state, "with", "without", 2);
    run_remove(state, "without");

    listener again = listen_to(state, "with", "train.steps=3 sam_distill.fidelity_images=2", true);
    assert_int_equal(again.calls, 1);
    assert_int_equal(again.said.images, 0);
    assert_string_equal(again.said.left_out, "this run goes on");
    run_remove(state, "with");
}

static void what_does_not_fit_is_left_out(void **state)
{
    listener l = listen_to(state, "small",
                           "train.steps=1 train.batch_size=1 task.enabled=false resolution_distill.enabled=false "
                           "optim.type=sgd optim.clip_norm=0 student.arch=vit_micro "
                           "sam_distill.teacher.model_type=vit_tiny sam_distill.teacher.placement=stream",
                           false);
    assert_int_equal(l.calls, 1);
    assert_int_equal(l.said.images, 0);
    assert_memory_equal(l.said.left_out, "the teacher at 1024 takes ", 26);
    assert_non_null(strstr(l.said.left_out, "`dram eval --teacher-fidelity` can make it"));
    run_remove(state, "small");
    l = listen_to(state, "small", "train.steps=1 sam_distill.enabled=false resolution_distill.enabled=false", false);
    assert_int_equal(l.calls, 0);
    run_remove(state, "small");
    char set[5000];
    snprintf(set, sizeof set,
             "train.steps=1 data.augment.crop=false data.augment.color_jitter=0 sam_distill.cache=%.4300s",
             in_dir(state, "cache"));
    l = listen_to(state, "small", set, false);
    assert_string_equal(l.said.left_out, "the targets come from the cache, and no teacher runs");
    run_remove(state, "small");
}

/* Bad images are the run's to speak of. */
static void bad_images_are_passed_over(void **state)
{
    char set[9400], file[64];
    assert_int_equal(dram_synth_write(in_dir(state, "spoilt"), 20, DRAM_SYNTH_PLAIN, 11, 32, 32), DRAM_OK);
    put_file(in_dir(state, "spoilt/images/00000.jpg"), "no image", 8);
    snprintf(set, sizeof set,
             "sam_distill.fidelity_images=2 train.steps=1 data.train.images=%.4300s/images "
             "data.train.labels=%.4300s/labels data.val.images=none data.val.labels=none",
             in_dir(state, "spoilt"), in_dir(state, "spoilt"));
    dram_log_set_sink(keep_warning, NULL);
    warnings = 0;
    listener l = listen_to(state, "spoilt", set, false);
    dram_log_set_sink(NULL, NULL);
    assert_int_equal(l.said.images, 1);
    assert_int_equal(l.said.skipped, 1);
    assert_true(warnings <= 2); /* that it is skipped, at most once, if the stream reached it, and a low cosine */
    run_remove(state, "spoilt");
    for (int i = 0; i < 20; i += 10) {
        snprintf(file, sizeof file, "spoilt/images/%05d.jpg", i);
        put_file(in_dir(state, file), "no image", 8);
    }
    l = listen_to(state, "spoilt", set, false);
    assert_string_equal(l.said.left_out, "no image can be read");
    run_remove(state, "spoilt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cosine_is_what_it_says),
        cmocka_unit_test(placements_agree),
        cmocka_unit_test(a_low_value_is_a_warning),
        cmocka_unit_test(nothing_to_compare),
        cmocka_unit_test(bad_input),
        cmocka_unit_test(a_run_says_it_first),
        cmocka_unit_test(what_does_not_fit_is_left_out),
        cmocka_unit_test(bad_images_are_passed_over),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
