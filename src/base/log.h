/* log: messages for a person, handed to whoever installed a sink (src/cli does). Libraries never print. */
#ifndef DRAM_BASE_LOG_H
#define DRAM_BASE_LOG_H

#include <stdbool.h>

typedef enum { DRAM_LOG_INFO, DRAM_LOG_WARNING } dram_log_level;

/* Receives one message, without a newline or another control character (base/str.h: dram_visible). It may be called from
 * any thread, one call at a time. */
typedef void (*dram_log_sink)(void *context, dram_log_level level, const char *message);

/* Installs the sink (NULL: messages are dropped). Call it before other threads start. */
void dram_log_set_sink(dram_log_sink sink, void *context);

/* Drops what dram_info is given on this thread, until it is called with false: where the same is done many times. */
void dram_log_hush(bool hush);

void dram_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void dram_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
