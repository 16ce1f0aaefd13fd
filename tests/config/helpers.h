/* helpers: a temporary working directory, files in it, and loads that must fail with one exact text. */
#ifndef DRAM_TESTS_CONFIG_HELPERS_H
#define DRAM_TESTS_CONFIG_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/testing.h"
#include "config/config.h"

#define COUNT(ARRAY) ((int)(sizeof(ARRAY) / sizeof((ARRAY)[0])))

static char test_folder[PATH_MAX]; /* absolute, without links; also the working directory */

static inline int enter_test_folder(void **state)
{
    (void)state;
    char name[PATH_MAX - 32];
    const char *parent = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s/dram-config-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(name) || !realpath(name, test_folder)) return -1;
    return chdir(test_folder);
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int leave_test_folder(void **state)
{
    (void)state;
    if (chdir("/") != 0) return -1;
    return nftw(test_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void write_bytes_to(const char *file, const void *bytes, size_t length)
{
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, length, f), length);
    assert_int_equal(fclose(f), 0);
}

static inline void write_to(const char *file, const char *text)
{
    write_bytes_to(file, text, strlen(text));
}

/* Loads what must load; dram_config_free the result. */
static inline dram_config *load(const char *file, const char *const *overrides, int n)
{
    dram_config *cfg;
    dram_error_clear();
    dram_status status = dram_config_load(file, overrides, n, &cfg);
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_non_null(cfg);
    assert_string_equal(dram_error_text(), "");
    return cfg;
}

static inline void expect_failure(const char *file, const char *const *overrides, int n, const char *text)
{
    dram_config *cfg = (dram_config *)1;
    int64_t before = dram_alloc_bytes();
    dram_error_clear();
    dram_status status = dram_config_load(file, overrides, n, &cfg);
    if (status != DRAM_ERR_CONFIG || strcmp(dram_error_text(), text) != 0)
        fail_msg("status %d\n  got:  %s\n  want: %s", (int)status, dram_error_text(), text);
    assert_null(cfg);
    assert_int_equal(dram_status_exit(status), 2);
    assert_int_equal(dram_alloc_bytes(), before);
    dram_error_clear();
}

/* What expect_failure does, for the text of one file. */
static inline void expect_bad_file(const char *yaml, const char *text)
{
    write_to("c.yaml", yaml);
    expect_failure("c.yaml", NULL, 0, text);
}

#endif
