/* plan_dump: where every value of a plan lies and how long, as `dram plan --dump` writes it.
 *
 * {"programs": [{"name", "values": [{"name", "space", "offset", "size", "first", "last", "alias"}]}]}. An offset is one
 * in the arena of its space ("device", "pinned", "host"). Every slot is in every program, read by it or not, for its
 * bytes are held. Workspaces are values named "NODE.workspace".
 */
#ifndef DRAM_REPORT_PLAN_DUMP_H
#define DRAM_REPORT_PLAN_DUMP_H

#include <cjson/cJSON.h>

#include "plan/plan.h"

/* The caller's (cJSON_Delete); NULL: memory is out, with the error's text set. */
cJSON *dram_plan_dump(const dram_plan *plan);

#endif
