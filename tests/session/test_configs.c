/* Every shipped config plans, without data and without weights, and loses at most 0.5 % of its arena between buffers.
 * The tiers fit their cards and are ordered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "session/budget.h"
#include "train/train.h"

/* A node that sets an attribute which its row does not name as one of its time would share its time with others. */
static void assert_times_tell_nodes_apart(const dram_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        int named[DRAM_TIMED];
        const dram_attr *a = &g->nodes[i]->attr;
        const int set[DRAM_TIMED] = {a->stride, a->pad, a->groups, a->heads, a->window, a->act, a->mode};
        dram_node_timed(g->nodes[i], named);
        if (memcmp(set, named, sizeof set) != 0) fail_msg("%s: its op names other attributes", g->nodes[i]->name);
    }
}

/* Scratch memory goes by threads: with their number given the plan is the same on every machine. */
static void plan_file(const char *file, const char *threads, dram_config **cfg, dram_session *session)
{
    dram_status status = dram_config_load(file, &threads, 1, cfg);
    if (status == DRAM_OK) status = dram_budget_plan(*cfg, DRAM_SET_TRAIN, 0, session);
    if (status != DRAM_OK) print_error("%s: %s\n", file, dram_error_text());
    assert_int_equal(status, DRAM_OK);
    double waste = (double)session->plan->arena_bytes / (double)session->plan->max_live_bytes - 1.0;
    print_message("%s, %s: arena %lld bytes, %.3f %% above max live\n", file, threads,
                  (long long)session->plan->arena_bytes, 100.0 * waste);
    assert_true(session->plan->max_live_bytes > 0);
    assert_true(session->plan->n_programs > 0);
    for (int i = 0; i < session->plan->n_programs; i++) assert_times_tell_nodes_apart(session->plan->programs[i].graph);
    assert_true(waste >= 0.0 && waste <= 0.005);
}

static void plan_all(const char *pattern)
{
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dram_config *cfg;
        dram_session session;
        if (strstr(found.gl_pathv[i], "sweep.yaml")) continue; /* of many configs */
        plan_file(found.gl_pathv[i], "threads=2", &cfg, &session);
        dram_session_close(&session);
        dram_config_free(cfg);
    }
    globfree(&found);
}

static void shipped_configs(void **state)
{
    (void)state;
    plan_all(DRAM_SOURCE_DIR "/configs/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/configs/teacher/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/configs/camvid/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/configs/teach/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/bench/*.yaml");
}

/* ---- tiers ---- */

/* What is better the larger it is. */
typedef struct {
    int size, max_pixels, batch, teacher_side, teacher_blocks;
    double sr_scale;
    int64_t budget, student_flops;
} quality;

/* FLOPs of the step that are not the teacher's. */
static int64_t student_flops(const dram_config *cfg)
{
    dram_config alone = *cfg;
    dram_session s;
    alone.sam_distill.enabled = false;
    alone.memory.budget = DRAM_BYTES_NONE;
    alone.train.batch_size = 2; /* the same for all */
    assert_int_equal(dram_budget_plan(&alone, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    int64_t flops = s.plan->programs[s.graphs.io[DRAM_PROGRAM_PLAIN_STEP].index].flops;
    dram_session_close(&s);
    return flops;
}

static quality quality_of(const dram_config *cfg)
{
    const dram_arch *teacher = dram_arch_find(cfg->sam_distill.teacher.model_type);
    assert_non_null(teacher);
    return (quality){.size = cfg->data.size,
                     .max_pixels = cfg->data.max_pixels,
                     .batch = cfg->train.batch_size,
                     .teacher_side = cfg->sam_distill.sam_input_size,
                     .teacher_blocks = teacher->blocks,
                     .sr_scale = cfg->resolution_distill.sr_target_scale,
                     .budget = cfg->memory.budget,
                     .student_flops = student_flops(cfg)};
}

/* Not worse in anything, better in something besides the budget. */
static void assert_ordered(const quality *a, const quality *b)
{
    assert_true(b->budget > a->budget);
    assert_true(b->size >= a->size && b->max_pixels >= a->max_pixels && b->batch >= a->batch);
    assert_true(b->teacher_side >= a->teacher_side && b->teacher_blocks >= a->teacher_blocks);
    assert_true(b->sr_scale >= a->sr_scale && b->student_flops >= a->student_flops);
    assert_true(b->size > a->size || b->batch > a->batch || b->teacher_side > a->teacher_side ||
                b->teacher_blocks > a->teacher_blocks || b->sr_scale > a->sr_scale ||
                b->student_flops > a->student_flops);
}

/* A card of N GB shows N * 10^9 bytes at least, and its driver keeps up to 0.75 GiB. */
static void assert_fits_card(const dram_session *s, int card)
{
    const int64_t drivers = (int64_t)768 << 20;
    assert_true(s->budget > 0 && s->budget <= card * (int64_t)1000000000 - drivers);
    assert_true(s->plan->arena_bytes <= s->budget);
    assert_true(s->plan->arena_bytes >= s->budget / 10 * 9); /* the budget is used */
    assert_int_equal(s->plan->host_bytes, 0);                /* all of it is on the card */
    assert_int_equal(s->pulled.length, 0);                   /* the recipe is run as it is written */
}

static void assert_recipe(const dram_config *cfg, const dram_session *s, int card)
{
    const dram_program *step = &s->plan->programs[s->graphs.io[DRAM_PROGRAM_DISTIL_STEP].index];
    assert_int_equal(cfg->train.precision, DRAM_PRECISION_BF16);
    assert_int_equal(cfg->sam_distill.teacher.precision, DRAM_PRECISION_BF16);
    assert_int_equal(cfg->memory.checkpoint, DRAM_CHECKPOINT_OPTIMAL);
    assert_int_equal(cfg->memory.may_change, 0);
    assert_int_equal(cfg->train.accumulate, 1);
    assert_int_equal(cfg->sam_distill.distill_interval.value[0], 1);
    /* Under 15 % of what the student costs, which is less than the step. */
    int64_t again = s->recomputed_flops[DRAM_PROGRAM_DISTIL_STEP];
    int64_t student = student_flops(cfg) / 2 * cfg->train.batch_size;
    assert_true(again > 0 && student < step->flops && again < student / 100 * 15);
    if (card < 24) return;
    assert_string_equal(cfg->sam_distill.teacher.model_type, "vit_h");
    assert_int_equal(cfg->sam_distill.sam_input_size, 1024);
    assert_true(cfg->resolution_distill.enabled && cfg->resolution_distill.sr_target_scale == 2.0);
}

static void tiers(void **state)
{
    static const int cards[] = {6, 8, 12, 16, 24, 40, 80};
    glob_t found;
    quality before = {0};
    (void)state;
    assert_int_equal(glob(DRAM_SOURCE_DIR "/configs/tiers/*.yaml", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, sizeof cards / sizeof *cards);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        dram_config *cfg;
        dram_session session;
        char name[16];
        snprintf(name, sizeof name, "/%02dgb.yaml", cards[i]);
        assert_non_null(strstr(found.gl_pathv[i], name));
        plan_file(found.gl_pathv[i], "threads=2", &cfg, &session);
        assert_fits_card(&session, cards[i]);
        assert_recipe(cfg, &session, cards[i]);
        quality now = quality_of(cfg);
        if (i) assert_ordered(&before, &now);
        before = now;
        dram_session_close(&session);
        dram_config_free(cfg);
    }
    globfree(&found);
}

/* A tier fits, with no more lost between buffers, whatever the machine. */
static void tiers_on_other_machines(void **state)
{
#ifdef DRAM_SANITIZED
    (void)state;
    print_message("left out in a sanitised build: two minutes of planning that the other test has done once\n");
    skip();
#else
    static const char *const threads[] = {"threads=1", "threads=16", "threads=64"};
    glob_t found;
    (void)state;
    assert_int_equal(glob(DRAM_SOURCE_DIR "/configs/tiers/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc > 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            dram_config *cfg;
            dram_session session;
            plan_file(found.gl_pathv[i], threads[t], &cfg, &session);
            assert_true(session.plan->arena_bytes <= session.budget);
            dram_session_close(&session);
            dram_config_free(cfg);
        }
    globfree(&found);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shipped_configs), cmocka_unit_test(tiers),
                                       cmocka_unit_test(tiers_on_other_machines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
