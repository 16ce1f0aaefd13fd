/* helpers: what the tests of io share. Include after cmocka.h. */
#ifndef DRAM_TESTS_IO_HELPERS_H
#define DRAM_TESTS_IO_HELPERS_H

#include <stdint.h>

#include "base/alloc.h"
#include "base/status.h"
#include "base/testing.h"
#include "io/safetensors.h"
#include "support/full_disk.h"
#include "support/ok.h"
#include "support/tempdir.h"

/* The status, and a text of one line that ends in `text` (after a folder's name that differs from run to run). */
static inline void fails(dram_status status, dram_status want, const char *text)
{
    assert_int_equal(status, want);
    size_t n = strlen(dram_error_text()), m = strlen(text);
    assert_true(n >= m);
    assert_string_equal(dram_error_text() + n - m, text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* A safetensors file from header text and data. */
static inline void put_tensors(const char *path, const char *header, const void *data, size_t bytes)
{
    uint64_t length = strlen(header);
    char *all = malloc(8 + length + bytes);
    assert_non_null(all);
    memcpy(all, &length, 8);
    memcpy(all + 8, header, length);
    if (bytes) memcpy(all + 8 + length, data, bytes);
    put_file(path, all, 8 + length + bytes);
    free(all);
}

typedef dram_status (*attempt)(void **state);

/* Lets the first, second, ... request of the attempt fail until it succeeds; nothing may leak. */
static inline void out_of_memory_everywhere(attempt try_it, void **state)
{
    int64_t held = dram_alloc_bytes();
    int failures = 0;
    for (int64_t after = 0;; after++) {
        dram_alloc_fail_after(after);
        dram_status status = try_it(state);
        dram_alloc_fail_after(-1);
        assert_int_equal(dram_alloc_bytes(), held);
        if (status == DRAM_OK) break;
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_non_null(strstr(dram_error_text(), "out of host memory"));
        dram_error_clear();
        failures++;
    }
    assert_true(failures > 0);
}

#endif
