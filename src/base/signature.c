#include "base/signature.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

const char *dram_signature_find(const dram_signature *table, size_t n, const void *bytes, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)table[i].at, length = (size_t)table[i].length;
        if (size >= at + length && memcmp((const uint8_t *)bytes + at, table[i].bytes, length) == 0)
            return table[i].text;
    }
    return NULL;
}

static bool begins(const uint8_t *text, size_t size, const char *word)
{
    size_t length = strlen(word);
    if (size < length) return false;
    for (size_t i = 0; i < length; i++)
        if (tolower(text[i]) != word[i]) return false;
    return true;
}

int dram_signature_word(const char *const *words, int n, const void *text, size_t size)
{
    const uint8_t *bytes = text;
    size_t at = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < size && isspace(bytes[at])) at++;
    for (int i = 0; i < n; i++)
        if (begins(bytes + at, size - at, words[i])) return i;
    return -1;
}
