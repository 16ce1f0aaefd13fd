/* What a run leaves in its directory, and what leaves nothing there. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "record/events.h"
#include "session/budget.h"
#include "support/runs.h"
#include "train/train.h"

/* The members of an object are these, in this order. */
static void assert_keys(const cJSON *object, const char *const *keys, int n)
{
    int i = 0;
    for (const cJSON *item = object->child; item; item = item->next, i++) {
        assert_true(i < n);
        assert_string_equal(item->string, keys[i]);
    }
    assert_int_equal(i, n);
}

static cJSON *parse_line(const char **line)
{
    cJSON *root;
    const char *end = strchr(*line, '\n');
    assert_non_null(end);
    char *copy = strndup(*line, (size_t)(end - *line));
    assert_int_equal(dram_json_parse(copy, strlen(copy), &root, NULL), DRAM_OK);
    free(copy);
    *line = end + 1;
    return root;
}

static bool is_null(const cJSON *object, const char *key)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void check_line(const cJSON *line, int step, bool distilled, const dram_summary *summary)
{
    static const char *const keys[] = {"step",
                                       "loss",
                                       "loss_task",
                                       "loss_sam",
                                       "loss_resolution",
                                       "lr",
                                       "grad_norm",
                                       "loss_scale",
                                       "label_pixels",
                                       "sam_images_left_out",
                                       "resolution_images_left_out",
                                       "distilled",
                                       "teacher_ran",
                                       "images_per_second",
                                       "device_utilization",
                                       "planned_peak_bytes",
                                       "measured_peak_bytes"};
    assert_keys(line, keys, 17);
    assert_int_equal((int)json_number(line, "step"), step);
    double sum = json_number(line, "loss_task") + 0.5 * json_number(line, "loss_resolution");
    if (distilled) sum += json_number(line, "loss_sam");
    /* The loss is a float that is the sum of floats, here added in double. */
    assert_true(fabs(json_number(line, "loss") - sum) <= 4e-7 * sum);
    assert_int_equal(is_null(line, "loss_sam"), !distilled);
    assert_true(is_null(line, "loss_scale"));
    assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "distilled")), distilled);
    assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "teacher_ran")), distilled);
    assert_true(json_number(line, "grad_norm") > 0);
    assert_true(json_number(line, "images_per_second") > 0);
    assert_true(json_number(line, "planned_peak_bytes") == (double)summary->planned_peak_bytes);
    assert_true(json_number(line, "measured_peak_bytes") == (double)summary->planned_peak_bytes);
}

static void check_summary(void **state, const char *name, const dram_summary *summary)
{
    static const char *const keys[] = {
        "steps",          "steps_in_all",  "planned_peak_bytes", "measured_peak_bytes", "process_peak_rss_bytes",
        "gpu_process",    "distributed",   "images_per_second",  "device_utilization",  "cpu_utilization",
        "skipped_images", "skipped_steps", "loss_scale",         "final_loss",          "eval",
        "data",           "exit"};
    cJSON *root = run_summary(state, name);
    assert_keys(root, keys, 17);
    assert_true(is_null(root, "distributed"));
    assert_int_equal(is_null(root, "gpu_process"), !test_on_gpu());
    assert_true(json_number(root, "steps") == 5);
    assert_true(json_number(root, "exit") == 0);
    assert_true(json_number(root, "skipped_images") == 0);
    assert_true(json_number(root, "planned_peak_bytes") > 1e6);
    assert_true(json_number(root, "planned_peak_bytes") == json_number(root, "measured_peak_bytes"));
    assert_true(json_number(root, "process_peak_rss_bytes") > 1e6);
    assert_true(json_number(root, "images_per_second") > 0);
    /* cJSON writes 15 digits where they come to within an epsilon. */
    assert_true(fabs(json_number(root, "final_loss") - summary->final_loss) <= DBL_EPSILON * summary->final_loss);
    assert_in_range((int)(100 * json_number(root, "device_utilization")), 1, 100);
    /* Two threads and two of the loader may be more than the cores this process may use; never by more than that. */
    assert_in_range((int)(100 * json_number(root, "cpu_utilization")), 0, 500);
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(root, "eval");
    assert_true(json_number(eval, "images") == SCENES);
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(root, "data");
    assert_true(json_number(cJSON_GetObjectItemCaseSensitive(data, "train"), "labels_read") == SCENES);
    double miou = json_number(eval, "miou"), cosine = json_number(eval, "embedding_cosine");
    assert_true(miou >= 0 && miou <= 1);
    assert_true(cosine >= -1.00001 && cosine <= 1.00001);
    cJSON_Delete(root);
}

static int count_entries(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void all_files(void **state)
{
    run_order o = {.name = "files",
                   .set = "train.steps=5 sam_distill.distill_interval=2 run.save_every=1 run.keep=2 "
                          "optim.schedule=constant optim.lr=0.002 optim.warmup_steps=2"};
    run_ok(state, &o);
    assert_int_equal(o.planned, 1);
    assert_int_equal(o.progressed, 5);
    char *text = get_file(run_file(state, "files", "metrics.jsonl"), NULL);
    const char *line = text;
    for (int step = 0; step < 5; step++) {
        cJSON *root = parse_line(&line);
        check_line(root, step, step % 2 == 0, &o.summary);
        assert_true(fabs(json_number(root, "lr") - (step ? 0.002 : 0.001)) < 1e-9); /* a float's rounding */
        cJSON_Delete(root);
    }
    assert_int_equal(*line, '\0');
    free(text);
    check_summary(state, "files", &o.summary);
    assert_string_equal(o.summary.directory, in_dir(state, "runs/files"));

    static const char *const files[] = {"student.safetensors", "heads.safetensors", "optimizer.safetensors",
                                        "state.json",          "config.yaml",       "checkpoint.json"};
    char path[80];
    for (int step = 4; step <= 5; step++)
        for (int i = 0; i < 6; i++) {
            snprintf(path, sizeof path, "checkpoints/step-%08d/%s", step, files[i]);
            assert_true(is_there(run_file(state, "files", path)));
        }
    assert_int_equal(count_entries(run_file(state, "files", "checkpoints")), 2);
    assert_int_equal(count_entries(run_file(state, "files", "checkpoints/step-00000005")), 6);
    assert_int_equal(count_entries(run_file(state, "files", "")), 9);
    /* The trunk of the last state and of the result are one. */
    assert_same_file(run_file(state, "files", "checkpoints/step-00000005/student.safetensors"),
                     run_file(state, "files", "student.safetensors"));
}

/* config.yaml is the whole config: it makes the same run again. */
static void resolved_config(void **state)
{
    run_order o = {.name = "resolved",
                   .set = "train.steps=2 sam_distill.enabled=false resolution_distill.enabled=false optim.lr=0.0123"};
    run_ok(state, &o);
    dram_config *cfg;
    dram_str again = {0};
    assert_int_equal(dram_config_load(run_file(state, "resolved", "config.yaml"), NULL, 0, &cfg), DRAM_OK);
    assert_true(cfg->optim.lr == 0.0123);
    assert_int_equal(cfg->data.size, 64);
    assert_string_equal(cfg->student.arch, "regnetx_002");
    assert_int_equal(dram_config_write_yaml(cfg, &again), DRAM_OK);
    assert_file_is(run_file(state, "resolved", "config.yaml"), again.text, again.length);
    dram_str_free(&again);
    const char *const overrides[] = {"name=resolved2"};
    dram_config_free(cfg);
    assert_int_equal(dram_config_load(run_file(state, "resolved", "config.yaml"), overrides, 1, &cfg), DRAM_OK);
    const dram_hooks hooks = {0};
    dram_summary summary;
    assert_int_equal(dram_train(cfg, NULL, (dram_resume){0}, &hooks, &summary), DRAM_OK);
    dram_config_free(cfg);
    assert_same_run(state, "resolved", "resolved2", 2);
}

static void existing_directory_is_refused(void **state)
{
    run_order o = {.name = "files", .set = "train.steps=1"};
    const char *summary = run_file(state, "files", "summary.json");
    char *before = get_file(summary, NULL);
    run_fails(state, &o, DRAM_ERR_CONFIG, "this run exists already: add --resume to continue it");
    assert_int_equal(o.planned, 0);
    assert_file_is(summary, before, strlen(before));
    assert_int_equal(count_entries(run_file(state, "files", "")), 9);
    free(before);
}

/* All that is wrong is found before anything is written. */
static void nothing_is_written(void **state)
{
    const char *bad = in_dir(state, "bad.safetensors"), *empty = in_dir(state, "no_images");
    char weights[4600], teacher[4600], images[4600], labels[4600];
    put_file(bad, "not a safetensors file at all, but long enough", 46);
    mkdir(empty, 0777);
    snprintf(weights, sizeof weights, "student.weights=%.4400s", bad);
    snprintf(teacher, sizeof teacher, "sam_distill.teacher.weights=%.4400s", bad);
    snprintf(images, sizeof images, "data.train.images=%.4400s", empty);
    snprintf(labels, sizeof labels, "data.val.labels=%.4400s", empty);
    const struct {
        const char *set;
        dram_status status;
        const char *text;
    } cases[] = {
        {weights, DRAM_ERR_FORMAT, "command line: student.weights: "},
        {teacher, DRAM_ERR_FORMAT, "command line: sam_distill.teacher.weights: "},
        {"student.weights=/nowhere/w.safetensors", DRAM_ERR_CONFIG, "command line: student.weights"},
        {"sam_distill.teacher.weights=none", DRAM_ERR_CONFIG, "sam_distill.teacher.weights"},
        {images, DRAM_ERR_CONFIG, "command line: data.train.images"},
        {labels, DRAM_ERR_CONFIG, "command line: data.val.labels"},
        {"data.train.images=/nowhere", DRAM_ERR_CONFIG, "command line: data.train.images"},
        {"student.arch=regnety_005", DRAM_ERR_CONFIG, "command line: student.arch: unknown architecture"},
        {"sam_distill.teacher.model_type=regnety_004", DRAM_ERR_CONFIG, "regnety_004 is no SAM encoder"},
        {"student.arch=vit_micro data.size=96 memory.budget=1MiB", DRAM_ERR_FIT, "the budget is 1.00 MiB"},
        {"train.batch_size=65536 data.size=8192", DRAM_ERR_FIT, "the machine has free"},
        {"train.batch_size=1 data.size=32 resolution_distill.enabled=false", DRAM_ERR_CONFIG,
         "single value per channel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_order o = {.name = "nothing", .set = cases[i].set};
        run_fails(state, &o, cases[i].status, cases[i].text);
        assert_int_equal(o.progressed, 0);
        assert_false(is_there(run_file(state, "nothing", "")));
    }
}

/* A plan reads neither data nor weights. */
static void plan_needs_no_files(void **state)
{
    dram_session session;
    dram_config *cfg = run_config(state, "planned",
                                  "data.train.images=/nowhere/i data.train.labels=/nowhere/l "
                                  "sam_distill.teacher.weights=/nowhere/t.safetensors "
                                  "sam_distill.teacher.model_type=vit_b student.arch=regnety_016");
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &session), DRAM_OK);
    assert_true(session.plan->arena_bytes > 300 << 20); /* vit_b alone is 342 MiB in fp32 */
    assert_true((double)session.plan->arena_bytes <= 1.005 * (double)session.plan->max_live_bytes);
    dram_session_close(&session);
    dram_config_free(cfg);
    assert_false(is_there(run_file(state, "planned", "")));
}

/* Values of a tag in the event files of the run "board", in their order; returns how many. */
static int read_tag(void **state, const char *tag, event_seen *found, int room)
{
    static event_seen seen[400];
    struct dirent **entries;
    char path[5000], folder[4400];
    snprintf(folder, sizeof folder, "%.4300s", run_file(state, "board", "tb"));
    int n = 0, all = scandir(folder, &entries, NULL, alphasort);
    assert_true(all > 2);
    for (int i = 0; i < all; i++) {
        snprintf(path, sizeof path, "%.4000s/%.400s", folder, entries[i]->d_name);
        int values = entries[i]->d_name[0] == '.' ? 0 : event_read(path, seen, 400);
        for (int k = 0; k < values; k++) {
            if (strcmp(seen[k].tag, tag) != 0) continue;
            assert_true(n < room);
            found[n++] = seen[k];
        }
        free(entries[i]);
    }
    free(entries);
    return n;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A run that was stopped and went on: every step once, with the bits of metrics.jsonl. */
static void tensorboard(void **state)
{
    static const char *const tags[][2] = {
        {"loss/total", "loss"},           {"loss/task", "loss_task"},
        {"loss/sam", "loss_sam"},         {"optim/lr", "lr"},
        {"optim/grad_norm", "grad_norm"}, {"throughput/images_per_second", "images_per_second"}};
    static event_seen seen[800];
    run_order o = {
        .name = "board",
        .set = "run.tensorboard=true train.steps=5 run.save_every=2 run.eval_every=2 run.keep=9 student.arch=vit_micro "
               "resolution_distill.enabled=false",
        .stop_at = 3};
    run_fails(state, &o, DRAM_INTERRUPTED, "3 steps are saved");
    o.stop_at = 0;
    o.resume = true;
    o.from = 2;
    run_ok(state, &o);
    for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++) {
        char *metrics = get_file(run_file(state, "board", "metrics.jsonl"), NULL);
        const char *at = metrics;
        assert_int_equal(read_tag(state, tags[t][0], seen, 16), 5);
        for (int i = 0; i < 5; i++) {
            cJSON *line = parse_line(&at);
            assert_int_equal(seen[i].step, i);
            double want =
                json_number(line, tags[t][1]); /* 9 digits: a float comes back the same, and the rate is none */
            double slack = strcmp(tags[t][1], "images_per_second") == 0 ? 2e-7 * want : 0;
            assert_true(fabs((double)float_of(seen[i].scalar) - (double)(float)want) <= slack);
            cJSON_Delete(line);
        }
        assert_string_equal(at, "");
        free(metrics);
    }
    assert_int_equal(read_tag(state, "eval/miou", seen, 16), 3); /* 2 again, 4 and the end */
    for (int i = 0; i < 3; i++) assert_int_equal(seen[i].step, i < 2 ? 2 * i + 2 : 5);
    assert_true(float_of(seen[2].scalar) == (float)o.summary.eval.miou);
    for (int k = 0; k < 4; k++) { /* of the first images that are evaluated, as they are in size */
        char tag[32];
        snprintf(tag, sizeof tag, "predictions/%05d", k);
        assert_int_equal(read_tag(state, tag, seen, 16), 3);
        assert_memory_equal(seen[2].bytes, "\x89PNG\r\n\x1a\n", 8);
        assert_true(seen[2].step == 5 && seen[2].height == SCENE_HEIGHT && seen[2].width == SCENE_WIDTH);
    }
    assert_int_equal(read_tag(state, "predictions/00004", seen, 16), 0);
    assert_true(read_tag(state, "memory/process", seen, 800) >= 1); /* one a second */
    assert_int_equal(read_tag(state, "plan", seen, 16), 2);         /* of the beginning, and of step 2 */
    assert_non_null(strstr(seen[1].bytes, "    student  "));
    assert_int_equal(seen[1].step, 2);
    assert_int_equal(read_tag(state, "config", seen, 16), 2);
    assert_non_null(strstr(seen[0].bytes, "\n      tensorboard: true\n"));
    int files = read_tag(state, "loss/total", seen, 16);
    o.from = 0;
    run_ok(state, &o); /* it is over: nothing is written */
    assert_int_equal(read_tag(state, "loss/total", seen, 16), files);
    assert_int_equal(read_tag(state, "plan", seen, 16), 2);
    run_remove(state, "board");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_files),
        cmocka_unit_test(resolved_config),
        cmocka_unit_test(existing_directory_is_refused),
        cmocka_unit_test(nothing_is_written),
        cmocka_unit_test(plan_needs_no_files),
        cmocka_unit_test(tensorboard),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
