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
#include "base/str.h"
#include "config/config.h"
#include "device/exec.h"
#include "plan/chain.h"
#include "plan/plan.h"
#include "train/programs.h"

typedef struct {
    const dram_config *cfg; /* = &settled */
    dram_config settled; /* as it is run: what was loaded, and the levers that the planner pulled. Its strings are those
                          * of the config that was planned, which outlives the session */
    dram_str pulled;     /* those levers, for a person: "teacher_placement=stream"; empty: none */
    int64_t budget;      /* bytes; 0: none */
    dram_program_set set;
    dram_programs programs;
    dram_chain_schedule schedule[DRAM_PROGRAM_COUNT]; /* recompute's; empty: every block is stored */
    int64_t recomputed_flops[DRAM_PROGRAM_COUNT];     /* spent again */
    dram_plan *plan;
    dram_device *device;     /* NULL until started */
    dram_exec *exec;         /* NULL until started */
    int64_t batches_tracked; /* BatchNorm's num_batches_tracked: what the weights' file said, and the steps since */
} dram_session;

/* Builds the graphs and plans them within memory.budget (`auto`: within auto_bytes, 0 = no limit), pulling levers as
 * train/levers.h says: no device, no data directory, no weights file is touched. Where nothing fits the smallest plan
 * found is given; dram_session_check_fit says so. DRAM_ERR_CONFIG: the config asks for what cannot be built. The
 * session must not be moved afterwards. */
dram_status dram_session_plan(const dram_config *cfg, dram_program_set set, int64_t auto_bytes, dram_session *session);
void dram_session_close(dram_session *session);

/* DRAM_ERR_FIT when the plan is above `limit` (the budget, or what the machine has free: `whose` says which): the text
 * has the numbers, the floor, the largest tensors alive at the peak, and the lever that would help. */
dram_status dram_session_check_fit(const dram_session *session, int64_t limit, const char *whose);

/* Opens the device, takes the arena, and fills the weights: drawn from the seed, then from the files the config names.
 */
dram_status dram_session_start(dram_session *session);

/* How far a run is, handed to the progress hook after a step. */
typedef struct {
    int64_t step, steps;                               /* step: updates done */
    double loss, loss_task, loss_sam, loss_resolution; /* NAN: the step did not have it */
    double lr, grad_norm, images_per_second, seconds_left;
    double loss_scale;     /* of this step; NAN but for fp16 */
    int64_t skipped_steps; /* so far: fp16 steps whose gradient was not finite */
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

/* What the process takes of a GPU, arena and all. */
typedef struct {
    bool gpu;               /* the rest is of one */
    int64_t planned_bytes;  /* the plan's arena, context, libraries and kernels */
    bool overhead_measured; /* the last two were, before (memory.profile) */
    dram_counted counted;   /* by whom it was measured in this run */
    int64_t measured_bytes; /* the most that was read; 0: the driver does not count */
} dram_gpu_process;

typedef struct {
    int64_t steps;
    int64_t planned_peak_bytes, measured_peak_bytes, process_peak_rss_bytes;
    dram_gpu_process process;
    double images_per_second;  /* over the whole loop, evaluation not counted */
    double device_utilization; /* share of the loop in which the device ran a program, 0..1 */
    double cpu_utilization;    /* of the cores this process may use, 0..1 */
    int skipped_images;
    int64_t skipped_steps; /* of fp16: gradients that were not finite */
    double loss_scale;     /* the next step's; NAN but for fp16 */
    double final_loss;
    bool evaluated;
    dram_eval_result eval;
    bool interrupted;
    char directory[1024]; /* of the run */
} dram_summary;

/* How near the teacher's embedding at sam_input_size is to its embedding at full resolution (train/fidelity.h). */
typedef struct {
    int size, canvas, full; /* sam_input_size; pad_to, or the same; 1024 */
    int images, skipped;    /* compared; bad ones */
    double cosine, worst;   /* mean over the images; smallest of an image; NAN: none was compared */
    char worst_image[256];
    char left_out[200]; /* why nothing was compared before a run; empty: it was */
} dram_fidelity;

/* All optional. They are called on the thread that trains. */
typedef struct {
    void *context;
    void (*planned)(void *context, const dram_session *session);
    void (*fidelity)(void *context, const dram_fidelity *fidelity); /* before the first step, where it was asked for */
    void (*progress)(void *context, const dram_progress *progress);
    void (*evaluated)(void *context, int64_t step, const dram_eval_result *result);
    const volatile sig_atomic_t *stop; /* non-zero: save and return DRAM_INTERRUPTED after the step */
} dram_hooks;

/* A whole run, its directory and files (see the README). Nothing is written before config, data, weights and plan have
 * been found good. The summary is filled as far as the run came. */
dram_status dram_train(const dram_config *cfg, bool resume, const dram_hooks *hooks, dram_summary *summary);

/* Evaluates the weights in `file` (heads.safetensors is looked for beside it) on data.val. folder: for the predictions
 * of every image as overlays (train/predictions.h); NULL: none are written. */
dram_status dram_evaluate_file(const dram_config *cfg, const char *file, const char *folder, dram_eval_result *result);

#endif
