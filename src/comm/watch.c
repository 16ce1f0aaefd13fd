#include "comm/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/thread.h"

static const double START_LIMIT = 1800, LEAST_LIMIT = 60, STEPS = 20;
static const double EACH = 0.25, CHECK_EACH = 1; /* seconds between looks, and between questions to the transport */
enum { NAMED_MOST = 4, TEXT_ROOM = 1024 };

struct dram_watch {
    dram_watch_params params;
    pthread_t thread;
    pthread_mutex_t lock; /* for all below */
    pthread_cond_t wake;
    bool stop, waiting;
    double since, longest; /* longest: of a step; 0: none was done */
    char what[128];
    dram_transport *transport;
};

static double limit(const dram_watch *w)
{
    if (w->params.timeout > 0) return w->params.timeout;
    return w->longest > 0 ? LEAST_LIMIT + STEPS * w->longest : START_LIMIT;
}

/* What is known of a process of this machine: " (stopped)", ...; "" of one that runs. */
static const char *state_of(int process)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? ", which is gone" : "";
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *name_end = strrchr(text, ')'); /* "12 (name) S ..." */
    if (!name_end || name_end[1] != ' ') return "";
    switch (name_end[2]) {
    case 'T':
    case 't':
        return ", which is stopped";
    case 'Z':
    case 'X':
        return ", which is dead";
    default:
        return "";
    }
}

static bool is_missing(const dram_watch *w, int rank)
{
    const _Atomic unsigned char *came = w->transport ? w->transport->came : NULL;
    return rank != w->params.rank && !(came && atomic_load_explicit(&came[rank], memory_order_relaxed));
}

static void add(char text[TEXT_ROOM], const char *more)
{
    size_t length = strlen(text);
    snprintf(text + length, TEXT_ROOM - length, "%s", more);
}

/* Appends who is missing. */
static void add_missing(const dram_watch *w, char text[TEXT_ROOM])
{
    char one[256];
    int missing = 0;
    for (int r = 0; r < w->params.size; r++) {
        const dram_peer *p = &w->params.peers[r], *me = &w->params.peers[w->params.rank];
        if (!is_missing(w, r) || missing++ >= NAMED_MOST) continue;
        bool here = strcmp(p->host, me->host) == 0;
        snprintf(one, sizeof one, "%s rank %d on %s (process %d%s)", missing == 1 ? "" : ",", r, p->host, p->process,
                 here ? state_of(p->process) : "");
        add(text, one);
    }
    if (!missing) add(text, " the library");
    if (missing <= NAMED_MOST) return;
    snprintf(one, sizeof one, " and %d more", missing - NAMED_MOST);
    add(text, one);
}

/* Holds the lock. */
static void leave_late(dram_watch *w, double waited)
{
    char text[TEXT_ROOM];
    snprintf(text, sizeof text, "rank %d on %s waited %.1f s in %s for", w->params.rank,
             w->params.peers[w->params.rank].host, waited, w->what);
    add_missing(w, text);
    add(text,
        w->params.timeout > 0 ? "; distributed.timeout is the limit" : "; distributed.timeout sets another limit");
    w->params.leave(w->params.context, DRAM_ERR_PEER, text);
}

/* Holds the lock. */
static void ask_transport(dram_watch *w)
{
    dram_transport *t = w->transport;
    if (!w->waiting || !t || !t->ops->check || t->ops->check(t) == DRAM_OK) return;
    w->params.leave(w->params.context, DRAM_ERR_PEER, dram_error_text());
}

static void wait_a_while(dram_watch *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(EACH * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

static void *watch(void *context)
{
    dram_watch *w = context;
    double asked = dram_clock();
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        wait_a_while(w);
        double now = dram_clock();
        if (w->waiting && now - w->since > limit(w)) leave_late(w, now - w->since);
        if (now - asked < CHECK_EACH) continue;
        asked = now;
        ask_transport(w);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

dram_status dram_watch_open(const dram_watch_params *params, dram_watch **out)
{
    pthread_condattr_t attributes;
    dram_watch *w = dram_calloc(1, sizeof *w);
    if (!w) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for the watch over the ranks");
    w->params = *params;
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    dram_status status =
        dram_thread_start(&w->thread, watch, w, "the thread that watches over the ranks", "raise the limit");
    if (status == DRAM_OK) {
        *out = w;
        return DRAM_OK;
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    dram_free(w);
    return status;
}

void dram_watch_close(dram_watch *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    dram_free(w);
}

void dram_watch_begin(dram_watch *w, const char *what, int64_t number, dram_transport *transport)
{
    pthread_mutex_lock(&w->lock);
    if (number < 0)
        snprintf(w->what, sizeof w->what, "%s", what);
    else
        snprintf(w->what, sizeof w->what, "%s %lld", what, (long long)number);
    w->transport = transport;
    w->waiting = true;
    w->since = dram_clock();
    pthread_mutex_unlock(&w->lock);
}

void dram_watch_end(dram_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->waiting = false;
    pthread_mutex_unlock(&w->lock);
}

void dram_watch_step(dram_watch *w, double seconds)
{
    pthread_mutex_lock(&w->lock);
    if (seconds > w->longest) w->longest = seconds;
    pthread_mutex_unlock(&w->lock);
}

double dram_watch_limit(dram_watch *w)
{
    pthread_mutex_lock(&w->lock);
    double seconds = limit(w);
    pthread_mutex_unlock(&w->lock);
    return seconds;
}
