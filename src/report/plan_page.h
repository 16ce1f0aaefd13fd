/* plan_page: a session's plan, for a person and as JSON; `dram plan` and `dram train` print the same. */
#ifndef DRAM_REPORT_PLAN_PAGE_H
#define DRAM_REPORT_PLAN_PAGE_H

#include <cjson/cJSON.h>

#include "session/session.h"

dram_status dram_plan_page(const dram_session *session, dram_str *out); /* adds to out */
cJSON *dram_plan_page_json(const dram_session *session);                /* NULL after a failure, whose text is kept */

#endif
