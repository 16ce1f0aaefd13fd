/* looks: small data sets for the tests of src/check, and what a look at them finds. Include after cmocka.h. */
#ifndef DRAM_TESTS_CHECK_LOOKS_H
#define DRAM_TESTS_CHECK_LOOKS_H

#include <time.h>

#include "base/log.h"
#include "check/check.h"
#include "data/encode.h"
#include "data/image.h"
#include "support/tempdir.h"

enum { VOID = 255 };

static char said[16384], told[16384]; /* warnings of the last look, and what it told besides; a line each */

static inline void keep_line(char *to, size_t size, const char *line)
{
    size_t at = strlen(to);
    snprintf(to + at, size - at, "%s\n", line);
}

static inline void keep_log(void *context, dram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    keep_line(told, sizeof told, message);
}

static inline void keep_said(void *context, const char *line)
{
    (void)context;
    keep_line(said, sizeof said, line);
}

static inline void assert_said(const char *text)
{
    if (!strstr(said, text)) fail_msg("\"%s\" was not said, but \"%s\"", text, said);
}

static inline void assert_not_said(const char *text)
{
    if (strstr(said, text)) fail_msg("\"%s\" was said: \"%s\"", text, said);
}

static const char looks_base[] =
    "data:\n"
    "  size: 64\n"
    "  check: full\n"
    "  train: {images: t/images, labels: t/labels}\n"
    "  classes: 2\n"
    "student: {arch: regnetx_002}\n"
    "sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 64}\n"
    "task: {enabled: true}\n";

static inline int looks_setup(void **state)
{
    dram_log_set_sink(keep_log, NULL);
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "base.yaml"), looks_base, sizeof looks_base - 1);
    return 0;
}

/* Makes the folders above a file of the temporary folder; returns the file's path. */
static inline const char *with_folders(void **state, const char *name)
{
    static char path[4400];
    snprintf(path, sizeof path, "%s/%s", (const char *)*state, name);
    for (char *slash = strchr(path + strlen(*state) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    return path;
}

static inline void put_blob(void **state, const char *name, blob b)
{
    put_file(with_folders(state, name), b.bytes, b.n);
    free(b.bytes);
}

static inline blob jpeg_of(int height, int width, int number)
{
    uint8_t *rgb = noise_bytes((size_t)height * (size_t)width * 3, (uint64_t)number);
    blob b = encode_jpeg(rgb, height, width, 0, TJPF_RGB, TJSAMP_444, 0);
    free(rgb);
    return b;
}

/* Another number is another picture. */
static inline void put_photo(void **state, const char *name, int height, int width, int number)
{
    put_blob(state, name, jpeg_of(height, width, number));
}

/* The first `first` pixels are `a`, the others `b`. */
static inline void put_label(void **state, const char *name, int height, int width, int first, int a, int b)
{
    int n = height * width;
    uint8_t *ids = malloc((size_t)n);
    assert_non_null(ids);
    for (int i = 0; i < n; i++) ids[i] = (uint8_t)(i < first ? a : b);
    assert_int_equal(dram_label_write_png(with_folders(state, name), ids, height, width), DRAM_OK);
    free(ids);
}

/* Pairs SET/images/II.jpg and SET/labels/II.png, begin <= II < end, 8 x 12 pixels: 32 of class a, the others b. */
static inline void put_pairs(void **state, const char *set, int begin, int end, int a, int b)
{
    char name[64];
    for (int i = begin; i < end; i++) {
        snprintf(name, sizeof name, "%s/images/%02d.jpg", set, i);
        put_photo(state, name, 8, 12, i);
        snprintf(name, sizeof name, "%s/labels/%02d.png", set, i);
        put_label(state, name, 8, 12, 32, a, b);
    }
}

/* base.yaml with the overrides of `set`, blanks between; @ is the temporary folder. The caller's. */
static inline dram_config *looks_config(void **state, const char *set)
{
    char text[8192], *overrides[64], *to = text;
    dram_config *cfg;
    int n = 0, depth = 0;
    bool begun = false;
    to += snprintf(to, sizeof text, "run.dir=%.1000s/runs ", (const char *)*state);
    for (const char *c = set; *c && to < text + sizeof text - 1002; c++)
        if (*c == '@')
            to += snprintf(to, 1001, "%.1000s", (const char *)*state);
        else
            *to++ = *c;
    *to = '\0';
    for (char *c = text; *c; c++) {
        depth += (*c == '{' || *c == '[') - (*c == '}' || *c == ']');
        bool space = *c == ' ' && depth == 0;
        if (!space && !begun) overrides[n++] = c;
        begun = !space;
        if (space) *c = '\0';
    }
    if (dram_config_load(in_dir(state, "base.yaml"), (const char *const *)overrides, n, &cfg) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    return cfg;
}

/* Looks, and keeps what is said. The verdict is returned, its text held. */
static inline dram_status look_with(void **state, const char *set, const dram_check_hooks *hooks, dram_check *check)
{
    dram_config *cfg = looks_config(state, set);
    said[0] = told[0] = '\0';
    dram_error_clear();
    dram_status status = dram_check_config(cfg, true, hooks, check);
    if (status == DRAM_OK) {
        dram_check_warnings(cfg, check, keep_said, NULL);
        status = dram_check_judge(cfg, check, true);
    }
    dram_config_free(cfg);
    return status;
}

static inline dram_check look(void **state, const char *set)
{
    static const dram_check_hooks none = {0};
    dram_check check;
    if (look_with(state, set, &none, &check) != DRAM_OK) fail_msg("%s", dram_error_text());
    return check;
}

static inline dram_check look_refused(void **state, const char *set, const char *why)
{
    static const dram_check_hooks none = {0};
    dram_check check;
    assert_int_equal(look_with(state, set, &none, &check), DRAM_ERR_CONFIG);
    if (!strstr(dram_error_text(), why)) fail_msg("\"%s\" instead of \"%s\"", dram_error_text(), why);
    dram_error_clear();
    return check;
}

/* The text that a function of check.h makes; good until the next call. */
static inline const char *text_of_check(void **state, const char *set, const dram_check *check,
                                        void (*make)(const dram_config *, const dram_check *, dram_str *))
{
    static dram_str text;
    dram_config *cfg = looks_config(state, set);
    dram_str_free(&text);
    make(cfg, check, &text);
    assert_false(text.failed);
    dram_config_free(cfg);
    return text.text ? text.text : "";
}

static inline int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

#define LOOK_CASE(NAME) cmocka_unit_test_setup_teardown(NAME, looks_setup, tempdir_remove)

#endif
