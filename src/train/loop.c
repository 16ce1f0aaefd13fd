/* Implements train.h: a run is planned, started, looped over and summed up (dram_train, at the end). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "check/check.h"
#include "data/loader.h"
#include "evaluate/eval.h"
#include "evaluate/fidelity.h"
#include "feed/datasets.h"
#include "feed/feed.h"
#include "feed/fill.h"
#include "io/atomic.h"
#include "io/lines.h"
#include "io/path.h"
#include "io/rundir.h"
#include "report/metrics.h"
#include "report/summary.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "session/schedule.h"
#include "train/checkpoint.h"
#include "train/guard.h"
#include "train/step.h"
#include "train/train.h"

enum { CHECKPOINTS, METRICS, EVALUATIONS, MEMORY, FILES };

typedef struct {
    const dram_config *loaded; /* as the user has it */
    dram_chosen chosen;        /* what is planned from it; once there is a plan, session.cfg is the config */
    const dram_hooks *hooks;
    dram_summary *summary;
    dram_session session;
    dram_dataset *train, *val; /* val NULL: none */
    dram_loader *loader;
    dram_batch batch; /* that the next step reuses; count 0: it takes a new one */
    dram_feed feed;
    dram_targets targets;
    dram_lines metrics;
    dram_rundir *directory;
    char *path[FILES]; /* in it */
    dram_guard *guard;
    dram_run_state state;
    double loop_seconds, device_seconds, step_seconds; /* step: smoothed */
    int64_t images;
    int64_t evaluated_at; /* step of the last evaluation, -1 none */
    int64_t saved_at;     /* step of the newest checkpoint, 0 none */
    bool told_left_out;
    bool *said; /* [images of data.train] bad ones that were warned about */
    bool over;  /* all was done before: nothing in the directory changes but the export */
} run;

static bool is_stopped(const run *r)
{
    return r->hooks->stop && *r->hooks->stop;
}

/* Between two pieces of work before the first step. */
static dram_status go_on(const run *r)
{
    if (!is_stopped(r)) return DRAM_OK;
    return dram_fail(DRAM_INTERRUPTED, "interrupted before the first step; the same command begins it");
}

/* The training stream from the state's position on. */
static dram_status open_loader(const run *r, dram_loader **loader)
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

/* The state moves on to the loader's position, with the images that were skipped on the way: a resumed run counts none
 * of them twice. The loader's list begins with those that the state had. */
static void note_position(run *r)
{
    dram_run_state *state = &r->state;
    state->position = dram_loader_position(r->loader);
    for (; state->skipped < dram_loader_skipped(r->loader); state->skipped++)
        state->is_skipped[dram_loader_skipped_at(r->loader, state->skipped)] = true;
}

/* A run that came to no checkpoint before begins anew. Its logs stay, under names of their own. */
static dram_status put_aside(const char *path)
{
    struct stat info;
    dram_str aside = {0};
    dram_status status = DRAM_OK;
    if (stat(path, &info) != 0 || info.st_size == 0) return DRAM_OK;
    dram_str_add(&aside, "%s.before", path);
    if (aside.failed)
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", path);
    else if (rename(path, aside.text) != 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the name %s: %m", path, aside.text);
    else
        dram_info("%s is of the attempt before, and is kept as %s", path, aside.text);
    dram_str_free(&aside);
    return status;
}

/* What is in the directory of a run that was there, and where it goes on. */
static dram_status find_state(run *r)
{
    const char *directory = dram_rundir_path(r->directory);
    TRY(dram_checkpoint_load(&r->session, r->path[CHECKPOINTS], &r->state));
    r->saved_at = r->state.step;
    if (!r->saved_at) {
        dram_info("%s: there is no checkpoint yet: the run begins with the first step", directory);
        for (int i = METRICS; i <= MEMORY; i++) TRY(put_aside(r->path[i]));
        return DRAM_OK;
    }
    if (r->state.step >= r->session.cfg.train.steps) {
        TRY(dram_summary_done(directory, r->state.step, &r->over));
        if (r->over)
            dram_info("%s: this run is finished: summary.json, config.yaml and the logs stay as they are; the student "
                      "is exported and evaluated again",
                      directory);
        if (r->over) return DRAM_OK;
    }
    TRY(dram_lines_truncate(r->path[METRICS], r->state.step, false));
    TRY(dram_lines_truncate(r->path[EVALUATIONS], r->state.step, false));
    return dram_lines_truncate(r->path[MEMORY], r->state.step + 1, true); /* a line's step is done */
}

/* Makes the run directory (or finds it again) and what is written as the run goes. Only now is anything written. */
static dram_status open_directory(run *r)
{
    static const char *const files[FILES] = {[CHECKPOINTS] = "checkpoints",
                                             [METRICS] = "metrics.jsonl",
                                             [EVALUATIONS] = "evaluations.jsonl",
                                             [MEMORY] = "memory.jsonl"};
    dram_str yaml = {0};
    char *path = NULL;
    dram_status status;
    TRY(dram_rundir_open(r->directory));
    const char *directory = dram_rundir_path(r->directory);
    snprintf(r->summary->directory, sizeof r->summary->directory, "%s", directory);
    for (int i = 0; i < FILES; i++) TRY(dram_path_join(directory, files[i], &r->path[i]));
    if (!dram_rundir_is_new(r->directory)) TRY(find_state(r));
    if (r->over) return DRAM_OK;
    TRY_GOTO(dram_path_join(directory, "config.yaml", &path), done);
    TRY_GOTO(dram_chosen_write(r->loaded, &r->chosen, &r->session, &yaml), done);
    TRY_GOTO(dram_atomic_save(path, yaml.text, yaml.length), done);
    status = dram_lines_open(r->path[METRICS], &r->metrics);
done:
    dram_str_free(&yaml);
    dram_free(path);
    return status;
}

/* The config to plan from, once what was loaded has been checked as far as files and the machine go. */
static dram_status choose(run *r, bool resume)
{
    char *path = NULL;
    const dram_config *cfg = r->loaded;
    dram_status status;
    TRY(dram_config_check_inputs(cfg, true));
    TRY(dram_headroom_check_budget(cfg));
    TRY(dram_rundir_find(cfg->run.dir, cfg->name, resume, &r->directory));
    TRY(dram_path_join(dram_rundir_path(r->directory), "config.yaml", &path));
    status = dram_choose(cfg, resume ? path : NULL, &r->chosen);
    dram_free(path);
    return status;
}

static void show_plan(void *context)
{
    const run *r = context;
    r->summary->planned_peak_bytes = r->session.plan->arena_bytes;
    if (r->hooks->planned) r->hooks->planned(r->hooks->context, &r->session);
}

/* From the config that was loaded to a plan. */
static dram_status plan(run *r, bool resume)
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
    return DRAM_OK;
}

/* What the data is, and whether it will do. */
static dram_status check_data(const run *r)
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
static dram_status open_feed(run *r)
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
static dram_status check_fidelity(const run *r, bool resume)
{
    dram_fidelity result;
    bool asked;
    if (!r->hooks->fidelity) return DRAM_OK;
    TRY(dram_fidelity_before(&r->session, r->train, resume, r->hooks->stop, &result, &asked));
    if (asked) r->hooks->fidelity(r->hooks->context, &result);
    return DRAM_OK;
}

/* From the plan to the first step. */
static dram_status start(run *r, bool resume)
{
    const dram_config *cfg = &r->session.cfg;
    TRY(dram_headroom_check(&r->session)); /* before the teacher runs for the check, or for hours to fill a cache */
    TRY(dram_checkpoint_check_room(&r->session, dram_rundir_path(r->directory)));
    TRY(check_data(r));
    TRY(check_fidelity(r, resume));
    TRY(go_on(r));
    TRY(dram_targets_open(cfg, r->train, r->val, r->hooks->stop, &r->targets));
    TRY(dram_fill_missing(cfg, &r->targets, r->train, r->val, r->hooks->stop));
    TRY(go_on(r));
    TRY(dram_headroom_start(&r->chosen.cfg, &r->session, show_plan, r));
    TRY(go_on(r));
    TRY(open_feed(r));
    TRY(open_directory(r));
    TRY(open_loader(r, &r->loader));
    const dram_guard_params guard = {.read = dram_read_host,
                                     .context = r->session.device,
                                     .interval = 1.0,
                                     .cores = dram_host_cores(),
                                     .step = r->state.step,
                                     .path = r->over ? NULL : r->path[MEMORY]};
    return dram_guard_open(&guard, &r->guard);
}

/* Names the first tensor of the step that was not finite, after "; ", from the batch that it had; "" if that cannot be
 * found out. */
static void name_the_cause(run *r, const dram_step_order *order, char *text, int size)
{
    char tensor[400];
    dram_loader *loader = NULL;
    dram_batch batch;
    dram_status status;
    text[0] = '\0';
    TRY_GOTO(open_loader(r, &loader), done);
    TRY_GOTO(dram_loader_next(loader, &batch), done);
    TRY_GOTO(dram_step_trace(&r->session, &r->feed, order, batch.samples, batch.count, tensor, sizeof tensor), done);
    if (tensor[0]) snprintf(text, (size_t)size, "; the first tensor that is not finite is %s", tensor);
done:
    if (status != DRAM_OK) dram_error_clear();
    dram_loader_close(loader);
}

/* An error for a step that cannot be used, and the next loss scale. A skipped step of fp16 is no error. */
static dram_status judge(run *r, const dram_step_order *order, const dram_step_result *result)
{
    char cause[500];
    bool scaled = r->session.graphs.scaled, finite = isfinite(result->grad_norm);
    dram_scaling *scaling = &r->state.scaling;
    long long step = (long long)r->state.step;
    if (isfinite(result->loss) && finite) {
        if (scaled) dram_scaling_next(scaling, true);
        return DRAM_OK;
    }
    if (scaled && !finite) {
        bool first = scaling->skipped == 0, lower = dram_scaling_next(scaling, false);
        cause[0] = '\0';
        if (first || !lower) name_the_cause(r, order, cause, sizeof cause);
        if (lower) {
            dram_info(
                "step %lld: the gradient is not finite; the step is skipped, and the loss scale goes down to %g%s",
                step, scaling->scale, cause);
            return DRAM_OK;
        }
        return dram_fail(DRAM_ERR_NUMERIC,
                         "step %lld: the gradient is not finite at a loss scale of 1%s; lower optim.lr, or set "
                         "train.precision to bf16; the last checkpoint is good",
                         step, cause);
    }
    name_the_cause(r, order, cause, sizeof cause);
    return dram_fail(DRAM_ERR_NUMERIC,
                     "step %lld: the %s is not finite; this update was not %s. Lower optim.lr or lengthen "
                     "optim.warmup_steps; the last checkpoint is good%s",
                     step, isfinite(result->loss) ? "gradient" : "loss",
                     r->session.graphs.fused ? "finished and is not saved" : "made", cause);
}

static dram_step_order order_of(const run *r)
{
    const dram_config *cfg = &r->session.cfg;
    bool teacher =
        r->session.graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph && dram_teacher_step(cfg, r->state.step) == r->state.step;
    const dram_steps *interval = &cfg->sam_distill.distill_interval;
    dram_step_order order = {.kind = teacher ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP,
                             .loss_scale = r->state.scaling.scale,
                             .sam_weight = interval->value[dram_steps_at(interval, r->state.step)]};
    dram_hyper(cfg, r->state.step, r->state.scaling.skipped, order.hyper);
    return order;
}

static dram_metrics metrics_of(const run *r, const dram_step_order *order, const dram_step_result *result)
{
    const dram_session *s = &r->session;
    bool compared = isfinite(result->loss_task) || isfinite(result->loss_sam) || isfinite(result->loss_resolution);
    return (dram_metrics){.step = r->state.step,
                          .loss = compared ? result->loss : NAN,
                          .loss_task = result->loss_task,
                          .loss_sam = result->loss_sam,
                          .loss_resolution = result->loss_resolution,
                          .lr = order->hyper[0],
                          .grad_norm = result->grad_norm,
                          .loss_scale = s->graphs.scaled ? order->loss_scale : NAN,
                          .label_pixels = result->label_pixels,
                          .sam_images_left_out = result->sam_out,
                          .resolution_images_left_out = result->resolution_out,
                          .teacher_ran = s->graphs.io[order->kind].teacher_image != DRAM_NONE,
                          .planned_peak_bytes = s->plan->arena_bytes,
                          .measured_peak_bytes = s->device->bytes_peak};
}

/* Said once in a run; metrics.jsonl has it of every step. */
static void tell_left_out(run *r, const dram_metrics *m, int images)
{
    double sam = m->sam_images_left_out, resolution = m->resolution_images_left_out;
    double out = resolution > 0 && !(sam >= resolution) ? resolution : sam;
    if (r->told_left_out || !(out > 0)) return;
    r->told_left_out = true;
    dram_warn("step %lld: %g of %d images are so thin at data.size %d that they have no cell to compare; such images "
              "teach nothing of the %s (metrics.jsonl counts them)",
              (long long)m->step, out, images, r->session.cfg.data.size,
              out == sam ? "teacher's embedding" : "resolution loss");
}

/* Whether a step trains the images of the step before, whose target is kept. */
static bool is_reused(const run *r, int64_t step)
{
    const dram_config *cfg = &r->session.cfg;
    return r->session.graphs.reuse && step < cfg->train.steps && dram_teacher_step(cfg, step) != step;
}

static dram_status save(run *r)
{
    TRY(dram_checkpoint_save(&r->session, r->path[CHECKPOINTS], &r->state));
    r->saved_at = r->state.step;
    return DRAM_OK;
}

/* The end of a run whose data failed it, between two steps: what was done is saved. The held text says so. */
static dram_status give_up(run *r, dram_status status)
{
    char text[1024];
    long long step = (long long)r->state.step, before = (long long)r->saved_at;
    if (status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG) status = DRAM_ERR_RUN; /* one exit code, for all data */
    if (step == 0) return status;
    snprintf(text, sizeof text, "%s", dram_error_text());
    dram_error_clear();
    if (step > before && save(r) != DRAM_OK) {
        char why[600];
        snprintf(why, sizeof why, "; %lld steps are saved, and those since cannot be: %.500s", before,
                 dram_error_text());
        dram_error_clear();
        return dram_fail(status, "%.800s%s", text, why);
    }
    return dram_fail(status, "%.900s; %lld steps are saved, go on with --resume once that is mended", text, step);
}

static dram_status next_batch(run *r)
{
    dram_status status = dram_loader_next(r->loader, &r->batch);
    if (status == DRAM_OK) return DRAM_OK;
    r->batch.count = 0;
    return give_up(r, status);
}

/* One update, from the loader's next batch to a line of metrics. */
static dram_status step(run *r, dram_metrics *m)
{
    dram_session *s = &r->session;
    dram_step_result result;
    double begin = dram_clock();
    const dram_step_order order = order_of(r);
    bool again = is_reused(r, r->state.step + 1);
    if (!r->batch.count) TRY(next_batch(r));
    const dram_batch batch = r->batch;
    dram_status status =
        dram_step_run(s, &r->feed, &order, batch.samples, batch.count, again ? NULL : r->loader, &result);
    if (status != DRAM_OK) return result.ran ? status : give_up(r, status);
    if (!again) r->batch.count = 0;
    r->device_seconds += result.device_seconds;
    *m = metrics_of(r, &order, &result);
    tell_left_out(r, m, batch.count);
    TRY(judge(r, &order, &result));
    double seconds = dram_clock() - begin;
    r->loop_seconds += seconds;
    r->step_seconds = r->step_seconds > 0 ? 0.9 * r->step_seconds + 0.1 * seconds : seconds;
    r->images += batch.count;
    r->state.step++;
    if (!again) note_position(r);
    dram_guard_step(r->guard, r->state.step);
    s->batches_tracked += s->graphs.accumulate;
    m->images_per_second = batch.count / seconds;
    return dram_metrics_append(&r->metrics, m);
}

static void report_progress(const run *r, const dram_metrics *m)
{
    if (!r->hooks->progress) return;
    int64_t steps = r->session.cfg.train.steps;
    const dram_progress progress = {.done = r->state.step,
                                    .steps = steps,
                                    .seconds_left = r->step_seconds * (double)(steps - r->state.step),
                                    .skipped_steps = r->state.scaling.skipped,
                                    .metrics = *m};
    r->hooks->progress(r->hooks->context, &progress);
}

/* The end of a run that was asked to stop, between two steps or in an evaluation, which is made again on --resume. */
static dram_status stop(run *r)
{
    dram_error_clear();
    if (r->state.step > r->saved_at) TRY(save(r));
    if (!r->saved_at) return go_on(r);
    return dram_fail(DRAM_INTERRUPTED, "interrupted: %lld steps are saved, go on with --resume",
                     (long long)r->state.step);
}

static dram_status evaluate(run *r)
{
    if (!r->val || !r->session.graphs.io[DRAM_PROGRAM_EVALUATION].graph) return DRAM_OK;
    if (r->evaluated_at == r->state.step) return DRAM_OK;
    dram_eval_result result;
    dram_status status = dram_evaluate(&r->session, &r->feed, r->val, NULL, r->hooks->stop, &result);
    if (status == DRAM_INTERRUPTED) return stop(r);
    if (status != DRAM_OK) return give_up(r, status);
    r->evaluated_at = r->state.step;
    r->summary->evaluated = true;
    r->summary->eval = result;
    if (!r->over) TRY(dram_eval_append(r->path[EVALUATIONS], r->state.step, &result));
    if (r->hooks->evaluated) r->hooks->evaluated(r->hooks->context, r->state.step, &result);
    return DRAM_OK;
}

static bool is_due(int64_t step, int every)
{
    return every > 0 && step > 0 && step % every == 0;
}

static dram_status loop(run *r)
{
    dram_metrics m = {0};
    const struct dram_config_run *due = &r->session.cfg.run;
    int64_t steps = r->session.cfg.train.steps;
    /* A run that was stopped at a step with an evaluation has not made it. */
    if (r->state.step < steps && is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    while (r->state.step < steps) {
        if (is_stopped(r)) return stop(r);
        TRY(step(r, &m));
        r->summary->final_loss = m.loss;
        report_progress(r, &m);
        bool last = r->state.step == steps;
        if (is_stopped(r) && !last) return stop(r);
        if (last || is_due(r->state.step, due->save_every)) TRY(save(r));
        if (is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    }
    TRY(dram_student_export(&r->session, dram_rundir_path(r->directory)));
    return evaluate(r);
}

static dram_gpu_process process_of(const dram_session *session, const dram_guard_peaks *peaks)
{
    const dram_profile *profile = &session->plan->profile;
    if (!profile->gpu) return (dram_gpu_process){0};
    return (dram_gpu_process){.gpu = true,
                              .planned_bytes = dram_plan_process(session->plan),
                              .overhead_measured = profile->measured,
                              .counted = session->device->counted,
                              .measured_bytes = peaks->card_process};
}

static void summarise(run *r, double wall, double cpu)
{
    dram_summary *s = r->summary;
    dram_guard_peaks peaks;
    dram_guard_close(r->guard, &peaks);
    r->guard = NULL;
    s->steps = r->state.step;
    s->skipped_images = dram_loader_skipped(r->loader);
    s->skipped_steps = r->state.scaling.skipped;
    s->loss_scale = r->session.graphs.scaled ? r->state.scaling.scale : NAN;
    s->measured_peak_bytes = r->session.device ? r->session.device->bytes_peak : 0;
    s->process_peak_rss_bytes = dram_process_peak_rss(); /* exact; 0 where the kernel does not keep it */
    if (peaks.process_bytes > s->process_peak_rss_bytes) s->process_peak_rss_bytes = peaks.process_bytes;
    s->process = process_of(&r->session, &peaks);
    s->images_per_second = r->loop_seconds > 0 ? (double)r->images / r->loop_seconds : NAN;
    s->device_utilization = wall > 0 ? r->device_seconds / wall : NAN;
    s->cpu_utilization = wall > 0 ? cpu / (wall * dram_host_cores()) : NAN;
}

static void close_run(run *r)
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
    for (int i = 0; i < FILES; i++) dram_free(r->path[i]);
    dram_chosen_free(&r->chosen);
    dram_rundir_close(r->directory); /* last: nothing is written after it */
}

dram_status dram_train(const dram_config *cfg, bool resume, const dram_hooks *hooks, dram_summary *summary)
{
    *summary = (dram_summary){.final_loss = NAN, .loss_scale = NAN};
    run r = {.loaded = cfg, .hooks = hooks, .summary = summary, .evaluated_at = -1};
    r.state.scaling = dram_scaling_begin();
    dram_status status = plan(&r, resume);
    if (status == DRAM_OK) status = start(&r, resume);
    if (status == DRAM_OK) {
        double wall = dram_clock(), cpu = dram_process_cpu_seconds();
        status = loop(&r);
        summarise(&r, dram_clock() - wall, dram_process_cpu_seconds() - cpu);
        bool again = r.images == 0 && r.state.step > 0;
        const char *directory = dram_rundir_path(r.directory);
        dram_status written = r.over ? DRAM_OK : dram_summary_write(summary, status, again, directory);
        if (status == DRAM_OK) status = written;
    }
    close_run(&r);
    return status;
}
