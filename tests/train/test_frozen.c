/* student.trainable: heads: neck and head are trained on a trunk that stays as its file has it, to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/safetensors.h"
#include "session/search.h"
#include "support/steps.h"

#define NO_VAL "data.val.images=none data.val.labels=none "
#define BASE NO_VAL "sam_distill.fidelity_images=0 resolution_distill.enabled=false "
#define STILL                                                                                                          \
    "data.augment.crop=false data.augment.flip=0 data.augment.color_jitter=0 optim.schedule=constant "                 \
    "optim.weight_decay=100 "

static void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

/* A distilled student: its running statistics have moved, and its count of batches is 2. */
static const char *trunk_file(void **state)
{
    run_order o = {.name = "first", .set = BASE "task.enabled=false train.steps=2"};
    if (!is_there(run_file(state, "first", "student.safetensors"))) run_ok(state, &o);
    return run_file(state, "first", "student.safetensors");
}

/* Overrides of a run on that trunk; one text at a time. */
static const char *on_trunk(void **state, const char *set)
{
    static char text[9000];
    snprintf(text, sizeof text, BASE "student.trainable=heads student.weights=%s %s", trunk_file(state), set);
    return text;
}

static void losses(void **state, const char *name, int steps, double *first, double *last)
{
    static const char key[] = "\"loss\":";
    int lines;
    char *text = run_metrics(state, name, &lines), *at = strstr(text, key);
    assert_int_equal(lines, steps);
    assert_non_null(at);
    *first = atof(at + strlen(key));
    for (char *next = at; next; next = strstr(next + 1, key)) at = next;
    *last = atof(at + strlen(key));
    free(text);
}

/* The names in a file that begin with `prefix`, and of all. */
static int count_names(const char *file, const char *prefix, int *all)
{
    dram_st *st;
    int n = 0;
    ok(dram_st_open(file, &st));
    *all = dram_st_count(st);
    for (int i = 0; i < *all; i++) n += strncmp(dram_st_at(st, i)->name, prefix, strlen(prefix)) == 0;
    dram_st_close(st);
    return n;
}

static int64_t counter(const char *file, const char *name)
{
    dram_st *st;
    int64_t value;
    ok(dram_st_open(file, &st));
    const dram_st_tensor *t = dram_st_find(st, name);
    assert_non_null(t);
    ok(dram_st_read_raw(st, t, 0, 1, &value));
    dram_st_close(st);
    return value;
}

/* Byte for byte the file that it came from, running statistics and counts among them, however large the decay of weights;
 * what stands on it learns. */
static void the_trunk_stays_as_it_was(void **state)
{
    int all, steps = 8;
    double first, last;
    run_order o = {.name = "frozen", .set = on_trunk(state, STILL "train.steps=8 train.batch_size=4 optim.lr=1e-4")};
    run_ok(state, &o);
    assert_int_equal(o.summary.planned_peak_bytes, o.summary.measured_peak_bytes);
    assert_same_file(trunk_file(state), run_file(state, "frozen", "student.safetensors"));
    assert_same_file(trunk_file(state), run_file(state, "frozen", "checkpoints/step-00000008/student.safetensors"));
    losses(state, "frozen", steps, &first, &last);
    if (!(last < 0.9 * first)) fail_msg("%g to %g", first, last);
    const char *state_file = run_file(state, "frozen", "checkpoints/step-00000008/optimizer.safetensors");
    int heads = count_names(state_file, "m.neck.", &all) + count_names(state_file, "v.neck.", &all) +
                count_names(state_file, "m.head.", &all) + count_names(state_file, "v.head.", &all);
    assert_int_equal(heads, all);
    assert_int_equal(all, 2 * (7 + 9));
    assert_int_equal(counter(trunk_file(state), "stem.bn.num_batches_tracked"), 2);
    assert_int_equal(counter(run_file(state, "frozen", "heads.safetensors"), "head.refine.bn.num_batches_tracked"), 8);
}

/* In 16 bits, by micro-batches and on every other step; and it goes on as if it had not stopped. */
static void it_goes_on_bit_for_bit(void **state)
{
    static const char set[] = "train.precision=bf16 train.batch_size=4 train.accumulate=2 optim.state=int8 "
                              "sam_distill.distill_interval=2 sam_distill.between=reuse train.steps=4";
    run_order whole = {.name = "whole", .set = on_trunk(state, set)};
    run_ok(state, &whole);
    run_order part = {.name = "part", .set = on_trunk(state, set), .stop_at = 3};
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: ");
    part.stop_at = 0;
    part.resume = true;
    run_ok(state, &part);
    assert_same_run(state, "whole", "part", 4);
    assert_same_file(trunk_file(state), run_file(state, "part", "student.safetensors"));
    run_remove(state, "whole");
}

static void a_run_keeps_what_is_trained(void **state)
{
    char set[9000];
    snprintf(set, sizeof set, "%.8900s student.trainable=all", on_trunk(state, "train.steps=9"));
    run_order o = {.name = "frozen", .set = set, .resume = true};
    run_fails(state, &o, DRAM_ERR_CONFIG, "student.trainable: heads -> all: a run keeps its student");
}

/* ---- what a run begins with ---- */

static char told[2400];

static void keep_beginning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    if (strstr(message, "the run begins with: ")) snprintf(told, sizeof told, "%s", message);
}

/* How many tensors of a part of two files of heads are equal, and how many there are. */
static int equal_tensors(const char *a, const char *b, const char *part, int *all)
{
    dram_st *x, *y;
    int equal = 0;
    *all = 0;
    ok(dram_st_open(a, &x));
    ok(dram_st_open(b, &y));
    for (int i = 0; i < dram_st_count(x); i++) {
        const dram_st_tensor *t = dram_st_at(x, i), *u = dram_st_find(y, t->name);
        if (strncmp(t->name, part, strlen(part)) != 0 || t->dtype != DRAM_ST_F32 || !u) continue;
        int64_t n = t->elements;
        float *p = malloc((size_t)n * sizeof *p), *q = malloc((size_t)n * sizeof *q);
        assert_true(p && q && u->elements == n);
        ok(dram_st_read_f32(x, t, 0, n, p));
        ok(dram_st_read_f32(y, u, 0, n, q));
        equal += memcmp(p, q, (size_t)n * sizeof *p) == 0;
        ++*all;
        free(p);
        free(q);
    }
    dram_st_close(x);
    dram_st_close(y);
    return equal;
}

/* A run that moves no weight, and how many of its tensors of a part are those of the file that it begins with. */
static int kept(void **state, const char *name, const char *from, const char *part, const char *set, int *all)
{
    char still[9400], file[4600];
    run_order o = {.name = name, .set = still};
    snprintf(file, sizeof file, "%s", run_file(state, from, "heads.safetensors"));
    snprintf(still, sizeof still, "%.4400s student.heads=%.4400s train.steps=1 optim.type=sgd optim.lr=1e-30 %.200s",
             on_trunk(state, ""), file, set);
    told[0] = '\0';
    dram_log_set_sink(keep_beginning, NULL);
    run_ok(state, &o);
    dram_log_set_sink(NULL, NULL);
    assert_true(strstr(told, "trunk of ") && strstr(told, "first/student.safetensors, neck of "));
    int equal = equal_tensors(file, run_file(state, name, "heads.safetensors"), part, all);
    run_remove(state, name);
    return equal;
}

/* The neck that was distilled, which has no task head beside it; both; a neck beside a head of other classes. */
static void neck_and_head_begin_from_a_file(void **state)
{
    int all;
    assert_int_equal(kept(state, "neck", "first", "neck.", "", &all), 7);
    assert_int_equal(all, 7);
    assert_non_null(strstr(told, "task head of random numbers"));
    /* but for the running statistics of the head's two batch norms, which a step moves */
    assert_int_equal(kept(state, "both", "frozen", "", "", &all), 7 + 9);
    assert_int_equal(all, 7 + 9 + 2 * 2);
    assert_non_null(strstr(told, "frozen/heads.safetensors, task head of "));
    assert_int_equal(kept(state, "other", "frozen", "neck.", "data.classes=20 student.trainable=all", &all), 7);
    assert_non_null(
        strstr(told, "task head of random numbers (in the file it is of 12 classes, and data.classes is 20)"));
}

static void other_files_of_heads_are_refused(void **state)
{
    char set[9400];
    run_order o = {.name = "refused", .set = set};
    snprintf(set, sizeof set, "%.4400s student.heads=%.4400s", on_trunk(state, ""), trunk_file(state));
    run_fails(state, &o, DRAM_ERR_CONFIG, "first/student.safetensors has neither a neck nor a task head; name the");
    snprintf(set, sizeof set, NO_VAL "student.heads=%.4400s task.enabled=false sam_distill.enabled=false",
             run_file(state, "first", "heads.safetensors"));
    run_fails(state, &o, DRAM_ERR_CONFIG, "student.heads: nothing begins from ");
    snprintf(set, sizeof set, BASE "student.arch=vit_micro student.heads=%.4400s",
             run_file(state, "frozen", "heads.safetensors"));
    run_fails(state, &o, DRAM_ERR_FORMAT, "student.heads: ");
    snprintf(set, sizeof set, BASE "student.heads=%.4400s train.steps=4",
             run_file(state, "first", "heads.safetensors"));
    o.stop_at = 1;
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted: ");
    o.resume = true;
    snprintf(set, sizeof set, BASE "student.heads=%.4400s train.steps=4",
             run_file(state, "frozen", "heads.safetensors"));
    run_fails(state, &o, DRAM_ERR_CONFIG, "student.heads: ");
    run_remove(state, "refused");
}

/* ---- plans ---- */

static void plan(void **state, const char *set, dram_session *s, dram_config **cfg)
{
    *cfg = run_config(state, "plan", set);
    ok(dram_budget_plan(*cfg, DRAM_SET_TRAIN, 0, s));
}

/* Of the trunk a step makes no gradient, and keeps nothing but what neck and head read. */
static int check_step(const dram_session *s, dram_program_kind kind)
{
    const dram_graph *g = s->graphs.io[kind].graph;
    int values = 0, read = 0;
    if (!g || !g->backward_begin) return 0;
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        bool frozen = strncmp(node->name, "frozen.student.", 15) == 0;
        assert_int_equal(strncmp(node->name, "student.", 8) == 0, 0);
        if (frozen) assert_true(i < g->backward_begin);
        values += frozen;
        for (int k = 0; i >= g->backward_begin && k < node->n_in; k++)
            if (node->in[k] != DRAM_NONE) read += strncmp(dram_value_at(g, node->in[k])->name, "frozen.", 7) == 0;
    }
    assert_true(values > 40);
    assert_in_range(read, 1, 8); /* the weights' gradients of the linears on the taps, with their casts */
    return values;
}

static int64_t trained_elements(const dram_session *s)
{
    int64_t n = 0;
    for (int i = 0; i < s->graphs.slots.n; i++) {
        const dram_slot *slot = s->graphs.slots.at[i];
        if (!slot->trainable) continue;
        assert_string_not_equal(slot->group, "student");
        n += dram_elements(&slot->shape);
    }
    return n;
}

/* Ranks sum the gradients of what is trained, and no other: 4 bytes each, on top of the statistics of the head. */
static int64_t summed(const dram_session *s, dram_program_kind kind)
{
    const dram_graph *g = s->graphs.io[kind].graph;
    int64_t n = 0;
    for (int i = 0; g && i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        bool sums =
            node->op == DRAM_OP_all_reduce || node->op == DRAM_OP_all_reduce_into || node->op == DRAM_OP_reduce_scatter;
        if (sums && node->attr.bucket)
            for (int k = 0; k < node->n_in; k++) n += dram_elements(dram_shape_of(g, node->in[k]));
    }
    return n;
}

static void nothing_is_kept_of_the_trunk(void **state)
{
    static const char *const sets[] = {
        "",
        "train.precision=bf16 memory.checkpoint=blocks",
        "train.precision=fp16 sam_distill.distill_interval=2 train.batch_size=4 train.accumulate=2",
        "optim.clip_norm=0 memory.checkpoint=sqrt sam_distill.enabled=false",
        "task.enabled=false sam_distill.loss.standardize=true memory.budget=1GiB",
        "distributed.ranks=2",
        "distributed.ranks=3 optim.shard=state distributed.batch_norm=local",
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        dram_session s, all;
        dram_config *cfg, *other;
        char set[9000];
        plan(state, on_trunk(state, sets[i]), &s, &cfg);
        int values = check_step(&s, DRAM_PROGRAM_DISTIL_STEP) + check_step(&s, DRAM_PROGRAM_PLAIN_STEP);
        assert_true(values > 0);
        int64_t trained = trained_elements(&s);
        int64_t ranks = s.graphs.ranks;
        if (ranks > 1) assert_int_equal(summed(&s, DRAM_PROGRAM_DISTIL_STEP), trained);
        snprintf(set, sizeof set, "%.8900s student.trainable=all", on_trunk(state, sets[i]));
        plan(state, set, &all, &other);
        assert_true(s.plan->arena_bytes < all.plan->arena_bytes);
        int64_t state_bytes = s.plan->slots_by_category[DRAM_CATEGORY_OPTIMIZER];
        assert_true(state_bytes * 2 < all.plan->slots_by_category[DRAM_CATEGORY_OPTIMIZER] && state_bytes > 0);
        assert_int_equal(s.plan->slots_by_category[DRAM_CATEGORY_STUDENT_WEIGHTS],
                         all.plan->slots_by_category[DRAM_CATEGORY_STUDENT_WEIGHTS]);
        dram_session_close(&s);
        dram_session_close(&all);
        dram_config_free(cfg);
        dram_config_free(other);
    }
}

/* What it saves is the difference of two plans; where it is not set, it is no row. */
static void it_is_a_row_of_the_plan(void **state)
{
    dram_lever rows[DRAM_LEVERS];
    dram_session s, all;
    dram_config *cfg, *other;
    char set[9000];
    int n, found = 0;
    plan(state, on_trunk(state, ""), &s, &cfg);
    snprintf(set, sizeof set, "%.8900s student.trainable=all", on_trunk(state, ""));
    plan(state, set, &all, &other);
    ok(dram_levers(&s, rows, &n));
    for (int i = 0; i < n; i++) {
        if (strcmp(rows[i].name, "trainable") != 0) continue;
        assert_true(rows[i].pulled);
        assert_string_equal(rows[i].setting, "heads");
        assert_string_equal(rows[i].effect, "quality");
        assert_int_equal(rows[i].saved_bytes, all.plan->arena_bytes - s.plan->arena_bytes);
        found++;
    }
    assert_int_equal(found, 1);
    ok(dram_levers(&all, rows, &n));
    for (int i = 0; i < n; i++) assert_string_not_equal(rows[i].name, "trainable");
    dram_session_close(&s);
    dram_session_close(&all);
    dram_config_free(cfg);
    dram_config_free(other);
}

/* A ViT has no neck: its embedding is the trunk's own. */
static void an_embedding_of_the_trunk_is_refused(void **state)
{
    dram_session s;
    dram_config *cfg = run_config(state, "plan", on_trunk(state, "student.arch=vit_micro"));
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_ERR_CONFIG);
    if (!strstr(dram_error_text(), "student.trainable: the embedding of vit_micro is its trunk's own"))
        fail_msg("%s", dram_error_text());
    dram_error_clear();
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_trunk_stays_as_it_was),        cmocka_unit_test(it_goes_on_bit_for_bit),
        cmocka_unit_test(a_run_keeps_what_is_trained),      cmocka_unit_test(neck_and_head_begin_from_a_file),
        cmocka_unit_test(other_files_of_heads_are_refused), cmocka_unit_test(nothing_is_kept_of_the_trunk),
        cmocka_unit_test(it_is_a_row_of_the_plan),          cmocka_unit_test(an_embedding_of_the_trunk_is_refused),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
