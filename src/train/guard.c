#include "train/guard.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

/* Every reading of the first EACH is told, later every EACH-th: seconds first, then minutes. */
enum { EACH = 60 };

struct dram_guard {
    dram_guard_params params;
    pthread_t thread;
    pthread_mutex_t lock; /* for all below but the step */
    pthread_cond_t wake;
    bool stop;
    double begin;
    dram_guard_peaks peaks;
    double cpu_seconds, seconds; /* when it last told one */
    dram_reading worst;          /* since then */
    bool fresh;                  /* there was no reading since then */
    _Atomic int64_t step;
};

void dram_read_host(void *context, dram_reading *reading)
{
    dram_device *device = context;
    *reading = (dram_reading){.device_bytes = device->bytes_now,
                              .process_bytes = dram_process_rss(),
                              .free_bytes = dram_host_free_bytes(),
                              .card_free = device->profile.gpu ? device->ops->free_bytes(device) : 0,
                              .card_process = device->profile.gpu ? device->ops->process_bytes(device) : 0,
                              .total_bytes = dram_host_total_bytes(),
                              .cpu_seconds = dram_process_cpu_seconds()};
}

static void warn(dram_guard *g, const dram_reading *r)
{
    char used[32], total[32], held[32], arena[32];
    double percent = r->total_bytes > 0 ? 100.0 * (1.0 - (double)r->free_bytes / (double)r->total_bytes) : 0.0;
    int level = percent >= 95.0 ? 95 : percent >= 90.0 ? 90 : 0;
    if (level <= g->peaks.warned) return;
    g->peaks.warned = level;
    dram_warn(
        "%d %% of this machine's memory is in use, %s of %s; this run holds %s, %s of it its arena. %s: free some, "
        "or interrupt the run (it saves) and resume it with a lower memory.budget, data.prefetch or data.workers",
        level, dram_format_bytes(r->total_bytes - r->free_bytes, used, sizeof used),
        dram_format_bytes(r->total_bytes, total, sizeof total), dram_format_bytes(r->process_bytes, held, sizeof held),
        dram_format_bytes(r->device_bytes, arena, sizeof arena),
        level == 95 ? "The system may end it at any moment" : "It may become short");
}

static void keep_worst(dram_guard *g, const dram_reading *r)
{
    dram_reading *w = &g->worst;
    dram_guard_peaks *p = &g->peaks;
    if (g->fresh) *w = *r;
    g->fresh = false;
    if (r->device_bytes > w->device_bytes) w->device_bytes = r->device_bytes;
    if (r->process_bytes > w->process_bytes) w->process_bytes = r->process_bytes;
    if (r->free_bytes < w->free_bytes) w->free_bytes = r->free_bytes;
    if (r->card_free < w->card_free) w->card_free = r->card_free;
    if (r->card_process > w->card_process) w->card_process = r->card_process;
    if (r->card_process > p->card_process) p->card_process = r->card_process;
    if (r->device_bytes > p->device_bytes) p->device_bytes = r->device_bytes;
    if (r->process_bytes > p->process_bytes) p->process_bytes = r->process_bytes;
    if (p->readings == 0 || r->free_bytes < p->free_bytes) p->free_bytes = r->free_bytes;
    p->readings++;
}

static void tell(dram_guard *g, double seconds, double cpu_seconds)
{
    double past = (seconds - g->seconds) * g->params.cores, busy = past > 0 ? (cpu_seconds - g->cpu_seconds) / past : 0;
    const dram_memory_reading reading = {.seconds = seconds,
                                         .device_bytes = g->worst.device_bytes,
                                         .process_bytes = g->worst.process_bytes,
                                         .free_bytes = g->worst.free_bytes,
                                         .cpu_utilization = busy,
                                         .card_free = g->worst.card_free,
                                         .card_process = g->worst.card_process};
    const dram_fact fact = {.kind = DRAM_FACT_MEMORY, .step = atomic_load(&g->step), .memory = &reading};
    dram_record_tell(g->params.record, &fact); /* a sink says by itself that it could not take it */
    g->seconds = seconds;
    g->cpu_seconds = cpu_seconds;
    g->fresh = true;
}

static void look(dram_guard *g, bool last)
{
    dram_reading r = {0};
    g->params.read(g->params.context, &r);
    double seconds = dram_clock() - g->begin;
    if (g->peaks.readings == 0) g->cpu_seconds = r.cpu_seconds;
    keep_worst(g, &r);
    warn(g, &r);
    if (last || g->peaks.readings <= EACH || g->peaks.readings % EACH == 0) tell(g, seconds, r.cpu_seconds);
}

static void *watch(void *context)
{
    dram_guard *g = context;
    double due = g->begin;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        due += g->params.interval;
        struct timespec at = {.tv_sec = (time_t)due, .tv_nsec = (long)(1e9 * (due - (double)(time_t)due))};
        int waited = 0;
        while (!g->stop && waited == 0) waited = pthread_cond_timedwait(&g->wake, &g->lock, &at);
        if (g->stop) break;
        look(g, false);
        if (due < dram_clock()) due = dram_clock(); /* a machine that stood still: nothing is made up for */
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void release(dram_guard *g)
{
    pthread_cond_destroy(&g->wake);
    pthread_mutex_destroy(&g->lock);
    dram_free(g);
}

dram_status dram_guard_open(const dram_guard_params *params, dram_guard **out)
{
    pthread_condattr_t monotonic;
    *out = NULL;
    dram_guard *g = dram_calloc(1, sizeof *g);
    if (!g) return dram_fail(DRAM_ERR_MEMORY, "no memory to watch the memory");
    g->params = *params;
    g->fresh = true;
    atomic_init(&g->step, params->step);
    g->begin = dram_clock();
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&g->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    look(g, false);
    dram_status status =
        dram_thread_start(&g->thread, watch, g, "the thread that watches the memory", "raise the limit");
    if (status != DRAM_OK) {
        release(g);
        return status;
    }
    *out = g;
    return DRAM_OK;
}

void dram_guard_step(dram_guard *g, int64_t step)
{
    atomic_store(&g->step, step);
}

void dram_guard_close(dram_guard *g, dram_guard_peaks *peaks)
{
    if (peaks) *peaks = (dram_guard_peaks){0};
    if (!g) return;
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    look(g, true);
    if (peaks) *peaks = g->peaks;
    release(g);
}
