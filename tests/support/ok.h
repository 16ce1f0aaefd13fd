/* ok: a status that must be one of success, or the test fails with its text. Include after cmocka.h. */
#ifndef DRAM_TESTS_OK_H
#define DRAM_TESTS_OK_H

#include "base/status.h"

static inline void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("status %d: %s", (int)status, dram_error_text());
}

#endif
