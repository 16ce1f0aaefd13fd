/* Keys that have no effect beside another one are said. */
#include "config/helpers.h"

#include <glob.h>

#include "base/log.h"

static char said[4096];

static void hear(void *context, dram_log_level level, const char *message)
{
    (void)context;
    assert_int_equal(level, DRAM_LOG_INFO);
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", message);
}

static void tell(const char *file, const char *const *overrides, int n)
{
    dram_config *cfg = load(file, overrides, n);
    said[0] = '\0';
    dram_log_set_sink(hear, NULL);
    dram_config_tell_idle(cfg);
    dram_log_set_sink(NULL, NULL);
    dram_config_free(cfg);
}

/* "c.yaml:1:24: " becomes "c.yaml: ". */
static void cut_places(void)
{
    char *to = said;
    for (const char *p = said; *p;) {
        int n = 0;
        *to++ = *p++;
        if (sscanf(p, ":%*d:%*d: %n", &n) == 0 && n > 0) p += n - 2;
    }
    *to = '\0';
}

static void expect_said(const char *yaml, const char *text)
{
    write_to("c.yaml", yaml);
    tell("c.yaml", NULL, 0);
    cut_places();
    if (strcmp(said, text) != 0) fail_msg("for %s\n  got:  %s  want: %s", yaml, said, text);
}

#define TASK "task: {enabled: true}\n"

/* Each with the condition under which nothing is said. */
static void each_row(void **state)
{
    (void)state;
    static const struct {
        const char *idle, *said, *used;
    } cases[] = {
        {"data: {augment: {crop: false, scale_min: 0.8, scale_max: 1.5}}\n",
         "c.yaml: data.augment.scale_min, data.augment.scale_max have no effect: data.augment.crop is false\n",
         "data: {augment: {crop: true, scale_min: 0.8, scale_max: 1.5}}\n"},
        {"data: {train: {images: i, labels: l, label_fraction: 0.5}}\n", "",
         TASK "data: {classes: 2, train: {images: i, labels: l, label_fraction: 0.5}}\n"},
        {TASK "data: {classes: 2, train: {images: i, labels: l, label_seed: 3}}\n",
         "c.yaml: data.train.label_seed has no effect: data.train.label_fraction is 1.0\n",
         TASK "data: {classes: 2, train: {images: i, labels: l, label_seed: 3, label_fraction: 0.5}}\n"},
        {TASK "sam_distill: {enabled: false}\ndata: {classes: 2, train: {images: i, labels: l, labelled_share: 0.5}}\n",
         "c.yaml: data.train.labelled_share has no effect: sam_distill.enabled is false\n",
         TASK "data: {classes: 2, train: {images: i, labels: l, labelled_share: 0.5}}\n"},
        {"resolution_distill: {weight: 2}\n",
         "c.yaml: resolution_distill.weight has no effect: resolution_distill.enabled is false\n",
         "resolution_distill: {enabled: true, weight: 2}\n"},
        {"task: {weight: 2}\n", "c.yaml: task.weight has no effect: task.enabled is false\n",
         "task: {enabled: true, weight: 2}\ndata: {classes: 2}\n"},
        {"run: {eval_every: 7}\n", "c.yaml: run.eval_every has no effect: data.val.images is none\n",
         "run: {eval_every: 7}\ndata: {val: {images: i}}\n"},
        {"", "", "run: {eval_every: 0}\n"},
        {"sam_distill: {teacher: {weights: w, seed: 4}}\n", "", "sam_distill: {teacher: {weights: random, seed: 4}}\n"},
        {"sam_distill: {between: reuse}\n",
         "c.yaml: sam_distill.between has no effect: sam_distill.distill_interval is 1\n",
         "sam_distill: {between: reuse, distill_interval: 2}\n"},
        {"sam_distill: {loss: {scale_with_interval: true}}\n",
         "c.yaml: sam_distill.loss.scale_with_interval has no effect: sam_distill.distill_interval is 1\n",
         TASK "data: {classes: 2}\nsam_distill: {distill_interval: {0: 1, 9: 2}, loss: {scale_with_interval: true}}\n"},
        {"sam_distill: {loss: {temperature: 4}}\n",
         "c.yaml: sam_distill.loss.temperature has no effect: sam_distill.loss.type is mse\n",
         "sam_distill: {loss: {temperature: 4, add: {cwd: 0.5}}}\n"},
        {"sam_distill: {cache_format: int8}\n",
         "c.yaml: sam_distill.cache_format has no effect: sam_distill.cache is none\n",
         "sam_distill: {cache_format: int8, cache: c}\ndata: {augment: {crop: false, color_jitter: 0}}\n"},
        {"optim: {momentum: 0.5}\n", "c.yaml: optim.momentum has no effect: optim.type is adamw\n",
         "optim: {type: sgd, momentum: 0.5}\n"},
        {"optim: {type: sgd, beta2: 0.5}\n", "c.yaml: optim.beta2 has no effect: optim.type is sgd\n",
         "optim: {beta1: 0.5, beta2: 0.5, eps: 1.0e-6}\n"},
        {"data: {label_pattern: _L}\n", "c.yaml: data.label_pattern has no effect: data.train.labels is none\n",
         TASK "data: {classes: 2, label_pattern: _L, val: {images: i, labels: l}}\n"},
        {"data: {val: {images: i, labels: l}}\n", "c.yaml: data.val.labels has no effect: task.enabled is false\n",
         "data: {val: {images: i, labels: i}}\n"},
        {"data: {class_map: {255: 1}, reduce_zero_label: true}\n",
         "c.yaml: data.class_map, data.reduce_zero_label have no effect: task.enabled is false\n",
         TASK "data: {classes: 2, class_map: {255: 1}, class_names: [a, b]}\n"},
        {"device: cpu\ncuda: {graph: false, workspace: 32MiB}\n",
         "c.yaml: cuda.graph, cuda.workspace have no effect: device is cpu\n",
         "cuda: {graph: false, workspace: 32MiB}\n"},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        if (*cases[i].said) expect_said(cases[i].idle, cases[i].said);
        expect_said(cases[i].used, "");
    }
}

/* What names a path ends in it. */
static void paths_and_weights(void **state)
{
    (void)state;
    write_to("c.yaml", "sam_distill: {teacher: {weights: w, seed: 4}}\nstudent: {weights: s, zero_init_last: false}\n");
    tell("c.yaml", NULL, 0);
    assert_non_null(strstr(said, "sam_distill.teacher.seed has no effect: sam_distill.teacher.weights is "));
    assert_non_null(strstr(said, "student.zero_init_last has no effect: student.weights is "));
    assert_non_null(strstr(said, "/s\n"));
}

/* A line for each reason, however many keys it is for. */
static void one_line_a_reason(void **state)
{
    (void)state;
    static const char yaml[] = "sam_distill: {sam_input_size: 512, pad_to: 640, teacher: {model_type: vit_h, seed: 3}, "
                               "cache_format: int8, loss: {temperature: 2}}\n";
    write_to("base.yaml", TASK "data: {classes: 2}\nsam_distill: {enabled: false}\n");
    char all[400];
    snprintf(all, sizeof all, "base: base.yaml\n%s", yaml);
    expect_said(all, "c.yaml: sam_distill.teacher.model_type, sam_distill.teacher.seed, sam_distill.sam_input_size, "
                     "sam_distill.pad_to and 2 more have no effect: sam_distill.enabled is false\n");
    expect_said("data: {classes: 3, train: {images: i, labels: l, label_fraction: 0.5}, augment: {crop: false, "
                "scale_min: 0.6}}\n",
                "c.yaml: data.train.labels has no effect: task.enabled is false\n"
                "c.yaml: data.train.label_fraction, data.classes have no effect: task.enabled is false\n"
                "c.yaml: data.augment.scale_min has no effect: data.augment.crop is false\n");
}

/* Nothing is said of defaults, of what a base sets and its user switches off, and of what the command line switches
 * off. The other way round it is. */
static void on_purpose(void **state)
{
    (void)state;
    static const char *const off[] = {"data.augment.crop=false"}, *const set[] = {"data.augment.scale_min=0.9"};
    expect_said("data: {augment: {crop: false, scale_min: 0.5}}\n", ""); /* its default */
    expect_said("task: {enabled: false}\n", "");
    expect_said("resolution_distill: {enabled: false, weight: 2}\n", ""); /* beside its own switch */
    expect_said("task: {enabled: false, weight: 2}\ndata: {classes: 3}\n",
                "c.yaml: data.classes has no effect: task.enabled is false\n");
    static const char *const weight[] = {"resolution_distill.weight=2"};
    write_to("c.yaml", "resolution_distill: {enabled: false}\n");
    tell("c.yaml", weight, 1);
    assert_string_equal(said, "command line: resolution_distill.weight has no effect: resolution_distill.enabled is "
                              "false\n");
    write_to("base.yaml", "data: {augment: {scale_min: 0.75}}\n");
    expect_said("base: base.yaml\ndata: {augment: {crop: false}}\n", "");
    write_to("base.yaml", "data: {augment: {crop: false}}\n");
    expect_said("base: base.yaml\ndata: {augment: {scale_min: 0.75}}\n",
                "c.yaml: data.augment.scale_min has no effect: data.augment.crop is false\n");
    write_to("c.yaml", "data: {augment: {crop: false, scale_min: 0.75}}\n");
    tell("c.yaml", NULL, 0);
    assert_string_equal(said, "c.yaml:1:42: data.augment.scale_min has no effect: data.augment.crop is false\n");
    write_to("c.yaml", "data: {augment: {scale_min: 0.75}}\n");
    tell("c.yaml", off, 1);
    assert_string_equal(said, "");
    write_to("c.yaml", "data: {augment: {crop: false}}\n");
    tell("c.yaml", set, 1); /* the place is that of the key */
    assert_string_equal(said, "command line: data.augment.scale_min has no effect: data.augment.crop is false\n");
}

/* The configs that are shipped say nothing that is not heard. */
static void shipped_configs(void **state)
{
    (void)state;
    static const char *const patterns[] = {"/configs/*.yaml", "/configs/*/*.yaml", "/bench/*.yaml"};
    int seen = 0;
    for (int i = 0; i < COUNT(patterns); i++) {
        char pattern[PATH_MAX];
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s%s", DRAM_SOURCE_DIR, patterns[i]);
        assert_int_equal(glob(pattern, 0, NULL, &found), 0);
        for (size_t k = 0; k < found.gl_pathc; k++, seen++) {
            if (strstr(found.gl_pathv[k], "sweep.yaml")) continue; /* of many configs */
            tell(found.gl_pathv[k], NULL, 0);
            if (*said) fail_msg("%s", said);
        }
        globfree(&found);
    }
    assert_true(seen > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),   cmocka_unit_test(paths_and_weights), cmocka_unit_test(one_line_a_reason),
        cmocka_unit_test(on_purpose), cmocka_unit_test(shipped_configs),
    };
    return cmocka_run_group_tests(tests, enter_test_folder, leave_test_folder);
}
