/* warnings: counts what dram warns of, and keeps the last. Hand keep_warning to dram_log_set_sink. */
#ifndef DRAM_TESTS_WARNINGS_H
#define DRAM_TESTS_WARNINGS_H

#include <stdio.h>

#include "base/log.h"

static int warnings;
static char last_warning[1024];

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING) return;
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", message);
}

#endif
