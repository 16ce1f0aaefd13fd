/* budget: a session planned within so many bytes, and what is said where that cannot be. */
#ifndef DRAM_SESSION_BUDGET_H
#define DRAM_SESSION_BUDGET_H

#include "session/session.h"

/* Builds the graphs and plans them within memory.budget (`auto`: within auto_bytes, 0 = no limit), pulling levers as
 * session/search.h says: no device, no data directory, no weights file is touched. Where nothing fits the smallest plan
 * found is given; dram_budget_check says so. DRAM_ERR_CONFIG: the config asks for what cannot be built. */
dram_status dram_budget_plan(const dram_config *cfg, dram_program_set set, int64_t auto_bytes, dram_session *session);

/* DRAM_ERR_FIT when the plan is above `limit` (the budget, or what the machine has free: `whose` says which): the text
 * has the numbers, the floor, the largest tensors alive at the peak, and the lever that would help. */
dram_status dram_budget_check(const dram_session *session, int64_t limit, const char *whose);

#endif
