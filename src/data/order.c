#include "data/order.h"

#include "base/alloc.h"

enum { SHARE_UNITS = 1000000 };

/* Images that are passed through again and again, each time in another order. */
typedef struct {
    uint32_t *images; /* [n] */
    uint32_t *order;  /* [n] of `epoch` */
    int n;
    int64_t epoch;
    uint64_t key; /* of its random numbers */
} pool;

struct dram_order {
    uint64_t seed;
    int64_t share; /* of pool 1, in SHARE_UNITS; 0: pool 0 is all there is */
    pool pools[2]; /* unlabelled or all; labelled */
};

static dram_status open_pool(const dram_dataset *dataset, bool all, bool labelled, pool *p)
{
    int count = dram_dataset_count(dataset);
    p->images = dram_alloc((size_t)count * sizeof *p->images);
    p->order = dram_alloc((size_t)count * sizeof *p->order);
    if (!p->images || !p->order) return dram_fail(DRAM_ERR_MEMORY, "no memory for the order of the images");
    for (int i = 0; i < count; i++)
        if (all || dram_dataset_has_label(dataset, i) == labelled) p->images[p->n++] = (uint32_t)i;
    p->epoch = -1;
    p->key = all ? 0 : (uint64_t)(1 + labelled) << 60;
    return DRAM_OK;
}

dram_status dram_order_open(const dram_dataset *dataset, uint64_t seed, double labelled_share, dram_order **out)
{
    dram_status status;
    int count = dram_dataset_count(dataset), labelled = dram_dataset_labelled(dataset);
    bool mixed = labelled_share > 0 && labelled > 0 && labelled < count;
    dram_order *o = dram_calloc(1, sizeof *o);
    if (!o) return dram_fail(DRAM_ERR_MEMORY, "no memory for the order of the images");
    o->seed = seed;
    o->share = mixed ? (int64_t)(labelled_share * SHARE_UNITS + 0.5) : 0;
    TRY_GOTO(open_pool(dataset, o->share == 0, false, &o->pools[0]), failed);
    if (o->share) TRY_GOTO(open_pool(dataset, false, true, &o->pools[1]), failed);
    *out = o;
    return DRAM_OK;
failed:
    dram_order_close(o);
    return status;
}

void dram_order_close(dram_order *o)
{
    if (!o) return;
    for (int i = 0; i < 2; i++) {
        dram_free(o->pools[i].images);
        dram_free(o->pools[i].order);
    }
    dram_free(o);
}

/* Samples of pool 1 before this position: its share, rounded down. */
static int64_t labelled_before(const dram_order *o, int64_t position)
{
    return position / SHARE_UNITS * o->share + position % SHARE_UNITS * o->share / SHARE_UNITS;
}

static bool is_labelled(const dram_order *o, int64_t position)
{
    return labelled_before(o, position + 1) > labelled_before(o, position);
}

/* Fisher-Yates. */
static void shuffle(const dram_order *o, pool *p, int64_t epoch)
{
    dram_rng r = dram_rng_make(o->seed, DRAM_RNG_ORDER, (uint64_t)epoch | p->key);
    for (int i = 0; i < p->n; i++) p->order[i] = p->images[i];
    for (int i = p->n - 1; i > 0; i--) {
        int j = (int)dram_rng_below(&r, (uint64_t)i + 1);
        uint32_t swap = p->order[i];
        p->order[i] = p->order[j];
        p->order[j] = swap;
    }
    p->epoch = epoch;
}

int dram_order_at(dram_order *o, int64_t position)
{
    int64_t labelled = labelled_before(o, position);
    bool from_labelled = is_labelled(o, position);
    pool *p = &o->pools[from_labelled];
    int64_t at = from_labelled ? labelled : position - labelled;
    if (at / p->n != p->epoch) shuffle(o, p, at / p->n);
    return (int)p->order[at % p->n];
}

int dram_order_replacement(const dram_order *o, int64_t position, dram_rng *rng)
{
    const pool *p = &o->pools[is_labelled(o, position)];
    return (int)p->images[dram_rng_below(rng, (uint64_t)p->n)];
}
