/* levers: every way to spend fewer bytes, as settings of a config: how it stands, is pulled, released, and kept by a
 * run that goes on. What each is worth, and the search for a plan within a budget: session/search.h.
 *
 * Exact levers leave every bit of the results as it is. Rounding and quality levers are pulled only where
 * memory.may_change names them. The rows are in session/levers.def. */
#ifndef DRAM_SESSION_LEVERS_H
#define DRAM_SESSION_LEVERS_H

#include "base/str.h"
#include "config/config.h"

/* Who pulls a lever that has no word in memory.may_change. */
typedef enum {
    DRAM_LEVER_AS_SET = -1,     /* nobody: it stays as the config has it */
    DRAM_LEVER_BY_ITSELF = -2,  /* the planner, without leave */
    DRAM_LEVER_IN_THE_PLAN = -3 /* recompute: every plan has as much of it as its bytes ask for (session/build.h) */
} dram_lever_leave;

/* A lever is its index in levers.def, 0..DRAM_LEVERS - 1. */
#define LEVER(...) +1
enum {
    DRAM_LEVERS = 0
#include "session/levers.def"
};
#undef LEVER

const char *dram_lever_name(int lever); /* "in_place"; where memory.may_change has a word for it, that word */
const char *dram_lever_key(int lever);  /* what a user sets: "memory.in_place" */
const char *dram_lever_effect(int lever, const dram_config *cfg); /* on results: "exact", "rounding" or "quality" */

bool dram_lever_is_recompute(int lever); /* which has no field of its own: what follows does nothing with it */

/* Whether the lever means something in this config; if so, whether it is pulled, and its setting ("on", "512"). */
enum { DRAM_LEVER_SETTING = 24 };
bool dram_lever_state(int lever, const dram_config *cfg, bool *pulled, char setting[DRAM_LEVER_SETTING]);

/* Whether the planner may pull it: by itself, or because memory.may_change says so. */
bool dram_lever_may_pull(int lever, const dram_config *cfg);

/* Pulls it one step further; false: there is no step. Or lets it go. */
bool dram_lever_pull(int lever, dram_config *cfg);
void dram_lever_release(int lever, dram_config *cfg);

/* Pulls all that the planner pulls without leave. */
void dram_levers_pull_exact(dram_config *cfg);

/* Sets the levers of `mask`, a set as memory.may_change is, to what they are in `before`, whose strings the config then
 * shares. Adds the names of those that stood otherwise: "accumulate, precision". */
void dram_levers_keep(dram_config *cfg, const dram_config *before, unsigned mask, dram_str *names);

#endif
