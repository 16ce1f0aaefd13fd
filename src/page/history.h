/* history: what a run's directory holds, read for a page. What is not there, cannot be read or was left out is a warning
 * of the history, and no error: a run that was broken off has a page too. */
#ifndef DRAM_PAGE_HISTORY_H
#define DRAM_PAGE_HISTORY_H

#include "config/config.h"
#include "page/log.h"

/* Columns of metrics.jsonl, evaluations.jsonl, memory.jsonl, by the names of their keys. The first rises. */
#define DRAM_METRIC_LIST(X)                                                                                            \
    X(STEP, step)                                                                                                      \
    X(LOSS, loss)                                                                                                      \
    X(TASK, loss_task)                                                                                                 \
    X(SAM, loss_sam)                                                                                                   \
    X(RESOLUTION, loss_resolution)                                                                                     \
    X(LR, lr)                                                                                                          \
    X(GRAD_NORM, grad_norm)                                                                                            \
    X(LOSS_SCALE, loss_scale)                                                                                          \
    X(IMAGES_PER_SECOND, images_per_second)                                                                            \
    X(PLANNED, planned_peak_bytes)                                                                                     \
    X(MEASURED, measured_peak_bytes)                                                                                   \
    X(DISTILLED, distilled)
#define DRAM_EVALUATION_LIST(X)                                                                                        \
    X(STEP, step)                                                                                                      \
    X(MIOU, miou)                                                                                                      \
    X(ACCURACY, pixel_accuracy)                                                                                        \
    X(COSINE, embedding_cosine)                                                                                        \
    X(MSE, embedding_mse)                                                                                              \
    X(IMAGES, images)
#define DRAM_MEMORY_LIST(X)                                                                                            \
    X(STEP, step)                                                                                                      \
    X(SECONDS, seconds)                                                                                                \
    X(DEVICE, device_bytes)                                                                                            \
    X(PROCESS, process_rss_bytes)                                                                                      \
    X(CARD, device_process_bytes)                                                                                      \
    X(FREE, free_bytes)

enum {
#define X(ID, KEY) DRAM_METRIC_##ID,
    DRAM_METRIC_LIST(X)
#undef X
        DRAM_METRICS
};
enum {
#define X(ID, KEY) DRAM_EVALUATION_##ID,
    DRAM_EVALUATION_LIST(X)
#undef X
        DRAM_EVALUATIONS
};
enum {
#define X(ID, KEY) DRAM_MEMORY_##ID,
    DRAM_MEMORY_LIST(X)
#undef X
        DRAM_MEMORIES
};

typedef enum {
    DRAM_HISTORY_DONE,      /* all its steps */
    DRAM_HISTORY_PAUSED,    /* it came to train.stop_at */
    DRAM_HISTORY_FAILED,    /* summary.json has another exit code than 0 */
    DRAM_HISTORY_BROKEN_OFF /* there is no summary.json, or more steps than it knows: broken off, or still running */
} dram_history_state;

/* A config of the run: that with which it began, and each with which it went on. */
enum { DRAM_HISTORY_CONFIGS = 64, DRAM_HISTORY_STARTS = 256, DRAM_HISTORY_WARNINGS = 64 };
typedef struct {
    int64_t step;
    int again;
    char *path;       /* owned */
    dram_config *cfg; /* NULL: it cannot be read, a warning says why; owned */
    char *said;       /* its comment, what the planner pulled; NULL: none; owned */
} dram_history_config;

typedef struct {
    const char *directory; /* the caller's */
    char *name;            /* of the config, else the folder's; owned */
    dram_log metrics, evaluations, memory;
    double *elapsed;  /* [memory.n]: seconds of training up to each line, over all starts; owned */
    cJSON *summary;   /* NULL: none; owned */
    cJSON *saved;     /* checkpoint.json of the newest checkpoint; NULL: none; owned */
    int64_t saved_at; /* its step; -1: there is none */
    dram_history_state state;
    int exit;                                          /* of the summary; 0 without one */
    dram_history_config configs[DRAM_HISTORY_CONFIGS]; /* by step; the last is in force */
    int n_configs;
    dram_history_config base; /* what it was made from: its own base.yaml or its sweep's; path NULL: not known */
    double starts[DRAM_HISTORY_STARTS];  /* steps at which the run went on, rising */
    double started[DRAM_HISTORY_STARTS]; /* the seconds of training then */
    int n_starts;
    char *warnings[DRAM_HISTORY_WARNINGS]; /* for a person; owned */
    int n_warnings;
} dram_history;

/* Whether the folder is that of a run, which has a config.yaml; or that of one of its checkpoints, which has a
 * state.json too. */
bool dram_history_is_run(const char *directory);
bool dram_history_is_checkpoint(const char *directory);

/* Reads the run. DRAM_ERR_CONFIG: the folder is no run's, or cannot be read; DRAM_ERR_MEMORY. *history is to be freed
 * after success, and {0} after a failure. */
dram_status dram_history_read(const char *directory, dram_history *history);
void dram_history_free(dram_history *history); /* leaves {0} */

/* One more warning, printf form; what is beyond their number is counted in the last. */
void dram_history_warn(dram_history *history, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The config in force, NULL where it cannot be read; updates that were made; the state for a person. */
const dram_config *dram_history_cfg(const dram_history *history);
int64_t dram_history_steps(const dram_history *history);
void dram_history_say_state(const dram_history *history, dram_str *out);

/* A number of summary.json by its path, "eval.miou"; NAN: there is none. */
double dram_history_number(const dram_history *history, const char *path);

/* Of the last evaluation, that of the summary first: "miou". NAN: there is none. */
double dram_history_quality(const dram_history *history, const char *field);

/* Seconds of training; NAN: they were not written down. */
double dram_history_seconds(const dram_history *history);

#endif
