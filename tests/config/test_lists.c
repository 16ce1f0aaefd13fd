/* Class maps and names: what a file or an override may say, the exact error otherwise, and what is written again. */
#include "base/log.h"
#include "config/helpers.h"

/* The value of `key` as `dram config` prints it. */
static const char *printed(const dram_config *cfg, const char *key)
{
    static char line[4096];
    char name[64];
    dram_str text = {0};
    assert_int_equal(dram_config_write_yaml(cfg, &text), DRAM_OK);
    snprintf(name, sizeof name, "\n  %s: ", key);
    const char *at = strstr(text.text, name);
    assert_non_null(at);
    at += strlen(name);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    dram_str_free(&text);
    return line;
}

/* ---- maps ---- */

static void a_map_of_ids(void **state)
{
    (void)state;
    write_to("c.yaml", "data:\n  classes: 3\n  class_map: {255: 1, 7: 0, 0: 255}\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    const dram_class_map *map = cfg->data.class_map;
    static const dram_class_pair want[] = {{0, 255}, {7, 0}, {255, 1}};
    assert_non_null(map);
    assert_false(map->color);
    assert_int_equal(map->n, COUNT(want));
    for (int i = 0; i < COUNT(want); i++) {
        assert_int_equal(map->pair[i].from, want[i].from);
        assert_int_equal(map->pair[i].to, want[i].to);
    }
    assert_string_equal(printed(cfg, "class_map"), "{0: 255, 7: 0, 255: 1}");
    assert_string_equal(dram_config_where(cfg, "data.class_map"), "c.yaml:3:14");
    dram_config_free(cfg);
}

static void a_map_of_colours(void **state)
{
    (void)state;
    write_to("c.yaml",
             "data:\n  classes: 8\n  class_map:\n    \"#804080\": 7\n    ' 0, 64,255 ': 2\n    70,130,180: 255\n"
             "    \"#FfFFff\": 0\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    const dram_class_map *map = cfg->data.class_map;
    static const dram_class_pair want[] = {{0x0040ff, 2}, {0x4682b4, 255}, {0x804080, 7}, {0xffffff, 0}};
    assert_true(map->color);
    assert_int_equal(map->n, COUNT(want));
    for (int i = 0; i < COUNT(want); i++) {
        assert_int_equal(map->pair[i].from, want[i].from);
        assert_int_equal(map->pair[i].to, want[i].to);
    }
    assert_string_equal(printed(cfg, "class_map"),
                        "{\"#0040ff\": 2, \"#4682b4\": 255, \"#804080\": 7, \"#ffffff\": 0}");
    dram_config_free(cfg);
}

/* The whole value is one key's: the nearest source has it all. */
static void the_nearest_map_wins(void **state)
{
    (void)state;
    write_to("b.yaml", "data: {classes: 2, class_map: {255: 1, 3: 0}, class_names: [a, b]}\n");
    write_to("c.yaml", "base: b.yaml\ndata: {class_map: {128: 1}}\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_string_equal(printed(cfg, "class_map"), "{128: 1}");
    assert_string_equal(printed(cfg, "class_names"), "[a, b]");
    dram_config_free(cfg);
    static const char *const overrides[] = {"data.class_map={\"#ff0000\": 1}", "data.class_names=[\"1\", 2]",
                                            "data.class_map={9: 0}"};
    cfg = load("c.yaml", overrides, 3);
    assert_string_equal(printed(cfg, "class_map"), "{9: 0}");
    assert_string_equal(printed(cfg, "class_names"), "[\"1\", \"2\"]");
    assert_string_equal(dram_config_where(cfg, "data.class_map"), "command line");
    dram_config_free(cfg);
    static const char *const empty[] = {"data.class_map={}", "data.class_names=[]"};
    cfg = load("c.yaml", empty, 2);
    assert_null(cfg->data.class_map);
    assert_null(cfg->data.class_names);
    assert_string_equal(printed(cfg, "class_map"), "{}");
    assert_string_equal(printed(cfg, "class_names"), "[]");
    dram_config_free(cfg);
}

#define MAP_EXPECTED                                                                                                   \
    "data.class_map: expected a mapping {id: class} or {\"#RRGGBB\": class}, each class a whole number from 0 to "     \
    "255, "
#define FROM_EXPECTED                                                                                                  \
    "data.class_map: expected an id from 0 to 255, or a colour such as \"#804080\" or \"128,64,128\", "

static void wrong_maps_are_named_in_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"data: {class_map: {300: 1}}\n",
         "c.yaml:1:20: data.class_map: out of range: expected a whole number from 0 to 255"},
        {"data: {class_map: {-1: 1}}\n",
         "c.yaml:1:20: data.class_map: out of range: expected a whole number from 0 to 255"},
        {"data: {class_map: {1: 256}}\n",
         "c.yaml:1:23: data.class_map: out of range: expected a whole number from 0 to 255"},
        {"data: {class_map: {1: road}}\n", "c.yaml:1:23: " MAP_EXPECTED "found text"},
        {"data: {class_map: {road: 1}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text"},
        {"data: {class_map: {'255': 1}}\n",
         "c.yaml:1:20: data.class_map: expected an id from 0 to 255 without quotes, or a colour such as \"#804080\" or "
         "\"128,64,128\", found text in quotes"},
        {"data: {class_map: {1.5: 1}}\n", "c.yaml:1:20: data.class_map: expected a whole number from 0 to 255, found a "
                                          "number with a point or an exponent"},
        {"data: {class_map: {255:1}}\n", "c.yaml:1:20: data.class_map: write a space after each colon: {255: 1}"},
        {"data: {class_map: {804080: 7}}\n",
         "c.yaml:1:20: data.class_map: six digits are no id from 0 to 255; a colour "
         "is written \"#804080\", in quotes"},
        {"data: {class_map: {\"#80408\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"#80408g\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"128,64\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"128,64,256\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"1,2,3,4\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"1,2,99999999999999999999\": 7}}\n",
         "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data: {class_map: {\"\": 7}}\n", "c.yaml:1:20: " FROM_EXPECTED "found text in quotes"},
        {"data:\n  class_map:\n    #804080: 7\n  size: 64\n",
         "c.yaml:2:13: " MAP_EXPECTED "found nothing (put a colour in quotes: # begins a comment)"},
        {"data: {class_map: {7: }}\n",
         "c.yaml:1:23: " MAP_EXPECTED "found nothing (put a colour in quotes: # begins a comment)"},
        {"data: {class_map: {255: 1, 7: 0, 255: 0}}\n", "c.yaml:1:34: data.class_map: this id is there twice"},
        {"data: {class_map: {\"#804080\": 1, \"128,64,128\": 1}}\n",
         "c.yaml:1:34: data.class_map: this colour is there twice"},
        {"data: {class_map: {255: 1, \"#000000\": 0}}\n",
         "c.yaml:1:28: data.class_map: this is a colour, and before it are ids: a map is either of ids or of "
         "colours, never of both"},
        {"data: {class_map: {\"#000000\": 0, 255: 1}}\n",
         "c.yaml:1:34: data.class_map: this is an id, and before it are colours: a map is either of ids or of "
         "colours, never of both"},
        {"data: {class_map: 255}\n", "c.yaml:1:19: " MAP_EXPECTED "found a single value (write it in { })"},
        {"data: {class_map: [255, 1]}\n", "c.yaml:1:19: " MAP_EXPECTED "found a list"},
        {"data: {class_map: {1: [2]}}\n", "c.yaml:1:23: " MAP_EXPECTED "found a list or a mapping inside the mapping"},
        {"data: {class_map: {[1, 2, 3]: 2}}\n",
         "c.yaml:1:20: " MAP_EXPECTED "found a list or a mapping inside the mapping"},
        {"data: {class_map: {\"1\\0\": 2}}\n", "c.yaml:1:20: data.class_map: a zero byte is not allowed"},
        {"data: {class_map: {1: 2}, classes: 2}\n",
         "c.yaml:1:19: data.class_map: 1 is to be class 2, which is neither below data.classes, 2, nor "
         "data.ignore_index, 255"},
        {"data: {class_map: {\"#0000ff\": 7}, classes: 2, ignore_index: 6}\n",
         "c.yaml:1:19: data.class_map: #0000ff is to be class 7, which is neither below data.classes, 2, nor "
         "data.ignore_index, 6"},
        {"data: {reduce_zero_label: true, classes: 12, ignore_index: 11}\n",
         "c.yaml:1:27: data.reduce_zero_label: it makes void of 0, and data.ignore_index, 11, is one of the 12 "
         "classes; set data.ignore_index to a value that is none"},
    };
    for (int i = 0; i < COUNT(cases); i++) expect_bad_file(cases[i].yaml, cases[i].error);
    expect_bad_file("data: {class_map: {#804080: 7}}\n",
                    "c.yaml:2:1: not valid YAML: did not find expected node content, while parsing a flow node (put a "
                    "colour in quotes: # begins a comment)");
    static const char *const comment[] = {"data.class_map={#804080: 7}"};
    expect_failure(NULL, comment, 1,
                   "command line: data.class_map: not valid YAML: did not find expected node content, while parsing a "
                   "flow node (put a colour in quotes: # begins a comment)");
    static const char *const override[] = {"data.class_map={255:1}"};
    expect_failure(NULL, override, 1, "command line: data.class_map: write a space after each colon: {255: 1}");
    /* One more than classes is allowed where all become one less. */
    write_to("c.yaml", "data: {class_map: {9: 2}, classes: 2, reduce_zero_label: true}\n");
    dram_config_free(load("c.yaml", NULL, 0));
    /* Without classes nothing is known of them. */
    write_to("c.yaml", "data: {class_map: {9: 200}}\n");
    dram_config_free(load("c.yaml", NULL, 0));
}

static void the_largest_maps(void **state)
{
    (void)state;
    dram_str text = {0}, error = {0};
    dram_str_add(&text, "data: {class_map: {0: 0");
    for (int i = 1; i < 256; i++) dram_str_add(&text, ", %d: %d", i, 255 - i);
    dram_str_add(&text, "}}\n");
    write_to("c.yaml", text.text);
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_int_equal(cfg->data.class_map->n, 256);
    assert_int_equal(cfg->data.class_map->pair[200].to, 55);
    dram_config_free(cfg);
    dram_str_free(&text);
    dram_str_add(&text, "data: {class_map: {\n");
    for (int i = DRAM_CLASS_PAIRS; i > 0; i--) dram_str_add(&text, "\"#%06x\": %d,\n", i, i % 256);
    dram_str_add(&text, "}}\n");
    write_to("c.yaml", text.text);
    cfg = load("c.yaml", NULL, 0);
    assert_int_equal(cfg->data.class_map->n, DRAM_CLASS_PAIRS);
    for (int i = 0; i < DRAM_CLASS_PAIRS; i++) {
        assert_int_equal(cfg->data.class_map->pair[i].from, i + 1);
        assert_int_equal(cfg->data.class_map->pair[i].to, (i + 1) % 256);
    }
    dram_config_free(cfg);
    text.length -= 3; /* without "}}\n" */
    text.text[text.length] = '\0';
    dram_str_add(&text, "\"#ffffff\": 1}}\n");
    dram_str_add(&error, "c.yaml:%d:1: data.class_map: at most %d colours", DRAM_CLASS_PAIRS + 2, DRAM_CLASS_PAIRS);
    expect_bad_file(text.text, error.text);
    dram_str_free(&text);
    dram_str_free(&error);
}

/* ---- names ---- */

static void names_are_read(void **state)
{
    (void)state;
    char room[16];
    write_to("c.yaml", "data:\n  classes: 4\n  class_names:\n  - sky\n  - \"\\u8def\\u9762\"\n  - 'a: b'\n"
                       "  - Fu\xc3\x9fg\xc3\xa4nger und \xf0\x9f\x9a\x97\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_int_equal(cfg->data.class_names->n, 4);
    assert_string_equal(dram_class_name(cfg, 0, room, sizeof room), "sky");
    assert_string_equal(dram_class_name(cfg, 1, room, sizeof room), "\xe8\xb7\xaf\xe9\x9d\xa2");
    assert_string_equal(dram_class_name(cfg, 2, room, sizeof room), "a: b");
    assert_string_equal(dram_class_name(cfg, 3, room, sizeof room), "Fu\xc3\x9fg\xc3\xa4nger und \xf0\x9f\x9a\x97");
    assert_string_equal(dram_class_name(cfg, 4, room, sizeof room), "4");
    assert_string_equal(dram_class_name(cfg, 255, room, sizeof room), "255");
    assert_string_equal(
        printed(cfg, "class_names"),
        "[sky, \"\xe8\xb7\xaf\xe9\x9d\xa2\", \"a: b\", \"Fu\xc3\x9fg\xc3\xa4nger und \xf0\x9f\x9a\x97\"]");
    dram_config_free(cfg);
    cfg = load(NULL, NULL, 0);
    assert_string_equal(dram_class_name(cfg, 3, room, sizeof room), "3");
    assert_string_equal(dram_class_name(cfg, 123, room, 3), "12");
    dram_config_free(cfg);
}

static void wrong_names_are_named_in_their_place(void **state)
{
    (void)state;
#define NAMES_EXPECTED "data.class_names: expected a list of texts, 256 at most, "
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        {"data: {classes: 3, class_names: [a, b]}\n",
         "c.yaml:1:33: data.class_names: there are 2 names, and data.classes is 3; name every class"},
        {"data: {classes: 2, class_names: [a, b, c]}\n",
         "c.yaml:1:33: data.class_names: there are 3 names, and data.classes is 2; name every class"},
        {"data: {class_names: [a]}\n",
         "c.yaml:1:21: data.class_names: there is 1 name, and data.classes is 0; name every class"},
        {"data: {classes: 2, class_names: [a, '']}\n", "c.yaml:1:37: data.class_names: must not be empty"},
        {"data: {classes: 2, class_names: [a, ]}\n",
         "c.yaml:1:33: data.class_names: there is 1 name, and data.classes is 2; name every class"},
        {"data: {classes: 2, class_names: [a, ~]}\n", "c.yaml:1:37: " NAMES_EXPECTED "found nothing"},
        {"data: {classes: 3, class_names: [a, b, a]}\n", "c.yaml:1:40: data.class_names: entries 1 and 3 are the same"},
        {"data: {classes: 2, class_names: [a, 5]}\n",
         "c.yaml:1:37: " NAMES_EXPECTED "found a whole number (put it in quotes)"},
        {"data: {classes: 2, class_names: [true, b]}\n",
         "c.yaml:1:34: " NAMES_EXPECTED "found true or false (put it in quotes)"},
        {"data: {classes: 2, class_names: sky}\n",
         "c.yaml:1:33: " NAMES_EXPECTED "found a single value (write it in [ ])"},
        {"data: {classes: 2, class_names: }\n", "c.yaml:1:33: " NAMES_EXPECTED "found nothing"},
        {"data: {classes: 2, class_names: {0: a}}\n", "c.yaml:1:33: " NAMES_EXPECTED "found a mapping"},
        {"data: {classes: 2, class_names: [a, [b]]}\n",
         "c.yaml:1:37: " NAMES_EXPECTED "found a list or a mapping inside the list"},
        {"data: {classes: 2, class_names: [a, \"b\\0\"]}\n",
         "c.yaml:1:37: data.class_names: a zero byte is not allowed"},
    };
    for (int i = 0; i < COUNT(cases); i++) expect_bad_file(cases[i].yaml, cases[i].error);
    dram_str text = {0};
    dram_str_add(&text, "data: {classes: 256, class_names: [");
    for (int i = 0; i < 257; i++) dram_str_add(&text, "\nc%d,", i);
    dram_str_add(&text, "]}\n");
    expect_bad_file(text.text, "c.yaml:258:1: data.class_names: at most 256 texts");
    dram_str_free(&text);
}

/* ---- what has no effect ---- */

static char told[2048];

static void keep(void *context, dram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s\n", message);
}

static void what_has_no_effect_is_said(void **state)
{
    (void)state;
    static const char yaml[] = "data: {classes: 2, class_map: {255: 1},\n  reduce_zero_label: true}\n";
    static const char *const on[] = {"task.enabled=true"};
    dram_log_set_sink(keep, NULL);
    write_to("c.yaml", yaml);
    dram_config_free(load("c.yaml", on, 1));
    assert_string_equal(told, "");
    dram_config_free(load("c.yaml", NULL, 0));
    assert_string_equal(told, "data.class_map (c.yaml:1:31) has no effect: task.enabled is false, so no label is read\n"
                              "data.reduce_zero_label (c.yaml:2:22) has no effect: task.enabled is false, so no label "
                              "is read\n");
    told[0] = '\0';
    dram_config_free(load(NULL, NULL, 0));
    assert_string_equal(told, "");
    dram_log_set_sink(NULL, NULL);
}

/* ---- memory ---- */

/* Every request for memory fails once; nothing is lost, and the text says so. */
static void no_memory(void **state)
{
    (void)state;
    write_to("b.yaml", "data: {class_map: {1: 0}, class_names: [x]}\n");
    write_to("c.yaml", "base: b.yaml\ndata: {classes: 2, class_map: {255: 1, 7: 0}, class_names: [sky, \"a b\"]}\n");
    int64_t before = dram_alloc_bytes();
    int failed = 0;
    for (int64_t n = 0;; n++) {
        dram_config *cfg;
        dram_alloc_fail_after(n);
        dram_status status = dram_config_load("c.yaml", NULL, 0, &cfg);
        dram_alloc_fail_after(-1);
        if (status == DRAM_OK) {
            dram_config_free(cfg);
            break;
        }
        assert_int_equal(status, DRAM_ERR_MEMORY);
        dram_error_clear();
        assert_int_equal(dram_alloc_bytes(), before);
        failed++;
    }
    assert_true(failed > 20);
    assert_int_equal(dram_alloc_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_of_ids),
        cmocka_unit_test(a_map_of_colours),
        cmocka_unit_test(the_nearest_map_wins),
        cmocka_unit_test(wrong_maps_are_named_in_their_place),
        cmocka_unit_test(the_largest_maps),
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(wrong_names_are_named_in_their_place),
        cmocka_unit_test(what_has_no_effect_is_said),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
