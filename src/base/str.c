#include "base/str.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"

void dram_str_add(dram_str *s, const char *format, ...)
{
    va_list args, again;
    if (s->failed) return;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !DRAM_GROW(s->text, s->room, (int)s->length + n + 1)) {
        s->failed = true;
    } else {
        vsnprintf(s->text + s->length, (size_t)n + 1, format, again);
        s->length += (size_t)n;
    }
    va_end(again);
}

void dram_str_free(dram_str *s)
{
    dram_free(s->text);
    *s = (dram_str){0};
}

enum { NAME_MAX_LENGTH = 128 };

/* Levenshtein distance with one row; names longer than the bound count as far away. */
static int edit_distance(const char *a, const char *b)
{
    int row[NAME_MAX_LENGTH + 1];
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > NAME_MAX_LENGTH || m > NAME_MAX_LENGTH) return INT_MAX;
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *dram_nearest(const char *name, const char *const *names, int n)
{
    const char *best = NULL;
    int length = (int)strlen(name), limit = length / 3 < 2 ? 2 : length / 3;
    int best_distance = (limit < length ? limit : length - 1) + 1; /* at least one letter must stay */
    for (int i = 0; i < n; i++) {
        int d = edit_distance(name, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

int dram_utf8(const char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    int n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    *code = n > 1 ? *p & (0x7fu >> n) : *p;
    for (int i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    bool is_surrogate = *code >> 11 == 0x1b;
    return *code >= least[n] && *code <= 0x10ffff && !is_surrogate ? n : 0;
}

char *dram_visible(const char *text, char *out, size_t size)
{
    size_t length = 0;
    while (*text) {
        uint32_t code;
        int n = dram_utf8(text, &code);
        bool plain = n && code >= 0x20 && (code < 0x7f || code >= 0xa0);
        size_t room = plain ? (size_t)n : 4;
        if (length + room >= size) break;
        if (plain)
            memcpy(out + length, text, room);
        else
            snprintf(out + length, size - length, "\\x%02X", (unsigned char)*text);
        length += room;
        text += plain ? n : 1;
    }
    out[length] = '\0';
    return out;
}

int dram_stem(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? (int)(dot - name) : (int)strlen(name);
}

char *dram_format_bytes(int64_t bytes, char *out, size_t size)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int u = -1;
    while (u < 3 && fabs(value) >= 1024.0) {
        value /= 1024.0;
        u++;
    }
    if (u < 0)
        snprintf(out, size, "%lld B", (long long)bytes);
    else
        snprintf(out, size, "%.*f %s", fabs(value) < 10 ? 2 : 1, value, unit[u]);
    return out;
}

bool dram_parse_bytes(const char *text, int64_t *bytes)
{
    static const struct {
        const char *name;
        double factor;
    } unit[] = {{"", 1},      {"B", 1},        {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
                {"TB", 1e12}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '.') return false;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) return false;
    double value = strtod(text, &end);
    if (end == text) return false;
    while (*end == ' ') end++;
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) {
        if (strcasecmp(end, unit[i].name) != 0) continue;
        double total = value * unit[i].factor;
        if (!(total >= 0 && total < 0x1p63)) return false;
        *bytes = (int64_t)total;
        return true;
    }
    return false;
}
