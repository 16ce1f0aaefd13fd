#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"

static dram_log_sink log_sink;
static void *log_context;
static _Thread_local bool hushed;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

void dram_log_set_sink(dram_log_sink sink, void *context)
{
    log_sink = sink;
    log_context = context;
}

static void send(dram_log_level level, const char *format, va_list args)
{
    char text[1024], message[1024];
    if (!log_sink) return;
    vsnprintf(text, sizeof text, format, args);
    dram_visible(text, message, sizeof message);
    pthread_mutex_lock(&log_lock);
    log_sink(log_context, level, message);
    pthread_mutex_unlock(&log_lock);
}

void dram_log_hush(bool hush)
{
    hushed = hush;
}

void dram_info(const char *format, ...)
{
    va_list args;
    if (hushed) return;
    va_start(args, format);
    send(DRAM_LOG_INFO, format, args);
    va_end(args);
}

void dram_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    send(DRAM_LOG_WARNING, format, args);
    va_end(args);
}
