/* features: pictures of what teacher and student make of an image.
 *
 * Side by side: the image as the student sees it, the teacher's embedding, the student's. Equal colours are equal
 * features: both embeddings are shown on the teacher's first three principal components (the student's own without a
 * teacher).
 */
#ifndef DRAM_EVALUATE_FEATURES_H
#define DRAM_EVALUATE_FEATURES_H

#include <signal.h>

#include "session/session.h"

typedef struct {
    const char *image, *path; /* what was read, and the picture that was written */
    double cosine, mse;       /* student to teacher, as in evaluation; NAN: there is no teacher, or no cell */
    double explained;         /* share of the variance that the three components hold; NAN: no cell, or all are alike */
    bool no_cell;             /* the image is too thin to hold one: nothing was compared */
} dram_features_picture;

/* Writes FOLDER/STEM.png for every image, in order; `written` (NULL: nothing) is called after each, and `stop` is looked
 * at before each, as in dram_evaluate. Weights as in
 * dram_evaluate_file. DRAM_ERR_CONFIG, before anything runs: no such image, the folder cannot be written to, two
 * pictures would have one name, or a picture would take the place of its image. DRAM_ERR_FORMAT: what was named is no
 * image; the pictures of those before it are there. */
dram_status dram_features_write(const dram_config *cfg, const char *weights, const char *folder,
                                const char *const *images, int n, const volatile sig_atomic_t *stop,
                                void (*written)(void *context, const dram_features_picture *picture), void *context);

#endif
