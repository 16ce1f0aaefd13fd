/* What is written: YAML that reads back as the same config, a schema and a table that name every key. */
#include <cjson/cJSON.h>

#include "base/rng.h"
#include "config/helpers.h"
#include "config/keys.h"

static bool same_maps(const dram_class_map *a, const dram_class_map *b)
{
    bool same = !a == !b && (!a || (a->n == b->n && a->color == b->color));
    for (int i = 0; a && same && i < a->n; i++)
        same = a->pair[i].from == b->pair[i].from && a->pair[i].to == b->pair[i].to;
    return same;
}

static bool same_texts(const dram_texts *a, const dram_texts *b)
{
    bool same = !a == !b && (!a || a->n == b->n);
    for (int i = 0; a && same && i < a->n; i++) same = strcmp(a->text[i], b->text[i]) == 0;
    return same;
}

/* Equal bits for every key. */
static void assert_same_config(const dram_config *a, const dram_config *b)
{
    int compared = 0;
    for (int i = 0; i < dram_n_keys; i++) {
        dram_key_value x = dram_key_get(a, &dram_keys[i]), y = dram_key_get(b, &dram_keys[i]);
        const char *x_text = x.text ? x.text : "(none)", *y_text = y.text ? y.text : "(none)";
        if (x.integer != y.integer || memcmp(&x.real, &y.real, sizeof x.real) != 0 || strcmp(x_text, y_text) != 0 ||
            !dram_steps_equal(&x.steps, &y.steps) || !same_maps(x.map, y.map) || !same_texts(x.texts, y.texts))
            fail_msg("%s: %lld %a %s became %lld %a %s", dram_keys[i].path, (long long)x.integer, x.real, x_text,
                     (long long)y.integer, y.real, y_text);
        compared++;
    }
    assert_true(compared > 60);
}

static void a_whole_config_round_trips(void **state)
{
    (void)state;
    write_to(
        "c.yaml",
        "name: camvid\nseed: 7\ndevice: cpu\nthreads: 2\n"
        "data: {size: 256, class_map: {255: 1, 12: 11, 3: 0}, class_names: [a, b, c, d, e, f, g, h, i, j, \"k, l\"],\n"
        "       reduce_zero_label: false, max_decode_bytes: 100MB, train: {images: i, labels: l, label_fraction: "
        "0.1},\n"
        "       val: {images: v}, classes: 11, ignore_index: 11, labels_optional: true}\n"
        "student: {arch: regnetx_002, weights: w.safetensors, zero_init_last: false}\n"
        "sam_distill: {teacher: {weights: random, seed: 5}, loss: {type: cosine, weight: 0.3}}\n"
        "task: {enabled: true}\noptim: {lr: 3.0e-4, eps: 1e-12, schedule: constant}\n"
        "memory: {budget: 7GiB, checkpoint: sqrt, in_place: false}\nrun: {dir: /tmp/r, keep: 9}\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    dram_str text = {0};
    assert_int_equal(dram_config_write_yaml(cfg, &text), DRAM_OK);
    mkdir("elsewhere", 0777);
    write_to("elsewhere/resolved.yaml", text.text);
    dram_config *again = load("elsewhere/resolved.yaml", NULL, 0);
    assert_same_config(cfg, again);
    assert_non_null(strstr(text.text, "\nmemory:\n  budget: 7GiB\n  checkpoint: sqrt\n"));
    assert_non_null(strstr(text.text, "  max_decode_bytes: 100000000\n"));
    assert_non_null(strstr(text.text, "\n  loss:\n    type: cosine\n    weight: 0.3\n"));
    assert_non_null(strstr(text.text, "  eps: 1.0e-12\n"));
    assert_null(strstr(text.text, "base"));
    dram_str_free(&text);
    dram_config_free(again);
    dram_config_free(cfg);
}

static int64_t random_integer(dram_rng *r, const dram_key *key)
{
    uint64_t steps = ((uint64_t)key->high - (uint64_t)key->low) / (uint64_t)key->multiple;
    int64_t first = (key->low + key->multiple - 1) / key->multiple * key->multiple;
    uint64_t pick = dram_rng_u64(r) >> dram_rng_below(r, 64);
    return first + (int64_t)(pick % (steps + 1)) * key->multiple <= key->high
               ? first + (int64_t)(pick % (steps + 1)) * key->multiple
               : first;
}

static double random_real(dram_rng *r, const dram_key *key)
{
    switch (dram_rng_below(r, 4)) {
    case 0:
        return key->real_high;
    case 1:
        return key->open ? key->real_high / 3 : key->real_low;
    case 2: /* tiny, to see the exponents; in range as every low limit is 0 or 1 */
        return key->real_low + dram_rng_uniform(r) * 1e-9 + 1e-300;
    default:
        return key->real_low + (key->real_high - key->real_low) * (1 - dram_rng_uniform(r));
    }
}

/* Texts that a careless writer gets wrong: other types, keywords, indicators, breaks, what YAML cannot print. */
static char *random_text(dram_rng *r, const dram_key *key)
{
    static const char *const nasty[] = {
        "none",
        "auto",
        "random",
        "true",
        "False",
        "null",
        "~",
        "5",
        "-1",
        "1e5",
        ".5",
        ".inf",
        ".nan",
        "yes",
        "off",
        "a: b",
        "a #b",
        "- a",
        "---",
        "...",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\tb",
        " a",
        "a ",
        "[a]",
        "{a}",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "?",
        "a,b",
        "plain",
        "a/b.c",
        "\x7f",
        "\x01",
        "\xc2\x85",
        "\xc3\xa9",
        "\xe2\x80\xa8",
        "\xe2\x80\xa9",
        "x\xef\xbb\xbf",
        "\xef\xbf\xbe",
        "\xf0\x9f\x98\x80",
        "\xc2\xa0",
        "a\r\nb",
        "=",
        "<<",
        "0x10",
        "1_000",
        "12:30",
    };
    char text[256] = "";
    int parts = 1 + (int)dram_rng_below(r, 3);
    if (key->kind == DRAM_KEY_INPUT && dram_rng_below(r, 4) == 0)
        return dram_key_has_keyword(key, "random") ? dram_strdup("random") : NULL;
    if (key->kind != DRAM_KEY_TEXTS && dram_key_has_keyword(key, "none") && dram_rng_below(r, 4) == 0) return NULL;
    if (key->kind == DRAM_KEY_INPUT) strcpy(text, "/");
    if (key->kind == DRAM_KEY_OUTPUT) strcpy(text, "./"); /* a ~ at the beginning is the home folder */
    for (int i = 0; i < parts; i++) strcat(text, nasty[dram_rng_below(r, COUNT(nasty))]);
    return dram_strdup(text);
}

/* NULL: an empty map. */
static dram_class_map *random_map(dram_rng *r)
{
    int n = (int)dram_rng_below(r, 6);
    dram_class_map *map = n ? dram_alloc(sizeof *map + (size_t)n * sizeof map->pair[0]) : NULL;
    uint32_t from = (uint32_t)dram_rng_below(r, 40);
    if (!map) return NULL;
    map->n = n;
    map->color = dram_rng_below(r, 2);
    for (int i = 0; i < n; i++) {
        map->pair[i] = (dram_class_pair){from, (int)dram_rng_below(r, 256)};
        from += 1 + (uint32_t)dram_rng_below(r, map->color ? 1 << 20 : 40);
    }
    return map;
}

/* NULL: an empty list. */
static dram_texts *random_texts(dram_rng *r, const dram_key *key)
{
    int n = (int)dram_rng_below(r, 6);
    dram_texts *texts = n ? dram_alloc(sizeof *texts + (size_t)n * sizeof texts->text[0]) : NULL;
    if (!texts) return NULL;
    texts->n = 0;
    while (texts->n < n) {
        char *text = random_text(r, key);
        bool there = false;
        for (int i = 0; i < texts->n; i++) there |= strcmp(texts->text[i], text) == 0;
        if (there)
            dram_free(text);
        else
            texts->text[texts->n++] = text;
    }
    return texts;
}

static dram_key_value random_value(dram_rng *r, const dram_key *key)
{
    dram_key_value value = {0};
    switch (key->kind) {
    case DRAM_KEY_BASE:
    case DRAM_KEY_SECTION:
        break;
    case DRAM_KEY_BOOL:
        value.integer = (int64_t)dram_rng_below(r, 2);
        break;
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
        value.integer = random_integer(r, key);
        break;
    case DRAM_KEY_STEPS:
        value.steps.n = 1 + (int)dram_rng_below(r, DRAM_STEPS);
        for (int i = 0; i < value.steps.n; i++) {
            value.steps.from[i] = i ? value.steps.from[i - 1] + 1 + (int64_t)dram_rng_below(r, 100000000) : 0;
            value.steps.value[i] = (int)random_integer(r, key);
        }
        break;
    case DRAM_KEY_BYTES:
        value.integer = random_integer(r, key);
        if (dram_key_has_keyword(key, "auto") && dram_rng_below(r, 3) == 0) value.integer = DRAM_BYTES_AUTO;
        break;
    case DRAM_KEY_REAL:
        value.real = random_real(r, key);
        break;
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        value.text = random_text(r, key);
        break;
    case DRAM_KEY_CHOICE:
        value.integer = (int64_t)dram_rng_below(r, (uint64_t)key->n_words);
        break;
    case DRAM_KEY_CHOICES:
        value.integer = (int64_t)dram_rng_below(r, 1u << key->n_words);
        break;
    case DRAM_KEY_MAP:
        value.map = random_map(r);
        break;
    case DRAM_KEY_TEXTS:
        value.texts = random_texts(r, key);
        break;
    }
    return value;
}

/* Random values of every kind for every key, contradictions and all: the writer and the reader alone. */
static void random_values_round_trip(void **state)
{
    (void)state;
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 0);
    dram_config *cfg = load(NULL, NULL, 0), *again = load(NULL, NULL, 0);
    for (int round = 0; round < 300; round++) {
        dram_str text = {0};
        for (int i = 0; i < dram_n_keys; i++) {
            dram_key_value value = random_value(&r, &dram_keys[i]);
            dram_key_set(cfg, &dram_keys[i], &value);
        }
        assert_int_equal(dram_config_write_yaml(cfg, &text), DRAM_OK);
        write_to("random.yaml", text.text);
        if (dram_config_read_file(again, "random.yaml") != DRAM_OK) fail_msg("%s\n%s", dram_error_text(), text.text);
        assert_same_config(cfg, again);
        dram_str_free(&text);
    }
    dram_config_free(cfg);
    dram_config_free(again);
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xff",     "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xe2\x82", "\x80"};
    const dram_key *key = &dram_keys[dram_key_find("run.dir")];
    for (int i = 0; i < COUNT(bad); i++) {
        char text[16];
        dram_str out = {0};
        strcpy(text, bad[i]);
        assert_int_equal(dram_key_write(key, &(dram_key_value){.text = text}, &out), DRAM_ERR_CONFIG);
        assert_non_null(strstr(dram_error_text(), "run.dir: "));
        dram_error_clear();
        dram_str_free(&out);
    }
}

/* The schema's node for a key, which must exist. */
static const cJSON *node_of(const cJSON *root, const char *path)
{
    char copy[128];
    const cJSON *node = root;
    strcpy(copy, path);
    for (char *part = strtok(copy, "."); part; part = strtok(NULL, "."))
        node = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(node, "properties"), part);
    if (!node) fail_msg("the schema has no %s", path);
    return node;
}

static int count_nodes(const cJSON *node)
{
    int n = 0;
    const cJSON *child, *properties = cJSON_GetObjectItemCaseSensitive(node, "properties");
    cJSON_ArrayForEach(child, properties) n += 1 + count_nodes(child);
    return n;
}

static double number_in(const cJSON *root, const char *path, const char *field)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(node_of(root, path), field);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void the_schema_names_every_key(void **state)
{
    (void)state;
    dram_str text = {0};
    assert_int_equal(dram_config_schema(&text), DRAM_OK);
    cJSON *root = cJSON_Parse(text.text);
    assert_non_null(root);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(root, "$schema")->valuestring,
                        "https://json-schema.org/draft/2020-12/schema");
    for (int i = 0; i < dram_n_keys; i++) {
        const cJSON *node = node_of(root, dram_keys[i].path);
        assert_string_equal(cJSON_GetObjectItemCaseSensitive(node, "description")->valuestring, dram_keys[i].help);
        bool section = dram_keys[i].kind == DRAM_KEY_SECTION;
        assert_int_equal(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(node, "additionalProperties")), section);
        assert_int_equal(cJSON_HasObjectItem(node, "default"), !section && dram_keys[i].kind != DRAM_KEY_BASE);
    }
    assert_int_equal(count_nodes(root), dram_n_keys);
    assert_true(number_in(root, "data.size", "minimum") == 32);
    assert_true(number_in(root, "data.size", "maximum") == 8192);
    assert_true(number_in(root, "data.size", "multipleOf") == 32);
    assert_true(number_in(root, "data.size", "default") == 512);
    assert_true(number_in(root, "optim.lr", "exclusiveMinimum") == 0);
    assert_true(number_in(root, "optim.lr", "default") == 1e-3);
    const cJSON *words = cJSON_GetObjectItemCaseSensitive(node_of(root, "train.precision"), "enum");
    assert_int_equal(cJSON_GetArraySize(words), 3);
    assert_string_equal(cJSON_GetArrayItem(words, DRAM_PRECISION_FP16)->valuestring, "fp16");
    const cJSON *budget = cJSON_GetObjectItemCaseSensitive(node_of(root, "memory.budget"), "anyOf");
    assert_int_equal(cJSON_GetArraySize(budget), 3);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(budget, 2), "enum")), 2);
    cJSON_Delete(root);
    dram_str_free(&text);
}

static void the_table_names_every_key(void **state)
{
    (void)state;
    dram_str text = {0};
    assert_int_equal(dram_config_markdown(&text), DRAM_OK);
    for (int i = 0; i < dram_n_keys; i++) {
        char name[160];
        snprintf(name, sizeof name, dram_keys[i].kind == DRAM_KEY_SECTION ? "\n| **`%s`** |" : "\n| `%s` |",
                 dram_keys[i].path);
        const char *row = strstr(text.text, name);
        if (!row) fail_msg("the table has no %s", name);
        int bars = 0;
        for (row++; *row && *row != '\n'; row++) bars += *row == '|';
        assert_int_equal(bars, 6);
    }
    assert_non_null(strstr(text.text,
                           "| `data.size` | a whole number that is a multiple of 32 from 32 to 8192 | `512` | "
                           "listed | side of the student's input, in pixels |\n"));
    dram_str_free(&text);
}

/* Every row: a default inside its own range, a name that is the last part of its path, and some help. */
static void the_rows_are_sound(void **state)
{
    (void)state;
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        assert_true(strlen(key->help) > 3);
        assert_int_equal(dram_key_find(key->path), i);
        if (key->kind == DRAM_KEY_INT || key->kind == DRAM_KEY_INT64) {
            assert_true(key->default_integer >= key->low && key->default_integer <= key->high);
            assert_int_equal(key->default_integer % key->multiple, 0);
        }
        if (key->kind == DRAM_KEY_REAL)
            assert_true(key->default_real <= key->real_high &&
                        (key->open ? key->default_real > key->real_low : key->default_real >= key->real_low));
    }
    assert_string_equal(dram_precision_word(DRAM_PRECISION_BF16), "bf16");
    assert_string_equal(dram_may_change_word(DRAM_MAY_CHANGE_SR_TARGET_SCALE), "sr_target_scale");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_config_round_trips),       cmocka_unit_test(random_values_round_trip),
        cmocka_unit_test(text_that_is_not_utf8_is_refused), cmocka_unit_test(the_schema_names_every_key),
        cmocka_unit_test(the_table_names_every_key),        cmocka_unit_test(the_rows_are_sound),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
