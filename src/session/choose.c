#include "session/choose.h"

#include "comm/machines.h"
#include "session/levers.h"
#include "session/weights.h"

int64_t dram_sample_bytes(const dram_config *cfg)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    int64_t s = cfg->data.size, t = dram_teacher_canvas(cfg);
    int64_t student = 3 * s * s + (cfg->task.enabled ? s * s : 0), teacher = sam->enabled ? 3 * t * t : 0;
    if (!sam->enabled || !sam->cache) return student + teacher;
    return student > teacher ? student : teacher; /* the cache is filled before the steps begin */
}

/* Computing takes all cores, and decoding a batch takes a small part of a step: a quarter of the cores, but two where
 * there are two, so that one decodes while the other waits for a file, and not more than a quarter of the free memory
 * if each decodes the largest image it may. Ahead of the step: two batches, in a sixteenth of the free memory. */
void dram_choose_loader(dram_config *cfg, int cores, int64_t free_bytes)
{
    enum { MOST_WORKERS = 8, LEAST_PREFETCH = 8 };
    if (!cfg->data.workers) {
        int workers = cores < 2 ? 1 : cores < 8 ? 2 : cores / 4;
        if (workers > MOST_WORKERS) workers = MOST_WORKERS;
        while (workers > 1 && workers * cfg->data.max_decode_bytes > free_bytes / 4) workers--;
        cfg->data.workers = workers;
    }
    if (!cfg->data.prefetch) {
        int64_t batch = cfg->train.batch_size, ahead = 2 * batch > LEAST_PREFETCH ? 2 * batch : LEAST_PREFETCH;
        int64_t most = free_bytes / 16 / dram_sample_bytes(cfg);
        if (ahead > most) ahead = most;
        cfg->data.prefetch = (int)(ahead > batch ? ahead : batch);
    }
}

static dram_status keep_levers(dram_chosen *s)
{
    unsigned both = s->cfg.memory.may_change & s->before->memory.may_change;
    dram_levers_keep(&s->cfg, s->before, both, &s->kept);
    s->cfg.memory.may_change &= ~both;
    if (s->kept.failed) return dram_fail(DRAM_ERR_MEMORY, "no memory for the names of levers");
    if (s->cfg.train.batch_size % s->cfg.train.accumulate)
        return dram_config_fail(&s->cfg, "train.batch_size",
                                "this run began with train.accumulate %d, which does not divide %d; set it to what it "
                                "was, or leave accumulate out of memory.may_change",
                                s->cfg.train.accumulate, s->cfg.train.batch_size);
    return DRAM_OK;
}

dram_status dram_choose(const dram_config *cfg, const dram_config *before, dram_comm *comm, dram_chosen *s)
{
    int cores;
    *s = (dram_chosen){.cfg = *cfg, .before = before};
    TRY(dram_ranks_cores(comm, &cores));
    if (!cfg->threads && dram_comm_size(comm) > 1) s->cfg.threads = cores;
    dram_choose_loader(&s->cfg, cores, dram_host_left_bytes() / dram_ranks_here(comm));
    TRY(dram_weights_native(cfg, &s->cfg.sam_distill.teacher.native_size));
    return before && cfg->memory.may_change ? keep_levers(s) : DRAM_OK;
}

void dram_chosen_free(dram_chosen *s)
{
    dram_str_free(&s->kept);
    *s = (dram_chosen){0};
}

dram_status dram_chosen_write(const dram_config *loaded, const dram_chosen *chosen, const dram_session *session,
                              dram_str *yaml, dram_str *kept)
{
    dram_config cfg = session->cfg;
    cfg.memory.budget = loaded->memory.budget;
    cfg.memory.may_change = loaded->memory.may_change;
    cfg.threads = loaded->threads;
    cfg.distributed.ranks = loaded->distributed.ranks;
    if (session->pulled.length)
        dram_str_add(yaml, "# pulled by the planner to fit the budget: %s\n", session->pulled.text);
    if (chosen->kept.length) dram_str_add(yaml, "# as this run began, pulled then: %s\n", chosen->kept.text);
    TRY(dram_config_write_yaml(&cfg, yaml));
    return dram_config_write_kept(&cfg, kept);
}
