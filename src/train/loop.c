/* The training loop and what surrounds it: datasets, run directory, metrics, checkpoints, summary. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "data/loader.h"
#include "io/atomic.h"
#include "io/metrics.h"
#include "io/path.h"
#include "io/rundir.h"
#include "train/eval.h"
#include "train/feed.h"
#include "train/report.h"
#include "train/schedule.h"
#include "train/state.h"
#include "train/weights.h"

typedef struct {
    const dram_config *cfg;
    const dram_hooks *hooks;
    dram_summary *summary;
    dram_session session;
    dram_dataset *train, *val; /* val NULL: none */
    dram_loader *loader;
    dram_feed feed;
    dram_metrics_file *metrics;
    char *directory, *checkpoints, *metrics_path, *evaluations_path;
    dram_state state;
    double loop_seconds, device_seconds, step_seconds; /* step: smoothed */
    int64_t images;
    int64_t evaluated_at; /* step of the last evaluation, -1 none */
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static dram_status open_dataset(const run *r, bool val, dram_dataset **out)
{
    char images_where[600], labels_where[600];
    const dram_config *cfg = r->cfg;
    const char *images = val ? cfg->data.val.images : cfg->data.train.images;
    const char *labels = val ? cfg->data.val.labels : cfg->data.train.labels;
    const char *key = val ? "data.val" : "data.train";
    char path[64];
    if (!images) return DRAM_OK;
    snprintf(path, sizeof path, "%s.images", key);
    snprintf(images_where, sizeof images_where, "%s: %s", dram_config_where(cfg, path), path);
    snprintf(path, sizeof path, "%s.labels", key);
    snprintf(labels_where, sizeof labels_where, "%s: %s", dram_config_where(cfg, path), path);
    const dram_dataset_params params = {
        .images = images,
        .labels = cfg->task.enabled ? labels : NULL,
        .labels_optional = cfg->data.labels_optional,
        .label_fraction = val ? 1.0 : cfg->data.train.label_fraction,
        .seed = (uint64_t)cfg->seed,
        .images_where = images_where,
        .labels_where = labels_where,
    };
    return dram_dataset_open(&params, out);
}

static dram_status open_loader(run *r)
{
    const dram_config *cfg = r->cfg;
    const dram_programs *p = &r->session.programs;
    const dram_loader_params params = {
        .dataset = r->train,
        .seed = (uint64_t)cfg->seed,
        .train = true,
        .student_size = p->student_size,
        .teacher_size = p->teacher_size,
        .batch_size = cfg->train.batch_size,
        .workers = cfg->data.workers,
        .prefetch = cfg->data.prefetch,
        .augment = {.scale_min = cfg->data.augment.scale_min,
                    .scale_max = cfg->data.augment.scale_max,
                    .crop = cfg->data.augment.crop,
                    .flip = cfg->data.augment.flip,
                    .jitter = cfg->data.augment.color_jitter},
        .limits = {.max_pixels = cfg->data.max_pixels, .max_bytes = cfg->data.max_decode_bytes},
        .classes = p->classes,
        .ignore_index = cfg->data.ignore_index,
        .start = r->state.position,
    };
    TRY(dram_loader_open(&params, &r->loader));
    for (int i = 0; i < dram_dataset_count(r->train); i++)
        if (r->state.is_skipped[i]) dram_loader_count_skipped(r->loader, i);
    return DRAM_OK;
}

/* Keeps which images were skipped: a resumed run counts none of them twice. */
static void note_skipped(run *r)
{
    if (dram_loader_skipped(r->loader) == r->state.skipped) return;
    r->state.skipped = dram_loader_skipped(r->loader);
    for (int i = 0; i < dram_dataset_count(r->train); i++)
        r->state.is_skipped[i] = dram_loader_is_skipped(r->loader, i);
}

/* Makes the run directory (or finds it again) and what is written as the run goes. Only now is anything written. */
static dram_status open_directory(run *r, bool resume)
{
    dram_str yaml = {0};
    char *path = NULL;
    dram_status status;
    TRY(dram_rundir_open(r->cfg->run.dir, r->cfg->name, resume, &r->directory));
    snprintf(r->summary->directory, sizeof r->summary->directory, "%s", r->directory);
    TRY(dram_path_join(r->directory, "checkpoints", &r->checkpoints));
    TRY(dram_path_join(r->directory, "metrics.jsonl", &r->metrics_path));
    TRY(dram_path_join(r->directory, "evaluations.jsonl", &r->evaluations_path));
    if (resume) {
        TRY(dram_state_load(&r->session, r->checkpoints, &r->state));
        TRY(dram_metrics_truncate(r->metrics_path, r->state.step));
        TRY(dram_metrics_truncate(r->evaluations_path, r->state.step));
    }
    TRY_GOTO(dram_path_join(r->directory, "config.yaml", &path), done);
    TRY_GOTO(dram_config_write_yaml(r->cfg, &yaml), done);
    TRY_GOTO(dram_atomic_save(path, yaml.text, yaml.length), done);
    status = dram_metrics_open(r->metrics_path, &r->metrics);
done:
    dram_str_free(&yaml);
    dram_free(path);
    return status;
}

static dram_status prepare(run *r, bool resume)
{
    TRY(dram_config_check_inputs(r->cfg, true));
    TRY(dram_rundir_check(r->cfg->run.dir, r->cfg->name, resume));
    TRY(open_dataset(r, false, &r->train));
    TRY(open_dataset(r, true, &r->val));
    r->state.dataset = r->train;
    r->state.is_skipped = dram_calloc((size_t)dram_dataset_count(r->train), sizeof *r->state.is_skipped);
    if (!r->state.is_skipped) return dram_fail(DRAM_ERR_MEMORY, "no memory to keep which images are bad");
    TRY(dram_session_plan(r->cfg, &r->session));
    r->summary->planned_peak_bytes = r->session.plan->arena_bytes;
    if (r->hooks->planned) r->hooks->planned(r->hooks->context, &r->session);
    TRY(dram_session_check_fit(&r->session, dram_host_free_bytes()));
    TRY(dram_session_start(&r->session));
    TRY(dram_feed_open(&r->session.programs, &r->feed));
    TRY(open_directory(r, resume));
    return open_loader(r);
}

static dram_status read_loss(run *r, const dram_io *io, dram_val v, double *value)
{
    float number;
    *value = NAN;
    if (v == DRAM_NONE) return DRAM_OK;
    TRY(dram_exec_read(r->session.exec, io->index, v, &number, sizeof number));
    *value = number;
    return DRAM_OK;
}

static dram_status read_metrics(run *r, const dram_io *io, dram_metrics *m)
{
    float clip[2];
    TRY(read_loss(r, io, io->loss, &m->loss));
    TRY(read_loss(r, io, io->loss_task, &m->loss_task));
    TRY(read_loss(r, io, io->loss_sam, &m->loss_sam));
    TRY(read_loss(r, io, io->loss_resolution, &m->loss_resolution));
    TRY(dram_exec_read(r->session.exec, io->index, io->clip, clip, sizeof clip));
    m->grad_norm = clip[0];
    m->loss_scale = NAN; /* only fp16 has one */
    if (isfinite(m->loss) && isfinite(m->grad_norm)) return DRAM_OK;
    return dram_fail(DRAM_ERR_NUMERIC,
                     "step %lld: the %s is not finite; this update was not made. Lower optim.lr or lengthen "
                     "optim.warmup_steps; the last checkpoint is good",
                     (long long)m->step, isfinite(m->loss) ? "gradient" : "loss");
}

/* One update, from the loader's next batch to a line of metrics. */
static dram_status step(run *r, dram_metrics *m)
{
    dram_session *s = &r->session;
    dram_batch batch;
    float hyper[4];
    double begin = now();
    bool teacher =
        s->programs.teacher_size > 0 && dram_interval_teacher_runs(r->state.step, r->cfg->sam_distill.distill_interval);
    dram_program_kind kind = teacher ? DRAM_PROGRAM_DISTIL_STEP : DRAM_PROGRAM_PLAIN_STEP;
    const dram_io *io = &s->programs.io[kind];
    *m = (dram_metrics){.step = r->state.step, .teacher_ran = teacher};
    dram_status loaded = dram_loader_next(r->loader, &batch);
    note_skipped(r);
    TRY(loaded);
    TRY(dram_feed_batch(s, &r->feed, kind, batch.samples, batch.count));
    dram_loader_release(r->loader);
    dram_hyper(r->cfg, r->state.step, hyper);
    TRY(dram_exec_write(s->exec, io->index, io->hyper, hyper, sizeof hyper));
    double ran = now();
    TRY(dram_exec_run(s->exec, io->index));
    r->device_seconds += now() - ran;
    TRY(read_metrics(r, io, m));
    double seconds = now() - begin;
    r->loop_seconds += seconds;
    r->step_seconds = r->step_seconds > 0 ? 0.9 * r->step_seconds + 0.1 * seconds : seconds;
    r->images += batch.count;
    r->state.step++;
    r->state.position = dram_loader_position(r->loader);
    s->batches_tracked++;
    m->lr = hyper[0];
    m->images_per_second = batch.count / seconds;
    m->planned_peak_bytes = s->plan->arena_bytes;
    m->measured_peak_bytes = s->device->bytes_peak;
    return dram_metrics_append(r->metrics, m);
}

static void report_progress(const run *r, const dram_metrics *m)
{
    if (!r->hooks->progress) return;
    const dram_progress progress = {
        .step = r->state.step,
        .steps = r->cfg->train.steps,
        .loss = m->loss,
        .loss_task = m->loss_task,
        .loss_sam = m->loss_sam,
        .loss_resolution = m->loss_resolution,
        .lr = m->lr,
        .grad_norm = m->grad_norm,
        .images_per_second = m->images_per_second,
        .seconds_left = r->step_seconds * (double)(r->cfg->train.steps - r->state.step),
        .planned_peak_bytes = m->planned_peak_bytes,
        .measured_peak_bytes = m->measured_peak_bytes,
        .teacher_ran = m->teacher_ran,
    };
    r->hooks->progress(r->hooks->context, &progress);
}

static dram_status evaluate(run *r)
{
    if (!r->val || !r->session.programs.io[DRAM_PROGRAM_EVALUATION].graph) return DRAM_OK;
    if (r->evaluated_at == r->state.step) return DRAM_OK;
    TRY(dram_evaluate(&r->session, &r->feed, r->val, &r->summary->eval));
    r->evaluated_at = r->state.step;
    r->summary->evaluated = true;
    TRY(dram_eval_append(r->evaluations_path, r->state.step, &r->summary->eval));
    if (r->hooks->evaluated) r->hooks->evaluated(r->hooks->context, r->state.step, &r->summary->eval);
    return DRAM_OK;
}

static bool is_due(int64_t step, int every)
{
    return every > 0 && step > 0 && step % every == 0;
}

static dram_status loop(run *r)
{
    dram_metrics m = {0};
    /* A run that was stopped at a step with an evaluation has not made it. */
    if (r->state.step < r->cfg->train.steps && is_due(r->state.step, r->cfg->run.eval_every)) TRY(evaluate(r));
    while (r->state.step < r->cfg->train.steps) {
        TRY(step(r, &m));
        r->summary->final_loss = m.loss;
        report_progress(r, &m);
        bool last = r->state.step == r->cfg->train.steps;
        bool stop = r->hooks->stop && *r->hooks->stop;
        if (stop || last || is_due(r->state.step, r->cfg->run.save_every))
            TRY(dram_state_save(&r->session, r->checkpoints, &r->state));
        if (stop && !last) {
            r->summary->interrupted = true;
            return dram_fail(DRAM_INTERRUPTED, "interrupted: %lld steps are saved, go on with --resume",
                             (long long)r->state.step);
        }
        if (is_due(r->state.step, r->cfg->run.eval_every)) TRY(evaluate(r));
    }
    TRY(dram_state_export(&r->session, r->directory));
    return evaluate(r);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_sec +
           1e-6 * (double)usage.ru_stime.tv_usec;
}

static void summarise(run *r, double wall, double cpu)
{
    dram_summary *s = r->summary;
    s->steps = r->state.step;
    s->skipped_images = r->state.skipped;
    s->measured_peak_bytes = r->session.device ? r->session.device->bytes_peak : 0;
    s->process_peak_rss_bytes = dram_process_peak_rss();
    s->images_per_second = r->loop_seconds > 0 ? (double)r->images / r->loop_seconds : NAN;
    s->device_utilization = wall > 0 ? r->device_seconds / wall : NAN;
    s->cpu_utilization = wall > 0 ? cpu / (wall * dram_host_cores()) : NAN;
}

static void close_run(run *r)
{
    dram_loader_close(r->loader);
    dram_metrics_close(r->metrics);
    dram_feed_close(&r->feed);
    dram_session_close(&r->session);
    dram_dataset_close(r->train);
    dram_dataset_close(r->val);
    dram_free(r->state.is_skipped);
    dram_free(r->directory);
    dram_free(r->checkpoints);
    dram_free(r->metrics_path);
    dram_free(r->evaluations_path);
}

dram_status dram_train(const dram_config *cfg, bool resume, const dram_hooks *hooks, dram_summary *summary)
{
    *summary = (dram_summary){.final_loss = NAN};
    run r = {.cfg = cfg, .hooks = hooks, .summary = summary, .evaluated_at = -1};
    dram_status status = prepare(&r, resume);
    if (status == DRAM_OK) {
        double wall = now(), cpu = cpu_seconds();
        status = loop(&r);
        summarise(&r, now() - wall, cpu_seconds() - cpu);
        dram_status written = dram_summary_write(summary, status, r.directory);
        if (status == DRAM_OK) status = written;
    }
    close_run(&r);
    return status;
}

dram_status dram_evaluate_file(const dram_config *cfg, const char *file, dram_eval_result *result)
{
    run r = {.cfg = cfg};
    char *folder = NULL, *heads = NULL;
    const char *student = "student";
    dram_status status;
    TRY_GOTO(dram_config_check_inputs(cfg, false), done);
    TRY_GOTO(open_dataset(&r, true, &r.val), done);
    TRY_GOTO(dram_session_plan(cfg, &r.session), done);
    if (!r.session.programs.io[DRAM_PROGRAM_EVALUATION].graph) {
        status =
            dram_config_fail(cfg, "task.enabled", "neither a task nor a teacher is on: there is nothing to evaluate");
        goto done;
    }
    TRY_GOTO(dram_session_check_fit(&r.session, dram_host_free_bytes()), done);
    TRY_GOTO(dram_session_start(&r.session), done);
    TRY_GOTO(dram_feed_open(&r.session.programs, &r.feed), done);
    TRY_GOTO(dram_weights_load(&r.session, file, &student, 1, false, ""), done);
    TRY_GOTO(dram_path_folder(file, &folder), done);
    TRY_GOTO(dram_path_join(folder, "heads.safetensors", &heads), done);
    TRY_GOTO(dram_weights_load(&r.session, heads, (const char *const[]){"neck", "head"}, 2, true, ""), done);
    status = dram_evaluate(&r.session, &r.feed, r.val, result);
done:
    dram_free(folder);
    dram_free(heads);
    close_run(&r);
    return status;
}
