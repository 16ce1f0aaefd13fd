/* str: growable text, the nearest of some names (for "did you mean"), text that is safe to show, stems of file names,
 * sizes in bytes as text. */
#ifndef DRAM_BASE_STR_H
#define DRAM_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Growable text. Start from {0}. After memory has run out `failed` stays true and nothing more is added. */
typedef struct {
    char *text; /* zero-terminated once anything was added; owned; dram_str_free */
    size_t length;
    int room;
    bool failed;
} dram_str;

void dram_str_add(dram_str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void dram_str_free(dram_str *s); /* leaves {0} */

/* The entry of names[0..n) with the smallest edit distance to `name`, or NULL when none is near enough to be meant
 * (distance above a third of the name's length, at least 2, and below its length). */
const char *dram_nearest(const char *name, const char *const *names, int n);

/* Bytes of the UTF-8 character at `text`, 1 to 4, and its code point; 0: what is there is none. */
int dram_utf8(const char *text, uint32_t *code);

/* text as a terminal may have it, at most `size` bytes into out, which is returned: every byte of a control character,
 * and every one that is not UTF-8, is written \xHH. */
char *dram_visible(const char *text, char *out, size_t size);

/* Length of a file's name without its extension; a leading dot begins none. */
int dram_stem(const char *name);

/* "7.00 GiB", "512 B": at most `size` bytes into out, which is returned. */
char *dram_format_bytes(int64_t bytes, char *out, size_t size);

/* Reads "7GiB", "512 MiB", "1500000", "6GB" (units: B, kB/KB, MB, GB, TB, KiB, MiB, GiB, TiB; fractions allowed).
 * Returns false if it is not a size of 0 or more that fits int64_t. */
bool dram_parse_bytes(const char *text, int64_t *bytes);

#endif
