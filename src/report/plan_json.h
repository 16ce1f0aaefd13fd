/* plan_json: a plan as `dram plan --json` prints it. */
#ifndef DRAM_REPORT_PLAN_JSON_H
#define DRAM_REPORT_PLAN_JSON_H

#include <cjson/cJSON.h>

#include "plan/plan.h"
#include "report/plan_facts.h"

/* The caller's (cJSON_Delete); NULL: memory is out, with the error's text set. Bytes are those of the plan, rounded up
 * to the profile's alignment. */
cJSON *dram_plan_json(const dram_plan *plan, const dram_plan_facts *facts);

#endif
