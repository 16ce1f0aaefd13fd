/* Implements train.h: a run that was begun (begin.h) is looped over and summed up (dram_train, at the end). */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "evaluate/eval.h"
#include "io/checkpoint.h"
#include "report/metrics.h"
#include "report/summary.h"
#include "session/schedule.h"
#include "train/begin.h"
#include "train/sound.h"
#include "train/step.h"
#include "train/train.h"

/* The state moves on to the loader's position, with the images that were skipped on the way: a resumed run counts none
 * of them twice. The loader's list begins with those that the state had. */
static void note_position(dram_run *r)
{
    dram_run_state *state = &r->state;
    state->position = dram_loader_position(r->loader);
    for (; state->skipped < dram_loader_skipped(r->loader); state->skipped++)
        state->is_skipped[dram_loader_skipped_at(r->loader, state->skipped)] = true;
}

/* Names the first tensor of the step that was not finite, after "; ", from the batch that it had; "" if that cannot be
 * found out. */
static void name_the_cause(dram_run *r, const dram_step_order *order, char *text, int size)
{
    char tensor[400];
    dram_loader *loader = NULL;
    dram_batch batch;
    dram_status status;
    text[0] = '\0';
    TRY_GOTO(dram_run_open_loader(r, &loader), done);
    TRY_GOTO(dram_loader_next(loader, &batch), done);
    TRY_GOTO(dram_step_trace(&r->session, &r->feed, order, batch.samples, batch.count, tensor, sizeof tensor), done);
    if (tensor[0]) snprintf(text, (size_t)size, "; the first tensor that is not finite is %s", tensor);
done:
    if (status != DRAM_OK) dram_error_clear();
    dram_loader_close(loader);
}

/* What can be gone on from, looked at now: numbers that are not finite may have been saved. */
static const char *newest_sound(const dram_run *r, char *text, size_t size)
{
    return dram_sound_newest(r->path[DRAM_RUN_CHECKPOINTS], true, text, size);
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
                             .sam_weight = interval->value[dram_steps_at(interval, r->state.step)]};
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

static dram_status save(dram_run *r)
{
    TRY(dram_checkpoint_save(&r->session, r->path[DRAM_RUN_CHECKPOINTS], &r->state));
    r->saved_at = r->state.step;
    return DRAM_OK;
}

/* Saves what is not saved, and reads the newest checkpoint again: what is said of it is true. */
static dram_status save_and_check(dram_run *r)
{
    char text[800], sound[200];
    const char *folder = r->path[DRAM_RUN_CHECKPOINTS];
    if (r->state.step > r->saved_at) TRY(save(r));
    dram_status status = r->saved_at ? dram_sound_check(folder, r->saved_at, NULL) : DRAM_OK;
    if (status == DRAM_OK) return DRAM_OK;
    snprintf(text, sizeof text, "%s", dram_error_text());
    dram_error_clear();
    return dram_fail(status, "what was saved is damaged: %s%s", text,
                     dram_sound_newest(folder, false, sound, sizeof sound));
}

/* The end of a run whose data or logs failed it, between two steps: what was done is saved. The held text says so. */
static dram_status give_up(dram_run *r, dram_status status)
{
    char text[1024], why[900], sound[200] = "";
    long long step = (long long)r->state.step, before = (long long)r->saved_at;
    if (status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG) status = DRAM_ERR_RUN; /* one exit code, for all data */
    if (step == 0) return status;
    snprintf(text, sizeof text, "%s", dram_error_text());
    dram_error_clear();
    if (save_and_check(r) == DRAM_OK)
        return dram_fail(status, "%.900s; %lld steps are saved, go on with --resume once that is mended", text, step);
    snprintf(why, sizeof why, "%s", dram_error_text());
    dram_error_clear();
    if (r->saved_at == step) return dram_fail(status, "%.700s; %s", text, why);
    dram_sound_newest(r->path[DRAM_RUN_CHECKPOINTS], false, sound, sizeof sound);
    return dram_fail(status, "%.700s; %lld steps cannot be saved: %s%s", text, step - before, why, sound);
}

static dram_status next_batch(dram_run *r)
{
    dram_status status = dram_loader_next(r->loader, &r->batch);
    if (status == DRAM_OK) return DRAM_OK;
    r->batch.count = 0;
    return give_up(r, status);
}

/* One update, from the loader's next batch to a line of metrics. */
static dram_status step(dram_run *r, dram_metrics *m)
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
    status = dram_metrics_append(&r->metrics, m);
    return status == DRAM_OK ? DRAM_OK : give_up(r, status);
}

static void report_progress(const dram_run *r, const dram_metrics *m)
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
static dram_status stop(dram_run *r)
{
    dram_error_clear();
    TRY(save_and_check(r));
    if (!r->saved_at) return dram_run_go_on(r);
    return dram_fail(DRAM_INTERRUPTED, "interrupted: %lld steps are saved, go on with --resume",
                     (long long)r->state.step);
}

static dram_status evaluate(dram_run *r)
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
    if (!r->over) status = dram_eval_append(r->path[DRAM_RUN_EVALUATIONS], r->state.step, &result);
    if (status != DRAM_OK) return give_up(r, status);
    if (r->hooks->evaluated) r->hooks->evaluated(r->hooks->context, r->state.step, &result);
    return DRAM_OK;
}

static bool is_due(int64_t step, int every)
{
    return every > 0 && step > 0 && step % every == 0;
}

static dram_status loop(dram_run *r)
{
    dram_metrics m = {0};
    const struct dram_config_run *due = &r->session.cfg.run;
    int64_t steps = r->session.cfg.train.steps;
    /* A run that was stopped at a step with an evaluation has not made it. */
    if (r->state.step < steps && is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    while (r->state.step < steps) {
        if (dram_run_is_stopped(r)) return stop(r);
        TRY(step(r, &m));
        r->summary->final_loss = m.loss;
        report_progress(r, &m);
        bool last = r->state.step == steps;
        if (dram_run_is_stopped(r) && !last) return stop(r);
        if (last || is_due(r->state.step, due->save_every)) TRY(save(r));
        if (is_due(r->state.step, due->eval_every)) TRY(evaluate(r));
    }
    /* A run that ended as the last one was written may have left one too many. */
    if (!r->over) TRY(dram_checkpoint_prune(r->path[DRAM_RUN_CHECKPOINTS], due->keep, r->state.step));
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

static void summarise(dram_run *r, double wall, double cpu)
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

dram_status dram_train(const dram_config *cfg, dram_resume resume, const dram_hooks *hooks, dram_summary *summary)
{
    *summary = (dram_summary){.final_loss = NAN, .loss_scale = NAN};
    dram_run r = {.loaded = cfg, .hooks = hooks, .summary = summary, .evaluated_at = -1};
    r.state.scaling = dram_scaling_begin();
    dram_status status = dram_run_plan(&r, resume);
    if (status == DRAM_OK) status = dram_run_start(&r, resume);
    if (status == DRAM_OK) {
        double wall = dram_clock(), cpu = dram_process_cpu_seconds();
        status = loop(&r);
        summarise(&r, dram_clock() - wall, dram_process_cpu_seconds() - cpu);
        bool again = r.images == 0 && r.state.step > 0;
        const char *directory = dram_rundir_path(r.directory);
        dram_status written = r.over ? DRAM_OK : dram_summary_write(summary, status, again, directory);
        if (status == DRAM_OK) status = written;
    }
    dram_run_close(&r);
    return status;
}
