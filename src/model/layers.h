/* layers: what the network builders share: a weight and the node that reads it, in one call.
 *
 * Layers take and give values of the graph and name their slots after `name` below the present scope. After a failure
 * (sticky in the graph) they do nothing and give DRAM_NONE.
 */
#ifndef DRAM_MODEL_LAYERS_H
#define DRAM_MODEL_LAYERS_H

#include "model/model.h"

typedef struct {
    const dram_build *b;
    dram_graph *g;
    int outer; /* length of the caller's scope */
    int base;  /* length of the scope with the group: slots are named by what follows */
} dram_layers;

dram_layers dram_layers_enter(const dram_build *b);
void dram_layers_leave(const dram_layers *l);

/* The last dimension of x, and dimension i; 1 after a failure. */
int dram_channels(const dram_layers *l, dram_val x);
int dram_dim(const dram_layers *l, dram_val x, int i);

/* A slot that is no matrix: bias, norm, position. Takes no weight decay.
 *
 * Of this and all that follows: a weight that is kept in another space than the graph is in now comes as a copy, which
 * is made here, whenever it is read. */
dram_val dram_layer_slot(const dram_layers *l, const char *name, dram_shape shape, dram_init init, float std);

/* x in the builder's type: x itself when it has it. */
dram_val dram_layer_cast(const dram_layers *l, dram_val x);

typedef struct {
    int out, kernel, stride, groups; /* padded by kernel / 2, but not when stride == kernel (patches) */
    float std;
    dram_init init; /* DRAM_INIT_NORMAL or DRAM_INIT_TRUNC_NORMAL */
    bool bias;      /* begins at 0 */
} dram_conv_layer;

/* x [N,H,W,I] -> [N,H',W',out], weight `name`.weight [out,kernel,kernel,I/groups]. A 1x1 of stride 1 is a `linear`, for
 * which x may also be [N,I]. */
dram_val dram_layer_conv(const dram_layers *l, const char *name, dram_val x, dram_conv_layer conv);

/* LayerNorm over the last dimension, eps 1e-6. */
dram_val dram_layer_norm(const dram_layers *l, const char *name, dram_val x);

/* The same, and a linear layer (x [...,I] -> [...,out], weight `name`.weight [out,I] normal, cut at two std, and bias),
 * in two parts: the weights, fetched in the scope that names them and perhaps ahead of their use, and a run, of which
 * there may be several. `name` is not copied. */
typedef struct {
    dram_val weight, bias; /* bias DRAM_NONE: none */
    const char *name;
} dram_affine;
dram_affine dram_layer_conv_weights(const dram_layers *l, const char *name, int in, dram_conv_layer conv);
dram_val dram_layer_conv_run(const dram_layers *l, const dram_affine *a, dram_val x, dram_conv_layer conv);
dram_affine dram_layer_linear_weights(const dram_layers *l, const char *name, int in, int out, float std);
dram_val dram_layer_linear_run(const dram_layers *l, const dram_affine *a, dram_val x);
/* Whether no gradient comes by a node that reads these, n of them; DRAM_NONE is none. */
bool dram_layer_detached(const dram_layers *l, const dram_val *in, int n);
/* With a GELU behind it: one node where no gradient comes by, else two, since GELU's gradient reads what goes into it.
 * The bits are the same. */
dram_val dram_layer_linear_gelu_run(const dram_layers *l, const dram_affine *a, dram_val x);
dram_affine dram_layer_norm_weights(const dram_layers *l, const char *name, int channels);
dram_val dram_layer_norm_run(const dram_layers *l, const dram_affine *a, dram_val x);

/* Batch norm with PyTorch's eps 1e-5 and momentum 0.1, then + residual if it is given, then act. gamma begins at
 * `gamma`. */
dram_val dram_layer_bn(const dram_layers *l, const char *name, dram_val x, dram_val residual, dram_act act,
                       dram_init gamma);

/* The same in two parts, for where a block ends between them: what is kept of the stem is then its convolution, not
 * both. */
typedef struct {
    dram_val x, mean, var, gamma, beta;
    bool batch;
    const char *name;
} dram_bn;
dram_bn dram_layer_bn_stats(const dram_layers *l, const char *name, dram_val x, dram_init gamma);
dram_val dram_layer_bn_apply(const dram_layers *l, const dram_bn *bn, dram_val residual, dram_act act);

/* Bilinear, as F.interpolate with align_corners=False; x itself when it has that size. */
dram_val dram_layer_resize(const dram_layers *l, const char *name, dram_val x, int out_h, int out_w);

#endif
