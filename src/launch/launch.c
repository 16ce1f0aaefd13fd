/* Implements launch.h: which run is made next, and what becomes of it. */
#include "launch/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/path.h"
#include "launch/halve.h"
#include "launch/job.h"
#include "launch/room.h"

/* Of a run, for this process. */
enum {
    OPEN,   /* it may be made */
    MINE,   /* a job of this process */
    HELD,   /* another process has it */
    OVER,   /* done, or at its last rung */
    FAILED, /* and it stays so */
    LEFT    /* not for this process: another point's, without room here, or interrupted by somebody else */
};

typedef struct {
    unsigned char where;
    bool again; /* it failed before, and is made once more */
    bool told;  /* that another has it */
    int level;  /* rungs that it came to */
} run_state;

typedef struct {
    const dram_sweep *sweep;
    const dram_sweep_options *options;
    char *claims; /* the folder */
    char *lock;   /* its file that processes of this host hold while they choose */
    dram_events events;
    dram_halve halve;
    dram_room room;
    run_state *run; /* [n_runs] */
    int *order;     /* [n_runs], as they are tried */
    dram_job *job;  /* [n_jobs] */
    int n_jobs, jobs_room;
    bool asked_to_stop, failed_one; /* the children were; a run failed */
    bool look;                      /* something has changed */
} launch;

static const double LOOK_SECONDS = 0.5;        /* between looks at what others do */
static const long TURN_NANOSECONDS = 20000000; /* between looks at children */

/* ---- telling ---- */

static void tell(const launch *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(const launch *l, const char *format, ...)
{
    char text[1600];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (l->options->told) l->options->told(l->options->context, text);
}

static const char *name_of(const launch *l, int run)
{
    return l->sweep->runs[run].name;
}

static int count(const launch *l, int where)
{
    int n = 0;
    for (int i = 0; i < l->sweep->n_runs; i++) n += l->run[i].where == where;
    return n;
}

/* ---- what a run has come to ---- */

static bool is_halved(const launch *l, int run)
{
    return l->sweep->n_rungs && !l->sweep->runs[run].timed;
}

/* A quality that is not there is the worst. */
static double rung_quality(const dram_sweep *s, const dram_sweep_result *r)
{
    double quality = r->quality[s->quality];
    return isnan(quality) ? dram_quality_less_is_better(s->quality) ? INFINITY : -INFINITY : quality;
}

/* Whether its last end is among the events. */
static bool is_end_noted(const launch *l, int run, bool done)
{
    const dram_sweep_event_state *e = &l->events.of[run];
    int level = l->run[run].level;
    if (!done) return !isnan(e->rung[level - 1]);
    return e->last == DRAM_SWEEP_EVENT_DONE && (!is_halved(l, run) || e->promoted >= l->sweep->n_rungs);
}

/* A run that has come to a rung, or to its end: says so, unless that was said. Without halving a train.stop_at of its
 * config is its end. */
static dram_status note_end(launch *l, int run, const dram_sweep_result *r)
{
    const dram_sweep *s = l->sweep;
    run_state *state = &l->run[run];
    dram_str text = {0};
    bool done = r->state == DRAM_SWEEP_DONE || !is_halved(l, run);
    state->level = !is_halved(l, run) ? 0 : done ? s->n_rungs : dram_halve_level(s, r->steps);
    state->where = done ? OVER : OPEN;
    if ((!done && !state->level) || is_end_noted(l, run, done)) return DRAM_OK;
    if (done)
        dram_str_add(&text, "%" PRId64 " steps, %s %.6g", r->steps, dram_quality_name(s->quality),
                     r->quality[s->quality]);
    else
        dram_events_rung_text(s, state->level - 1, rung_quality(s, r), &text);
    dram_status status = dram_events_add(&l->events, run, DRAM_SWEEP_EVENT_DONE, 0, text.text);
    if (status == DRAM_OK) tell(l, "done %s: %s", name_of(l, run), text.text ? text.text : "");
    dram_str_free(&text);
    return status;
}

/* By its files and by what was said of it. */
static dram_status find_out(launch *l, int run)
{
    dram_sweep_result r;
    run_state *state = &l->run[run];
    const dram_sweep_event_state *e = &l->events.of[run];
    TRY(dram_sweep_read_summary(l->sweep, run, &r));
    state->where = OPEN;
    if (r.state == DRAM_SWEEP_DONE || r.state == DRAM_SWEEP_PAUSED) TRY(note_end(l, run, &r));
    if (state->where == OPEN && e->any && e->last == DRAM_SWEEP_EVENT_FAILED && !state->again) state->where = FAILED;
    return DRAM_OK;
}

/* ---- children that have ended ---- */

static dram_status end_failed(launch *l, const dram_job *job, int code)
{
    dram_str text = {0};
    char *directory;
    TRY(dram_job_directory(l->sweep, job->run, &directory));
    dram_child_last_words(directory, &job->child, code, &text);
    dram_free(directory);
    bool interrupted = code == 130 || (l->asked_to_stop && code > 128);
    const char *words = text.text ? text.text : "";
    dram_status status = dram_events_add(
        &l->events, job->run, interrupted ? DRAM_SWEEP_EVENT_INTERRUPTED : DRAM_SWEEP_EVENT_FAILED, code, words);
    tell(l, "%s %s: exit %d: %s", interrupted ? "interrupted" : "failed", name_of(l, job->run), code, words);
    l->run[job->run].where = interrupted ? LEFT : FAILED;
    l->run[job->run].again = false;
    l->failed_one = l->failed_one || !interrupted;
    dram_str_free(&text);
    return status;
}

static dram_status end_job(launch *l, const dram_job *job, int code)
{
    dram_sweep_result r;
    if (code != 0) return end_failed(l, job, code);
    TRY(dram_sweep_read_summary(l->sweep, job->run, &r));
    if (r.state == DRAM_SWEEP_DONE || r.state == DRAM_SWEEP_PAUSED) return note_end(l, job->run, &r);
    return end_failed(l, job, 1); /* its folder is gone, say */
}

static dram_status reap(launch *l)
{
    dram_status status = DRAM_OK;
    for (int i = l->n_jobs - 1; i >= 0; i--) {
        int code;
        if (!dram_child_ended(&l->job[i].child, &code)) continue;
        dram_status ended = end_job(l, &l->job[i], code);
        if (status == DRAM_OK) status = ended;
        dram_claim_close(&l->job[i].claim); /* after its event: who claims it next has read that */
        l->job[i] = l->job[--l->n_jobs];
        l->look = true;
    }
    return status;
}

static void stop_children(launch *l)
{
    for (int i = 0; i < l->n_jobs && !l->asked_to_stop; i++) dram_child_stop(&l->job[i].child);
    l->asked_to_stop = true;
}

/* ---- choosing ---- */

static void tell_held(launch *l, int run, const dram_claim_owner *owner)
{
    if (!l->run[run].told && owner->pid)
        tell(l, "%s is made by process %" PRId64 " on %s%s%s; waiting for it", name_of(l, run),
             owner->child ? owner->child : owner->pid, owner->host, *owner->job ? ", Slurm job " : "", owner->job);
    l->run[run].told = true;
}

/* By the events; whether it is true its claim tells. */
static bool is_under_way(const dram_sweep_event_state *e)
{
    return e->any && (e->last == DRAM_SWEEP_EVENT_CLAIMED || e->last == DRAM_SWEEP_EVENT_STARTED ||
                      e->last == DRAM_SWEEP_EVENT_PROMOTED);
}

/* What is left of the machine, and which runs others have. */
static dram_pack_room look_around(launch *l)
{
    dram_pack_room left = l->room.all;
    dram_claim_owner owner;
    for (int i = 0; i < l->n_jobs; i++) dram_pack_take(&left, &l->job[i].item, l->job[i].cards);
    for (int i = 0; i < l->sweep->n_runs; i++) {
        run_state *state = &l->run[i];
        if (state->where == MINE) continue;
        if (is_under_way(&l->events.of[i]) && dram_claim_look(l->claims, name_of(l, i), &owner)) {
            dram_room_take_claim(&l->room, &owner, &left);
            if (state->where == OPEN || state->where == HELD) {
                state->where = HELD;
                tell_held(l, i, &owner);
            }
        } else if (state->where == HELD) {
            state->where = OPEN;
        }
    }
    return left;
}

/* A card's first run is alone on it until its share is known. */
static void measure_shares(launch *l)
{
    for (int i = 0; i < l->n_jobs; i++) {
        const dram_job *job = &l->job[i];
        dram_pack_card *card = &l->room.all.card[job->cards[0]];
        if (!job->item.card_bytes || card->share >= 0) continue;
        double share = dram_job_share(l->sweep, job->run);
        if (share < 0) continue;
        for (int c = 0; c < job->item.ranks; c++) l->room.all.card[job->cards[c]].share = share;
        tell(l, "%s keeps GPU %s busy for %.0f %% of the time%s", name_of(l, job->run), job->owner.cards, 100 * share,
             share * 2 < 1 ? ": others go beside it" : ": no other goes beside it");
    }
}

/* Whether it may go on, or begin. */
static bool may_go(const launch *l, int run)
{
    const run_state *state = &l->run[run];
    return !is_halved(l, run) || l->halve.allowed[l->sweep->runs[run].point] >= state->level;
}

static int64_t stop_of(const launch *l, int run)
{
    if (!is_halved(l, run)) return -1;
    int level = l->run[run].level;
    return level < l->sweep->n_rungs ? l->sweep->rungs[level] : 0;
}

static dram_status add_job(launch *l, const dram_job *job)
{
    if (!DRAM_GROW(l->job, l->jobs_room, l->n_jobs + 1)) return dram_fail(DRAM_ERR_MEMORY, "no memory for a run");
    l->job[l->n_jobs++] = *job;
    return DRAM_OK;
}

/* "takes 123 of 456 bytes and 2 cores", of what is left with it */
static void describe(const launch *l, const dram_job *job, const dram_pack_room *left, dram_str *text)
{
    int64_t takes = job->item.host_bytes * job->item.ranks, all = l->room.all.host_bytes;
    dram_str_add(text, "takes %" PRId64 " bytes and %d cores; %" PRId64 " of %" PRId64 " bytes are in use", takes,
                 job->item.cores * job->item.ranks, all - left->host_bytes, all);
    for (int i = 0; job->item.card_bytes && i < job->item.ranks; i++) {
        int64_t of = l->room.all.card[job->cards[i]].free_bytes;
        dram_str_add(text, "; %" PRId64 " bytes of GPU %s, %" PRId64 " of %" PRId64 " are in use", job->item.card_bytes,
                     l->room.card[job->cards[i]], of - left->card[job->cards[i]].free_bytes, of);
    }
}

static dram_status tell_gone(launch *l, int run)
{
    char *directory;
    TRY(dram_job_directory(l->sweep, run, &directory));
    if (l->events.of[run].begun && !dram_path_exists(directory)) {
        dram_warn("%s: this run was begun, and its folder is gone: it is made again", directory);
        l->run[run].level = 0;
    }
    dram_free(directory);
    return DRAM_OK;
}

/* Of a run that this process has claimed. */
static dram_status begin(launch *l, dram_job *job, dram_pack_room *left)
{
    char takes[32];
    dram_str text = {0};
    const int run = job->run;
    dram_status status = tell_gone(l, run);
    if (status == DRAM_OK) status = dram_events_add(&l->events, run, DRAM_SWEEP_EVENT_CLAIMED, -1, job->owner.host);
    if (status == DRAM_OK && l->run[run].level > l->events.of[run].promoted)
        status = dram_events_add(&l->events, run, DRAM_SWEEP_EVENT_PROMOTED, -1, NULL);
    dram_pack_take(left, &job->item, job->cards);
    describe(l, job, left, &text);
    if (status == DRAM_OK) status = dram_job_start(l->sweep, &l->events, job, stop_of(l, run), text.text);
    dram_str_free(&text);
    if (job->child.pid && add_job(l, job) != DRAM_OK)
        return DRAM_ERR_MEMORY; /* it goes on, and is found by its claim */
    TRY(status);
    l->run[run].where = MINE;
    int64_t bytes = job->item.card_bytes ? job->item.card_bytes : job->item.host_bytes;
    tell(l, "started %s: %s%s%s, %d of %d runs are done", name_of(l, run),
         dram_format_bytes(bytes * job->item.ranks, takes, sizeof takes), *job->owner.cards ? " on GPU " : "",
         job->owner.cards, count(l, OVER), l->sweep->n_runs);
    return DRAM_OK;
}

/* Claims a run, unless another has it; what it has come to is known under the claim alone. */
static dram_status try_run(launch *l, int run, dram_pack_room *left)
{
    bool taken;
    dram_claim_owner before;
    dram_job job = {.run = run, .owner = dram_claim_self(), .item = dram_room_item(l->sweep, &l->sweep->runs[run])};
    if (!dram_pack_fits(left, &job.item, job.cards)) return DRAM_OK;
    job.owner.bytes = job.item.host_bytes * job.item.ranks;
    job.owner.cores = job.item.cores * job.item.ranks;
    job.owner.card_bytes = job.item.card_bytes;
    if (job.item.card_bytes)
        dram_room_card_names(&l->room, job.cards, job.item.ranks, job.owner.cards, sizeof job.owner.cards);
    TRY(dram_claim_take(l->claims, name_of(l, run), &job.owner, &job.claim, &taken, &before));
    if (!taken) {
        l->run[run].where = HELD;
        tell_held(l, run, &before);
        return DRAM_OK;
    }
    dram_status status = dram_events_read(&l->events);
    if (status == DRAM_OK) status = find_out(l, run);
    if (status == DRAM_OK && l->run[run].where == OPEN && may_go(l, run)) status = begin(l, &job, left);
    if (l->run[run].where != MINE) dram_claim_close(&job.claim);
    return status;
}

/* Processes of one host choose one after the other, so that what is left is left. */
static int lock_host(const launch *l)
{
    int fd = open(l->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
    return fd;
}

static dram_status choose(launch *l)
{
    dram_status status = DRAM_OK;
    l->look = false;
    int fd = lock_host(l);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %m", l->lock);
    status = dram_events_read(&l->events);
    measure_shares(l);
    dram_pack_room left = look_around(l);
    if (l->sweep->n_rungs) dram_halve_update(&l->halve, l->events.of);
    for (int late = 0; late < 2; late++) /* what goes on past a rung is before what begins */
        for (int i = 0; i < l->sweep->n_runs && status == DRAM_OK; i++) {
            int run = l->order[i];
            if (l->run[run].where == OPEN && (l->run[run].level == 0) == late && may_go(l, run))
                status = try_run(l, run, &left);
        }
    close(fd);
    return status;
}

/* Whether anything is still to come: a job, a run of another, or one that may be made when there is room. */
static bool goes_on(const launch *l)
{
    bool more = l->n_jobs > 0;
    for (int i = 0; i < l->sweep->n_runs && !more; i++)
        more = l->run[i].where == HELD || (l->run[i].where == OPEN && may_go(l, i));
    return more;
}

/* ---- the beginning ---- */

static int compare_runs(const void *a, const void *b, void *context)
{
    const dram_sweep *s = context;
    int i = *(const int *)a, j = *(const int *)b;
    const dram_pack_item x = dram_room_item(s, &s->runs[i]), y = dram_room_item(s, &s->runs[j]);
    int order = dram_pack_compare(&x, &y);
    return order ? order : i - j;
}

/* A run that has no room on this machine with nothing beside it is not for this process. */
static void leave_out(launch *l)
{
    int cards[DRAM_PACK_CARDS];
    char takes[32], has[32];
    for (int i = 0; i < l->sweep->n_runs; i++) {
        const dram_pack_item item = dram_room_item(l->sweep, &l->sweep->runs[i]);
        if (l->run[i].where != OPEN || dram_pack_fits(&l->room.all, &item, cards)) continue;
        l->run[i].where = LEFT;
        bool host = item.host_bytes * item.ranks > l->room.all.host_bytes;
        if (host)
            tell(l, "left out %s: it takes %s of memory, and all runs together may take %s here%s", name_of(l, i),
                 dram_format_bytes(item.host_bytes * item.ranks, takes, sizeof takes),
                 dram_format_bytes(l->room.all.host_bytes, has, sizeof has), l->options->memory ? " (--memory)" : "");
        else
            tell(l, "left out %s: it takes %s of %d GPU%s, and there %s not so much", name_of(l, i),
                 dram_format_bytes(item.card_bytes, takes, sizeof takes), item.ranks, item.ranks == 1 ? "" : "s",
                 item.ranks == 1 ? "is" : "are");
    }
}

/* A task of an array may have a point that needs no run. */
static dram_status check_index(const launch *l)
{
    int index = l->options->index, runs = 0;
    if (index > l->sweep->n_points)
        return dram_fail(DRAM_ERR_CONFIG, "--index %d: there are %d points, counted from 1", index, l->sweep->n_points);
    for (int i = 0; i < l->sweep->n_runs; i++) runs += l->sweep->points[l->sweep->runs[i].point].index == index;
    if (index && !runs) tell(l, "point %d has no run of its own: see the table", index);
    return DRAM_OK;
}

static dram_status find_out_all(launch *l)
{
    const dram_sweep *s = l->sweep;
    TRY(check_index(l));
    for (int i = 0; i < s->n_runs; i++) {
        l->order[i] = i;
        l->run[i].again = l->options->failed && l->events.of[i].any && l->events.of[i].last == DRAM_SWEEP_EVENT_FAILED;
        TRY(dram_child_check_ranks(s->points[s->runs[i].point].ranks));
        if (!l->events.of[i].any) TRY(dram_events_add(&l->events, i, DRAM_SWEEP_EVENT_PLANNED, -1, NULL));
        TRY(find_out(l, i));
        if (l->options->index && s->points[s->runs[i].point].index != l->options->index) l->run[i].where = LEFT;
    }
    qsort_r(l->order, (size_t)s->n_runs, sizeof *l->order, compare_runs, (void *)s);
    return DRAM_OK;
}

static dram_status open_launch(launch *l)
{
    size_t n = (size_t)l->sweep->n_runs;
    char host[256] = "", file[300];
    gethostname(host, sizeof host - 1);
    for (char *c = host; *c; c++)
        if (*c == '/') *c = '_';
    snprintf(file, sizeof file, ".host-%s", host);
    l->run = dram_calloc(n, sizeof *l->run);
    l->order = dram_calloc(n, sizeof *l->order);
    if (!l->run || !l->order) return dram_fail(DRAM_ERR_MEMORY, "no memory for %zu runs", n);
    TRY(dram_path_join(l->sweep->directory, "claims", &l->claims));
    TRY(dram_make_folders(l->claims));
    TRY(dram_path_join(l->claims, file, &l->lock));
    TRY(dram_events_open(l->sweep, &l->events));
    TRY(dram_halve_open(l->sweep, &l->halve));
    TRY(find_out_all(l));
    TRY(dram_room_open(l->sweep, l->options, l->claims, &l->room));
    leave_out(l);
    l->look = true;
    return DRAM_OK;
}

static void close_launch(launch *l)
{
    for (int i = 0; i < l->n_jobs; i++) dram_claim_close(&l->job[i].claim);
    dram_events_close(&l->events);
    dram_halve_close(&l->halve);
    dram_free(l->job);
    dram_free(l->order);
    dram_free(l->run);
    dram_free(l->lock);
    dram_free(l->claims);
}

/* ---- the loop ---- */

static bool is_stopped(const launch *l)
{
    return l->options->stop && *l->options->stop;
}

/* The children of a sweep that was killed have nobody who asks them to stop. */
static void stop_orphans(const launch *l)
{
    dram_claim_owner owner, me = dram_claim_self();
    for (int i = 0; i < l->sweep->n_runs; i++) {
        if (l->run[i].where != HELD || !dram_claim_look(l->claims, name_of(l, i), &owner)) continue;
        bool here = strcmp(owner.host, me.host) == 0;
        bool alone = dram_process_start(owner.pid) != owner.start;
        if (!here || !alone || !owner.child || dram_process_start(owner.child) != owner.child_start) continue;
        const int ranks = l->sweep->points[l->sweep->runs[i].point].ranks;
        dram_child_stop(&(dram_child){.pid = (pid_t)owner.child, .by_ranks = ranks > 1});
        tell(l, "%s: asked process %" PRId64 ", which a sweep that is gone has started, to save and to end",
             name_of(l, i), owner.child);
    }
}

static dram_status wait_for_children(launch *l)
{
    const struct timespec turn = {.tv_nsec = TURN_NANOSECONDS};
    dram_status status = DRAM_OK;
    while (l->n_jobs) {
        dram_status ended = reap(l);
        if (status == DRAM_OK) status = ended;
        if (l->n_jobs) nanosleep(&turn, NULL);
    }
    return status;
}

static dram_status loop(launch *l)
{
    const struct timespec turn = {.tv_nsec = TURN_NANOSECONDS};
    double looked = 0;
    while (goes_on(l)) {
        if (is_stopped(l)) return DRAM_OK;
        if (l->options->stop_on_failure && l->failed_one) return DRAM_OK;
        TRY(reap(l));
        if (l->look || dram_clock() - looked > LOOK_SECONDS) {
            TRY(choose(l));
            looked = dram_clock();
        }
        nanosleep(&turn, NULL);
    }
    return DRAM_OK;
}

static dram_status conclude(launch *l)
{
    int failed = count(l, FAILED), n = l->sweep->n_runs, over = count(l, OVER), left = 0;
    if (is_stopped(l)) {
        return dram_fail(DRAM_INTERRUPTED,
                         "interrupted: %d of %d runs are done, and those that ran are saved; the same "
                         "command goes on",
                         over, n);
    }
    for (int i = 0; i < n; i++)
        left += l->run[i].where == LEFT &&
                (!l->options->index || l->sweep->points[l->sweep->runs[i].point].index == l->options->index);
    if (failed && l->options->stop_on_failure)
        return dram_fail(DRAM_ERR_RUN, "a run has failed, and --stop-on-failure has stopped the others; what they have "
                                       "done is saved, and the same command goes on");
    if (failed)
        return dram_fail(DRAM_ERR_RUN,
                         "%d of %d runs failed: log.txt in their folders has why, and --failed makes them "
                         "again",
                         failed, n);
    if (left && left == n) return dram_fail(DRAM_ERR_FIT, "no run of this sweep has room on this machine");
    if (left) return dram_fail(DRAM_ERR_RUN, "%d of %d runs were left out or interrupted", left, n);
    return DRAM_OK;
}

dram_status dram_sweep_launch(const dram_sweep *sweep, const dram_sweep_options *options)
{
    launch l = {.sweep = sweep, .options = options};
    /* Where it is ignored, as by some who start processes, the system throws away how children end. */
    void (*before)(int) = signal(SIGCHLD, SIG_DFL);
    dram_status status = open_launch(&l);
    if (status == DRAM_OK) status = loop(&l);
    if (l.n_jobs) stop_children(&l);
    if (status == DRAM_OK && is_stopped(&l)) stop_orphans(&l);
    dram_status ended = wait_for_children(&l);
    if (status == DRAM_OK) status = ended;
    if (status == DRAM_OK) status = conclude(&l);
    close_launch(&l);
    if (before != SIG_ERR) signal(SIGCHLD, before);
    return status;
}
