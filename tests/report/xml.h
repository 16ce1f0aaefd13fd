/* xml: whether a document is well-formed. */
#ifndef DRAM_TESTS_REPORT_XML_H
#define DRAM_TESTS_REPORT_XML_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Where it is not well-formed, as far as dram writes XML: tags balance, attribute values are quoted, & begins an
 * entity, < begins a tag, and no number is none. NULL: it is. */
static inline const char *xml_fault(const char *p)
{
    char open[16][16];
    int depth = 0;
    bool ended = false;
    while (*p) {
        if (*p == '&') {
            static const char *const entity[] = {"&lt;", "&gt;", "&amp;", "&quot;"};
            bool known = false;
            for (int i = 0; i < 4; i++) known |= !strncmp(p, entity[i], strlen(entity[i]));
            if (!known) return p;
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
        while (isalpha((unsigned char)*p) && n < 15) name[n++] = *p++;
        name[n] = '\0';
        if (!n || ended) return start;
        while (*p && *p != '>' && *p != '/') {
            if (*p++ != ' ') return start;
            while (isalnum((unsigned char)*p) || *p == '-') p++;
            if (p[0] != '=' || p[1] != '"') return start;
            for (p += 2; *p != '"'; p++)
                if (!*p || *p == '<' || !strncmp(p, "nan", 3) || !strncmp(p, "inf", 3)) return start;
            p++;
        }
        bool empty = *p == '/' && !closing;
        if (empty) p++;
        if (*p++ != '>') return start;
        if (closing) {
            if (depth == 0 || strcmp(open[--depth], name) != 0) return start;
            ended = depth == 0;
        } else if (!empty) {
            if (depth == 16) return start;
            memcpy(open[depth++], name, sizeof name);
        }
    }
    return ended ? NULL : p;
}

#endif
