#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static _Thread_local char error_text[2048];

dram_status dram_fail(dram_status status, const char *format, ...)
{
    if (error_text[0] == '\0') {
        char text[sizeof error_text];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        dram_visible(text, error_text, sizeof error_text);
        va_end(args);
    }
    return status;
}

const char *dram_error_text(void)
{
    return error_text;
}

dram_status dram_error_prefix(dram_status status, const char *where)
{
    char shown[sizeof error_text];
    size_t more = strlen(dram_visible(where, shown, sizeof shown)), have = strlen(error_text),
           room = sizeof error_text - 1;
    if (!have || more >= room) return status;
    if (have > room - more) have = room - more;
    memmove(error_text + more, error_text, have);
    memcpy(error_text, shown, more);
    error_text[more + have] = '\0';
    return status;
}

void dram_error_clear(void)
{
    error_text[0] = '\0';
}

int dram_status_exit(dram_status status)
{
    static const int exit_code[DRAM_STATUS_COUNT] = {
#define X(ID, EXIT, TEXT) [DRAM_##ID] = EXIT,
        DRAM_STATUS_LIST(X)
#undef X
    };
    return exit_code[status];
}

const char *dram_status_text(dram_status status)
{
    static const char *const text[DRAM_STATUS_COUNT] = {
#define X(ID, EXIT, TEXT) [DRAM_##ID] = TEXT,
        DRAM_STATUS_LIST(X)
#undef X
    };
    return text[status];
}
