#include "feed/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "feed/datasets.h"
#include "feed/feed.h"
#include "session/headroom.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory to fill the cache");
}

/* ---- what is wanted ---- */

/* An embedding: its key, and the image of data.train or data.val that it is made from. */
typedef struct {
    dram_hash128 key;
    bool val;
    dram_loader_item item;
} wanted_item;

typedef struct {
    wanted_item *items;
    int n, room;
} wanted_list;

static dram_status want(wanted_list *list, dram_hash128 key, bool val, int index, bool flip)
{
    if (!DRAM_GROW(list->items, list->room, list->n + 1)) return no_memory();
    list->items[list->n++] = (wanted_item){.key = key, .val = val, .item = {.index = index, .flip = flip}};
    return DRAM_OK;
}

static dram_status want_all(const dram_config *cfg, const dram_targets *t, const dram_dataset *const datasets[2],
                            wanted_list *list)
{
    const bool used[2] = {cfg->data.augment.flip != 1, cfg->data.augment.flip != 0};
    for (int i = 0; datasets[0] && i < dram_dataset_count(datasets[0]); i++)
        for (int flip = 0; flip < 2; flip++)
            if (used[flip]) TRY(want(list, t->train[2 * i + flip], false, i, flip));
    for (int i = 0; datasets[1] && i < dram_dataset_count(datasets[1]); i++) TRY(want(list, t->val[i], true, i, false));
    return DRAM_OK;
}

static int by_key(const void *a, const void *b)
{
    const dram_hash128 *x = &((const wanted_item *)a)->key, *y = &((const wanted_item *)b)->key;
    if (x->high != y->high) return x->high < y->high ? -1 : 1;
    return x->low == y->low ? 0 : x->low < y->low ? -1 : 1;
}

static int by_place(const void *a, const void *b)
{
    const wanted_item *x = a, *y = b;
    if (x->val != y->val) return x->val ? 1 : -1;
    if (x->item.index != y->item.index) return x->item.index < y->item.index ? -1 : 1;
    return (int)x->item.flip - (int)y->item.flip;
}

/* Leaves one of each key, of those that are not there; *all counts each key once. */
static void keep_missing(const dram_targets *t, wanted_list *list, int *all)
{
    int n = 0;
    *all = 0;
    if (list->n) qsort(list->items, (size_t)list->n, sizeof *list->items, by_key);
    for (int i = 0; i < list->n; i++) {
        if (i && by_key(&list->items[i - 1], &list->items[i]) == 0) continue;
        ++*all;
        if (!dram_cache_has(t->cache, list->items[i].key)) list->items[n++] = list->items[i];
    }
    list->n = n;
    if (n) qsort(list->items, (size_t)n, sizeof *list->items, by_place);
}

/* ---- making it ---- */

typedef struct {
    const dram_config *cfg;
    const dram_targets *targets;
    dram_comm *comm; /* the ranks that share the work; NULL: none */
    const volatile sig_atomic_t *stop;
    dram_session session; /* planned; started when the first good image is there */
    dram_feed feed;
    float *embedding; /* f32 [1,t,t,256] */
    int made, n;      /* made here; wanted */
    double begin, told;
} filler;

static int64_t embedding_bytes(const dram_targets *t)
{
    return t->cells * DRAM_EMBED_CHANNELS * (int64_t)sizeof(float);
}

static dram_status start(filler *f)
{
    if (f->session.exec) return DRAM_OK;
    TRY(dram_headroom_start(f->cfg, &f->session, NULL, NULL));
    TRY(dram_feed_open(&f->session.graphs, &f->feed));
    f->embedding = dram_alloc((size_t)embedding_bytes(f->targets));
    f->begin = f->told = dram_clock();
    return f->embedding ? DRAM_OK : no_memory();
}

static void tell(filler *f)
{
    enum { SECONDS = 10 };
    double now = dram_clock(), rate = f->made / (now - f->begin + 1e-9);
    if (now - f->told < SECONDS) return;
    f->told = now;
    dram_info("cache: %d of %d embeddings made, %.2f a second", f->made, f->n, rate);
}

/* One image, unless another process has made it since. */
static dram_status make(filler *f, dram_hash128 key, const dram_sample *sample)
{
    dram_session *s = &f->session;
    const dram_targets *t = f->targets;
    const dram_io *io = &s->graphs.io[DRAM_PROGRAM_CACHE_FILL];
    char where[300];
    TRY(dram_cache_refresh(t->cache));
    if (dram_cache_has(t->cache, key)) return DRAM_OK;
    TRY(start(f));
    TRY(dram_feed_batch(s, &f->feed, DRAM_PROGRAM_CACHE_FILL, 0, sample, 1, 1));
    TRY(dram_exec_run(s->exec, io->index));
    TRY(dram_exec_read(s->exec, io->index, io->embedding, f->embedding, embedding_bytes(t)));
    dram_status status = dram_embedding_pack(t->format, t->cells, DRAM_EMBED_CHANNELS, f->embedding, t->packed);
    snprintf(where, sizeof where, "%.250s: ", sample->name);
    if (status != DRAM_OK) return dram_error_prefix(status, where);
    TRY(dram_cache_put(t->cache, key, t->packed));
    f->made++;
    tell(f);
    return DRAM_OK;
}

static dram_status fill_from(filler *f, const dram_dataset *dataset, const wanted_item *wanted,
                             const dram_loader_item *items, int n)
{
    dram_loader_params params = dram_datasets_params(f->cfg, &f->session.graphs, dataset);
    params.student_size = 0; /* the teacher's images alone */
    params.list = items;
    params.list_count = n;
    dram_loader *loader;
    dram_batch batch;
    dram_status status;
    TRY(dram_loader_open(&params, &loader));
    for (;;) {
        bool asked;
        TRY_GOTO(dram_comm_busy(f->comm, f->stop, &asked), done);
        if (asked) {
            status = dram_fail(DRAM_INTERRUPTED,
                               "interrupted while the cache was filled: %d of %d embeddings were made, and the same "
                               "command goes on from there",
                               f->made, f->n);
            break;
        }
        TRY_GOTO(dram_loader_next(loader, &batch), done);
        if (!batch.count) break;
        TRY_GOTO(make(f, wanted[batch.samples->position].key, batch.samples), done);
    }
done:
    dram_loader_close(loader);
    return status;
}

/* wanted[0..n) of one dataset, from a place of this process's own on: several that know nothing of each other do not make
 * the same. */
static dram_status fill_dataset(filler *f, const dram_dataset *dataset, const wanted_item *wanted, int n)
{
    dram_status status;
    wanted_item *turned = dram_alloc((size_t)n * sizeof *turned);
    dram_loader_item *items = dram_alloc((size_t)n * sizeof *items);
    int first = (int)(dram_mix64((uint64_t)getpid()) % (uint64_t)n);
    if (!turned || !items) {
        status = no_memory();
        goto done;
    }
    for (int i = 0; i < n; i++) {
        turned[i] = wanted[(first + i) % n];
        items[i] = turned[i].item;
    }
    status = fill_from(f, dataset, turned, items, n);
done:
    dram_free(turned);
    dram_free(items);
    return status;
}

/* Leaves what this rank makes: of all ranks one makes each, whatever else each of them found to be missing. */
static void keep_share(const dram_comm *comm, wanted_list *list)
{
    const uint64_t ranks = (uint64_t)dram_comm_size(comm), rank = (uint64_t)dram_comm_rank(comm);
    int n = 0;
    for (int i = 0; i < list->n; i++)
        if (list->items[i].key.low % ranks == rank) list->items[n++] = list->items[i];
    list->n = n;
}

static dram_status fill_all(filler *f, const dram_dataset *const datasets[2], const wanted_item *wanted, int n)
{
    dram_status status;
    int of_train = 0;
    f->n = n;
    while (of_train < n && !wanted[of_train].val) of_train++;
    if (n) TRY_GOTO(dram_headroom_plan(f->cfg, DRAM_SET_CACHE_FILL, NULL, &f->session), done);
    if (of_train) TRY_GOTO(fill_dataset(f, datasets[0], wanted, of_train), done);
    if (of_train < n) TRY_GOTO(fill_dataset(f, datasets[1], wanted + of_train, n - of_train), done);
done:
    dram_feed_close(&f->feed);
    dram_session_close(&f->session);
    dram_free(f->embedding);
    return status == DRAM_ERR_FIT ? dram_error_prefix(status, "filling the cache: ") : status;
}

/* What is missing. DRAM_ERR_CONFIG: the disk has no room for it. */
static dram_status find_missing(const dram_config *cfg, const dram_targets *t, const dram_dataset *const datasets[2],
                                wanted_list *list)
{
    int all;
    char asked[32], has[32];
    int64_t need, free_bytes;
    TRY(want_all(cfg, t, datasets, list));
    keep_missing(t, list, &all);
    if (!list->n) {
        dram_info("cache: all %d embeddings are in %s", all, t->directory);
        return DRAM_OK;
    }
    dram_status status = dram_cache_check_disk(t->cache, list->n, &need, &free_bytes);
    dram_info("cache: %d of %d embeddings to make, %s on disk, %s free", list->n, all,
              dram_format_bytes(need, asked, sizeof asked), dram_format_bytes(free_bytes, has, sizeof has));
    return status;
}

/* The ranks are done, and each has what the others made. */
static dram_status finish(filler *f, bool tried, dram_status status)
{
    bool asked, interrupted = status == DRAM_INTERRUPTED;
    int64_t made = f->made;
    if (dram_comm_size(f->comm) > 1) {
        TRY(dram_comm_wait(f->comm, interrupted ? DRAM_OK : status, f->stop, &asked));
        TRY(dram_comm_sum_counts(f->comm, &made, 1));
        if (asked && !interrupted)
            status = dram_fail(DRAM_INTERRUPTED, "interrupted while another rank filled the cache");
        if (status == DRAM_OK) status = dram_cache_refresh(f->targets->cache);
    }
    if (status == DRAM_OK && (tried || made)) dram_info("cache: %lld embeddings made", (long long)made);
    return status;
}

dram_status dram_fill_missing(const dram_config *cfg, dram_targets *t, const dram_dataset *train,
                              const dram_dataset *val, dram_comm *comm, const volatile sig_atomic_t *stop)
{
    const dram_dataset *const datasets[2] = {train, val};
    wanted_list list = {0};
    if (!t->cache) return DRAM_OK;
    const dram_config fill = dram_targets_fill_config(cfg);
    filler f = {.cfg = &fill, .targets = t, .comm = comm, .stop = stop};
    dram_status status = find_missing(cfg, t, datasets, &list);
    bool tried = list.n > 0;
    keep_share(comm, &list);
    if (status == DRAM_OK && tried) status = fill_all(&f, datasets, list.items, list.n);
    dram_free(list.items);
    return finish(&f, tried, status);
}
