/* Labels: ids as stored, and the rules that stop a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/testing.h"
#include "data/encode.h"
#include "data/image.h"
#include "support/tempdir.h"

enum { H = 11, W = 19 };

static dram_status load(void **state, blob file, const dram_label_rules *rules, dram_label *label)
{
    const char *path = in_dir(state, "label.png");
    put_file(path, file.bytes, file.n);
    free(file.bytes);
    dram_error_clear();
    int64_t before = dram_alloc_bytes();
    dram_status status = dram_label_load(path, rules, label);
    if (status != DRAM_OK) {
        assert_null(label->ids);
        assert_int_equal(dram_alloc_bytes(), before);
        assert_non_null(strstr(dram_error_text(), "label.png"));
    }
    return status;
}

static void ids_are_stored_values(void **state)
{
    struct spng_plte palette = {.n_entries = 0};
    for (int i = 0; i < 256; i++)
        palette.entries[i] = (struct spng_plte_entry){(uint8_t)(200 - i), 7, (uint8_t)(i * 3), 255};
    for (int k = 0; k < 16; k++) {
        int bits = 1 << k / 4, mask = (1 << bits) - 1;
        bool indexed = k & 1, interlaced = k & 2;
        size_t stride = ((size_t)W * (size_t)bits + 7) / 8;
        uint8_t *data = noise_bytes(stride * H, (uint64_t)k);
        dram_label_rules rules = {.height = H, .width = W, .classes = mask + 1, .ignore_index = -1};
        dram_label label;
        palette.n_entries = (uint32_t)mask + 1;
        blob file =
            encode_png(data, stride * H, H, W, bits, indexed ? SPNG_COLOR_TYPE_INDEXED : SPNG_COLOR_TYPE_GRAYSCALE,
                       interlaced, indexed ? &palette : NULL);
        if (load(state, file, &rules, &label) != DRAM_OK) fail_msg("%s", dram_error_text());
        assert_int_equal(label.height, H);
        assert_int_equal(label.width, W);
        for (int i = 0; i < H * W; i++) {
            int at = i % W * bits;
            assert_int_equal(label.ids[i],
                             data[(size_t)(i / W) * stride + (size_t)(at / 8)] >> (8 - bits - at % 8) & mask);
        }
        dram_label_free(&label);
        free(data);
    }
}

static void refused(void **state, blob file, const dram_label_rules *rules, const char *reason)
{
    dram_label label;
    assert_int_equal(load(state, file, rules, &label), DRAM_ERR_FORMAT);
    if (!strstr(dram_error_text(), reason)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), reason);
    dram_error_clear();
}

static blob grey(int h, int w, int value, int at, int odd)
{
    uint8_t *data = malloc((size_t)h * (size_t)w);
    memset(data, value, (size_t)h * (size_t)w);
    data[at] = (uint8_t)odd;
    blob file = encode_png(data, (size_t)h * (size_t)w, h, w, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    free(data);
    return file;
}

static void class_out_of_range(void **state)
{
    dram_label_rules rules = {.height = H, .width = W, .classes = 11, .ignore_index = 11};
    dram_label label;
    assert_int_equal(load(state, grey(H, W, 10, 3, 11), &rules, &label), DRAM_OK);
    dram_label_free(&label);
    refused(state, grey(H, W, 10, 2 * W + 5, 12), &rules, "class id 12 at x 5, y 2");
    rules.ignore_index = 255;
    refused(state, grey(H, W, 10, 0, 11), &rules, "class id 11 at x 0, y 0");
    assert_int_equal(load(state, grey(H, W, 255, 3, 0), &rules, &label), DRAM_OK);
    dram_label_free(&label);
    rules.classes = 0;
    assert_int_equal(load(state, grey(H, W, 200, 3, 0), &rules, &label), DRAM_OK);
    dram_label_free(&label);
}

static void another_size(void **state)
{
    dram_label_rules rules = {.height = H, .width = W, .classes = 2, .ignore_index = 255};
    refused(state, grey(H, W + 1, 0, 0, 0), &rules, "the label has 20x11 pixels, its image 19x11");
    refused(state, grey(W, H, 0, 0, 0), &rules, "the label has 11x19 pixels, its image 19x11");
}

static void other_kinds(void **state)
{
    uint8_t *data = noise_bytes(H * W * 8, 5);
    dram_label_rules rules = {.ignore_index = 255};
    refused(state, encode_png(data, H * W * 2, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), &rules, "has 16");
    refused(state, encode_png(data, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), &rules, "one channel");
    refused(state, encode_png(data, H * W * 2, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, false, NULL), &rules,
            "one channel");
    refused(state, encode_jpeg(data, H, W, 0, TJPF_GRAY, TJSAMP_GRAY, 0), &rules, "must be a PNG");
    refused(state, blob_of("", 0), &rules, "must be a PNG");
    blob cut = encode_png(data, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    cut.n /= 2;
    refused(state, cut, &rules, "truncated PNG");
    rules.max_bytes = 4096;
    refused(state, grey(H, W, 0, 0, 0), &rules, "needs");
    free(data);
}

static void missing_file(void **state)
{
    dram_label_rules rules = {.ignore_index = 255};
    dram_label label;
    dram_error_clear();
    assert_int_equal(dram_label_load(in_dir(state, "none.png"), &rules, &label), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "none.png"));
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_stored_values), cmocka_unit_test(class_out_of_range), cmocka_unit_test(another_size),
        cmocka_unit_test(other_kinds),           cmocka_unit_test(missing_file),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
