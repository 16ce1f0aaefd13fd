#include "check/survey.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"
#include "check/kept.h"
#include "feed/datasets.h"

/* data.check auto: a sample is looked at for so long, all files where the sample says that it takes no longer than
 * that, and headers alone for so long. */
static const double SAMPLE_SECONDS = 2, FULL_SECONDS = 10, HEADER_SECONDS = 4, RECALL_SECONDS = 4;
static const double TELL_SECONDS = 0.1;
enum { DEEP_LOOKED = 8 }; /* images of 16 bits whose pixels are read, of a data set */

typedef struct {
    dram_surveyed seen;
    dram_facts *facts[DRAM_KINDS];
    dram_kept *kept[DRAM_KINDS];
    int count;
    _Atomic int known, fresh[DRAM_KINDS]; /* fresh: files that were looked at now */
} part;

typedef struct {
    dram_desk desk;
    char *path; /* [room of either data set] */
} worker;

struct dram_survey {
    const dram_config *cfg;
    const dram_check_hooks *hooks;
    part part[DRAM_SETS];
    int images, spread; /* of both; task k is of image k * spread % images */
    dram_pool *pool;
    worker *workers; /* [n_workers] */
    int n_workers, room;
};

/* One way through the images. */
typedef struct {
    dram_survey *survey;
    dram_depth depth; /* to look; DRAM_DEPTH_NONE: what is kept is found */
    double deadline;  /* of dram_clock; 0: none */
    double told;
    _Atomic int done, looked; /* images; those of which something was not known */
    _Atomic bool no_memory;
} pass;

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "out of host memory while looking at the data");
}

/* Near 0.618 of n and without a common factor: the first k multiples are spread over 0 .. n - 1, for any k. */
static int spread_step(int n)
{
    int step = (int)(0.618 * n) + 1;
    for (;; step++) {
        int a = n, b = step;
        while (b) {
            int rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return step;
    }
}

static bool is_stopped(const dram_survey *s)
{
    return s->hooks->stop && *s->hooks->stop;
}

/* ---- one file ---- */

static bool has_file(const part *p, int kind, int i)
{
    return kind == DRAM_IMAGES || (p->facts[kind] && dram_dataset_has_label(p->seen.dataset, i));
}

static const char *path_of(const part *p, int kind, int i, char *out, int room)
{
    return kind == DRAM_IMAGES ? dram_dataset_image_path(p->seen.dataset, i, out, room)
                               : dram_dataset_label_path(p->seen.dataset, i, out, room);
}

/* The name below the folder, of a path that begins with it. */
static const char *name_in(const char *folder, const char *path)
{
    path += strlen(folder);
    return path + strspn(path, "/");
}

/* An image has no label values: its header is all that is looked at. */
static bool is_enough(const dram_facts *f, int kind, dram_depth depth)
{
    return f->bad || f->depth >= (kind == DRAM_IMAGES ? DRAM_DEPTH_HEADER : depth);
}

static void recall(const pass *p, part *at, int kind, int i, const char *path)
{
    dram_depth wanted = p->survey->cfg->data.check == DRAM_DATA_CHECK_HEADERS ? DRAM_DEPTH_HEADER : DRAM_DEPTH_PIXELS;
    dram_facts *f = &at->facts[kind][i];
    if (!dram_facts_stat(path, f)) return;
    bool label = kind == DRAM_LABELS;
    if (dram_kept_find(at->kept[kind], name_in(at->seen.folder[kind], path), label, f) && is_enough(f, kind, wanted))
        atomic_fetch_add(&at->known, 1);
}

static dram_status look(const pass *p, part *at, int kind, int i, worker *w)
{
    int64_t max_bytes = p->survey->cfg->data.max_decode_bytes;
    dram_facts *f = &at->facts[kind][i];
    dram_status status = kind == DRAM_IMAGES ? dram_facts_image(w->path, max_bytes, f)
                                             : dram_facts_label(&w->desk, w->path, p->depth, max_bytes, f);
    atomic_fetch_add(&at->fresh[kind], 1);
    if (status == DRAM_OK) return DRAM_OK;
    dram_error_clear(); /* facts->bad says it */
    return status == DRAM_ERR_MEMORY ? status : DRAM_OK;
}

/* ---- all files ---- */

static part *part_of(dram_survey *s, int64_t task, int *image)
{
    int i = (int)(task * s->spread % s->images), train = s->part[DRAM_TRAIN].count;
    *image = i < train ? i : i - train;
    return &s->part[i < train ? DRAM_TRAIN : DRAM_VAL];
}

static void tell(pass *p)
{
    const dram_survey *s = p->survey;
    double now = dram_clock();
    if (!s->hooks->looked || now - p->told < TELL_SECONDS) return;
    p->told = now;
    s->hooks->looked(s->hooks->context, atomic_load(&p->done), s->images);
}

static void take(void *context, int64_t task, int number)
{
    pass *p = context;
    dram_survey *s = p->survey;
    worker *w = &s->workers[number];
    int i;
    if (is_stopped(s) || atomic_load(&p->no_memory) || (p->deadline > 0 && dram_clock() > p->deadline)) return;
    part *at = part_of(s, task, &i);
    bool looked = false;
    for (int kind = 0; kind < DRAM_KINDS; kind++) {
        if (!has_file(at, kind, i)) continue;
        bool finds = p->depth == DRAM_DEPTH_NONE;
        if (!finds && is_enough(&at->facts[kind][i], kind, p->depth)) continue;
        path_of(at, kind, i, w->path, s->room);
        if (finds)
            recall(p, at, kind, i, w->path);
        else if (look(p, at, kind, i, w) != DRAM_OK)
            atomic_store(&p->no_memory, true);
        looked = true;
    }
    atomic_fetch_add(&p->done, 1);
    if (looked) atomic_fetch_add(&p->looked, 1);
    if (number == 0) tell(p); /* the thread that called */
}

/* *looked: images of which something was not known, and was looked at. */
static dram_status go_through(dram_survey *s, dram_depth depth, double seconds, int *looked)
{
    double now = dram_clock();
    pass p = {.survey = s, .depth = depth, .deadline = seconds > 0 ? now + seconds : 0, .told = now};
    dram_pool_run(s->pool, s->images, take, &p);
    *looked = atomic_load(&p.looked);
    return atomic_load(&p.no_memory) ? no_memory() : DRAM_OK;
}

static int count_unknown(dram_survey *s, dram_depth depth)
{
    int unknown = 0;
    for (int set = 0; set < DRAM_SETS; set++) {
        const part *at = &s->part[set];
        for (int i = 0; i < at->count; i++) {
            bool known = true;
            for (int kind = 0; kind < DRAM_KINDS; kind++)
                known = known && (!has_file(at, kind, i) || is_enough(&at->facts[kind][i], kind, depth));
            unknown += !known;
        }
    }
    return unknown;
}

static dram_status look_auto(dram_survey *s)
{
    int looked;
    TRY(go_through(s, DRAM_DEPTH_NONE, RECALL_SECONDS, &looked));
    int unknown = count_unknown(s, DRAM_DEPTH_PIXELS);
    if (!unknown) return DRAM_OK;
    double begin = dram_clock();
    TRY(go_through(s, DRAM_DEPTH_PIXELS, SAMPLE_SECONDS, &looked));
    if (looked == unknown) return DRAM_OK;
    bool seconds_do = looked && (dram_clock() - begin) / looked * (unknown - looked) <= FULL_SECONDS;
    if (seconds_do) return go_through(s, DRAM_DEPTH_PIXELS, 2 * FULL_SECONDS, &looked);
    return go_through(s, DRAM_DEPTH_HEADER, HEADER_SECONDS, &looked);
}

static dram_status look_at_all(dram_survey *s, dram_depth depth)
{
    int looked;
    TRY(go_through(s, DRAM_DEPTH_NONE, 0, &looked));
    return go_through(s, depth, 0, &looked);
}

/* ---- 16 bits ---- */

typedef struct {
    dram_survey *survey;
    part *part;
    int image[DEEP_LOOKED];
    _Atomic bool no_memory;
} picked;

static void read_peak(void *context, int64_t task, int number)
{
    picked *p = context;
    worker *w = &p->survey->workers[number];
    int i = p->image[task];
    dram_facts *f = &p->part->facts[DRAM_IMAGES][i];
    dram_image_rules rules = dram_datasets_image_rules(p->survey->cfg);
    dram_image image;
    if (is_stopped(p->survey)) return;
    path_of(p->part, DRAM_IMAGES, i, w->path, p->survey->room);
    dram_status status = dram_image_load(w->path, &rules, &image);
    if (status == DRAM_OK) {
        f->peak = (uint16_t)image.peak;
        atomic_fetch_add(&p->part->fresh[DRAM_IMAGES], 1);
        dram_image_free(&image);
        return;
    }
    f->bad = status != DRAM_ERR_MEMORY;
    f->unread = status == DRAM_ERR_IO;
    if (status == DRAM_ERR_MEMORY) atomic_store(&p->no_memory, true);
    dram_error_clear();
}

/* The pixels of some images of 16 bits, spread over them, are read: their largest values say whether data.range fits. */
static dram_status read_peaks(dram_survey *s, part *at)
{
    const dram_facts *f = at->facts[DRAM_IMAGES];
    picked p = {.survey = s, .part = at};
    int deep = 0, seen = 0, n = 0;
    for (int i = 0; i < at->count; i++) deep += !f[i].bad && f[i].bits == 16;
    int wanted = deep < DEEP_LOOKED ? deep : DEEP_LOOKED, next = 0;
    for (int i = 0; i < at->count && next < wanted; i++) {
        if (f[i].bad || f[i].bits != 16) continue;
        if (seen++ < (int)((int64_t)next * deep / wanted)) continue;
        next++;
        if (!f[i].peak) p.image[n++] = i;
    }
    dram_pool_run(s->pool, n, read_peak, &p);
    return atomic_load(&p.no_memory) ? no_memory() : DRAM_OK;
}

/* ---- keeping ---- */

static dram_status keep(part *at, int kind, char *path, int room)
{
    for (int i = 0; i < at->count; i++) {
        const dram_facts *f = &at->facts[kind][i];
        if (!f->depth || f->bad || f->size < 0) continue;
        const char *name = name_in(at->seen.folder[kind], path_of(at, kind, i, path, room));
        TRY(dram_kept_add(at->kept[kind], name, kind == DRAM_LABELS, f));
    }
    return dram_kept_save(at->kept[kind]);
}

static dram_status keep_all(dram_survey *s)
{
    for (int set = 0; set < DRAM_SETS; set++)
        for (int kind = 0; kind < DRAM_KINDS; kind++)
            if (atomic_load(&s->part[set].fresh[kind])) TRY(keep(&s->part[set], kind, s->workers[0].path, s->room));
    return DRAM_OK;
}

/* ---- opening ---- */

static dram_status open_part(dram_survey *s, int set, const dram_dataset *dataset, bool reads)
{
    part *at = &s->part[set];
    const dram_config *cfg = s->cfg;
    const char *const folder[DRAM_KINDS] = {set == DRAM_VAL ? cfg->data.val.images : cfg->data.train.images,
                                            set == DRAM_VAL ? cfg->data.val.labels : cfg->data.train.labels};
    if (!dataset) return DRAM_OK;
    at->seen.dataset = dataset;
    at->count = dram_dataset_count(dataset);
    int room = dram_dataset_path_room(dataset);
    if (room > s->room) s->room = room;
    for (int kind = 0; kind < DRAM_KINDS; kind++) {
        if (kind == DRAM_LABELS && !(cfg->task.enabled && folder[kind])) continue;
        at->seen.folder[kind] = folder[kind];
        at->facts[kind] = dram_calloc((size_t)at->count, sizeof *at->facts[kind]);
        if (!at->facts[kind]) return no_memory();
        at->seen.facts[kind] = at->facts[kind];
        if (reads) TRY(dram_kept_open(folder[kind], cfg->run.dir, &at->kept[kind]));
    }
    return DRAM_OK;
}

static dram_status open_workers(dram_survey *s)
{
    int n = s->cfg->data.workers > 1 ? s->cfg->data.workers : 1;
    s->workers = dram_calloc((size_t)n, sizeof *s->workers);
    if (!s->workers) return no_memory();
    s->n_workers = n;
    for (int w = 0; w < n; w++)
        if (!(s->workers[w].path = dram_alloc((size_t)s->room))) return no_memory();
    return dram_pool_open(n, &s->pool);
}

static dram_status look_as_asked(dram_survey *s)
{
    dram_data_check how = s->cfg->data.check;
    dram_depth depth = how == DRAM_DATA_CHECK_FULL ? DRAM_DEPTH_PIXELS : DRAM_DEPTH_HEADER;
    TRY(how == DRAM_DATA_CHECK_AUTO ? look_auto(s) : look_at_all(s, depth));
    for (int set = 0; set < DRAM_SETS; set++)
        if (s->part[set].count) TRY(read_peaks(s, &s->part[set]));
    TRY(keep_all(s));
    if (is_stopped(s))
        return dram_fail(DRAM_INTERRUPTED, "interrupted while looking at the data, before the first step");
    return DRAM_OK;
}

dram_status dram_survey_open(const dram_config *cfg, const dram_dataset *const dataset[DRAM_SETS],
                             const dram_check_hooks *hooks, dram_survey **out)
{
    bool reads = cfg->data.check != DRAM_DATA_CHECK_NONE;
    dram_survey *s = dram_calloc(1, sizeof *s);
    dram_status status;
    *out = NULL;
    if (!s) return no_memory();
    s->cfg = cfg;
    s->hooks = hooks;
    for (int set = 0; set < DRAM_SETS; set++) {
        TRY_GOTO(open_part(s, set, dataset[set], reads), failed);
        s->images += s->part[set].count;
    }
    if (reads && s->images) {
        s->spread = spread_step(s->images);
        TRY_GOTO(open_workers(s), failed);
        TRY_GOTO(look_as_asked(s), failed);
    }
    for (int set = 0; set < DRAM_SETS; set++) s->part[set].seen.known = atomic_load(&s->part[set].known);
    *out = s;
    return DRAM_OK;
failed:
    dram_survey_close(s);
    return status;
}

void dram_survey_close(dram_survey *s)
{
    if (!s) return;
    dram_pool_close(s->pool);
    for (int w = 0; w < s->n_workers; w++) {
        dram_desk_free(&s->workers[w].desk);
        dram_free(s->workers[w].path);
    }
    dram_free(s->workers);
    for (int set = 0; set < DRAM_SETS; set++)
        for (int kind = 0; kind < DRAM_KINDS; kind++) {
            dram_free(s->part[set].facts[kind]);
            dram_kept_close(s->part[set].kept[kind]);
        }
    dram_free(s);
}

const dram_surveyed *dram_survey_set(const dram_survey *s, int set)
{
    return &s->part[set].seen;
}
