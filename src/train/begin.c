#include "train/begin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "feed/datasets.h"
#include "feed/fill.h"
#include "io/path.h"
#include "session/headroom.h"
#include "train/configs.h"

bool dram_run_is_stopped(const dram_run *r)
{
    return r->hooks->stop && *r->hooks->stop;
}

dram_status dram_run_go_on(const dram_run *r)
{
    if (!dram_run_is_stopped(r)) return DRAM_OK;
    return dram_fail(DRAM_INTERRUPTED, "interrupted before the first step; the same command begins it");
}

/* The training stream from the state's position on. */
dram_status dram_run_open_loader(const dram_run *r, dram_loader **loader)
{
    const dram_config *cfg = &r->session.cfg;
    dram_loader_params params = dram_datasets_params(cfg, &r->session.graphs, r->train);
    params.train = true;
    params.batch_size = cfg->train.batch_size;
    params.augment = (dram_augment){.scale_min = cfg->data.augment.scale_min,
                                    .scale_max = cfg->data.augment.scale_max,
                                    .crop = cfg->data.augment.crop,
                                    .flip = cfg->data.augment.flip,
                                    .jitter = cfg->data.augment.color_jitter};
    /* The task alone has no use for images without labels. */
    bool task_alone = !cfg->sam_distill.enabled && !cfg->resolution_distill.enabled;
    params.labelled_share = task_alone ? 1.0 : cfg->data.train.labelled_share;
    params.start = r->state.position;
    params.said = r->said;
    TRY(dram_loader_open(&params, loader));
    for (int i = 0; i < dram_dataset_count(r->train); i++)
        if (r->state.is_skipped[i]) dram_loader_count_skipped(*loader, i);
    return DRAM_OK;
}

/* A run that came to no checkpoint before begins anew. Its logs stay, under names of their own. */
static dram_status put_aside(const char *path)
{
    struct stat info;
    char *aside;
    bool there;
    const char *why = dram_file_look(-1, path, &info, &there);
    if (why) return dram_fail(DRAM_ERR_IO, "%s: cannot look at it: %s", path, why);
    if (!there || info.st_size == 0) return DRAM_OK;
    TRY(dram_path_put_aside(path, &aside));
    dram_info("%s is of the attempt before, and is kept as %s", path, aside);
    dram_free(aside);
    return DRAM_OK;
}

/* Every step has its line. Some may be lost: a checkpoint is synced to the disk, and a log is not. */
static dram_status mend_metrics(const dram_run *r, int64_t step)
{
    const char *path = r->path[DRAM_RUN_METRICS];
    int64_t kept;
    TRY(dram_lines_truncate(path, step, false, &kept));
    if (kept < step)
        dram_warn("%s: it has no line of %" PRId64 " of the %" PRId64 " steps before; the run goes on without them",
                  path, step - kept, step);
    return DRAM_OK;
}

/* What is in the directory of a run that was there, and where it goes on. */
static dram_status find_state(dram_run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    const int64_t step = r->resumed.step;
    if (!step) {
        dram_info("%s: there is no checkpoint yet: the run begins with the first step", directory);
        for (int i = DRAM_RUN_METRICS; i <= DRAM_RUN_MEMORY; i++) TRY(put_aside(r->path[i]));
        return DRAM_OK;
    }
    TRY(dram_checkpoint_load(&r->session, r->path[DRAM_RUN_CHECKPOINTS], step, &r->state));
    r->saved_at = step;
    TRY(dram_resume_put_aside(&r->resumed, directory));
    if (step >= r->session.cfg.train.steps) {
        TRY(dram_summary_done(directory, step, &r->over));
        if (r->over)
            dram_info("%s: this run is finished: summary.json, config.yaml and the logs stay as they are; the student "
                      "is exported and evaluated again",
                      directory);
        if (r->over) return DRAM_OK;
    }
    TRY(mend_metrics(r, step));
    TRY(dram_lines_truncate(r->path[DRAM_RUN_EVALUATIONS], step, false, NULL));
    return dram_lines_truncate(r->path[DRAM_RUN_MEMORY], step + 1, true, NULL); /* a line's step is done */
}

/* The texts of the config as it is run: for the directory, and for the checkpoints. */
static dram_status keep_config(dram_run *r, const char *directory)
{
    dram_str yaml = {0};
    dram_status status;
    TRY_GOTO(dram_chosen_write(r->loaded, &r->chosen, &r->session, &yaml, &r->kept), done);
    r->state.config = &r->kept;
    r->state.depends = &r->depends;
    if (!r->over) status = dram_configs_keep(directory, r->state.step, &yaml);
done:
    dram_str_free(&yaml);
    return status;
}

/* Makes the run directory (or finds it again) and what is written as the run goes. Only now is anything written. */
static dram_status open_directory(dram_run *r)
{
    static const char *const files[DRAM_RUN_FILES] = {[DRAM_RUN_CHECKPOINTS] = "checkpoints",
                                                      [DRAM_RUN_METRICS] = "metrics.jsonl",
                                                      [DRAM_RUN_EVALUATIONS] = "evaluations.jsonl",
                                                      [DRAM_RUN_MEMORY] = "memory.jsonl"};
    TRY(dram_rundir_open(r->directory));
    const char *directory = dram_rundir_path(r->directory);
    snprintf(r->summary->directory, sizeof r->summary->directory, "%s", directory);
    for (int i = 0; i < DRAM_RUN_FILES; i++) TRY(dram_path_join(directory, files[i], &r->path[i]));
    if (!dram_rundir_is_new(r->directory)) TRY(find_state(r));
    TRY(keep_config(r, directory));
    return r->over ? DRAM_OK : dram_lines_open(r->path[DRAM_RUN_METRICS], &r->metrics);
}

/* The config to plan from, once what was loaded has been checked as far as files and the machine go. */
static dram_status choose(dram_run *r, dram_resume resume)
{
    const dram_config *cfg = r->loaded;
    TRY(dram_config_check_inputs(cfg, true));
    TRY(dram_headroom_check_budget(cfg));
    TRY(dram_rundir_find(cfg->run.dir, cfg->name, resume.on, &r->directory));
    TRY(dram_depends_files(cfg, &r->depends));
    if (resume.on) {
        TRY(dram_resume_find(dram_rundir_path(r->directory), resume, cfg->memory.may_change != 0, &r->resumed));
        TRY(dram_resume_refuse(&r->resumed, cfg, &r->depends));
    }
    return dram_choose(cfg, r->resumed.before, &r->chosen);
}

static void show_plan(void *context)
{
    const dram_run *r = context;
    r->summary->planned_peak_bytes = r->session.plan->arena_bytes;
    if (r->hooks->planned) r->hooks->planned(r->hooks->context, &r->session);
}

/* From the config that was loaded to a plan. */
dram_status dram_run_plan(dram_run *r, dram_resume resume)
{
    TRY(choose(r, resume));
    TRY(dram_datasets_open(&r->chosen.cfg, false, &r->train));
    TRY(dram_datasets_open(&r->chosen.cfg, true, &r->val));
    r->state.dataset = r->train;
    r->state.is_skipped = dram_calloc((size_t)dram_dataset_count(r->train), sizeof *r->state.is_skipped);
    r->said = dram_calloc((size_t)dram_dataset_count(r->train), sizeof *r->said);
    if (!r->state.is_skipped || !r->said) return dram_fail(DRAM_ERR_MEMORY, "no memory to keep which images are bad");
    TRY(dram_headroom_plan(&r->chosen.cfg, DRAM_SET_TRAIN, &r->session));
    show_plan(r);
    TRY(dram_depends_rest(r->train, r->val, &r->session.plan->profile, &r->depends));
    if (!r->resumed.step) return DRAM_OK;
    TRY(dram_resume_tell(&r->resumed, &r->session.cfg, &r->depends));
    return dram_checkpoint_fits(&r->session, dram_rundir_path(r->directory), r->resumed.step);
}

/* What the data is, and whether it will do. */
static dram_status check_data(const dram_run *r)
{
    const dram_config *cfg = &r->session.cfg;
    const dram_check_hooks hooks = {.context = r->hooks->context, .looked = r->hooks->looked, .stop = r->hooks->stop};
    dram_check *check = &r->summary->data;
    TRY(dram_check_look(cfg, r->train, r->val, &hooks, check));
    if (r->hooks->data) r->hooks->data(r->hooks->context, cfg, check);
    dram_check_warn(cfg, check);
    dram_check_mark_said(&check->train, r->said);
    return dram_check_judge(cfg, check, true);
}

/* What feeds the programs. */
static dram_status open_feed(dram_run *r)
{
    TRY(dram_feed_open(&r->session.graphs, &r->feed));
    r->feed.targets = &r->targets;
    r->state.target = r->feed.kept;
    r->state.target_count = dram_feed_kept(&r->session.graphs);
    if (!r->val) return DRAM_OK;
    r->feed.said = dram_calloc((size_t)dram_dataset_count(r->val), sizeof *r->feed.said);
    if (!r->feed.said) return dram_fail(DRAM_ERR_MEMORY, "no memory to keep which images are bad");
    dram_check_mark_said(&r->summary->data.val, r->feed.said);
    return DRAM_OK;
}

/* In an arena of its own, which is given back before the run's is taken. */
static dram_status check_fidelity(const dram_run *r, dram_resume resume)
{
    dram_fidelity result;
    bool asked;
    if (!r->hooks->fidelity) return DRAM_OK;
    TRY(dram_fidelity_before(&r->session, r->train, resume.on, r->hooks->stop, &result, &asked));
    if (asked) r->hooks->fidelity(r->hooks->context, &result);
    return DRAM_OK;
}

/* From the plan to the first step. */
dram_status dram_run_start(dram_run *r, dram_resume resume)
{
    const dram_config *cfg = &r->session.cfg;
    TRY(dram_headroom_check(&r->session)); /* before the teacher runs for the check, or for hours to fill a cache */
    TRY(dram_checkpoint_check_room(&r->session, dram_rundir_path(r->directory), r->resumed.step));
    TRY(check_data(r));
    TRY(check_fidelity(r, resume));
    TRY(dram_run_go_on(r));
    TRY(dram_targets_open(cfg, r->train, r->val, r->hooks->stop, &r->targets));
    TRY(dram_fill_missing(cfg, &r->targets, r->train, r->val, r->hooks->stop));
    TRY(dram_run_go_on(r));
    TRY(dram_headroom_start(&r->chosen.cfg, &r->session, show_plan, r));
    TRY(dram_run_go_on(r));
    TRY(open_feed(r));
    TRY(open_directory(r));
    TRY(dram_run_open_loader(r, &r->loader));
    const dram_guard_params guard = {.read = dram_read_host,
                                     .context = r->session.device,
                                     .interval = 1.0,
                                     .cores = dram_host_cores(),
                                     .step = r->state.step,
                                     .path = r->over ? NULL : r->path[DRAM_RUN_MEMORY]};
    return dram_guard_open(&guard, &r->guard);
}

void dram_run_close(dram_run *r)
{
    dram_guard_close(r->guard, NULL);
    dram_loader_close(r->loader);
    dram_lines_close(&r->metrics);
    dram_feed_close(&r->feed);
    dram_targets_close(&r->targets);
    dram_session_close(&r->session);
    dram_dataset_close(r->train);
    dram_dataset_close(r->val);
    dram_free(r->state.is_skipped);
    dram_free(r->said);
    for (int i = 0; i < DRAM_RUN_FILES; i++) dram_free(r->path[i]);
    dram_chosen_free(&r->chosen);
    dram_resume_close(&r->resumed);
    dram_str_free(&r->kept);
    dram_rundir_close(r->directory); /* last: nothing is written after it */
}
