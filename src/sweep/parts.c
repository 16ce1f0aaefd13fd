/* What a sweep's spec is made of: its memory, its errors, and what is asked of keys, values and seeds. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sweep/spec.h"

/* ---- what it holds ---- */

void *dram_sweep_keep(dram_sweep_spec *spec, size_t bytes)
{
    void *block = dram_calloc(1, bytes ? bytes : 1);
    if (block && spec->n_blocks % 256 == 0) {
        void **more = dram_realloc(spec->block, (size_t)(spec->n_blocks + 256) * sizeof *more);
        if (more) {
            spec->block = more;
        } else {
            dram_free(block);
            block = NULL;
        }
    }
    if (block)
        spec->block[spec->n_blocks++] = block;
    else
        dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    return block;
}

const char *dram_sweep_keep_text(dram_sweep_spec *spec, const char *text, size_t length)
{
    char *copy = dram_sweep_keep(spec, length + 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

void dram_sweep_spec_free(dram_sweep_spec *spec)
{
    for (int i = 0; i < spec->n_blocks; i++) dram_free(spec->block[i]);
    dram_free(spec->block);
    dram_str_free(&spec->yaml);
    *spec = (dram_sweep_spec){0};
}

/* ---- what is asked of its parts ---- */

dram_status dram_sweep_fail(const dram_config_override *at, const char *key, const char *format, ...)
{
    va_list args;
    char text[800], place[400] = "command line: ";
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (at->file && at->line)
        snprintf(place, sizeof place, "%s:%d:%d: ", at->file, at->line, at->column);
    else if (at->file)
        snprintf(place, sizeof place, "%s: ", at->file);
    return dram_fail(DRAM_ERR_CONFIG, "%s%s%s%s", place, key ? key : "", key ? ": " : "", text);
}

dram_status dram_sweep_check_key(const char *key, const dram_config_override *at)
{
    char word[160];
    int multiple;
    dram_config_override one = *at;
    if (strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") != strlen(key) || strlen(key) > 100)
        return dram_sweep_fail(at, NULL, "\"%.60s\" is no key of a config", key);
    if (strcmp(key, "name") == 0)
        return dram_sweep_fail(at, key, "a run's name is its point's; sweep.name is the name of them all");
    if (strcmp(key, "seed") == 0) return dram_sweep_fail(at, key, "list the seeds as sweep.seeds: [1, 2, 3]");
    if (strcmp(key, "train.stop_at") == 0) return dram_sweep_fail(at, key, "a sweep sets it itself; see sweep.halving");
    if (dram_config_value_of(key, &multiple) == DRAM_CONFIG_SECTION)
        return dram_sweep_fail(at, key, "a section; write its keys with dots, as in optim.lr");
    snprintf(word, sizeof word, "%s=", key);
    one.text = word;
    return dram_config_value_of(key, &multiple) == DRAM_CONFIG_NO_KEY ? dram_config_try(NULL, &one, 1, NULL) : DRAM_OK;
}

dram_status dram_sweep_check_value(const dram_config_override *value)
{
    return dram_config_try(NULL, value, 1, NULL);
}

static bool has_key(const dram_config_override *value, const char *key)
{
    size_t n = strlen(key);
    return strncmp(value->text, key, n) == 0 && value->text[n] == '=';
}

static dram_status twice(const dram_sweep_axis *axis, const dram_config_override *other, const char *how)
{
    char place[400] = "the command line";
    if (other->file) snprintf(place, sizeof place, "%s:%d:%d", other->file, other->line, other->column);
    return dram_sweep_fail(&axis->at, axis->key, "it is %s by %s already: a key has one place", how, place);
}

dram_status dram_sweep_check_twice(const dram_sweep_spec *spec)
{
    for (int i = 0; i < spec->n_grid + spec->n_random; i++) {
        const dram_sweep_axis *axis = i < spec->n_grid ? &spec->grid[i] : &spec->random[i - spec->n_grid];
        for (int k = 0; k < i; k++) {
            const dram_sweep_axis *other = k < spec->n_grid ? &spec->grid[k] : &spec->random[k - spec->n_grid];
            if (strcmp(axis->key, other->key) == 0) return twice(axis, &other->at, "swept");
        }
        for (int k = 0; k < spec->set.n; k++)
            if (has_key(&spec->set.set[k], axis->key)) return twice(axis, &spec->set.set[k], "set");
    }
    return DRAM_OK;
}

bool dram_sweep_is_name(const char *text)
{
    bool good = *text && strlen(text) <= 200 && *text != '.';
    for (const char *c = text; good && *c; c++) good = *c != '/' && !iscntrl((unsigned char)*c);
    return good;
}

bool dram_sweep_parse_seed(const char *text, int64_t *seed)
{
    char *end;
    errno = 0;
    *seed = strtoll(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0;
}

static int compare_seeds(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

dram_status dram_sweep_check_seeds(const dram_sweep_spec *spec, const dram_config_override *at)
{
    int64_t sorted[DRAM_SWEEP_SEEDS];
    if (spec->n_seeds == 0) return DRAM_OK;
    memcpy(sorted, spec->seeds, (size_t)spec->n_seeds * sizeof *sorted);
    qsort(sorted, (size_t)spec->n_seeds, sizeof *sorted, compare_seeds);
    for (int i = 1; i < spec->n_seeds; i++)
        if (sorted[i] == sorted[i - 1])
            return dram_sweep_fail(at, "sweep.seeds", "%lld is there twice", (long long)sorted[i]);
    return DRAM_OK;
}
