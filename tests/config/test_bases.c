/* Inheritance by `base:`, and what paths are relative to. */
#include "base/log.h"
#include "config/helpers.h"

static void make_folders(void)
{
    static const char *const folders[] = {"tiers", "tiers/small", "runs-of-mine", "data"};
    for (int i = 0; i < COUNT(folders); i++) mkdir(folders[i], 0777);
}

static void later_files_win(void **state)
{
    (void)state;
    make_folders();
    write_to("tiers/small/root.yaml",
             "seed: 1\nname: root\ndata: {size: 32, classes: 3}\noptim: {lr: 0.5, type: sgd}\n");
    write_to("tiers/mid.yaml", "base: small/root.yaml\nseed: 2\nname: mid\noptim:\n  lr: 0.25\n");
    write_to("top.yaml", "seed: 3\nbase: tiers/mid.yaml\n");
    const char *const overrides[] = {"data.classes=5"};
    dram_config *cfg = load("top.yaml", overrides, 1);
    assert_int_equal(cfg->seed, 3);
    assert_string_equal(cfg->name, "mid");
    assert_int_equal(cfg->data.size, 32);
    assert_int_equal(cfg->data.classes, 5);
    assert_true(cfg->optim.lr == 0.25);
    assert_int_equal(cfg->optim.type, DRAM_OPTIM_SGD);
    assert_string_equal(dram_config_where(cfg, "seed"), "top.yaml:1:7");
    assert_string_equal(dram_config_where(cfg, "name"), "tiers/mid.yaml:3:7");
    assert_string_equal(dram_config_where(cfg, "optim.lr"), "tiers/mid.yaml:5:7");
    assert_string_equal(dram_config_where(cfg, "data.size"), "tiers/small/root.yaml:3:14");
    assert_string_equal(dram_config_where(cfg, "data.classes"), "command line");
    assert_string_equal(dram_config_where(cfg, "optim.eps"), "default");
    dram_config_free(cfg);
}

typedef struct {
    char text[400];
    int n;
} listed;

static dram_status list_entry(void *context, const dram_config_entry *e)
{
    listed *l = context;
    l->n++;
    if (strcmp(e->value, e->standard) != 0)
        snprintf(l->text + strlen(l->text), sizeof l->text - strlen(l->text), "%s %s %s\n", e->key, e->value,
                 e->standard);
    return DRAM_OK;
}

/* What a config was made from is told, written as a config of its own, and held against it. */
static void a_base_by_itself(void **state)
{
    (void)state;
    make_folders();
    write_to("tiers/small/root.yaml", "data: {size: 32}\noptim: {lr: 0.5, type: sgd}\n");
    write_to("tiers/a\nb.yaml", "base: small/root.yaml\noptim: {lr: 0.25}\nsam_distill: {cache: mine}\n");
    write_to("top.yaml", "base: \"tiers/a\\nb.yaml\"\nseed: 3\ndata: {augment: {crop: false, color_jitter: 0}}\n");
    const char *const overrides[] = {"optim.lr=0.125"};
    dram_config *base, *cfg = load("top.yaml", overrides, 1);
    dram_str yaml = {0};
    listed l = {{0}, 0}, again = {{0}, 0}, plain = {{0}, 0};
    assert_string_equal(dram_config_file(cfg), "top.yaml");
    assert_string_equal(dram_config_base(cfg), "tiers/a\nb.yaml"); /* the first, not its own */
    assert_int_equal(dram_config_write_base(dram_config_base(cfg), "of\nit", &yaml), DRAM_OK);
    static const char first[] = "# tiers/a\\x0Ab.yaml, of\\x0Ait\nname: run\n";
    assert_memory_equal(yaml.text, first, sizeof first - 1);
    write_bytes_to("base.yaml", yaml.text, yaml.length);
    assert_int_equal(dram_config_try("base.yaml", NULL, 0, &base), DRAM_OK);
    assert_int_equal(dram_config_each(cfg, base, list_entry, &l), DRAM_OK);
    assert_string_equal(
        l.text, "seed 3 1\ndata.augment.color_jitter 0.0 0.2\ndata.augment.crop false true\noptim.lr 0.125 0.25\n");
    assert_int_equal(dram_config_each(base, base, list_entry, &again), DRAM_OK);
    assert_string_equal(again.text, "");
    assert_int_equal(dram_config_each(base, NULL, list_entry, &plain), DRAM_OK);
    assert_non_null(strstr(plain.text, "optim.lr 0.25 0.001\n"));
    assert_true(l.n > 50 && again.n == l.n && plain.n == l.n);
    dram_config_free(base);
    dram_config_free(cfg);
    dram_str_free(&yaml);
    cfg = load("tiers/small/root.yaml", NULL, 0);
    assert_string_equal(dram_config_file(cfg), "tiers/small/root.yaml");
    assert_null(dram_config_base(cfg));
    dram_config_free(cfg);
    assert_int_equal(dram_config_load(NULL, NULL, 0, &cfg), DRAM_OK);
    assert_null(dram_config_file(cfg));
    dram_config_free(cfg);
    assert_int_equal(dram_config_write_base("gone.yaml", "", &yaml), DRAM_ERR_CONFIG);
    assert_int_equal(yaml.length, 0);
    dram_error_clear();
}

static char told[256];
static void keep_told(void *context, dram_log_level level, const char *message)
{
    (void)context;
    assert_int_equal(level, DRAM_LOG_INFO);
    assert_string_equal(told, ""); /* one line */
    snprintf(told, sizeof told, "%s", message);
}

/* The warm-up gives way to a smaller train.steps that wins over its place, and to no other. */
static void who_shortens_a_run_shortens_its_warmup(void **state)
{
    (void)state;
    static const char *const steps[] = {"train.steps=5"}, *const both[] = {"train.steps=5", "optim.warmup_steps=6"};
    static const char *const longer[] = {"optim.warmup_steps=21"}, *const just[] = {"train.steps=10"};
    static const struct {
        const char *file;
        const char *const *overrides;
        int n_overrides, want; /* 0: an error */
        const char *says;
    } cases[] = {
        {"run.yaml", NULL, 0, 10, ""},
        {"run.yaml", just, 1, 10, ""},
        {"run.yaml", steps, 1, 5,
         "the warm-up is shortened to train.steps, 5: optim.warmup_steps is 10 in run.yaml:1:23"},
        {"run.yaml", both, 2, 0, "command line: optim.warmup_steps: 6 is more than train.steps, 5; lower it"},
        {"run.yaml", longer, 1, 0, "command line: optim.warmup_steps: 21 is more than train.steps, 20; lower it"},
        {"short.yaml", NULL, 0, 3,
         "the warm-up is shortened to train.steps, 3: optim.warmup_steps is 10 in run.yaml:1:23"},
        {"slow.yaml", NULL, 0, 0, "slow.yaml:2:23: optim.warmup_steps: 30 is more than train.steps, 20; lower it"},
        {"wrong.yaml", NULL, 0, 0, "wrong.yaml:2:23: optim.warmup_steps: 9 is more than train.steps, 8; lower it"},
        {"wrong.yaml", steps, 1, 5,
         "the warm-up is shortened to train.steps, 5: optim.warmup_steps is 9 in wrong.yaml:2:23"},
        {"none.yaml", steps, 1, 5, ""}, /* the default is no one's wish */
    };
    write_to("run.yaml", "optim: {warmup_steps: 10}\ntrain: {steps: 20}\n");
    write_to("short.yaml", "base: run.yaml\ntrain: {steps: 3}\n");
    write_to("slow.yaml", "base: run.yaml\noptim: {warmup_steps: 30}\n");
    write_to("wrong.yaml", "train: {steps: 8}\noptim: {warmup_steps: 9}\n");
    write_to("none.yaml", "seed: 1\n");
    dram_log_set_sink(keep_told, NULL);
    for (int i = 0; i < COUNT(cases); i++) {
        told[0] = '\0';
        if (!cases[i].want) {
            expect_failure(cases[i].file, cases[i].overrides, cases[i].n_overrides, cases[i].says);
            continue;
        }
        dram_config *cfg = load(cases[i].file, cases[i].overrides, cases[i].n_overrides);
        assert_int_equal(cfg->optim.warmup_steps, cases[i].want);
        assert_string_equal(told, cases[i].says);
        dram_config_free(cfg);
    }
    dram_log_set_sink(NULL, NULL);
}

static void a_wrong_value_in_a_base_is_an_error_though_overridden(void **state)
{
    (void)state;
    write_to("low.yaml", "data:\n  size: 33\n");
    write_to("top.yaml", "base: low.yaml\ndata: {size: 64}\n");
    expect_failure("top.yaml", NULL, 0,
                   "low.yaml:2:9: data.size: out of range: expected a whole number that is a multiple of 32 from "
                   "32 to 8192");
}

static void bases_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    make_folders();
    expect_failure("absent.yaml", NULL, 0, "absent.yaml: No such file or directory");
    expect_failure("tiers", NULL, 0, "tiers: not a file: a folder");
    assert_int_equal(mkfifo("pipe.yaml", 0666), 0); /* which nobody will ever write to */
    expect_failure("pipe.yaml", NULL, 0, "pipe.yaml: not a file: a pipe");
    write_to("piped.yaml", "base: pipe.yaml\n");
    expect_failure("piped.yaml", NULL, 0, "piped.yaml:1:7: base: pipe.yaml: not a file: a pipe");
    expect_failure("/dev/null", NULL, 0, "/dev/null: not a file: a device");
    write_to("tiers/top.yaml", "seed: 1\nbase:  absent.yaml\n");
    expect_failure("tiers/top.yaml", NULL, 0, "tiers/top.yaml:2:8: base: tiers/absent.yaml: No such file or directory");
    write_to("self.yaml", "base: ./self.yaml\n");
    expect_failure("self.yaml", NULL, 0,
                   "self.yaml:1:7: base: ./self.yaml: this file is already among those that lead here: base goes round "
                   "in a circle");
    write_to("a.yaml", "base: tiers/b.yaml\n");
    write_to("tiers/b.yaml", "base: link.yaml\n");
    assert_int_equal(symlink("../a.yaml", "tiers/link.yaml"), 0);
    expect_failure(
        "a.yaml", NULL, 0,
        "tiers/b.yaml:1:7: base: tiers/link.yaml: this file is already among those that lead here: base goes "
        "round in a circle");
    write_to("top.yaml", "base: low.yaml\nbase: low.yaml\n");
    expect_failure("top.yaml", NULL, 0, "top.yaml:2:1: base: this key is given twice");
}

static void a_long_chain_ends_in_an_error(void **state)
{
    (void)state;
    char name[32], text[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "chain%02d.yaml", i);
        snprintf(text, sizeof text, i == 39 ? "seed: 9\n" : "base: chain%02d.yaml\n", i + 1);
        write_to(name, text);
    }
    expect_failure("chain00.yaml", NULL, 0,
                   "chain32.yaml:1:7: base: chain33.yaml: too many files in a row that name a base");
    dram_config *cfg = load("chain07.yaml", NULL, 0); /* 32 bases */
    assert_int_equal(cfg->seed, 9);
    dram_config_free(cfg);
}

static void a_file_too_large_is_no_config(void **state)
{
    (void)state;
    enum { LARGE = (1 << 20) + 1 };
    char *text = malloc(LARGE);
    assert_non_null(text);
    memset(text, '#', LARGE);
    write_bytes_to("large.yaml", text, LARGE);
    expect_failure("large.yaml", NULL, 0, "large.yaml: larger than 1 MiB: this is no config");
    write_bytes_to("large.yaml", text, LARGE - 1);
    free(text);
    dram_config_free(load("large.yaml", NULL, 0));
}

static void expect_path(const char *got, const char *inside)
{
    char want[PATH_MAX + 64];
    snprintf(want, sizeof want, "%s%s%s", test_folder, *inside ? "/" : "", inside);
    assert_string_equal(got, want);
}

static void input_paths_are_relative_to_their_file(void **state)
{
    (void)state;
    make_folders();
    write_to("tiers/low.yaml", "data:\n  train: {images: ../data/i, labels: ./l}\n  val: {images: ..}\n"
                               "student: {weights: /abs/w}\n"
                               "sam_distill: {cache: none, teacher: {weights: random}}\n"
                               "run: {dir: out}\n");
    write_to("top.yaml", "base: tiers/low.yaml\ndata: {val: {labels: v}}\n");
    const char *const overrides[] = {"sam_distill.teacher.weights=./w/x"};
    assert_int_equal(chdir("runs-of-mine"), 0);
    dram_config *cfg = load("../top.yaml", overrides, 1);
    expect_path(cfg->data.train.images, "data/i");
    expect_path(cfg->data.train.labels, "tiers/l");
    expect_path(cfg->data.val.images, "");
    expect_path(cfg->data.val.labels, "v");
    assert_string_equal(cfg->student.weights, "/abs/w");
    expect_path(cfg->sam_distill.teacher.weights, "runs-of-mine/w/x");
    assert_string_equal(cfg->run.dir, "out"); /* output: relative to the working directory */
    assert_null(cfg->sam_distill.cache);
    dram_config_free(cfg);
    assert_int_equal(chdir(".."), 0);
}

/* As a shell reads it, for every key that is a path, in a file and on the command line. */
static void a_tilde_is_the_home_folder(void **state)
{
    (void)state;
    char *home = strdup(getenv("HOME") ? getenv("HOME") : "/");
    const char *const overrides[] = {"run.dir=~/runs", "sam_distill.teacher.weights=~/w/~"};
    assert_int_equal(mkdir("home", 0777), 0);
    write_to("home/low.yaml", "run: {keep: 7}\n");
    write_to("tilde.yaml", "base: ~/low.yaml\nname: ~x\ndata: {train: {images: ~/a b, labels: ./~/l}, augment: {crop: "
                           "false, color_jitter: 0}}\n"
                           "student: {weights: \"~\"}\nsam_distill: {cache: ~/c}\nmemory: {profile: ~me/p}\n");
    char here[PATH_MAX], in_home[PATH_MAX + 8];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(in_home, sizeof in_home, "%s/home/", here); /* its last slash is not doubled */
    assert_int_equal(setenv("HOME", in_home, 1), 0);
    dram_config *cfg = load("tilde.yaml", overrides, 2);
    assert_int_equal(cfg->run.keep, 7);
    assert_string_equal(cfg->name, "~x"); /* no path */
    expect_path(cfg->data.train.images, "home/a b");
    expect_path(cfg->data.train.labels, "~/l");
    expect_path(cfg->student.weights, "home/");
    expect_path(cfg->sam_distill.teacher.weights, "home/w/~");
    expect_path(cfg->sam_distill.cache, "home/c");
    expect_path(cfg->run.dir, "home/runs");
    assert_string_equal(cfg->memory.profile, "~me/p"); /* a name like any other */
    dram_config_free(cfg);
    assert_int_equal(setenv("HOME", "/", 1), 0);
    cfg = load(NULL, overrides, 2);
    assert_string_equal(cfg->run.dir, "/runs");
    dram_config_free(cfg);
    expect_failure("tilde.yaml", NULL, 0, "tilde.yaml:1:7: base: /low.yaml: No such file or directory");
    assert_int_equal(setenv("HOME", "not/absolute", 1), 0);
    expect_failure(NULL, overrides, 1,
                   "command line: run.dir: what begins with ~ is in the home folder, and HOME does not name one");
    assert_int_equal(unsetenv("HOME"), 0);
    expect_failure("tilde.yaml", NULL, 0,
                   "tilde.yaml:1:7: base: what begins with ~ is in the home folder, and HOME does not name one");
    write_to("bare.yaml", "run: {dir: ~}\n"); /* YAML's null */
    expect_failure("bare.yaml", NULL, 0, "bare.yaml:1:12: run.dir: expected a path, found nothing");
    assert_int_equal(setenv("HOME", home, 1), 0);
    free(home);
}

static void a_quoted_keyword_is_a_path(void **state)
{
    (void)state;
    write_to("c.yaml", "student: {weights: 'none'}\nsam_distill: {teacher: {weights: \"random\"}}\n"
                       "data: {train: {images: /../x, labels: ../../../../../../../../../../../../../../y}}\n");
    dram_config *cfg = load("c.yaml", NULL, 0);
    expect_path(cfg->student.weights, "none");
    expect_path(cfg->sam_distill.teacher.weights, "random");
    assert_string_equal(cfg->data.train.images, "/../x"); /* as written */
    assert_string_equal(cfg->data.train.labels, "/y");
    dram_config_free(cfg);
    write_to("c.yaml", "student: {weights: none}\nsam_distill: {teacher: {weights: random}}\n");
    cfg = load("c.yaml", NULL, 0);
    assert_null(cfg->student.weights);
    assert_string_equal(cfg->sam_distill.teacher.weights, DRAM_WEIGHTS_RANDOM);
    dram_config_free(cfg);
}

/* A file reached through a linked folder: ".." is taken from where the file really is. */
static void a_linked_folder_is_followed(void **state)
{
    (void)state;
    make_folders();
    write_to("tiers/small/c.yaml", "data: {train: {images: ../i}}\n");
    assert_int_equal(symlink("tiers/small", "linked"), 0);
    dram_config *cfg = load("linked/c.yaml", NULL, 0);
    expect_path(cfg->data.train.images, "tiers/i");
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_files_win),
        cmocka_unit_test(a_base_by_itself),
        cmocka_unit_test(who_shortens_a_run_shortens_its_warmup),
        cmocka_unit_test(a_wrong_value_in_a_base_is_an_error_though_overridden),
        cmocka_unit_test(bases_that_cannot_be_used_are_named),
        cmocka_unit_test(a_long_chain_ends_in_an_error),
        cmocka_unit_test(a_file_too_large_is_no_config),
        cmocka_unit_test(input_paths_are_relative_to_their_file),
        cmocka_unit_test(a_tilde_is_the_home_folder),
        cmocka_unit_test(a_quoted_keyword_is_a_path),
        cmocka_unit_test(a_linked_folder_is_followed),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
