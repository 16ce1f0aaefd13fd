/* trunk_graph: a trunk alone in training, in bf16: what planning is measured on. */
#ifndef DRAM_TESTS_TRUNK_GRAPH_H
#define DRAM_TESTS_TRUNK_GRAPH_H

#include "model/model.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "passes/delay.h"

/* image u8 -> trunk -> MSE of the last tap against a target, and the backward. */
static inline dram_status trunk_graph(dram_graph *g, const dram_arch *arch, int batch, int size)
{
    dram_backward *back;
    dram_features f;
    const dram_build b = {.g = g,
                          .group = "student",
                          .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                          .trainable = true,
                          .bn = DRAM_BN_TRAIN,
                          .dtype = DRAM_BF16};
    dram_val pixels = dram_graph_input(g, "image", DRAM_U8, DRAM_SHAPE(batch, size, size, 3));
    dram_val valid = dram_graph_input(g, "valid", DRAM_I32, DRAM_SHAPE(batch, 2));
    dram_val image =
        DRAM_CALL(g, image_norm, "norm", DRAM_ATTR(.mean = {124, 116, 104}, .std = {58, 57, 57}, .dtype = DRAM_BF16),
                  pixels, valid);
    TRY(dram_trunk_build(&b, arch, image, &f));
    dram_val last = DRAM_CALL(g, cast, "f32", DRAM_ATTR(.dtype = DRAM_F32), f.tap[f.n - 1]);
    dram_shape shape = *dram_shape_of(g, last);
    dram_val target = dram_graph_input(g, "target", DRAM_F32, shape);
    dram_val mask = dram_graph_input(g, "mask", DRAM_F32, DRAM_SHAPE(shape.dim[0], shape.dim[1], shape.dim[2]));
    dram_val loss = DRAM_CALL(g, embed_loss, "loss", DRAM_ATTR(.mode = DRAM_EMBED_MSE), last, target, mask);
    dram_val seed = dram_call(g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    dram_graph_output(g, loss);
    dram_status status = dram_backward_build(g, &loss, &seed, 1, &back);
    dram_backward_free(back);
    return status == DRAM_OK ? dram_delay(g) : status;
}

#endif
