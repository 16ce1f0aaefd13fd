/* signature: what a file is, by its first bytes. */
#ifndef DRAM_BASE_SIGNATURE_H
#define DRAM_BASE_SIGNATURE_H

#include <stddef.h>

/* A kind of file: `length` bytes at `at`, and what it is called. */
typedef struct {
    int at, length;
    const char *bytes, *text;
} dram_signature;

/* What a download without git-lfs leaves in the place of any large file. */
#define DRAM_SIGNATURE_LFS                                                                                             \
    {                                                                                                                  \
        0, 24, "version https://git-lfs.", "a Git LFS pointer and not the file itself: git lfs pull fetches it"        \
    }

/* The text of the first of table[0..n) that the file's bytes[0..size) have, or NULL. */
const char *dram_signature_find(const dram_signature *table, size_t n, const void *bytes, size_t size);

/* The first of words[0..n), in lower case, with which the text begins, whatever its case; a mark of UTF-8 and white
 * space before it are passed over. -1: none. */
int dram_signature_word(const char *const *words, int n, const void *text, size_t size);

#endif
