/* The sink of evaluations.jsonl: the fields of dram_eval_json and the step, a line an evaluation. The file is made with the
 * first of them. */
#include <string.h>

#include "base/str.h"
#include "io/lines.h"
#include "record/sink.h"
#include "report/summary.h"

static dram_status cut(const char *path, int64_t step)
{
    return dram_lines_truncate(path, step, false, NULL);
}

static dram_status open_path(const char *path, int64_t step, void **sink)
{
    (void)step;
    *sink = (void *)path;
    return DRAM_OK;
}

static dram_status append(const char *path, const dram_str *text)
{
    dram_lines lines;
    TRY(dram_lines_open(path, &lines));
    dram_status status = dram_lines_append(&lines, text->text, text->length);
    int reason = dram_lines_close(&lines);
    if (reason && status == DRAM_OK) status = dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", path, strerror(reason));
    return status;
}

static dram_status add_line(void *path, const dram_fact *fact)
{
    dram_str text = {0};
    dram_status status;
    cJSON *object = dram_eval_json(fact->evaluation);
    bool good = object && cJSON_AddNumberToObject(object, "step", (double)fact->step);
    char *line = good ? cJSON_PrintUnformatted(object) : NULL;
    if (line) dram_str_add(&text, "%s\n", line);
    cJSON_Delete(object);
    cJSON_free(line);
    if (!line || text.failed)
        status = dram_fail(DRAM_ERR_MEMORY, "no memory for the evaluation");
    else
        status = append(path, &text);
    dram_str_free(&text);
    return status;
}

const dram_sink dram_evaluations_sink = {
    .file = "evaluations.jsonl", .facts = 1u << DRAM_FACT_EVALUATION, .cut = cut, .open = open_path, .fact = add_line};
