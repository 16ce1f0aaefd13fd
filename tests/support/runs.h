/* runs: whole runs of src/train over a few tiny scenes, in a temporary folder. Include after cmocka.h and link
 * dram_train. Failures of what is not under test fail the test.
 *
 *     run_order o = {.name = "a", .set = "train.steps=4 task.enabled=false"};
 *     assert_int_equal(run(state, &o), DRAM_OK);
 *     run_file(state, "a", "summary.json")  -> its path
 */
#ifndef DRAM_TESTS_RUNS_H
#define DRAM_TESTS_RUNS_H

#include <math.h>

#include "base/log.h"
#include "io/json.h"
#include "support/device.h"
#include "support/tempdir.h"
#include "synth/synth.h"
#include "train/train.h"

enum { SCENES = 8, SCENE_HEIGHT = 48, SCENE_WIDTH = 64 };

typedef struct {
    const char *name;
    const char *set; /* overrides, with spaces between; {0: 1, 4: 2} is one word */
    bool resume;
    int64_t from;                  /* with resume: the checkpoint's step; 0: the newest */
    int64_t stop_at;               /* asks the run to stop after this step, as a signal would; 0: never */
    void (*at_step)(int64_t step); /* called after each step; NULL: nothing */
    dram_summary summary;          /* what came of it */
    int64_t planned, progressed;   /* calls of the hooks */
    sig_atomic_t stop;
} run_order;

/* The config that every run starts from: all three losses on. */
static const char run_base[] = "threads: 2\n"
                               "data:\n"
                               "  size: 64\n"
                               "  workers: 2\n"
                               "  prefetch: 4\n"
                               "  train: {images: scenes/images, labels: scenes/labels}\n"
                               "  val: {images: scenes/images, labels: scenes/labels}\n"
                               "  classes: 12\n"
                               "student: {arch: regnetx_002}\n"
                               "sam_distill:\n"
                               "  teacher: {model_type: vit_micro, weights: random}\n"
                               "  sam_input_size: 64\n"
                               "resolution_distill: {enabled: true}\n"
                               "task: {enabled: true}\n"
                               "optim: {lr: 2.0e-3, warmup_steps: 1}\n"
                               "train: {steps: 10, batch_size: 2}\n"
                               "run: {save_every: 0, eval_every: 0}\n";

/* And for DRAM_TEST_DEVICE=cuda, where a simulated GPU is slow: half of each side, and not the look at the teacher's
 * fidelity, which runs it at 1024 and takes longer than all that is tested. */
static const char *const run_small[] = {"data.size=32", "sam_distill.sam_input_size=32",
                                        "resolution_distill.low_scale=1", "resolution_distill.sr_target_scale=1",
                                        "sam_distill.fidelity_images=0"};
enum { RUN_SMALL = sizeof run_small / sizeof run_small[0] };

/* Group setup: a temporary folder with base.yaml and scenes/. */
static inline int runs_setup(void **state)
{
    test_device_or_skip();
    if (tempdir_make(state) != 0) return -1;
    put_file(in_dir(state, "base.yaml"), run_base, sizeof run_base - 1);
    if (dram_synth_write(in_dir(state, "scenes"), test_on_gpu() ? SCENES / 2 : SCENES, DRAM_SYNTH_PLAIN, 11,
                         SCENE_HEIGHT, SCENE_WIDTH) == DRAM_OK)
        return 0;
    tempdir_remove(state);
    return -1;
}

static inline void run_planned(void *context, const dram_session *session)
{
    run_order *o = context;
    assert_non_null(session->plan);
    o->planned++;
}

static inline dram_status run_progressed(void *context, const dram_fact *fact)
{
    run_order *o = context;
    o->progressed++;
    if (o->stop_at && fact->progress->done >= o->stop_at) o->stop = 1;
    if (o->at_step) o->at_step(fact->progress->done);
    return DRAM_OK;
}

static const dram_sink run_steps = {.facts = 1u << DRAM_FACT_STEP, .fact = run_progressed};

/* base.yaml with the overrides of `set`, and results in RUNS/name of the temporary folder. The caller's. */
static inline dram_config *run_config(void **state, const char *name, const char *set)
{
    char text[9600], run_dir[4400], run_name[300];
    const char *overrides[64];
    int n = 0;
    dram_config *cfg;
    snprintf(run_dir, sizeof run_dir, "run.dir=%.4300s", in_dir(state, "runs"));
    snprintf(run_name, sizeof run_name, "name=%.200s", name);
    overrides[n++] = run_dir;
    overrides[n++] = run_name;
    overrides[n++] = test_on_gpu() ? "device=cuda" : "device=cpu";
    for (int i = 0; test_on_gpu() && i < RUN_SMALL; i++) overrides[n++] = run_small[i];
    snprintf(text, sizeof text, "%s", set ? set : "");
    int depth = 0;
    bool begun = false;
    for (char *c = text; *c; c++) {
        depth += (*c == '{') - (*c == '}');
        bool space = *c == ' ' && depth == 0;
        if (!space && !begun) overrides[n++] = c;
        begun = !space;
        if (space) *c = '\0';
    }
    if (dram_config_load(in_dir(state, "base.yaml"), overrides, n, &cfg) != DRAM_OK) fail_msg("%s", dram_error_text());
    return cfg;
}

static inline dram_status run(void **state, run_order *o)
{
    dram_config *cfg = run_config(state, o->name, o->set);
    const dram_hooks hooks = {.context = o, .planned = run_planned, .sink = &run_steps, .stop = &o->stop};
    o->planned = o->progressed = o->stop = 0;
    dram_status status = dram_train(cfg, NULL, (dram_resume){.on = o->resume, .step = o->from}, &hooks, &o->summary);
    dram_config_free(cfg);
    return status;
}

static inline void run_ok(void **state, run_order *o)
{
    if (run(state, o) != DRAM_OK) fail_msg("%s: %s", o->name, dram_error_text());
}

/* The run must end with this status and a text that holds `text`. */
static inline void run_fails(void **state, run_order *o, dram_status want, const char *text)
{
    dram_status status = run(state, o);
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("%s: status %d, \"%s\" instead of \"%s\"", o->name, (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* Path of a file of a run. Four may be held at a time. */
static inline const char *run_file(void **state, const char *name, const char *file)
{
    static char path[4][4600];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/runs/%s/%s", (const char *)*state, name, file);
    return out;
}

static inline void assert_same_file(const char *a, const char *b)
{
    size_t bytes;
    char *data = get_file(a, &bytes);
    assert_true(bytes > 0);
    size_t other;
    char *more = get_file(b, &other);
    if (other != bytes || memcmp(data, more, bytes) != 0) fail_msg("%s and %s differ", a, b);
    free(data);
    free(more);
}

/* metrics.jsonl without what depends on the clock: every line up to "images_per_second". free() it. */
static inline char *run_metrics(void **state, const char *name, int *lines)
{
    char *text = get_file(run_file(state, name, "metrics.jsonl"), NULL), *to = text;
    *lines = 0;
    for (char *line = text; *line; (*lines)++) {
        char *end = strchr(line, '\n'), *cut = strstr(line, ",\"images_per_second\"");
        assert_true(end && cut && cut < end);
        memmove(to, line, (size_t)(cut - line));
        to += cut - line;
        *to++ = '\n';
        line = end + 1;
    }
    *to = '\0';
    return text;
}

static inline void assert_same_metrics(void **state, const char *a, const char *b, int steps)
{
    int n, m;
    char *x = run_metrics(state, a, &n), *y = run_metrics(state, b, &m);
    assert_int_equal(n, steps);
    assert_int_equal(m, steps);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* The same results: what was exported, the state at `step`, all evaluations and metrics. */
static inline void assert_same_run(void **state, const char *a, const char *b, int step)
{
    static const char *const files[] = {"student.safetensors", "heads.safetensors"};
    static const char *const saved[] = {"student.safetensors", "heads.safetensors", "optimizer.safetensors",
                                        "state.json"};
    char path[64];
    for (int i = 0; i < 2; i++) assert_same_file(run_file(state, a, files[i]), run_file(state, b, files[i]));
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "checkpoints/step-%08d/%s", step, saved[i]);
        assert_same_file(run_file(state, a, path), run_file(state, b, path));
    }
    if (is_there(run_file(state, a, "evaluations.jsonl")))
        assert_same_file(run_file(state, a, "evaluations.jsonl"), run_file(state, b, "evaluations.jsonl"));
    assert_same_metrics(state, a, b, step);
}

/* Makes a checkpoint one of a dram that wrote no hashes. */
static inline void run_unseal(void **state, const char *name, int step)
{
    static const char *const files[] = {"checkpoint.json", "config.yaml"};
    char path[64];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "checkpoints/step-%08d/%s", step, files[i]);
        assert_int_equal(remove(run_file(state, name, path)), 0);
    }
}

/* The runs' folders take tens of MiB each. */
static inline void run_remove(void **state, const char *name)
{
    char command[4700];
    snprintf(command, sizeof command, "rm -rf '%s'", run_file(state, name, ""));
    assert_int_equal(system(command), 0);
}

/* summary.json of a run; cJSON_Delete it. */
static inline cJSON *run_summary(void **state, const char *name)
{
    cJSON *root;
    if (dram_json_read(run_file(state, name, "summary.json"), &root) != DRAM_OK) fail_msg("%s", dram_error_text());
    return root;
}

static inline double json_number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item)) fail_msg("%s is no number", key);
    return item->valuedouble;
}

#endif
