/* One word of YAML becomes one checked value. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "config/keys.h"

dram_status dram_config_no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "out of host memory while handling the config");
}

dram_status dram_config_error(const char *where, const char *key, const char *format, va_list args)
{
    char text[1536];
    size_t n = 0;
    int added = snprintf(text, sizeof text / 2, "%s%s%s%s", where, *where ? ": " : "", key ? key : "", key ? ": " : "");
    if (added > 0) n = (size_t)added < sizeof text / 2 ? (size_t)added : sizeof text / 2 - 1;
    vsnprintf(text + n, sizeof text - n, format, args);
    return dram_fail(DRAM_ERR_CONFIG, "%s", text);
}

dram_status dram_key_fail(const dram_key_place *place, const char *key, const char *format, ...)
{
    char where[PATH_MAX];
    va_list args;
    if (!place->file)
        snprintf(where, sizeof where, "command line");
    else if (!place->line)
        snprintf(where, sizeof where, "%s", place->file);
    else
        snprintf(where, sizeof where, "%s:%d:%d", place->file, place->line, place->column);
    va_start(args, format);
    dram_config_error(where, key, format, args);
    va_end(args);
    return DRAM_ERR_CONFIG;
}

static const char *skip_digits(const char *p)
{
    while (isdigit((unsigned char)*p)) p++;
    return p;
}

/* [-+]? digits  |  [-+]? (digits . digits? | . digits | digits) ([eE] [-+]? digits)?  |  [-+]? .inf  |  .nan */
static dram_scalar_kind classify_number(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (strcasecmp(p, ".inf") == 0 || strcasecmp(text, ".nan") == 0) return DRAM_SCALAR_REAL;
    const char *whole = p;
    p = skip_digits(p);
    long digits = p - whole;
    if (digits > 0 && *p == '\0') return DRAM_SCALAR_INTEGER;
    if (*p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p);
        digits += p - fraction;
    }
    if (digits == 0) return DRAM_SCALAR_TEXT;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        if (!isdigit((unsigned char)*p)) return DRAM_SCALAR_TEXT;
        p = skip_digits(p);
    }
    return *p == '\0' ? DRAM_SCALAR_REAL : DRAM_SCALAR_TEXT;
}

static bool is_any_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0) return true;
    return false;
}

dram_scalar_kind dram_scalar_classify(const dram_scalar *s)
{
    static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const bool_words[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    if (!s->plain) return DRAM_SCALAR_TEXT;
    if (is_any_of(s->text, null_words)) return DRAM_SCALAR_NULL;
    if (is_any_of(s->text, bool_words)) return DRAM_SCALAR_BOOL;
    return classify_number(s->text);
}

dram_status dram_key_unexpected(const dram_key *key, const dram_key_place *place, const char *found)
{
    dram_str expected = {0};
    dram_key_describe(key, &expected);
    if (expected.failed)
        dram_config_no_memory();
    else
        dram_key_fail(place, key->path, "expected %s, found %s", expected.text, found);
    dram_status status = expected.failed ? DRAM_ERR_MEMORY : DRAM_ERR_CONFIG;
    dram_str_free(&expected);
    return status;
}

const char *dram_scalar_told(const dram_scalar *s, const dram_key_place *place, char out[DRAM_TOLD])
{
    dram_scalar_kind kind = dram_scalar_classify(s);
    bool number = kind == DRAM_SCALAR_INTEGER || kind == DRAM_SCALAR_REAL;
    if (kind == DRAM_SCALAR_NULL) return strcpy(out, "nothing");
    if (place->file)
        return strcpy(out, kind == DRAM_SCALAR_BOOL      ? "true or false"
                           : kind == DRAM_SCALAR_INTEGER ? "a whole number"
                           : number                      ? "a number with a point or an exponent"
                           : s->plain                    ? "text"
                                                         : "text in quotes");
    snprintf(out, DRAM_TOLD,
             number                     ? "the number %.60s"
             : kind == DRAM_SCALAR_TEXT ? "the text \"%.60s\""
                                        : "%.60s",
             s->text);
    return out;
}

static dram_status wrong_type(const dram_key *key, const dram_scalar *s, const dram_key_place *place)
{
    char told[DRAM_TOLD], found[160];
    dram_scalar_kind kind = dram_scalar_classify(s);
    bool wants_text = key->kind == DRAM_KEY_TEXT || key->kind == DRAM_KEY_INPUT || key->kind == DRAM_KEY_OUTPUT ||
                      key->kind == DRAM_KEY_TEXTS;
    bool nothing = kind == DRAM_SCALAR_NULL;
    const char *advice = nothing && dram_key_has_keyword(key, "none") ? " (write none)"
                         : nothing && key->kind == DRAM_KEY_MAP       ? " (put a colour in quotes: # begins a comment)"
                         : !nothing && kind != DRAM_SCALAR_TEXT && wants_text ? " (put it in quotes)"
                                                                              : "";
    snprintf(found, sizeof found, "%s%s", dram_scalar_told(s, place, told), advice);
    return dram_key_unexpected(key, place, found);
}

static dram_status out_of_range(const dram_key *key, const dram_scalar *s, const dram_key_place *place)
{
    char shown[64] = "";
    dram_str range = {0};
    dram_key_describe_range(key, &range);
    if (!place->file) snprintf(shown, sizeof shown, "%.58s is ", s->text);
    const char *noun = key->kind == DRAM_KEY_BYTES  ? "number of bytes"
                       : key->kind == DRAM_KEY_REAL ? "number"
                                                    : "whole number";
    if (range.failed)
        dram_config_no_memory();
    else
        dram_key_fail(place, key->path, "%sout of range: expected a %s %s", shown, noun, range.text);
    dram_status status = range.failed ? DRAM_ERR_MEMORY : DRAM_ERR_CONFIG;
    dram_str_free(&range);
    return status;
}

static dram_status read_integer(const dram_key *key, const dram_scalar *s, const dram_key_place *place, int64_t *out)
{
    if (dram_scalar_classify(s) != DRAM_SCALAR_INTEGER) return wrong_type(key, s, place);
    errno = 0;
    long long v = strtoll(s->text, NULL, 10);
    if (errno == ERANGE || v < key->low || v > key->high || v % key->multiple) return out_of_range(key, s, place);
    *out = v;
    return DRAM_OK;
}

static dram_status read_real(const dram_key *key, const dram_scalar *s, const dram_key_place *place, double *out)
{
    dram_scalar_kind kind = dram_scalar_classify(s);
    if (kind != DRAM_SCALAR_INTEGER && kind != DRAM_SCALAR_REAL) return wrong_type(key, s, place);
    if (isalpha((unsigned char)s->text[s->length - 1])) return out_of_range(key, s, place); /* .inf, .nan */
    double v = strtod(s->text, NULL);
    bool low_enough = v <= key->real_high;
    bool high_enough = key->open ? v > key->real_low : v >= key->real_low;
    if (!isfinite(v) || !low_enough || !high_enough) return out_of_range(key, s, place);
    *out = v == 0 ? 0 : v; /* -0 is 0 */
    return DRAM_OK;
}

static dram_status read_bytes(const dram_key *key, const dram_scalar *s, const dram_key_place *place, int64_t *out)
{
    if (s->plain && dram_key_has_keyword(key, s->text)) {
        *out = strcmp(s->text, "auto") == 0 ? DRAM_BYTES_AUTO : DRAM_BYTES_NONE;
        return DRAM_OK;
    }
    dram_scalar_kind kind = dram_scalar_classify(s);
    if (kind == DRAM_SCALAR_INTEGER) return read_integer(key, s, place, out);
    if (kind != DRAM_SCALAR_TEXT) return wrong_type(key, s, place);
    bool negative = s->text[0] == '-';
    if (!dram_parse_bytes(s->text + negative, out)) return wrong_type(key, s, place);
    if (negative || *out < key->low) return out_of_range(key, s, place);
    return DRAM_OK;
}

/* The absolute path of `text` as written in `folder`, which is absolute and has no links in it: a leading ".." can be
 * taken off by its name. NULL when memory is out. */
static char *absolute_path(const char *folder, const char *text)
{
    if (text[0] == '/') return dram_strdup(text);
    size_t n = strlen(folder);
    for (;;) {
        bool up = strncmp(text, "..", 2) == 0 && (text[2] == '/' || text[2] == '\0');
        bool here = text[0] == '.' && (text[1] == '/' || text[1] == '\0');
        if (!up && !here) break;
        text += up ? 2 : 1;
        while (*text == '/') text++;
        if (up)
            while (n > 1 && folder[--n] != '/') {
            }
    }
    if (n == 1) n = 0; /* the root: its slash is added below */
    size_t length = strlen(text);
    char *path = dram_alloc(n + length + 2);
    if (!path) return NULL;
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, text, length + 1);
    if (length == 0 && n > 0) path[n] = '\0';
    return path;
}

/* What follows a leading ~, in the home folder. */
static dram_status in_home(const dram_key *key, const char *rest, const dram_key_place *place, char **out)
{
    const char *home = getenv("HOME");
    if (!home || home[0] != '/')
        return dram_key_fail(place, key->path, "what begins with ~ is in the home folder, and HOME does not name one");
    size_t n = strlen(home);
    while (*rest && n > 0 && home[n - 1] == '/') n--; /* the rest begins with one */
    *out = dram_alloc(n + strlen(rest) + 1);
    if (!*out) return dram_config_no_memory();
    memcpy(*out, home, n);
    strcpy(*out + n, rest);
    return DRAM_OK;
}

static bool is_in_home(const dram_key *key, const char *text)
{
    bool is_path = key->kind == DRAM_KEY_INPUT || key->kind == DRAM_KEY_OUTPUT || key->kind == DRAM_KEY_BASE;
    return is_path && text[0] == '~' && (text[1] == '/' || text[1] == '\0');
}

static dram_status read_text(const dram_key *key, const dram_scalar *s, const dram_key_place *place, char **out)
{
    *out = NULL;
    bool keyword = s->plain && dram_key_has_keyword(key, s->text);
    if (keyword && strcmp(s->text, "none") == 0) return DRAM_OK;
    dram_scalar_kind kind = dram_scalar_classify(s);
    /* A shell eats quotes, so on the command line a number may stand for a text. */
    bool number = kind == DRAM_SCALAR_INTEGER || kind == DRAM_SCALAR_REAL;
    if (kind != DRAM_SCALAR_TEXT && !(number && !place->file)) return wrong_type(key, s, place);
    if (s->length == 0) return dram_key_fail(place, key->path, "must not be empty");
    if (is_in_home(key, s->text)) return in_home(key, s->text + 1, place, out);
    bool resolve = key->kind == DRAM_KEY_INPUT && !keyword;
    *out = resolve ? absolute_path(place->folder, s->text) : dram_strdup(s->text);
    return *out ? DRAM_OK : dram_config_no_memory();
}

static dram_status read_word(const dram_key *key, const dram_scalar *s, const dram_key_place *place, int64_t *out)
{
    if (dram_scalar_classify(s) != DRAM_SCALAR_TEXT) return wrong_type(key, s, place);
    for (int i = 0; i < key->n_words; i++) {
        if (strcmp(s->text, key->words[i]) != 0) continue;
        *out = key->kind == DRAM_KEY_CHOICES ? (int64_t)1 << i : i;
        return DRAM_OK;
    }
    dram_str all = {0};
    for (int i = 0; i < key->n_words; i++) dram_str_add(&all, "%s%s", i ? ", " : "", key->words[i]);
    if (all.failed) {
        dram_str_free(&all);
        return dram_config_no_memory();
    }
    const char *nearest = dram_nearest(s->text, key->words, key->n_words);
    char shown[80] = "";
    if (!place->file) snprintf(shown, sizeof shown, " \"%.60s\"", s->text);
    if (nearest)
        dram_key_fail(place, key->path, "unknown value%s, did you mean %s? It may be: %s", shown, nearest, all.text);
    else
        dram_key_fail(place, key->path, "unknown value%s; it may be: %s", shown, all.text);
    dram_str_free(&all);
    return DRAM_ERR_CONFIG;
}

dram_status dram_key_add_step(const dram_key *key, const dram_scalar *from, int64_t value, const dram_key_place *place,
                              dram_steps *steps)
{
    const dram_key step = {.path = key->path, .kind = DRAM_KEY_INT64, .high = INT_MAX, .multiple = 1, .keywords = ""};
    int64_t at = 0;
    TRY(read_integer(&step, from, place, &at));
    int n = steps->n;
    if (n == 0 && at != 0) return dram_key_fail(place, key->path, "the first step must be 0");
    if (n > 0 && at <= steps->from[n - 1])
        return dram_key_fail(place, key->path, "the steps must rise from one to the next");
    if (n == DRAM_STEPS) return dram_key_fail(place, key->path, "at most %d steps", DRAM_STEPS);
    steps->from[n] = at;
    steps->value[n] = (int)value;
    steps->n++;
    return DRAM_OK;
}

dram_status dram_key_read(const dram_key *key, const dram_scalar *s, const dram_key_place *place, dram_key_value *value)
{
    *value = (dram_key_value){0};
    if (strlen(s->text) != s->length) return dram_key_fail(place, key->path, "a zero byte is not allowed");
    switch (key->kind) {
    case DRAM_KEY_SECTION:
        break;
    case DRAM_KEY_BOOL:
        if (dram_scalar_classify(s) != DRAM_SCALAR_BOOL) return wrong_type(key, s, place);
        value->integer = tolower((unsigned char)s->text[0]) == 't';
        return DRAM_OK;
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
    case DRAM_KEY_MAP:
        return read_integer(key, s, place, &value->integer);
    case DRAM_KEY_STEPS:
        TRY(read_integer(key, s, place, &value->integer));
        value->steps = dram_steps_always((int)value->integer);
        return DRAM_OK;
    case DRAM_KEY_REAL:
        return read_real(key, s, place, &value->real);
    case DRAM_KEY_BYTES:
        return read_bytes(key, s, place, &value->integer);
    case DRAM_KEY_BASE:
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
    case DRAM_KEY_TEXTS:
        return read_text(key, s, place, &value->text);
    case DRAM_KEY_CHOICE:
    case DRAM_KEY_CHOICES:
        return read_word(key, s, place, &value->integer);
    }
    return wrong_type(key, s, place);
}
