#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/thread.h"

/* Workers spin this often before they sleep: a step has about a thousand short kernel calls one after another. */
enum { SPINS = 4000 };

typedef struct {
    dram_pool *pool;
    pthread_t thread;
    int worker;
} member;

struct dram_pool {
    int workers;
    int started;
    member *members; /* workers - 1 */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    dram_task task;
    void *context;
    int64_t tasks;
    _Atomic int64_t next;
    _Atomic int busy;      /* members still in the present call */
    _Atomic uint64_t call; /* goes up by one with every call */
    _Atomic bool closing;
};

static void take_tasks(dram_pool *pool, int worker)
{
    for (;;) {
        int64_t t = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (t >= pool->tasks) return;
        pool->task(pool->context, t, worker);
    }
}

static uint64_t wait_for_call(dram_pool *pool, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        uint64_t now = atomic_load_explicit(&pool->call, memory_order_acquire);
        if (now != seen) return now;
        if (i % 64 == 63) sched_yield();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->call) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return atomic_load(&pool->call);
}

static void *work(void *argument)
{
    member *self = argument;
    dram_pool *pool = self->pool;
    uint64_t seen = 0;
    for (;;) {
        seen = wait_for_call(pool, seen);
        if (atomic_load(&pool->closing)) return NULL;
        take_tasks(pool, self->worker);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_release);
    }
}

static void announce(dram_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->call, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

dram_status dram_pool_open(int workers, dram_pool **out)
{
    char what[64];
    dram_pool *pool = dram_calloc(1, sizeof *pool);
    if (!pool) return dram_fail(DRAM_ERR_MEMORY, "no memory for the thread pool");
    pool->workers = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->members = dram_calloc((size_t)workers, sizeof *pool->members);
    if (!pool->members) {
        dram_pool_close(pool);
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the thread pool");
    }
    for (int i = 0; i < workers - 1; i++) {
        pool->members[i] = (member){.pool = pool, .worker = i + 1};
        snprintf(what, sizeof what, "compute thread %d of %d", i + 2, workers);
        dram_status status =
            dram_thread_start(&pool->members[i].thread, work, &pool->members[i], what, "lower `threads`");
        if (status != DRAM_OK) {
            dram_pool_close(pool);
            return status;
        }
        pool->started++;
    }
    *out = pool;
    return DRAM_OK;
}

void dram_pool_close(dram_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->closing, true);
    announce(pool);
    for (int i = 0; i < pool->started; i++) pthread_join(pool->members[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    dram_free(pool->members);
    dram_free(pool);
}

int dram_pool_workers(const dram_pool *pool)
{
    return pool ? pool->workers : 1;
}

void dram_pool_run(dram_pool *pool, int64_t tasks, dram_task task, void *context)
{
    if (!pool || pool->workers == 1 || tasks <= 1) {
        for (int64_t t = 0; t < tasks; t++) task(context, t, 0);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->tasks = tasks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->started, memory_order_relaxed);
    announce(pool);
    take_tasks(pool, 0);
    for (int i = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) > 0; i++)
        if (i % 64 == 63) sched_yield();
}
