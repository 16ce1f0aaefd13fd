/* parts: sections of a run's page that need more than its logs: the plan made again, the config, the pictures. */
#ifndef DRAM_PAGE_PARTS_H
#define DRAM_PAGE_PARTS_H

#include "page/history.h"
#include "report/plan_facts.h"
#include "session/session.h"

/* The plan of a run, made again from the config in force. Must not be moved. */
typedef struct {
    bool there;
    dram_session session;
    dram_plan_facts facts;
} dram_page_plan;

/* Plans. Where that cannot be, there is false and the history has a warning; so it has where the plan takes other bytes
 * than the run had. DRAM_ERR_MEMORY is all that is returned. */
dram_status dram_page_plan_make(dram_history *history, dram_page_plan *plan);
void dram_page_plan_free(dram_page_plan *plan);

void dram_page_add_categories(const dram_page_plan *plan, dram_str *out); /* a table: bytes when fullest */
dram_status dram_page_add_arena(const dram_page_plan *plan, dram_str *out);
void dram_page_add_levers(const dram_page_plan *plan, dram_str *out);

/* What differs from the defaults, what changed where the run went on, and all of it. */
dram_status dram_page_add_config(const dram_history *history, dram_str *out);

/* The pictures of predictions/ and features/ in the run's folder, as long as they are not too many bytes: what was left
 * out is said. Without any, how to make them. */
dram_status dram_page_add_pictures(const dram_history *history, dram_str *out);

#endif
