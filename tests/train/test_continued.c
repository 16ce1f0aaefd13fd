/* A run that goes on: from a checkpoint that is what was saved, and with what has changed said, or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "session/started.h"
#include "train/configs.h"
#include "train/sound.h"

#define ALONE "sam_distill.enabled=false resolution_distill.enabled=false "
#define SAVING "run.save_every=1 run.keep=9 "

/* ---- what is said ---- */

static dram_str log_text; /* every message: "info: ..." or "warning: ...", a line each */

static void keep_log(void *context, dram_log_level level, const char *message)
{
    (void)context;
    dram_str_add(&log_text, "%s: %s\n", level == DRAM_LOG_WARNING ? "warning" : "info", message);
}

static void clear_log(void)
{
    dram_str_free(&log_text);
    dram_str_add(&log_text, "\n");
}

static void said(const char *line)
{
    size_t n = strlen(line);
    for (const char *at = log_text.text; (at = strstr(at, line)) != NULL; at++)
        if (at[-1] == '\n' && at[n] == '\n') return;
    fail_msg("\"%s\" is not in: %s", line, log_text.text);
}

static void not_said(const char *text)
{
    if (strstr(log_text.text, text)) fail_msg("\"%s\" is in: %s", text, log_text.text);
}

/* Two steps. A run saves at its end, with SAVING after each step. */
static void begin(void **state, const char *name, const char *more)
{
    char set[600];
    snprintf(set, sizeof set, ALONE "train.steps=2 %s", more);
    run_order o = {.name = name, .set = set};
    run_ok(state, &o);
}

static void go_on(void **state, const char *name, int64_t from, const char *more)
{
    char set[6000];
    snprintf(set, sizeof set, ALONE "%s", more);
    run_order o = {.name = name, .set = set, .resume = true, .from = from};
    clear_log();
    run_ok(state, &o);
}

static void refused(void **state, const char *name, int64_t from, const char *more, dram_status want, const char *text)
{
    char set[6000];
    snprintf(set, sizeof set, ALONE "%s", more);
    run_order o = {.name = name, .set = set, .resume = true, .from = from};
    clear_log();
    run_fails(state, &o, want, text);
    assert_int_equal(o.progressed, 0);
}

static void shell(void **state, const char *command)
{
    char text[6000];
    snprintf(text, sizeof text, "cd '%s/runs' && %s", (const char *)*state, command);
    if (system(text) != 0) fail_msg("%s", command);
}

/* ---- settings ---- */

static void what_changed_is_listed(void **state)
{
    begin(state, "listed", "");
    go_on(state, "listed", 0,
          "train.steps=3 optim.lr=5.0e-4 task.weight=0.5 data.size=96 data.augment.flip=0 train.batch_size=4 "
          "data.on_bad=stop threads=1 run.log_every=7 data.workers=1 memory.in_place=false");
    said("warning: from step 2 on this run goes on with what changes its results:");
    said("warning: optim.lr: 0.002 -> 0.0005");
    said("warning: task.weight: 1.0 -> 0.5");
    said("warning: data.size: 64 -> 96");
    said("warning: data.augment.flip: 0.5 -> 0.0");
    said("warning: train.batch_size: 2 -> 4");
    said("warning: data.on_bad: skip -> stop");
    said("info: threads: 2 -> 1");
    said("info: it ran on 2 threads, and goes on with 1: the last bits of results will differ");
    said("info: train.steps: 2 -> 3");
    said("info: memory.in_place: true -> false");
    not_said("log_every");
    not_said("workers");
    go_on(state, "listed", 0,
          "train.steps=4 optim.lr=5.0e-4 task.weight=0.5 data.size=96 data.augment.flip=0 "
          "train.batch_size=4 data.on_bad=stop threads=1 memory.in_place=false");
    not_said("changes its results");
    said("info: train.steps: 3 -> 4");
    run_remove(state, "listed");
}

static void what_a_run_keeps(void **state)
{
    static const char *const cases[][2] = {
        {"seed=2", "command line: seed: 1 -> 2: a run keeps its student, classes, seed, kind of optimiser and "
                   "resolution_distill.target"},
        {"student.arch=regnety_002", "student.arch: regnetx_002 -> regnety_002: "},
        {"student.zero_init_last=false", "student.zero_init_last: true -> false: "},
        {"data.classes=13", "base.yaml"},
        {"data.classes=13", "data.classes: 12 -> 13: "},
        {"data.class_map={255: 1}", "data.class_map: {} -> {255: 1}: "},
        {"optim.type=sgd", "optim.type: adamw -> sgd: "},
    };
    begin(state, "keeps", "");
    shell(state, "cp -r keeps before");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char more[200];
        if (strcmp(cases[i][1], "base.yaml") == 0) continue;
        snprintf(more, sizeof more, "train.steps=3 %s", cases[i][0]);
        refused(state, "keeps", 0, more, DRAM_ERR_CONFIG, cases[i][1]);
        shell(state, "diff -r keeps before");
    }
    run_remove(state, "before");
    run_remove(state, "keeps");
}

/* A loss may be switched off; one that needs a network the checkpoint has not cannot be switched on. */
static void losses(void **state)
{
    run_order all = {.name = "losses", .set = "train.steps=2"};
    run_ok(state, &all);
    go_on(state, "losses", 0, "train.steps=3 sam_distill.enabled=true task.enabled=false");
    said("warning: resolution_distill.enabled: true -> false");
    said("warning: task.enabled: true -> false");
    refused(state, "losses", 0, "train.steps=4", DRAM_ERR_FORMAT, "step-00000003/heads.safetensors does not hold the ");
    said("warning: task.enabled: false -> true");
    refused(state, "losses", 0,
            "train.steps=4 sam_distill.enabled=true resolution_distill.enabled=true task.enabled=false",
            DRAM_ERR_FORMAT, "; 4 missing: sr.conv1.weight, ");
    go_on(state, "losses", 0, "train.steps=4 sam_distill.enabled=true task.enabled=false");
    run_remove(state, "losses");
}

/* ---- files ---- */

static void weights_of_the_teacher(void **state)
{
    char more[5200];
    const char *first = in_dir(state, "teacher-1.safetensors"), *second = in_dir(state, "teacher-2.safetensors");
    save_started(state, "sam_distill.teacher.seed=1", "teacher", first, DRAM_PRECISION_FP32);
    save_started(state, "sam_distill.teacher.seed=2", "teacher", second, DRAM_PRECISION_FP32);
#define WITH_TEACHER "sam_distill.enabled=true sam_distill.fidelity_images=0 "
    snprintf(more, sizeof more, WITH_TEACHER "sam_distill.teacher.weights=%.4000s", first);
    run_order o = {.name = "taught", .set = more};
    char set[5400];
    snprintf(set, sizeof set, ALONE "train.steps=1 %s", more);
    o.set = set;
    run_ok(state, &o);
    /* The same bytes in another place. */
    const char *moved = in_dir(state, "moved.safetensors");
    assert_int_equal(link(first, moved), 0);
    snprintf(more, sizeof more, WITH_TEACHER "train.steps=2 sam_distill.teacher.weights=%.4000s", moved);
    go_on(state, "taught", 0, more);
    assert_non_null(strstr(log_text.text, "moved.safetensors (the same bytes)\n"));
    not_said("changes its results");
    /* Another file in that place. */
    assert_int_equal(remove(moved), 0);
    assert_int_equal(link(second, moved), 0);
    snprintf(more, sizeof more, WITH_TEACHER "train.steps=3 sam_distill.teacher.weights=%.4000s", moved);
    go_on(state, "taught", 0, more);
    said("warning: from step 2 on this run goes on with what changes its results:");
    char want[200], was[DRAM_HASH_SIZE], is[DRAM_HASH_SIZE];
    ok(dram_st_hash(first, NULL, was));
    ok(dram_st_hash(second, NULL, is));
    snprintf(want, sizeof want, "warning: sam_distill.teacher.weights: hash %s -> %s", was, is);
    said(want);
    run_remove(state, "taught");
}

static void weights_of_the_student(void **state)
{
    char more[5200];
    begin(state, "origin", "");
    begin(state, "origin2", "seed=3");
    const char *weights = in_dir(state, "student.safetensors"), *moved = in_dir(state, "student-2.safetensors");
    shell(state, "cp origin/student.safetensors ../student.safetensors && cp ../student.safetensors "
                 "../student-2.safetensors");
    snprintf(more, sizeof more, ALONE "train.steps=1 student.weights=%.4000s", weights);
    run_order o = {.name = "based", .set = more};
    run_ok(state, &o);
    snprintf(more, sizeof more, "train.steps=2 student.weights=%.4000s", moved);
    go_on(state, "based", 0, more);
    assert_non_null(strstr(log_text.text, "student-2.safetensors (the same bytes)\n"));
    shell(state, "cp origin2/student.safetensors ../student-2.safetensors");
    snprintf(more, sizeof more, "train.steps=3 student.weights=%.4000s", moved);
    refused(state, "based", 0, more, DRAM_ERR_CONFIG, "is another file than this run began with: hash ");
    refused(state, "based", 0, "train.steps=3", DRAM_ERR_CONFIG, "student-2.safetensors -> none: a run keeps its ");
    run_remove(state, "origin");
    run_remove(state, "origin2");
    run_remove(state, "based");
}

static void images(void **state)
{
    char more[400];
    snprintf(more, sizeof more, "data.train.images=%s/scenes2/images data.train.labels=%s/scenes2/labels",
             (const char *)*state, (const char *)*state);
    shell(state, "cp -r ../scenes ../scenes2");
    begin(state, "data", more);
    shell(state, "cd ../scenes2 && i=$(ls images | head -1) && cp images/$i images/more.${i##*.} && "
                 "cp labels/${i%.*}.png labels/more.png");
    char longer[500];
    snprintf(longer, sizeof longer, "train.steps=3 %s", more);
    go_on(state, "data", 0, longer);
    said("warning: data.train: 8 images, 8 with a label -> 9 images, 9 with a label (1 more)");
    not_said("data.val: ");
    shell(state, "cd ../scenes2 && rm images/more.* && rm labels/more.png && i=$(ls images | head -1) && "
                 "mv images/$i images/other.${i##*.} && mv labels/${i%.*}.png labels/other.png");
    snprintf(longer, sizeof longer, "train.steps=4 %s", more);
    go_on(state, "data", 0, longer);
    said("warning: data.train: 9 images, 9 with a label -> 8 images, 8 with a label (1 fewer)");
    shell(state, "cd ../scenes2 && mv images/other.* images/again.$(ls images/other.* | sed 's/.*\\.//') && "
                 "mv labels/other.png labels/again.png");
    snprintf(longer, sizeof longer, "train.steps=5 %s", more);
    go_on(state, "data", 0, longer);
    said("warning: data.train: 8 images, 8 with a label -> 8 images, 8 with a label (as many, of other names or with "
         "other labels)");
    run_remove(state, "data");
}

/* ---- checkpoints ---- */

static void damage_is_found(void **state)
{
    static const char *const files[] = {"student.safetensors", "heads.safetensors", "optimizer.safetensors",
                                        "state.json",          "config.yaml",       "checkpoint.json"};
    char command[300], want[300];
    begin(state, "hurt", SAVING);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(command, sizeof command,
                 "f=hurt/checkpoints/step-00000002/%s && cp $f kept && n=$(stat -c %%s $f) && "
                 "printf '\\377' | dd of=$f bs=1 seek=$((n / 2)) conv=notrunc 2>/dev/null && ! cmp -s $f kept",
                 files[i]);
        shell(state, command);
        snprintf(want, sizeof want,
                 "checkpoints/step-00000002/%s: damaged: its bytes are not those that were saved; the newest sound "
                 "checkpoint is step-00000001: --resume=step-1 goes on from it",
                 files[i]);
        refused(state, "hurt", 0, "train.steps=3", DRAM_ERR_FORMAT, want);
        refused(state, "hurt", 2, "train.steps=3", DRAM_ERR_FORMAT, want);
        snprintf(command, sizeof command, "cp kept hurt/checkpoints/step-00000002/%s", files[i]);
        shell(state, command);
    }
    shell(state, "for i in 1 2; do echo x >> hurt/checkpoints/step-0000000$i/state.json; done");
    refused(state, "hurt", 0, "train.steps=3", DRAM_ERR_FORMAT, "saved; none of the 2 checkpoints can be gone on with");
    run_remove(state, "hurt");
}

/* Going back: what is newer is kept under another name, and the run is the one that never went there. */
static void from_an_older_one(void **state)
{
    begin(state, "back", SAVING);
    shell(state, "cp -r back sound");
    go_on(state, "back", 0, SAVING "train.steps=4 optim.lr=0.1");
    shell(state, "test -e back/config.step-00000002.yaml && echo x >> back/checkpoints/step-00000004/state.json && "
                 "cp -r back/checkpoints/step-00000003 three && cp -r back/checkpoints/step-00000004 four");
    refused(state, "back", 5, "train.steps=4", DRAM_ERR_CONFIG,
            "there is no checkpoint of step 5; there are step-1, step-2, step-3, step-4");
    go_on(state, "back", 1, SAVING "train.steps=2");
    not_said("changes its results");
    char want[4700];
    for (int step = 2; step <= 4; step++) {
        snprintf(want, sizeof want, "info: the checkpoint of step %d is kept as %s/checkpoints/step-0000000%d.before",
                 step, run_file(state, "back", ""), step);
        char *twice = strstr(want, "//");
        memmove(twice, twice + 1, strlen(twice));
        said(want);
    }
    assert_same_run(state, "sound", "back", 2);
    shell(state,
          "diff -r three back/checkpoints/step-00000003.before && diff -r four "
          "back/checkpoints/step-00000004.before && test -e back/config.step-00000002.yaml.before && "
          "cmp back/config.yaml sound/config.yaml && test ! -e back/config.step-00000001.yaml && rm -r three four");
    go_on(state, "back", 0, SAVING "train.steps=3");
    shell(state, "test -e back/checkpoints/step-00000003 && test -e back/checkpoints/step-00000003.before");
    run_remove(state, "back");
    run_remove(state, "sound");
}

/* The config that a run began with stays, and so do those after it. */
static void configs(void **state)
{
    begin(state, "configs", "");
    shell(state, "cp configs/config.yaml first.yaml && cp configs/base.yaml base-then.yaml && "
                 "grep -q '/base.yaml, without what the command line set$' configs/base.yaml");
    go_on(state, "configs", 0, "train.steps=3 optim.lr=0.001");
    shell(state, "cmp configs/config.yaml first.yaml && grep -q '  lr: 0.001$' configs/config.step-00000002.yaml && "
                 "cp configs/config.step-00000002.yaml second.yaml");
    run_order same = {.name = "configs", .set = ALONE "train.steps=3 optim.lr=0.001", .resume = true};
    run_ok(state, &same);
    shell(state, "test $(ls configs/config* | wc -l) = 2");
    /* Twice from one step. */
    go_on(state, "configs", 2, "train.steps=3 optim.lr=0.002");
    go_on(state, "configs", 2, "train.steps=3 optim.lr=0.003");
    shell(state,
          "cmp configs/config.yaml first.yaml && cmp configs/config.step-00000002.yaml second.yaml && "
          "grep -q '  lr: 0.002$' configs/config.step-00000002.2.yaml && "
          "grep -q '  lr: 0.003$' configs/config.step-00000002.3.yaml && test $(ls configs/config* | wc -l) = 4 && "
          "cmp configs/base.yaml base-then.yaml && test $(ls configs/base* | wc -l) = 1");
    run_remove(state, "configs");
}

/* What a run was made from is kept where it began, and stays where its own config is given again. */
static void bases(void **state)
{
    static const char *const files[] = {"recipe.yaml", "based.yaml", "runs/bases/config.yaml"};
    static const char *const texts[] = {"optim: {lr: 0.5}\n", "base: recipe.yaml\nseed: 2\n", "seed: 2\n"};
    dram_config *cfg[3];
    dram_str text[3] = {{0}};
    shell(state, "mkdir bases");
    for (int i = 0; i < 3; i++) {
        put_file(in_dir(state, files[i]), texts[i], strlen(texts[i]));
        assert_int_equal(dram_config_load(in_dir(state, files[i]), NULL, 0, &cfg[i]), DRAM_OK);
        assert_int_equal(dram_configs_write_base(cfg[i], &text[i]), DRAM_OK);
    }
    assert_non_null(strstr(text[0].text, "/recipe.yaml, without what the command line set\nname: "));
    assert_non_null(strstr(text[1].text, "/based.yaml\nname: run\nseed: 1\n"));
    assert_non_null(strstr(text[1].text, "  lr: 0.5\n"));
    const char *folder = in_dir(state, "runs/bases");
    assert_int_equal(dram_configs_keep_base(folder, cfg[2], &text[2]), DRAM_OK); /* it lies there, without a base */
    assert_false(is_there(in_dir(state, "runs/bases/base.yaml")));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(dram_configs_keep_base(in_dir(state, "runs/bases"), cfg[1], &text[1]), DRAM_OK);
        assert_int_equal(dram_configs_keep_base(in_dir(state, "runs/bases"), cfg[2], &text[2]), DRAM_OK);
        assert_file_is(in_dir(state, "runs/bases/base.yaml"), text[1].text, text[1].length);
        shell(state, "test $(ls bases | wc -l) = 2");
    }
    assert_int_equal(dram_configs_keep_base(in_dir(state, "runs/bases"), cfg[0], &text[0]), DRAM_OK);
    assert_file_is(in_dir(state, "runs/bases/base.yaml"), text[0].text, text[0].length);
    assert_file_is(in_dir(state, "runs/bases/base.yaml.before"), text[1].text, text[1].length);
    for (int i = 0; i < 3; i++) {
        dram_config_free(cfg[i]);
        dram_str_free(&text[i]);
    }
    shell(state, "rm -r bases");
}

/* An attempt that came to no checkpoint has no say, and its config is kept. */
static void begun_anew(void **state)
{
    begin(state, "anew", "");
    shell(state,
          "rm -r anew/checkpoints anew/student.safetensors && mkdir anew/checkpoints && cp anew/config.yaml first");
    go_on(state, "anew", 0, "train.steps=1 seed=2 data.classes=13 optim.type=sgd");
    not_said("seed");
    shell(state, "cmp anew/config.yaml.before first && grep -q '^seed: 2$' anew/config.yaml");
    refused(state, "anew", 7, "train.steps=1", DRAM_ERR_CONFIG, "there is no checkpoint of step 7; there is step-1");
    run_remove(state, "anew");
}

/* ---- older and newer drams ---- */

static void of_an_older_dram(void **state)
{
    begin(state, "old", SAVING);
    run_unseal(state, "old", 2);
    go_on(state, "old", 0, SAVING "train.steps=3 optim.lr=0.001");
    assert_non_null(strstr(log_text.text, "/checkpoints/step-00000002: an older dram saved it, without hashes: whether "
                                          "it is damaged cannot be checked\n"));
    said("warning: optim.lr: 0.002 -> 0.001");
    run_unseal(state, "old", 3);
    refused(state, "old", 0, "train.steps=4 student.arch=regnety_002", DRAM_ERR_CONFIG,
            "student.arch: regnetx_002 -> ");
    /* Its config is not to be read, or not there: that is said, and the seed is still known. */
    static const char *const spoil[] = {"echo 'lr: 3' > old/config.yaml", "rm old/config.yaml"};
    for (int i = 0; i < 2; i++) {
        shell(state, spoil[i]);
        refused(state, "old", 3, "train.steps=4 seed=2", DRAM_ERR_CONFIG, "is of a run with seed 1");
        assert_non_null(
            strstr(log_text.text, "\nwarning: what has changed since the last part of this run is not known: "));
    }
    go_on(state, "old", 0, SAVING "train.steps=4 optim.lr=0.01");
    assert_non_null(strstr(log_text.text, "is not known: "));
    /* One that cannot be checked is no sound one, and is named after a damaged one. */
    run_unseal(state, "old", 1);
    shell(state, "rm -r old/checkpoints/step-0000000[23] && echo x >> old/checkpoints/step-00000004/state.json");
    refused(state, "old", 0, "train.steps=5", DRAM_ERR_FORMAT,
            "; step-00000001 is of an older dram and cannot be checked: --resume=step-1 takes it");
    run_remove(state, "old");
}

static void of_a_newer_dram(void **state)
{
    begin(state, "new", "");
    run_unseal(state, "new", 2);
    shell(state, "sed -i 's/\"version\":.*/\"version\": \"9.9\", \"shards\": 4, \"phase\": {},/' "
                 "new/checkpoints/step-00000002/state.json");
    go_on(state, "new", 0, "train.steps=3");
    char want[5000];
    snprintf(want, sizeof want,
             "warning: %s: shards, phase: not known to dram " DRAM_VERSION ", and passed over; dram 9.9 saved it",
             run_file(state, "new", "checkpoints/step-00000002/state.json"));
    said(want);
    run_remove(state, "new");
}

/* ---- claims ---- */

/* Numbers that are not finite, in a checkpoint that is what was saved. */
static void spoil_numbers(void **state, const char *name, const char *checkpoint)
{
    size_t bytes;
    char path[200];
    cJSON *root;
    snprintf(path, sizeof path, "checkpoints/%s/student.safetensors", checkpoint);
    const char *file = run_file(state, name, path);
    char *data = get_file(file, &bytes);
    const float nan = NAN;
    memcpy(data + bytes - 400, &nan, sizeof nan);
    put_file(file, data, bytes);
    free(data);
    snprintf(path, sizeof path, "checkpoints/%s/checkpoint.json", checkpoint);
    ok(dram_json_read(run_file(state, name, path), &root));
    cJSON_DeleteItemFromObject(root, "files");
    cJSON_DeleteItemFromObject(root, "hash");
    assert_int_equal(remove(run_file(state, name, path)), 0);
    snprintf(path, sizeof path, "checkpoints/%s", checkpoint);
    ok(dram_checkpoint_seal(run_file(state, name, path), root));
    cJSON_Delete(root);
}

static void newest_sound(void **state)
{
    char text[300];
    begin(state, "newest", SAVING "train.steps=4");
    const char *folder = in_dir(state, "runs/newest/checkpoints");
#define NEWEST "; the newest sound checkpoint is "
    assert_string_equal(dram_sound_newest(folder, true, text, sizeof text),
                        NEWEST "step-00000004: --resume goes on from it");
    spoil_numbers(state, "newest", "step-00000004");
    assert_string_equal(dram_sound_newest(folder, false, text, sizeof text),
                        NEWEST "step-00000004: --resume goes on from it");
    assert_string_equal(dram_sound_newest(folder, true, text, sizeof text),
                        NEWEST "step-00000003: --resume=step-3 goes on from it");
    shell(state, "echo x >> newest/checkpoints/step-00000003/config.yaml");
    assert_string_equal(dram_sound_newest(folder, true, text, sizeof text),
                        NEWEST "step-00000002: --resume=step-2 goes on from it");
    shell(state, "rm newest/checkpoints/step-0000000[12]/heads.safetensors");
    assert_string_equal(dram_sound_newest(folder, true, text, sizeof text),
                        "; none of the 4 checkpoints can be gone on with");
    shell(state, "rm -r newest/checkpoints/*");
    assert_string_equal(dram_sound_newest(folder, true, text, sizeof text), "; there is no checkpoint");
    assert_string_equal(dram_error_text(), "");
    run_remove(state, "newest");
}

/* ---- claims ---- */

typedef struct {
    void **state;
    const char *command;
    sig_atomic_t stop;
} interruption;

/* Once step 2 is saved and evaluated. */
static dram_status interrupt(void *context, const dram_fact *fact)
{
    interruption *i = context;
    if (fact->step != 2) return DRAM_OK;
    shell(i->state, i->command);
    i->stop = 1;
    return DRAM_OK;
}

static const dram_sink evaluations = {.facts = 1u << DRAM_FACT_EVALUATION, .fact = interrupt};

/* What is said to be saved is read before it is said. */
static void claims(void **state)
{
    static const char *const cases[][2] = {
        {"true", "interrupted: 2 steps are saved, go on with --resume"},
        {"echo x >> claims/checkpoints/step-00000002/heads.safetensors",
         "step-00000002/heads.safetensors: damaged: its bytes are not those that were saved; the newest sound "
         "checkpoint is step-00000001: --resume=step-1 goes on from it"},
        {"rm claims/checkpoints/step-0000000?/state.json",
         "step-00000002/state.json: cannot open: No such file or directory; there is no checkpoint"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_summary summary;
        interruption how = {.state = state, .command = cases[i][0]};
        dram_config *cfg = run_config(state, "claims", ALONE SAVING "train.steps=4 run.eval_every=2");
        const dram_hooks hooks = {.context = &how, .sink = &evaluations, .stop = &how.stop};
        dram_status status = dram_train(cfg, NULL, (dram_resume){0}, &hooks, &summary);
        if (status != (i ? DRAM_ERR_FORMAT : DRAM_INTERRUPTED) || !strstr(dram_error_text(), cases[i][1]))
            fail_msg("%d: %s", (int)status, dram_error_text());
        assert_int_equal(strncmp(dram_error_text(), "what was saved is damaged: ", 27) == 0, i > 0);
        dram_error_clear();
        dram_config_free(cfg);
        run_remove(state, "claims");
    }
    run_order o = {.name = "claims", .set = ALONE "train.steps=20 optim.lr=1000 optim.type=sgd train.precision=bf16"};
    run_fails(state, &o, DRAM_ERR_NUMERIC, "; there is no checkpoint");
    run_remove(state, "claims");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changed_is_listed),
        cmocka_unit_test(what_a_run_keeps),
        cmocka_unit_test(losses),
        cmocka_unit_test(weights_of_the_teacher),
        cmocka_unit_test(weights_of_the_student),
        cmocka_unit_test(images),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(from_an_older_one),
        cmocka_unit_test(configs),
        cmocka_unit_test(bases),
        cmocka_unit_test(begun_anew),
        cmocka_unit_test(of_an_older_dram),
        cmocka_unit_test(of_a_newer_dram),
        cmocka_unit_test(newest_sound),
        cmocka_unit_test(claims),
    };
    dram_log_set_sink(keep_log, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
