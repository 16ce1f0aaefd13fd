/* fidelity: what the teacher at sam_input_size still says of what it says at 1024.
 *
 * An image goes through the teacher twice: as in training (sam_input_size, pad_to), the embedding brought bilinearly to
 * the grid of 64 x 64 cells, and at 1024. Between the two is taken the cosine at each cell that holds image, and the
 * mean over those.
 */
#ifndef DRAM_EVALUATE_FIDELITY_H
#define DRAM_EVALUATE_FIDELITY_H

#include <signal.h>

#include "data/dataset.h"
#include "session/session.h"

/* How near the teacher's embedding at sam_input_size is to its embedding at full resolution. */
typedef struct {
    int size, canvas, full; /* sam_input_size; pad_to, or the same; 1024 */
    int images, skipped;    /* compared; bad ones */
    int without_cell;       /* too thin to compare; in neither of those */
    double cosine, worst;   /* mean over the images; smallest of an image; NAN: none was compared */
    char worst_image[1024];
    char left_out[200]; /* why nothing was compared before a run; empty: it was */
} dram_fidelity;

/* Whether the teacher in training sees anything else than it does at 1024. */
bool dram_fidelity_means_something(const dram_config *cfg);

/* Every image of a folder; those that are bad are left out with a warning. Nothing to compare: no image, no error.
 * DRAM_ERR_CONFIG: no teacher, no weights, no such folder; DRAM_ERR_FORMAT: none of the images is good. All
 * too thin: no image, no error. stop: as in dram_evaluate, looked at for each image. */
dram_status dram_fidelity_folder(const dram_config *cfg, const char *folder, const volatile sig_atomic_t *stop,
                                 dram_fidelity *result);

/* Before the first step of a run: sam_distill.fidelity_images of its images, in an arena that is given back. `session`
 * is planned and not started.
 *   - The arena would be larger than the run's, or there is not the memory: nothing is compared, and result->left_out
 *     says why.
 *   - Nothing is to be done, as for a teacher at its own size: *asked is false.
 *   - The teacher's weights cannot be read: an error, as it will be for the run.
 * stop: as in dram_fidelity_folder. */
dram_status dram_fidelity_before(const dram_session *session, const dram_dataset *train, bool resume,
                                 const volatile sig_atomic_t *stop, dram_fidelity *result, bool *asked);

#endif
