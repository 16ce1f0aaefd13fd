/* fact: what a run has to tell: the numbers of a step, an evaluation, a reading of the memory, a text, a picture. */
#ifndef DRAM_RECORD_FACT_H
#define DRAM_RECORD_FACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evaluate/eval.h"

/* A number that the step did not have is NAN. Losses, lr, grad_norm and loss_scale are floats. */
typedef struct {
    int64_t step; /* counted from 0 */
    double loss, loss_task, loss_sam, loss_resolution;
    double lr, grad_norm, loss_scale;
    /* What the losses are means over: labelled pixels, and the images that had no cell to compare (train/step.h). */
    double label_pixels, sam_images_left_out, resolution_images_left_out;
    bool teacher_ran;
    double images_per_second;
    double device_utilization; /* share of the step in which the device ran a program, 0..1 */
    int64_t planned_peak_bytes, measured_peak_bytes;
    /* Told of several ranks alone. */
    int ranks;
    double comm_seconds; /* of the first rank in collectives; NAN: they run beside the step */
    double wait_seconds; /* of the first rank for the others, before the step */
    int last_rank;       /* which all waited for */
} dram_metrics;

/* How far a run is after a step. */
typedef struct {
    int64_t done, steps; /* updates */
    double seconds_left;
    int64_t skipped_steps; /* so far: fp16 steps whose gradient was not finite */
    dram_metrics metrics;  /* of this step */
} dram_progress;

/* What a run holds and what the machine has left: the worst since the reading before. */
typedef struct {
    double seconds;         /* since the loop began; again from 0 when a run goes on */
    int64_t device_bytes;   /* taken from the device, in its own space */
    int64_t process_bytes;  /* resident in RAM */
    int64_t free_bytes;     /* of the machine */
    double cpu_utilization; /* since the reading before, 0 to 1 of the cores */
    int64_t card_free;      /* of a GPU's memory; 0 without one */
    int64_t card_process;   /* what its driver counts to this process; 0: it does not */
} dram_memory_reading;

typedef struct {
    const char *name, *text; /* "plan", and lines */
} dram_fact_text;

typedef struct {
    const char *name;
    int height, width;
    const void *png; /* [bytes] */
    size_t bytes;
} dram_fact_picture;

typedef enum {
    DRAM_FACT_STEP,
    DRAM_FACT_EVALUATION,
    DRAM_FACT_MEMORY,
    DRAM_FACT_TEXT,
    DRAM_FACT_PICTURE
} dram_fact_kind;

typedef struct {
    dram_fact_kind kind;
    int64_t step; /* updates done */
    union {       /* the teller's */
        const dram_progress *progress;
        const dram_eval_result *evaluation;
        const dram_memory_reading *memory;
        const dram_fact_text *text;
        const dram_fact_picture *picture;
    };
} dram_fact;

#endif
