#include "train/begin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "comm/machines.h"
#include "feed/datasets.h"
#include "feed/fill.h"
#include "feed/marked.h"
#include "io/checkpoint.h"
#include "io/path.h"
#include "report/plan_text.h"
#include "session/headroom.h"
#include "session/schedule.h"
#include "session/weights.h"
#include "train/configs.h"
#include "train/together.h"

bool dram_run_is_stopped(const dram_run *r)
{
    return r->hooks->stop && *r->hooks->stop;
}

dram_status dram_run_interrupted(void)
{
    return dram_fail(DRAM_INTERRUPTED, "interrupted before the first step; the same command begins it");
}

static bool is_first(const dram_run *r)
{
    return dram_comm_rank(r->comm) == 0;
}

/* After a piece of work before the first step that came to `status` on this rank: DRAM_INTERRUPTED if a stop was asked
 * for, of any. */
static dram_status go_on(const dram_run *r, dram_status status)
{
    bool asked, interrupted = status == DRAM_INTERRUPTED;
    TRY(dram_comm_wait(r->comm, interrupted ? DRAM_OK : status, r->hooks->stop, &asked));
    return interrupted ? status : asked ? dram_run_interrupted() : DRAM_OK;
}

/* The training stream from the state's position on. */
dram_status dram_run_open_loader(const dram_run *r, dram_loader **loader)
{
    const dram_config *cfg = &r->session.cfg;
    dram_loader_params params = dram_datasets_params(cfg, &r->session.graphs, r->train);
    params.train = true;
    params.batch_size = cfg->train.batch_size;
    params.offset = dram_comm_rank(r->comm) * params.batch_size;
    params.stride = dram_comm_size(r->comm) * params.batch_size;
    params.augment = (dram_augment){.scale_min = cfg->data.augment.scale_min,
                                    .scale_max = cfg->data.augment.scale_max,
                                    .crop = cfg->data.augment.crop,
                                    .flip = cfg->data.augment.flip,
                                    .jitter = cfg->data.augment.color_jitter,
                                    .hue = cfg->data.augment.hue,
                                    .gray = cfg->data.augment.gray,
                                    .blur = cfg->data.augment.blur,
                                    .cutout = cfg->data.augment.cutout};
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

static void tell_over(const dram_run *r, const char *directory)
{
    const struct dram_config_train *train = &r->session.cfg.train;
    static const char stays[] = "summary.json, config.yaml and the logs stay as they are; the student is exported and "
                                "evaluated again";
    if (r->resumed.step >= train->steps)
        dram_info("%s: this run is finished: %s", directory, stays);
    else
        dram_info("%s: train.stop_at is %d, and %" PRId64 " of %d steps are done: %s", directory, train->stop_at,
                  r->resumed.step, train->steps, stays);
}

/* What is in the directory of a run that was there is brought to the step from which it goes on. */
static dram_status cut_logs(dram_run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    const int64_t step = r->resumed.step;
    if (!step) {
        dram_info("%s: there is no checkpoint yet: the run begins with the first step", directory);
        return dram_record_put_aside(directory, 0);
    }
    TRY(dram_resume_put_aside(&r->resumed, directory));
    if (step >= dram_end_step(&r->session.cfg)) {
        TRY(dram_summary_done(directory, step, &r->over));
        if (r->over) tell_over(r, directory);
        if (r->over) return DRAM_OK;
    }
    return dram_record_cut(directory, 0, step);
}

/* The texts of the config as it is run: for the directory, and for the checkpoints. */
static dram_status keep_config(dram_run *r, const char *directory)
{
    TRY(dram_chosen_write(r->loaded, &r->chosen, &r->session, &r->yaml, &r->kept));
    r->state.config = &r->kept;
    r->state.depends = &r->depends;
    const struct dram_config_train *train = &r->session.cfg.train;
    const int ranks = dram_comm_size(r->comm);
    r->state.effective =
        (dram_effective){.ranks = ranks, .batch = ranks * train->batch_size, .accumulate = train->accumulate};
    if (r->over) return DRAM_OK;
    if (r->state.step == 0) TRY(dram_configs_keep_base(directory, r->loaded, &r->base));
    return dram_configs_keep(directory, r->state.step, &r->yaml);
}

/* Right after the config was read, so that it is what the files said then. It is for readers: a run can do without. */
static dram_status read_base(dram_run *r)
{
    dram_status status = is_first(r) ? dram_configs_write_base(r->loaded, &r->base) : DRAM_OK;
    if (status == DRAM_OK || status == DRAM_ERR_MEMORY) return status;
    dram_warn("the run will not keep what its config was made from: %s", dram_error_text());
    dram_error_clear();
    dram_str_free(&r->base);
    return DRAM_OK;
}

static dram_status load_state(dram_run *r)
{
    if (!r->resumed.step) return DRAM_OK;
    TRY(dram_checkpoint_load(&r->session, r->checkpoints, r->resumed.step, &r->state));
    r->saved_at = r->resumed.step;
    return DRAM_OK;
}

/* Makes the run directory (or finds it again) and what is written as the run goes. Only now is anything written. */
static dram_status open_directory(dram_run *r)
{
    TRY(dram_rundir_open(r->directory));
    const char *directory = dram_rundir_path(r->directory);
    if (!dram_rundir_is_new(r->directory)) {
        TRY(load_state(r));
        TRY(cut_logs(r));
    }
    return keep_config(r, directory);
}

/* The other ranks read what the first has found, and write a log of memory alone. */
static dram_status follow_directory(dram_run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    const int rank = dram_comm_rank(r->comm);
    TRY(load_state(r));
    return r->resumed.step ? dram_record_cut(directory, rank, r->resumed.step) : dram_record_put_aside(directory, rank);
}

/* All ranks get what the first has found. */
static dram_status share_over(dram_run *r)
{
    int64_t over = is_first(r) && r->over;
    TRY(dram_comm_sum_counts(r->comm, &over, 1));
    r->over = over > 0;
    return DRAM_OK;
}

static dram_status tell_text(const dram_run *r, const char *name, const char *text)
{
    const dram_fact_text told = {.name = name, .text = text};
    return dram_record_tell(r->record, &(dram_fact){DRAM_FACT_TEXT, r->state.step, {.text = &told}});
}

/* Of the first rank. The page of a plan makes others to compare with, so it is made where someone takes it. */
static dram_status tell_plan(const dram_run *r)
{
    dram_plan_facts facts;
    dram_str page = {0};
    if (!is_first(r) || !dram_record_takes(r->record, DRAM_FACT_TEXT)) return DRAM_OK;
    TRY(tell_text(r, "config", r->yaml.text));
    dram_status status = dram_plan_facts_find(&r->session, &facts);
    if (status == DRAM_OK) status = dram_plan_text(r->session.plan, &facts, &page);
    if (status == DRAM_OK) status = tell_text(r, "plan", page.text);
    dram_str_free(&page);
    dram_plan_facts_free(&facts);
    return status;
}

/* Nothing is written of a run that is over. */
static dram_status open_record(dram_run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    const int rank = dram_comm_rank(r->comm);
    TRY(dram_record_open(r->state.step, &r->record));
    if (!r->over) TRY(dram_record_add_files(r->record, &r->session.cfg, directory, rank));
    if (r->hooks->sink) TRY(dram_record_listen(r->record, r->hooks->sink, r->hooks->context));
    return tell_plan(r);
}

static dram_status enter_directory(dram_run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    snprintf(r->summary->directory, sizeof r->summary->directory, "%s", directory);
    TRY(dram_ranks_together(r->comm, dram_path_join(directory, "checkpoints", &r->checkpoints)));
    TRY(dram_ranks_together(r->comm, is_first(r) ? open_directory(r) : DRAM_OK));
    TRY(dram_ranks_together(r->comm, is_first(r) ? DRAM_OK : follow_directory(r)));
    TRY(share_over(r));
    return dram_ranks_together(r->comm, open_record(r));
}

/* The first rank finds and locks the directory, and says whether there is a run to go on with. */
static dram_status find_directory(dram_run *r, dram_resume *resume)
{
    const dram_config *cfg = r->loaded;
    char *path = NULL;
    dram_status status = DRAM_OK;
    if (is_first(r) && resume->if_there) {
        status = dram_path_join(cfg->run.dir, cfg->name, &path);
        resume->on = status == DRAM_OK && dram_path_exists(path);
    }
    if (status == DRAM_OK)
        status = is_first(r) ? dram_rundir_find(cfg->run.dir, cfg->name, resume->on, &r->directory)
                             : dram_rundir_follow(cfg->run.dir, cfg->name, &r->directory);
    dram_free(path);
    TRY(dram_ranks_together(r->comm, status));
    int64_t on = is_first(r) && resume->on;
    TRY(dram_comm_sum_counts(r->comm, &on, 1));
    resume->on = on > 0;
    return DRAM_OK;
}

/* As many ranks as were launched, whatever the number that went before. */
static dram_status count_ranks(dram_run *r)
{
    const int ranks = dram_comm_size(r->comm), asked = r->loaded->distributed.ranks;
    if (asked && asked != ranks)
        return dram_config_fail(r->loaded, "distributed.ranks",
                                "%d, and %d process%s launched; start it with `mpirun -n %d dram train ...`, or leave "
                                "the key out, which takes as many as there are",
                                asked, ranks, ranks == 1 ? " was" : "es were", asked);
    r->own = *r->loaded;
    r->own.distributed.ranks = ranks;
    return DRAM_OK;
}

/* The checkpoint that the run goes on from, and this rank's part of the effective batch that it has. */
static dram_status find_checkpoint(dram_run *r, dram_resume resume)
{
    char *folder = NULL, *checkpoint = NULL;
    dram_effective was;
    dram_status status;
    dram_config *before;
    const char *directory = dram_rundir_path(r->directory);
    TRY(dram_depends_files(r->loaded, r->hooks->stop, &r->depends));
    if (!resume.on) return DRAM_OK;
    TRY(dram_resume_find(directory, resume, r->loaded->memory.may_change != 0, r->hooks->stop, &r->resumed));
    TRY(dram_resume_refuse(&r->resumed, r->loaded, &r->depends));
    before = r->resumed.before;
    if (!before || !r->resumed.step) return DRAM_OK;
    TRY_GOTO(dram_path_join(directory, "checkpoints", &folder), done);
    TRY_GOTO(dram_checkpoint_path(folder, r->resumed.step, &checkpoint), done);
    TRY_GOTO(dram_effective_read(checkpoint, before, &was), done);
    TRY_GOTO(dram_effective_keep(&was, dram_comm_size(r->comm), &r->own), done);
    if (was.ranks != dram_comm_size(r->comm) && was.batch == r->own.train.batch_size * dram_comm_size(r->comm)) {
        before->train.batch_size = r->own.train.batch_size; /* another share of the same batch is no other training */
        before->train.accumulate = r->own.train.accumulate;
    }
done:
    dram_free(folder);
    dram_free(checkpoint);
    return status;
}

/* The config to plan from, once what was loaded has been checked as far as files and the machine go. */
static dram_status choose(dram_run *r, dram_resume *resume)
{
    dram_status status = dram_config_check_inputs(r->loaded, true);
    if (status == DRAM_OK) status = dram_headroom_check_budget(r->loaded);
    if (status == DRAM_OK) status = count_ranks(r);
    if (status == DRAM_OK) status = read_base(r);
    TRY(dram_ranks_together(r->comm, status));
    TRY(find_directory(r, resume));
    TRY(go_on(r, find_checkpoint(r, *resume))); /* files of weights may be read for minutes */
    return dram_choose(&r->own, r->resumed.before, r->comm, &r->chosen);
}

static void show_plan(void *context)
{
    const dram_run *r = context;
    r->summary->planned_peak_bytes = r->session.plan->arena_bytes;
    if (r->hooks->planned) r->hooks->planned(r->hooks->context, &r->session);
}

static dram_status open_data(dram_run *r)
{
    TRY(dram_datasets_open(&r->chosen.cfg, false, &r->train));
    TRY(dram_datasets_open(&r->chosen.cfg, true, &r->val));
    r->state.dataset = r->train;
    r->state.is_skipped = dram_calloc((size_t)dram_dataset_count(r->train), sizeof *r->state.is_skipped);
    r->said = dram_calloc((size_t)dram_dataset_count(r->train), sizeof *r->said);
    if (!r->state.is_skipped || !r->said) return dram_fail(DRAM_ERR_MEMORY, "no memory to keep which images are bad");
    return DRAM_OK;
}

static dram_status compare_before(dram_run *r)
{
    TRY(dram_depends_rest(r->train, r->val, &r->session.plan->profile, &r->depends));
    if (!r->resumed.step) return DRAM_OK;
    TRY(dram_resume_tell(&r->resumed, &r->session.cfg, &r->depends));
    return dram_checkpoint_fits(&r->session, dram_rundir_path(r->directory), r->resumed.step);
}

/* From the config that was loaded to a plan. */
dram_status dram_run_plan(dram_run *r, dram_resume *resume)
{
    TRY(choose(r, resume));
    TRY(dram_ranks_together(r->comm, open_data(r)));
    TRY(dram_headroom_plan(&r->chosen.cfg, DRAM_SET_TRAIN, r->comm, &r->session));
    show_plan(r);
    TRY(dram_ranks_together(r->comm, compare_before(r)));
    return dram_together_compare_plans(&r->session);
}

static void looked(void *context, int done, int all)
{
    dram_run *r = context;
    bool asked;
    if (r->hooks->looked) r->hooks->looked(r->hooks->context, done, all);
    if (dram_comm_busy(r->comm, r->hooks->stop, &asked) != DRAM_OK) dram_error_clear(); /* it comes again, in go_on */
}

/* What the data is, and whether it will do. */
static dram_status check_data(dram_run *r)
{
    const dram_config *cfg = &r->session.cfg;
    const dram_check_hooks hooks = {.context = r, .looked = looked, .stop = r->hooks->stop};
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

/* What the first rank does for all. */
static dram_status look_ahead(dram_run *r, dram_resume resume)
{
    TRY(dram_checkpoint_check_room(&r->session, dram_rundir_path(r->directory), r->resumed.step));
    TRY(check_data(r));
    return check_fidelity(r, resume);
}

/* What it warned of need not be said again. */
static dram_status join_said(dram_run *r)
{
    int more;
    TRY(dram_marked_join(r->comm, r->said, dram_dataset_count(r->train), &more));
    return r->val ? dram_marked_join(r->comm, r->feed.said, dram_dataset_count(r->val), &more) : DRAM_OK;
}

static dram_status open_loader_and_guard(dram_run *r)
{
    TRY(dram_run_open_loader(r, &r->loader));
    r->noted = dram_loader_skipped(r->loader);
    const dram_guard_params guard = {.read = dram_read_host,
                                     .context = r->session.device,
                                     .interval = 1.0,
                                     .cores = dram_host_cores(),
                                     .step = r->state.step,
                                     .record = r->record};
    return dram_guard_open(&guard, &r->guard);
}

/* From the plan to the first step. */
dram_status dram_run_start(dram_run *r, dram_resume resume)
{
    const dram_config *cfg = &r->session.cfg;
    /* Before the teacher runs for the check, or for hours to fill a cache. */
    TRY(dram_ranks_together(r->comm, dram_headroom_check(&r->session)));
    TRY(go_on(r, is_first(r) ? look_ahead(r, resume) : DRAM_OK));
    TRY(go_on(r, dram_targets_open(cfg, r->train, r->val, r->hooks->stop, &r->targets)));
    TRY(dram_fill_missing(cfg, &r->targets, r->train, r->val, r->comm, r->hooks->stop));
    TRY(go_on(r, DRAM_OK));
    TRY(dram_headroom_start(&r->chosen.cfg, &r->session, show_plan, r));
    if (is_first(r) && !r->resumed.step) dram_weights_tell(&r->session);
    TRY(go_on(r, open_feed(r)));
    TRY(join_said(r));
    TRY(enter_directory(r));
    TRY(dram_ranks_together(r->comm, open_loader_and_guard(r)));
    if (r->hooks->begins) r->hooks->begins(r->hooks->context);
    return DRAM_OK;
}

void dram_run_close(dram_run *r)
{
    dram_guard_close(r->guard, NULL);
    dram_loader_close(r->loader);
    dram_record_close(r->record, true);
    dram_feed_close(&r->feed);
    dram_targets_close(&r->targets);
    dram_session_close(&r->session);
    dram_dataset_close(r->train);
    dram_dataset_close(r->val);
    dram_free(r->state.is_skipped);
    dram_free(r->said);
    dram_free(r->checkpoints);
    dram_chosen_free(&r->chosen);
    dram_resume_close(&r->resumed);
    dram_str_free(&r->yaml);
    dram_str_free(&r->base);
    dram_str_free(&r->kept);
    dram_rundir_close(r->directory); /* last: nothing is written after it */
}
