/* The sink of metrics.jsonl: one JSON object a step. A number that the step did not have becomes null, as an infinity
 * does. `distilled` is true exactly when loss_sam is not null. Floats have 9 digits: they come back the same. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/lines.h"
#include "record/sink.h"

enum { LINE_MAX_BYTES = 4096 };

/* ,"key":number or ,"key":null */
static int put_number(char *out, size_t size, const char *key, double value)
{
    if (!isfinite(value)) return snprintf(out, size, ",\"%s\":null", key);
    return snprintf(out, size, ",\"%s\":%.9g", key, value);
}

/* The keys in the order of the file. Each is far below the share of the buffer that is its own. */
static size_t format_line(const dram_metrics *m, char out[LINE_MAX_BYTES])
{
    size_t n = (size_t)snprintf(out, LINE_MAX_BYTES, "{\"step\":%" PRId64, m->step);
    const struct {
        const char *key;
        double value;
    } number[] = {{"loss", m->loss},
                  {"loss_task", m->loss_task},
                  {"loss_sam", m->loss_sam},
                  {"loss_resolution", m->loss_resolution},
                  {"lr", m->lr},
                  {"grad_norm", m->grad_norm},
                  {"loss_scale", m->loss_scale},
                  {"label_pixels", m->label_pixels},
                  {"sam_images_left_out", m->sam_images_left_out},
                  {"resolution_images_left_out", m->resolution_images_left_out}};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, number[i].key, number[i].value);
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"distilled\":%s,\"teacher_ran\":%s",
                          isfinite(m->loss_sam) ? "true" : "false", m->teacher_ran ? "true" : "false");
    n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "images_per_second", m->images_per_second);
    n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "device_utilization", m->device_utilization);
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n,
                          ",\"planned_peak_bytes\":%" PRId64 ",\"measured_peak_bytes\":%" PRId64, m->planned_peak_bytes,
                          m->measured_peak_bytes);
    if (m->ranks > 1) {
        n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"ranks\":%d", m->ranks);
        n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "comm_seconds", m->comm_seconds);
        n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "wait_seconds", m->wait_seconds);
        n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"last_rank\":%d", m->last_rank);
    }
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, "}\n");
    return n;
}

/* Every step has its line. Some may be lost: a checkpoint is synced to the disk, and a log is not. */
static dram_status cut(const char *path, int64_t step)
{
    int64_t kept;
    TRY(dram_lines_truncate(path, step, false, &kept));
    if (kept < step)
        dram_warn("%s: it has no line of %" PRId64 " of the %" PRId64 " steps before; the run goes on without them",
                  path, step - kept, step);
    return DRAM_OK;
}

static dram_status open_lines(const char *path, int64_t step, void **sink)
{
    (void)step;
    dram_lines *lines = dram_calloc(1, sizeof *lines);
    if (!lines) return dram_fail(DRAM_ERR_MEMORY, "no memory for %s", path);
    dram_status status = dram_lines_open(path, lines);
    if (status != DRAM_OK) {
        dram_free(lines);
        return status;
    }
    *sink = lines;
    return DRAM_OK;
}

static dram_status append(void *lines, const dram_fact *fact)
{
    char line[LINE_MAX_BYTES];
    return dram_lines_append(lines, line, format_line(&fact->progress->metrics, line));
}

static int close_lines(void *lines)
{
    int reason = dram_lines_close(lines);
    dram_free(lines);
    return reason;
}

const dram_sink dram_metrics_sink = {.file = "metrics.jsonl",
                                     .facts = 1u << DRAM_FACT_STEP,
                                     .cut = cut,
                                     .open = open_lines,
                                     .fact = append,
                                     .close = close_lines};
