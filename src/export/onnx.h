/* onnx: the student as an ONNX file (IR 8, opset 17) for onnxruntime, TensorRT, samexporter and their like.
 *
 * The graph is that of the evaluation program: its nodes are walked and each is written by the rule of its op
 * (onnx_rules.h), batch norm folded into the convolution before it in double precision. It is NCHW, as ONNX has
 * convolutions; where attention works on tokens they stay [N,H,W,C] between the ops.
 */
#ifndef DRAM_EXPORT_ONNX_H
#define DRAM_EXPORT_ONNX_H

#include "export/export.h"

/* What the file gives, f32 in either precision:
 *   FEATURES   the trunk's features: features_2 [1,C,S/2,S/2], features_4, ... (SAM ViT: features_16)
 *   EMBEDDING  trunk and neck: image_embeddings [1,256,g,g]
 *   LOGITS     trunk, neck and task head: logits [1,K,h,w], to be enlarged to the image */
typedef enum { DRAM_ONNX_FEATURES, DRAM_ONNX_EMBEDDING, DRAM_ONNX_LOGITS } dram_onnx_what;

typedef struct {
    dram_onnx_what what;
    const char *input;  /* its name; NULL: image */
    bool preprocess;    /* it is u8 [H,W,3], RGB, of S pixels a side at most, cast, normalised and padded inside; else
                         * f32 [1,3,S,S], normalised and padded with 0 */
    bool dynamic_batch; /* it is [batch,3,S,S] */
    bool half;          /* weights and arithmetic are fp16 */
} dram_onnx_options;

/* DRAM_ERR_CONFIG: options that do not go together; a build without ONNX, which needs protobuf-c and onnx.proto. */
dram_status dram_onnx_check(const dram_onnx_options *options);

/* Writes the file, through a temporary name. DRAM_ERR_CONFIG: as above, no weights of that part, an op without an ONNX
 * form, a number that is too large for fp16, a file of 2 GiB or more. DRAM_ERR_IO: the disk. */
dram_status dram_onnx_write(const dram_export *e, const dram_onnx_options *options, const char *path);

#endif
