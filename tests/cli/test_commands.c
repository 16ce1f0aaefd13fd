/* The commands that run nothing: usage, errors, plan, config, doctor, synth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

static const char plan_yaml[] = "data:\n"
                                "  size: 64\n"
                                "  train: {images: nowhere/i, labels: nowhere/l}\n"
                                "  classes: 12\n"
                                "student: {arch: regnetx_002}\n"
                                "sam_distill: {teacher: {model_type: vit_micro, weights: nowhere/t.safetensors}, "
                                "sam_input_size: 64}\n"
                                "task: {enabled: true}\n"
                                "train: {batch_size: 2}\n";

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "plan.yaml"), plan_yaml, sizeof plan_yaml - 1);
    return 0;
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

static void help(void **state)
{
    static const char *const commands[] = {"train", "plan", "eval", "features", "export", "synth", "config", "doctor"};
    static const char *const pages[] = {"--help", "-h", "help"};
    char text[64];
    for (int i = 0; i < 3; i++) {
        dram_ok(state, pages[i]);
        for (int c = 0; c < 8; c++) {
            snprintf(text, sizeof text, "  dram %s ", commands[c]);
            assert_int_equal(count(printed, text), 1);
        }
        assert_string_equal(complained, "");
    }
    for (int c = 0; c < 8; c++) {
        snprintf(text, sizeof text, "%s --help", commands[c]);
        dram_ok(state, text);
        snprintf(text, sizeof text, "dram %s ", commands[c]);
        assert_int_equal(strncmp(printed, text, strlen(text)), 0);
        assert_int_equal(count(printed, "--help "), 1);
        assert_string_equal(complained, "");
    }
    dram_ok(state, "--version");
    assert_string_equal(printed, "dram " DRAM_VERSION "\n");
    assert_int_equal(dram(state, ""), 2);
    assert_string_equal(printed, "");
    assert_int_equal(count(complained, "Exit codes: "), 1);
}

/* A tier's budget is the largest quarter of a GiB that leaves, of a card's so many 10^9 bytes, what a plan assumes that
 * a process takes beside its arena. */
static void tiers_leave_what_is_assumed(void **state)
{
    static const int cards[] = {6, 8, 12, 16, 24, 40, 80};
    const double gib = 1 << 30;
    dram_ok(state, "plan plan.yaml sam_distill.teacher.weights=random device=cuda memory.profile=none --json");
    cJSON *root = printed_json();
    const cJSON *overhead = cJSON_GetObjectItemCaseSensitive(root, "overhead_bytes");
    double beside = number_of(overhead, "context") + number_of(overhead, "libraries");
    cJSON_Delete(root);
    for (size_t i = 0; i < sizeof cards / sizeof cards[0]; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/configs/tiers/%02dgb.yaml", DRAM_SOURCE_DIR, cards[i]);
        char *text = get_file(path, NULL), *budget = strstr(text, "budget: "), *unit;
        assert_non_null(budget);
        double left = cards[i] * 1e9 - strtod(budget + 8, &unit) * gib - beside;
        assert_int_equal(strncmp(unit, "GiB ", 4), 0);
        if (left < 0 || left >= 0.25 * gib) fail_msg("%s leaves %.3f GiB beside a process", path, left / gib);
        free(text);
    }
}

static void wrong_commands(void **state)
{
    static const struct {
        const char *args, *text;
    } cases[] = {
        {"trian c.yaml", "unknown command \"trian\"; did you mean train?"},
        {"quxbar", "unknown command \"quxbar\"; `dram --help` lists them"},
        {"train", "train: an argument is missing; see `dram train --help`"},
        {"train plan.yaml --jsn", "train: unknown option --jsn; did you mean --json?; see `dram train --help`"},
        {"train plan.yaml --json=1", "train: --json takes no value"},
        {"train plan.yaml more", "train: what is \"more\"? An override is key=value; see `dram train --help`"},
        {"train nowhere.yaml", "nowhere.yaml"},
        {"train plan.yaml data.sise=64", "command line: data.sise: unknown key, did you mean data.size?"},
        {"train plan.yaml data.size=sixty", "command line: data.size: "},
        {"train plan.yaml data.size=65", "command line: data.size: "},
        {"train plan.yaml data.ignore_index=256", "command line: data.ignore_index: "},
        {"train plan.yaml data.classes=257", "command line: data.classes: "},
        {"train plan.yaml", "plan.yaml:3:19: data.train.images"},
        {"train plan.yaml --resume", "plan.yaml:3:19: data.train.images"},
        {"plan plan.yaml --dump", "plan: --dump needs a value: FILE"},
        {"plan plan.yaml --dump=nowhere/d.json", "nowhere/d.json cannot be written"},
        {"plan plan.yaml student.arch=regnety_005", "command line: student.arch: unknown architecture \"regnety_005\"; "
                                                    "did you mean regnety_0"},
        {"plan plan.yaml optim.type=adamv", "command line: optim.type: "},
        {"eval plan.yaml", "eval: --weights FILE is missing"},
        {"eval plan.yaml --weights nowhere.safetensors", "plan.yaml"},
        {"eval plan.yaml --save-predictions p", "eval: --weights FILE is missing"},
        {"eval plan.yaml --save-predictions", "eval: --save-predictions needs a value: DIR"},
        {"eval plan.yaml --teacher-fidelty d",
         "eval: unknown option --teacher-fidelty; did you mean --teacher-fidelity?"},
        {"eval plan.yaml --teacher-fidelity d --weights w",
         "eval: --teacher-fidelity looks at the teacher alone; leave "
         "--weights out"},
        {"eval plan.yaml --teacher-fidelity d --save-predictions p", "leave --save-predictions out"},
        {"eval plan.yaml --teacher-fidelity d --sizes 64", "leave --sizes out"},
        {"eval plan.yaml --weights w --sizes 64 --save-predictions p", "leave --sizes out, and set data.size"},
        {"eval plan.yaml --weights w --sizes 64,x", "eval: --sizes 64,x: sides in pixels with commas between, as in"},
        {"eval plan.yaml --weights w --sizes 64,", "sides in pixels"},
        {"eval plan.yaml --weights w --sizes -64", "sides in pixels"},
        {"eval plan.yaml --weights w --sizes=", "sides in pixels"},
        {"eval plan.yaml --weights w --sizes 64,96,64", "64 is there twice"},
        {"eval plan.yaml --weights w --sizes 64,99999999999", "sides in pixels"},
        {"eval plan.yaml --weights w --sizes 64,40", "eval: --sizes: command line: data.size: 40 is out of range"},
        {"eval plan.yaml --weights w --sizes 64 data.size=96", "eval: --sizes sets data.size, and data.size=96 stands"},
        {"eval plan.yaml --weights w --sizes 32,64,96,128,160,192,224,256,288,320,352,384,416,448,480,512,544",
         "more than 16 sides"},
        {"eval plan.yaml --teacher-fidelity d", "plan.yaml:6:57: sam_distill.teacher.weights: "},
        {"features", "features: an argument is missing; see `dram features --help`"},
        {"features plan.yaml", "features: an argument is missing"},
        {"features plan.yaml data.size=64", "features: an argument is missing"},
        {"features plan.yaml a.jpg", "features: --weights FILE is missing"},
        {"features plan.yaml a.jpg --weights w", "features: --out DIR is missing"},
        {"features plan.yaml a.jpg --weigths w --out o", "features: unknown option --weigths; did you mean --weights?"},
        {"features plan.yaml a.jpg --weights w --out o", "plan.yaml:6:57: sam_distill.teacher.weights: "},
        {"features plan.yaml a.jpg --weights w --out o data.sise=1", "command line: data.sise: unknown key"},
        {"config", "config: an argument is missing"},
        {"config --shema", "config: unknown option --shema; did you mean --schema?"},
        {"doctor now", "doctor: what is \"now\"?"},
        {"synth", "synth: an argument is missing"},
        {"synth s", "synth: --count is missing"},
        {"synth s --count 0", "synth: --count is 0, but must be a whole number from 1 to "},
        {"synth s --count -3", "synth: --count is -3"},
        {"synth s --count 2.5", "synth: --count is 2.5"},
        {"synth s --count 99999999999999999999", "synth: --count is 99999999999999999999"},
        {"synth s --count 2 --seed x", "synth: --seed is x"},
        {"synth s --count 2 --seed -1", "synth: --seed is -1"},
        {"synth s --count 2 --style Dusk", "synth: --style is Dusk, but must be one of plain, varied, dusk"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) dram_fails(state, cases[i].args, 2, cases[i].text);
    assert_false(is_there(in_dir(state, "runs")));
    assert_false(is_there(in_dir(state, "s")));
}

/* In a file, an error has its line and column. */
static void wrong_files(void **state)
{
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        {"data:\n  sise: 64\n", "dram: bad.yaml:2:3: data.sise: unknown key, did you mean data.size?\n"},
        {"data: {size: [64]}\n", "dram: bad.yaml:1:14: data.size: "},
        {"train: {steps: 0}\n", "dram: bad.yaml:1:16: train.steps: "},
        {"student: {arch: regnetz_004}\n", "dram: bad.yaml:1:17: student.arch: unknown architecture"},
        {"data: {size: 64\n", "dram: bad.yaml:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_file(in_dir(state, "bad.yaml"), cases[i].yaml, strlen(cases[i].yaml));
        dram_fails(state, "plan bad.yaml", 2, cases[i].text);
    }
}

static void plan(void **state)
{
    static const char *const keys[] = {"fits",           "budget_bytes", "planned_peak_bytes", "arena_bytes",
                                       "max_live_bytes", "floor_bytes",  "recompute_ratio",    "categories",
                                       "levers",         "programs"};
    dram_ok(state, "plan plan.yaml");
    assert_true(count(printed, "teacher_weights") >= 1 && count(printed, "distil_step") >= 1);
    assert_int_equal(count(printed, "estimate"), 0); /* which --card asks for */
    dram_ok(state, "plan plan.yaml --json --dump dump.json --svg plan.svg");
    cJSON *root = printed_json();
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!cJSON_GetObjectItemCaseSensitive(root, keys[i])) fail_msg("%s is missing", keys[i]);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "fits")));
    assert_null(cJSON_GetObjectItemCaseSensitive(root, "card"));
    double arena = number_of(root, "arena_bytes"), sum = 0;
    assert_true(arena == number_of(root, "planned_peak_bytes"));
    assert_true(arena >= number_of(root, "max_live_bytes") && number_of(root, "max_live_bytes") > 1e7);
    assert_true(number_of(root, "floor_bytes") <= number_of(root, "max_live_bytes"));
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "categories")) sum += item->valuedouble;
    assert_true(sum == number_of(root, "max_live_bytes"));
    cJSON_Delete(root);

    assert_int_equal(dram_json_read(in_dir(state, "dump.json"), &root), DRAM_OK);
    const cJSON *program = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "programs"), 0);
    assert_string_equal(text_of(program, "name"), "distil_step");
    int values = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(program, "values"))
    {
        assert_true(number_of(item, "offset") + number_of(item, "size") <= arena);
        assert_true(number_of(item, "first") <= number_of(item, "last"));
        values++;
    }
    assert_true(values > 500);
    cJSON_Delete(root);
    char *svg = get_file(in_dir(state, "plan.svg"), NULL);
    assert_non_null(strstr(svg, "<svg"));
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
}

/* One value out of what --json prints. */
static void plan_gets_one_value(void **state)
{
    static const struct {
        const char *key, *text;
    } cases[] = {
        {"nothing", "--get nothing: there is no \"nothing\"; there are fits, budget_bytes, "},
        {"programs.plain", "--get programs.plain: there is no \"plain\"; there are distil_step, evaluation\n"},
        {"programs.", "--get programs.: there is no \"\"; there are distil_step, evaluation\n"},
        {"categories.input.more", "--get categories.input.more: there is no \"more\" in a single value\n"},
    };
    char args[96], want[64];
    dram_ok(state, "plan plan.yaml --json");
    cJSON *report = printed_json();
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(report, "programs"), 0);
    assert_string_equal(text_of(first, "name"), "distil_step");
    dram_ok(state, "plan plan.yaml --json --get programs.distil_step.peak_bytes");
    snprintf(want, sizeof want, "%.0f\n", number_of(first, "peak_bytes"));
    assert_string_equal(printed, want);
    dram_ok(state, "plan plan.yaml --json --get programs.distil_step.peak_at"); /* no quotes */
    snprintf(want, sizeof want, "%s\n", text_of(first, "peak_at"));
    assert_string_equal(printed, want);
    dram_ok(state, "plan plan.yaml --json --get levers.in_place.pulled");
    assert_string_equal(printed, "true\n");
    dram_ok(state, "plan plan.yaml --json --get budget_bytes");
    assert_string_equal(printed, "null\n");
    dram_ok(state, "plan plan.yaml --json --get programs.distil_step");
    cJSON *part = printed_json();
    assert_true(cJSON_Compare(part, first, true));
    cJSON_Delete(part);
    cJSON_Delete(report);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(args, sizeof args, "plan plan.yaml --json --get %s", cases[i].key);
        dram_fails(state, args, 2, cases[i].text);
    }
    dram_fails(state, "plan plan.yaml --get fits", 2, "plan: --get takes a value out of --json, which is missing");
    assert_int_equal(dram(state, "plan plan.yaml memory.budget=1MiB --json --get fits"), 3);
    assert_string_equal(printed, "false\n");
}

/* With a cache the plan has no teacher, and says what filling it takes; it makes no cache. */
static void plan_with_a_cache(void **state)
{
    dram_ok(state, "plan plan.yaml --json");
    cJSON *root = printed_json();
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "cache")));
    cJSON_Delete(root);
#define CACHED "plan plan.yaml sam_distill.cache=cache data.augment.crop=false data.augment.color_jitter=0"
    dram_ok(state, CACHED);
    assert_int_equal(count(printed, "\ncache    fp16, 8.06 KiB of disk an image; filled before the first step"), 1);
    dram_ok(state, CACHED " sam_distill.cache_format=int8 --json");
    root = printed_json();
    const cJSON *cache = cJSON_GetObjectItemCaseSensitive(root, "cache");
    assert_string_equal(text_of(cache, "directory"), "cache");
    assert_string_equal(text_of(cache, "format"), "int8");
    assert_true(number_of(cache, "image_disk_bytes") == 64 + 4 * 256 + 4 * 4 * 256);
    assert_true(number_of(cache, "fill_arena_bytes") > 1e6 && number_of(cache, "fill_host_bytes") == 0);
    assert_true(number_of(cJSON_GetObjectItemCaseSensitive(root, "categories"), "teacher_weights") == 0);
    cJSON_Delete(root);
#undef CACHED
    assert_false(is_there(in_dir(state, "cache")));
    dram_fails(state, "plan plan.yaml sam_distill.cache=cache", 2, "set data.augment.crop to false");
}

/* It does not fit: exit code 3, and the numbers all the same. */
/* Every term of the loss is on the page. */
static void plan_names_the_losses(void **state)
{
    static const struct {
        const char *set, *line;
    } rows[] = {
        {"", "losses   mse to the embedding, task of 12 classes\n"},
        {"sam_distill.loss.type=cwd sam_distill.loss.temperature=4 sam_distill.loss.add.mse=0.5 "
         "sam_distill.loss.standardize=true task.enabled=false",
         "losses   cwd + 0.5 mse to the standardised embedding, temperature 4\n"},
        {"sam_distill.loss.type=huber sam_distill.loss.add.cosine=2 sam_distill.loss.add.cwd=1 task.enabled=false",
         "losses   huber + 2 cosine + 1 cwd to the embedding, temperature 1\n"},
        {"resolution_distill.enabled=true resolution_distill.standardize=true task.enabled=false",
         "losses   mse to the embedding, resolution at 3 x 3, standardised\n"},
    };
    char args[500];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(args, sizeof args, "plan plan.yaml %s", rows[i].set);
        dram_ok(state, args);
        if (!strstr(printed, rows[i].line)) fail_msg("\"%s\" is not in %s", rows[i].line, printed);
    }
}

static void plan_over_budget(void **state)
{
    assert_int_equal(dram(state, "plan plan.yaml memory.budget=1MiB --json"), 3);
    cJSON *root = printed_json();
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(root, "fits")));
    assert_true(number_of(root, "budget_bytes") == 1 << 20);
    cJSON_Delete(root);
    assert_non_null(strstr(complained, "dram: the plan needs "));
    assert_non_null(strstr(complained, "the budget is 1.00 MiB"));
    dram_ok(state, "plan plan.yaml memory.budget=7GiB");
    dram_ok(state, "plan plan.yaml memory.budget=auto"); /* no machine, no limit */
    assert_non_null(strstr(printed, "no budget is set"));
    dram_ok(state, "plan plan.yaml memory.budget=1000TiB");
    assert_non_null(strstr(complained, "note: the budget is 1000.0 TiB and this machine has "));
    /* larger than any machine: a plan is a plan */
    dram_ok(state, "plan plan.yaml train.batch_size=60000 data.size=1024 --json");
    root = printed_json();
    assert_true(number_of(root, "arena_bytes") > 1e12);
    cJSON_Delete(root);
    assert_non_null(strstr(complained, "note: the plan needs "));
}

static void config(void **state)
{
    dram_ok(state, "config plan.yaml optim.lr=0.25 seed=9223372036854775807");
    assert_non_null(strstr(printed, "lr: 0.25"));
    assert_non_null(strstr(printed, "seed: 9223372036854775807"));
    char *once = strdup(printed);
    put_file(in_dir(state, "again.yaml"), once, strlen(once));
    dram_ok(state, "config again.yaml");
    assert_string_equal(printed, once);
    free(once);
    dram_ok(state, "config --schema");
    cJSON *root = printed_json();
    assert_non_null(cJSON_GetObjectItemCaseSensitive(root, "properties"));
    cJSON_Delete(root);
    dram_ok(state, "config --keys");
    assert_non_null(strstr(printed, "resolution_distill.sr_target_scale"));
}

static void doctor(void **state)
{
    dram_ok(state, "doctor");
    static const char *const said[] = {"runs take the CPU", "memory ",         "free (", "would choose  device: cpu",
                                       "data.workers: ",    "data.prefetch: ", "tier ",  "libyaml "};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) assert_non_null(strstr(printed, said[i]));
    dram_ok(state, "doctor --json");
    cJSON *root = printed_json();
    assert_true(number_of(root, "cores") >= 1 && number_of(root, "free_bytes") > 0);
    assert_true(number_of(root, "total_bytes") >= number_of(root, "free_bytes"));
    assert_true(number_of(root, "workers") >= 1 && number_of(root, "prefetch") >= 8);
    assert_true(number_of(root, "reserve_bytes") > 64 << 20);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "gpu")));
    /* The tier is a config that is shipped, and fits what is free. */
    const cJSON *tier = cJSON_GetObjectItemCaseSensitive(root, "tier");
    double room = number_of(root, "free_bytes") - number_of(root, "reserve_bytes");
    assert_true(cJSON_IsNull(tier) == (room < 6e9));
    if (!cJSON_IsNull(tier)) {
        char path[4400];
        snprintf(path, sizeof path, "%s/configs/tiers/%s.yaml", DRAM_SOURCE_DIR, text_of(root, "tier"));
        assert_true(is_there(path));
        assert_true(strtod(text_of(root, "tier"), NULL) * 1e9 <= room);
    }
    assert_string_equal(text_of(root, "version"), DRAM_VERSION);
    assert_string_equal(text_of(root, "device"), "cpu");
    cJSON_Delete(root);
}

/* Folders above the named one are made; the same seed gives the same files. */
static void synth(void **state)
{
    dram_ok(state, "synth deep/er/scenes --count 2 --seed 5");
    dram_ok(state, "synth deep/er/scenes/ --count 2 --seed 5");
    char path[4200];
    snprintf(path, sizeof path, "synth %s/a//b --count 2 --seed 5", (const char *)*state);
    dram_ok(state, path);
    static const char *const files[] = {"images/00000.jpg", "images/00001.jpg", "labels/00000.png", "labels/00001.png",
                                        "classes.txt"};
    for (int i = 0; i < 5; i++) {
        char a[64], b[64];
        size_t bytes;
        snprintf(a, sizeof a, "deep/er/scenes/%s", files[i]);
        snprintf(b, sizeof b, "a/b/%s", files[i]);
        char *data = get_file(in_dir(state, a), &bytes);
        assert_true(bytes > 20);
        assert_file_is(in_dir(state, b), data, bytes);
        free(data);
    }
    assert_false(is_there(in_dir(state, "deep/er/scenes/images/00002.jpg")));
    dram_fails(state, "synth plan.yaml/scenes --count 1", 1, "plan.yaml/scenes: cannot make the folder: ");
}

/* Nothing that could not be written counts as done. */
static void full_output(void **state)
{
    static const char *const commands[] = {
        "--help",        "plan plan.yaml", "plan plan.yaml --json", "config plan.yaml",    "config --schema",
        "config --keys", "doctor",         "doctor --json",         "synth out --count 1", "plan --help"};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        int out = open("/dev/full", O_WRONLY | O_CLOEXEC), err = open_output(state, "stderr.txt");
        assert_true(out >= 0);
        int code = dram_wait(dram_start(state, commands[i], out, err));
        close(out);
        close(err);
        keep_output(state);
        if (code != 1) fail_msg("dram %s: exit code %d", commands[i], code);
        assert_non_null(strstr(complained, "dram: cannot write to standard output"));
    }
    int code = dram(state, "plan plan.yaml --dump /dev/full");
    assert_int_equal(code, 1);
    assert_non_null(strstr(complained, "/dev/full could not be written whole"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help),
        cmocka_unit_test(wrong_commands),
        cmocka_unit_test(wrong_files),
        cmocka_unit_test(plan),
        cmocka_unit_test(plan_gets_one_value),
        cmocka_unit_test(plan_with_a_cache),
        cmocka_unit_test(plan_names_the_losses),
        cmocka_unit_test(plan_over_budget),
        cmocka_unit_test(tiers_leave_what_is_assumed),
        cmocka_unit_test(config),
        cmocka_unit_test(doctor),
        cmocka_unit_test(synth),
        cmocka_unit_test(full_output),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
