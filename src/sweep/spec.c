#include "sweep/spec.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/path.h"
#include "sweep/nodes.h"

enum { MAX_DEPTH = 4 };

/* ---- values of a config's keys ---- */

static void add_quoted(const char *text, size_t length, dram_str *out)
{
    dram_str_add(out, "\"");
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            dram_str_add(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            dram_str_add(out, "\\x%02x", c);
        else
            dram_str_add(out, "%c", c);
    }
    dram_str_add(out, "\"");
}

/* A value as the command line would have it: flow style, in one line. False: it is nested too deep. */
static bool add_value(const dram_sweep_reader *r, const yaml_node_t *node, int depth, dram_str *out)
{
    const yaml_node_t *value;
    if (depth > MAX_DEPTH) return false;
    if (node->type == YAML_SCALAR_NODE) {
        const char *text = (const char *)node->data.scalar.value;
        size_t length = node->data.scalar.length;
        bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        for (size_t i = 0; i < length; i++) plain &= isalnum((unsigned char)text[i]) || strchr("_./+-~", text[i]);
        if (plain)
            dram_str_add(out, "%.*s", (int)length, text);
        else
            add_quoted(text, length, out);
        return true;
    }
    bool list = node->type == YAML_SEQUENCE_NODE, good = true;
    dram_str_add(out, "%s", list ? "[" : "{");
    for (int i = 0; i < dram_node_count(node) && good; i++) {
        dram_str_add(out, "%s", i ? ", " : "");
        if (!list) {
            good = add_value(r, dram_node_member(r, node, i, &value), depth + 1, out);
            dram_str_add(out, ": ");
        }
        good = good && add_value(r, list ? dram_node_item(r, node, i) : value, depth + 1, out);
    }
    dram_str_add(out, "%s", list ? "]" : "}");
    return good;
}

/* "key=value", checked. */
static dram_status read_override(dram_sweep_reader *r, const char *key, const yaml_node_t *value,
                                 dram_config_override *out)
{
    dram_str text = {0};
    dram_str_add(&text, "%s=", key);
    if (!add_value(r, value, 0, &text)) {
        dram_str_free(&text);
        FAIL(value, key, "nested too deep");
    }
    *out = dram_node_place(r, value);
    out->text = text.failed ? NULL : dram_sweep_keep_text(r->spec, text.text, text.length);
    dram_str_free(&text);
    if (!out->text) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    return dram_sweep_check_value(out);
}

static dram_status check_key(dram_sweep_reader *r, const char *key, const yaml_node_t *at)
{
    const dram_config_override place = dram_node_place(r, at);
    return dram_sweep_check_key(key, &place);
}

static dram_status read_set_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                   const yaml_node_t *value, int i)
{
    dram_sweep_group *set = &r->spec->set;
    TRY(check_key(r, key, at));
    set->n = i + 1;
    return read_override(r, key, value, &set->set[i]);
}

static dram_status read_set(dram_sweep_reader *r, const yaml_node_t *node)
{
    r->spec->set.set = dram_sweep_keep(r->spec, (size_t)dram_node_count(node) * sizeof *r->spec->set.set);
    return r->spec->set.set ? dram_node_mapping(r, "sweep.set", node, read_set_member) : DRAM_ERR_MEMORY;
}

static dram_status read_values(dram_sweep_reader *r, const char *key, const yaml_node_t *list, dram_sweep_axis *axis)
{
    axis->n = dram_node_count(list);
    axis->value = dram_sweep_keep(r->spec, (size_t)axis->n * sizeof *axis->value);
    if (!axis->value) return DRAM_ERR_MEMORY;
    for (int i = 0; i < axis->n; i++) TRY(read_override(r, key, dram_node_item(r, list, i), &axis->value[i]));
    return DRAM_OK;
}

static dram_status read_grid_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                    const yaml_node_t *value, int i)
{
    dram_sweep_axis *axis = &r->spec->grid[i];
    TRY(check_key(r, key, at));
    if (strcmp(key, "run.dir") == 0) FAIL(at, key, "a sweep has one folder: give it in sweep.set");
    if (value->type != YAML_SEQUENCE_NODE) FAIL(value, key, "expected a list of values, as in [1, 2, 4]");
    if (dram_node_count(value) == 0) FAIL(value, key, "there is no value in the list: the grid is empty");
    *axis = (dram_sweep_axis){.at = dram_node_place(r, at), .key = dram_sweep_keep_text(r->spec, key, strlen(key))};
    if (!axis->key) return DRAM_ERR_MEMORY;
    r->spec->n_grid = i + 1;
    return read_values(r, key, value, axis);
}

static dram_status read_grid(dram_sweep_reader *r, const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE && dram_node_count(node) == 0)
        FAIL(node, "sweep.grid", "it is empty: give keys with lists of values, or leave it out");
    r->spec->grid = dram_sweep_keep(r->spec, (size_t)dram_node_count(node) * sizeof *r->spec->grid);
    return r->spec->grid ? dram_node_mapping(r, "sweep.grid", node, read_grid_member) : DRAM_ERR_MEMORY;
}

static dram_status read_list_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                    const yaml_node_t *value, int i)
{
    dram_sweep_group *group = &r->spec->list[r->spec->n_list - 1];
    TRY(check_key(r, key, at));
    if (strcmp(key, "run.dir") == 0) FAIL(at, key, "a sweep has one folder: give it in sweep.set");
    group->n = i + 1;
    return read_override(r, key, value, &group->set[i]);
}

static dram_status read_list(dram_sweep_reader *r, const yaml_node_t *node)
{
    dram_sweep_spec *spec = r->spec;
    if (node->type != YAML_SEQUENCE_NODE || dram_node_count(node) == 0)
        FAIL(node, "sweep.list", "expected a list of points, as in [{train.precision: bf16}]");
    spec->list = dram_sweep_keep(spec, (size_t)dram_node_count(node) * sizeof *spec->list);
    if (!spec->list) return DRAM_ERR_MEMORY;
    for (int i = 0; i < dram_node_count(node); i++) {
        const yaml_node_t *point = dram_node_item(r, node, i);
        dram_sweep_group *group = &spec->list[spec->n_list++];
        group->set = dram_sweep_keep(spec, (size_t)dram_node_count(point) * sizeof *group->set);
        if (!group->set) return DRAM_ERR_MEMORY;
        TRY(dram_node_mapping(r, "sweep.list", point, read_list_member));
    }
    return DRAM_OK;
}

/* ---- random ---- */

static dram_status read_range_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                     const yaml_node_t *value, int i)
{
    static const char *const names[] = {"low", "high", "log", "choices"};
    dram_sweep_axis *axis = &r->spec->random[r->spec->n_random - 1];
    const char *text = dram_node_text(value);
    (void)i;
    if (strcmp(key, "choices") == 0) {
        if (value->type != YAML_SEQUENCE_NODE || dram_node_count(value) == 0)
            FAIL(value, axis->key, "choices: expected a list of values");
        return read_values(r, axis->key, value, axis);
    }
    if (strcmp(key, "log") == 0) {
        if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
            FAIL(value, axis->key, "log: expected true or false");
        axis->log = strcmp(text, "true") == 0;
        return DRAM_OK;
    }
    if (strcmp(key, "low") != 0 && strcmp(key, "high") != 0) return dram_node_unknown(r, at, axis->key, key, names, 4);
    if (!dram_node_real(value, strcmp(key, "low") == 0 ? &axis->low : &axis->high))
        FAIL(value, axis->key, "%s: expected a number", key);
    return DRAM_OK;
}

static dram_status check_range(dram_sweep_reader *r, const yaml_node_t *value, dram_sweep_axis *axis)
{
    dram_config_value kind = dram_config_value_of(axis->key, &axis->multiple);
    bool range = isfinite(axis->low) || isfinite(axis->high) || axis->log;
    if (axis->n && range) FAIL(value, axis->key, "choices, or low and high: one of the two");
    if (axis->n) return DRAM_OK;
    if (!isfinite(axis->low) || !isfinite(axis->high)) FAIL(value, axis->key, "expected low and high, or choices");
    if (axis->low > axis->high) FAIL(value, axis->key, "low, %g, is above high, %g", axis->low, axis->high);
    if (axis->log && axis->low <= 0) FAIL(value, axis->key, "with log: true low must be above 0, and is %g", axis->low);
    if (kind != DRAM_CONFIG_REAL && kind != DRAM_CONFIG_WHOLE)
        FAIL(value, axis->key, "its values are no numbers: give choices");
    axis->whole = kind == DRAM_CONFIG_WHOLE;
    return DRAM_OK;
}

static dram_status read_range(dram_sweep_reader *r, const char *key, const yaml_node_t *at, const yaml_node_t *value,
                              int i)
{
    dram_sweep_axis *axis = &r->spec->random[i];
    TRY(check_key(r, key, at));
    if (strcmp(key, "run.dir") == 0) FAIL(at, key, "a sweep has one folder: give it in sweep.set");
    *axis = (dram_sweep_axis){
        .at = dram_node_place(r, at), .key = dram_sweep_keep_text(r->spec, key, strlen(key)), .low = NAN, .high = NAN};
    if (!axis->key) return DRAM_ERR_MEMORY;
    r->spec->n_random = i + 1;
    TRY(dram_node_mapping(r, key, value, read_range_member));
    return check_range(r, value, axis);
}

static dram_status read_random_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                      const yaml_node_t *value, int i)
{
    static const char *const names[] = {"count", "seed", "keys"};
    int64_t number;
    (void)i;
    if (strcmp(key, "count") == 0) {
        if (!dram_node_int(value, 1, DRAM_SWEEP_POINTS, &number))
            FAIL(value, "sweep.random.count", "expected a whole number from 1 to %d", DRAM_SWEEP_POINTS);
        r->spec->random_count = (int)number;
        return DRAM_OK;
    }
    if (strcmp(key, "seed") == 0) {
        if (!dram_node_int(value, 0, INT64_MAX, &r->spec->random_seed))
            FAIL(value, "sweep.random.seed", "expected a whole number of 0 or more");
        return DRAM_OK;
    }
    if (strcmp(key, "keys") != 0) return dram_node_unknown(r, at, "sweep.random", key, names, 3);
    r->spec->random = dram_sweep_keep(r->spec, (size_t)dram_node_count(value) * sizeof *r->spec->random);
    return r->spec->random ? dram_node_mapping(r, "sweep.random.keys", value, read_range) : DRAM_ERR_MEMORY;
}

static dram_status read_random(dram_sweep_reader *r, const yaml_node_t *node)
{
    r->spec->random_seed = 1;
    TRY(dram_node_mapping(r, "sweep.random", node, read_random_member));
    if (r->spec->random_count && r->spec->n_random) return DRAM_OK;
    FAIL(node, "sweep.random", "it needs %s", r->spec->random_count ? "keys, with a range or choices each" : "a count");
}

/* ---- the other keys ---- */

static dram_status read_name(dram_sweep_reader *r, const yaml_node_t *node)
{
    const char *text = dram_node_text(node);
    if (!text || !dram_sweep_is_name(text))
        FAIL(node, "sweep.name", "names a folder inside run.dir: 1 to 200 characters, no / among them, no . first");
    r->spec->name = dram_sweep_keep_text(r->spec, text, strlen(text));
    return r->spec->name ? DRAM_OK : DRAM_ERR_MEMORY;
}

static dram_status read_base(dram_sweep_reader *r, const yaml_node_t *node)
{
    const char *text = dram_node_text(node);
    char *folder, *path;
    if (!text || !*text) FAIL(node, "sweep.base", "expected the name of a config file");
    r->spec->base_at = dram_node_place(r, node);
    TRY(dram_path_folder(r->spec->file, &folder));
    dram_status status = dram_path_join(folder, text, &path);
    dram_free(folder);
    TRY(status);
    r->spec->base = dram_sweep_keep_text(r->spec, path, strlen(path));
    dram_free(path);
    return r->spec->base ? DRAM_OK : DRAM_ERR_MEMORY;
}

static dram_status read_seeds(dram_sweep_reader *r, const yaml_node_t *node)
{
    dram_sweep_spec *spec = r->spec;
    const dram_config_override at = dram_node_place(r, node);
    if (node->type != YAML_SEQUENCE_NODE || dram_node_count(node) == 0)
        FAIL(node, "sweep.seeds", "expected a list of seeds, as in [1, 2, 3]");
    if (dram_node_count(node) > DRAM_SWEEP_SEEDS)
        FAIL(node, "sweep.seeds", "%d seeds; at most %d", dram_node_count(node), DRAM_SWEEP_SEEDS);
    spec->seeds = dram_sweep_keep(spec, (size_t)dram_node_count(node) * sizeof *spec->seeds);
    if (!spec->seeds) return DRAM_ERR_MEMORY;
    for (int i = 0; i < dram_node_count(node); i++)
        if (!dram_node_int(dram_node_item(r, node, i), 0, INT64_MAX, &spec->seeds[spec->n_seeds++]))
            FAIL(dram_node_item(r, node, i), "sweep.seeds", "expected a whole number of 0 or more");
    return dram_sweep_check_seeds(spec, &at);
}

static dram_status read_quality(dram_sweep_reader *r, const yaml_node_t *node)
{
    const char *text = dram_node_text(node);
    for (int q = 0; text && q < DRAM_QUALITY_COUNT; q++)
        if (strcmp(text, dram_quality_name((dram_quality)q)) == 0) {
            r->spec->quality = q;
            return DRAM_OK;
        }
#define X(ID, NAME, LESS) " " #NAME
    FAIL(node, "sweep.quality", "\"%.60s\" is no quality of an evaluation; one of" DRAM_QUALITY_LIST(X),
         text ? text : "");
#undef X
}

static dram_status read_rungs(dram_sweep_reader *r, const yaml_node_t *list)
{
    dram_sweep_spec *spec = r->spec;
    spec->rungs_at = dram_node_place(r, list);
    if (list->type != YAML_SEQUENCE_NODE || dram_node_count(list) == 0 || dram_node_count(list) > DRAM_SWEEP_RUNGS)
        FAIL(list, "sweep.halving.rungs", "expected a list of 1 to %d numbers of updates, as in [250, 500]",
             DRAM_SWEEP_RUNGS);
    for (int i = 0; i < dram_node_count(list); i++) {
        int64_t *rung = &spec->rungs[i];
        if (!dram_node_int(dram_node_item(r, list, i), 1, INT32_MAX, rung))
            FAIL(dram_node_item(r, list, i), "sweep.halving.rungs", "expected a whole number of 1 or more");
        if (i && *rung <= rung[-1])
            FAIL(dram_node_item(r, list, i), "sweep.halving.rungs", "%lld comes after %lld: rungs rise",
                 (long long)*rung, (long long)rung[-1]);
    }
    spec->n_rungs = dram_node_count(list);
    return DRAM_OK;
}

static dram_status read_halving_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                       const yaml_node_t *value, int i)
{
    static const char *const names[] = {"rungs", "keep"};
    (void)i;
    if (strcmp(key, "rungs") == 0) return read_rungs(r, value);
    if (strcmp(key, "keep") != 0) return dram_node_unknown(r, at, "sweep.halving", key, names, 2);
    if (!dram_node_real(value, &r->spec->keep) || r->spec->keep <= 0 || r->spec->keep >= 1)
        FAIL(value, "sweep.halving.keep", "expected the share that goes on, above 0 and below 1");
    return DRAM_OK;
}

static dram_status read_halving(dram_sweep_reader *r, const yaml_node_t *node)
{
    r->spec->keep = 0.5;
    TRY(dram_node_mapping(r, "sweep.halving", node, read_halving_member));
    if (r->spec->n_rungs == 0) FAIL(node, "sweep.halving", "it needs rungs, as in [250, 500]");
    return DRAM_OK;
}

static dram_status read_ranks(dram_sweep_reader *r, const yaml_node_t *node)
{
    int64_t ranks;
    if (!dram_node_int(node, 1, 4096, &ranks)) FAIL(node, "sweep.ranks", "expected a whole number from 1 to 4096");
    r->spec->ranks = (int)ranks;
    r->spec->ranks_at = dram_node_place(r, node);
    return DRAM_OK;
}

static dram_status read_sweep_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                     const yaml_node_t *value, int i)
{
    static const char *const names[] = {"name",   "base",  "set",     "grid",    "list",
                                        "random", "seeds", "quality", "halving", "ranks"};
    static dram_status (*const read[])(dram_sweep_reader *, const yaml_node_t *) = {
        read_name,   read_base,  read_set,     read_grid,    read_list,
        read_random, read_seeds, read_quality, read_halving, read_ranks};
    (void)i;
    for (int k = 0; k < 10; k++)
        if (strcmp(key, names[k]) == 0) return read[k](r, value);
    return dram_node_unknown(r, at, "sweep", key, names, 10);
}

static dram_status read_top_member(dram_sweep_reader *r, const char *key, const yaml_node_t *at,
                                   const yaml_node_t *value, int i)
{
    (void)i;
    if (strcmp(key, "sweep") == 0) return dram_node_mapping(r, "sweep", value, read_sweep_member);
    FAIL(at, NULL, "%.60s: a sweep file has nothing beside sweep:; put it into the base, or into sweep.set", key);
}

dram_status dram_sweep_spec_read(const char *file, const char *const *words, int n_words, dram_sweep_spec *spec)
{
    bool is;
    *spec = (dram_sweep_spec){.quality = -1};
    if (!(spec->file = dram_sweep_keep_text(spec, file, strlen(file)))) return DRAM_ERR_MEMORY;
    const dram_config_override at = {.file = spec->file};
    TRY(dram_sweep_text(file, &spec->yaml));
    TRY(dram_sweep_nodes(spec, read_top_member, &is));
    if (is && !spec->base)
        return dram_sweep_fail(&at, "sweep.base", "it is missing: the config that the sweep starts from");
    if (is && !spec->name)
        return dram_sweep_fail(&at, "sweep.name", "it is missing: the sweep's folder inside run.dir");
    if (!is) {
        spec->base = spec->file;
        spec->file = NULL;
    }
    TRY(dram_sweep_words(spec, words, n_words));
    return dram_sweep_check_twice(spec);
}
