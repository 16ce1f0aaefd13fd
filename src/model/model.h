/* model: graph builders for the networks, and the registry that names them.
 *
 * A builder appends the forward of a network to a graph and makes its weights as slots. Nothing here runs, reads a file
 * or knows a device. Failures are sticky in the graph (ir/graph.h): builders give DRAM_NONE or the graph's status.
 *
 * Names. Every builder puts its nodes into a scope named after `group`, below the scope that the caller has pushed. The
 * slots' names are what follows the group: letter for letter timm's for the trunks ("s1.b1.conv1.conv.weight",
 * "blocks.0.attn.qkv.weight"), whatever scope the caller is in. So a trunk may be built several times in one graph
 * (at two sizes, say) and has one set of weights.
 *
 * Legend of shapes: N batch, H W height and width, C channels, D embedding width, d = D / heads, K classes.
 */
#ifndef DRAM_MODEL_MODEL_H
#define DRAM_MODEL_MODEL_H

#include "ir/graph.h"

typedef enum {
    DRAM_BN_TRAIN, /* normalise with the batch's statistics and move the running ones */
    DRAM_BN_BATCH, /* normalise with the batch's statistics, running ones untouched (recomputation, a second pass) */
    DRAM_BN_EVAL   /* normalise with the running statistics */
} dram_bn_mode;

/* How a builder makes its weights and nodes. */
typedef struct {
    dram_graph *g;
    const char *group;      /* of its slots: "teacher", "student", "mean", "neck", "head", "sr"; static text */
    dram_category category; /* of its slots */
    bool trainable;
    dram_bn_mode bn;
    dram_dtype dtype; /* of activations, and of the matrices that meet them: frozen weights are kept in it, trained ones
                       * are kept in f32 and cast */
    dram_space space; /* of frozen weights: DEVICE, or HOST, whence they pass through the arena a block at a time */
    int ranks; /* above 1: a frozen weight in space is a shard on each rank, and is gathered a block at a time; 0, 1: whole */
    dram_space run_space; /* of a teacher (distill/): DEVICE, or HOST: with all its values there, run by the CPU */
    int native; /* side of the images that the weights are of (SAM ViT), a multiple of DRAM_VIT_PATCH; 0: the network's */
    int images;    /* of the batch that pass through a block together (SAM ViT, frozen); 0: all */
    bool keep_f32; /* frozen matrices are kept in f32 and cast, as trained ones are: they are saved as they came */
    bool low_bias; /* biases of frozen linears are in `dtype`, rounded as they are loaded: for a GPU, whose library adds
                    * no other */
    int deepest;   /* stride of the last tap that is wanted, where there are several; 0: all */
    bool zero_init_last; /* RegNet: each block's conv3.bn.weight begins at 0 (timm's default), not 1 */
} dram_build;

/* A network of the registry. */
typedef struct {
    const char *name;
    const struct dram_family *family; /* model/family.h */
    int blocks;                       /* residual or transformer blocks */
    int native;                       /* side of the images that its teacher was trained on; 0: any */
    const void *numbers;              /* what it is computed from, for its family alone */
} dram_arch;

enum {
    DRAM_EMBED_CHANNELS = 256, /* of SAM's embedding, and of what the neck gives */
    DRAM_VIT_PATCH = 16        /* pixels, and so the embedding's stride */
};

/* NULL when there is no such network. Static data. */
const dram_arch *dram_arch_find(const char *name);

/* Network i of the registry, from 0 on; NULL behind the last. Static data. */
const dram_arch *dram_arch_at(int i);

/* The names of all students (every network may be one) or of all teachers, in the order of the alphabet, into
 * names[0..DRAM_ARCHS_MOST); returns their number. */
enum { DRAM_ARCHS_MOST = 256 };
int dram_arch_names(bool teachers, const char **names);

/* What a trunk gives, by increasing stride. tap[i] is [N, H/stride, W/stride, channels] (rounded up). */
enum { DRAM_TAPS = 5 }; /* at most */
typedef struct {
    int n;
    dram_val tap[DRAM_TAPS];
    int stride[DRAM_TAPS];
    int channels[DRAM_TAPS];
    bool batch_norm; /* the trunk has batch norms, and so has what stands on it */
} dram_features;

/* image f32 [N,H,W,3], normalised. RegNet: the taps of timm's features_only: stem (stride 2), s1 (4), s2 (8), s3 (16),
 * s4 (32). SAM ViT: one tap, the embedding (stride 16, 256 channels); H and W must be multiples of 16. */
dram_status dram_trunk_build(const dram_build *b, const dram_arch *arch, dram_val image, dram_features *out);

/* Staged pixels u8 [N,H,W,3] with the extent of their valid part, i32 [N,2] -> [N,H,W,3] of that type, as the trunks
 * take it: normalised with ImageNet's mean and standard deviation, which are also SAM's, and 0 outside the valid
 * part. */
dram_val dram_image_build(dram_graph *g, const char *name, dram_dtype dtype, dram_val pixels, dram_val valid);

/* Student features -> [N,H/16,W/16,256], to be held against the teacher's embedding. RegNet: 1x1 on stride 16 and on
 * stride 32, the latter upsampled (the merge of EdgeSAM's neck), then LayerNorm, 3x3, LayerNorm as in SAM's own neck.
 * SAM ViT: its embedding as it is, no weights. */
dram_val dram_neck_build(const dram_build *b, const dram_features *f);

/* Task head: -> logits [N,h,w,K], to be upsampled by the loss. `neck` [N,.,.,256] is brought to 128 channels and the
 * grid of stride 8, merged there with the stride-8 tap if there is one, then 3x3, then 1x1 to K with bias. A norm
 * follows the merge and the 3x3: batch norm on a trunk that has it, else LayerNorm, so that no statistics depend on the
 * batch where the trunk's do not. */
dram_val dram_seg_head_build(const dram_build *b, const dram_features *f, dram_val neck, int classes);

/* Resolution distillation's super-resolution head: low [N,h,w,C] -> [N,out_h,out_w,C]. 3x3 and ReLU on the low grid,
 * bilinear to out_h x out_w, 3x3 back to C. */
dram_val dram_sr_head_build(const dram_build *b, dram_val low, int out_h, int out_w);

#endif
