/* Implements train.h: a run that was begun (begin.h) is looped over and summed up (dram_train, at the end). */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "comm/facts.h"
#include "comm/machines.h"
#include "evaluate/eval.h"
#include "feed/marked.h"
#include "io/checkpoint.h"
#include "report/summary.h"
#include "session/schedule.h"
#include "train/begin.h"
#include "train/sound.h"
#include "train/step.h"
#include "train/together.h"
#include "train/train.h"

static bool is_alone(const dram_run *r)
{
    return dram_comm_size(r->comm) == 1;
}

static bool is_first(const dram_run *r)
{
    return dram_comm_rank(r->comm) == 0;
}

/* The state moves on to the loader's position, with the images that were skipped on the way: a resumed run counts none
 * of them twice. The loader's list begins with those that the state had. */
static void note_position(dram_run *r)
{
    dram_run_state *state = &r->state;
    state->position = dram_loader_position(r->loader);
    for (; r->noted < dram_loader_skipped(r->loader); r->noted++) {
        int image = dram_loader_skipped_at(r->loader, r->noted);
        state->skipped += !state->is_skipped[image];
        state->is_skipped[image] = true;
    }
}

/* The first tensor of the step that was not finite, from the batch that it had; "" if that cannot be found out. */
static void find_the_cause(dram_run *r, const dram_step_order *order, char *tensor, int size)
{
    dram_loader *loader = NULL;
    dram_batch batch;
    dram_status status;
    tensor[0] = '\0';
    status = dram_run_open_loader(r, &loader);
    if (status == DRAM_OK) status = dram_loader_next(loader, &batch);
    TRY_GOTO(dram_ranks_together(r->comm, status), done); /* all look, or none */
    status = dram_step_trace(&r->session, &r->feed, order, batch.samples, batch.count, tensor, size);
done:
    if (status != DRAM_OK) dram_error_clear();
    dram_loader_close(loader);
}

/* Names it after "; ", that of the first rank that has one. */
static void name_the_cause(dram_run *r, const dram_step_order *order, char *text, int size)
{
    enum { ROOM = 400 };
    char tensor[ROOM];
    int ranks = dram_comm_size(r->comm), first = 0;
    text[0] = '\0';
    find_the_cause(r, order, tensor, ROOM);
    char *all = dram_calloc((size_t)ranks, ROOM);
    if (!all || dram_comm_gather(r->comm, tensor, ROOM, all) != DRAM_OK) {
        dram_error_clear();
        dram_free(all);
        return;
    }
    while (first < ranks - 1 && !all[first * ROOM]) first++;
    const char *name = all + first * ROOM;
    if (*name && is_alone(r)) snprintf(text, (size_t)size, "; the first tensor that is not finite is %s", name);
    if (*name && !is_alone(r))
        snprintf(text, (size_t)size, "; the first tensor that is not finite, on rank %d, is %s", first, name);
    dram_free(all);
}

/* What can be gone on from, looked at now: numbers that are not finite may have been saved. */
static const char *newest_sound(const dram_run *r, char *text, size_t size)
{
    return dram_sound_newest(r->checkpoints, true, text, size);
}

/* An error for a step that cannot be used, and the next loss scale. A skipped step of fp16 is no error. */
static dram_status judge(dram_run *r, const dram_step_order *order, const dram_step_result *result)
{
    char cause[500], sound[200];
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
                         "train.precision to bf16%s",
                         step, cause, newest_sound(r, sound, sizeof sound));
    }
    name_the_cause(r, order, cause, sizeof cause);
    return dram_fail(DRAM_ERR_NUMERIC,
                     "step %lld: the %s is not finite; this update was not %s. Lower optim.lr or lengthen "
                     "optim.warmup_steps%s%s",
                     step, isfinite(result->loss) ? "gradient" : "loss",
                     r->session.graphs.fused ? "finished and is not saved" : "made",
                     newest_sound(r, sound, sizeof sound), cause);
}

static dram_step_order order_of(const dram_run *r)
{
    const dram_config *cfg = &r->session.cfg;
    bool teacher =
        r->session.graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph && dram_teacher_step(cfg, r->state.step) == r->state.step;
    const dram_steps *interval = &cfg->sam_distill.distill_interval;
    dram_step_order order = {.kind = teacher ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP,
                             .loss_scale = r->state.scaling.scale,
                             .sam_weight = interval->value[dram_steps_at(interval, r->state.step)],
                             .labelled = r->labelled};
    dram_hyper(cfg, r->state.step, r->state.scaling.skipped, order.hyper);
    return order;
}

static dram_metrics metrics_of(const dram_run *r, const dram_step_order *order, const dram_step_result *result)
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
                          .ranks = dram_comm_size(r->comm),
                          .teacher_ran = s->graphs.io[order->kind].teacher_image != DRAM_NONE,
                          .planned_peak_bytes = s->plan->arena_bytes,
                          .measured_peak_bytes = s->device->bytes_peak};
}

/* Said once in a run; metrics.jsonl has it of every step. */
static void tell_left_out(dram_run *r, const dram_metrics *m, int images)
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
static bool is_reused(const dram_run *r, int64_t step)
{
    const dram_config *cfg = &r->session.cfg;
    return r->session.graphs.reuse && step < cfg->train.steps && dram_teacher_step(cfg, step) != step;
}

/* Images that another rank skipped count here too. */
static dram_status join_skipped(dram_run *r)
{
    dram_run_state *state = &r->state;
    int more, images = dram_dataset_count(r->train);
    TRY(dram_marked_join(r->comm, state->is_skipped, images, &more));
    if (!more) return DRAM_OK;
    state->skipped += more;
    for (int i = 0; i < images; i++)
        if (state->is_skipped[i]) dram_loader_count_skipped(r->loader, i);
    if (!dram_dataset_is_too_bad(state->skipped, images)) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%d of %d images are bad, more than 10 %%; remove or repair them", state->skipped,
                     images);
}

/* The first rank has all that is to be saved; *targets is to be freed. */
static dram_status join(dram_run *r, float **targets)
{
    dram_run_state *state = &r->state;
    dram_status status = DRAM_OK;
    int64_t n = state->target ? state->target_count : 0;
    if (is_alone(r)) return DRAM_OK;
    TRY(dram_together_average(&r->session));
    TRY(dram_together_compare(&r->session, true));
    TRY(join_skipped(r));
    if (is_first(r) && n) *targets = dram_alloc((size_t)n * (size_t)dram_comm_size(r->comm) * sizeof **targets);
    if (is_first(r) && n && !*targets)
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to save the targets of all ranks");
    TRY(dram_ranks_together(r->comm, status));
    int64_t images = r->session.graphs.batch * r->session.graphs.accumulate;
    if (n) TRY(dram_together_collect(r->comm, state->target, n, n / images, *targets));
    state->targets = *targets;
    return DRAM_OK;
}

static dram_status save(dram_run *r)
{
    float *targets = NULL;
    dram_status status = join(r, &targets);
    if (status == DRAM_OK) {
        status = is_first(r) ? dram_checkpoint_save(&r->session, r->checkpoints, &r->state)
                             : dram_checkpoint_lend(&r->session);
        status = dram_ranks_together(r->comm, status);
    }
    r->state.targets = NULL;
    dram_free(targets);
    if (status == DRAM_OK) r->saved_at = r->state.step;
    return status;
}

/* Saves what is not saved, and reads the newest checkpoint again: what is said of it is true. */
static dram_status save_and_check(dram_run *r)
{
    char text[800], sound[200];
    const char *folder = r->checkpoints;
    dram_status status = DRAM_OK;
    if (r->state.step > r->saved_at) TRY(save(r));
    if (r->saved_at && is_first(r)) status = dram_sound_check(folder, r->saved_at, NULL, NULL);
    if (status != DRAM_OK) {
        snprintf(text, sizeof text, "%s", dram_error_text());
        dram_error_clear();
        dram_fail(status, "what was saved is damaged: %s%s", text,
                  dram_sound_newest(folder, false, sound, sizeof sound));
    }
    return dram_ranks_together(r->comm, status);
}

/* The end of a run whose data or logs failed it, between two steps: what was done is saved. The held text says so. Where
 * other ranks wait for this one nothing more is done: they cannot save what they are in the midst of. */
static dram_status give_up(dram_run *r, dram_status status)
{
    char text[1024], why[900], sound[200] = "";
    long long step = (long long)r->state.step, before = (long long)r->saved_at;
    if (!is_alone(r)) return status;
    if (status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG) status = DRAM_ERR_RUN; /* one exit code, for all data */
    if (step == 0) return status;
    snprintf(text, sizeof text, "%s", dram_error_text());
    dram_error_clear();
    if (save_and_check(r) == DRAM_OK)
        return dram_fail(status, "%.900s; %lld steps are saved, go on with --resume once that is mended", text, step);
    snprintf(why, sizeof why, "%s", dram_error_text());
    dram_error_clear();
    if (r->saved_at == step) return dram_fail(status, "%.700s; %s", text, why);
    dram_sound_newest(r->checkpoints, false, sound, sizeof sound);
    return dram_fail(status, "%.700s; %lld steps cannot be saved: %s%s", text, step - before, why, sound);
}

/* Before a step: all ranks have their batch of it, or stop. A rank whose data has failed it asks the others to stop, so
 * that what was done is saved, and says then what it was. */
static dram_status prepare(dram_run *r, bool *stopped, dram_agreed *agreed)
{
    dram_agreement mine = {.step = r->state.step, .stop = dram_run_is_stopped(r)};
    if (!mine.stop && !r->batch.count) r->failed = dram_loader_next(r->loader, &r->batch);
    if (r->failed != DRAM_OK) {
        r->batch.count = 0;
        if (is_alone(r)) return give_up(r, r->failed);
        snprintf(r->failure, sizeof r->failure, "%s", dram_error_text());
        dram_error_clear();
        mine.stop = true;
    }
    mine.labelled = dram_feed_label_pixels(r->batch.samples, r->batch.count);
    TRY(dram_comm_agree(r->comm, &mine, agreed));
    *stopped = agreed->stop;
    r->labelled = agreed->labelled;
    r->waited += agreed->waited;
    return DRAM_OK;
}

static dram_status tell_step(const dram_run *r, const dram_metrics *m)
{
    int64_t steps = dram_end_step(&r->session.cfg);
    const dram_progress progress = {.done = r->state.step,
                                    .steps = steps,
                                    .seconds_left = r->step_seconds * (double)(steps - r->state.step),
                                    .skipped_steps = r->state.scaling.skipped,
                                    .metrics = *m};
    return dram_record_tell(r->record, &(dram_fact){DRAM_FACT_STEP, r->state.step, {.progress = &progress}});
}

/* One update, from the loader's next batch to the record, unless the run is to stop. */
static dram_status step(dram_run *r, bool *stopped)
{
    dram_session *s = &r->session;
    dram_step_result result;
    dram_agreed agreed;
    double begin = dram_clock(), joined = dram_comm_tell(r->comm).seconds;
    bool again = is_reused(r, r->state.step + 1);
    TRY(prepare(r, stopped, &agreed));
    if (*stopped) return DRAM_OK;
    const dram_step_order order = order_of(r);
    const dram_batch batch = r->batch;
    const int images = batch.count * dram_comm_size(r->comm);
    dram_status status =
        dram_step_run(s, &r->feed, &order, batch.samples, batch.count, again ? NULL : r->loader, &result);
    if (status != DRAM_OK) return result.ran ? status : give_up(r, status);
    if (!again) r->batch.count = 0;
    r->device_seconds += result.device_seconds;
    dram_metrics m = metrics_of(r, &order, &result);
    tell_left_out(r, &m, images);
    TRY(judge(r, &order, &result));
    double seconds = dram_clock() - begin;
    r->loop_seconds += seconds;
    r->step_seconds = r->step_seconds > 0 ? 0.9 * r->step_seconds + 0.1 * seconds : seconds;
    r->images += images;
    r->state.step++;
    if (!again) note_position(r);
    dram_guard_step(r->guard, r->state.step);
    s->batches_tracked += s->graphs.accumulate;
    m.images_per_second = images / seconds;
    m.device_utilization = result.device_seconds / seconds;
    m.comm_seconds = dram_comm_tell(r->comm).seconds - joined;
    m.wait_seconds = agreed.waited;
    r->joined += m.comm_seconds;
    m.last_rank = agreed.last;
    r->summary->final_loss = m.loss;
    status = tell_step(r, &m);
    return status == DRAM_OK ? DRAM_OK : give_up(r, status);
}

/* The end of a run that was asked to stop, between two steps or in an evaluation, which is made again on --resume. */
static dram_status stop(dram_run *r)
{
    dram_error_clear();
    TRY(save_and_check(r));
    if (r->failed != DRAM_OK) {
        if (r->failed == DRAM_ERR_FORMAT || r->failed == DRAM_ERR_CONFIG) r->failed = DRAM_ERR_RUN;
        dram_fail(r->failed, "%.900s; %lld steps are saved, go on with --resume once that is mended", r->failure,
                  (long long)r->saved_at);
    }
    TRY(dram_ranks_together(r->comm, r->failed));
    if (!r->saved_at) return dram_run_interrupted();
    return dram_fail(DRAM_INTERRUPTED, "interrupted: %lld steps are saved, go on with --resume",
                     (long long)r->state.step);
}

/* What is shown of an evaluation, where someone takes pictures: so many images, with so many pixels each at most. */
enum { SHOWN_IMAGES = 4, SHOWN_PIXELS = 1 << 17 };

static dram_status show_picture(void *context, const char *image, int height, int width, const void *png, size_t n)
{
    const dram_run *r = context;
    char name[1024], visible[900];
    dram_visible(image, visible, sizeof visible);
    snprintf(name, sizeof name, "predictions/%.*s", dram_stem(visible), visible);
    const dram_fact_picture picture = {.name = name, .height = height, .width = width, .png = png, .bytes = n};
    return dram_record_tell(r->record, &(dram_fact){DRAM_FACT_PICTURE, r->state.step, {.picture = &picture}});
}

static dram_status open_shown(dram_run *r, dram_predictions **shown)
{
    const dram_config *cfg = &r->session.cfg;
    *shown = NULL;
    if (!cfg->task.enabled || !dram_record_takes(r->record, DRAM_FACT_PICTURE)) return DRAM_OK;
    return dram_predictions_show(cfg, r->val, SHOWN_IMAGES, SHOWN_PIXELS, show_picture, r, shown);
}

static dram_status evaluate(dram_run *r)
{
    if (!r->val || !r->session.graphs.io[DRAM_PROGRAM_EVALUATION].graph) return DRAM_OK;
    if (r->evaluated_at == r->state.step) return DRAM_OK;
    dram_eval_result result;
    TRY(dram_together_average(&r->session));
    dram_predictions *shown;
    dram_status status = open_shown(r, &shown);
    if (status == DRAM_OK) status = dram_evaluate(&r->session, &r->feed, r->val, shown, r->hooks->stop, &result);
    dram_predictions_close(shown);
    if (status == DRAM_INTERRUPTED) return stop(r);
    if (status != DRAM_OK) return give_up(r, status);
    r->evaluated_at = r->state.step;
    r->summary->evaluated = true;
    r->summary->eval = result;
    status = dram_record_tell(r->record, &(dram_fact){DRAM_FACT_EVALUATION, r->state.step, {.evaluation = &result}});
    return status == DRAM_OK ? DRAM_OK : give_up(r, status);
}

static bool is_due(int64_t step, int every)
{
    return every > 0 && step > 0 && step % every == 0;
}

/* What a run leaves at its end. */
static dram_status export_student(const dram_run *r, dram_session *s)
{
    if (!is_first(r)) return DRAM_OK;
    /* A run that ended as the last one was written may have left one too many. */
    if (!r->over) TRY(dram_checkpoint_prune(r->checkpoints, s->cfg.run.keep, r->state.step));
    return dram_student_export(s, dram_rundir_path(r->directory));
}

static dram_status loop(dram_run *r)
{
    const struct dram_config_run *due = &r->session.cfg.run;
    int64_t steps = dram_end_step(&r->session.cfg);
    bool stopped = false;
    /* A run that was stopped at a step with an evaluation has not made it. */
    if (r->state.step < steps && is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    while (r->state.step < steps) {
        TRY(step(r, &stopped));
        if (stopped) return stop(r);
        bool last = r->state.step == steps;
        /* Several ranks agree on it before the next step. */
        if (is_alone(r) && dram_run_is_stopped(r) && !last) return stop(r);
        if (is_due(r->state.step, r->session.cfg.distributed.check_every))
            TRY(dram_together_compare(&r->session, false));
        if (last || is_due(r->state.step, due->save_every)) TRY(save(r));
        if (is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    }
    TRY(dram_ranks_together(r->comm, export_student(r, &r->session)));
    return evaluate(r);
}

static dram_gpu_process process_of(const dram_session *session, const dram_guard_peaks *peaks)
{
    const dram_profile *profile = &session->plan->profile;
    if (!profile->gpu) return (dram_gpu_process){0};
    dram_gpu_process p = {.gpu = true,
                          .planned_bytes = dram_plan_process(session->plan),
                          .overhead_measured = profile->measured,
                          .counted = session->device->counted,
                          .measured_bytes = peaks->card_process};
    const dram_exec_records records = dram_exec_recorded(session->exec);
    p.recorded = records.recorded;
    p.refused = records.refused;
    snprintf(p.refused_why, sizeof p.refused_why, "%s", records.why ? records.why : "");
    return p;
}

/* What each rank took is asked where all have come to the end. Of a failure the text is held. */
static void summarise_ranks(dram_run *r, dram_status status)
{
    dram_summary_ranks *d = &r->summary->distributed;
    const dram_session *s = &r->session;
    const dram_comm_facts facts = dram_comm_tell(r->comm);
    const bool failed = status != DRAM_OK && status != DRAM_INTERRUPTED;
    if (is_alone(r)) return;
    *d = (dram_summary_ranks){.ranks = dram_comm_size(r->comm),
                              .nodes = dram_ranks_machines(r->comm),
                              .fast = s->graphs.reduce == DRAM_REDUCE_FAST,
                              .local = s->cfg.distributed.batch_norm == DRAM_BATCH_NORM_LOCAL,
                              .channels = s->plan->profile.comm_bytes ? s->cfg.distributed.nccl_channels : 0,
                              .planned_bytes = s->plan->profile.comm_bytes,
                              .taken_bytes = facts.taken_bytes,
                              .comm_seconds = isfinite(facts.seconds) ? r->joined : NAN,
                              .wait_seconds = r->waited,
                              .failed_rank = !failed                 ? -1
                                             : facts.failed_rank < 0 ? dram_comm_rank(r->comm)
                                                                     : facts.failed_rank};
    snprintf(d->launcher, sizeof d->launcher, "%s", facts.launcher);
    if (failed) snprintf(d->failed_text, sizeof d->failed_text, "%s", dram_error_text());
    while (d->variables < DRAM_SUMMARY_VARIABLES) {
        const char **variable = d->environment[d->variables];
        if (!(variable[0] = dram_comm_environment(r->comm, d->variables, &variable[1]))) break;
        d->variables++;
    }
    snprintf(d->backend, sizeof d->backend, "%s", dram_comm_backend(r->comm));
    snprintf(d->version, sizeof d->version, "%s", dram_comm_version(r->comm));
    int64_t mine = r->summary->measured_peak_bytes;
    d->measured = status == DRAM_OK && d->ranks <= DRAM_SUMMARY_RANKS &&
                  dram_comm_gather(r->comm, &mine, sizeof mine, d->arena_bytes) == DRAM_OK;
}

static void summarise(dram_run *r, double wall, double cpu)
{
    dram_summary *s = r->summary;
    dram_guard_peaks peaks;
    dram_guard_close(r->guard, &peaks);
    r->guard = NULL;
    s->steps = r->state.step;
    s->steps_in_all = r->session.cfg.train.steps;
    s->skipped_images = is_alone(r) ? dram_loader_skipped(r->loader) : r->state.skipped;
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

dram_status dram_train(const dram_config *cfg, dram_comm *comm, dram_resume resume, const dram_hooks *hooks,
                       dram_summary *summary)
{
    *summary = (dram_summary){.final_loss = NAN, .loss_scale = NAN};
    dram_run r = {.loaded = cfg, .comm = comm, .hooks = hooks, .summary = summary, .evaluated_at = -1};
    r.state.scaling = dram_scaling_begin();
    dram_status status = dram_run_plan(&r, &resume);
    if (status == DRAM_OK) status = dram_run_start(&r, resume);
    bool began = status == DRAM_OK;
    double wall = dram_clock(), cpu = dram_process_cpu_seconds();
    if (began) status = loop(&r);
    status = dram_ranks_together(comm, status); /* what this rank alone came to is said to the others */
    if (began) {
        summarise(&r, dram_clock() - wall, dram_process_cpu_seconds() - cpu);
        summarise_ranks(&r, status);
        dram_status closed = dram_record_close(r.record, status != DRAM_OK);
        r.record = NULL;
        if (status == DRAM_OK) status = closed;
        bool again = r.images == 0 && r.state.step > 0;
        const char *directory = dram_rundir_path(r.directory);
        dram_status written = r.over || !is_first(&r) ? DRAM_OK : dram_summary_write(summary, status, again, directory);
        if (status == DRAM_OK) status = written;
    }
    dram_run_close(&r);
    return status;
}
