/* html: whether a page is well-formed, as far as dram writes HTML; and what stands in it. Include after cmocka.h. */
#ifndef DRAM_TESTS_PAGE_HTML_H
#define DRAM_TESTS_PAGE_HTML_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Behind an entity, or NULL: it is none that dram writes. */
static inline const char *html_entity(const char *p)
{
    static const char *const entity[] = {"&lt;", "&gt;", "&amp;", "&quot;"};
    for (int i = 0; i < 4; i++)
        if (!strncmp(p, entity[i], strlen(entity[i]))) return p + strlen(entity[i]);
    if (p[1] != '#') return NULL;
    const char *end = p + 2;
    while (isdigit((unsigned char)*end)) end++;
    return end > p + 2 && *end == ';' ? end + 1 : NULL;
}

/* Where it is not well-formed: tags balance, attribute values are quoted, & begins an entity, and no number is none.
 * What stands in <style> and <script> is passed over. NULL: it is. */
static inline const char *html_fault(const char *p)
{
    char open[32][16];
    int depth = 0;
    if (!strncmp(p, "<!DOCTYPE html>\n", 16)) p += 16;
    while (*p) {
        if (*p == '&') {
            const char *behind = html_entity(p);
            if (!behind) return p;
            p = behind;
            continue;
        }
        if (*p != '<') {
            if (depth == 0 && !isspace((unsigned char)*p)) return p;
            p++;
            continue;
        }
        const char *start = p++;
        bool closing = *p == '/';
        char name[16];
        int n = 0;
        if (closing) p++;
        while (isalnum((unsigned char)*p) && n < 15) name[n++] = *p++;
        name[n] = '\0';
        if (!n) return start;
        while (*p && *p != '>' && *p != '/') {
            if (*p++ != ' ') return start;
            while (isalnum((unsigned char)*p) || *p == '-') p++;
            if (p[0] != '=' || p[1] != '"') return start;
            for (p += 2; *p && *p != '"'; p++)
                if (*p == '<' || !strncmp(p, "nan", 3) || !strncmp(p, "inf ", 4)) return start;
            if (*p++ != '"') return start;
        }
        bool empty = *p == '/' && !closing;
        if (empty) p++;
        if (*p++ != '>') return start;
        if (closing) {
            if (depth == 0 || strcmp(open[--depth], name) != 0) return start;
        } else if (!empty) {
            if (depth == 32) return start;
            memcpy(open[depth++], name, sizeof name);
            const char *raw = !strcmp(name, "style")    ? strstr(p, "</style>")
                              : !strcmp(name, "script") ? strstr(p, "</script>")
                                                        : p;
            if (!raw) return start;
            p = raw;
        }
    }
    return depth == 0 ? NULL : p;
}

static inline void assert_well_formed(const char *text)
{
    const char *fault = text ? html_fault(text) : "nothing";
    if (fault) fail_msg("not well-formed: %.120s", fault);
}

static inline void assert_has(const char *text, const char *what)
{
    if (!strstr(text, what)) fail_msg("\"%s\" is not there", what);
}

static inline void assert_has_not(const char *text, const char *what)
{
    const char *at = strstr(text, what);
    if (at) fail_msg("\"%s\" is there: %.80s", what, at);
}

static inline int count_of(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = strstr(text, what); p; p = strstr(p + 1, what)) n++;
    return n;
}

/* The number that stands under a key: <data value="0.5" data-key="miou">. */
static inline double number_at(const char *text, const char *key)
{
    char tag[96];
    snprintf(tag, sizeof tag, "\" data-key=\"%s\">", key);
    const char *at = strstr(text, tag);
    if (!at) fail_msg("there is no number %s", key);
    while (at > text && strncmp(at, "value=\"", 7) != 0) at--;
    return strtod(at + 7, NULL);
}

#endif
