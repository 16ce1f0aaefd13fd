/* The teacher in a run: where it is changes no bit of what the student learns, and its weights come in its own type
 * from every file and from the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/alloc.h"
#include "base/half.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "session/budget.h"
#include "session/weights.h"
#include "support/runs.h"

static void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

#define TEACHER "sam_distill.teacher."

/* Runs with a teacher in the way of `set`, and evaluates, which runs it again. */
static void teach(void **state, const char *name, const char *set)
{
    char all[600];
    snprintf(all, sizeof all, "train.steps=3 task.enabled=false resolution_distill.enabled=false %.400s", set);
    run_order o = {.name = name, .set = all};
    run_ok(state, &o);
    assert_true(isfinite(o.summary.eval.embedding_cosine));
    assert_int_equal(o.summary.planned_peak_bytes, o.summary.measured_peak_bytes);
}

static void assert_taught_alike(void **state, const char *a, const char *b)
{
    assert_same_file(run_file(state, a, "student.safetensors"), run_file(state, b, "student.safetensors"));
    assert_same_file(run_file(state, a, "heads.safetensors"), run_file(state, b, "heads.safetensors"));
    assert_same_file(run_file(state, a, "evaluations.jsonl"), run_file(state, b, "evaluations.jsonl"));
    char *x, *y;
    int n, m;
    x = run_metrics(state, a, &n);
    y = run_metrics(state, b, &m);
    assert_int_equal(n, 3);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* The same to some roundings in the first step, where the student is the same. What they grow to in later ones is
 * AdamW's doing. */
static void assert_taught_nearly_alike(void **state, const char *a, const char *b, double rounding)
{
    int n, m;
    char *x = run_metrics(state, a, &n), *y = run_metrics(state, b, &m);
    const char *of_x = strstr(x, "\"loss_sam\":"), *of_y = strstr(y, "\"loss_sam\":");
    assert_true(of_x && of_y);
    double want = strtod(of_x + 11, NULL), got = strtod(of_y + 11, NULL);
    if (!(fabs(got - want) <= 4 * rounding * want)) fail_msg("%.9g instead of %.9g", got, want);
    assert_string_not_equal(x, y); /* other kernels made them */
    free(x);
    free(y);
}

/* The shipped way, and each other one with the same group and type. Beside a GPU the CPU's teacher, whose sums are in
 * another order, is right to rounding alone. */
static void placement_changes_no_bit(void **state)
{
    static const struct {
        const char *device, *stream, *host;
        double rounding;
    } rows[] = {{TEACHER "group=0", TEACHER "placement=stream", TEACHER "placement=host", 0x1p-23},
                {TEACHER "group=1 " TEACHER "precision=bf16",
                 TEACHER "group=1 " TEACHER "precision=bf16 " TEACHER "placement=stream",
                 TEACHER "group=1 " TEACHER "precision=bf16 " TEACHER "placement=host", 0x1p-8}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        teach(state, "device", rows[i].device);
        teach(state, "stream", rows[i].stream);
        assert_taught_alike(state, "device", "stream");
        teach(state, "host", rows[i].host);
        if (test_on_gpu())
            assert_taught_nearly_alike(state, "device", "host", rows[i].rounding);
        else
            assert_taught_alike(state, "device", "host");
        run_remove(state, "device");
        run_remove(state, "stream");
        run_remove(state, "host");
    }
}

/* Streaming frees the device of the teacher's weights, the host of its activations too. */
static void what_placement_saves(void **state)
{
    static const char *const sets[] = {"", TEACHER "placement=stream", TEACHER "placement=host"};
    int64_t arena[3], host[3];
    for (int i = 0; i < 3; i++) {
        dram_session s;
        dram_config *cfg = run_config(state, "saves", sets[i]);
        ok(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s));
        arena[i] = s.plan->max_live_bytes; /* without what placement loses */
        host[i] = s.plan->host_bytes;
        dram_session_close(&s);
        dram_config_free(cfg);
    }
    assert_int_equal(host[0], 0);
    assert_true(host[1] > 4 << 20); /* vit_micro has 1.8 million weights */
    assert_true(host[2] > host[1]);
    assert_true(arena[0] - arena[1] > 2 << 20);
    assert_true(arena[1] >= arena[2]);
}

/* The largest recipe, thousands of nodes: one plan of it is a matter of milliseconds, for a budget takes many. */
static void a_large_step_is_planned_quickly(void **state)
{
    const dram_graph *graphs[DRAM_PROGRAM_COUNT];
    dram_graph_set p;
    dram_plan *plan;
    int n = 0, nodes = 0;
    dram_config *cfg = run_config(state, "large",
                                  "data.size=1024 student.arch=regnety_016 sam_distill.sam_input_size=1024 " TEACHER
                                  "model_type=vit_h " TEACHER "precision=bf16 " TEACHER "placement=stream " TEACHER
                                  "group=1 resolution_distill.low_scale=0.5 resolution_distill.sr_target_scale=2.0 "
                                  "train.precision=bf16 "
                                  "train.batch_size=8");
    clock_t begin = clock();
    ok(dram_graph_set_build(cfg, DRAM_SET_TRAIN, &p));
    clock_t built = clock();
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (p.io[k].graph) {
            nodes += p.io[k].graph->n_nodes;
            graphs[n++] = p.io[k].graph;
        }
    dram_profile profile = dram_profile_cpu(2);
    ok(dram_plan_make(graphs, n, &p.slots, &profile, DRAM_PLAN_USUAL, &plan));
    double build = (double)(built - begin) / CLOCKS_PER_SEC, planning = (double)(clock() - built) / CLOCKS_PER_SEC;
    print_message("%d nodes: built in %.3f s, planned in %.3f s of CPU time\n", nodes, build, planning);
    assert_true(nodes > 8000);
    assert_true((double)plan->arena_bytes <= 1.005 * (double)plan->max_live_bytes);
#ifndef DRAM_SANITIZED
    assert_true(build < 1.0 && planning < 1.0); /* an order of magnitude above what they take */
#endif
    dram_plan_free(plan);
    dram_graph_set_free(&p);
    dram_config_free(cfg);
}

/* ---- weights in a type of their own ---- */

enum { TYPES = 3 };
static const dram_precision types[TYPES] = {DRAM_PRECISION_FP32, DRAM_PRECISION_FP16, DRAM_PRECISION_BF16};
static const char *const type_names[TYPES] = {"fp32", "fp16", "bf16"};

/* Starts a session with `set` and saves its teacher: in types[i] to path[i] where that is not NULL. */
static dram_status save(void **state, const char *set, const char *const path[TYPES])
{
    static const char *const group = "teacher";
    char all[5000];
    dram_session s;
    snprintf(all, sizeof all, "resolution_distill.enabled=false task.enabled=false %.4800s", set); /* small graphs */
    dram_config *cfg = run_config(state, "none", all);
    ok(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s));
    dram_status status = dram_session_start(&s);
    for (int i = 0; i < TYPES && status == DRAM_OK; i++)
        if (path[i]) status = dram_weights_save(&s, path[i], &group, 1, false, types[i]);
    dram_session_close(&s);
    dram_config_free(cfg);
    return status;
}

/* PREFIX.fp32, PREFIX.fp16, PREFIX.bf16 in the temporary folder. */
typedef struct {
    char path[TYPES][4400];
    const char *of[TYPES];
} files;

static files files_of(void **state, const char *prefix)
{
    files f;
    for (int i = 0; i < TYPES; i++)
        snprintf(f.path[i], sizeof f.path[i], "%.4300s.%s", in_dir(state, prefix), type_names[i]);
    return f;
}

static const char *const *all_of(files *f)
{
    for (int i = 0; i < TYPES; i++) f->of[i] = f->path[i];
    return f->of;
}

static bool differ(const char *a, const char *b)
{
    size_t n, m;
    char *x = get_file(a, &n), *y = get_file(b, &m);
    bool different = n != m || memcmp(x, y, n) != 0;
    free(x);
    free(y);
    return different;
}

/* The teacher's matrices have been rounded once already: saving in that type, they are what they are without it. */
static void random_weights_are_rounded_once(void **state)
{
    static const char *const where[] = {"", TEACHER "placement=stream", TEACHER "placement=host " TEACHER "group=1"};
    static files full, low;
    full = files_of(state, "full");
    low = files_of(state, "low");
    ok(save(state, "", all_of(&full)));
    for (int i = 1; i < TYPES; i++)
        for (int k = 0; k < 3; k++) {
            char set[300];
            snprintf(set, sizeof set, TEACHER "precision=%s %s", type_names[i], where[k]);
            ok(save(state, set, all_of(&low)));
            assert_same_file(full.path[i], low.path[i]);
            assert_true(differ(full.path[0], low.path[0])); /* they are rounded */
        }
}

/* From a file of each type into slots of each type: what saving in the narrower of the two gives. */
static void files_of_every_type_are_read(void **state)
{
    static files from, straight, low;
    from = files_of(state, "from");
    straight = files_of(state, "straight");
    low = files_of(state, "low");
    ok(save(state, "", all_of(&from)));
    for (int in = 0; in < TYPES; in++) {
        char set[5200];
        snprintf(set, sizeof set, TEACHER "weights=%.4400s", from.path[in]); /* through f32, exactly */
        ok(save(state, set, all_of(&straight)));
        assert_same_file(from.path[in], straight.path[in]);
        for (int k = 1; k < TYPES; k++) {
            snprintf(set, sizeof set, TEACHER "weights=%.4400s " TEACHER "precision=%s " TEACHER "placement=%s",
                     from.path[in], type_names[k], k == in ? "stream" : "device");
            ok(save(state, set, all_of(&low)));
            assert_same_file(straight.path[k], low.path[k]);
        }
    }
}

/* A number that fp16 has not is told, with its weight's name. */
static void too_large_for_fp16(void **state)
{
    static float numbers[3 * 16 * 16 * 128];
    const char *file = in_dir(state, "file.safetensors"), *large = in_dir(state, "large.safetensors");
    const char *const out_file[TYPES] = {file};
    static dram_st_out out[200];
    dram_st *st;
    char set[5000];
    ok(save(state, "", out_file));
    ok(dram_st_open(file, &st));
    int n = dram_st_count(st);
    assert_true(n < 200);
    for (int i = 0; i < n; i++) {
        const dram_st_tensor *t = dram_st_at(st, i);
        float *data = malloc((size_t)t->elements * sizeof *data);
        assert_non_null(data);
        ok(dram_st_read_f32(st, t, 0, t->elements, data));
        if (strcmp(t->name, "patch_embed.proj.weight") == 0) {
            assert_int_equal(t->elements, sizeof numbers / sizeof numbers[0]);
            data[1000] = -65520.0f; /* the first that rounds to infinity */
            data[1001] = 65519.0f;
        }
        out[i] = (dram_st_out){.name = t->name, .dtype = DRAM_ST_F32, .rank = t->rank, .data = data};
        memcpy(out[i].dim, t->dim, sizeof out[i].dim);
    }
    ok(dram_st_write(large, out, n, NULL, 0));
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)out[i].data);
    dram_st_close(st);
    snprintf(set, sizeof set, TEACHER "weights=%.4400s " TEACHER "precision=fp16", large);
    assert_int_equal(save(state, set, out_file), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "patch_embed.proj.weight has the number -65520"));
    assert_non_null(strstr(dram_error_text(), "bf16"));
    dram_error_clear();
    snprintf(set, sizeof set, TEACHER "weights=%.4400s " TEACHER "precision=bf16", large);
    ok(save(state, set, out_file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_step_is_planned_quickly),
        cmocka_unit_test(placement_changes_no_bit),
        cmocka_unit_test(what_placement_saves),
        cmocka_unit_test(random_weights_are_rounded_once),
        cmocka_unit_test(files_of_every_type_are_read),
        cmocka_unit_test(too_large_for_fp16),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
