/* onnx_values: what the rules of ops share: the values of the evaluation graph as those of the ONNX graph, in the layouts
 * that ops want, and its weights as tensors. For src/export alone. */
#ifndef DRAM_EXPORT_ONNX_VALUES_H
#define DRAM_EXPORT_ONNX_VALUES_H

#include "export/onnx.h"
#include "export/onnx_model.h"

/* How a value of an image lies: NCHW, or NHWC as dram has it. A [N,C] of dram is NCHW with H = W = 1. */
typedef enum { DRAM_ONNX_NCHW, DRAM_ONNX_NHWC, DRAM_ONNX_LAYOUTS } dram_onnx_layout;

typedef struct {
    const char *name[DRAM_ONNX_LAYOUTS]; /* the ONNX value; NULL: not in this layout so far */
    dram_onnx_layout made;               /* in which it was made */
    int readers;                         /* nodes of the exported part that read it, and one more for an output */
    int32_t reader;                      /* the last of them */
    bool constant;                       /* made of weights alone */
    bool tokens;                         /* attention follows: it is best made as NHWC */
    const char *output;                  /* name of the output that it is; NULL: none */
} dram_onnx_value;

typedef struct {
    const dram_export *e;
    const dram_onnx_options *options;
    const dram_graph *g;
    dram_onnx_model *m;
    dram_onnx_type type;    /* of activations and weights */
    dram_onnx_value *value; /* of each value of g */
} dram_onnx;

/* The value in a layout: transposed where it was made in the other. */
const char *dram_onnx_get(dram_onnx *o, dram_val v, dram_onnx_layout layout);

/* The layout in which an op that takes either makes output v of x. */
dram_onnx_layout dram_onnx_choose(const dram_onnx *o, dram_val x, dram_val v);

/* What v is to be called in a layout, and that it is there now. */
const char *dram_onnx_name(dram_onnx *o, dram_val v, dram_onnx_layout layout);
void dram_onnx_set(dram_onnx *o, dram_val v, dram_onnx_layout layout, const char *name);

/* The node that makes v, if v is read by one node alone, which is one of op; else NULL. */
const dram_node *dram_onnx_sole_reader(const dram_onnx *o, dram_val v, dram_op op);
const dram_node *dram_onnx_producer(const dram_onnx *o, dram_val v);

/* ---- weights ---- */

/* The order in which a tensor is written. */
typedef enum {
    DRAM_ONNX_AS_IT_IS,
    DRAM_ONNX_OIHW,       /* [O,kh,kw,I] or [O,I] -> [O,I,kh,kw] */
    DRAM_ONNX_TRANSPOSED, /* [O,I] or [O,1,1,I] -> [I,O] */
    DRAM_ONNX_FIRST       /* [1,h,w,C] -> [1,C,h,w]; [C] -> [C,1,1] */
} dram_onnx_order;

/* Weights of a value, with those of the batch norm behind it folded in. */
typedef struct {
    dram_val weight;       /* DRAM_NONE: of a bias alone */
    dram_val bias;         /* DRAM_NONE: zeros */
    const dram_node *bn;   /* bn_apply; NULL: nothing is folded */
    dram_onnx_order order; /* of the weight */
    dram_onnx_type type;   /* in which it is stored */
} dram_onnx_weights;

/* w' = w gamma / sqrt(var + eps), and b' = beta + (b - mean) gamma / sqrt(var + eps), in double. A vector is
 * written [C,1,1] in the order FIRST. */
const char *dram_onnx_weight(dram_onnx *o, const dram_onnx_weights *w);
const char *dram_onnx_bias(dram_onnx *o, const dram_onnx_weights *w);

#endif
