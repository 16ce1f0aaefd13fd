/* The words of a command line, key=a,b,c, put beside what a sweep file says. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "io/path.h"
#include "sweep/spec.h"

static const dram_config_override here = {0}; /* the command line */

size_t dram_sweep_part(const char *text, char mark)
{
    int depth = 0;
    char quote = '\0';
    size_t i = 0;
    for (; text[i] && (text[i] != mark || depth > 0 || quote); i++) {
        if (quote && quote == '"' && text[i] == '\\' && text[i + 1])
            i++;
        else if (quote)
            quote = text[i] == quote ? '\0' : quote;
        else if (strchr("\"'", text[i]))
            quote = text[i];
        else if (strchr("[{", text[i]))
            depth++;
        else if (strchr("]}", text[i]))
            depth--;
    }
    return i;
}

static int count_values(const char *text)
{
    int n = 1;
    for (size_t length; text[length = dram_sweep_part(text, ',')]; text += length + 1) n++;
    return n;
}

/* Calls for each value: the next one into `one`, and the rest is returned; NULL: that was the last. */
static const char *next_value(const char *text, char *one, size_t size)
{
    size_t length = dram_sweep_part(text, ',');
    snprintf(one, size, "%.*s", (int)length, text);
    return text[length] ? text + length + 1 : NULL;
}

static dram_status take_seeds(dram_sweep_spec *spec, const char *text)
{
    char one[64];
    if (spec->n_seeds) return dram_sweep_fail(&here, "seed", "sweep.seeds of the file, or seed= : a key has one place");
    int n = count_values(text);
    if (n > DRAM_SWEEP_SEEDS) return dram_sweep_fail(&here, "seed", "%d seeds; at most %d", n, DRAM_SWEEP_SEEDS);
    spec->seeds = dram_sweep_keep(spec, (size_t)n * sizeof *spec->seeds);
    if (!spec->seeds) return DRAM_ERR_MEMORY;
    while (text) {
        text = next_value(text, one, sizeof one);
        if (!dram_sweep_parse_seed(one, &spec->seeds[spec->n_seeds++]))
            return dram_sweep_fail(&here, "seed", "\"%s\" is no whole number of 0 or more", one);
    }
    return dram_sweep_check_seeds(spec, &here);
}

static dram_status take_name(dram_sweep_spec *spec, const char *text)
{
    if (!dram_sweep_is_name(text))
        return dram_sweep_fail(&here, "name",
                               "names a folder inside run.dir: 1 to 200 characters, no / among them, no . first");
    spec->name = dram_sweep_keep_text(spec, text, strlen(text));
    return spec->name ? DRAM_OK : DRAM_ERR_MEMORY;
}

/* One "key=value" of the word. */
static dram_status keep_value(dram_sweep_spec *spec, const char *key, const char *value, size_t length,
                              dram_config_override *out)
{
    dram_str text = {0};
    dram_str_add(&text, "%s=%.*s", key, (int)length, value);
    *out = (dram_config_override){.text = text.failed ? NULL : dram_sweep_keep_text(spec, text.text, text.length)};
    dram_str_free(&text);
    if (!out->text) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    return dram_sweep_check_value(out);
}

/* The command line wins over sweep.set. */
static dram_config_override *place_in_set(dram_sweep_group *set, const char *key)
{
    size_t length = strlen(key);
    for (int i = 0; i < set->n; i++)
        if (set->set[i].file && strncmp(set->set[i].text, key, length) == 0 && set->set[i].text[length] == '=')
            return &set->set[i];
    return &set->set[set->n++];
}

static void drop_from_set(dram_sweep_group *set, const char *key)
{
    int before = set->n;
    dram_config_override *at = place_in_set(set, key);
    set->n = before;
    if (at == &set->set[before]) return;
    memmove(at, at + 1, (size_t)(&set->set[before] - (at + 1)) * sizeof *at);
    set->n--;
}

static dram_status take_word(dram_sweep_spec *spec, const char *word)
{
    char key[128];
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return dram_sweep_fail(&here, NULL, "\"%.60s\" is not of the form key=value or key=a,b,c", word);
    snprintf(key, sizeof key, "%.*s", (int)(equals - word < 120 ? equals - word : 120), word);
    if (strcmp(key, "seed") == 0) return take_seeds(spec, equals + 1);
    if (strcmp(key, "name") == 0) return take_name(spec, equals + 1);
    TRY(dram_sweep_check_key(key, &here));
    int n = count_values(equals + 1);
    if (n == 1) return keep_value(spec, key, equals + 1, strlen(equals + 1), place_in_set(&spec->set, key));
    if (strcmp(key, "run.dir") == 0) return dram_sweep_fail(&here, key, "a sweep has one folder: give one value");
    drop_from_set(&spec->set, key);
    dram_sweep_axis *axis = &spec->grid[spec->n_grid++];
    *axis = (dram_sweep_axis){.key = dram_sweep_keep_text(spec, key, strlen(key)), .n = n};
    axis->value = dram_sweep_keep(spec, (size_t)n * sizeof *axis->value);
    if (!axis->key || !axis->value) return DRAM_ERR_MEMORY;
    const char *value = equals + 1;
    for (int i = 0; i < n; i++) {
        size_t length = dram_sweep_part(value, ',');
        TRY(keep_value(spec, key, value, length, &axis->value[i]));
        value += length + 1;
    }
    return DRAM_OK;
}

/* Room for as many more as there are words. */
static dram_status make_room(dram_sweep_spec *spec, int n)
{
    dram_config_override *set = dram_sweep_keep(spec, (size_t)(spec->set.n + n) * sizeof *set);
    dram_sweep_axis *grid = dram_sweep_keep(spec, (size_t)(spec->n_grid + n) * sizeof *grid);
    if (!set || !grid) return DRAM_ERR_MEMORY;
    if (spec->set.n) memcpy(set, spec->set.set, (size_t)spec->set.n * sizeof *set);
    if (spec->n_grid) memcpy(grid, spec->grid, (size_t)spec->n_grid * sizeof *grid);
    spec->set.set = set;
    spec->grid = grid;
    return DRAM_OK;
}

/* What was asked for, as text that is kept: a file gets the words as comments; words alone are written as a file. */
static void describe(dram_sweep_spec *spec, const char *const *words, int n)
{
    dram_str *yaml = &spec->yaml;
    if (spec->file) {
        if (yaml->length && yaml->text[yaml->length - 1] != '\n') dram_str_add(yaml, "\n");
        for (int i = 0; i < n; i++) dram_str_add(yaml, "# and of the command line: %s\n", words[i]);
        return;
    }
    dram_str_free(yaml);
    dram_str_add(yaml, "# of the command line: %s", spec->base);
    for (int i = 0; i < n; i++) dram_str_add(yaml, " %s", words[i]);
    dram_str_add(yaml, "\n");
}

dram_status dram_sweep_words(dram_sweep_spec *spec, const char *const *words, int n)
{
    TRY(make_room(spec, n));
    for (int i = 0; i < n; i++) TRY(take_word(spec, words[i]));
    describe(spec, words, n);
    return spec->yaml.failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep") : DRAM_OK;
}
