/* distance: the ways in which the student's embedding may be held against the teacher's. */
#ifndef DRAM_BASE_DISTANCE_H
#define DRAM_BASE_DISTANCE_H

/* MSE, COSINE (1 - cos over the channels of a cell) and HUBER (delta 1) are means over cells and channels. CWD is
 * channel-wise distillation ("Channel-wise Knowledge Distillation for Dense Prediction", Shu et al. 2021): for each
 * channel the KL divergence of softmaxes over the cells.
 *
 * A row is: id; word in a config; name in C; whether it reads sam_distill.loss.temperature.
 * src/distill/distill.c has a function NAME_distance for each, and sam_distill.loss.add has a key NAME for its weight.
 */
#define DRAM_DISTANCE_LIST(X)                                                                                          \
    X(DRAM_DISTANCE_MSE, "mse", mse, false)                                                                            \
    X(DRAM_DISTANCE_COSINE, "cosine", cosine, false)                                                                   \
    X(DRAM_DISTANCE_HUBER, "huber", huber, false)                                                                      \
    X(DRAM_DISTANCE_CWD, "cwd", cwd, true)

typedef enum {
#define X(ID, ...) ID,
    DRAM_DISTANCE_LIST(X)
#undef X
        DRAM_DISTANCE_COUNT
} dram_distance;

#endif
