/* Every key is read by something, and docs/config.md says what `dram config --keys` says. */
#include "structure/sources.h"

#include "config/keys.h"

enum { MOST_FILES = 800, MOST_PARTS = 8 };

/* ---- sources ---- */

/* Blanks comments and literals. */
static void strip(char *text)
{
    for (char *c = text; *c; c++) {
        char *end = NULL;
        if (c[0] == '/' && c[1] == '*') {
            end = strstr(c + 2, "*/");
            end = end ? end + 2 : c + strlen(c);
        } else if (*c == '"' || *c == '\'') {
            for (end = c + 1; *end && *end != *c; end++)
                if (*end == '\\' && end[1]) end++;
            if (*end) end++;
        }
        if (!end) continue;
        while (c < end) *c++ = ' ';
        c--;
    }
}

/* The sources of all layers but config; returns their number. */
static int load_sources(char *text[MOST_FILES])
{
    static source_list list;
    int n = 0;
    list.n = 0;
    sources_below(&list, "src", ".c .h");
    for (int i = 0; i < list.n; i++) {
        if (strncmp(list.path[i], "src/config/", 11) == 0) continue;
        assert_in_range(n, 0, MOST_FILES - 1);
        strip(text[n++] = source_text(list.path[i]));
    }
    return n;
}

/* ---- member accesses ---- */

typedef struct {
    const char *at;
    size_t length;
} word;

static bool is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool same(word a, word b)
{
    return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

static bool is(word a, const char *text)
{
    return same(a, (word){text, strlen(text)});
}

/* The parts of "a.b.c"; returns their number. */
static int split(const char *path, word part[MOST_PARTS])
{
    int n = 0;
    for (const char *c = path; n < MOST_PARTS; c++) {
        part[n] = (word){c, strcspn(c, ".")};
        c += part[n++].length;
        if (!*c) return n;
    }
    fail_msg("%s is too deep", path);
    return 0;
}

/* The words of an access such as s->cfg->data.size, from the last on, for which `last` stands in text; their number. */
static int chain_of(const char *text, word last, word chain[MOST_PARTS])
{
    int n = 0;
    chain[n++] = last;
    for (const char *c = last.at; n < MOST_PARTS;) {
        if (c - text >= 1 && c[-1] == '.')
            c--;
        else if (c - text >= 2 && c[-1] == '>' && c[-2] == '-')
            c -= 2;
        else
            break;
        const char *end = c;
        while (c > text && is_letter(c[-1])) c--;
        chain[n++] = (word){c, (size_t)(end - c)};
        if (c == end) break; /* of what a call or an index gives */
    }
    return n;
}

/* Whether the text declares `name` as (a pointer to) the section that the first n parts make. */
static bool declares(const char *text, const word *part, int n, word name)
{
    char type[128] = "struct dram_config";
    for (int i = 0; i < n; i++)
        snprintf(type + strlen(type), sizeof type - strlen(type), "_%.*s", (int)part[i].length, part[i].at);
    for (const char *c = text; (c = strstr(c, type));) {
        c += strlen(type);
        if (is_letter(*c)) continue;
        c += strspn(c, " *");
        if (strncmp(c, name.at, name.length) == 0 && !is_letter(c[name.length])) return true;
    }
    return false;
}

static bool is_assigned(const char *behind)
{
    behind += strspn(behind, " ");
    if (*behind && strchr("+-*/|&", *behind) && behind[1] == '=') return true;
    return behind[0] == '=' && behind[1] != '=';
}

/* Whether the text reads the member of dram_config: as ...cfg->a.b.c, or as section->c of a pointer to a section. */
static bool reads(const char *text, const char *path)
{
    word part[MOST_PARTS], chain[MOST_PARTS];
    int n = split(path, part);
    word name = part[n - 1];
    for (const char *c = text; (c = strstr(c, name.at)); c += name.length) {
        if ((c > text && is_letter(c[-1])) || is_letter(c[name.length]) || is_assigned(c + name.length)) continue;
        int words = chain_of(text, (word){c, name.length}, chain), equal = 0;
        while (equal < n && equal < words - 1 && same(chain[equal], part[n - 1 - equal])) equal++;
        if (equal == n && (n > 1 || is(chain[n], "cfg"))) return true;
        if (equal < n && equal == words - 1 && equal > 0 && declares(text, part, n - equal, chain[equal])) return true;
    }
    return false;
}

/* ---- tests ---- */

static void every_key_is_read(void **state)
{
    (void)state;
    static char *text[MOST_FILES];
    int files = load_sources(text), keys = 0;
    assert_true(files > 100);
    for (int k = 0; k < dram_n_keys; k++) {
        const char *path = dram_keys[k].path;
        if (dram_keys[k].kind == DRAM_KEY_BASE || dram_keys[k].kind == DRAM_KEY_SECTION) continue;
        if (dram_keys[k].n_words == 1) continue; /* it says what there is; there is nothing to choose by it */
        bool found = false, added = strncmp(path, "sam_distill.loss.add.", 21) == 0; /* which one function reads */
        for (int f = 0; f < files && !found; f++)
            found = added ? strstr(text[f], "dram_config_added(") != NULL : reads(text[f], path);
        if (!found) fail_msg("%s is read by nothing outside src/config", path);
        keys++;
    }
    assert_true(keys > 80);
    for (int f = 0; f < files; f++) free(text[f]);
}

static void what_is_not_read_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text;
        bool read;
    } cases[] = {
        {"data.size", "x = cfg->data.size;", true},
        {"data.size", "x = s->cfg->data.size + 1;", true},
        {"data.size", "if (cfg->data.size == 3)", true},
        {"data.size", "cfg->data.size = 3;", false},
        {"data.size", "cfg->data.size |= 3;", false},
        {"data.size", "x = cfg->data.sizes;", false},
        {"data.size", "x = cfg->metadata.size;", false},
        {"data.size", "x = 1; /* cfg->data.size */", false},
        {"data.size", "f(\"cfg->data.size \\\" cfg->data.size\");", false},
        {"data.size", "size_t size = a->size; data.size;", false},
        {"data.size", "const struct dram_config_data *d; x = d->size;", true},
        {"data.size", "const struct dram_config_data_val *d; x = d->size;", false},
        {"data.size", "const struct dram_config_data *d; x = e->size;", false},
        {"data.train.images", "const struct dram_config_data *d; x = d->train.images;", true},
        {"data.train.images", "const struct dram_config_data *d; x = d->val.images;", false},
        {"data.train.images", "const struct dram_config_data_train *train; x = train->images;", true},
        {"seed", "x = cfg->seed;", true},
        {"seed", "x = rng->seed;", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s", cases[i].text);
        strip(text);
        if (reads(text, cases[i].path) != cases[i].read) fail_msg("%s in: %s", cases[i].path, cases[i].text);
    }
}

/* The page ends with the table: what stands before it is written by hand. */
static bool ends_with_table(const char *page, const char *table)
{
    const char *begin = strstr(page, "| key |");
    return begin && strcmp(begin, table) == 0;
}

static void the_page_of_keys_is_generated(void **state)
{
    (void)state;
    dram_str table = {0};
    assert_int_equal(dram_config_markdown(&table), DRAM_OK);
    char *page = source_text("docs/config.md");
    if (!ends_with_table(page, table.text))
        fail_msg("docs/config.md is stale: its table is what `dram config --keys` prints");
    char *row = strstr(page, "whole number");
    assert_non_null(row);
    *row = 'W'; /* a page that is stale by one letter */
    assert_false(ends_with_table(page, table.text));
    assert_false(ends_with_table("# Keys\n", table.text));
    free(page);
    dram_str_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_is_not_read_is_found),
        cmocka_unit_test(the_page_of_keys_is_generated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
