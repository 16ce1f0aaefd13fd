/* Images of 16 bits a sample: data.range, the largest value, and what the loader says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "base/testing.h"
#include "data/encode.h"
#include "data/image.h"
#include "data/loader.h"
#include "support/tempdir.h"
#include "support/warnings.h"

static const struct {
    int type, channels;
} kinds[] = {{SPNG_COLOR_TYPE_GRAYSCALE, 1},
             {SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 2},
             {SPNG_COLOR_TYPE_TRUECOLOR, 3},
             {SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 4}};
enum { KINDS = 4, ALPHA = 65535 };

/* One sample of each of the n values a pixel; of more channels, pixel i has values i, i + 1, i + 2. */
static blob encode_values(const uint16_t *values, int h, int w, int kind, bool interlaced)
{
    int channels = kinds[kind].channels, n = h * w;
    uint16_t *data = malloc((size_t)(n * channels) * sizeof *data);
    assert_non_null(data);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
            data[i * channels + c] = c % 2 && c == channels - 1 ? ALPHA : values[(i + c) % n];
    blob png = encode_png(data, (size_t)(n * channels) * sizeof *data, h, w, 16, kinds[kind].type, interlaced, NULL);
    free(data);
    return png;
}

static dram_image decode(blob file, const dram_image_rules *rules)
{
    dram_image image;
    if (dram_image_decode(file.bytes, file.n, "file", rules, &image) != DRAM_OK) fail_msg("%s", dram_error_text());
    free(file.bytes);
    return image;
}

/* v * 255 / range in double, rounded half up: a half is exact, and no other quotient is within 1 / (2 range) of one. */
static int expected(int value, int range)
{
    double v = floor(value * 255.0 / range + 0.5);
    return range == 65535 ? value >> 8 : v > 255 ? 255 : (int)v;
}

static void every_value_of_every_kind(void **state)
{
    (void)state;
    static const int ranges[] = {0, 65535, 65534, 32767, 16383, 4095, 4096, 1023, 255, 256, 1000, 3, 1};
    enum { SIDE = 256, N = SIDE * SIDE };
    uint16_t *values = malloc(N * sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < N; i++) values[i] = (uint16_t)i;
    for (size_t k = 0; k < 2 * KINDS * sizeof ranges / sizeof ranges[0]; k++) {
        int kind = (int)k / 2 % KINDS, range = ranges[k / 2 / KINDS];
        dram_image_rules rules = {.range = range};
        dram_image image = decode(encode_values(values, SIDE, SIDE, kind, k % 2), &rules);
        assert_int_equal(image.height * image.width, N);
        assert_int_equal(image.peak, 65535);
        for (int i = 0; i < 3 * N; i++) {
            int value = values[(i / 3 + (kinds[kind].channels > 2 ? i % 3 : 0)) % N];
            if (image.pixels[i] != expected(value, range ? range : 65535))
                fail_msg("kind %d range %d: %d became %d, not %d", kind, range, value, image.pixels[i],
                         expected(value, range ? range : 65535));
        }
        dram_image_free(&image);
    }
    free(values);
}

/* By hand: of 10, 12 and 14 bits, of masks of 0 to 255, and above the range. */
static void values_by_hand(void **state)
{
    (void)state;
    static const struct {
        int range, value, want;
    } rows[] = {{1023, 0, 0},           {1023, 512, 128},  {1023, 1023, 255},   {1023, 1024, 255},  {4095, 8, 0},
                {4095, 9, 1},           {4095, 2048, 128}, {4095, 4095, 255},   {4095, 65535, 255}, {16383, 8192, 128},
                {16383, 32, 0},         {16383, 33, 1},    {16383, 16383, 255}, {255, 77, 77},      {255, 255, 255},
                {255, 256, 255},        {65535, 255, 0},   {65535, 256, 1},     {65535, 4095, 15},  {65535, 65535, 255},
                {2, 1, 128 /* 127.5 */}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int k = 0; k < 2 * KINDS; k++) {
            uint16_t values[1] = {(uint16_t)rows[i].value};
            dram_image_rules rules = {.range = rows[i].range};
            dram_image image = decode(encode_values(values, 1, 1, k / 2, k % 2), &rules);
            for (int c = 0; c < 3; c++)
                if (image.pixels[c] != rows[i].want)
                    fail_msg("range %d: %d became %d, not %d", rows[i].range, rows[i].value, image.pixels[c],
                             rows[i].want);
            assert_int_equal(image.peak, rows[i].value);
            dram_image_free(&image);
        }
}

/* A value counts wherever it is in the image, in whatever pass of an interlaced one; alpha does not. */
static void the_peak_is_of_the_whole_image(void **state)
{
    (void)state;
    enum { SIDE = 9, N = SIDE * SIDE };
    for (int at = 0; at < N; at++)
        for (int k = 0; k < 2 * KINDS; k++) {
            uint16_t values[N];
            for (int i = 0; i < N; i++) values[i] = (uint16_t)(i == at ? 4012 : i % 100);
            dram_image_rules rules = {.max_pixels = k % 3 ? 0 : 20};
            dram_image image = decode(encode_values(values, SIDE, SIDE, k / 2, k % 2), &rules);
            assert_int_equal(image.peak, 4012);
            dram_image_free(&image);
        }
}

/* Squares of one value, so that the mean of what is scaled down is that value as 8 bits. */
static void scaled_down(void **state)
{
    (void)state;
    enum { SIDE = 64, SMALL = 8, N = SIDE * SIDE };
    uint16_t *values = malloc(N * sizeof *values);
    assert_non_null(values);
    for (int i = 0; i < N; i++) values[i] = (uint16_t)((i / SIDE / SMALL * SMALL + i % SIDE / SMALL) * 64);
    for (int k = 0; k < 4; k++) {
        dram_image_rules rules = {.max_pixels = SMALL * SMALL, .range = 4095};
        dram_image image = decode(encode_values(values, SIDE, SIDE, k < 2 ? 0 : 1, k % 2), &rules);
        assert_int_equal(image.height, SMALL);
        assert_int_equal(image.width, SMALL);
        for (int i = 0; i < 3 * SMALL * SMALL; i++) assert_int_equal(image.pixels[i], expected(i / 3 * 64, 4095));
        dram_image_free(&image);
    }
    free(values);
}

static void eight_bits_do_not_ask_for_it(void **state)
{
    (void)state;
    enum { H = 20, W = 31 };
    uint8_t *rgb = noise_bytes(H * W * 3, 21);
    for (int k = 0; k < 5; k++) {
        dram_image image[2];
        for (int r = 0; r < 2; r++) {
            dram_image_rules rules = {.range = r ? 100 : 65535};
            blob file = k < 2    ? encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, k, NULL)
                        : k == 2 ? encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_420, 0)
                        : k == 3 ? encode_webp(rgb, H, W, 3, 80)
                                 : encode_png(rgb, H * ((W + 1) / 2), H, W, 4, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
            image[r] = decode(file, &rules);
            assert_int_equal(image[r].peak, 0);
        }
        assert_int_equal(worst_byte(image[0].pixels, image[1].pixels, H * W * 3), 0);
        dram_image_free(&image[0]);
        dram_image_free(&image[1]);
    }
    free(rgb);
}

/* ---- what the loader says ---- */

enum { FILES = 12, SIDE = 20 };

/* A folder of images whose largest value is `peak`; of 8 bits where it is 0. dark: the first is darker. */
static void fill_folder(void **state, int peak, bool dark)
{
    for (int i = 0; i < FILES; i++) {
        char name[40];
        uint16_t values[SIDE * SIDE];
        snprintf(name, sizeof name, "%03d.png", i);
        for (int k = 0; k < SIDE * SIDE; k++) values[k] = (uint16_t)((k % 200) * (dark && i == 0 ? 1 : peak / 200));
        values[i] = (uint16_t)(dark && i == 0 ? 300 : peak);
        blob file = peak ? encode_values(values, SIDE, SIDE, i % KINDS, i % 2)
                         : encode_png(values, SIDE * SIDE, SIDE, SIDE, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
        put_file(in_dir(state, name), file.bytes, file.n);
        free(file.bytes);
    }
}

/* Warnings of two passes over the folder, the second after the first: of a training until `samples`, or of an
 * evaluation. */
static void pass(void **state, int range, bool train, int samples)
{
    dram_dataset *d;
    dram_loader *l;
    dram_batch batch;
    dram_dataset_params dataset = {.images = (const char *)*state, .label_fraction = 1};
    assert_int_equal(dram_dataset_open(&dataset, &d), DRAM_OK);
    dram_loader_params params = {.dataset = d,
                                 .train = train,
                                 .student_size = 32,
                                 .batch_size = 2,
                                 .workers = 2,
                                 .images = {.range = range},
                                 .augment = {.scale_min = 1, .scale_max = 1}};
    for (int k = 0; k < 2; k++) {
        int seen = 0;
        assert_int_equal(dram_loader_open(&params, &l), DRAM_OK);
        do {
            if (dram_loader_next(l, &batch) != DRAM_OK) fail_msg("%s", dram_error_text());
            seen += batch.count;
        } while (batch.count && seen < samples);
        dram_loader_close(l);
    }
    dram_dataset_close(d);
}

static void warnings_are(void **state)
{
    static const struct {
        int peak, range;
        bool dark;
        const char *say; /* NULL: nothing */
    } rows[] = {
        {4012, 65535, false,
         "the images of 16 bits are nearly black: the largest value in 8 of them is 4012, where data.range, 65535, is "
         "white; if they hold 12 bits, set data.range to 4095"},
        {1023, 65535, false, "if they hold 10 bits, set data.range to 1023"},
        {16383, 65535, false, "if they hold 14 bits, set data.range to 16383"},
        {255, 65535, false, "if they hold 8 bits, set data.range to 255"},
        {600, 4095, false,
         "the largest value in 8 of them is 600, where data.range, 4095, is white; if they hold 10 bits, "
         "set data.range to 1023"},
        {4012, 4095, false, NULL},
        {65000, 65535, false, NULL},
        {16384, 65535, false, NULL}, /* above a quarter */
        {65000, 65535, true, NULL},  /* one dark image among bright ones */
        {200, 255, false, NULL},
        {0, 65535, false, NULL}, /* 8 bits */
        {0, 255, false, NULL},
        {4096, 4095, false, "000.png has a 16-bit value of 4096: what is above data.range, 4095, is all white"},
        {65535, 255, false, " has a 16-bit value of 65535: what is above data.range, 255, is all white"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fill_folder(state, rows[i].peak, rows[i].dark);
        int how;
        pid_t pid = fork(); /* it is said once in the life of a process */
        assert_true(pid >= 0);
        if (!pid) {
            warnings = 0;
            pass(state, rows[i].range, false, 1000);
            pass(state, rows[i].range, true, 40);
            bool good = rows[i].say ? warnings == 1 && strstr(last_warning, rows[i].say) : warnings == 0;
            if (!good) fprintf(stderr, "row %zu: %d warnings, %s\n", i, warnings, last_warning);
            _exit(good ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_int_equal(how, 0);
    }
}

/* A folder of three: all of them are enough; of one sample of a training, nothing is said yet. */
static void few_images(void **state)
{
    fill_folder(state, 4012, false);
    for (int i = 3; i < FILES; i++) {
        char name[40];
        snprintf(name, sizeof name, "%03d.png", i);
        assert_int_equal(remove(in_dir(state, name)), 0);
    }
    for (int k = 0; k < 3; k++) {
        int how;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            warnings = 0;
            pass(state, 65535, k > 0, k == 1 ? 1 : 6);
            _exit(warnings);
        }
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), k == 1 ? 0 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_every_kind),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(the_peak_is_of_the_whole_image),
        cmocka_unit_test(scaled_down),
        cmocka_unit_test(eight_bits_do_not_ask_for_it),
        cmocka_unit_test_setup_teardown(warnings_are, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(few_images, tempdir_make, tempdir_remove),
    };
    dram_log_set_sink(keep_warning, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
