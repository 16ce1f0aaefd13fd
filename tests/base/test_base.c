/* status, str, tensor, log, rng, alloc. */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/str.h"
#include "base/tensor.h"
#include "base/testing.h"

static void the_first_failure_is_kept(void **state)
{
    (void)state;
    dram_error_clear();
    assert_string_equal(dram_error_text(), "");
    assert_int_equal(dram_fail(DRAM_ERR_IO, "%s: %d", "a.yaml", 3), DRAM_ERR_IO);
    assert_int_equal(dram_fail(DRAM_ERR_RUN, "the clean-up failed too"), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(), "a.yaml: 3");
    dram_error_clear();
    dram_fail(DRAM_ERR_RUN, "next");
    assert_string_equal(dram_error_text(), "next");
    dram_error_clear();
}

static void words_go_before_a_text(void **state)
{
    (void)state;
    static char text[5000], room[5000];
    assert_int_equal(dram_error_prefix(DRAM_ERR_IO, "a.yaml: "), DRAM_ERR_IO); /* nothing failed */
    assert_string_equal(dram_error_text(), "");
    dram_fail(DRAM_ERR_RUN, "b: %d", 3);
    assert_int_equal(dram_error_prefix(DRAM_ERR_RUN, ""), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(), "b: 3");
    assert_int_equal(dram_error_prefix(DRAM_ERR_RUN, "a.yaml: "), DRAM_ERR_RUN);
    assert_string_equal(dram_error_text(), "a.yaml: b: 3");
    memset(text, 'x', sizeof text - 1);
    dram_error_prefix(DRAM_ERR_RUN, text); /* does not fit: left out */
    assert_string_equal(dram_error_text(), "a.yaml: b: 3");
    dram_error_clear();
    dram_fail(DRAM_ERR_RUN, "%s", text);
    size_t longest = strlen(dram_error_text());
    dram_error_prefix(DRAM_ERR_RUN, "front: ");
    assert_int_equal(strlen(dram_error_text()), longest); /* the end is cut */
    snprintf(room, longest + 1, "front: %s", text);
    assert_string_equal(dram_error_text(), room);
    dram_error_clear();
}

static void a_long_text_is_cut(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof text - 1);
    dram_fail(DRAM_ERR_RUN, "%s", text);
    assert_in_range(strlen(dram_error_text()), 1000, sizeof text - 2);
    dram_error_clear();
}

static void *fail_elsewhere(void *seen)
{
    *(bool *)seen = dram_error_text()[0] != '\0';
    dram_fail(DRAM_ERR_RUN, "of another thread");
    return NULL;
}

static void each_thread_has_its_own_text(void **state)
{
    (void)state;
    pthread_t thread;
    bool seen = true;
    dram_fail(DRAM_ERR_RUN, "mine");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &seen), 0);
    pthread_join(thread, NULL);
    assert_false(seen);
    assert_string_equal(dram_error_text(), "mine");
    dram_error_clear();
}

static void exit_codes_are_the_promised_ones(void **state)
{
    (void)state;
    static const int want[DRAM_STATUS_COUNT] = {
        [DRAM_OK] = 0,          [DRAM_ERR_RUN] = 1,      [DRAM_ERR_MEMORY] = 1,   [DRAM_ERR_IO] = 1,
        [DRAM_ERR_NUMERIC] = 1, [DRAM_ERR_INTERNAL] = 1, [DRAM_ERR_CONFIG] = 2,   [DRAM_ERR_FORMAT] = 2,
        [DRAM_ERR_FIT] = 3,     [DRAM_ERR_PEER] = 4,     [DRAM_INTERRUPTED] = 130};
    for (int s = 0; s < DRAM_STATUS_COUNT; s++) {
        assert_int_equal(dram_status_exit((dram_status)s), want[s]);
        assert_true(strlen(dram_status_text((dram_status)s)) > 3);
    }
}

static int calls;

static dram_status counted(dram_status status)
{
    calls++;
    return status;
}

static dram_status three_steps(dram_status second)
{
    TRY(counted(DRAM_OK));
    TRY(counted(second));
    TRY(counted(DRAM_OK));
    return DRAM_OK;
}

static dram_status with_cleanup(dram_status first, bool *cleaned)
{
    dram_status status;
    TRY_GOTO(counted(first), done);
    TRY_GOTO(counted(DRAM_OK), done);
done:
    *cleaned = true;
    return status;
}

static void try_stops_at_the_first_failure(void **state)
{
    (void)state;
    bool cleaned = false;
    calls = 0;
    assert_int_equal(three_steps(DRAM_OK), DRAM_OK);
    assert_int_equal(calls, 3);
    assert_int_equal(three_steps(DRAM_ERR_FIT), DRAM_ERR_FIT);
    assert_int_equal(calls, 5);
    assert_int_equal(with_cleanup(DRAM_ERR_IO, &cleaned), DRAM_ERR_IO);
    assert_int_equal(calls, 6);
    assert_true(cleaned);
    assert_int_equal(with_cleanup(DRAM_OK, &cleaned), DRAM_OK);
    assert_int_equal(calls, 8);
}

static void text_grows(void **state)
{
    (void)state;
    dram_str s = {0};
    for (int i = 0; i < 2000; i++) dram_str_add(&s, "%d,", i % 10);
    assert_int_equal(s.length, 4000);
    assert_int_equal(strlen(s.text), 4000);
    for (int i = 0; i < 4000; i++) assert_int_equal(s.text[i], i % 2 ? ',' : '0' + i / 2 % 10);
    dram_str_add(&s, "%s", "");
    assert_int_equal(s.length, 4000);
    assert_false(s.failed);
    dram_str_free(&s);
    assert_null(s.text);
    assert_int_equal(s.length, 0);
    dram_str_free(&s);
}

static void text_without_memory_stays_failed(void **state)
{
    (void)state;
    dram_str s = {0};
    dram_str_add(&s, "kept");
    dram_alloc_fail_after(0);
    dram_str_add(&s, "%500d", 1);
    dram_alloc_fail_after(-1);
    assert_true(s.failed);
    dram_str_add(&s, "more");
    assert_true(s.failed);
    assert_string_equal(s.text, "kept");
    dram_str_free(&s);
    assert_false(s.failed);
}

static void the_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"batch_size", "steps", "precision", "accumulate", "loss_scale"};
    assert_string_equal(dram_nearest("batchsize", names, 5), "batch_size");
    assert_string_equal(dram_nearest("Steps", names, 5), "steps");
    assert_string_equal(dram_nearest("step", names, 5), "steps");
    assert_string_equal(dram_nearest("acumulat", names, 5), "accumulate");
    assert_string_equal(dram_nearest("precission", names, 5), "precision");
    assert_string_equal(dram_nearest("loss_scale", names, 5), "loss_scale");
    assert_null(dram_nearest("learning_rate", names, 5));
    assert_null(dram_nearest("teacher", names, 5));
    assert_null(dram_nearest("steps", names, 0));
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(dram_nearest(longest, names, 5));
    static const char *const alike[] = {"abcd", "abce"};
    assert_string_equal(dram_nearest("abcx", alike, 2), "abcd"); /* the first of equals */
}

/* By RFC 3629's table of what is UTF-8, and Unicode's of what is a control character. */
static void text_is_made_visible(void **state)
{
    static const char *const cases[][2] = {
        {"plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 ~", "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 ~"},
        {"\x1b[2J\r\n\t\x7f", "\\x1B[2J\\x0D\\x0A\\x09\\x7F"},
        {"\xc2\x9b"
         "31m\xc2\xa0",
         "\\xC2\\x9B"
         "31m\xc2\xa0"}, /* C1: a CSI in one character */
        {"\xff\xfe", "\\xFF\\xFE"},
        {"\x80z", "\\x80z"},                                   /* a continuation of nothing */
        {"\xc3", "\\xC3"},                                     /* cut off by the end */
        {"\xe2\x82z", "\\xE2\\x82z"},                          /* and by a letter */
        {"\xc0\xaf\xe0\x80\xaf", "\\xC0\\xAF\\xE0\\x80\\xAF"}, /* longer than need be */
        {"\xed\x9f\xbf\xed\xa0\x80",
         "\xed\x9f\xbf\\xED\\xA0\\x80"}, /* the last before the surrogates, the first of them */
        {"\xf4\x8f\xbf\xbf\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf\\xF4\\x90\\x80\\x80"}, /* the last, and one more */
        {"\xf8\x88\x80\x80\x80", "\\xF8\\x88\\x80\\x80\\x80"},
    };
    char out[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(dram_visible(cases[i][0], out, sizeof out), cases[i][1]);
    assert_string_equal(dram_visible("ab\x01z", out, 7), "ab\\x01"); /* cut between characters */
    assert_string_equal(dram_visible("ab\x01z", out, 6), "ab");
    assert_string_equal(dram_visible("ab\xc3\xa4", out, 4), "ab");
    dram_error_clear();
    dram_fail(DRAM_ERR_IO, "%s: gone", "a\x1b[31m\n.jpg");
    assert_string_equal(dram_error_text(), "a\\x1B[31m\\x0A.jpg: gone");
    dram_error_prefix(DRAM_ERR_IO, "run\r.yaml: ");
    assert_string_equal(dram_error_text(), "run\\x0D.yaml: a\\x1B[31m\\x0A.jpg: gone");
    dram_error_clear();
}

static void bytes_are_written(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        const char *want;
    } rows[] = {{0, "0 B"},
                {1, "1 B"},
                {1023, "1023 B"},
                {1024, "1.00 KiB"},
                {1536, "1.50 KiB"},
                {10240, "10.0 KiB"},
                {7LL << 30, "7.00 GiB"},
                {(int64_t)100 << 20, "100.0 MiB"},
                {3LL << 40, "3.00 TiB"},
                {5000LL << 40, "5000.0 TiB"},
                {-2048, "-2.00 KiB"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        assert_ptr_equal(dram_format_bytes(rows[i].bytes, text, sizeof text), text);
        assert_string_equal(text, rows[i].want);
    }
    char small[4];
    assert_string_equal(dram_format_bytes(7LL << 30, small, sizeof small), "7.0");
}

static void bytes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {{"0", 0},
                {"1500000", 1500000},
                {"12B", 12},
                {"7GiB", 7LL << 30},
                {"512 MiB", 512LL << 20},
                {"6GB", 6000000000},
                {"6gb", 6000000000},
                {"1kB", 1000},
                {"1KB", 1000},
                {"1KiB", 1024},
                {"0.5 GiB", 1LL << 29},
                {".5KiB", 512},
                {"2TiB", 2LL << 40},
                {"2 TB", 2000000000000},
                {"8388607TiB", 8388607LL << 40}};
    static const char *const bad[] = {"",    "GiB", "-1",    "-1GiB",      "7 GiBs", "7GiB ", "seven",  "7 G", "0x10",
                                      "nan", "inf", "1e400", "8388608TiB", "1..5",   " 7",    "7,5GiB", "+7",  "."};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t bytes = -1;
        if (!dram_parse_bytes(good[i].text, &bytes)) fail_msg("%s is refused", good[i].text);
        assert_int_equal(bytes, good[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t bytes = -7;
        if (dram_parse_bytes(bad[i], &bytes)) fail_msg("%s is taken for %lld", bad[i], (long long)bytes);
        assert_int_equal(bytes, -7);
    }
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 0);
    for (int i = 0; i < 20000; i++) { /* anything at all: no crash, and never a negative size */
        static const char letters[] = "0123456789.eExX+- kKMGTiBb\377";
        char text[12] = "";
        int n = (int)dram_rng_below(&r, 11);
        for (int k = 0; k < n; k++) text[k] = letters[dram_rng_below(&r, sizeof letters - 1)];
        int64_t bytes;
        if (dram_parse_bytes(text, &bytes)) assert_true(bytes >= 0);
    }
}

static void shapes(void **state)
{
    (void)state;
    dram_shape a = DRAM_SHAPE(2, 14, 14, 64), b = DRAM_SHAPE(2, 14, 14), scalar = {0};
    char text[32], small[6];
    assert_int_equal(a.rank, 4);
    assert_int_equal(dram_elements(&a), 2 * 14 * 14 * 64);
    assert_int_equal(dram_elements(&scalar), 1);
    assert_int_equal(dram_elements(&DRAM_SHAPE(3, 0, 5)), 0);
    assert_int_equal(dram_last(&a, 0), 64);
    assert_int_equal(dram_last(&a, 3), 2);
    assert_true(dram_shape_equal(&a, &a));
    assert_false(dram_shape_equal(&a, &b));
    assert_false(dram_shape_equal(&b, &DRAM_SHAPE(2, 14, 15)));
    assert_true(dram_shape_equal(&scalar, &(dram_shape){.dim = {7}})); /* dimensions beyond the rank do not count */
    assert_string_equal(dram_format_shape(&a, text, sizeof text), "[2,14,14,64]");
    assert_string_equal(dram_format_shape(&scalar, text, sizeof text), "[]");
    assert_string_equal(dram_format_shape(&a, small, sizeof small), "[2,14");
    assert_int_equal(dram_dtype_bytes(DRAM_F32), 4);
    assert_int_equal(dram_dtype_bytes(DRAM_BF16), 2);
    assert_int_equal(dram_dtype_bytes(DRAM_U8), 1);
    assert_string_equal(dram_dtype_name(DRAM_I32), "i32");
}

typedef struct {
    int n;
    dram_log_level level;
    char text[64];
} heard;

static void hear(void *context, dram_log_level level, const char *message)
{
    heard *h = context;
    h->n++;
    h->level = level;
    snprintf(h->text, sizeof h->text, "%s", message);
}

static void messages_go_to_the_sink(void **state)
{
    (void)state;
    heard h = {0};
    dram_warn("nobody listens");
    dram_log_set_sink(hear, &h);
    dram_warn("%d of %d", 1, 2);
    assert_int_equal(h.n, 1);
    assert_int_equal(h.level, DRAM_LOG_WARNING);
    assert_string_equal(h.text, "1 of 2");
    dram_info("fine");
    assert_int_equal(h.level, DRAM_LOG_INFO);
    dram_log_set_sink(NULL, NULL);
    dram_info("nobody listens");
    assert_int_equal(h.n, 2);
}

/* SplitMix64 from seed 0 and FNV-1a, as their authors publish them. */
static void known_random_numbers(void **state)
{
    (void)state;
    static const uint64_t splitmix[] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu,
                                        0xf88bb8a8724c81ecu, 0x1b39896a51a8749bu};
    dram_rng r = {.key = 0, .counter = 0};
    for (int i = 0; i < 5; i++) assert_true(dram_rng_u64(&r) == splitmix[i]);
    assert_true(dram_mix64(0) == splitmix[0]);
    assert_true(dram_hash_name("") == 0xcbf29ce484222325u);
    assert_true(dram_hash_name("a") == 0xaf63dc4c8601ec8cu);
    assert_true(dram_hash_name("foobar") == 0x85944171f73967e8u);
}

static void numbers_depend_on_seed_purpose_index_and_counter(void **state)
{
    (void)state;
    dram_rng a = dram_rng_make(1, DRAM_RNG_ORDER, 5), b = dram_rng_make(1, DRAM_RNG_ORDER, 5);
    uint64_t first = dram_rng_u64(&a);
    assert_true(first == dram_rng_u64(&b));
    assert_true(dram_rng_u64(&a) != first);
    b.counter = 0;
    assert_true(dram_rng_u64(&b) == first);
    assert_true(dram_rng_make(2, DRAM_RNG_ORDER, 5).key != b.key);
    assert_true(dram_rng_make(1, DRAM_RNG_AUGMENT, 5).key != b.key);
    assert_true(dram_rng_make(1, DRAM_RNG_ORDER, 6).key != b.key);
}

/* Bounds are five standard deviations of the count or mean under the law that is claimed; the numbers are fixed, so
 * this passes always or never. */
static void numbers_are_spread_as_claimed(void **state)
{
    (void)state;
    enum { N = 200000, BINS = 20 };
    dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, 0);
    int bins[BINS] = {0}, dice[7] = {0};
    double sum = 0, square = 0, lag = 0, last = 0;
    for (int i = 0; i < N; i++) {
        double u = dram_rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
    }
    for (int b = 0; b < BINS; b++) assert_true(fabs(bins[b] - N / (double)BINS) < 5 * sqrt(N / (double)BINS));
    for (int i = 0; i < N; i++) {
        uint64_t d = dram_rng_below(&r, 7);
        assert_true(d < 7);
        dice[d]++;
    }
    for (int b = 0; b < 7; b++) assert_true(fabs(dice[b] - N / 7.0) < 5 * sqrt(N / 7.0));
    for (int i = 0; i < N; i++) {
        double z = dram_rng_normal(&r);
        assert_true(isfinite(z));
        sum += z;
        square += z * z;
        lag += z * last;
        last = z;
    }
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(lag / N) < 5 / sqrt(N));
    for (int i = 0; i < 1000; i++) {
        double x = dram_rng_range(&r, -3, 5);
        assert_true(x >= -3 && x < 5);
        assert_true(dram_rng_below(&r, 1) == 0);
        assert_true(dram_rng_below(&r, UINT64_MAX) < UINT64_MAX);
    }
}

static void memory_is_counted(void **state)
{
    (void)state;
    int64_t number = dram_alloc_calls(), held = dram_alloc_bytes();
    char *a = dram_alloc(1000), *b = dram_calloc(10, 50), *c = dram_strdup("name"), *empty = dram_alloc(0);
    char *none = dram_calloc(0, 8);
    assert_true(a && b && c && empty && none);
    assert_string_equal(c, "name");
    for (int i = 0; i < 500; i++) assert_int_equal(b[i], 0);
    assert_int_equal(dram_alloc_calls() - number, 5);
    assert_true(dram_alloc_bytes() - held >= 1500);
    assert_true(dram_alloc_peak_bytes() >= dram_alloc_bytes());
    memset(a, 7, 1000);
    a = dram_realloc(a, 100000);
    assert_non_null(a);
    for (int i = 0; i < 1000; i++) assert_int_equal(a[i], 7);
    assert_true(dram_alloc_bytes() - held >= 100500);
    int64_t peak = dram_alloc_peak_bytes();
    a = dram_realloc(a, 10);
    char *fresh = dram_realloc(NULL, 5);
    dram_free(a);
    dram_free(b);
    dram_free(c);
    dram_free(empty);
    dram_free(none);
    dram_free(fresh);
    dram_free(NULL);
    assert_int_equal(dram_alloc_bytes(), held);
    assert_int_equal(dram_alloc_peak_bytes(), peak);
}

static void memory_fails_on_demand(void **state)
{
    (void)state;
    int64_t held = dram_alloc_bytes();
    char *a, *b, *grown;
    dram_alloc_fail_after(2);
    a = dram_alloc(10);
    b = dram_calloc(1, 10);
    assert_non_null(a);
    assert_non_null(b);
    memset(a, 3, 10);
    int64_t number = dram_alloc_calls();
    assert_null(dram_alloc(10));
    assert_null(dram_calloc(1, 10));
    assert_null(dram_strdup("x"));
    grown = dram_realloc(a, 5000);
    assert_null(grown);
    assert_int_equal(dram_alloc_calls(), number); /* what was refused is not counted */
    for (int i = 0; i < 10; i++) assert_int_equal(a[i], 3);
    dram_alloc_fail_after(-1);
    grown = dram_alloc(10);
    assert_non_null(grown);
    dram_free(grown);
    dram_free(a);
    dram_free(b);
    assert_int_equal(dram_alloc_bytes(), held);
}

static void arrays_grow(void **state)
{
    (void)state;
    int *items = NULL, room = 0;
    assert_true(DRAM_GROW(items, room, 1));
    assert_true(room >= 1);
    int before = room;
    for (int i = 0; i < before; i++) items[i] = i;
    const int *same = items;
    assert_true(DRAM_GROW(items, room, before));
    assert_ptr_equal(items, same);
    assert_true(DRAM_GROW(items, room, before + 1));
    assert_true(room >= 2 * before);
    before = room;
    assert_true(DRAM_GROW(items, room, 10 * before));
    assert_int_equal(room, 10 * before);
    for (int i = 0; i < before / 2; i++) assert_int_equal(items[i], i);
    same = items;
    dram_alloc_fail_after(0);
    assert_false(DRAM_GROW(items, room, 100 * before));
    dram_alloc_fail_after(-1);
    assert_ptr_equal(items, same);
    assert_int_equal(room, 10 * before);
    dram_free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_is_kept),
        cmocka_unit_test(words_go_before_a_text),
        cmocka_unit_test(a_long_text_is_cut),
        cmocka_unit_test(each_thread_has_its_own_text),
        cmocka_unit_test(exit_codes_are_the_promised_ones),
        cmocka_unit_test(try_stops_at_the_first_failure),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(text_without_memory_stays_failed),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(text_is_made_visible),
        cmocka_unit_test(bytes_are_written),
        cmocka_unit_test(bytes_are_read),
        cmocka_unit_test(shapes),
        cmocka_unit_test(messages_go_to_the_sink),
        cmocka_unit_test(known_random_numbers),
        cmocka_unit_test(numbers_depend_on_seed_purpose_index_and_counter),
        cmocka_unit_test(numbers_are_spread_as_claimed),
        cmocka_unit_test(memory_is_counted),
        cmocka_unit_test(memory_fails_on_demand),
        cmocka_unit_test(arrays_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
