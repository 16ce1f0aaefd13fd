/* Levers: what each row says is what two plans differ by, a budget is met by exact levers first, and nothing that
 * changes results is pulled without leave. Plans only: nothing runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/budget.h"
#include "session/build.h"
#include "session/search.h"
#include "support/runs.h"

/* A teacher whose weights count beside the student's activations. */
#define BASE                                                                                                           \
    "data.size=256 student.arch=regnety_002 sam_distill.teacher.model_type=vit_tiny train.batch_size=4 "               \
    "sam_distill.sam_input_size=256 optim.clip_norm=0 "

static int64_t arena(void **state, const char *set)
{
    char all[900];
    dram_session s;
    snprintf(all, sizeof all, BASE "%s", set);
    dram_config *cfg = run_config(state, "arena", all);
    if (dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK) fail_msg("%s", dram_error_text());
    int64_t bytes = s.plan->arena_bytes;
    dram_session_close(&s);
    dram_config_free(cfg);
    return bytes;
}

static const dram_lever *find(const dram_lever *rows, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

/* Each row against the plan that a user gets who sets the key. */
static void rows_are_differences_of_plans(void **state)
{
    static const struct {
        const char *name, *set, *setting;
        bool pulled;
        const char *effect;
    } want[] = {
        {"in_place", "memory.in_place=false", "on", true, "exact"},
        {"eager_free", "memory.eager_free=false", "on", true, "exact"},
        {"teacher_sharing", "memory.share_teacher=false", "on", true, "exact"},
        {"fused_update", "optim.fused=off", "on", true, "exact"},
        {"recompute_norms", "memory.recompute_norms=false", "on", true, "exact"},
        {"teacher_placement", "sam_distill.teacher.placement=stream", "device", false, "exact"},
        {"teacher_group", "sam_distill.teacher.group=1", "all", false, "rounding"},
        {"optim_state", "optim.state=int8", "fp32", false, "quality"},
        {"accumulate", "train.accumulate=2", "1", false, "quality"},
        {"precision", "train.precision=bf16 sam_distill.teacher.precision=bf16", "fp32", false, "quality"},
        {"sr_target_scale", "resolution_distill.sr_target_scale=2", "1.5", true, "quality"},
        {"sam_input_size", "sam_distill.sam_input_size=1024", "256", true, "quality"},
        {"distill_interval", "sam_distill.distill_interval=2", "1", false, "quality"},
    };
    dram_config *cfg = run_config(state, "rows", BASE);
    dram_session s;
    dram_lever rows[DRAM_LEVERS];
    int n;
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    assert_int_equal(dram_levers(&s, rows, &n), DRAM_OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const dram_lever *row = find(rows, n, want[i].name);
        int64_t other = arena(state, want[i].set), here = s.plan->arena_bytes;
        if (!row) fail_msg("no row for %s", want[i].name);
        assert_string_equal(row->setting, want[i].setting);
        assert_string_equal(row->effect, want[i].effect);
        assert_int_equal(row->pulled, want[i].pulled);
        if (row->saved_bytes != (row->pulled ? other - here : here - other))
            fail_msg("%s: %lld, not the difference of %lld and %lld", row->name, (long long)row->saved_bytes,
                     (long long)other, (long long)here);
        if (strcmp(row->effect, "exact") == 0) assert_true(row->added_flops >= 0);
    }
    assert_null(find(rows, n, "model_type")); /* vit_tiny has no smaller brother */
    assert_true(find(rows, n, "eager_free")->saved_bytes > s.plan->arena_bytes);
    const dram_lever *recompute = find(rows, n, "recompute");
    assert_non_null(recompute);
    assert_false(recompute->pulled);
    assert_true(recompute->saved_bytes > 0 && recompute->added_flops > 0);
    assert_true(find(rows, n, "recompute_norms")->added_flops > 0);
    dram_session_close(&s);
    dram_config_free(cfg);
}

/* Micro-batches change more than the order of sums where something is measured over the batch: a norm, or what a loss
 * is standardised by. A teacher on the CPU sums in another order than one on a GPU. */
static void what_they_change(void **state)
{
#define FROZEN "student.trainable=heads student.weights=w"
#define ALONE "student.arch=vit_micro task.enabled=false resolution_distill.enabled="
    static const char *const sets[][3] = {
        {"accumulate", ALONE "false", "rounding"},
        {"accumulate", ALONE "false sam_distill.loss.standardize=true", "quality"},
        {"accumulate", ALONE "true", "quality"},
        {"accumulate", ALONE "true resolution_distill.standardize=false", "rounding"},
        {"accumulate", "student.arch=vit_micro resolution_distill.enabled=false", "rounding"}, /* the task too */
        {"accumulate", "resolution_distill.enabled=false", "quality"},
        {"accumulate", "resolution_distill.enabled=false " FROZEN, "quality"}, /* the head has batch norms */
        {"accumulate", "resolution_distill.enabled=false task.enabled=false " FROZEN, "rounding"},
        {"teacher_placement", "sam_distill.teacher.placement=host", "exact"},
        {"teacher_placement", "device=cuda sam_distill.teacher.placement=host", "rounding"},
        {"teacher_placement", "device=cuda sam_distill.teacher.placement=stream", "exact"},
    };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        dram_config *cfg = run_config(state, "effect", sets[i][1]);
        dram_session s;
        dram_lever rows[DRAM_LEVERS];
        int n;
        assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
        assert_int_equal(dram_levers(&s, rows, &n), DRAM_OK);
        const dram_lever *row = find(rows, n, sets[i][0]);
        assert_non_null(row);
        assert_string_equal(row->effect, sets[i][2]);
        dram_session_close(&s);
        dram_config_free(cfg);
    }
}

/* Over several ranks the teacher first becomes a shard on each, then streams; with one rank a shard is the whole. */
static void a_teacher_over_ranks(void **state)
{
    static const char *const words[] = {"shard", "stream"};
    int lever = 0;
    bool pulled;
    char setting[DRAM_LEVER_SETTING];
    while (strcmp(dram_lever_name(lever), "teacher_placement") != 0) lever++;
    for (int ranks = 1; ranks <= 4; ranks += 3) {
        dram_config *cfg = run_config(state, "ranks", ranks > 1 ? BASE "distributed.ranks=4" : BASE);
        assert_true(dram_lever_read(lever, cfg, &pulled, setting));
        assert_false(pulled);
        for (int k = ranks == 1; k < 2; k++) {
            assert_true(dram_lever_may_pull(lever, cfg) && dram_lever_pull(lever, cfg));
            assert_true(dram_lever_read(lever, cfg, &pulled, setting));
            assert_true(pulled);
            assert_string_equal(setting, words[k]);
            assert_string_equal(dram_lever_effect(lever, cfg), "exact");
        }
        assert_false(dram_lever_pull(lever, cfg));
        dram_lever_release(lever, cfg);
        assert_int_equal(cfg->sam_distill.teacher.placement, DRAM_PLACEMENT_DEVICE);
        dram_config_free(cfg);
    }
    int64_t whole = arena(state, "distributed.ranks=4"), shard;
    shard = arena(state, "distributed.ranks=4 sam_distill.teacher.placement=shard");
    assert_true(shard < whole && shard > arena(state, "distributed.ranks=4 sam_distill.teacher.placement=stream"));
    assert_int_equal(arena(state, "sam_distill.teacher.placement=shard"), arena(state, ""));
    dram_config *cfg = run_config(state, "alone", BASE "sam_distill.teacher.placement=shard");
    assert_true(dram_lever_read(lever, cfg, &pulled, setting));
    assert_false(pulled);
    dram_config_free(cfg);
}

/* Plans BASE with `set` under a budget. */
static dram_session *plan_within(void **state, int64_t budget, const char *set, dram_config **cfg)
{
    static dram_session s;
    char all[900];
    snprintf(all, sizeof all, BASE "memory.budget=%lldB %s", (long long)budget, set);
    *cfg = run_config(state, "within", all);
    if (dram_budget_plan(*cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK) fail_msg("%s", dram_error_text());
    return &s;
}

static void close_plan(dram_session *s, dram_config *cfg)
{
    dram_session_close(s);
    dram_config_free(cfg);
}

/* Rows that only several ranks have, against the plans of who sets the keys. */
static void an_optimiser_over_ranks(void **state)
{
    static const char small[] = "data.size=64 sam_distill.enabled=false student.arch=regnetx_002 distributed.ranks=4 ";
    static const struct {
        const char *set, *name, *key, *setting, *effect;
        bool pulled;
    } want[] = {
        {"", "optim_shard", "optim.shard=state", "none", "exact", false},
        {"", "batch_norm", "distributed.batch_norm=local", "sync", "quality", false},
        {"optim.shard=gradients distributed.batch_norm=local train.accumulate=2 ", "optim_shard", "optim.shard=none",
         "gradients", "rounding", true},
        {"optim.shard=gradients distributed.batch_norm=local train.accumulate=2 ", "batch_norm",
         "distributed.batch_norm=sync", "local", "quality", true},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i += 2) {
        char all[900], other[600];
        dram_session s;
        dram_lever rows[DRAM_LEVERS];
        int n;
        snprintf(all, sizeof all, BASE "%s%s", small, want[i].set);
        dram_config *cfg = run_config(state, "ranks", all);
        assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
        assert_int_equal(dram_levers(&s, rows, &n), DRAM_OK);
        for (size_t k = i; k < i + 2; k++) {
            const dram_lever *row = find(rows, n, want[k].name);
            if (!row) fail_msg("%s: no row for %s", all, want[k].name);
            snprintf(other, sizeof other, "%s%s%s", small, want[k].set, want[k].key);
            int64_t there = arena(state, other), here = s.plan->arena_bytes;
            assert_string_equal(row->setting, want[k].setting);
            assert_string_equal(row->effect, want[k].effect);
            assert_int_equal(row->pulled, want[k].pulled);
            if (row->saved_bytes != (row->pulled ? there - here : here - there)) fail_msg("%s: %s", all, row->name);
            if (strcmp(row->name, "optim_shard") == 0) assert_true(row->saved_bytes > 0);
        }
        close_plan(&s, cfg);
    }
}

/* With one rank there are no such levers, and a shard is the whole. */
static void one_rank_has_no_shards(void **state)
{
    static const char *const names[] = {"optim_shard", "batch_norm"};
    char setting[DRAM_LEVER_SETTING];
    bool pulled;
    for (int ranks = 1; ranks <= 2; ranks++)
        for (int k = 0; k < 2; k++) {
            int lever = 0;
            dram_config *cfg =
                run_config(state, "alone",
                           ranks > 1 ? BASE "optim.shard=gradients distributed.ranks=2" : BASE "optim.shard=gradients");
            while (strcmp(dram_lever_name(lever), names[k]) != 0) lever++;
            assert_int_equal(dram_lever_read(lever, cfg, &pulled, setting), ranks > 1);
            if (k == 0) assert_string_equal(dram_lever_effect(lever, cfg), "exact");
            dram_config_free(cfg);
        }
    static const char small[] = "data.size=64 sam_distill.enabled=false ";
    char set[200];
    snprintf(set, sizeof set, "%soptim.shard=gradients", small);
    assert_int_equal(arena(state, set), arena(state, small));
}

/* The planner cuts the optimiser where it may and has to: the state first, then the gradients. */
static void an_optimiser_is_cut_for_a_budget(void **state)
{
    static const char base[] = "student.arch=vit_tiny distributed.ranks=4 optim.type=sgd train.accumulate=2 "
                               "memory.checkpoint=none sam_distill.enabled=false data.size=64 ";
    int64_t bytes[3];
    static const char *const words[] = {"none", "state", "gradients"};
    for (int i = 0; i < 3; i++) {
        char set[300];
        snprintf(set, sizeof set, "%soptim.shard=%s", base, words[i]);
        bytes[i] = arena(state, set);
    }
    assert_true(bytes[2] < bytes[1] && bytes[1] < bytes[0]);
    for (int i = 1; i < 3; i++) {
        char set[300], pulled[40];
        dram_config *cfg;
        snprintf(set, sizeof set, "%smemory.may_change=[optim_shard]", base);
        dram_session *s = plan_within(state, bytes[i], set, &cfg);
        snprintf(pulled, sizeof pulled, "optim_shard=%s", words[i]);
        assert_non_null(s->pulled.text);
        assert_string_equal(s->pulled.text, pulled);
        assert_int_equal(s->plan->arena_bytes, bytes[i]);
        close_plan(s, cfg);
    }
}

static void exact_levers_come_first(void **state)
{
    dram_config *cfg;
    int64_t all = arena(state, "memory.checkpoint=none"), floor;
    /* Enough: nothing is pulled. */
    dram_session *s = plan_within(state, all, "", &cfg);
    assert_int_equal(s->plan->arena_bytes, all);
    assert_null(s->pulled.text);
    assert_int_equal(s->schedule[DRAM_PROGRAM_DISTIL_STEP].n, 0);
    close_plan(s, cfg);
    /* A little less: recompute alone. */
    s = plan_within(state, all - all / 20, "memory.may_change=[accumulate,precision]", &cfg);
    assert_true(s->plan->arena_bytes <= all - all / 20);
    assert_null(s->pulled.text);
    assert_true(s->recomputed_flops[DRAM_PROGRAM_DISTIL_STEP] > 0);
    assert_int_equal(s->cfg.train.accumulate, 1);
    assert_int_equal(dram_levers_floor(&s->cfg, DRAM_SET_TRAIN, &floor), DRAM_OK);
    close_plan(s, cfg);
    /* The floor: streaming too, and it is met. */
    assert_true(floor < all);
    s = plan_within(state, floor, "memory.may_change=[accumulate,precision]", &cfg);
    assert_true(s->plan->arena_bytes <= floor);
    assert_string_equal(s->pulled.text, "teacher_placement=stream");
    assert_int_equal(s->cfg.sam_distill.teacher.placement, DRAM_PLACEMENT_STREAM);
    assert_int_equal(cfg->sam_distill.teacher.placement, DRAM_PLACEMENT_DEVICE);
    close_plan(s, cfg);
}

/* Below the floor only what may change is changed, in the order that changes results least first. */
static void others_need_leave(void **state)
{
    dram_config *cfg;
    int64_t floor;
    dram_session *s = plan_within(state, 1 << 20, "", &cfg); /* far too little */
    assert_int_equal(dram_levers_floor(&s->cfg, DRAM_SET_TRAIN, &floor), DRAM_OK);
    assert_int_equal(s->plan->arena_bytes, floor); /* the smallest there is */
    assert_int_equal(dram_budget_check(s, 1 << 20, "the budget is"), DRAM_ERR_FIT);
    const char *text = dram_error_text();
    assert_non_null(strstr(text, "the budget is 1.00 MiB"));
    assert_non_null(strstr(text, "floor"));
    assert_non_null(strstr(text, "alive"));
    assert_non_null(strstr(text, "pulling "));
    assert_null(strchr(text, '\n'));
    dram_error_clear();
    close_plan(s, cfg);
    int64_t target = floor - floor / 20;
    s = plan_within(state, target, "memory.may_change=[precision]", &cfg);
    assert_true(s->plan->arena_bytes <= target);
    assert_non_null(strstr(s->pulled.text, "precision=bf16"));
    assert_null(strstr(s->pulled.text, "accumulate"));
    assert_int_equal(s->cfg.train.precision, DRAM_PRECISION_BF16);
    close_plan(s, cfg);
    s = plan_within(state, target, "memory.may_change=[accumulate,distill_interval]", &cfg);
    assert_true(s->plan->arena_bytes <= target);
    assert_non_null(strstr(s->pulled.text, "accumulate="));
    assert_null(strstr(s->pulled.text, "distill_interval")); /* it saves no byte */
    assert_true(s->cfg.train.accumulate > 1);
    close_plan(s, cfg);
}

/* `none` is none: a user who says so is not overruled, but told. */
static void a_fixed_checkpoint_stays(void **state)
{
    dram_config *cfg;
    int64_t all = arena(state, "memory.checkpoint=none sam_distill.teacher.placement=stream");
    dram_session *s =
        plan_within(state, all - all / 20, "memory.checkpoint=none sam_distill.teacher.placement=stream", &cfg);
    assert_int_equal(s->plan->arena_bytes, all);
    assert_int_equal(dram_budget_check(s, s->budget, "the budget is"), DRAM_ERR_FIT);
    assert_non_null(strstr(dram_error_text(), "memory.checkpoint: optimal would make it"));
    dram_error_clear();
    close_plan(s, cfg);
}

/* Halves of a batch of two leave batch norm one value per channel at the trunk's end: no lever, and no failure. */
static void what_cannot_be_built_is_no_lever(void **state)
{
    dram_session s;
    dram_lever rows[DRAM_LEVERS];
    int n;
    dram_config *cfg = run_config(state, "two",
                                  "data.size=32 sam_distill.sam_input_size=32 resolution_distill.enabled=false "
                                  "train.batch_size=2 student.arch=regnetx_002");
    if (dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s) != DRAM_OK) fail_msg("%s", dram_error_text());
    if (dram_levers(&s, rows, &n) != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_null(find(rows, n, "accumulate"));
    assert_non_null(find(rows, n, "precision"));
    assert_string_equal(dram_error_text(), "");
    dram_session_close(&s);
    dram_config_free(cfg);
}

/* What is to be trained is in a plan's table only where it is not all. */
static void check_trainable(int lever, const dram_config *cfg)
{
    char setting[DRAM_LEVER_SETTING];
    bool pulled;
    dram_config other = *cfg;
    assert_string_equal(dram_lever_name(lever), "trainable");
    assert_false(dram_lever_pull(lever, &other));
    other.student.trainable = DRAM_TRAINABLE_HEADS;
    assert_true(dram_lever_read(lever, &other, &pulled, setting));
    assert_true(pulled);
    assert_false(dram_lever_pull(lever, &other));
    dram_lever_release(lever, &other);
    assert_int_equal(other.student.trainable, DRAM_TRAINABLE_ALL);
}

/* Every lever, moved and kept: pulled it says so, and released it stands as before; what a run that goes on keeps of
 * its first part is what was pulled there, under the word that memory.may_change has for it. */
static void every_lever_is_pulled_released_and_kept(void **state)
{
    char setting[DRAM_LEVER_SETTING], first[DRAM_LEVER_SETTING];
    bool pulled;
    int words = 0;
    dram_config *cfg = run_config(state, "kept",
                                  "task.enabled=true sam_distill.teacher.model_type=vit_h train.batch_size=4 "
                                  "sam_distill.sam_input_size=1024 resolution_distill.sr_target_scale=2 "
                                  "optim.clip_norm=0 distributed.ranks=2");
    for (int i = 0; i < DRAM_LEVERS; i++) {
        dram_config other = *cfg, kept = *cfg;
        dram_str names = {0};
        if (dram_lever_is_recompute(i)) continue;
        if (!dram_lever_read(i, cfg, &pulled, first)) {
            check_trainable(i, cfg);
            continue;
        }
        dram_lever_release(i, &other);
        assert_true(dram_lever_pull(i, &other));
        assert_true(dram_lever_read(i, &other, &pulled, setting));
        assert_true(pulled);
        for (int word = 0; word < 32; word++) {
            dram_config asked = *cfg;
            asked.memory.may_change = 1u << word;
            if (!dram_lever_may_pull(i, &asked) || strcmp(dram_lever_name(i), "teacher_placement") == 0) continue;
            words++;
            assert_string_equal(dram_lever_name(i), dram_may_change_word((dram_may_change)word));
            dram_levers_keep(&kept, &other, ~(1u << word), &names);
            assert_string_not_equal(names.text ? names.text : "", dram_lever_name(i));
            kept = *cfg;
            dram_str_free(&names);
            dram_levers_keep(&kept, &other, 1u << word, &names);
            assert_string_equal(names.text, dram_lever_name(i));
            assert_true(dram_lever_read(i, &kept, &pulled, first));
            assert_string_equal(first, setting);
            dram_str_free(&names);
        }
        dram_lever_release(i, &other);
        assert_true(dram_lever_read(i, &other, &pulled, setting));
        assert_false(pulled);
    }
#define COUNT(ID, WORD) +1
    assert_int_equal(words, 0 DRAM_MAY_CHANGE_LIST(COUNT));
#undef COUNT
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_differences_of_plans),    cmocka_unit_test(every_lever_is_pulled_released_and_kept),
        cmocka_unit_test(what_cannot_be_built_is_no_lever), cmocka_unit_test(what_they_change),
        cmocka_unit_test(an_optimiser_over_ranks),          cmocka_unit_test(one_rank_has_no_shards),
        cmocka_unit_test(an_optimiser_is_cut_for_a_budget), cmocka_unit_test(a_teacher_over_ranks),
        cmocka_unit_test(exact_levers_come_first),          cmocka_unit_test(others_need_leave),
        cmocka_unit_test(a_fixed_checkpoint_stays),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
