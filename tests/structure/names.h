/* names: the public names of C and CUDA headers, read as text.
 *
 * Macros of the headers are expanded, so that names made by a list (DRAM_OP_LIST) are seen too. What lies in the body
 * of a function or in a struct is left out. */
#ifndef DRAM_TESTS_NAMES_H
#define DRAM_TESTS_NAMES_H

#include "base/alloc.h"
#include "base/str.h"
#include "structure/sources.h"

enum { MAX_MACROS = 4096, MAX_NAMES = 16384, MAX_INCLUDES = 4096, MAX_TOKENS = 65536, NAME_ROOM = 96, MAX_PARAMS = 16 };

typedef struct {
    char name[NAME_ROOM];
    int params; /* -1: it takes none */
    char param[MAX_PARAMS][NAME_ROOM];
    char *body;
} macro;

typedef enum { OTHER, FORWARD, STRUCT } name_kind; /* typedef struct x x; and struct x {...}; */

typedef struct {
    char name[NAME_ROOM];
    const char *header;
    name_kind kind;
} place;

typedef struct {
    const char *header;
    char name[MAX_PATH];
} include;

typedef struct {
    int macros, names, includes;
    macro macro[MAX_MACROS];
    place name[MAX_NAMES];
    include include[MAX_INCLUDES];
} reader;

static inline bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The token at or after *at, and *at behind it; its length, 0 at the end of the text. */
static inline int next_token(const char **at, const char **token)
{
    const char *p = *at;
    while (isspace((unsigned char)*p)) p++;
    *token = p;
    if (*p == '"' || *p == '\'')
        p = source_after_quote(p);
    else if (is_word(*p))
        while (is_word(*p)) p++;
    else if (strncmp(p, "##", 2) == 0)
        p += 2;
    else if (*p)
        p++;
    *at = p;
    return (int)(p - *token);
}

static inline bool is(const char *token, int n, const char *text)
{
    return (int)strlen(text) == n && memcmp(token, text, (size_t)n) == 0;
}

/* ---- macros ---- */

static inline macro *find_macro(reader *r, const char *name, int n)
{
    for (int i = r->macros - 1; i >= 0; i--)
        if (is(name, n, r->macro[i].name)) return &r->macro[i];
    return NULL;
}

/* One argument of a call, or parameter of a definition: from `at` to the comma or closing parenthesis. */
static inline const char *end_of_argument(const char *at)
{
    int depth = 0;
    while (*at) {
        if (*at == '"' || *at == '\'') {
            at = source_after_quote(at);
            continue;
        }
        if (depth == 0 && (*at == ',' || *at == ')')) break;
        depth += (*at == '(') - (*at == ')');
        at++;
    }
    return at;
}

/* Reads what follows #define. */
static inline void define(reader *r, const char *at, const char *end)
{
    const char *token;
    int n = next_token(&at, &token);
    macro *m = find_macro(r, token, n);
    assert_true(n > 0 && n < NAME_ROOM);
    if (!m) {
        assert_true(r->macros < MAX_MACROS);
        m = &r->macro[r->macros++];
    } else {
        free(m->body);
    }
    snprintf(m->name, sizeof m->name, "%.*s", n, token);
    m->params = -1;
    if (*at == '(') {
        m->params = 0;
        for (at++; *at != ')';) {
            const char *stop = end_of_argument(at);
            n = next_token(&at, &token);
            assert_true(m->params < MAX_PARAMS && n < NAME_ROOM);
            snprintf(m->param[m->params++], NAME_ROOM, "%.*s", *token == '.' ? 3 : n, token);
            at = *stop == ',' ? stop + 1 : stop;
        }
        at++;
    }
    m->body = strndup(at, at < end ? (size_t)(end - at) : 0);
}

static inline void undefine(reader *r, const char *at)
{
    const char *token;
    int n = next_token(&at, &token);
    macro *m = find_macro(r, token, n);
    if (!m) return;
    free(m->body);
    *m = r->macro[--r->macros];
}

/* The body with the arguments put in; `##` joins its neighbours. */
static inline void put_arguments(const macro *m, const char *const *argument, const int *length, dram_str *out)
{
    const char *token, *at = m->body;
    bool joins = true;
    for (int n; (n = next_token(&at, &token)) > 0;) {
        int p = m->params;
        while (--p >= 0)
            if (is(token, n, strcmp(m->param[p], "...") == 0 ? "__VA_ARGS__" : m->param[p])) break;
        if (is(token, n, "##")) {
            joins = true;
            continue;
        }
        if (p >= 0) {
            n = length[p];
            token = argument[p];
        }
        dram_str_add(out, "%s%.*s", joins ? "" : " ", n, token);
        joins = false;
    }
}

static inline void expand(reader *r, const char *text, int depth, dram_str *out);

/* A call of m whose parenthesis is at `at`; returns where it ends. */
static inline const char *call_macro(reader *r, const macro *m, const char *at, int depth, dram_str *out)
{
    const char *argument[MAX_PARAMS] = {0}, *token;
    int length[MAX_PARAMS] = {0};
    dram_str body = {0};
    if (m->params >= 0) next_token(&at, &token);
    for (int i = 0; i < m->params; i++) {
        const char *end = end_of_argument(at);
        while (strcmp(m->param[i], "...") == 0 && *end == ',') end = end_of_argument(end + 1);
        while (isspace((unsigned char)*at)) at++;
        argument[i] = at;
        length[i] = (int)(end - at);
        while (length[i] > 0 && isspace((unsigned char)at[length[i] - 1])) length[i]--;
        at = *end == ',' ? end + 1 : end;
    }
    if (m->params >= 0) next_token(&at, &token);
    put_arguments(m, argument, length, &body);
    if (body.text) expand(r, body.text, depth + 1, out);
    dram_str_free(&body);
    return at;
}

/* Appends the text with its macros expanded. */
static inline void expand(reader *r, const char *text, int depth, dram_str *out)
{
    const char *token, *after, *next;
    for (int n; (n = next_token(&text, &token)) > 0;) {
        const macro *m = depth < 12 && is_word(*token) ? find_macro(r, token, n) : NULL;
        next = text;
        next_token(&next, &after);
        if (m && (m->params < 0 || *after == '('))
            text = call_macro(r, m, text, depth, out);
        else
            dram_str_add(out, "%.*s ", n, token);
    }
}

/* ---- declarations ---- */

typedef struct {
    const char *text;
    int n;
} token;

static inline void add_name(reader *r, const char *header, const char *name, int n, name_kind kind)
{
    if (n <= 0 || !is_word(*name) || isdigit((unsigned char)*name)) return;
    assert_true(r->names < MAX_NAMES && n < NAME_ROOM);
    place *p = &r->name[r->names++];
    *p = (place){.header = header, .kind = kind};
    snprintf(p->name, NAME_ROOM, "%.*s", n, name);
}

static inline void drop_name(reader *r, const char *header, const char *name, int n)
{
    for (int i = r->names - 1; i >= 0; i--)
        if (r->name[i].header == header && is(name, n, r->name[i].name)) r->name[i] = r->name[--r->names];
}

static inline bool token_is(const token *t, const char *text)
{
    return is(t->text, t->n, text);
}

/* Index behind the bracket that closes the one at i. */
static inline int after_bracket(const token *t, int n, int i, const char *open, const char *close)
{
    int depth = 0;
    for (; i < n; i++) {
        depth += token_is(&t[i], open) - token_is(&t[i], close);
        if (depth == 0) return i + 1;
    }
    return n;
}

static inline int add_enumerators(reader *r, const char *header, const token *t, int n, int i)
{
    int end = after_bracket(t, n, i, "{", "}"), depth = 0;
    for (; i < end - 1; i++) {
        if (depth == (token_is(&t[i], ",") ? 1 : 0) && (token_is(&t[i], "{") || token_is(&t[i], ",")))
            add_name(r, header, t[i + 1].text, t[i + 1].n, OTHER);
        depth += token_is(&t[i], "{") || token_is(&t[i], "(");
        depth -= token_is(&t[i], "}") || token_is(&t[i], ")");
    }
    return end;
}

/* The names of one declaration at file scope. */
static inline void add_declaration(reader *r, const char *header, const token *t, int n)
{
    int i = 0;
    if (n > 2 && token_is(&t[0], "template")) {
        if (token_is(&t[2], ">")) return; /* a case of a template that has its name already */
        i = after_bracket(t, n, 1, "<", ">");
    }
    if (i >= n || token_is(&t[i], "static_assert") || token_is(&t[i], "_Static_assert")) return;
    bool type = token_is(&t[i], "typedef"), forward = type && n == i + 5 && token_is(&t[i + 1], "struct");
    const token *last = NULL; /* the last word seen: the name, once what follows a name comes */
    for (; i < n; i++) {
        bool is_enum = token_is(&t[i], "enum");
        if (is_enum || token_is(&t[i], "struct") || token_is(&t[i], "union")) {
            int tag = i + 1;
            bool named = tag + 1 < n && is_word(*t[tag].text);
            int brace = tag + named;
            bool whole = brace < n && token_is(&t[brace], "{");
            if (named && (whole || type || token_is(&t[brace], ";")))
                add_name(r, header, t[tag].text, t[tag].n, forward ? FORWARD : whole && !type ? STRUCT : OTHER);
            i = brace - 1;
            if (whole)
                i = (is_enum ? add_enumerators(r, header, t, n, brace) : after_bracket(t, n, brace, "{", "}")) - 1;
            last = NULL;
        } else if (token_is(&t[i], "(") && i + 2 < n && token_is(&t[i + 1], "*")) {
            last = &t[i + 2]; /* a pointer to a function */
            break;
        } else if (is_word(*t[i].text)) {
            last = &t[i];
        } else if (token_is(&t[i], "<")) {
            i = after_bracket(t, n, i, "<", ">") - 1;
        } else if (!token_is(&t[i], "*") && !token_is(&t[i], "&") && !token_is(&t[i], ":")) {
            break;
        }
    }
    if (last && !forward) add_name(r, header, last->text, last->n, OTHER);
}

/* Words with an argument that stand before a name and are none. */
static inline bool is_attribute(const token *t)
{
    static const char *const words[] = {"__attribute__", "__align__", "alignas", "_Alignas", "__launch_bounds__"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (token_is(t, words[i])) return true;
    return false;
}

/* Cuts expanded text into declarations; what lies in a function's body is left out. */
static inline void add_declarations(reader *r, const char *header, const char *text)
{
    static token t[MAX_TOKENS];
    int n = 0, parentheses = 0, braces = 0;
    bool assigned = false, called = false;
    for (token now; (now.n = next_token(&text, &now.text)) > 0;) {
        if (n > 0 && is_attribute(&t[n - 1]) && token_is(&now, "(")) { /* left out with its argument */
            for (int depth = 1; depth > 0 && (now.n = next_token(&text, &now.text)) > 0;)
                depth += token_is(&now, "(") - token_is(&now, ")");
            n--;
            continue;
        }
        bool outside = parentheses == 0 && braces == 0;
        if (outside && token_is(&now, "{") && n > 0 && (t[n - 1].text[0] == '"' || token_is(&t[0], "namespace"))) {
            n = 0; /* extern "C" { */
            continue;
        }
        if (outside && token_is(&now, "}")) continue; /* and its end */
        assert_true(n < MAX_TOKENS);
        t[n++] = now;
        assigned |= outside && token_is(&now, "=");
        called |= outside && token_is(&now, "(") && !assigned && !token_is(&t[0], "typedef");
        parentheses += token_is(&now, "(") - token_is(&now, ")");
        braces += token_is(&now, "{") - token_is(&now, "}");
        bool body = token_is(&now, "}") && called;
        if (parentheses > 0 || braces > 0 || !(body || token_is(&now, ";"))) continue;
        add_declaration(r, header, t, n);
        n = 0;
        assigned = called = false;
    }
    if (n || braces || parentheses) fail_msg("%s: a declaration does not end", header);
}

/* ---- headers ---- */

static inline void read_text(reader *r, const char *header, char *text, dram_str *out);

static inline void add_include(reader *r, const char *header, const char *name, int n)
{
    if (n < 2 || *name != '"') return;
    assert_true(r->includes < MAX_INCLUDES && n < MAX_PATH);
    include *i = &r->include[r->includes++];
    i->header = header;
    snprintf(i->name, sizeof i->name, "%.*s", n - 2, name + 1);
}

static inline bool has_include(const reader *r, const char *header, const char *other)
{
    for (int i = 0; i < r->includes; i++) {
        size_t n = strlen(r->include[i].name), m = strlen(other);
        if (r->include[i].header == header && n <= m && strcmp(other + m - n, r->include[i].name) == 0) return true;
    }
    return false;
}

/* A line that begins with #. */
static inline void read_directive(reader *r, const char *header, const char *line, const char *end, char *guard,
                                  dram_str *out)
{
    const char *at = strchr(line, '#') + 1, *word, *name;
    int n = next_token(&at, &word);
    const char *rest = at;
    int length = next_token(&at, &name);
    if (is(word, n, "ifndef")) snprintf(guard, NAME_ROOM, "%.*s", length, name);
    if (is(word, n, "define")) {
        define(r, rest, end);
        if (!is(name, length, guard)) add_name(r, header, name, length, OTHER);
    } else if (is(word, n, "undef")) {
        undefine(r, rest);
        drop_name(r, header, name, length);
    } else if (is(word, n, "include")) {
        add_include(r, header, name, length);
    }
    if (is(word, n, "include") && length > 6 && memcmp(name + length - 5, ".def\"", 5) == 0) {
        char path[MAX_PATH];
        snprintf(path, sizeof path, "src/%.*s", length - 2, name + 1);
        char *rows = source_text(path);
        read_text(r, header, rows, out);
        free(rows);
    }
}

/* Appends what the text declares, macros expanded; takes in its macros. The text is written over. */
static inline void read_text(reader *r, const char *header, char *text, dram_str *out)
{
    char guard[NAME_ROOM] = "";
    source_strip(text);
    char *from = text;
    for (char *line = text, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        bool directive = line[strspn(line, " \t")] == '#';
        bool last = *end == '\0';
        *end = '\0';
        if (directive) {
            char hash = *line;
            *line = '\0'; /* what stands before it, first */
            expand(r, from, 0, out);
            *line = hash;
            read_directive(r, header, line, end, guard, out);
            from = last ? end : end + 1;
        } else if (!last) {
            *end = ' ';
        }
        if (!last) end++;
    }
    expand(r, from, 0, out);
}

static inline void read_header(reader *r, const char *header, char *text)
{
    dram_str out = {0};
    read_text(r, header, text, &out);
    assert_false(out.failed);
    if (out.text) add_declarations(r, header, out.text);
    dram_str_free(&out);
}

static inline int by_name(const void *a, const void *b)
{
    const place *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->header, y->header);
}

/* Whether b says what the struct holds that a, which it includes, has named. */
static inline bool is_same_type(const reader *r, const place *a, const place *b)
{
    return a->kind == FORWARD && b->kind == STRUCT && has_include(r, b->header, a->header);
}

/* Appends "NAME stands in A and in B" for every clash; returns their number. */
static inline int clashes(reader *r, dram_str *out)
{
    int found = 0;
    qsort(r->name, (size_t)r->names, sizeof r->name[0], by_name);
    for (int i = 1; i < r->names; i++) {
        const place *a = &r->name[i - 1], *b = &r->name[i];
        if (strcmp(a->name, b->name) != 0 || strcmp(a->header, b->header) == 0) continue;
        if (is_same_type(r, a, b) || is_same_type(r, b, a)) continue;
        dram_str_add(out, "\n%s stands in %s and in %s", a->name, a->header, b->header);
        found++;
    }
    return found;
}

static inline reader *reader_open(void)
{
    reader *r = calloc(1, sizeof *r);
    assert_non_null(r);
    return r;
}

static inline void reader_close(reader *r)
{
    for (int i = 0; i < r->macros; i++) free(r->macro[i].body);
    free(r);
}

static inline bool has_name(const reader *r, const char *name)
{
    for (int i = 0; i < r->names; i++)
        if (strcmp(r->name[i].name, name) == 0) return true;
    return false;
}

#endif
