/* Values, types, ranges and syntax: what one file or override may say, and the exact error otherwise. */
#include "config/helpers.h"

static void defaults_load_without_a_file(void **state)
{
    (void)state;
    dram_config *cfg = load(NULL, NULL, 0);
    assert_string_equal(cfg->name, "run");
    assert_int_equal(cfg->seed, 1);
    assert_int_equal(cfg->device, DRAM_RUN_DEVICE_AUTO);
    assert_int_equal(cfg->data.size, 512);
    assert_int_equal(cfg->data.max_decode_bytes, 512 << 20);
    assert_null(cfg->data.train.images);
    assert_true(cfg->data.train.label_fraction == 1.0);
    assert_string_equal(cfg->student.arch, "regnety_004");
    assert_true(cfg->student.zero_init_last);
    assert_true(cfg->sam_distill.enabled);
    assert_int_equal(cfg->sam_distill.loss.type, DRAM_DISTANCE_MSE);
    assert_int_equal(cfg->memory.budget, DRAM_BYTES_NONE);
    assert_int_equal(cfg->memory.may_change, 0);
    assert_true(cfg->memory.eager_free);
    assert_string_equal(cfg->run.dir, "runs");
    assert_string_equal(dram_config_where(cfg, "data.size"), "default");
    dram_config_free(cfg);
    dram_config_free(NULL);
}

static void every_kind_of_value_is_read(void **state)
{
    (void)state;
    write_to("c.yaml", "%YAML 1.2\n---\n"
                       "name: \"2024 \\u00e9\"   # a comment\n"
                       "seed: 9223372036854775807\n"
                       "data:\n"
                       "  size: +64\n"
                       "  max_decode_bytes: 1.5 GiB\n"
                       "  train: {images: /i, labels: '/l', label_fraction: .5}\n"
                       "  val:\n"
                       "  augment: {crop: False, scale_min: 1, scale_max: 1.0e+0, flip: 1e-3, color_jitter: 0.}\n"
                       "  classes: 012\n"
                       "sam_distill:\n"
                       "  loss: {\"type\": \"huber\", weight: 2}\n"
                       "optim:\n"
                       "  type: 'sgd'\n"
                       "memory: {budget: auto}\n"
                       "task: {}\n"
                       "...\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    assert_string_equal(cfg->name, "2024 \xc3\xa9");
    assert_int_equal(cfg->seed, INT64_MAX);
    assert_int_equal(cfg->data.size, 64);
    assert_int_equal(cfg->data.max_decode_bytes, 3ll << 29);
    assert_string_equal(cfg->data.train.images, "/i");
    assert_string_equal(cfg->data.train.labels, "/l");
    assert_true(cfg->data.train.label_fraction == 0.5);
    assert_false(cfg->data.augment.crop);
    assert_true(cfg->data.augment.scale_min == 1.0 && cfg->data.augment.scale_max == 1.0);
    assert_true(cfg->data.augment.flip == 1e-3 && cfg->data.augment.color_jitter == 0.0);
    assert_int_equal(cfg->data.classes, 12);
    assert_int_equal(cfg->sam_distill.loss.type, DRAM_DISTANCE_HUBER);
    assert_int_equal(cfg->optim.type, DRAM_OPTIM_SGD);
    assert_int_equal(cfg->memory.budget, DRAM_BYTES_AUTO);
    assert_string_equal(dram_config_where(cfg, "data.size"), "c.yaml:6:9");
    assert_string_equal(dram_config_where(cfg, "sam_distill.loss.weight"), "c.yaml:13:35");
    assert_string_equal(dram_config_where(cfg, "optim.lr"), "default");
    assert_string_equal(dram_config_where(cfg, "no.such.key"), "default");
    dram_config_free(cfg);
}

static void an_empty_file_is_the_defaults(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "# nothing\n", "---\n", "~\n", "{}\n", "\xef\xbb\xbf# mark\n"};
    for (int i = 0; i < COUNT(empty); i++) {
        write_to("c.yaml", empty[i]);
        dram_config *cfg = load("c.yaml", NULL, 0);
        assert_int_equal(cfg->data.size, 512);
        dram_config_free(cfg);
    }
}

typedef struct {
    const char *yaml, *error;
} bad_file;

static void check_bad(const bad_file *cases, int n)
{
    assert_true(n > 0);
    for (int i = 0; i < n; i++) expect_bad_file(cases[i].yaml, cases[i].error);
}

static void unknown_keys_name_the_nearest(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"data:\n  sise: 64\n", "c.yaml:2:3: data.sise: unknown key, did you mean data.size?"},
        {"dataa: {size: 64}\n", "c.yaml:1:1: dataa: unknown key, did you mean data?"},
        {"train: {lr: 0.1}\n", "c.yaml:1:9: train.lr: unknown key, did you mean optim.lr?"},
        {"batch_size: 4\n", "c.yaml:1:1: batch_size: unknown key, did you mean train.batch_size?"},
        {"sam_distill: {teacher: {model: vit_b}}\n",
         "c.yaml:1:25: sam_distill.teacher.model: unknown key; sam_distill.teacher may have: "
         "model_type, weights, seed, native_size, precision, placement, group"},
        {"data: {val: {zzzzzzzz: 1}}\n",
         "c.yaml:1:14: data.val.zzzzzzzz: unknown key; data.val may have: images, labels, list"},
        {"task: {zzzzzzzz: 1}\n", "c.yaml:1:8: task.zzzzzzzz: unknown key; task may have: enabled, loss, weight"},
        {"data: {train: {base: x}}\n", "c.yaml:1:16: data.train.base: unknown key, did you mean base?"},
        {"<<: {a: 1}\n", "c.yaml:1:1: ...: unknown key; a config may have: base, name, seed, device, threads, cuda, "
                         "data, student, sam_distill, "
                         "resolution_distill, task, optim, train, memory, run, distributed"},
        {"data.size: 64\n", "c.yaml:1:1: data.size: a name with dots is for the command line; in a file write one key "
                            "inside the other"},
        {"? [a, b]\n: 1\n", "c.yaml:1:3: a key must be one word"},
        {"data: {? {a: b} : 1}\n", "c.yaml:1:10: data: a key must be one word"},
        {"\"a\\0b\": 1\n", "c.yaml:1:1: a: a zero byte is not allowed"},
    };
    check_bad(cases, COUNT(cases));
}

static void wrong_types_say_what_was_found(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"data: {size: big}\n",
         "c.yaml:1:14: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, "
         "found text"},
        {"data: {size: 64.0}\n",
         "c.yaml:1:14: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, "
         "found a number with a point or an exponent"},
        {"data: {size: '64'}\n",
         "c.yaml:1:14: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, "
         "found text in quotes"},
        {"train: {steps: 0x10}\n", "c.yaml:1:16: train.steps: expected a whole number of 1 or more, found text"},
        {"train: {steps: }\n", "c.yaml:1:16: train.steps: expected a whole number of 1 or more, found nothing"},
        {"train: {steps: [5]}\n", "c.yaml:1:16: train.steps: expected a whole number of 1 or more, found a list"},
        {"train: {steps: {a: 5}}\n", "c.yaml:1:16: train.steps: expected a whole number of 1 or more, found a mapping"},
        {"task: {enabled: yes}\n", "c.yaml:1:17: task.enabled: expected true or false, found text"},
        {"task: {enabled: 1}\n", "c.yaml:1:17: task.enabled: expected true or false, found a whole number"},
        {"task: true\n", "c.yaml:1:7: task: expected a mapping of keys, found true or false"},
        {"task: [a]\n", "c.yaml:1:7: task: expected a mapping of keys, found a list"},
        {"optim: {lr: fast}\n", "c.yaml:1:13: optim.lr: expected a number above 0, up to 1000, found text"},
        {"name: 2024\n", "c.yaml:1:7: name: expected text, found a whole number (put it in quotes)"},
        {"name: true\n", "c.yaml:1:7: name: expected text, found true or false (put it in quotes)"},
        {"name: ''\n", "c.yaml:1:7: name: must not be empty"},
        {"name: \"a\\0b\"\n", "c.yaml:1:7: name: a zero byte is not allowed"},
        {"name: \"a\\nb\"\n",
         "c.yaml:1:7: name: names a folder inside run.dir: at most 200 characters, no / among them"},
        {"data: {size: \"a\\nb\"}\n",
         "c.yaml:1:14: data.size: expected a whole number that is a multiple of 32 from 32 to "
         "8192, found text in quotes"},
        {"student: {weights: null}\n", "c.yaml:1:20: student.weights: expected a path, or none, found nothing (write "
                                       "none)"},
        {"memory: {budget: lots}\n", "c.yaml:1:18: memory.budget: expected a size such as 7GiB or a number of bytes of "
                                     "1 or more, or none, or auto, found text"},
        {"memory: {budget: 1.5}\n",
         "c.yaml:1:18: memory.budget: expected a size such as 7GiB or a number of bytes of 1 "
         "or more, or none, or auto, found a number with a point or an exponent"},
        {"data: {max_decode_bytes: none}\n",
         "c.yaml:1:26: data.max_decode_bytes: expected a size such as 7GiB or a number of bytes of 1048576 or more, "
         "found text"},
        {"memory: {may_change: precision}\n",
         "c.yaml:1:22: memory.may_change: expected a list of any of precision, accumulate, teacher_group, optim_state, "
         "optim_shard, "
         "sam_input_size, model_type, distill_interval, sr_target_scale, found a single value (write it in [ ])"},
        {"memory: {may_change: [[precision]]}\n",
         "c.yaml:1:23: memory.may_change: expected a list of any of precision, accumulate, teacher_group, optim_state, "
         "optim_shard, "
         "sam_input_size, model_type, distill_interval, sr_target_scale, found a list or a mapping inside the list"},
        {"- a\n", "c.yaml:1:1: expected keys and values at the top, found a list"},
        {"hello\n", "c.yaml:1:1: expected keys and values at the top, found a single value"},
        {"base: [a]\n", "c.yaml:1:7: base: expected a path, found a list"},
    };
    check_bad(cases, COUNT(cases));
}

static void ranges_are_named(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"data: {size: 33}\n", "c.yaml:1:14: data.size: out of range: expected a whole number that is a multiple of 32 "
                               "from 32 to 8192"},
        {"data: {size: 0}\n", "c.yaml:1:14: data.size: out of range: expected a whole number that is a multiple of 32 "
                              "from 32 to 8192"},
        {"data: {size: 8224}\n", "c.yaml:1:14: data.size: out of range: expected a whole number that is a multiple of "
                                 "32 from 32 to 8192"},
        {"sam_distill: {distill_interval: 0}\n", "c.yaml:1:33: sam_distill.distill_interval: out of range: expected "
                                                 "a whole number from 1 to 1000000"},
        {"sam_distill: {distill_interval: {0: 1, 5: 0}}\n",
         "c.yaml:1:43: sam_distill.distill_interval: out of range: expected "
         "a whole number from 1 to 1000000"},
        {"sam_distill: {distill_interval: {0: 1, -5: 2}}\n",
         "c.yaml:1:40: sam_distill.distill_interval: out of range: expected "
         "a whole number from 0 to 2147483647"},
        {"sam_distill: {distill_interval: {1: 1}}\n",
         "c.yaml:1:34: sam_distill.distill_interval: the first step must be 0"},
        {"sam_distill: {distill_interval: {0: 1, 5: 2, 5: 3}}\n",
         "c.yaml:1:46: sam_distill.distill_interval: the steps must rise from one to the next"},
        {"sam_distill: {distill_interval: {0:1}}\n",
         "c.yaml:1:34: sam_distill.distill_interval: write a space after each colon: {0: 1, 1000: 4}"},
        {"sam_distill: {distill_interval: {0: 1,1: 1,2: 1,3: 1,4: 1,5: 1,6: 1,7: 1,8: 1,9: 1,10: 1,11: 1,12: 1,13: "
         "1,14: 1,15: 1,16: 1}}\n",
         "c.yaml:1:120: sam_distill.distill_interval: at most 16 steps"},
        {"sam_distill: {sam_input_size: 500}\n", "c.yaml:1:31: sam_distill.sam_input_size: out of range: expected "
                                                 "a whole number that is a multiple of 16 from 16 to 4096"},
        {"seed: -1\n", "c.yaml:1:7: seed: out of range: expected a whole number of 0 or more"},
        {"seed: 9223372036854775808\n", "c.yaml:1:7: seed: out of range: expected a whole number "
                                        "of 0 or more"},
        {"train: {steps: 2147483648}\n", "c.yaml:1:16: train.steps: out of range: expected a whole number "
                                         "of 1 or more"},
        {"sam_distill: {loss: {temperature: 0}}\n",
         "c.yaml:1:35: sam_distill.loss.temperature: out of range: expected a number above 0, up to 100"},
        {"sam_distill: {loss: {add: {huber: -1}}}\n",
         "c.yaml:1:35: sam_distill.loss.add.huber: out of range: expected a number from 0 to 1000000"},
        {"optim: {lr: 0}\n", "c.yaml:1:13: optim.lr: out of range: expected a number above 0, up to 1000"},
        {"optim: {lr: .nan}\n", "c.yaml:1:13: optim.lr: out of range: expected a number above 0, up to 1000"},
        {"optim: {lr: -.inf}\n", "c.yaml:1:13: optim.lr: out of range: expected a number above 0, up to 1000"},
        {"optim: {lr: 1e999}\n", "c.yaml:1:13: optim.lr: out of range: expected a number above 0, up to 1000"},
        {"optim: {momentum: 1.0}\n", "c.yaml:1:19: optim.momentum: out of range: expected a number from 0 to "
                                     "0.999999"},
        {"data: {augment: {flip: -0.1}}\n", "c.yaml:1:24: data.augment.flip: out of range: expected a number "
                                            "from 0 to 1"},
        {"memory: {budget: -7GiB}\n", "c.yaml:1:18: memory.budget: out of range: expected a number of bytes of "
                                      "1 or more"},
        {"memory: {budget: -5}\n", "c.yaml:1:18: memory.budget: out of range: expected a number of bytes of 1 or "
                                   "more"},
        {"memory: {budget: 0B}\n", "c.yaml:1:18: memory.budget: out of range: expected a number of bytes of 1 or "
                                   "more"},
        {"data: {max_decode_bytes: 1KiB}\n", "c.yaml:1:26: data.max_decode_bytes: out of range: expected a "
                                             "number of bytes of 1048576 or more"},
    };
    check_bad(cases, COUNT(cases));
}

static void unknown_words_name_the_nearest_and_all(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"train: {precision: fp23}\n", "c.yaml:1:20: train.precision: unknown value, did you mean fp32? It may "
                                       "be: fp32, bf16, fp16"},
        {"device: quantum\n", "c.yaml:1:9: device: unknown value; it may be: auto, cpu, cuda"},
        {"device: 1\n", "c.yaml:1:9: device: expected one of auto, cpu, cuda, found a whole number"},
        {"train: {loss_scale: 1024}\n", "c.yaml:1:21: train.loss_scale: expected one of dynamic, found a whole number"},
        {"memory: {may_change: [precision, acumulate]}\n",
         "c.yaml:1:34: memory.may_change: unknown value, did you mean accumulate? It may be: precision, "
         "accumulate, teacher_group, optim_state, optim_shard, sam_input_size, model_type, distill_interval, "
         "sr_target_scale"},
    };
    check_bad(cases, COUNT(cases));
}

static void yaml_that_is_not_taken_is_named(void **state)
{
    (void)state;
    static const bad_file cases[] = {
        {"data:\n  size: 64\n  size: 96\n", "c.yaml:3:3: data.size: this key is given twice"},
        {"data: {size: 64}\nseed: 1\ndata: {classes: 3}\n", "c.yaml:3:1: data: this key is given twice"},
        {"seed: 1\n---\nseed: 2\n", "c.yaml:2:1: there must be one document only"},
        {"data: &d {size: 64}\n",
         "c.yaml:1:7: data: anchors and aliases (& and *) are not supported; use base: to share"},
        {"data: *d\n", "c.yaml:1:7: data: anchors and aliases (& and *) are not supported; use base: to share"},
        {"seed: !!int 5\n", "c.yaml:1:7: seed: tags (!) are not supported"},
        {"data:\n\tsize: 64\n",
         "c.yaml:2:1: not valid YAML: found character that cannot start any token, while scanning "
         "for the next token (indent with spaces, not tabs; quote a word that begins with @, ` or "
         "%)"},
        {"data: {size: 64\n", "c.yaml:2:1: not valid YAML: did not find expected ',' or '}', while parsing a flow "
                              "mapping"},
        {"data:\n  size: 64\n classes: 3\n", "c.yaml:3:2: not valid YAML: did not find expected key, while parsing a "
                                             "block mapping"},
        {"name: \"open\n",
         "c.yaml:2:1: not valid YAML: found unexpected end of stream, while scanning a quoted scalar"},
        {"name: \xff\xfe\n", "c.yaml: not valid YAML: invalid leading UTF-8 octet at byte 6"},
        {"name: a\x01z\n", "c.yaml: not valid YAML: control characters are not allowed at byte 7"},
    };
    check_bad(cases, COUNT(cases));
}

/* Nine levels of nine aliases: the first anchor is refused, so nothing is ever multiplied. */
static void a_billion_laughs_are_refused_at_once(void **state)
{
    (void)state;
    dram_str text = {0};
    dram_str_add(&text, "name: &a0 lol\n");
    for (int level = 1; level < 10; level++) {
        dram_str_add(&text, "x%d: &a%d [", level, level);
        for (int i = 0; i < 9; i++) dram_str_add(&text, "%s*a%d", i ? "," : "", level - 1);
        dram_str_add(&text, "]\n");
    }
    assert_false(text.failed);
    write_to("c.yaml", text.text);
    dram_str_free(&text);
    expect_failure("c.yaml", NULL, 0,
                   "c.yaml:1:7: name: anchors and aliases (& and *) are not supported; use base: to share");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 200000 };
    char *deep = malloc(DEPTH + 32);
    assert_non_null(deep);
    int n = sprintf(deep, "memory: {may_change: ");
    memset(deep + n, '[', DEPTH);
    write_bytes_to("c.yaml", deep, (size_t)n + DEPTH);
    free(deep);
    dram_config *cfg;
    assert_int_equal(dram_config_load("c.yaml", NULL, 0, &cfg), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "c.yaml:1:23: memory.may_change: "));
    dram_error_clear();
}

static void overrides_win_from_left_to_right(void **state)
{
    (void)state;
    write_to("c.yaml", "name: here\ndata: {size: 64, classes: 3}\nmemory: {budget: 1GiB}\n");
    const char *const overrides[] = {"data.size=96",       "data.size=128",
                                     "memory.budget=none", "data.augment={flip: 0.25, crop: false}",
                                     "name=2024",          "sam_distill.teacher.weights=random",
                                     "run.dir=out dir",    "memory.may_change=[]",
                                     "optim.lr=1e-4"};
    dram_config *cfg = load("c.yaml", overrides, COUNT(overrides));
    assert_int_equal(cfg->data.size, 128);
    assert_int_equal(cfg->data.classes, 3);
    assert_int_equal(cfg->memory.budget, DRAM_BYTES_NONE);
    assert_true(cfg->data.augment.flip == 0.25);
    assert_false(cfg->data.augment.crop);
    assert_string_equal(cfg->name, "2024"); /* a shell eats quotes: a number may be a name here */
    assert_string_equal(cfg->sam_distill.teacher.weights, DRAM_WEIGHTS_RANDOM);
    assert_string_equal(cfg->run.dir, "out dir");
    assert_true(cfg->optim.lr == 1e-4);
    assert_string_equal(dram_config_where(cfg, "data.size"), "command line");
    assert_string_equal(dram_config_where(cfg, "data.augment.flip"), "command line");
    assert_string_equal(dram_config_where(cfg, "data.classes"), "c.yaml:2:27");
    dram_config_free(cfg);
}

static void bad_overrides_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"data.size", "command line: \"data.size\" is not of the form key=value"},
        {"=5", "command line: \"=5\" is not of the form key=value"},
        {"trian.steps=5", "command line: trian.steps: unknown key, did you mean train.steps?"},
        {"data.train.image=x", "command line: data.train.image: unknown key, did you mean data.train.images?"},
        {"qqqqqqqq.zzzzzzzz=1",
         "command line: qqqqqqqq.zzzzzzzz: unknown key; a config may have: base, name, seed, "
         "device, threads, cuda, data, student, sam_distill, resolution_distill, task, optim, train, "
         "memory, run, distributed"},
        {"data={sise: 64}", "command line: data.sise: unknown key, did you mean data.size?"},
        {"data={size: 64, size: 64}", "command line: data.size: this key is given twice"},
        {"data.size=",
         "command line: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, found "
         "nothing"},
        {"data.size=33",
         "command line: data.size: 33 is out of range: expected a whole number that is a multiple of 32 from 32 "
         "to 8192"},
        {"data.size=[1",
         "command line: data.size: expected a whole number that is a multiple of 32 from 32 to 8192, found a "
         "list"},
        {"memory.may_change=[precision",
         "command line: memory.may_change: not valid YAML: did not find expected ',' or "
         "']', while parsing a flow sequence"},
        {"name=@x", "command line: name: not valid YAML: found character that cannot start any token, while scanning "
                    "for the next token (indent with spaces, not tabs; quote a word that begins with @, ` or %)"},
        {"name=a\n---\nb", "command line: name: there must be one document only"},
        {"name=\xff", "command line: name: not valid YAML: invalid leading UTF-8 octet at byte 0"},
        {"base=x.yaml", "command line: base: works in a file only"},
    };
    for (int i = 0; i < COUNT(cases); i++) expect_failure(NULL, &cases[i].text, 1, cases[i].error);
}

static void later_layers_fail_with_the_place(void **state)
{
    (void)state;
    const char *const overrides[] = {"optim.lr=0.5"};
    write_to("c.yaml", "student:\n  arch: regnety_400\n");
    dram_config *cfg = load("c.yaml", overrides, 1);
    assert_int_equal(dram_config_fail(cfg, "student.arch", "no backbone is called %s", cfg->student.arch),
                     DRAM_ERR_CONFIG);
    assert_string_equal(dram_error_text(), "c.yaml:2:9: student.arch: no backbone is called regnety_400");
    dram_error_clear();
    dram_config_fail(cfg, "optim.lr", "too high");
    assert_string_equal(dram_error_text(), "command line: optim.lr: too high");
    dram_error_clear();
    dram_config_fail(cfg, "data.size", "too large");
    assert_string_equal(dram_error_text(), "c.yaml: data.size: too large");
    dram_error_clear();
    dram_config_free(cfg);
    cfg = load(NULL, NULL, 0);
    dram_config_fail(cfg, "data.size", "too large");
    assert_string_equal(dram_error_text(), "data.size: too large");
    dram_error_clear();
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_load_without_a_file),           cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(an_empty_file_is_the_defaults),          cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(wrong_types_say_what_was_found),         cmocka_unit_test(ranges_are_named),
        cmocka_unit_test(unknown_words_name_the_nearest_and_all), cmocka_unit_test(yaml_that_is_not_taken_is_named),
        cmocka_unit_test(a_billion_laughs_are_refused_at_once),   cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(overrides_win_from_left_to_right),       cmocka_unit_test(bad_overrides_are_named),
        cmocka_unit_test(later_layers_fail_with_the_place),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
