/* distill: the terms of a distillation loss as graph builders.
 *
 * Each term appends nodes to a graph and gives a scalar [1]. Legend: N batch, S side of the student's image, T side of
 * the teacher's canvas, g = S / 16 (grid of the student's embedding), t cells of the teacher's (T / 16, or less).
 */
#ifndef DRAM_DISTILL_DISTILL_H
#define DRAM_DISTILL_DISTILL_H

#include "base/distance.h"
#include "model/model.h"

/* The embedding of a network that teaches (model/family.h), on a grid of g cells and in the teacher's type: staged
 * pixels u8 [N,T,T,3] and valid i32 [N,2] -> [N,g,g,256]. Detached, and accounted as teacher activations. Where the
 * image's square is only a corner of the canvas, its t cells are cut out of the embedding. When t != g they are
 * resampled bilinearly.
 *
 * Placement. device: teacher->space and run_space DEVICE. stream: space HOST, run_space DEVICE: the weights come
 * through the arena. host: both HOST: what is staged, the weights and all values are in the host's space, and the
 * embedding is copied to the device at the end. The bits are the same, and so they are for any teacher->images but for
 * the order of sums in matrix products of another shape. */
dram_val dram_teacher_target(const dram_build *teacher, const dram_arch *arch, dram_val pixels, dram_val valid, int t,
                             int g);

/* The same from an embedding that is staged, [N,t,t,256] of any float type -> f32 [N,g,g,256]. */
dram_val dram_staged_target(dram_graph *graph, dram_val embedding, int g);

/* How the student's embedding is held against the target (base/distance.h). */
typedef struct {
    double weight[DRAM_DISTANCE_COUNT]; /* 0: the distance takes no part */
    double temperature;                 /* CWD divides both sides by it before its softmax */
    /* Both sides are first standardised, each channel by the target's mean and variance over the valid cells of the
     * micro-batch, so that loud channels do not drown the others (after "PHI-S: Distribution Balancing for Label-Free
     * Multi-Teacher Distillation", Ranzinger et al. 2024, which weighs several ways to do so). */
    bool standardize;
} dram_embed_choice;

/* The weighted sum of the chosen distances, of which there is one at least, between the student's embedding and the
 * target, both f32 [N,g,g,256], over the cells that mask f32 [N,g,g] says hold image. The target must be detached. */
dram_val dram_embed_term(dram_graph *graph, const dram_embed_choice *choice, dram_val embedding, dram_val target,
                         dram_val mask);

/* Resolution distillation. x_low is the student's image f32 [N,S,S,3] scaled by low_scale. Its stride-16 features are
 * taken by the same trunk with batch statistics and without touching the running ones; the SR head lifts them to side
 * r = dram_resolution_grid(). The low-resolution path is built before the trunk's own pass: without `learns` it has no
 * gradient, and is dead before the student's activations grow. */
int dram_resolution_grid(int student_size, double low_scale, double sr_target_scale);
dram_val dram_resolution_low(const dram_build *student, const dram_build *sr, const dram_arch *arch, dram_val image,
                             double low_scale, double sr_target_scale, bool learns);

/* lifted [N,r,r,C] against the stride-16 features of the full image, resampled to r: both normalised at each position,
 * that is, 1 - cosine. mask f32 [N,r,r]. Gradients flow to each side that has one. standardize: first each channel of both by the mean
 * and variance of the features over the valid cells, as constants; then what all positions have in common counts
 * nothing, and features that become alike everywhere earn nothing. */
dram_val dram_resolution_term(dram_graph *graph, bool standardize, dram_val lifted, const dram_features *features,
                              dram_val mask);

#endif
