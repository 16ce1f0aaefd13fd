/* One geometry for student, teacher and label. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/augment.h"
#include "data/encode.h"

static const dram_augment usual = {.scale_min = 0.5, .scale_max = 2, .crop = true, .flip = 0.5, .jitter = 0};

static void fit_is_sams_preprocessing(void **state)
{
    (void)state;
    static const struct {
        int h, w, size, want_h, want_w;
    } cases[] = {{375, 500, 1024, 768, 1024}, {720, 960, 512, 384, 512},   {333, 1000, 512, 170, 512},
                 {1000, 333, 512, 512, 170},  {1, 1, 64, 64, 64},          {1, 5000, 64, 1, 64},
                 {199, 256, 128, 100, 128},   {683, 1024, 1024, 683, 1024}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_geometry g = dram_geometry_fit(cases[i].h, cases[i].w);
        int h, w;
        dram_geometry_valid(&g, cases[i].size, &h, &w);
        assert_int_equal(h, cases[i].want_h); /* int(x * scale + 0.5); 199 * 0.5 = 99.5 goes up */
        assert_int_equal(w, cases[i].want_w);
        assert_true(g.box.x0 == 0 && g.box.y0 == 0 && g.box.x1 == cases[i].w && g.box.y1 == cases[i].h && !g.flip);
    }
}

static void draws_depend_on_seed_and_sample(void **state)
{
    (void)state;
    dram_augment all = {.scale_min = 0.5, .scale_max = 2, .crop = true, .flip = 0.5, .jitter = 0.4};
    int flips = 0, padded = 0, cut = 0, same = 0;
    double lowest = 9, highest = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        dram_geometry g = dram_geometry_draw(&all, 7, i, 300, 400), again = dram_geometry_draw(&all, 7, i, 300, 400);
        dram_geometry other = dram_geometry_draw(&all, 8, i, 300, 400),
                      next = dram_geometry_draw(&all, 7, i + 1, 300, 400);
        assert_memory_equal(&g.box, &again.box, sizeof g.box);
        same += g.square == other.square || g.square == next.square;
        double r = 400 / g.square;
        assert_true(r >= 0.5 && r < 2);
        lowest = fmin(lowest, r);
        highest = fmax(highest, r);
        assert_true(g.box.x0 >= 0 && g.box.x1 <= 400 + 1e-9 && g.box.y0 >= 0 && g.box.y1 <= 300 + 1e-9);
        assert_true(fabs(g.box.x1 - g.box.x0 - fmin(g.square, 400)) < 1e-9);
        assert_true(fabs(g.box.y1 - g.box.y0 - fmin(g.square, 300)) < 1e-9);
        flips += g.flip;
        padded += g.square > 400;
        cut += g.box.x1 - g.box.x0 < 399;
        assert_true(g.brightness >= 0.6f && g.brightness <= 1.4f && g.contrast >= 0.6f && g.contrast <= 1.4f);
        assert_true(g.saturation >= 0.6f && g.saturation <= 1.4f);
    }
    assert_int_equal(same, 0);
    /* 2000 fair draws stay within five standard deviations (112) of the mean */
    assert_in_range(flips, 888, 1112);
    assert_in_range(padded, 2000 / 3 - 112, 2000 / 3 + 112);
    assert_in_range(cut, 2000 * 2 / 3 - 120, 2000 * 2 / 3 + 112);
    assert_true(lowest < 0.51 && highest > 1.98);
}

static void without_crop_all_is_shown(void **state)
{
    (void)state;
    dram_augment plain = {.scale_min = 0.5, .scale_max = 2, .crop = false, .flip = 1, .jitter = 0};
    for (uint64_t i = 0; i < 20; i++) {
        dram_geometry g = dram_geometry_draw(&plain, 1, i, 300, 400), fit = dram_geometry_fit(300, 400);
        assert_true(g.flip && g.square == 400 && memcmp(&g.box, &fit.box, sizeof g.box) == 0);
        assert_true(g.brightness == 1 && g.contrast == 1 && g.saturation == 1);
    }
}

enum { H = 180, W = 240 };

/* The original place that pixel (x, y) of a rendering shows. */
static void shown(const dram_geometry *g, int valid_h, int valid_w, int y, int x, double *oy, double *ox)
{
    double u = (x + 0.5) / valid_w, v = (y + 0.5) / valid_h;
    if (g->flip) u = 1 - u;
    *ox = g->box.x0 + u * (g->box.x1 - g->box.x0);
    *oy = g->box.y0 + v * (g->box.y1 - g->box.y0);
}

/* The valid pixels show the ramp at the place of the geometry; the padding is zero. Returns pixels compared. */
static int expect_view(const dram_geometry *g, const dram_image *image, int size, int tolerance)
{
    uint8_t *out = noise_bytes((size_t)size * (size_t)size * 3, 1);
    int h, w, compared = 0;
    assert_int_equal(dram_geometry_image(g, image, size, size, out, &h, &w), DRAM_OK);
    double reach = fmax(1 / image->scale_x, g->square / size); /* the filter sees less than itself at the borders */
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) {
            const uint8_t *p = out + 3 * (y * size + x);
            double oy, ox;
            if (y >= h || x >= w) {
                assert_true(p[0] == 0 && p[1] == 0 && p[2] == 0);
                continue;
            }
            shown(g, h, w, y, x, &oy, &ox);
            if (ox < reach || oy < reach || ox > W - 2 * reach || oy > H - 2 * reach) continue;
            for (int c = 0; c < 3; c++)
                if (abs(p[c] - ramp_value(ox, oy, H, W, c)) > tolerance)
                    fail_msg("size %d, %d,%d channel %d: %d, want %d", size, x, y, c, p[c],
                             ramp_value(ox, oy, H, W, c));
            compared++;
        }
    }
    free(out);
    return compared;
}

static void student_and_teacher_show_the_same_places(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(H, W);
    for (int k = 0; k < 3; k++) {
        /* also from images scaled while decoding */
        dram_image_rules limits = {.max_pixels = k == 0 ? 0 : k == 1 ? H * W / 2 : 700};
        dram_image image;
        blob file = encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_444, 0);
        if (k == 2) {
            free(file.bytes);
            file = encode_png(ramp, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
        }
        assert_int_equal(dram_image_decode(file.bytes, file.n, "ramp", &limits, &image), DRAM_OK);
        free(file.bytes);
        int compared = 0;
        for (uint64_t i = 0; i < 40; i++) {
            dram_geometry g = dram_geometry_draw(&usual, 3, i, H, W);
            compared += expect_view(&g, &image, 64, 6); /* JPEG and two roundings; the ramp has about 1 level a pixel */
            compared += expect_view(&g, &image, 160, 6);
        }
        assert_true(compared > 100000);
        dram_image_free(&image);
    }
    free(ramp);
}

static void labels_lie_on_their_images(void **state)
{
    (void)state;
    enum { SIZE = 96, IGNORE = 255 };
    uint8_t *rgb = malloc(H * W * 3), *ids = malloc(H * W), image_out[SIZE * SIZE * 3], label_out[SIZE * SIZE];
    for (int i = 0; i < H * W; i++) { /* a checkerboard of 15-pixel squares, its grey value the id times 60 */
        ids[i] = (uint8_t)((i / W / 15 + i % W / 15 * 2) % 4);
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = (uint8_t)(ids[i] * 60);
    }
    ids[5] = IGNORE;
    dram_image image = {
        .pixels = rgb, .height = H, .width = W, .full_height = H, .full_width = W, .scale_y = 1, .scale_x = 1};
    dram_label label = {.ids = ids, .height = H, .width = W};
    int64_t agree = 0, valid = 0;
    for (uint64_t i = 0; i < 60; i++) {
        dram_geometry g = dram_geometry_draw(&usual, 5, i, H, W);
        int h, w;
        int64_t pixels, counted = 0;
        assert_int_equal(dram_geometry_image(&g, &image, SIZE, SIZE, image_out, &h, &w), DRAM_OK);
        assert_int_equal(dram_geometry_label(&g, &label, SIZE, IGNORE, label_out, &pixels), DRAM_OK);
        for (int p = 0; p < SIZE * SIZE; p++) {
            int y = p / SIZE, x = p % SIZE;
            double oy, ox;
            counted += label_out[p] != IGNORE;
            if (y >= h || x >= w) {
                assert_int_equal(label_out[p], IGNORE);
                continue;
            }
            shown(&g, h, w, y, x, &oy, &ox);
            double edge_x = fabs(ox / 15 - round(ox / 15)) * 15, edge_y = fabs(oy / 15 - round(oy / 15)) * 15;
            if (edge_x < 1e-6 || edge_y < 1e-6)
                continue; /* the centre on a border of two pixels: either may be taken */
            assert_int_equal(label_out[p], ids[(int)oy * W + (int)ox]);
            valid++;
            agree += label_out[p] != IGNORE && abs(image_out[3 * p] - 60 * label_out[p]) < 30;
        }
        assert_int_equal(pixels, counted);
    }
    assert_true(valid > 100000);
    assert_true((double)agree > 0.9 * (double)valid); /* all but the blended borders of the squares */
    free(ids);
    free(rgb);
}

static void jitter_is_the_same_at_every_size(void **state)
{
    (void)state;
    uint8_t flat[40 * 40 * 3], out[64 * 64 * 3];
    for (int i = 0; i < 40 * 40; i++) {
        flat[3 * i] = 200;
        flat[3 * i + 1] = 90;
        flat[3 * i + 2] = 30;
    }
    dram_image image = {
        .pixels = flat, .height = 40, .width = 40, .full_height = 40, .full_width = 40, .scale_y = 1, .scale_x = 1};
    dram_augment strong = usual;
    strong.jitter = 0.5;
    int changed = 0;
    for (uint64_t i = 0; i < 50; i++) {
        dram_geometry g = dram_geometry_draw(&strong, 9, i, 40, 40);
        for (int size = 16; size <= 64; size *= 2) {
            int h, w;
            assert_int_equal(dram_geometry_image(&g, &image, size, size, out, &h, &w), DRAM_OK);
            for (int c = 0; c < 3; c++) {
                double v[3], grey;
                for (int k = 0; k < 3; k++) v[k] = (flat[k] * (double)g.brightness - 127.5) * g.contrast + 127.5;
                grey = 0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2];
                double want = fmin(fmax(grey + g.saturation * (v[c] - grey), 0), 255);
                /* one rounding to a level; fp32 over values below 1000: far below 1e-2 */
                assert_true(fabs(out[c] - want) <= 0.5 + 1e-2);
                assert_true(fabs(out[3 * (size * (h - 1) + w - 1) + c] - want) <= 0.5 + 1e-2);
                changed += fabs(want - flat[c]) > 10;
            }
        }
    }
    assert_true(changed > 100);
}

/* What is drawn for one change does not move what is drawn for another. */
static void changes_are_drawn_apart(void **state)
{
    (void)state;
    enum { SAMPLES = 1000 };
    dram_augment all = usual;
    all.jitter = 0.4;
    const dram_augment few = all;
    int greys = 0, blurs = 0, cuts = 0;
    double areas = 0, turns = 0;
    all.hue = 0.25;
    all.gray = 0.2;
    all.blur = 0.5;
    all.cutout = 0.4;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        dram_geometry a = dram_geometry_draw(&all, 7, i, 300, 400), b = dram_geometry_draw(&few, 7, i, 300, 400);
        assert_memory_equal(&a.box, &b.box, sizeof a.box);
        assert_true(a.square == b.square && a.flip == b.flip && a.brightness == b.brightness &&
                    a.contrast == b.contrast);
        assert_true(a.saturation == b.saturation || a.saturation == 0);
        assert_true(b.hue == 0 && b.blur == 0 && b.cut_y1 == 0 && b.saturation > 0);
        assert_true(fabsf(a.hue) <= 1.5707965f);
        turns += fabsf(a.hue) / SAMPLES;
        greys += a.saturation == 0;
        blurs += a.blur > 0;
        if (a.blur > 0) assert_true(a.blur >= 0.1 / 224 && a.blur <= 2.0 / 224);
        if (a.cut_y1 == 0) continue;
        double height = a.cut_y1 - a.cut_y0, width = a.cut_x1 - a.cut_x0;
        cuts++;
        areas += height * width;
        assert_true(height * width > 0.0199 && height * width < 0.2001);
        assert_true(height / width > 0.299 && height / width < 3.34);
        assert_true(a.cut_y0 >= 0 && a.cut_x0 >= 0 && a.cut_y1 <= 1 && a.cut_x1 <= 1);
    }
    /* within five standard deviations of the mean */
    assert_in_range(greys, 200 - 64, 200 + 64);
    assert_in_range(blurs, 500 - 80, 500 + 80);
    assert_in_range(cuts, 400 - 78, 400 + 78);
    assert_true(fabs(areas / cuts - 0.11) < 0.015 && fabs(turns - 0.7854) < 0.08);
}

enum { SIDE = 48 };

/* A picture of noise and the middle of the picture that a geometry makes of it. */
static void render(const dram_geometry *g, uint8_t *from, uint8_t *out)
{
    int h, w;
    for (int i = 0; i < SIDE * SIDE * 3; i++) from[i] = (uint8_t)(60 + (i * 2654435761u >> 16) % 120);
    dram_image image = {.pixels = from,
                        .height = SIDE,
                        .width = SIDE,
                        .full_height = SIDE,
                        .full_width = SIDE,
                        .scale_y = 1,
                        .scale_x = 1};
    assert_int_equal(dram_geometry_image(g, &image, SIDE, SIDE, out, &h, &w), DRAM_OK);
    assert_true(h == SIDE && w == SIDE);
}

/* A third of a circle exchanges the channels; any turn leaves grey and the sum of the channels. */
static void hue_turns_about_grey(void **state)
{
    (void)state;
    uint8_t from[SIDE * SIDE * 3], out[SIDE * SIDE * 3];
    dram_geometry g = dram_geometry_fit(SIDE, SIDE);
    g.hue = 2.0943951f;
    render(&g, from, out);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3; c++)
            assert_in_range(out[3 * i + c] + 1, from[3 * i + (c + 2) % 3], from[3 * i + (c + 2) % 3] + 2);
    g.hue = 0.3f;
    render(&g, from, out);
    int moved = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        int before = from[3 * i] + from[3 * i + 1] + from[3 * i + 2],
            after = out[3 * i] + out[3 * i + 1] + out[3 * i + 2];
        assert_in_range(after + 2, before, before + 4); /* three roundings */
        moved += out[3 * i] != from[3 * i];
    }
    assert_true(moved > SIDE * SIDE / 2);
    g.saturation = 0;
    render(&g, from, out);
    for (int i = 0; i < SIDE * SIDE; i++) assert_true(out[3 * i] == out[3 * i + 1] && out[3 * i] == out[3 * i + 2]);
}

/* Against the product of two normalised Gaussians in double; beyond the border its pixel goes on. */
static void blur_is_a_gaussian(void **state)
{
    (void)state;
    uint8_t from[SIDE * SIDE * 3], out[SIDE * SIDE * 3];
    static const double deviations[] = {0.3, 1, 2.4};
    for (int d = 0; d < 3; d++) {
        const int radius = (int)ceil(3 * deviations[d]);
        dram_geometry g = dram_geometry_fit(SIDE, SIDE);
        double norm = 0;
        g.blur = deviations[d] / SIDE;
        render(&g, from, out);
        for (int i = -radius; i <= radius; i++) norm += exp(-0.5 * i * i / pow(deviations[d], 2));
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                for (int c = 0; c < 3; c++) {
                    double want = 0;
                    for (int i = -radius; i <= radius; i++)
                        for (int k = -radius; k <= radius; k++) {
                            int at_y = y + i < 0 ? 0 : y + i >= SIDE ? SIDE - 1 : y + i;
                            int at_x = x + k < 0 ? 0 : x + k >= SIDE ? SIDE - 1 : x + k;
                            want += exp(-0.5 * (i * i + k * k) / pow(deviations[d], 2)) / (norm * norm) *
                                    from[(at_y * SIDE + at_x) * 3 + c];
                        }
                    /* a rounding to a level after each of two passes */
                    assert_true(fabs(out[(y * SIDE + x) * 3 + c] - want) <= 1.01);
                }
    }
}

/* The same rectangle at every size, nothing beside it; labels stay. */
static void cutout_paints_a_rectangle(void **state)
{
    (void)state;
    uint8_t from[SIDE * SIDE * 3], out[SIDE * SIDE * 3], ids[SIDE * SIDE], label_out[SIDE * SIDE];
    static const uint8_t mean[3] = {124, 116, 104};
    dram_geometry g = dram_geometry_fit(SIDE, SIDE);
    int64_t pixels;
    g.cut_y0 = 0.25;
    g.cut_y1 = 0.5;
    g.cut_x0 = 0.125;
    g.cut_x1 = 0.75;
    render(&g, from, out);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            bool cut = y >= SIDE / 4 && y < SIDE / 2 && x >= SIDE / 8 && x < SIDE * 3 / 4;
            assert_memory_equal(out + 3 * (y * SIDE + x), cut ? mean : from + 3 * (y * SIDE + x), 3);
        }
    memset(ids, 3, sizeof ids);
    dram_label label = {.ids = ids, .height = SIDE, .width = SIDE};
    assert_int_equal(dram_geometry_label(&g, &label, SIDE, 255, label_out, &pixels), DRAM_OK);
    assert_int_equal(pixels, SIDE * SIDE);
    assert_memory_equal(label_out, ids, sizeof ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_drawn_apart),    cmocka_unit_test(hue_turns_about_grey),
        cmocka_unit_test(blur_is_a_gaussian),         cmocka_unit_test(cutout_paints_a_rectangle),
        cmocka_unit_test(fit_is_sams_preprocessing),  cmocka_unit_test(draws_depend_on_seed_and_sample),
        cmocka_unit_test(without_crop_all_is_shown),  cmocka_unit_test(student_and_teacher_show_the_same_places),
        cmocka_unit_test(labels_lie_on_their_images), cmocka_unit_test(jitter_is_the_same_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
