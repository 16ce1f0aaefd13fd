/* chain: the cheapest way to run a chain of blocks forward and backward in a given number of bytes.
 *
 * The dynamic program of rotor (Beaumont, Eyraud-Dubois, Herrmann, Joly, Shilova 2019), as it is known from
 * ColossalAI's and Rockmate's solvers, with several save-options for each block (Rockmate, 2023) and exact sizes. It is
 * optimal in time among schedules that keep a stored value until the backward that uses it; a schedule that drops one
 * early can be faster (rarely, and then by little) or, rarer still, need less. Pure numbers: no graph.
 *
 * Stages are 1..length; stage s turns x[s-1] into x[s], and its backward turns the gradient d[s] into d[s-1]. After the
 * last stage comes the loss. Bytes and times are of any unit, 0 or more. A length of 0 is a loss alone.
 *
 * A chain that contradicts itself (dram_chain_check) is DRAM_ERR_INTERNAL wherever a status is returned and the numbers
 * are used. Whatever a failed call was to make is left empty: a schedule needs no freeing then, a solution is not
 * written.
 */
#ifndef DRAM_PASSES_CHAIN_H
#define DRAM_PASSES_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { DRAM_CHAIN_OPTIONS = 12, DRAM_CHAIN_MAX_LENGTH = 1024 };
#define DRAM_CHAIN_MAX_BYTES ((int64_t)1 << 50)

/* A save-option: what a forward may keep for its backward. */
typedef struct {
    int64_t kept;          /* bytes kept after the forward, x[s] included (unless it is pinned) */
    double forward;        /* time */
    double backward;       /* time; what the backward makes again is in it */
    int64_t forward_peak;  /* beyond x[s-1]; at least kept */
    int64_t backward_peak; /* beyond x[s-1]; kept, d[s] and d[s-1] included, held bytes not; at least kept + d[s] */
} dram_chain_option;

typedef struct {
    int64_t x;          /* bytes of x[s]; 0 when pinned */
    int64_t d;          /* bytes of d[s] */
    double forward;     /* time of a forward that keeps nothing but its output */
    int64_t plain_peak; /* peak of that forward beyond x[s-1]; at least x */
    bool pinned;        /* x[s] is kept from its first making on, outside of these numbers: re-makings begin from it */
    /* Further bytes alive while d[s] is the gradient that was reached: gradients of the weights of the stages above s,
     * and gradients that wait at taps below. They count from after the backward of s+1 (the loss) to the end of that of
     * s. What stays after the backward of 1 belongs into its backward_peak. */
    int64_t held;
    int n_options;
    dram_chain_option option[DRAM_CHAIN_OPTIONS];
} dram_chain_stage;

typedef struct {
    int64_t input;     /* bytes of x[0] */
    int64_t loss_peak; /* bytes that the loss needs beyond all that is kept, x[length] too; 0: it is free */
    int length;
    dram_chain_stage *stage; /* stage[1..length]; stage[0] is not used */
} dram_chain;

/* What an operation needs and leaves. x[s] is there alone, as a checkpoint, or inside of what a SAVE of s keeps; one
 * that is alone goes where this says so, a pinned one never, nor one inside of a SAVE. */
typedef enum {
    DRAM_CHAIN_EMPTY,   /* forward of s from x[s-1], which is forgotten, as all inside is; leaves x[s] alone */
    DRAM_CHAIN_KEEP,    /* the same; x[s-1] is kept as a checkpoint (for a pinned one no difference) */
    DRAM_CHAIN_SAVE,    /* forward of s from x[s-1], which stays; leaves what `option` keeps */
    DRAM_CHAIN_LOSS,    /* needs x[length], forgets it, leaves d[length] */
    DRAM_CHAIN_BACKWARD /* needs d[s], x[s-1] and the SAVE of s under `option`; forgets them, leaves d[s-1] */
} dram_chain_kind;

typedef struct {
    dram_chain_kind kind;
    int stage, option; /* stage 0 for LOSS; option 0 but for SAVE and BACKWARD */
} dram_chain_op;

typedef struct {
    dram_chain_op *op;
    int n, room;
} dram_chain_schedule;

void dram_chain_schedule_free(dram_chain_schedule *schedule); /* an empty one is allowed; leaves it empty */

/* Appends an operation. */
dram_status dram_chain_add(dram_chain_schedule *schedule, dram_chain_kind kind, int stage, int option);

/* Refuses numbers that are negative, too large (DRAM_CHAIN_MAX_BYTES), not finite, or against what the structs say. */
dram_status dram_chain_check(const dram_chain *chain);

/* The tables for all budgets up to `bytes` (below 0: nothing fits), in at most max_slots units of memory. Where the
 * sizes would need more units, they are rounded up to larger ones: no schedule needs more bytes than asked for, but one
 * that just fits may be missed. The chain is copied. Takes at most about 2 max_slots length^2 bytes, and time as
 * max_slots length^3. */
typedef struct dram_chain_solution dram_chain_solution;
dram_status dram_chain_solve(const dram_chain *chain, int64_t bytes, int max_slots, dram_chain_solution **solution);
void dram_chain_solution_free(dram_chain_solution *solution); /* NULL is allowed */

/* Least time within `bytes` (no more than solved for: more counts as that), to about 1e-5 of it. INFINITY when nothing
 * fits. Does not rise with bytes. */
double dram_chain_time(const dram_chain_solution *solution, int64_t bytes);

/* The schedule of that time, always the same one among equals. DRAM_ERR_FIT, with the bytes needed, when nothing
 * fits. */
dram_status dram_chain_emit(const dram_chain_solution *solution, int64_t bytes, dram_chain_schedule *schedule);

/* Schedules that need no solving; all SAVE under option 0. stored: everything is kept. blocks: the input of every block
 * is kept, the rest made again. sqrt: the inputs of about sqrt(length) segments are kept, and a segment is made again,
 * all of it kept, when the backward comes to it (Chen et al. 2016). In both the last block or segment is saved at once,
 * nothing coming between it and its backward. */
dram_status dram_chain_stored(const dram_chain *chain, dram_chain_schedule *schedule);
dram_status dram_chain_blocks(const dram_chain *chain, dram_chain_schedule *schedule);
dram_status dram_chain_sqrt(const dram_chain *chain, dram_chain_schedule *schedule);

/* Runs a schedule in numbers: its peak bytes and its time. DRAM_ERR_INTERNAL when an operation lacks its inputs or
 * makes what is still there (unless it is pinned), or the schedule does not end with d[0]. */
dram_status dram_chain_simulate(const dram_chain *chain, const dram_chain_schedule *schedule, int64_t *peak,
                                double *time);

/* The fewest bytes in which a solved schedule runs. */
dram_status dram_chain_floor(const dram_chain *chain, int64_t *bytes);

#endif
