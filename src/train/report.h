/* report: the files and figures that a run leaves. */
#ifndef DRAM_TRAIN_REPORT_H
#define DRAM_TRAIN_REPORT_H

#include <cjson/cJSON.h>

#include "train/train.h"

/* The summary as JSON, fields as the README names them; NULL when memory is out. The caller's: cJSON_Delete. */
cJSON *dram_summary_json(const dram_summary *summary, dram_status status);
cJSON *dram_eval_json(const dram_eval_result *result);
cJSON *dram_fidelity_json(const dram_fidelity *result);

/* Adds a line to evaluations.jsonl: the fields of dram_eval_json and the step. */
dram_status dram_eval_append(const char *path, int64_t step, const dram_eval_result *result);

/* Writes DIRECTORY/summary.json. */
dram_status dram_summary_write(const dram_summary *summary, dram_status status, const char *directory);

#endif
