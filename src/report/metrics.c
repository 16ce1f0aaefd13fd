#include "report/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

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
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n,
                          ",\"planned_peak_bytes\":%" PRId64 ",\"measured_peak_bytes\":%" PRId64, m->planned_peak_bytes,
                          m->measured_peak_bytes);
    if (m->ranks > 1) {
        n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"ranks\":%d", m->ranks);
        n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "wait_seconds", m->wait_seconds);
        n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"last_rank\":%d", m->last_rank);
    }
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, "}\n");
    return n;
}

dram_status dram_metrics_append(const dram_lines *lines, const dram_metrics *metrics)
{
    char line[LINE_MAX_BYTES];
    return dram_lines_append(lines, line, format_line(metrics, line));
}
