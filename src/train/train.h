/* train: builds the programs of a run from its config, and runs, resumes and evaluates it.
 *
 * Object model. A dram_session is a config made into graphs, a plan and, once it is started, weights in an arena.
 * `dram plan` stops after the plan; `dram eval` starts a session with trained weights; `dram train` runs the loop.
 */
#ifndef DRAM_TRAIN_TRAIN_H
#define DRAM_TRAIN_TRAIN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "config/config.h"
#include "device/exec.h"
#include "plan/plan.h"
#include "train/programs.h"

typedef struct {
    const dram_config *cfg; /* not owned; outlives the session */
    dram_programs programs;
    dram_plan *plan;
    int64_t recomputed_flops; /* spent again in the first step program */
    dram_device *device;      /* NULL until started */
    dram_exec *exec;          /* NULL until started */
    int64_t batches_tracked;  /* BatchNorm's num_batches_tracked: what the weights' file said, and the steps since */
} dram_session;

/* Builds the graphs and plans them: no device, no data directory, no weights file is touched.
 * DRAM_ERR_CONFIG: the config asks for what cannot be built. */
dram_status dram_session_plan(const dram_config *cfg, dram_session *session);
void dram_session_close(dram_session *session);

/* The budget in bytes: the config's, what the device has free for `auto`, 0 for none. */
int64_t dram_session_budget(const dram_session *session, int64_t free_bytes);

/* DRAM_ERR_FIT when the plan is above the budget or above free_bytes: the text has the numbers, the floor, and the
 * largest part. */
dram_status dram_session_check_fit(const dram_session *session, int64_t free_bytes);

/* Opens the device, takes the arena, and fills the weights: drawn from the seed, then from the files the config names.
 */
dram_status dram_session_start(dram_session *session);

/* How far a run is, handed to the progress hook after a step. */
typedef struct {
    int64_t step, steps;                               /* step: updates done */
    double loss, loss_task, loss_sam, loss_resolution; /* NAN: the step did not have it */
    double lr, grad_norm, images_per_second, seconds_left;
    int64_t planned_peak_bytes, measured_peak_bytes;
    bool teacher_ran;
} dram_progress;

typedef struct {
    double miou;             /* NAN without labels */
    double pixel_accuracy;   /* NAN without labels */
    double embedding_cosine; /* NAN without a teacher; mean over the images of the mean over valid cells */
    double embedding_mse;    /* NAN without a teacher */
    int images, skipped;
    int classes;
    double class_iou[256]; /* NAN for a class that is in no label */
} dram_eval_result;

typedef struct {
    int64_t steps;
    int64_t planned_peak_bytes, measured_peak_bytes, process_peak_rss_bytes;
    double images_per_second;  /* over the whole loop, evaluation not counted */
    double device_utilization; /* share of the loop in which the device ran a program, 0..1 */
    double cpu_utilization;    /* of the cores this process may use, 0..1 */
    int skipped_images;
    double final_loss;
    bool evaluated;
    dram_eval_result eval;
    bool interrupted;
    char directory[1024]; /* of the run */
} dram_summary;

/* All optional. They are called on the thread that trains. */
typedef struct {
    void *context;
    void (*planned)(void *context, const dram_session *session);
    void (*progress)(void *context, const dram_progress *progress);
    void (*evaluated)(void *context, int64_t step, const dram_eval_result *result);
    const volatile sig_atomic_t *stop; /* non-zero: save and return DRAM_INTERRUPTED after the step */
} dram_hooks;

/* A whole run, its directory and files (see the README). Nothing is written before config, data, weights and plan have
 * been found good. The summary is filled as far as the run came. */
dram_status dram_train(const dram_config *cfg, bool resume, const dram_hooks *hooks, dram_summary *summary);

/* Evaluates the weights in `file` (heads.safetensors is looked for beside it) on data.val. */
dram_status dram_evaluate_file(const dram_config *cfg, const char *file, dram_eval_result *result);

#endif
