/* distill: the terms of a distillation loss as graph builders, and when the teacher runs.
 *
 * Each term appends nodes to a graph and gives a scalar [1]. Legend: N batch, S side of the student's image, T side of
 * the teacher's, g = S / 16 (grid of the student's embedding), t = T / 16 (grid of the teacher's).
 */
#ifndef DRAM_DISTILL_DISTILL_H
#define DRAM_DISTILL_DISTILL_H

#include "model/model.h"

/* The teacher's embedding on the student's grid, in the teacher's type: staged pixels u8 [N,T,T,3] and valid i32 [N,2]
 * -> [N,g,g,256]. Detached, and accounted as teacher activations. When t != g the embedding is resampled bilinearly.
 *
 * Placement. device: teacher->space and run_space DEVICE. stream: space HOST, run_space DEVICE: the weights come
 * through the arena. host: both HOST: what is staged, the weights and all values are in the host's space, and the
 * embedding is copied to the device at the end. The bits are the same, and so they are for any teacher->images but for
 * the order of sums in matrix products of another shape. */
dram_val dram_teacher_target(const dram_build *teacher, const dram_arch *arch, dram_val pixels, dram_val valid, int g);

/* How far the student's embedding [N,g,g,256] is from the target, over the cells that mask f32 [N,g,g] says hold image.
 */
dram_val dram_embed_term(dram_graph *graph, dram_embed_mode mode, dram_val embedding, dram_val target, dram_val mask);

/* Resolution distillation. x_low is the student's image f32 [N,S,S,3] scaled by low_scale. Its stride-16 features are
 * taken by the same trunk without gradient, with batch statistics and without touching the running ones; the SR head
 * lifts them to side r = dram_resolution_grid(). The low-resolution path is built before the trunk's own pass, so that
 * it is dead before the student's activations grow. */
int dram_resolution_grid(int student_size, double low_scale, double sr_target_scale);
dram_val dram_resolution_low(const dram_build *student, const dram_build *sr, const dram_arch *arch, dram_val image,
                             double low_scale, double sr_target_scale);

/* lifted [N,r,r,C] against the student's own stride-16 features, resampled to r: both normalised at each position, that
 * is, 1 - cosine. mask f32 [N,r,r]. Gradients flow to both sides. */
dram_val dram_resolution_term(dram_graph *graph, dram_val lifted, const dram_features *features, dram_val mask);

/* Whether the teacher runs at `step` (0 is the first) with one teacher step in every `interval`. */
bool dram_interval_teacher_runs(int64_t step, int interval);

/* mask[cells*cells]: 1 where the middle of a cell lies on image, for an image whose valid part is height x width of a
 * square of `size` pixels. This is the valid area, downsampled bilinearly, above one half. */
void dram_valid_mask(int size, int height, int width, int cells, float *mask);

#endif
