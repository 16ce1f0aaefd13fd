/* Runs whose targets come from a cache: the same targets as a teacher in the step gives, to the cache's precision, and
 * no teacher anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "base/half.h"
#include "caches.h"
#include "evaluate/eval_file.h"
#include "feed/feed.h"
#include "session/budget.h"
#include "session/search.h"

/* A number of line `step` of metrics.jsonl; NAN for null. */
static double metric(void **state, const char *name, int step, const char *key)
{
    char *text = get_file(run_file(state, name, "metrics.jsonl"), NULL), *line = text;
    for (int i = 0; i < step; i++) {
        line = strchr(line, '\n') + 1;
        assert_true(*line);
    }
    cJSON *root;
    assert_int_equal(dram_json_parse(line, strcspn(line, "\n"), &root, NULL), DRAM_OK);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    assert_non_null(item);
    double value = cJSON_IsNumber(item) ? item->valuedouble : cJSON_IsBool(item) ? cJSON_IsTrue(item) : NAN;
    cJSON_Delete(root);
    free(text);
    return value;
}

/* ---- the same as online ---- */

/* Step 0 of a run with a cache against the same run with the teacher in its step. `error`: how far the number of an
 * embedding may be off, in root mean square; its own is 1, for SAM's neck ends in a layer norm. An MSE of L is then off
 * by 2 sqrt(L) error + error^2 at most (Cauchy-Schwarz); sums of floats add 1e-6 of it. */
static void same_first_step(void **state, const char *set, double error)
{
    char all[4200];
    run_order cached = {.name = "cached", .set = with_cache(state, "same", set)}, online = {.name = "online"};
    snprintf(all, sizeof all, STILL "%.4000s", set);
    online.set = all;
    run_ok(state, &cached);
    run_ok(state, &online);
    double have = metric(state, "cached", 0, "loss_sam"), want = metric(state, "online", 0, "loss_sam");
    double allowed = 2 * sqrt(want) * error + error * error + 1e-6 * want;
    if (!(fabs(have - want) <= allowed)) fail_msg("loss_sam %g, online %g, allowed %g", have, want, allowed);
    assert_true(want > 0.1);
    assert_true(metric(state, "cached", 0, "teacher_ran") == 0);
    assert_true(metric(state, "cached", 0, "distilled") == 1);
    assert_true(metric(state, "online", 0, "teacher_ran") == 1);
    if (strstr(set, "task.enabled=true"))
        assert_true(metric(state, "cached", 0, "loss_task") == metric(state, "online", 0, "loss_task"));
    assert_int_equal(cached.summary.planned_peak_bytes, cached.summary.measured_peak_bytes);
    assert_true(cached.summary.planned_peak_bytes < online.summary.planned_peak_bytes);
    double cosine = cached.summary.eval.embedding_cosine - online.summary.eval.embedding_cosine;
    assert_true(fabs(cosine) < 0.02); /* after a few updates: the same run, not the same bits */
    run_remove(state, "cached");
    run_remove(state, "online");
}

static void first_step_is_the_online_one(void **state)
{
    const double fp16 = 0x1p-11; /* of each number, of which the root mean square is 1 */
    same_first_step(state, "train.steps=3 task.enabled=true", fp16);
    same_first_step(state, "train.steps=2 train.batch_size=4 train.accumulate=2 " EMBED, fp16);
    remove_dir(state, "same");
    /* a canvas, and a grid of 2 cells for the student's 4 */
    same_first_step(state, "train.steps=2 sam_distill.sam_input_size=32 sam_distill.pad_to=64 " EMBED, fp16);
    remove_dir(state, "same");
    same_first_step(state, "train.steps=2 train.precision=bf16 " EMBED, fp16);
    remove_dir(state, "same");
    /* a channel's largest of 16 cells and more is below 6, so half a step is below 6 / 127 / 2 */
    same_first_step(state, "train.steps=3 sam_distill.cache_format=int8 " EMBED, 3.0 / 127 + fp16);
    assert_int_equal(records(state, "same", DRAM_CACHE_HEADER + 4 * 256 + ELEMENTS), 2 * SCENES);
    remove_dir(state, "same");
}

/* What the cache has of each image against what the teacher says of the pixels that training would show it. */
static void embeddings_are_the_teachers(void **state)
{
    dram_config *cfg = run_config(state, "e", with_cache(state, "teachers", EMBED));
    dram_dataset *train;
    dram_targets targets;
    dram_session s;
    dram_feed feed = {0};
    static float want[ELEMENTS];
    static uint8_t pixels[SIDE * SIDE * 3];
    char path[4600];
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    if (open_filled(cfg, train, NULL, &targets) != DRAM_OK) fail_msg("%s", dram_error_text());
    const dram_config fill = dram_targets_fill_config(cfg);
    assert_int_equal(dram_budget_plan(&fill, DRAM_SET_CACHE_FILL, 0, &s), DRAM_OK);
    assert_int_equal(dram_session_start(&s), DRAM_OK);
    assert_int_equal(dram_feed_open(&s.graphs, &feed), DRAM_OK);
    const dram_io *io = &s.graphs.io[DRAM_PROGRAM_CACHE_FILL];
    int differ = 0;
    for (int i = 0; i < SCENES; i++) {
        const dram_image_rules limits = {0};
        dram_image image;
        dram_image_load(dram_dataset_image_path(train, i, path, sizeof path), &limits, &image);
        static uint16_t plain[ELEMENTS];
        for (int flip = 0; flip < 2; flip++) {
            dram_sample sample = {.teacher = pixels, .index = i, .name = dram_dataset_name(train, i)};
            sample.geometry = dram_geometry_fit(image.full_height, image.full_width);
            sample.geometry.flip = flip;
            assert_int_equal(dram_geometry_image(&sample.geometry, &image, SIDE, SIDE, pixels, &sample.teacher_height,
                                                 &sample.teacher_width),
                             DRAM_OK);
            assert_int_equal(dram_feed_batch(&s, &feed, DRAM_PROGRAM_CACHE_FILL, 0, &sample, 1, 1), DRAM_OK);
            assert_int_equal(dram_exec_run(s.exec, io->index), DRAM_OK);
            assert_int_equal(dram_exec_read(s.exec, io->index, io->embedding, want, sizeof want), DRAM_OK);
            if (dram_targets_read(&targets, false, &sample) != DRAM_OK) fail_msg("%s", dram_error_text());
            for (int k = 0; k < ELEMENTS; k++) {
                if (targets.half[k] != dram_f32_to_f16(want[k]))
                    fail_msg("%s flip %d: %g, the teacher says %g", sample.name, flip,
                             (double)dram_f16_to_f32(targets.half[k]), (double)want[k]);
                if (flip) differ += targets.half[k] != plain[k];
            }
            memcpy(plain, targets.half, sizeof plain);
        }
        dram_image_free(&image);
    }
    assert_true(differ > SCENES * ELEMENTS / 2);
    dram_feed_close(&feed);
    dram_session_close(&s);
    dram_targets_close(&targets);
    dram_dataset_close(train);
    dram_config_free(cfg);
}

/* ---- what is made, and when ---- */

static void a_full_cache_is_left_alone(void **state)
{
    size_t n;
    run_order o = {.name = "first", .set = with_cache(state, "full", EMBED "train.steps=2")};
    run_ok(state, &o);
    assert_said("cache: 16 of 16 embeddings to make, ");
    char *before = embeddings(state, "full", &n);
    o.name = "second";
    run_ok(state, &o);
    assert_said("cache: all 16 embeddings are in ");
    size_t m;
    char *after = embeddings(state, "full", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    assert_same_run(state, "first", "second", 2);
    free(before);
    free(after);
    run_remove(state, "first");
    run_remove(state, "second");
}

/* Flipped images are in it as far as training flips, and the validation's never. */
static void flips(void **state)
{
    static const struct {
        const char *set;
        int made, all;
    } rows[] = {{"data.augment.flip=0 data.val.images=none data.val.labels=none ", 8, 8},
                {"data.augment.flip=0 ", 0, 8}, /* the validation's are the same files */
                {"data.augment.flip=1 data.val.images=none data.val.labels=none ", 8, 8},
                {"data.augment.flip=1 ", 0, 16},
                {"data.augment.flip=0.5 ", 0, 16},
                {"data.augment.flip=0.5 data.max_pixels=2000000 ", 16, 16}}; /* other pixels, as far as is known */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char set[300], text[100];
        dram_targets t;
        snprintf(set, sizeof set, "%s" EMBED, rows[i].set);
        if (open_targets(state, "flips", set, &t) != DRAM_OK) fail_msg("%s", dram_error_text());
        dram_targets_close(&t);
        if (rows[i].made)
            snprintf(text, sizeof text, "cache: %d of %d embeddings to make", rows[i].made, rows[i].all);
        else
            snprintf(text, sizeof text, "cache: all %d embeddings are in", rows[i].all);
        assert_said(text);
    }
    assert_int_equal(records(state, "flips", RECORD), 32);
}

static void nothing_of_the_teacher_in_the_plan(void **state)
{
    static const char *const gone[] = {"teacher_sharing", "teacher_placement", "teacher_group",
                                       "sam_input_size",  "model_type",        "distill_interval"};
    dram_config *cfg = run_config(
        state, "p",
        with_cache(state, "plan",
                   "memory.budget=1MiB memory.may_change=[precision,teacher_group,sam_input_size,model_type,"
                   "distill_interval] sam_distill.teacher.model_type=vit_l sam_distill.sam_input_size=1024"));
    dram_session s;
    dram_lever rows[DRAM_LEVERS];
    int64_t bytes[DRAM_CATEGORY_COUNT];
    int n;
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    dram_plan_account(s.plan, bytes);
    assert_int_equal(bytes[DRAM_CATEGORY_TEACHER_WEIGHTS], 0);
    assert_true(bytes[DRAM_CATEGORY_STUDENT_WEIGHTS] > 0);
    for (int i = 0; i < s.graphs.slots.n; i++) assert_string_not_equal(s.graphs.slots.at[i]->group, "teacher");
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) assert_int_equal(s.graphs.io[k].teacher_image, DRAM_NONE);
    assert_int_equal(s.graphs.teacher_size, 0);
    assert_int_equal(s.plan->host_bytes, 0);
    /* Nothing that the cache depends on was pulled, though the budget cannot be met. */
    assert_non_null(strstr(s.pulled.text, "precision=bf16"));
    assert_null(strchr(s.pulled.text, ','));
    assert_int_equal(s.cfg.train.precision, DRAM_PRECISION_BF16);
    assert_int_equal(s.cfg.sam_distill.teacher.precision, DRAM_PRECISION_FP32);
    assert_int_equal(s.cfg.sam_distill.sam_input_size, 1024);
    assert_string_equal(s.cfg.sam_distill.teacher.model_type, "vit_l");
    assert_int_equal(s.cfg.sam_distill.teacher.placement, DRAM_PLACEMENT_DEVICE);
    assert_int_equal(dram_levers(&s, rows, &n), DRAM_OK);
    assert_true(n > 3);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof gone / sizeof gone[0]; k++) assert_string_not_equal(rows[i].name, gone[k]);
    dram_session_close(&s);
    /* The session that fills it has the teacher, and takes what is exact to fit. */
    dram_config fill = dram_targets_fill_config(cfg);
    assert_int_equal(dram_budget_plan(&fill, DRAM_SET_CACHE_FILL, 0, &s), DRAM_OK);
    assert_int_equal(s.cfg.sam_distill.teacher.placement, DRAM_PLACEMENT_STREAM);
    assert_int_equal(s.cfg.sam_distill.teacher.precision, DRAM_PRECISION_FP32);
    assert_int_equal(s.cfg.sam_distill.sam_input_size, 1024);
    assert_string_equal(s.cfg.sam_distill.teacher.model_type, "vit_l");
    dram_session_close(&s);
    assert_int_equal(dram_targets_image_bytes(cfg), DRAM_CACHE_HEADER + 64 * 64 * 256 * 2);
    dram_config_free(cfg);
    assert_false(is_there(in_dir(state, "plan"))); /* planning touches nothing */
}

/* A budget that the fill's session meets by streaming: the same bits, so the same cache. */
static void a_fill_within_a_budget(void **state)
{
    size_t n, m;
    dram_config *cfg = run_config(state, "b", with_cache(state, "budget", EMBED));
    dram_dataset *train;
    dram_targets t;
    dram_session s;
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    assert_int_equal(open_filled(cfg, train, NULL, &t), DRAM_OK);
    dram_targets_close(&t);
    char *whole = embeddings(state, "budget", &n);
    remove_dir(state, "budget");
    dram_config fill = dram_targets_fill_config(cfg);
    assert_int_equal(dram_budget_plan(&fill, DRAM_SET_CACHE_FILL, 0, &s), DRAM_OK);
    cfg->memory.budget = s.plan->arena_bytes - 4096;
    dram_session_close(&s);
    if (open_filled(cfg, train, NULL, &t) != DRAM_OK) fail_msg("%s", dram_error_text());
    dram_targets_close(&t);
    char *streamed = embeddings(state, "budget", &m);
    assert_int_equal(n, m); /* in one process the place where it begins is the same */
    assert_memory_equal(whole, streamed, n);
    remove_dir(state, "budget");
    cfg->memory.budget = 4096;
    assert_int_equal(open_filled(cfg, train, NULL, &t), DRAM_ERR_FIT);
    assert_non_null(strstr(dram_error_text(), "filling the cache: the plan needs "));
    dram_error_clear();
    dram_targets_close(&t);
    dram_dataset_close(train);
    dram_config_free(cfg);
    free(whole);
    free(streamed);
}

/* ---- with the rest of the recipe ---- */

static void resumed(void **state, const char *set, int steps, int stop)
{
    run_order whole = {.name = "whole", .set = with_cache(state, "resume", set)};
    run_order part = {.name = "part", .set = with_cache(state, "resume", set), .stop_at = stop};
    run_ok(state, &whole);
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: ");
    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_int_equal(part.progressed, steps - stop);
    assert_same_run(state, "whole", "part", steps);
}

static void resume_is_exact(void **state)
{
    resumed(state, EMBED "train.steps=6 data.augment.flip=0.5", 6, 3);
    run_remove(state, "whole");
    run_remove(state, "part");
}

static void with_an_interval(void **state)
{
    resumed(state, "train.steps=6 sam_distill.distill_interval=3", 6, 2);
    for (int i = 0; i < 6; i++) {
        assert_true(metric(state, "whole", i, "distilled") == (i % 3 == 0));
        assert_true(isnan(metric(state, "whole", i, "loss_sam")) == (i % 3 != 0));
        assert_true(metric(state, "whole", i, "teacher_ran") == 0);
    }
    run_remove(state, "whole");
    run_remove(state, "part");
}

static void with_reuse(void **state)
{
    resumed(state, EMBED "train.steps=6 sam_distill.distill_interval=2 sam_distill.between=reuse", 6, 3);
    run_order online = {.name = "online",
                        .set = STILL EMBED "train.steps=6 sam_distill.distill_interval=2 sam_distill.between=reuse"};
    run_ok(state, &online);
    for (int i = 0; i < 6; i++) {
        double have = metric(state, "whole", i, "loss_sam"), want = metric(state, "online", i, "loss_sam");
        assert_true(metric(state, "whole", i, "distilled") == 1);
        assert_true(metric(state, "whole", i, "teacher_ran") == 0);
        assert_true(metric(state, "online", i, "teacher_ran") == (i % 2 == 0));
        /* Step 1 has the images of step 0. What the updates make of the rounding grows, but not to another image's. */
        assert_true(fabs(have - want) <= 0.01 * want);
    }
    run_remove(state, "whole");
    run_remove(state, "part");
    run_remove(state, "online");
}

/* `dram eval` uses it, and fills what it lacks. */
static void evaluation(void **state)
{
    run_order o = {.name = "eval", .set = with_cache(state, "eval", EMBED "train.steps=2")};
    run_ok(state, &o);
    said[0] = '\0';
    for (int k = 0; k < 2; k++) {
        dram_eval_result result;
        dram_config *cfg = run_config(state, "eval", o.set);
        if (dram_evaluate_file(cfg, run_file(state, "eval", "student.safetensors"), NULL, NULL, NULL, &result) !=
            DRAM_OK)
            fail_msg("%s", dram_error_text());
        assert_said(k ? "cache: 8 of 8 embeddings to make" : "cache: all 8 embeddings are in");
        assert_int_equal(result.images, SCENES);
        assert_true(result.embedding_cosine == o.summary.eval.embedding_cosine);
        assert_true(result.embedding_mse == o.summary.eval.embedding_mse);
        dram_config_free(cfg);
        remove_dir(state, "eval");
    }
    run_remove(state, "eval");
}

/* Three processes that begin at once, each with a session of its own: each embedding once, and with the bits that one
 * process alone gives it. */
static void several_processes(void **state)
{
    enum { PROCESSES = 3 };
    pid_t pid[PROCESSES];
    dram_config *cfg = run_config(state, "several", with_cache(state, "several", EMBED "threads=1"));
    for (int p = 0; p < PROCESSES; p++) {
        pid[p] = fork();
        assert_true(pid[p] >= 0);
        if (pid[p]) continue;
        dram_dataset *train, *val;
        dram_targets t;
        if (dram_datasets_open(cfg, false, &train) != DRAM_OK || dram_datasets_open(cfg, true, &val) != DRAM_OK)
            _exit(2);
        _exit(open_filled(cfg, train, val, &t) == DRAM_OK ? 0 : 3);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int how;
        assert_int_equal(waitpid(pid[p], &how, 0), pid[p]);
        assert_int_equal(how, 0);
    }
    assert_int_equal(records(state, "several", RECORD), 2 * SCENES);
    dram_config_free(cfg);
    dram_targets t, alone;
    assert_int_equal(open_targets(state, "several", EMBED "threads=1", &t), DRAM_OK);
    assert_said("cache: all 16 embeddings are in");
    assert_int_equal(open_targets(state, "alone", EMBED "threads=1", &alone), DRAM_OK);
    for (int i = 0; i < SCENES; i++)
        for (int flip = 0; flip < 2; flip++) {
            const dram_sample sample = {.index = i, .name = "image", .geometry = {.flip = flip}};
            assert_int_equal(dram_targets_read(&t, false, &sample), DRAM_OK);
            assert_int_equal(dram_targets_read(&alone, false, &sample), DRAM_OK);
            assert_memory_equal(t.half, alone.half, ELEMENTS * sizeof *t.half);
        }
    dram_targets_close(&t);
    dram_targets_close(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_step_is_the_online_one),
        cmocka_unit_test(embeddings_are_the_teachers),
        cmocka_unit_test(a_full_cache_is_left_alone),
        cmocka_unit_test(flips),
        cmocka_unit_test(nothing_of_the_teacher_in_the_plan),
        cmocka_unit_test(a_fill_within_a_budget),
        cmocka_unit_test(resume_is_exact),
        cmocka_unit_test(with_an_interval),
        cmocka_unit_test(with_reuse),
        cmocka_unit_test(evaluation),
        cmocka_unit_test(several_processes),
    };
    dram_log_set_sink(hear, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
