/* Which points go on past a rung, and what is known of runs by their events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>

#include <cmocka.h>

#include "launch/halve.h"
#include "support/ok.h"
#include "support/tempdir.h"
#include "support/warnings.h"

enum { POINTS = 9, SEEDS = 2, RUNS = POINTS * SEEDS };

static dram_sweep_point points[POINTS];
static dram_sweep_run runs[RUNS];
static dram_sweep_event_state events[RUNS];

/* Nine points of 10, 20, ... 90 bytes in three tiers of three, two seeds each, rungs at 5 and 10. */
static dram_sweep make_sweep(dram_quality quality)
{
    dram_sweep s = {.points = points, .n_points = POINTS, .runs = runs, .n_runs = RUNS, .quality = quality};
    s.n_rungs = 2;
    s.rungs[0] = 5;
    s.rungs[1] = 10;
    s.keep = 0.5;
    for (int p = 0; p < POINTS; p++)
        points[p] = (dram_sweep_point){.index = p + 1, .planned_bytes = 10 * (p + 1), .steps = 20};
    for (int r = 0; r < RUNS; r++) {
        runs[r] = (dram_sweep_run){.point = r / SEEDS, .seed = r % SEEDS + 1};
        snprintf(runs[r].name, sizeof runs[r].name, "%04d-abcdef01-s%d", r / SEEDS + 1, r % SEEDS + 1);
        events[r] = (dram_sweep_event_state){.any = true, .exit = -1};
        for (int k = 0; k < DRAM_SWEEP_RUNGS; k++) events[r].rung[k] = NAN;
    }
    return s;
}

static void came(int point, int rung, double first, double second)
{
    events[point * SEEDS].rung[rung] = first;
    events[point * SEEDS + 1].rung[rung] = second;
}

static void allowed(dram_halve *h, int p0, int p1, int p2)
{
    dram_halve_update(h, events);
    assert_int_equal(h->allowed[0], p0);
    assert_int_equal(h->allowed[1], p1);
    assert_int_equal(h->allowed[2], p2);
    for (int p = 3; p < POINTS; p++) assert_int_equal(h->allowed[p], 0); /* other tiers are judged by themselves */
}

static void within_a_tier(void **state)
{
    (void)state;
    dram_halve h;
    dram_sweep s = make_sweep(DRAM_QUALITY_MIOU);
    ok(dram_halve_open(&s, &h));
    for (int p = 0; p < POINTS; p++) assert_int_equal(h.tier[p], p / 3);
    allowed(&h, 0, 0, 0);
    came(0, 0, 0.5, 0.3);
    allowed(&h, 0, 0, 0); /* half of one is none while others are to come */
    events[2].rung[0] = 0.9;
    allowed(&h, 0, 0, 0); /* one seed of two */
    came(1, 0, 0.9, 0.1);
    allowed(&h, 0, 1, 0); /* 0.5 is better than 0.4, whatever a single seed says */
    came(2, 0, 0.9, 0.9);
    allowed(&h, 0, 0, 1); /* one of three; nobody was let past yet */
    events[2].promoted = 1;
    allowed(&h, 0, 1, 1); /* who was let past stays so */
    came(1, 1, 0.6, 0.6);
    allowed(&h, 0, 1, 1);
    came(2, 1, 0.5, 0.5);
    allowed(&h, 0, 2, 1);
    dram_halve_close(&h);
}

/* Where all have come that can, one goes on; a failed seed is not waited for, and a failed point comes to nothing. */
static void the_last_one(void **state)
{
    (void)state;
    dram_halve h;
    dram_sweep s = make_sweep(DRAM_QUALITY_EMBEDDING_MSE);
    s.keep = 0.1;
    ok(dram_halve_open(&s, &h));
    came(0, 0, 3, 3);
    came(1, 0, 2, 2);
    events[4].last = DRAM_SWEEP_EVENT_FAILED;
    events[5].rung[0] = 1;
    allowed(&h, 0, 0, 1); /* less is better */
    events[5].rung[0] = NAN;
    allowed(&h, 0, 0, 0);
    events[5].last = DRAM_SWEEP_EVENT_FAILED;
    allowed(&h, 0, 1, 0);
    dram_halve_close(&h);
}

static void tiers(void **state)
{
    (void)state;
    dram_halve h;
    dram_sweep s = make_sweep(DRAM_QUALITY_MIOU);
    for (int p = 0; p < POINTS; p++) points[p].planned_bytes = p < 5 ? 10 : 100 - p;
    points[8].status = DRAM_POINT_WRONG;
    ok(dram_halve_open(&s, &h));
    static const int expected[POINTS] = {0, 0, 0, 0, 0, 2, 2, 1, -1}; /* equal bytes are not torn apart */
    for (int p = 0; p < POINTS; p++) assert_int_equal(h.tier[p], expected[p]);
    assert_int_equal(dram_halve_level(&s, 4), 0);
    assert_int_equal(dram_halve_level(&s, 5), 1);
    assert_int_equal(dram_halve_level(&s, 10), 2);
    dram_halve_close(&h);
}

/* What was written is read, by the process that wrote it and by another; what is torn is left out. */
static void events_of_runs(void **state)
{
    dram_events a, b;
    dram_str text = {0};
    char *directory = (char *)(uintptr_t)in_dir(state, "sweep");
    dram_sweep s = make_sweep(DRAM_QUALITY_MIOU);
    s.directory = directory;
    assert_int_equal(mkdir(directory, 0777), 0);
    ok(dram_events_open(&s, &a));
    ok(dram_events_open(&s, &b));
    assert_false(a.of[3].any);
    ok(dram_events_add(&a, 3, DRAM_SWEEP_EVENT_STARTED, -1, "takes 1 byte"));
    dram_events_rung_text(&s, 1, 0.123456789012345678, &text);
    ok(dram_events_add(&b, 4, DRAM_SWEEP_EVENT_DONE, 0, text.text));
    ok(dram_events_add(&b, 4, DRAM_SWEEP_EVENT_PROMOTED, -1, NULL));
    ok(dram_events_read(&a));
    assert_true(a.of[4].any && a.of[4].last == DRAM_SWEEP_EVENT_PROMOTED && a.of[4].promoted == 1 && !a.of[4].begun);
    assert_true(a.of[4].rung[1] == 0.123456789012345678 && isnan(a.of[4].rung[0]));
    assert_true(b.of[3].begun && b.of[3].last == DRAM_SWEEP_EVENT_STARTED && b.of[3].exit == -1);
    FILE *file = fopen(in_dir(state, "sweep/events.jsonl"), "a");
    fputs("{\"time\": 1, \"event\": \"fai", file); /* killed as it wrote */
    fclose(file);
    dram_log_set_sink(keep_warning, NULL);
    ok(dram_events_add(&b, 3, DRAM_SWEEP_EVENT_FAILED, 2, "a \"line\"\nand another"));
    ok(dram_events_read(&a));
    assert_true(a.of[3].last == DRAM_SWEEP_EVENT_FAILED && a.of[3].exit == 2);
    assert_int_equal(warnings, 2); /* each of the two once */
    dram_log_set_sink(NULL, NULL);
    dram_events_close(&a);
    dram_events_close(&b);
    dram_str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(within_a_tier), cmocka_unit_test(the_last_one),
                                       cmocka_unit_test(tiers), cmocka_unit_test(events_of_runs)};
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
