/* headroom: whether a run has the memory it was planned for. What is asked before anything is allocated, and what is
 * done when an allocation fails all the same. On the CPU the device's arena and what waits in host memory are both RAM;
 * a GPU has memory of its own. */
#ifndef DRAM_SESSION_HEADROOM_H
#define DRAM_SESSION_HEADROOM_H

#include "session/session.h"

/* Host memory that a run may take besides its arenas: 64 MiB for code, libraries, graphs and threads; the buffers of
 * the loader's samples, once for training and once for evaluation; and for each loader thread what decoding one image
 * may take (data.max_decode_bytes), the largest part: with smaller images, lower that key and `auto` gives more. */
int64_t dram_headroom_reserve(const dram_config *cfg);

/* Address space, in bytes, that a run on the CPU maps besides its arenas: OpenBLAS's buffers (device/blas.h) and the
 * stacks of compute threads, loader threads and the guard. RAM is what is touched of it, a few MiB, which the reserve
 * holds. Limits such as `ulimit -v` count all of it. On a GPU it is the driver's, and 0 here. */
typedef struct {
    int64_t blas_bytes, stack_bytes;
} dram_mapped;
dram_mapped dram_headroom_mapped(const dram_config *cfg, const dram_profile *profile);

/* DRAM_ERR_FIT for a memory.budget that is more than the device has in all. */
dram_status dram_headroom_check_budget(const dram_config *cfg);

/* dram_budget_plan; with `auto` the budget is what is free, less the reserve, or what may be mapped, less that and what
 * else is mapped. comm: the ranks that run it together, each of which calls this (NULL: one alone). Those of one machine
 * share its memory, and the budget of all is the least. session->comm is comm in any case. */
dram_status dram_headroom_plan(const dram_config *cfg, dram_program_set set, dram_comm *comm, dram_session *session);

/* DRAM_ERR_FIT, with numbers, when the plan is above its budget or above what is free now, less what is still to be
 * taken: by a GPU's libraries, by the process on the CPU (16 MiB); or when the process may not map all that a run maps. */
dram_status dram_headroom_check(const dram_session *session);

/* Checks a session that dram_headroom_plan made from cfg, and starts it. Where the device does not give what was
 * planned: finds out what it really gives, plans the session again within that, with the levers that dram_budget_plan
 * may pull, says so in one line, calls planned(context) (NULL: nothing) and starts again. DRAM_ERR_FIT, with numbers:
 * nothing fits. All ranks of the session call it: they plan again where one of them must, within the least, and none is
 * started where one fails. */
dram_status dram_headroom_start(const dram_config *cfg, dram_session *session, void (*planned)(void *context),
                                void *context);

/* The tier, a config in configs/tiers, for a device with so many bytes: the largest card, in GB of 10^9 bytes as they
 * are sold, that is not larger; 0: there is none that small. */
int dram_headroom_tier(int64_t bytes);

#endif
