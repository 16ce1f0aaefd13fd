/* summary: what a run came to: summary.json, and the results in it as JSON. */
#ifndef DRAM_REPORT_SUMMARY_H
#define DRAM_REPORT_SUMMARY_H

#include <cjson/cJSON.h>

#include "check/check.h"
#include "evaluate/eval.h"
#include "evaluate/features.h"
#include "evaluate/fidelity.h"

/* What the process takes of a GPU, arena and all, and how it is launched. */
typedef struct {
    bool gpu;               /* the rest is of one */
    int64_t planned_bytes;  /* the plan's arena, context, libraries and kernels */
    bool overhead_measured; /* the last two were, before (memory.profile) */
    dram_counted counted;   /* by whom it was measured in this run */
    int64_t measured_bytes; /* the most that was read; 0: the driver does not count */
    int recorded, refused; /* programs that were recorded, and that could not be: those are launched kernel by kernel */
    char refused_why[256]; /* of the first of them */
} dram_gpu_process;

/* Of several ranks. */
enum { DRAM_SUMMARY_RANKS = 4096, DRAM_SUMMARY_VARIABLES = 16 };
typedef struct {
    int ranks;  /* 0: one alone, and the rest is of no use */
    int nodes;  /* machines */
    bool fast;  /* gradients are added as the library does, else in rank order */
    bool local; /* BatchNorm's statistics are each rank's own */
    char backend[16], version[96], launcher[32];
    int channels;          /* that NCCL may have; 0: it is another library */
    int64_t planned_bytes; /* that it is assumed to take of the device; 0: none */
    int64_t taken_bytes;   /* that it says it has taken on the first rank; 0: it does not tell */
    const char *environment[DRAM_SUMMARY_VARIABLES][2]; /* [variables] name and value of what dram has set for it */
    int variables;
    double comm_seconds; /* of the first rank in collectives of steps; NAN: they ran beside them */
    double wait_seconds; /* of the first rank for the others, before steps */
    int failed_rank;     /* whose failure ended the run; -1: nobody's */
    char failed_text[1024];
    bool measured;                           /* the next is there: all ranks came to the end */
    int64_t arena_bytes[DRAM_SUMMARY_RANKS]; /* measured, of each */
} dram_summary_ranks;

typedef struct {
    int64_t steps; /* done */
    int64_t
        steps_in_all; /* train.steps: more than `steps` where the run has ended for now (train.stop_at), or not well */
    int64_t planned_peak_bytes, measured_peak_bytes, process_peak_rss_bytes;
    dram_gpu_process process;
    dram_summary_ranks distributed;
    double images_per_second;  /* over the whole loop, evaluation not counted */
    double device_utilization; /* share of the loop in which the device ran a program, 0..1 */
    double cpu_utilization;    /* of the cores this process may use, 0..1 */
    int skipped_images;
    int64_t skipped_steps; /* of fp16: gradients that were not finite */
    double loss_scale;     /* the next step's; NAN but for fp16 */
    double final_loss;
    bool evaluated;
    dram_eval_result eval;
    dram_check data;      /* nothing there until it was looked at */
    char directory[1024]; /* of the run */
} dram_summary;

/* The summary as JSON, fields as the README names them; NULL when memory is out. The caller's: cJSON_Delete. */
cJSON *dram_summary_json(const dram_summary *summary, dram_status status);
cJSON *dram_eval_json(const dram_eval_result *result);
cJSON *dram_fidelity_json(const dram_fidelity *result);
cJSON *dram_picture_json(const dram_features_picture *picture);

/* Writes DIRECTORY/summary.json. Of a run whose steps were all done before (again), what the file has of as many steps
 * stays, and the evaluation and the exit code are put in. */
dram_status dram_summary_write(const dram_summary *summary, dram_status status, bool again, const char *directory);

/* *done: DIRECTORY/summary.json is that of a run of so many steps which came to its end. */
dram_status dram_summary_done(const char *directory, int64_t steps, bool *done);

#endif
