#include "report/plan_facts.h"

#include "feed/targets.h"
#include "ir/op.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/machine.h"
#include "session/search.h"

static void describe_student(const dram_session *s, dram_str *text)
{
    const dram_config *cfg = &s->cfg;
    dram_str_add(text, "student  %s at %d, batch %d", cfg->student.arch, cfg->data.size, cfg->train.batch_size);
    if (cfg->train.accumulate > 1)
        dram_str_add(text, " (%d micro-batches of %d)", cfg->train.accumulate, s->graphs.batch);
    dram_str_add(text, ", %s, %s%s\n", dram_precision_word(cfg->train.precision), dram_optim_word(cfg->optim.type),
                 cfg->student.trainable == DRAM_TRAINABLE_HEADS ? "; the trunk is frozen, heads are trained" : "");
}

/* How many ranks there are, and what they send each other; nothing of one. */
static void describe_ranks(const dram_plan_facts *f, const dram_session *s, dram_str *text)
{
    double bytes = 0;
    char size[32];
    if (f->ranks == 1) return;
    for (int op = 0; op < DRAM_OP_COUNT; op++) bytes += f->traffic.bytes[op];
    dram_str_add(text, "ranks    %d, effective batch %d; each sends %s an update, sums %s\n", f->ranks,
                 f->effective_batch, dram_format_bytes((int64_t)bytes, size, sizeof size),
                 s->graphs.reduce == DRAM_REDUCE_ORDERED ? "in rank order" : "as the library adds");
}

static void describe_teacher(const dram_config *cfg, dram_str *text)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    if (!sam->enabled) {
        dram_str_add(text, "teacher  none\n");
        return;
    }
    dram_str_add(text, "teacher  %s at %d, %s", sam->teacher.model_type, sam->sam_input_size,
                 dram_precision_word(sam->teacher.precision));
    for (int i = 0; i < sam->distill_interval.n; i++) {
        int n = sam->distill_interval.value[i];
        if (n == 1 && sam->distill_interval.n == 1) break;
        dram_str_add(text, n == 1 ? ", every step" : ", one step in %d", n);
        if (i > 0) dram_str_add(text, " from %lld on", (long long)sam->distill_interval.from[i]);
    }
    dram_str_add(text, "\n");
}

/* "mse + 0.5 cosine + 2 cwd to the standardised embedding, temperature 4" */
static void describe_embed_loss(const struct dram_config_sam_distill_loss *loss, dram_str *text)
{
#define X(ID, WORD, NAME, TEMPERATURE) [ID] = TEMPERATURE,
    static const bool has_temperature[] = {DRAM_DISTANCE_LIST(X)};
#undef X
    bool shows = has_temperature[loss->type];
    dram_str_add(text, "%s", dram_distance_word(loss->type));
    for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) {
        double weight = dram_config_added(loss, (dram_distance)d);
        if (weight > 0) dram_str_add(text, " + %g %s", weight, dram_distance_word((dram_distance)d));
        shows |= weight > 0 && has_temperature[d];
    }
    dram_str_add(text, " to the %sembedding", loss->standardize ? "standardised " : "");
    if (shows) dram_str_add(text, ", temperature %g", loss->temperature);
}

static void describe_losses(const dram_session *s, dram_str *text)
{
    const dram_config *cfg = &s->cfg;
    const char *comma = "";
    dram_str_add(text, "losses   ");
    if (cfg->sam_distill.enabled) {
        describe_embed_loss(&cfg->sam_distill.loss, text);
        comma = ", ";
    }
    if (s->graphs.sr_grid) {
        dram_str_add(text, "%sresolution", comma);
        if (cfg->resolution_distill.target == DRAM_RESOLUTION_MEAN)
            dram_str_add(text, " to a mean of weights (%g)", cfg->resolution_distill.mean_decay);
        dram_str_add(text, " at %d x %d%s", s->graphs.sr_grid, s->graphs.sr_grid,
                     cfg->resolution_distill.standardize ? ", standardised" : "");
        comma = ", ";
    }
    if (s->graphs.classes) dram_str_add(text, "%stask of %d classes", comma, s->graphs.classes);
    dram_str_add(text, "\n");
}

/* Plans the session that fills the cache, within the same budget. */
static dram_status find_cache(const dram_session *s, dram_plan_cache *cache)
{
    dram_session fill;
    if (!s->graphs.cached) return DRAM_OK;
    dram_config cfg = dram_targets_fill_config(&s->cfg);
    cfg.memory.budget = s->budget ? s->budget : DRAM_BYTES_NONE;
    TRY(dram_budget_plan(&cfg, DRAM_SET_CACHE_FILL, 0, &fill));
    *cache = (dram_plan_cache){.directory = s->cfg.sam_distill.cache,
                               .format = dram_cache_format_word(s->cfg.sam_distill.cache_format),
                               .arena_bytes = fill.plan->arena_bytes,
                               .host_bytes = fill.plan->host_bytes,
                               .image_bytes = dram_targets_image_bytes(&s->cfg)};
    dram_session_close(&fill);
    return DRAM_OK;
}

static void describe_cache(const dram_plan_cache *cache, dram_str *text)
{
    char arena[32], image[32];
    if (!cache->directory) return;
    dram_str_add(text, "cache    %s, %s of disk an image; filled before the first step, in an arena of %s\n",
                 cache->format, dram_format_bytes(cache->image_bytes, image, sizeof image),
                 dram_format_bytes(cache->arena_bytes + cache->host_bytes, arena, sizeof arena));
}

static void describe_device(const dram_session *s, dram_str *text)
{
    char why[320];
    int threads = s->plan->profile.workers;
    bool gpu = dram_machine_gpu(&s->cfg, why, sizeof why);
    if (gpu)
        dram_str_add(text, "device   cuda; %d CPU thread%s beside it\n", threads, threads == 1 ? "" : "s");
    else
        dram_str_add(text, "device   cpu, %d thread%s%s%s\n", threads, threads == 1 ? "" : "s", why[0] ? "; " : "",
                     why);
}

static int64_t teacher_flops(const dram_graph *g)
{
    int64_t flops = 0;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->values[g->nodes[i]->out[0]]->category == DRAM_CATEGORY_TEACHER_ACTIVATIONS)
            flops += dram_node_flops(g, g->nodes[i]);
    return flops;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

/* FLOPs spent again over those of the step without recompute, of the first step there is. */
static void count_flops(const dram_session *s, dram_plan_facts *facts)
{
    facts->update_flops = dram_session_flops(s);
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_io *io = &s->graphs.io[k];
        if (!io->graph) continue;
        int64_t again = s->recomputed_flops[k], once = s->plan->programs[io->index].flops - again;
        facts->teacher_flops = teacher_flops(io->graph);
        facts->recompute_ratio = ratio(again, once);
        facts->recompute_student_ratio = ratio(again, once - facts->teacher_flops);
        return;
    }
}

/* What the schedule of the first step that has one makes again. */
static void describe_recompute(const dram_session *s, dram_str *text)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_chain_schedule *schedule = &s->schedule[k];
        int length = 0, runs = 0, partly = 0;
        for (int i = 0; i < schedule->n; i++) {
            const dram_chain_op *op = &schedule->op[i];
            length += op->kind == DRAM_CHAIN_BACKWARD;
            runs += op->kind < DRAM_CHAIN_LOSS;
            partly += op->kind == DRAM_CHAIN_SAVE && op->option > 1;
        }
        if (!length) continue;
        dram_str_add(text, "%d of %d blocks in part", partly, length);
        if (runs > length) dram_str_add(text, ", %d forward runs more", runs - length);
        return;
    }
    if (s->cfg.memory.recompute_norms) dram_str_add(text, "norms and activations only");
}

dram_status dram_plan_facts_find(const dram_session *s, dram_plan_facts *facts)
{
    *facts = (dram_plan_facts){.budget_bytes = s->budget, .pulled = s->pulled.text};
    TRY(dram_levers_floor(&s->cfg, s->set, &facts->floor_bytes));
    TRY(dram_levers(s, facts->levers, &facts->n_levers));
    TRY(find_cache(s, &facts->cache));
    count_flops(s, facts);
    facts->updates = s->cfg.train.steps;
    facts->ranks = s->graphs.ranks;
    facts->effective_batch = s->graphs.ranks * s->cfg.train.batch_size;
    dram_session_traffic(s, &facts->traffic);
    facts->mapped = dram_headroom_mapped(&s->cfg, &s->plan->profile);
    TRY(dram_session_time(s, &facts->time));
    describe_student(s, &facts->heading);
    describe_ranks(facts, s, &facts->heading);
    describe_teacher(&s->cfg, &facts->heading);
    describe_losses(s, &facts->heading);
    describe_cache(&facts->cache, &facts->heading);
    describe_device(s, &facts->heading);
    describe_recompute(s, &facts->recompute);
    return DRAM_OK;
}

void dram_plan_facts_free(dram_plan_facts *facts)
{
    dram_str_free(&facts->heading);
    dram_str_free(&facts->recompute);
}
