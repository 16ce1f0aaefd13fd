/* levers: every way to spend fewer bytes, what each saves and costs in this config, and the search for a plan within
 * the budget.
 *
 * Exact levers leave every bit of the results as it is, and the planner pulls them by itself, in the order of their
 * price: those that cost nothing are on from the start, then recompute, then streaming of the teacher. Rounding and
 * quality levers are pulled only where memory.may_change names them.
 */
#ifndef DRAM_TRAIN_LEVERS_H
#define DRAM_TRAIN_LEVERS_H

#include "plan/report.h"
#include "train/fit.h"

enum { DRAM_LEVERS = 15 };

/* All levers that mean something in this config, each planned the other way round: saved_bytes of the device's arena.
 */
dram_status dram_levers(const dram_session *session, dram_lever rows[DRAM_LEVERS], int *n);

/* The config, which takes `arena` bytes as it is, with exact levers and then those of memory.may_change pulled until it
 * fits fit.target bytes: `settled`, which shares its strings with cfg, and is the smallest that was found if none fits.
 * `pulled` names those the planner pulled by itself, in order ("teacher_placement=stream, accumulate=2"). */
dram_status dram_levers_fit(const dram_config *cfg, dram_fit fit, int64_t arena, dram_config *settled,
                            dram_str *pulled);

/* Of the levers that were not pulled, the one that alone makes the plan fit `target`, else the one that saves most:
 * "memory.may_change: [accumulate] would fit it" or the like. */
dram_status dram_levers_advice(const dram_session *session, int64_t target, dram_str *text);

/* The fewest bytes of the device's arena that exact levers can reach. */
dram_status dram_levers_floor(const dram_config *cfg, dram_program_set set, int64_t *bytes);

#endif
