/* Memory that runs out at every possible request, and files that are broken at random. */
#include <time.h>

#include "base/rng.h"
#include "base/testing.h"
#include "config/helpers.h"

typedef dram_status (*attempt)(const void *argument);

/* Lets the first n requests for memory succeed, for n = 0, 1, ..., until the attempt ends as `want`. */
static void sweep(attempt run, const void *argument, dram_status want)
{
    int64_t before = dram_alloc_bytes();
    int failures = 0;
    for (int64_t n = 0; n < 100000; n++) {
        dram_error_clear();
        dram_alloc_fail_after(n);
        dram_status status = run(argument);
        dram_alloc_fail_after(-1);
        assert_int_equal(dram_alloc_bytes(), before);
        if (status == want) {
            assert_true(failures > 0);
            dram_error_clear();
            return;
        }
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_equal(dram_error_text(), "out of host memory while handling the config");
        failures++;
    }
    fail_msg("never done");
}

static dram_status try_load(const void *argument)
{
    static const char *const overrides[] = {"optim.lr=0.5", "name=other", "student.weights=w"};
    dram_config *cfg;
    dram_status status = dram_config_load(argument, overrides, COUNT(overrides), &cfg);
    assert_int_equal(cfg == NULL, status != DRAM_OK);
    dram_config_free(cfg);
    return status;
}

static dram_status try_yaml(const void *argument)
{
    dram_str out = {0};
    dram_status status = dram_config_write_yaml(argument, &out);
    dram_str_free(&out);
    return status;
}

static dram_status try_schema(const void *argument)
{
    (void)argument;
    dram_str out = {0};
    dram_status status = dram_config_schema(&out);
    dram_str_free(&out);
    return status;
}

static dram_status try_markdown(const void *argument)
{
    (void)argument;
    dram_str out = {0};
    dram_status status = dram_config_markdown(&out);
    dram_str_free(&out);
    return status;
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "data: {sise: 64}\n", "qqqqqqqq: 1\n", "data: {size: 33}\n",          "data: {size: x}\n",
        "device: gpu\n",      "device: []\n",  "cuda: {graph: 2}\n",          "base: absent.yaml\n",
        "data: {size: [",     "data: *a\n",    "memory: {may_change: [a]}\n", "train: {batch_size: 3, accumulate: 2}\n",
    };
    write_to("low.yaml", "name: low\ndata: {train: {images: i, labels: l}, classes: 3}\nrun: {dir: r}\n");
    write_to("top.yaml", "base: low.yaml\nname: top\nsam_distill: {teacher: {weights: random}}\n"
                         "memory: {may_change: [], budget: 3GiB}\n");
    sweep(try_load, "top.yaml", DRAM_OK);
    for (int i = 0; i < COUNT(bad); i++) {
        write_to("bad.yaml", bad[i]);
        sweep(try_load, "bad.yaml", DRAM_ERR_CONFIG);
    }
    dram_config *cfg = load("top.yaml", NULL, 0);
    sweep(try_yaml, cfg, DRAM_OK);
    dram_config_free(cfg);
    sweep(try_schema, NULL, DRAM_OK);
    sweep(try_markdown, NULL, DRAM_OK);
}

enum { FUZZ_BYTES = 1024, FUZZ_ROUNDS = 60000 };
static const double fuzz_seconds = 3;

static const char *const fuzz_seeds[] = {
    "base: low.yaml\nname: camvid\nseed: 1\ndevice: auto\ndata:\n  size: 512\n  train: {images: a/b, labels: c, "
    "label_fraction: 1.0}\n  classes: 11\nstudent:\n  arch: regnety_004\n  weights: none\n",
    "sam_distill:\n  enabled: true\n  teacher: {model_type: vit_b, weights: x.safetensors, precision: fp32}\n"
    "  distill_interval: 1\n  loss: {type: mse, weight: 1.0}\n  cache: none\n",
    "optim: {type: adamw, lr: 1.0e-3, beta1: 0.9, eps: 1e-8}\ntrain:\n  steps: 2000\n  batch_size: 8\n"
    "memory:\n  budget: 7GiB\n  may_change: []\nrun: {dir: \"a b\", keep: 2}\n",
};

static const char *const fuzz_words[] = {
    ": ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "!",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "#",
    "? ",
    "- ",
    "%YAML 1.2\n",
    "\t",
    "\\x00",
    "\\u2028",
    "none",
    "auto",
    "random",
    "true",
    "null",
    "1e999",
    "-1",
    ".nan",
    "9223372036854775808",
    "data",
    "size",
    "base: top.yaml\n",
    "\xff",
    "\xef\xbb\xbf",
    "\xe2\x80\xa8",
    "<<: ",
};

static size_t mutate(dram_rng *r, char *text, size_t length)
{
    int changes = 1 + (int)dram_rng_below(r, 6);
    for (int i = 0; i < changes; i++) {
        size_t at = length ? dram_rng_below(r, length) : 0;
        size_t cut = dram_rng_below(r, 12);
        const char *word = fuzz_words[dram_rng_below(r, COUNT(fuzz_words))];
        switch (dram_rng_below(r, 4)) {
        case 0: /* another byte */
            if (length) text[at] = (char)dram_rng_below(r, 256);
            break;
        case 1: /* some bytes less */
            if (cut > length - at) cut = length - at;
            memmove(text + at, text + at + cut, length - at - cut);
            length -= cut;
            break;
        case 2: /* a word more */
            if (length + strlen(word) > FUZZ_BYTES) break;
            memmove(text + at + strlen(word), text + at, length - at);
            memcpy(text + at, word, strlen(word));
            length += strlen(word);
            break;
        default: /* the end cut off, rarely */
            if (dram_rng_below(r, 4) == 0) length = at;
            break;
        }
    }
    return length;
}

/* Loads what may be anything. What loads must be written, and read back the same way. */
static int check_any(const char *file, const char *const *overrides, int n)
{
    dram_config *cfg, *again;
    dram_error_clear();
    dram_status status = dram_config_load(file, overrides, n, &cfg);
    if (status != DRAM_OK) {
        assert_null(cfg);
        assert_int_equal(status, DRAM_ERR_CONFIG);
        assert_true(strlen(dram_error_text()) > 10);
        assert_null(strchr(dram_error_text(), '\n'));
        return 0;
    }
    dram_str first = {0}, second = {0};
    assert_int_equal(dram_config_write_yaml(cfg, &first), DRAM_OK);
    write_to("resolved.yaml", first.text);
    if (dram_config_load("resolved.yaml", NULL, 0, &again) != DRAM_OK)
        fail_msg("%s\n%s", dram_error_text(), first.text);
    assert_int_equal(dram_config_write_yaml(again, &second), DRAM_OK);
    assert_string_equal(first.text, second.text);
    dram_str_free(&first);
    dram_str_free(&second);
    dram_config_free(cfg);
    dram_config_free(again);
    return 1;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void broken_files_and_overrides_are_errors(void **state)
{
    (void)state;
    char text[FUZZ_BYTES + 1];
    int64_t before = dram_alloc_bytes();
    double end = seconds_now() + fuzz_seconds;
    int loaded = 0, refused = 0;
    write_to("low.yaml", "name: low\n");
    write_to("top.yaml", "base: top.yaml\n");
    for (int round = 0; round < FUZZ_ROUNDS && seconds_now() < end; round++) {
        dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, (uint64_t)round);
        const char *seed = fuzz_seeds[dram_rng_below(&r, COUNT(fuzz_seeds))];
        size_t length = strlen(seed);
        memcpy(text, seed, length);
        length = mutate(&r, text, length);
        write_bytes_to("fuzz.yaml", text, length);
        check_any("fuzz.yaml", NULL, 0) ? loaded++ : refused++;
        int n = snprintf(text, sizeof text, "memory.budget=%.*s", (int)dram_rng_below(&r, 40), seed);
        length = mutate(&r, text, (size_t)n);
        text[length] = '\0';
        const char *override = text;
        check_any(NULL, &override, 1);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    dram_error_clear();
    assert_true(loaded > 10 && refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(broken_files_and_overrides_are_errors),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
