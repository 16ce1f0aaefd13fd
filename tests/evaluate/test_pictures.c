/* What is written to be looked at: palette, predictions, principal components, features. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "data/image.h"
#include "evaluate/eval.h"
#include "evaluate/eval_file.h"
#include "evaluate/features.h"
#include "evaluate/palette.h"
#include "evaluate/pca.h"
#include "support/runs.h"

enum { CLASSES = 12 };

static dram_image load(const char *path)
{
    dram_image image;
    const dram_image_rules limits = {0};
    if (dram_image_load(path, &limits, &image) != DRAM_OK) fail_msg("%s", dram_error_text());
    return image;
}

/* ---- palette ---- */

static void colors_are_apart(void **state)
{
    dram_color few[20], all[256];
    (void)state;
    dram_palette(few, 20);
    dram_palette(all, 256);
    assert_memory_equal(few, all, sizeof few); /* a class keeps its colour */
    for (int i = 0; i < 256; i++) {
        int high = all[i].r, low = all[i].r;
        if (all[i].g > high) high = all[i].g;
        if (all[i].b > high) high = all[i].b;
        if (all[i].g < low) low = all[i].g;
        if (all[i].b < low) low = all[i].b;
        assert_true(high - low >= 51); /* no grey */
        for (int k = 0; k < i; k++) {
            int r = all[i].r - all[k].r, g = all[i].g - all[k].g, b = all[i].b - all[k].b;
            int distance = r * r + g * g + b * b;
            assert_true(distance > 0);
            if (i < 20) assert_true(distance >= 60 * 60);
        }
    }
}

/* ---- predictions ---- */

static dram_dataset *open_val(const dram_config *cfg)
{
    dram_dataset *d;
    const dram_dataset_params params = {.images = cfg->data.val.images,
                                        .labels = cfg->data.val.labels,
                                        .label_fraction = 1,
                                        .recursive = cfg->data.recursive};
    if (dram_dataset_open(&params, &d) != DRAM_OK) fail_msg("%s", dram_error_text());
    return d;
}

/* A grey image of 4 x 8 pixels in a square of 8, and logits on a grid of 4 x 4 over it: a cell is 2 x 2 pixels. Void of
 * the label, and the class that is data.ignore_index, stay grey. */
static void predictions_by_hand(void **state)
{
    enum { H = 4, W = 8, G = 4 };
    static const uint8_t guess[2][G] = {{0, 1, 2, 1}, {2, 2, 0, 0}};
    uint8_t grey[H * W * 3], ids[H * W] = {0};
    float logits[G * G * 3] = {0};
    char set[9400];
    memset(grey, 100, sizeof grey);
    ids[0] = ids[W + 5] = 7; /* void */
    assert_int_equal(mkdir(in_dir(state, "hand"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "hand/i"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "hand/l"), 0777), 0);
    assert_int_equal(dram_image_write_png(in_dir(state, "hand/i/a.png"), grey, H, W), DRAM_OK);
    assert_int_equal(dram_label_write_png(in_dir(state, "hand/l/a.png"), ids, H, W), DRAM_OK);
    snprintf(set, sizeof set, "data.val.images=%.4300s data.val.labels=%.4300s data.classes=3 data.ignore_index=7",
             in_dir(state, "hand/i"), in_dir(state, "hand/l"));
    dram_config *cfg = run_config(state, "none", set);
    dram_dataset *d = open_val(cfg);
    for (int i = 0; i < 2 * G; i++) logits[i * 3 + guess[i / G][i % G]] = 50; /* the rest of the square is padding */
    dram_sample sample = {.index = 0, .name = "a.png", .has_label = true, .geometry = dram_geometry_fit(H, W)};
    dram_color color[3];
    dram_palette(color, 3);
    for (int round = 0; round < 2; round++) {
        dram_predictions *p;
        if (round) cfg->data.ignore_index = 1; /* and there is no label */
        sample.has_label = !round;
        if (dram_predictions_open(cfg, in_dir(state, "hand/out/deep"), d, &p) != DRAM_OK)
            fail_msg("%s", dram_error_text());
        if (dram_predictions_write(p, cfg, &sample, logits, &DRAM_SHAPE(1, G, G, 3)) != DRAM_OK)
            fail_msg("%s", dram_error_text());
        dram_predictions_close(p);
        dram_image out = load(in_dir(state, "hand/out/deep/a.png"));
        assert_true(out.height == H && out.width == W);
        int painted = 0;
        for (int i = 0; i < H * W; i++) {
            /* a pixel's middle is a quarter of a cell from its own cell's: 50 wins wherever it has the larger part */
            int class = guess[i / W / 2][i % W / 2];
            bool untouched = round ? class == 1 : ids[i] == 7;
            const uint8_t want[3] = {(uint8_t)((100 + color[class].r + 1) / 2),
                                     (uint8_t)((100 + color[class].g + 1) / 2),
                                     (uint8_t)((100 + color[class].b + 1) / 2)};
            assert_memory_equal(out.pixels + 3 * i, untouched ? grey : want, 3);
            painted += !untouched;
        }
        assert_int_equal(painted, round ? 24 : 30);
        dram_image_free(&out);
    }
    dram_dataset_close(d);
    dram_config_free(cfg);
}

static void trained(void **state)
{
    run_order o = {.name = "net", .set = "train.steps=6 optim.lr=0.01"};
    if (!is_there(run_file(state, "net", "student.safetensors"))) run_ok(state, &o);
}

static dram_eval_result evaluate(void **state, const char *set, const char *folder)
{
    dram_eval_result result;
    dram_config *cfg = run_config(state, "none", set);
    if (dram_evaluate_file(cfg, run_file(state, "net", "student.safetensors"), folder, NULL, NULL, &result) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    dram_config_free(cfg);
    return result;
}

/* The class whose colour, laid over the pixel, gives what is seen; -1: the pixel is as it was. */
static int class_seen(const uint8_t *pixel, const uint8_t *seen, const dram_color *color)
{
    int found = -2;
    for (int k = 0; k < CLASSES; k++) {
        const uint8_t c[3] = {color[k].r, color[k].g, color[k].b};
        bool same = true;
        for (int i = 0; i < 3; i++) same = same && seen[i] == (pixel[i] + c[i] + 1) / 2;
        if (same) found = k;
    }
    return found == -2 && memcmp(pixel, seen, 3) == 0 ? -1 : found;
}

/* Read back from the overlays of a whole evaluation, the predictions have its scores. */
static void overlays_say_what_was_scored(void **state)
{
    trained(state);
    dram_eval_result plain = evaluate(state, "", NULL), with = evaluate(state, "", in_dir(state, "overlays"));
    assert_true(plain.miou == with.miou && plain.embedding_mse == with.embedding_mse);
    dram_color color[CLASSES];
    dram_palette(color, CLASSES);
    int64_t right = 0, all = 0;
    for (int i = 0; i < SCENES; i++) {
        char path[80];
        dram_label label;
        const dram_label_rules rules = {.ignore_index = -1};
        snprintf(path, sizeof path, "scenes/images/%05d.jpg", i);
        dram_image image = load(in_dir(state, path));
        snprintf(path, sizeof path, "overlays/%05d.png", i);
        dram_image overlay = load(in_dir(state, path));
        snprintf(path, sizeof path, "scenes/labels/%05d.png", i);
        assert_int_equal(dram_label_load(in_dir(state, path), &rules, &label), DRAM_OK);
        assert_true(overlay.height == SCENE_HEIGHT && overlay.width == SCENE_WIDTH);
        for (int k = 0; k < SCENE_HEIGHT * SCENE_WIDTH; k++) {
            int class = class_seen(image.pixels + 3 * k, overlay.pixels + 3 * k, color);
            if (label.ids[k] == 255) {
                assert_int_equal(class, -1);
                continue;
            }
            assert_in_range(class, 0, CLASSES - 1);
            right += class == label.ids[k];
            all++;
        }
        dram_image_free(&image);
        dram_image_free(&overlay);
        dram_label_free(&label);
    }
    assert_true(all > SCENES * SCENE_HEIGHT * SCENE_WIDTH / 2);
    assert_true(with.pixel_accuracy == (double)right / (double)all);
}

/* A large image is written as large as max_pixels lets it be. */
static void large_images_are_bounded(void **state)
{
    char set[9400];
    assert_int_equal(dram_synth_write(in_dir(state, "large"), 1, DRAM_SYNTH_PLAIN, 3, 150, 200), DRAM_OK);
    trained(state);
    snprintf(set, sizeof set, "data.max_pixels=10000 data.val.images=%.4300s/images data.val.labels=%.4300s/labels",
             in_dir(state, "large"), in_dir(state, "large"));
    dram_eval_result r = evaluate(state, set, in_dir(state, "small"));
    assert_true(isfinite(r.miou));
    dram_image out = load(in_dir(state, "small/00000.png"));
    assert_true(out.height * out.width <= 10000 && out.height * out.width >= 2500);
    assert_true(abs(4 * out.height - 3 * out.width) <= 6);
    dram_image_free(&out);
}

static void predictions_fail(void **state, const char *set, const char *folder, const char *text)
{
    dram_predictions *p;
    dram_config *cfg = run_config(state, "none", set);
    dram_dataset *d = open_val(cfg);
    dram_status status = dram_predictions_open(cfg, folder, d, &p);
    if (status != DRAM_ERR_CONFIG || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(p);
    dram_error_clear();
    dram_dataset_close(d);
    dram_config_free(cfg);
}

static void link_scene(void **state, const char *kind, const char *ending, const char *name, int scene)
{
    char path[600], target[600];
    snprintf(path, sizeof path, "drives/%s/%s.%s", kind, name, ending);
    snprintf(target, sizeof target, "scenes/%s/%05d.%s", kind, scene, ending);
    assert_int_equal(symlink(in_dir(state, target), in_dir(state, path)), 0);
}

/* Images of one name in two folders have two pictures, each its own. */
static void pictures_of_subfolders(void **state)
{
    static const char *const folders[] = {"drives",        "drives/images",   "drives/images/a", "drives/images/b",
                                          "drives/labels", "drives/labels/a", "drives/labels/b"};
    static const char *const names[] = {"0", "a/0", "b/0"};
    char set[9400], path[64];
    size_t bytes;
    trained(state);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        assert_int_equal(mkdir(in_dir(state, folders[i]), 0777), 0);
    for (int i = 0; i < 3; i++) {
        link_scene(state, "images", "jpg", names[i], i);
        link_scene(state, "labels", "png", names[i], i);
    }
    evaluate(state, "", in_dir(state, "flat"));
    snprintf(set, sizeof set, "data.recursive=true data.val.images=%.4300s data.val.labels=%.4300s",
             in_dir(state, "drives/images"), in_dir(state, "drives/labels"));
    dram_eval_result r = evaluate(state, set, in_dir(state, "seen"));
    assert_int_equal(r.images, 3);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "flat/%05d.png", i);
        char *want = get_file(in_dir(state, path), &bytes);
        snprintf(path, sizeof path, "seen/%s.png", names[i]);
        assert_file_is(in_dir(state, path), want, bytes);
        free(want);
    }
    predictions_fail(state, set, in_dir(state, "drives/images/a/out"), "a/out: this folder is inside ");
    predictions_fail(state, set, in_dir(state, "drives/labels/b"),
                     "/drives/labels, which is looked into with data.recursive");
}

static void bad_folders(void **state)
{
    char set[9400];
    predictions_fail(state, "", "", "an empty name is no folder");
    predictions_fail(state, "", in_dir(state, "base.yaml"), "base.yaml: cannot make this folder: File exists");
    predictions_fail(state, "", in_dir(state, "base.yaml/x"), "base.yaml");
    predictions_fail(state, "", "/proc/self", "/proc/self: files cannot be written to this folder");
    predictions_fail(state, "", in_dir(state, "scenes/images"), "holds the images or the labels");
    predictions_fail(state, "", in_dir(state, "scenes/labels/"), "holds the images or the labels");
    predictions_fail(state, "task.enabled=false", in_dir(state, "x"),
                     "task.enabled: predictions are those of the task");
    assert_false(is_there(in_dir(state, "x")));
    assert_int_equal(mkdir(in_dir(state, "twins"), 0777), 0);
    put_file(in_dir(state, "twins/a.b.jpg"), "x", 1);
    put_file(in_dir(state, "twins/a.jpg"), "x", 1);
    put_file(in_dir(state, "twins/a.b.png"), "x", 1);
    snprintf(set, sizeof set, "data.val.labels=none data.val.images=%.4300s", in_dir(state, "twins"));
    predictions_fail(state, set, in_dir(state, "x"), "would both be a.b.png; rename one of them");
    assert_false(is_there(in_dir(state, "x")));
}

/* ---- principal components ---- */

/* Axes are eigenvectors of the covariance, at right angles, and hold the most variance. */
static void components_of_noise(void **state)
{
    enum { N = 90, D = 12 };
    static float x[N * D], mask[N];
    static double mean[D], covariance[D][D];
    dram_pca pca;
    int64_t before = dram_alloc_bytes(), used = 0;
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 0);
    (void)state;
    for (int i = 0; i < N; i++) {
        mask[i] = i % 3 != 2;
        for (int c = 0; c < D; c++)
            x[i * D + c] = mask[i] == 0 ? 1e9f : (float)(dram_rng_normal(&r) * (1 + c) + 0.5 * (double)x[i * D] + c);
        used += mask[i] != 0;
    }
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_OK);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < D && mask[i] != 0; c++) mean[c] += (double)x[i * D + c] / (double)used;
    double whole = 0, held = 0;
    for (int a = 0; a < D; a++)
        for (int b = 0; b < D; b++) {
            for (int i = 0; i < N; i++)
                if (mask[i] != 0)
                    covariance[a][b] +=
                        ((double)x[i * D + a] - mean[a]) * ((double)x[i * D + b] - mean[b]) / (double)used;
            if (a == b) whole += covariance[a][b];
        }
    for (int k = 0; k < 3; k++) {
        const double *axis = pca.axis + k * D;
        double value = pca.deviation[k] * pca.deviation[k], largest = 0;
        held += value;
        for (int a = 0; a < D; a++) {
            double product = 0;
            for (int b = 0; b < D; b++) product += covariance[a][b] * axis[b];
            assert_true(fabs(product - value * axis[a]) <= 1e-11 * whole); /* double */
            if (fabs(axis[a]) > fabs(largest)) largest = axis[a];
        }
        assert_true(largest > 0);
        for (int j = 0; j <= k; j++) {
            double dot = 0;
            for (int a = 0; a < D; a++) dot += axis[a] * pca.axis[j * D + a];
            assert_true(fabs(dot - (j == k)) <= 1e-12);
        }
        assert_true(k == 0 || pca.deviation[k] <= pca.deviation[k - 1]);
    }
    assert_true(pca.deviation[2] > 8); /* the largest that were put in have 10, 11, 12 */
    assert_true(fabs(pca.explained - held / whole) <= 1e-12);
    /* what was fitted has deviation 1 along each axis */
    double square[3] = {0}, at[3];
    for (int i = 0; i < N; i++) {
        if (mask[i] == 0) continue;
        dram_pca_project(&pca, x + i * D, at);
        for (int k = 0; k < 3; k++) square[k] += at[k] * at[k] / (double)used;
    }
    for (int k = 0; k < 3; k++) assert_true(fabs(square[k] - 1) <= 1e-10);
    dram_pca_free(&pca);
    assert_int_equal(dram_alloc_bytes(), before);
}

/* Fewer directions than three: the others are 0, not noise. Nothing at all, and numbers that are not. */
static void few_directions(void **state)
{
    enum { N = 10, D = 256 };
    static float x[N * D], mask[N];
    dram_pca pca;
    double at[3];
    (void)state;
    for (int i = 0; i < N; i++) {
        mask[i] = 1;
        x[i * D + 7] = -(float)i;
        x[i * D + 9] = 3;
    }
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_OK);
    assert_true(fabs(pca.deviation[0] - sqrt(8.25)) < 1e-12 && pca.deviation[1] == 0 && pca.deviation[2] == 0);
    assert_true(fabs(pca.axis[7] - 1) < 1e-12 && fabs(pca.explained - 1) < 1e-12);
    dram_pca_project(&pca, x, at);
    assert_true(fabs(at[0] - 4.5 / sqrt(8.25)) < 1e-12 && at[1] == 0 && at[2] == 0);
    dram_pca_free(&pca);
    memset(mask, 0, sizeof mask);
    for (int cells = 0; cells < 2; cells++) {
        mask[3] = (float)cells;
        assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_OK);
        dram_pca_project(&pca, x, at);
        assert_true(at[0] == 0 && at[1] == 0 && at[2] == 0 && isnan(pca.explained));
        dram_pca_free(&pca);
    }
    /* Cells that are all alike, though their mean is rounded. */
    for (int i = 0; i < N; i++) {
        mask[i] = 1;
        for (int c = 0; c < D; c++) x[i * D + c] = 0.1f * (float)(c + 1);
    }
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_OK);
    assert_true(isnan(pca.explained));
    for (int k = 0; k < 3; k++) assert_true(pca.deviation[k] == 0);
    dram_pca_free(&pca);
    x[3 * D + 5] *= 1.0f + 0x1p-22f; /* and one that differs by next to nothing does */
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_OK);
    assert_true(fabs(pca.explained - 1) < 1e-6 && pca.deviation[0] > 0);
    dram_pca_free(&pca);
    x[3 * D] = NAN;
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_ERR_NUMERIC);
    x[3 * D] = INFINITY;
    dram_error_clear();
    assert_int_equal(dram_pca_fit(x, mask, N, D, &pca), DRAM_ERR_NUMERIC);
    dram_error_clear();
}

/* ---- features ---- */

typedef struct {
    int n;
    double cosine, mse, explained;
} seen;

static void see(void *context, const dram_features_picture *p)
{
    seen *s = context;
    s->n++;
    s->cosine = p->cosine;
    s->mse = p->mse;
    s->explained = p->explained;
    assert_true(is_there(p->path));
}

static dram_status write_features(void **state, const char *set, const char *weights, const char *folder,
                                  const char *const *images, int n, seen *s)
{
    dram_config *cfg = run_config(state, "none", set);
    *s = (seen){0};
    dram_status status = dram_features_write(cfg, weights, folder, images, n, NULL, see, s);
    dram_config_free(cfg);
    return status;
}

static bool same_panels(const dram_image *image, int a, int b, int width)
{
    bool same = true;
    for (int y = 0; y < image->height; y++) {
        const uint8_t *row = image->pixels + (int64_t)y * image->width * 3;
        same = same && memcmp(row + 3 * a, row + 3 * b, (size_t)width * 3) == 0;
    }
    return same;
}

/* Three panels of 512 x 384, with the image's own colours in the first; a student that is the teacher looks like it. */
static void panels(void **state)
{
    enum { PANEL = 512, HEIGHT = 384, STEP = PANEL + 8 };
    run_order o = {.name = "vit", .set = "train.steps=1 student.arch=vit_micro sam_distill.enabled=false"};
    const char *images[] = {in_dir(state, "scenes/images/00000.jpg"), in_dir(state, "scenes/images/00003.jpg")};
    char set[5000];
    seen s;
    run_ok(state, &o);
    const char *weights = run_file(state, "vit", "student.safetensors");
    snprintf(set, sizeof set, "student.arch=vit_micro sam_distill.teacher.weights=%.4300s", weights);
    if (write_features(state, set, weights, in_dir(state, "equal"), images, 2, &s) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_true(s.n == 2 && s.mse == 0 && fabs(s.cosine - 1) < 1e-6 && s.explained > 0.1 && s.explained < 1);
    dram_image out = load(in_dir(state, "equal/00003.png"));
    assert_true(out.height == HEIGHT && out.width == 3 * PANEL + 2 * 8);
    assert_true(same_panels(&out, STEP, 2 * STEP, PANEL));
    assert_false(same_panels(&out, 0, STEP, PANEL));
    for (int x = PANEL; x < STEP; x++) assert_int_equal(out.pixels[3 * x], 255);
    /* cells of 128 pixels, of one colour each, and not all of one */
    int colors = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < PANEL; x++) {
            const uint8_t *row = out.pixels + ((int64_t)y * out.width + STEP) * 3;
            const uint8_t *corner = out.pixels + ((int64_t)(y / 128 * 128) * out.width + STEP + x / 128 * 128) * 3;
            assert_memory_equal(row + 3 * x, corner, 3);
            colors += y % 128 == 0 && x % 128 == 0 && memcmp(corner, out.pixels + STEP * 3, 3) != 0;
        }
    assert_true(colors >= 8);
    dram_image_free(&out);

    /* the same again, and another teacher beside it */
    if (write_features(state, set, weights, in_dir(state, "again"), images + 1, 1, &s) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_same_file(in_dir(state, "equal/00003.png"), in_dir(state, "again/00003.png"));
    if (write_features(state, "student.arch=vit_micro", weights, in_dir(state, "other"), images, 1, &s) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_true(s.n == 1 && s.mse > 0 && s.cosine < 0.99);
    out = load(in_dir(state, "other/00000.png"));
    assert_false(same_panels(&out, STEP, 2 * STEP, PANEL));
    dram_image_free(&out);

    /* no teacher: two panels, and the student's own components */
    if (write_features(state, "student.arch=vit_micro sam_distill.enabled=false", weights, in_dir(state, "alone"),
                       images, 1, &s) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_true(isnan(s.cosine) && isnan(s.mse) && s.explained > 0.1);
    out = load(in_dir(state, "alone/00000.png"));
    assert_int_equal(out.width, 2 * PANEL + 8);
    dram_image with = load(in_dir(state, "equal/00000.png"));
    for (int y = 0; y < HEIGHT; y++) /* the teacher is the student */
        assert_memory_equal(out.pixels + ((int64_t)y * out.width + STEP) * 3,
                            with.pixels + ((int64_t)y * with.width + STEP) * 3, PANEL * 3);
    dram_image_free(&out);
    dram_image_free(&with);
}

/* The embedding distances are those of an evaluation of the one image. */
static void distances_are_those_of_evaluation(void **state)
{
    char set[9400];
    seen s;
    trained(state);
    assert_int_equal(dram_synth_write(in_dir(state, "single"), 1, DRAM_SYNTH_PLAIN, 5, 40, 64), DRAM_OK);
    const char *image = in_dir(state, "single/images/00000.jpg");
    snprintf(set, sizeof set, "train.batch_size=1 data.val.images=%.4300s/images data.val.labels=%.4300s/labels",
             in_dir(state, "single"), in_dir(state, "single"));
    dram_eval_result r = evaluate(state, set, NULL);
    const char *weights = run_file(state, "net", "student.safetensors");
    if (write_features(state, "", weights, in_dir(state, "features"), &image, 1, &s) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_true(s.cosine == r.embedding_cosine && s.mse == r.embedding_mse);
    /* accumulation, groups and a cache are none of its business */
    seen t;
    if (write_features(state,
                       "train.batch_size=8 train.accumulate=2 sam_distill.teacher.group=2 sam_distill.cache=none/such "
                       "data.augment.crop=false data.augment.color_jitter=0",
                       weights, in_dir(state, "features"), &image, 1, &t) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_true(t.cosine == s.cosine && t.mse == s.mse && t.explained == s.explained);
}

static void features_fail(void **state, const char *set, const char *weights, const char *folder,
                          const char *const *images, int n, dram_status want, const char *text)
{
    seen s;
    dram_status status = write_features(state, set, weights, folder, images, n, &s);
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

static void bad_images(void **state)
{
    trained(state);
    const char *weights = run_file(state, "net", "student.safetensors"), *out = in_dir(state, "bad");
    const char *good = in_dir(state, "scenes/images/00001.jpg"), *text = in_dir(state, "base.yaml");
    const char *missing[] = {good, in_dir(state, "nowhere.jpg")}, *folders[] = {in_dir(state, "scenes")};
    const char *twins[] = {good, in_dir(state, "scenes/labels/00001.png")}, *none[] = {good, text};
    features_fail(state, "", weights, out, missing, 2, DRAM_ERR_CONFIG, "nowhere.jpg: No such file");
    features_fail(state, "", weights, out, folders, 1, DRAM_ERR_CONFIG, "scenes: not a file");
    features_fail(state, "", weights, out, twins, 2, DRAM_ERR_CONFIG, "would both be ");
    features_fail(state, "", weights, in_dir(state, "scenes/labels"), twins + 1, 1, DRAM_ERR_CONFIG,
                  "the picture would take the image's place");
    features_fail(state, "", weights, text, &good, 1, DRAM_ERR_CONFIG, "cannot make this folder");
    features_fail(state, "", "nowhere.safetensors", out, &good, 1, DRAM_ERR_CONFIG, "nowhere.safetensors");
    features_fail(state, "sam_distill.teacher.weights=none", weights, out, &good, 1, DRAM_ERR_CONFIG,
                  "the teacher needs weights");
    features_fail(state, "sam_distill.enabled=false task.enabled=false", weights, out, &good, 1, DRAM_ERR_CONFIG,
                  "there is no embedding to look at");
    assert_false(is_there(in_dir(state, "bad/00001.png")));
    features_fail(state, "", weights, out, none, 2, DRAM_ERR_FORMAT, "base.yaml: not a JPEG, PNG or WebP image");
    assert_true(is_there(in_dir(state, "bad/00001.png"))); /* of the one before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colors_are_apart),
        cmocka_unit_test(predictions_by_hand),
        cmocka_unit_test(overlays_say_what_was_scored),
        cmocka_unit_test(large_images_are_bounded),
        cmocka_unit_test(pictures_of_subfolders),
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(components_of_noise),
        cmocka_unit_test(few_directions),
        cmocka_unit_test(panels),
        cmocka_unit_test(distances_are_those_of_evaluation),
        cmocka_unit_test(bad_images),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
