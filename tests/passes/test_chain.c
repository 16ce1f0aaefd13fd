/* The recompute planner on numbers: golden schedules, properties on random chains, and its bad input. */
#include "chains.h"

static void expect_schedule(const dram_chain_schedule *schedule, const char *want)
{
    char text[512];
    print_schedule(schedule, text, sizeof text);
    assert_string_equal(text, want);
}

/* Solves for `most`, checks time, schedule and peak at `bytes`. INFINITY: nothing fits. */
static void expect_golden(const dram_chain *chain, int64_t most, int64_t bytes, double want, const char *want_schedule,
                          int64_t want_peak)
{
    dram_chain_solution *solution;
    dram_chain_schedule schedule;
    int64_t peak;
    double time;
    assert_int_equal(dram_chain_solve(chain, most, 1000, &solution), DRAM_OK);
    assert_true(dram_chain_time(solution, bytes) == want); /* small multiples of 0.5: exact */
    if (isinf(want)) {
        assert_int_equal(dram_chain_emit(solution, bytes, &schedule), DRAM_ERR_FIT);
        assert_null(schedule.op);
        dram_error_clear();
    } else {
        assert_int_equal(dram_chain_emit(solution, bytes, &schedule), DRAM_OK);
        assert_int_equal(dram_chain_simulate(chain, &schedule, &peak, &time), DRAM_OK);
        assert_true(time == want);
        assert_true(peak <= bytes);
        if (want_schedule) {
            expect_schedule(&schedule, want_schedule);
            assert_int_equal(peak, want_peak);
        }
        dram_chain_schedule_free(&schedule);
    }
    dram_chain_solution_free(solution);
}

/* All of a..b, from tables for just that budget and from tables for more. */
static void expect_all(const dram_chain *chain, int a, int b, double want, const char *schedule, int64_t peak)
{
    for (int bytes = a; bytes <= b; bytes++) {
        expect_golden(chain, bytes, bytes, want, schedule, peak);
        expect_golden(chain, 60, bytes, want, schedule, peak);
    }
}

static void stages_alike_give_known_schedules(void **state)
{
    (void)state;
    dram_chain_stage stage[5];
    dram_chain chain = uniform(stage, 4);
    int64_t floor;
    expect_all(&chain, 0, 5, INFINITY, NULL, 0);
    expect_all(&chain, 6, 6, 18, "K1 E2 E3 S4 L B4 K1 E2 S3 B3 K1 S2 B2 S1 B1", 6);
    expect_all(&chain, 7, 7, 15, "K1 E2 K3 S4 L B4 S3 B3 S1 S2 B2 B1", 7);
    expect_all(&chain, 8, 8, 14, "K1 E2 S3 S4 L B4 B3 S1 S2 B2 B1", 8);
    expect_all(&chain, 9, 9, 14, "S1 K2 K3 S4 L B4 S3 B3 S2 B2 B1", 9); /* of equal ones the first */
    expect_all(&chain, 10, 10, 13, "S1 S2 K3 S4 L B4 S3 B3 B2 B1", 10);
    expect_all(&chain, 11, 14, 12, "S1 S2 S3 S4 L B4 B3 B2 B1", 11);
    assert_true(ideal_time(&chain) == 12);
    assert_int_equal(dram_chain_floor(&chain, &floor), DRAM_OK);
    assert_int_equal(floor, 6);
    assert_int_equal(closed_floor(&chain), 6);
    /* The best of all schedules; at 9 it drops x[1] while stage 2 is saved, which no persistent one does. */
    static const double best[] = {INFINITY, 18, 15, 14, 13, 13, 12, 12};
    for (int bytes = 5; bytes <= 12; bytes++) assert_true(oracle_solve(&chain, bytes) == best[bytes - 5]);
}

static dram_chain three(dram_chain_stage *stage)
{
    static const int64_t x[] = {2, 4, 2, 1}, kept[] = {0, 10, 6, 3};
    static const double forward[] = {0, 3, 2, 1};
    for (int s = 1; s <= 3; s++) {
        stage[s] = (dram_chain_stage){.x = x[s], .d = x[s], .forward = forward[s], .plain_peak = x[s], .n_options = 1};
        stage[s].option[0] =
            (dram_chain_option){kept[s], forward[s], 2 * forward[s], kept[s], kept[s] + x[s] + x[s - 1]};
    }
    return (dram_chain){.input = 2, .length = 3, .stage = stage};
}

static void three_stages_give_known_schedules(void **state)
{
    (void)state;
    dram_chain_stage stage[4];
    dram_chain chain = three(stage);
    int64_t floor;
    expect_all(&chain, 0, 17, INFINITY, NULL, 0);
    expect_all(&chain, 18, 23, 21, "K1 S2 S3 L B3 B2 S1 B1", 18);
    expect_all(&chain, 24, 40, 18, "S1 S2 S3 L B3 B2 B1", 24);
    assert_int_equal(dram_chain_floor(&chain, &floor), DRAM_OK);
    assert_int_equal(floor, 18);
    assert_int_equal(closed_floor(&chain), 18);
}

static void stages_with_options_give_known_schedules(void **state)
{
    (void)state;
    dram_chain_stage stage[4];
    dram_chain chain = three(stage);
    for (int s = 1; s <= 3; s++) {
        dram_chain_option *o = stage[s].option;
        stage[s].n_options = 2;
        o[1] = o[0];
        o[1].kept = (o[0].kept + stage[s].x) / 2;
        o[1].backward += 0.5;
    }
    expect_all(&chain, 0, 17, INFINITY, NULL, 0);
    expect_all(&chain, 18, 20, 21, NULL, 0);
    expect_all(&chain, 21, 23, 18.5, "S1.1 S2 S3 L B3 B2 B1.1", 21);
    expect_all(&chain, 24, 40, 18, "S1 S2 S3 L B3 B2 B1", 24);
    assert_true(ideal_time(&chain) == 18);
}

/* A pinned x[2]: it is never made again, and stages above it begin there. Held bytes: nothing is re-run while they are
 * many. */
static void pinned_and_held_values_give_known_schedules(void **state)
{
    (void)state;
    dram_chain_stage stage[5];
    dram_chain chain = uniform(stage, 4);
    int64_t floor;
    stage[2].pinned = true;
    stage[2].x = 0;
    stage[2].plain_peak = 0;
    stage[2].option[0] = (dram_chain_option){1, 1, 2, 1, 3};
    expect_all(&chain, 0, 5, INFINITY, NULL, 0);
    expect_all(&chain, 6, 6, 15, "K1 E2 K3 S4 L B4 S3 B3 S1 S2 B2 B1", 6);
    assert_int_equal(dram_chain_floor(&chain, &floor), DRAM_OK);
    assert_int_equal(floor, 6);

    chain = uniform(stage, 4);
    chain.loss_peak = 3;
    expect_all(&chain, 0, 5, INFINITY, NULL, 0);
    expect_all(&chain, 6, 6, 19, "K1 E2 E3 K4 L S4 B4 K1 E2 S3 B3 K1 S2 B2 S1 B1", 6);
    chain.loss_peak = 5;
    expect_all(&chain, 0, 6, INFINITY, NULL, 0);
    expect_all(&chain, 7, 7, 19, "K1 E2 E3 E4 L K1 E2 K3 S4 B4 S3 B3 S1 S2 B2 B1", 7);

    chain = uniform(stage, 4);
    stage[4].held = 3;
    expect_all(&chain, 0, 8, INFINITY, NULL, 0);
    expect_all(&chain, 9, 9, 15, "K1 E2 E3 S4 L B4 S1 S2 S3 B3 B2 B1", 9);
    stage[4].held = 0;
    stage[3].held = 3;
    expect_all(&chain, 0, 8, INFINITY, NULL, 0);
    expect_all(&chain, 9, 9, 14, "K1 E2 S3 S4 L B4 B3 S1 S2 B2 B1", 9);

    /* Stage 1 has no room beside what is held at 2: its output is kept rather than made again, so the floor is lower
     * than that of a schedule which keeps nothing. */
    chain = uniform(stage, 3);
    stage[1].plain_peak = stage[1].option[0].forward_peak = 5;
    stage[2].held = 3;
    assert_int_equal(dram_chain_floor(&chain, &floor), DRAM_OK);
    assert_int_equal(floor, 9);
    assert_int_equal(closed_floor(&chain), 10);
    assert_true(oracle_solve(&chain, -1) == 9);
    expect_all(&chain, 0, 8, INFINITY, NULL, 0);
    expect_all(&chain, 9, 9, 10, "K1 S2 S3 L B3 B2 S1 B1", 9);
}

/* x[1] is pinned, so x[2] can be made beside d[3], where stage 1 has no room; nor has it beside d[1], only beside
 * d[2]. */
static void a_pinned_input_gives_known_schedules(void **state)
{
    (void)state;
    dram_chain_stage stage[5];
    dram_chain chain = uniform(stage, 4);
    chain.input = 0;
    for (int s = 1; s <= 4; s++) stage[s].option[0] = (dram_chain_option){1, 1, 1, 1, 19};
    stage[1].pinned = true;
    stage[1].x = 0;
    stage[1].d = 10;
    stage[1].plain_peak = 12;
    stage[1].option[0] = (dram_chain_option){3, 1, 1, 12, 15};
    stage[2].option[0].backward_peak = 11;
    stage[3].d = 10;
    expect_all(&chain, 0, 19, INFINITY, NULL, 0);
    expect_all(&chain, 20, 20, 12, "K1 E2 E3 S4 L B4 E2 S3 B3 S1 S2 B2 B1", 20);
}

/* Each size once as the one that sets the peak. */
static void each_size_sets_the_peak_once(void **state)
{
    (void)state;
    dram_chain_stage stage[4];
    dram_chain chain;
    dram_chain_schedule schedule;
    int64_t peak;
    double time;
    parse_schedule("K1 E2 S3 L B3 K1 S2 B2 S1 B1", &schedule);
#define PEAK(field, value, want)                                                                                       \
    do {                                                                                                               \
        chain = uniform(stage, 3);                                                                                     \
        field = value;                                                                                                 \
        assert_int_equal(dram_chain_simulate(&chain, &schedule, &peak, &time), DRAM_OK);                               \
        assert_int_equal(peak, want);                                                                                  \
        assert_true(time == 12);                                                                                       \
    } while (0)
    PEAK(chain.input, 1, 6);                        /* B3: x0 x2 4 */
    PEAK(chain.input, 7, 12);                       /* the same */
    PEAK(chain.loss_peak, 10, 14);                  /* x0 x2, stage 3's 2, 10 */
    PEAK(stage[1].plain_peak, 10, 12);              /* the second K1: x0 d2 10 */
    PEAK(stage[2].plain_peak, 10, 12);              /* E2: x0 x1 10 */
    PEAK(stage[3].option[0].forward_peak, 10, 12);  /* S3: x0 x2 10 */
    PEAK(stage[2].option[0].forward_peak, 10, 13);  /* S2: x0 x1 d2 10 */
    PEAK(stage[1].option[0].backward_peak, 20, 21); /* B1: x0 20 */
    PEAK(stage[2].option[0].backward_peak, 20, 22); /* B2: x0 x1 20 */
    PEAK(stage[3].held, 10, 16);                    /* B3: x0 x2 4 10 */
    PEAK(stage[2].held, 10, 16);                    /* B2: x0 x1 4 10 */
    PEAK(stage[1].held, 10, 15);                    /* B1: x0 4 10 */
#undef PEAK
    dram_chain_schedule_free(&schedule);
}

static void check_budget(const dram_chain *c, const dram_chain_solution *solution, int64_t bytes)
{
    dram_chain_schedule schedule;
    int64_t peak;
    double time, want = dram_chain_time(solution, bytes);
    if (isinf(want)) {
        assert_int_equal(dram_chain_emit(solution, bytes, &schedule), DRAM_ERR_FIT);
        dram_error_clear();
        return;
    }
    assert_int_equal(dram_chain_emit(solution, bytes, &schedule), DRAM_OK);
    if (dram_chain_simulate(c, &schedule, &peak, &time) != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_true(peak <= bytes);
    assert_true(time == want); /* whole numbers */
    dram_chain_schedule_free(&schedule);
}

static int64_t stored_peak(const dram_chain *c)
{
    dram_chain_schedule schedule;
    int64_t peak;
    double time;
    assert_int_equal(dram_chain_stored(c, &schedule), DRAM_OK);
    assert_int_equal(dram_chain_simulate(c, &schedule, &peak, &time), DRAM_OK);
    dram_chain_schedule_free(&schedule);
    return peak;
}

/* The chain's every budget against the recurrence; with the first option alone it is never better. */
static void check_chain(const dram_chain *c)
{
    dram_chain_solution *solution, *one, *less;
    dram_chain_stage stage[MAX_LENGTH + 1];
    dram_chain single = *c;
    int64_t floor, most = stored_peak(c) + 20;
    for (int s = 1; s <= c->length; s++) {
        stage[s] = c->stage[s];
        stage[s].n_options = 1;
    }
    single.stage = stage;
    assert_int_equal(dram_chain_floor(c, &floor), DRAM_OK);
    assert_true(floor <= closed_floor(c));
    assert_int_equal(dram_chain_solve(c, most, 1 << 20, &solution), DRAM_OK);
    assert_int_equal(dram_chain_solve(&single, most, 1 << 20, &one), DRAM_OK);
    assert_int_equal(dram_chain_solve(c, (floor + most) / 2, 1 << 20, &less), DRAM_OK);
    solve_naively(c, (int)most + 1);
    double before = INFINITY;
    for (int64_t bytes = 0; bytes <= most; bytes += 1 + most / 200) {
        double time = dram_chain_time(solution, bytes);
        if (time != naive_time(c, bytes)) fail_msg("%g, not %g", time, naive_time(c, bytes));
        assert_true(isfinite(time) == (bytes >= floor));
        assert_true(time <= before);
        assert_true(time <= dram_chain_time(one, bytes));
        if (bytes <= (floor + most) / 2) assert_true(dram_chain_time(less, bytes) == time);
        check_budget(c, solution, bytes);
        before = time;
    }
    assert_true(isinf(dram_chain_time(solution, floor - 1)) && isfinite(dram_chain_time(solution, floor)));
    check_budget(c, solution, floor);
    check_budget(c, less, floor);
    assert_true(dram_chain_time(one, most) <= ideal_time(&single));
    dram_chain_solution_free(solution);
    dram_chain_solution_free(one);
    dram_chain_solution_free(less);
}

static void random_chains_are_solved(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        numbers c;
        dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 1 + i % 7, i % 32, 2 + below(&r, 8));
        check_chain(&c.chain);
    }
}

/* Many slots: rows longer than what is worked on at a time. */
static void random_chains_of_many_slots_are_solved(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++) {
        numbers c;
        dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 2 + i % (MAX_LENGTH - 2), i % 32, 100);
        check_chain(&c.chain);
    }
}

/* A common factor of all sizes changes nothing: it is the unit. */
static void a_common_factor_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        numbers c;
        dram_chain_solution *plain, *scaled;
        dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 1 + i % 6, i % 32, 6);
        int64_t factor = 1 + below(&r, 100000), most = stored_peak(&c.chain);
        assert_int_equal(dram_chain_solve(&c.chain, most, 1000, &plain), DRAM_OK);
        c.chain.input *= factor;
        c.chain.loss_peak *= factor;
        for (int s = 1; s <= c.chain.length; s++) {
            dram_chain_stage *stage = &c.stage[s];
            stage->x *= factor;
            stage->d *= factor;
            stage->plain_peak *= factor;
            stage->held *= factor;
            for (int k = 0; k < stage->n_options; k++) {
                stage->option[k].kept *= factor;
                stage->option[k].forward_peak *= factor;
                stage->option[k].backward_peak *= factor;
            }
        }
        assert_int_equal(dram_chain_solve(&c.chain, most * factor + factor - 1, 1000, &scaled), DRAM_OK);
        for (int64_t bytes = 0; bytes <= most; bytes++) {
            double want = dram_chain_time(plain, bytes);
            assert_true(dram_chain_time(scaled, bytes * factor) == want);
            assert_true(dram_chain_time(scaled, bytes * factor + factor - 1) == want);
            check_budget(&c.chain, scaled, bytes * factor + below(&r, (int)factor));
        }
        dram_chain_solution_free(plain);
        dram_chain_solution_free(scaled);
    }
}

/* No schedule at all is better than the oracle's; most often the solved one is as good, and on chains like those of
 * real networks it runs in the fewest bytes in which any does. */
static void no_schedule_is_better_than_the_oracles(void **state)
{
    (void)state;
    int pairs = 0, equal = 0, lower = 0;
    double worst = 1;
    for (int i = 0; i < 640; i++) {
        numbers c;
        int64_t floor;
        dram_chain_solution *solution;
        dram_rng r = dram_rng_make(4, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 2 + i % 20 / 6, i % 32, 2 + below(&r, 6));
        int64_t most = stored_peak(&c.chain);
        assert_int_equal(dram_chain_solve(&c.chain, most, 100000, &solution), DRAM_OK);
        assert_int_equal(dram_chain_floor(&c.chain, &floor), DRAM_OK);
        int64_t least = (int64_t)oracle_solve(&c.chain, -1);
        assert_true(least <= floor);
        if (!(i % 32 & (WILD | HELD))) assert_int_equal(least, floor);
        if (!(i % 32 & (WILD | HELD | PINS | LOSS))) assert_int_equal(closed_floor(&c.chain), floor);
        lower += least < floor;
        for (int try = 0; try < 3; try++) {
            int64_t bytes = floor + (int64_t)dram_rng_below(&r, (uint64_t)larger(most - floor, 1));
            double best = oracle_solve(&c.chain, bytes), time = dram_chain_time(solution, bytes);
            assert_true(best <= time);
            pairs++;
            equal += best == time;
            if (best > 0) worst = fmax(worst, time / best);
        }
        dram_chain_solution_free(solution);
    }
    print_message("as good as the oracle in %d of %d, at worst %.3f times its time; its floor is lower in %d\n", equal,
                  pairs, worst, lower);
    assert_true(pairs == 1920 && equal > pairs * 7 / 10);
}

/* Slots that are coarser than the sizes: never more bytes than asked for, and no slower than with a slot less for each
 * value that can be alive (the outputs, the input, the gradient, the operation) and one for the budget. */
static void coarse_slots_stay_within_the_budget(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        numbers c;
        dram_chain_solution *coarse, *exact;
        dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 1 + i % 8, i % 32, 200);
        int slots = 20 + below(&r, 200);
        int64_t all = stored_peak(&c.chain), bytes = all / 4 + (int64_t)dram_rng_below(&r, (uint64_t)all);
        assert_int_equal(dram_chain_solve(&c.chain, bytes, slots, &coarse), DRAM_OK);
        assert_int_equal(dram_chain_solve(&c.chain, bytes, 1 << 20, &exact), DRAM_OK);
        int64_t unit = (bytes + slots - 1) / slots;
        double before = INFINITY;
        for (int64_t b = 0; b <= bytes; b += 1 + bytes / 100) {
            double time = dram_chain_time(coarse, b);
            assert_true(time <= before);
            assert_true(time >= dram_chain_time(exact, b));
            assert_true(time <= dram_chain_time(exact, b - (c.chain.length + 4) * unit));
            check_budget(&c.chain, coarse, b);
            before = time;
        }
        dram_chain_solution_free(coarse);
        dram_chain_solution_free(exact);
    }
}

static void expect_made(const dram_chain *chain, dram_status (*make)(const dram_chain *, dram_chain_schedule *),
                        const char *want)
{
    dram_chain_schedule schedule;
    assert_int_equal(make(chain, &schedule), DRAM_OK);
    expect_schedule(&schedule, want);
    dram_chain_schedule_free(&schedule);
    assert_null(schedule.op);
}

static void fixed_schedules_are_known(void **state)
{
    (void)state;
    dram_chain_stage stage[8];
    dram_chain chain = uniform(stage, 4);
    expect_made(&chain, dram_chain_stored, "S1 S2 S3 S4 L B4 B3 B2 B1");
    expect_made(&chain, dram_chain_blocks, "K1 K2 K3 S4 L B4 S3 B3 S2 B2 S1 B1");
    expect_made(&chain, dram_chain_sqrt, "K1 E2 S3 S4 L B4 B3 S1 S2 B2 B1");
    chain = uniform(stage, 7);
    expect_made(&chain, dram_chain_sqrt, "K1 E2 K3 E4 S5 S6 S7 L B7 B6 B5 S3 S4 B4 B3 S1 S2 B2 B1");
    chain.length = 1;
    expect_made(&chain, dram_chain_stored, "S1 L B1");
    expect_made(&chain, dram_chain_blocks, "S1 L B1");
    expect_made(&chain, dram_chain_sqrt, "S1 L B1");
    chain.length = 0;
    expect_made(&chain, dram_chain_stored, "L");
    expect_made(&chain, dram_chain_blocks, "L");
    expect_made(&chain, dram_chain_sqrt, "L");
    assert_true(ideal_time(&chain) == 0);
    chain.loss_peak = 4;
    expect_all(&chain, 0, 4, INFINITY, NULL, 0);
    expect_all(&chain, 5, 9, 0, "L", 5);
}

/* Each of them runs, and the solver is no slower in its bytes. */
static void solved_schedules_are_no_slower_than_fixed_ones(void **state)
{
    (void)state;
    static dram_status (*const makers[])(const dram_chain *, dram_chain_schedule *) = {
        dram_chain_stored, dram_chain_blocks, dram_chain_sqrt};
    for (int i = 0; i < 600; i++) {
        numbers c;
        dram_rng r = dram_rng_make(6, DRAM_RNG_TEST, (uint64_t)i);
        random_chain(&c, &r, 1 + i % MAX_LENGTH, i % 32, 8);
        for (int k = 0; k < 3; k++) {
            dram_chain_schedule schedule;
            dram_chain_solution *solution;
            int64_t peak;
            double time;
            assert_int_equal(makers[k](&c.chain, &schedule), DRAM_OK);
            if (dram_chain_simulate(&c.chain, &schedule, &peak, &time) != DRAM_OK) fail_msg("%s", dram_error_text());
            assert_int_equal(dram_chain_solve(&c.chain, peak, 1 << 20, &solution), DRAM_OK);
            assert_true(dram_chain_time(solution, peak) <= time);
            dram_chain_solution_free(solution);
            dram_chain_schedule_free(&schedule);
        }
    }
}

/* As long as two passes over a network of 65 blocks: times that are not whole, all budgets checked by running them. */
static void a_long_chain_is_solved(void **state)
{
    (void)state;
    enum { LENGTH = 130 };
    static dram_chain_stage stage[LENGTH + 1];
    dram_rng r = dram_rng_make(7, DRAM_RNG_TEST, 0);
    for (int s = 1; s <= LENGTH; s++) {
        int64_t x = 100000 >> (s % 65 / 13);
        double forward = dram_rng_range(&r, 1e8, 1e9);
        stage[s] = (dram_chain_stage){.x = x, .d = x, .forward = forward, .plain_peak = 2 * x, .n_options = 3};
        for (int k = 0; k < 3; k++)
            stage[s].option[k] = (dram_chain_option){(8 - 3 * k) * x, forward, forward * (2 + 0.1 * k), 8 * x, 14 * x};
    }
    dram_chain chain = {.input = 3000, .loss_peak = 5000, .length = LENGTH, .stage = stage};
    dram_chain_solution *solution;
    int64_t all = stored_peak(&chain), peak;
    double before = INFINITY, time, ideal = ideal_time(&chain);
    assert_int_equal(dram_chain_solve(&chain, 2 * all, 3000, &solution), DRAM_OK);
    for (int percent = 10; percent <= 110; percent += 10) {
        dram_chain_schedule schedule;
        int64_t bytes = all / 100 * percent;
        double want = dram_chain_time(solution, bytes);
        assert_int_equal(dram_chain_emit(solution, bytes, &schedule), DRAM_OK);
        assert_int_equal(dram_chain_simulate(&chain, &schedule, &peak, &time), DRAM_OK);
        assert_true(peak <= bytes && want <= before);
        assert_true(fabs(time - want) <= 1e-5 * want); /* some hundred sums in float, each right to 6e-8 */
        assert_true(schedule.n >= 2 * LENGTH + 1);
        dram_chain_schedule_free(&schedule);
        before = want;
    }
    assert_true(fabs(before - ideal) <= 1e-5 * ideal);
    dram_chain_solution_free(solution);
}

/* Times may be of any size: they are scaled. */
static void times_may_be_of_any_size(void **state)
{
    (void)state;
    static const double sizes[] = {0, 1e-300, 1e-30, 1e12, 1e300};
    for (int i = 0; i < 5; i++) {
        dram_chain_stage stage[5];
        dram_chain_solution *solution;
        dram_chain chain = uniform(stage, 4);
        for (int s = 1; s <= 4; s++) {
            stage[s].forward = stage[s].option[0].forward = sizes[i];
            stage[s].option[0].backward = 2 * sizes[i];
        }
        assert_int_equal(dram_chain_solve(&chain, 20, 1000, &solution), DRAM_OK);
        assert_true(isinf(dram_chain_time(solution, 5)));
        assert_true(fabs(dram_chain_time(solution, 6) - 18 * sizes[i]) <= 1e-5 * 18 * sizes[i]);
        assert_true(fabs(dram_chain_time(solution, 20) - 12 * sizes[i]) <= 1e-5 * 12 * sizes[i]);
        dram_chain_solution_free(solution);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_alike_give_known_schedules),
        cmocka_unit_test(three_stages_give_known_schedules),
        cmocka_unit_test(stages_with_options_give_known_schedules),
        cmocka_unit_test(pinned_and_held_values_give_known_schedules),
        cmocka_unit_test(a_pinned_input_gives_known_schedules),
        cmocka_unit_test(each_size_sets_the_peak_once),
        cmocka_unit_test(random_chains_are_solved),
        cmocka_unit_test(random_chains_of_many_slots_are_solved),
        cmocka_unit_test(a_common_factor_changes_nothing),
        cmocka_unit_test(no_schedule_is_better_than_the_oracles),
        cmocka_unit_test(coarse_slots_stay_within_the_budget),
        cmocka_unit_test(fixed_schedules_are_known),
        cmocka_unit_test(solved_schedules_are_no_slower_than_fixed_ones),
        cmocka_unit_test(a_long_chain_is_solved),
        cmocka_unit_test(times_may_be_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
