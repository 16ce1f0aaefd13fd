#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/pool.h"
#include "base/testing.h"

enum { MOST_TASKS = 5000, MOST_WORKERS = 8 };

/* Plain, not atomic: what tasks write must be visible to the caller, and to the next call, without its help. */
typedef struct {
    int runs[MOST_TASKS];
    int64_t by_worker[MOST_WORKERS][16]; /* a cache line apart */
    int workers;
    _Atomic int bad_worker;
} tally;

static void count_task(void *context, int64_t task, int worker)
{
    tally *t = context;
    if (worker < 0 || worker >= t->workers) {
        t->bad_worker++;
        return;
    }
    t->runs[task]++;
    t->by_worker[worker][0]++;
}

static int64_t check_tally(const tally *t, int64_t tasks, int times)
{
    int64_t sum = 0;
    assert_int_equal(t->bad_worker, 0);
    for (int64_t i = 0; i < MOST_TASKS; i++) assert_int_equal(t->runs[i], i < tasks ? times : 0);
    for (int w = 0; w < MOST_WORKERS; w++) sum += t->by_worker[w][0];
    assert_int_equal(sum, tasks * times);
    return sum;
}

static void every_task_runs_once(void **state)
{
    (void)state;
    static const int64_t tasks[] = {0, 1, 2, 3, 7, 64, MOST_TASKS};
    for (int workers = 1; workers <= MOST_WORKERS; workers = workers * 2 - (workers == 4))
        for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
            static tally t;
            dram_pool *pool;
            memset(&t, 0, sizeof t);
            t.workers = workers;
            assert_int_equal(dram_pool_open(workers, &pool), DRAM_OK);
            assert_int_equal(dram_pool_workers(pool), workers);
            dram_pool_run(pool, tasks[i], count_task, &t);
            check_tally(&t, tasks[i], 1);
            dram_pool_close(pool);
        }
}

static void no_pool_runs_here(void **state)
{
    (void)state;
    static tally t = {.workers = 1};
    dram_pool_run(NULL, 100, count_task, &t);
    check_tally(&t, 100, 1);
    assert_int_equal(t.by_worker[0][0], 100);
    assert_int_equal(dram_pool_workers(NULL), 1);
    dram_pool_close(NULL);
}

/* A step is a thousand short calls; each must see what the call before it wrote. */
static void add_neighbour(void *context, int64_t task, int worker)
{
    int64_t *value = context; /* 64 cells, read from one half, written to the other */
    (void)worker;
    value[64 + task] = value[task] + value[(task + 1) % 64];
}

static void halve_back(void *context, int64_t task, int worker)
{
    int64_t *value = context;
    (void)worker;
    value[task] = (value[64 + task] + task) % 1000003;
}

static void many_short_calls_follow_each_other(void **state)
{
    (void)state;
    int64_t alone[128], shared[128];
    dram_pool *pool;
    for (int i = 0; i < 64; i++) alone[i] = shared[i] = i;
    assert_int_equal(dram_pool_open(3, &pool), DRAM_OK);
    int64_t requests = dram_alloc_calls();
    for (int i = 0; i < 4000; i++) {
        dram_pool_run(NULL, 64, add_neighbour, alone);
        dram_pool_run(NULL, 64, halve_back, alone);
        dram_pool_run(pool, 64, add_neighbour, shared);
        dram_pool_run(pool, 64, halve_back, shared);
    }
    assert_int_equal(dram_alloc_calls(), requests); /* a call takes no memory */
    assert_memory_equal(alone, shared, 64 * sizeof *alone);
    dram_pool_close(pool);
}

static void calls_of_all_sizes_in_turn(void **state)
{
    (void)state;
    dram_pool *pool;
    static tally t;
    memset(&t, 0, sizeof t);
    t.workers = 4;
    int want[64] = {0};
    assert_int_equal(dram_pool_open(4, &pool), DRAM_OK);
    for (int i = 0; i < 3000; i++) {
        int64_t tasks = i * 7 % 64;
        dram_pool_run(pool, tasks, count_task, &t);
        for (int64_t k = 0; k < tasks; k++) want[k]++;
    }
    for (int k = 0; k < 64; k++) assert_int_equal(t.runs[k], want[k]);
    dram_pool_close(pool);
}

/* Long enough for the workers to have gone to sleep. */
static void sleepers_wake(void **state)
{
    (void)state;
    dram_pool *pool;
    static tally t;
    memset(&t, 0, sizeof t);
    t.workers = 4;
    assert_int_equal(dram_pool_open(4, &pool), DRAM_OK);
    for (int i = 0; i < 5; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        dram_pool_run(pool, 200, count_task, &t);
    }
    check_tally(&t, 200, 5);
    dram_pool_close(pool);
}

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t met;
    int waiting;
    bool together;
} meeting;

/* Two tasks that wait for each other (at most 20 s): they end only if two workers run them at the same time. */
static void meet(void *context, int64_t task, int worker)
{
    meeting *m = context;
    struct timespec until;
    (void)task;
    (void)worker;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&m->lock);
    if (++m->waiting == 2) {
        m->together = true;
        pthread_cond_broadcast(&m->met);
    }
    while (!m->together && pthread_cond_timedwait(&m->met, &m->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&m->lock);
}

static void tasks_run_side_by_side(void **state)
{
    (void)state;
    meeting m = {.lock = PTHREAD_MUTEX_INITIALIZER, .met = PTHREAD_COND_INITIALIZER};
    dram_pool *pool;
    assert_int_equal(dram_pool_open(2, &pool), DRAM_OK);
    dram_pool_run(pool, 2, meet, &m);
    assert_true(m.together);
    dram_pool_close(pool);
}

static void opening_and_closing_leaves_nothing(void **state)
{
    (void)state;
    int64_t held = dram_alloc_bytes();
    for (int i = 0; i < 50; i++) {
        dram_pool *pool;
        static tally t;
        memset(&t, 0, sizeof t);
        t.workers = 4;
        assert_int_equal(dram_pool_open(4, &pool), DRAM_OK);
        if (i % 2) {
            dram_pool_run(pool, 10, count_task, &t);
            check_tally(&t, 10, 1);
        }
        dram_pool_close(pool); /* also before any worker has run */
    }
    for (int after = 0; after < 2; after++) {
        dram_pool *pool = NULL;
        dram_alloc_fail_after(after);
        assert_int_equal(dram_pool_open(4, &pool), DRAM_ERR_MEMORY);
        dram_alloc_fail_after(-1);
        assert_null(pool);
    }
    assert_int_equal(dram_alloc_bytes(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(no_pool_runs_here),
        cmocka_unit_test(many_short_calls_follow_each_other),
        cmocka_unit_test(calls_of_all_sizes_in_turn),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(tasks_run_side_by_side),
        cmocka_unit_test(opening_and_closing_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
