/* The sink of memory.jsonl: one JSON object a reading of the memory: seconds (since the loop began, again from 0 when a
 * run goes on), step (updates done), device_bytes, process_rss_bytes, free_bytes (the worst since the line before),
 * cpu_utilization (since then, 0 to 1 of the cores) and, on a GPU, device_free_bytes and device_process_bytes (the worst
 * of what it has free, and of what it counts to this process where it does). A run goes on without the file if it
 * cannot be written. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/lines.h"
#include "record/sink.h"

enum { LINE_ROOM = 512 };

typedef struct {
    const char *path;
    dram_lines lines;
} log_file;

/* A line's step is done, so that those of the last one stay. */
static dram_status cut(const char *path, int64_t step)
{
    return dram_lines_truncate(path, step + 1, true, NULL);
}

static dram_status open_log(const char *path, int64_t step, void **sink)
{
    (void)step;
    log_file *log = dram_calloc(1, sizeof *log);
    if (!log) return dram_fail(DRAM_ERR_MEMORY, "no memory for %s", path);
    log->path = path;
    dram_status status = dram_lines_open(path, &log->lines);
    if (status != DRAM_OK) {
        dram_free(log);
        return status;
    }
    *sink = log;
    return DRAM_OK;
}

static dram_status append(void *sink, const dram_fact *fact)
{
    log_file *log = sink;
    char line[LINE_ROOM], card[64] = "", process[64] = "";
    const dram_memory_reading *m = fact->memory;
    if (!log->lines.path) return DRAM_OK;
    if (m->card_free) snprintf(card, sizeof card, ",\"device_free_bytes\":%" PRId64, m->card_free);
    if (m->card_process) snprintf(process, sizeof process, ",\"device_process_bytes\":%" PRId64, m->card_process);
    int n = snprintf(line, sizeof line,
                     "{\"seconds\":%.3f,\"step\":%" PRId64 ",\"device_bytes\":%" PRId64
                     ",\"process_rss_bytes\":%" PRId64 ",\"free_bytes\":%" PRId64 ",\"cpu_utilization\":%.3f%s%s}\n",
                     m->seconds, fact->step, m->device_bytes, m->process_bytes, m->free_bytes, m->cpu_utilization, card,
                     process);
    int reason = dram_lines_write(&log->lines, line, (size_t)n);
    if (!reason) return DRAM_OK;
    dram_warn("%s cannot be written: %s; the memory is watched without it", log->path, strerror(reason));
    dram_lines_close(&log->lines); /* what was lost is said */
    return DRAM_OK;
}

static int close_log(void *sink)
{
    log_file *log = sink;
    int reason = dram_lines_close(&log->lines);
    dram_free(log);
    return reason;
}

const dram_sink dram_memory_sink = {.file = "memory.jsonl",
                                    .each_rank = true,
                                    .facts = 1u << DRAM_FACT_MEMORY,
                                    .cut = cut,
                                    .open = open_log,
                                    .fact = append,
                                    .close = close_log};
