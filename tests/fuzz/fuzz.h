/* fuzz: what a fuzzing target demands of what it calls, beyond that nothing crashes. A program has one target. */
#ifndef DRAM_TESTS_FUZZ_H
#define DRAM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/status.h"
#include "base/str.h"
#include "base/testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(SO) ((SO) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #SO))

static inline _Noreturn void fuzz_fail(const char *file, int line, const char *so)
{
    fprintf(stderr, "%s:%d: it is not so that %s\nerror text: %s\n", file, line, so, dram_error_text());
    abort();
}

/* Whether the text is UTF-8 without a control character. */
static inline bool is_one_line(const char *text)
{
    for (int n; *text; text += n) {
        uint32_t code;
        n = dram_utf8(text, &code);
        if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
    }
    return true;
}

/* What refused an input has said why. Leaves no error text. */
static inline void refused(void)
{
    must(strlen(dram_error_text()) > 10);
    must(is_one_line(dram_error_text()));
    dram_error_clear();
}

/* The path of a file that holds these bytes until the next call; the file is in memory. */
static inline const char *file_of(const void *bytes, size_t n)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) fd = memfd_create("input", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(fd >= 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n && ftruncate(fd, (off_t)n) == 0);
    return path;
}

#endif
