/* progress: what a run shows while it runs: a bar on a terminal, plain lines otherwise. */
#ifndef DRAM_CLI_PROGRESS_H
#define DRAM_CLI_PROGRESS_H

#include <stdio.h>

#include "base/log.h"
#include "check/check.h"
#include "record/sink.h"
#include "train/train.h"

/* A log sink: one line on standard error, above the bar if there is one. */
void dram_progress_log(void *context, dram_log_level level, const char *message);

/* Takes the bar away, before something else is printed. */
void dram_progress_clear(void);

typedef struct {
    FILE *out;     /* where lines go: standard output, or standard error with --json */
    bool terminal; /* draw a bar */
    int every;     /* steps between lines where there is no terminal */
    double told;   /* when it was last said how much of the data was looked at; 0: not yet */
} dram_progress_view;

/* The hooks of dram_train; context is a dram_progress_view. */
void dram_progress_looked(void *context, int done, int all);
void dram_progress_data(void *context, const dram_config *cfg, const dram_check *check);
void dram_progress_fidelity(void *context, const dram_fidelity *fidelity);

/* Steps and evaluations as they come; what it is opened as is a dram_progress_view. */
extern const dram_sink dram_console_sink;

/* "512", "512 padded to 1024": what the teacher sees in training; returns out. */
char *dram_format_teacher_size(const dram_fidelity *fidelity, char *out, size_t size);

/* What a mean of an evaluation left out, after two spaces: "  (class 1 of 2 in no label)"; "" where nothing was. Of
 * the task's numbers, and of the embedding's. */
enum { DRAM_NOTE_ROOM = 160 };
void dram_format_task_note(const dram_eval_result *result, char out[DRAM_NOTE_ROOM]);
void dram_format_cell_note(const dram_eval_result *result, char out[DRAM_NOTE_ROOM]);

#endif
