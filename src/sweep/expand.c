/* From a spec to points, each with its config: grid, list and random ones, equal ones merged. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/hash.h"
#include "io/path.h"
#include "sweep/spec.h"

enum { TABLE = 1 << 15 };

typedef struct {
    dram_sweep_spec *spec;
    dram_sweep *sweep;
    dram_sweep_group *own; /* [points]: what each has besides the set; of the spec */
    dram_hash128 *hash;    /* [points]: of what they are */
    int *table;            /* [TABLE] point + 1, by hash; 0: free */
} expansion;

/* ---- what a point has besides the set ---- */

/* "optim.lr=0.00123": a value of a range. It depends on seed, point and key alone. */
static dram_status draw(dram_sweep_spec *spec, const dram_sweep_axis *axis, int point, dram_config_override *out)
{
    char text[200];
    dram_rng rng = dram_rng_make((uint64_t)spec->random_seed, DRAM_RNG_SWEEP,
                                 dram_mix64((uint64_t)point) ^ dram_hash_name(axis->key));
    if (axis->n) {
        *out = axis->value[dram_rng_below(&rng, (uint64_t)axis->n)];
        return DRAM_OK;
    }
    double value = axis->log ? exp(dram_rng_range(&rng, log(axis->low), log(axis->high)))
                             : dram_rng_range(&rng, axis->low, axis->high);
    value = fmin(fmax(value, axis->low), axis->high);
    if (axis->whole)
        snprintf(text, sizeof text, "%s=%.0f", axis->key, round(value / axis->multiple) * axis->multiple);
    else
        snprintf(text, sizeof text, "%s=%.6g", axis->key, value);
    *out = axis->at;
    out->text = dram_sweep_keep_text(spec, text, strlen(text));
    return out->text ? DRAM_OK : DRAM_ERR_MEMORY;
}

/* Point k of the grid: the last key changes fastest. */
static void take_grid(const dram_sweep_spec *spec, int k, dram_sweep_group *own)
{
    for (int i = spec->n_grid - 1; i >= 0; i--) {
        own->set[i] = spec->grid[i].value[k % spec->grid[i].n];
        k /= spec->grid[i].n;
    }
    own->n = spec->n_grid;
}

static int grid_points(const dram_sweep_spec *spec)
{
    int n = 1;
    if (spec->n_grid == 0) return spec->n_list || spec->n_random ? 0 : 1;
    for (int i = 0; i < spec->n_grid; i++) n *= spec->grid[i].n;
    return n;
}

static dram_status own_of(dram_sweep_spec *spec, int k, dram_sweep_group *own)
{
    int grid = grid_points(spec), most = spec->n_grid > spec->n_random ? spec->n_grid : spec->n_random;
    if (k >= grid && k < grid + spec->n_list) {
        *own = spec->list[k - grid];
        return DRAM_OK;
    }
    own->set = dram_sweep_keep(spec, (size_t)most * sizeof *own->set);
    if (!own->set) return DRAM_ERR_MEMORY;
    if (k < grid) {
        take_grid(spec, k, own);
        return DRAM_OK;
    }
    own->n = spec->n_random;
    for (int i = 0; i < spec->n_random; i++) TRY(draw(spec, &spec->random[i], k - grid - spec->n_list, &own->set[i]));
    return DRAM_OK;
}

/* The number is looked at before anything is made. */
static dram_status count_points(const dram_sweep_spec *spec, int *n)
{
    const dram_config_override at = {.file = spec->file};
    double all = spec->n_grid ? 1 : 0;
    for (int i = 0; i < spec->n_grid; i++) all *= spec->grid[i].n;
    all += spec->n_list + spec->random_count;
    if (all > DRAM_SWEEP_POINTS)
        return dram_sweep_fail(
            &at, "sweep", "%.10g points are asked for, and a sweep has %d at most: take fewer values, or random points",
            all, DRAM_SWEEP_POINTS);
    if (all == 0 && spec->n_seeds < 2)
        return dram_sweep_fail(&at, "sweep",
                               "nothing is swept: give key=a,b,c, or a grid, a list, random keys or seeds");
    *n = grid_points(spec) + spec->n_list + (spec->n_random ? spec->random_count : 0);
    return DRAM_OK;
}

/* ---- points ---- */

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
}

/* "a=1 b=2" */
static dram_status join(const dram_config_override *const *values, int n, char **out)
{
    dram_str text = {0};
    for (int i = 0; i < n; i++) dram_str_add(&text, "%s%s", i ? " " : "", values[i]->text);
    dram_str_add(&text, "%s", "");
    *out = text.text;
    if (!text.failed) return DRAM_OK;
    dram_str_free(&text);
    *out = NULL;
    return no_memory();
}

/* Set, own and ranks, the later of which wins; what a list's point has of the set is left out there. */
static int gather(const expansion *e, const dram_sweep_group *own, const dram_config_override **values)
{
    const dram_sweep_spec *spec = e->spec;
    int n = 0;
    for (int i = 0; i < spec->set.n; i++) {
        size_t key = strcspn(spec->set.set[i].text, "=") + 1;
        bool again = false;
        for (int k = 0; k < own->n; k++) again |= strncmp(own->set[k].text, spec->set.set[i].text, key) == 0;
        if (!again) values[n++] = &spec->set.set[i];
    }
    for (int i = 0; i < own->n; i++) values[n++] = &own->set[i];
    if (spec->ranks) values[n++] = &spec->ranks_at;
    return n;
}

/* The config, or why there is none. */
static dram_status load(const expansion *e, const dram_config_override *const *values, int n, dram_sweep_point *p)
{
    dram_config_override *all = dram_calloc((size_t)n + 1, sizeof *all);
    if (!all) return no_memory();
    for (int i = 0; i < n; i++) all[i] = *values[i];
    dram_status status = dram_config_load_from(e->spec->base, all, n, &p->cfg);
    dram_free(all);
    if (status != DRAM_ERR_CONFIG) return status;
    p->status = DRAM_POINT_WRONG;
    p->text = dram_strdup(dram_error_text());
    dram_error_clear();
    return p->text ? DRAM_OK : no_memory();
}

static dram_status find_hash(const dram_sweep_point *p, dram_hash128 *hash)
{
    dram_str text = {0};
    dram_status status = DRAM_OK;
    if (p->cfg)
        status = dram_config_write_used(p->cfg, true, &text);
    else
        dram_str_add(&text, "wrong: %s", p->overrides);
    if (status == DRAM_OK && text.failed) status = no_memory();
    if (status == DRAM_OK) *hash = dram_hash_128(text.text, text.length);
    dram_str_free(&text);
    return status;
}

/* The point of that hash, or the free place in the table for it. */
static int find_equal(const expansion *e, dram_hash128 hash, int *place)
{
    for (*place = (int)(hash.low % TABLE); e->table[*place]; *place = (*place + 1) % TABLE) {
        const dram_hash128 *other = &e->hash[e->table[*place] - 1];
        if (other->low == hash.low && other->high == hash.high) return e->table[*place] - 1;
    }
    return -1;
}

static dram_status check_rungs(const expansion *e, const dram_sweep_point *p)
{
    const dram_sweep_spec *spec = e->spec;
    if (!p->cfg || !spec->n_rungs || spec->rungs[spec->n_rungs - 1] < p->cfg->train.steps) return DRAM_OK;
    return dram_sweep_fail(&spec->rungs_at, "sweep.halving.rungs", "%lld is not below train.steps, %d, of the point %s",
                           (long long)spec->rungs[spec->n_rungs - 1], p->cfg->train.steps, p->overrides);
}

/* Adds the point, or one to the number of those that are asked for like it. */
static dram_status add_point(expansion *e, const dram_sweep_group *own)
{
    dram_sweep *sweep = e->sweep;
    dram_sweep_point *p = &sweep->points[sweep->n_points];
    int place, n = 0;
    const dram_config_override **values = dram_alloc((size_t)(e->spec->set.n + own->n + 1) * sizeof *values);
    dram_status status = values ? DRAM_OK : no_memory();
    *p = (dram_sweep_point){.index = ++sweep->n_points, .asked = 1, .ranks = 1};
    if (status == DRAM_OK) n = gather(e, own, values);
    if (status == DRAM_OK) status = join(values, n, &p->overrides);
    if (status == DRAM_OK) status = load(e, values, n, p);
    dram_free(values);
    TRY(status);
    TRY(check_rungs(e, p));
    TRY(find_hash(p, &e->hash[p->index - 1]));
    int equal = find_equal(e, e->hash[p->index - 1], &place);
    if (equal >= 0) {
        sweep->points[equal].asked++;
        dram_free(p->overrides);
        dram_free(p->text);
        dram_config_free(p->cfg);
        sweep->n_points--;
        return DRAM_OK;
    }
    e->table[place] = p->index;
    e->own[p->index - 1] = *own;
    snprintf(p->hash, sizeof p->hash, "%08x", (unsigned)(e->hash[p->index - 1].high >> 32));
    if (p->cfg) p->steps = p->cfg->train.steps;
    if (p->cfg && p->cfg->distributed.ranks) p->ranks = p->cfg->distributed.ranks;
    return DRAM_OK;
}

/* ---- what differs ---- */

static const dram_config_override *find_value(const dram_sweep_group *own, const char *text)
{
    size_t key = strcspn(text, "=") + 1;
    for (int i = 0; i < own->n; i++)
        if (strncmp(own->set[i].text, text, key) == 0) return &own->set[i];
    return NULL;
}

/* Whether all points have this very value. */
static bool is_common(const expansion *e, const dram_config_override *value)
{
    for (int i = 0; i < e->sweep->n_points; i++) {
        const dram_config_override *other = find_value(&e->own[i], value->text);
        if (!other || strcmp(other->text, value->text) != 0) return false;
    }
    return true;
}

/* A value of the first point is common, or its key is not; so points are looked through once for each of them. Returns how
 * many are, into common[0..own[0].n). */
static int find_common(const expansion *e, const dram_config_override **common)
{
    int n = 0;
    for (int i = 0; i < e->own[0].n; i++)
        if (is_common(e, &e->own[0].set[i])) common[n++] = &e->own[0].set[i];
    return n;
}

static dram_status take_differs(const dram_sweep_group *own, const dram_config_override *const *common, int n_common,
                                char **differs)
{
    int n = 0;
    const dram_config_override **values = dram_alloc((size_t)(own->n + 1) * sizeof *values);
    if (!values) return no_memory();
    for (int k = 0; k < own->n; k++) {
        bool is = false;
        for (int c = 0; c < n_common; c++) is |= strcmp(common[c]->text, own->set[k].text) == 0;
        if (!is) values[n++] = &own->set[k];
    }
    dram_status status = join(values, n, differs);
    dram_free(values);
    return status;
}

static dram_status find_differs(expansion *e)
{
    dram_status status = DRAM_OK;
    if (e->sweep->n_points == 0) return DRAM_OK;
    const dram_config_override **common = dram_alloc((size_t)(e->own[0].n + 1) * sizeof *common);
    int n = common ? find_common(e, common) : 0;
    if (!common) status = no_memory();
    for (int i = 0; i < e->sweep->n_points && status == DRAM_OK; i++)
        status = take_differs(&e->own[i], common, n, &e->sweep->points[i].differs);
    dram_free(common);
    return status;
}

/* ---- the sweep ---- */

static dram_status write_base(const dram_sweep_spec *spec, dram_sweep *sweep)
{
    dram_str what = {0}, yaml = {0};
    dram_str_add(&what, "the base of the sweep %s", spec->file ? spec->file : sweep->name);
    dram_status status = what.failed ? no_memory() : dram_config_write_base(spec->base, what.text, &yaml);
    dram_str_free(&what);
    sweep->base = yaml.text;
    return status;
}

/* What all points share is taken of the base. */
static dram_status take_base(const dram_sweep_spec *spec, dram_sweep *sweep)
{
    char place[400] = "";
    dram_config *cfg;
    dram_str name = {0};
    dram_status status = dram_config_try(spec->base, spec->set.set, spec->set.n, &cfg);
    if (status != DRAM_OK && spec->base_at.file)
        snprintf(place, sizeof place, "%s:%d:%d: sweep.base: ", spec->base_at.file, spec->base_at.line,
                 spec->base_at.column);
    if (status != DRAM_OK) return dram_error_prefix(status, place);
    sweep->quality = spec->quality >= 0  ? (dram_quality)spec->quality
                     : cfg->task.enabled ? DRAM_QUALITY_MIOU
                                         : DRAM_QUALITY_EMBEDDING_COSINE;
    sweep->n_seeds = spec->n_seeds ? spec->n_seeds : 1;
    sweep->seeds = dram_calloc((size_t)sweep->n_seeds, sizeof *sweep->seeds);
    if (sweep->seeds) sweep->seeds[0] = cfg->seed;
    if (sweep->seeds && spec->n_seeds) memcpy(sweep->seeds, spec->seeds, (size_t)spec->n_seeds * sizeof *sweep->seeds);
    dram_str_add(&name, spec->name ? "%s" : "%s-sweep", spec->name ? spec->name : cfg->name);
    sweep->name = name.text;
    sweep->source = dram_strdup(spec->file ? spec->file : spec->base);
    sweep->yaml = dram_strdup(spec->yaml.text);
    status = sweep->seeds && !name.failed && sweep->source && sweep->yaml
                 ? dram_path_join(cfg->run.dir, sweep->name, &sweep->directory)
                 : no_memory();
    dram_config_free(cfg);
    return status == DRAM_OK ? write_base(spec, sweep) : status;
}

static dram_status take_ranks(dram_sweep_spec *spec)
{
    char text[40];
    if (!spec->ranks) return DRAM_OK;
    const dram_sweep_axis ranks = {.key = "distributed.ranks", .at = spec->ranks_at};
    for (int i = 0; i < spec->n_grid + spec->n_random; i++)
        if (strcmp((i < spec->n_grid ? spec->grid[i] : spec->random[i - spec->n_grid]).key, ranks.key) == 0)
            return dram_sweep_fail(&ranks.at, "sweep.ranks", "distributed.ranks is swept: a key has one place");
    if (find_value(&spec->set, "distributed.ranks="))
        return dram_sweep_fail(&ranks.at, "sweep.ranks", "distributed.ranks is set: a key has one place");
    snprintf(text, sizeof text, "distributed.ranks=%d", spec->ranks);
    spec->ranks_at.text = dram_sweep_keep_text(spec, text, strlen(text));
    return spec->ranks_at.text ? DRAM_OK : DRAM_ERR_MEMORY;
}

static dram_status expand(expansion *e, int n)
{
    e->sweep->points = dram_calloc((size_t)n, sizeof *e->sweep->points);
    e->own = dram_calloc((size_t)n, sizeof *e->own);
    e->hash = dram_calloc((size_t)n, sizeof *e->hash);
    e->table = dram_calloc(TABLE, sizeof *e->table);
    if (!e->sweep->points || !e->own || !e->hash || !e->table) return no_memory();
    for (int i = 0; i < n; i++) {
        dram_sweep_group own = {0};
        TRY(own_of(e->spec, i, &own));
        TRY(add_point(e, &own));
    }
    return find_differs(e);
}

dram_status dram_sweep_read(const char *file, const char *const *words, int n_words, dram_sweep *sweep)
{
    dram_sweep_spec spec;
    expansion e = {.spec = &spec, .sweep = sweep};
    dram_status status;
    *sweep = (dram_sweep){0};
    dram_log_hush(true);
    TRY_GOTO(dram_sweep_spec_read(file, words, n_words, &spec), done);
    TRY_GOTO(count_points(&spec, &sweep->asked), done);
    TRY_GOTO(take_ranks(&spec), done);
    TRY_GOTO(take_base(&spec, sweep), done);
    memcpy(sweep->rungs, spec.rungs, sizeof sweep->rungs);
    sweep->n_rungs = spec.n_rungs;
    sweep->keep = spec.keep;
    status = expand(&e, sweep->asked);
done:
    dram_log_hush(false);
    dram_free(e.own);
    dram_free(e.hash);
    dram_free(e.table);
    dram_sweep_spec_free(&spec);
    if (status != DRAM_OK) dram_sweep_free(sweep);
    return status;
}
