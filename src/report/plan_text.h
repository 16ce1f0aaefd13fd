/* plan_text: a plan as a page for a person, which `dram plan` and `dram train` print. */
#ifndef DRAM_REPORT_PLAN_TEXT_H
#define DRAM_REPORT_PLAN_TEXT_H

#include "plan/plan.h"
#include "report/plan_facts.h"

/* Adds to `out`, the caller's: plain ASCII, lines of 100 columns at most. */
dram_status dram_plan_text(const dram_plan *plan, const dram_plan_facts *facts, dram_str *out);

#endif
