/* estimate: what a plan would take on a card (plan/roofline.h), as `dram plan --card` says it. */
#ifndef DRAM_REPORT_ESTIMATE_H
#define DRAM_REPORT_ESTIMATE_H

#include <cjson/cJSON.h>

#include "plan/roofline.h"
#include "session/session.h"

/* Appends lines for a person. The plan must be of the card's kind of device. */
dram_status dram_estimate_text(const dram_session *session, const dram_card *card, dram_str *out);

/* "card" of `dram plan --json`: the caller's (cJSON_Delete); NULL: memory is out, with the error's text set. */
cJSON *dram_estimate_json(const dram_session *session, const dram_card *card);

#endif
