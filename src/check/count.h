/* count: what the facts of files come to under a config. Private to src/check. */
#ifndef DRAM_CHECK_COUNT_H
#define DRAM_CHECK_COUNT_H

#include "check/survey.h"

/* Fills the numbers of a data set. DRAM_ERR_MEMORY. */
dram_status dram_count_set(const dram_config *cfg, const dram_surveyed *seen, dram_check_set *out);

/* Fills `copies` of both sets, `between` and `shared`. DRAM_ERR_MEMORY. */
dram_status dram_count_copies(const dram_surveyed *train, const dram_surveyed *val, dram_check *out);

/* One more of them: the first sets the text. */
void dram_some_add(dram_check_some *some, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
