/* programs: the graphs of a run, built from its config over one table of slots.
 *
 * Without accumulation a step is one program: forward, losses, backward, update. With it (train.accumulate = A > 1) the
 * step's program runs once for each of A micro-batches and adds the gradients of (sum of the losses) / A to slots of
 * group "gradient", which a further program, the update, reads and clears.
 *
 * With R ranks (distributed.ranks) each has A micro-batches of an effective batch of A R. Gradients are those of the
 * losses' sum over A R, and are summed over the ranks right before the update.
 *
 * With shards (optim.shard) each rank has a piece of the optimiser's state, updates its piece of a weight, and the
 * pieces of all are gathered at the end of the update.
 */
#ifndef DRAM_SESSION_PROGRAMS_H
#define DRAM_SESSION_PROGRAMS_H

#include "config/config.h"
#include "distill/distill.h"

/* Which graph a program is. Those that the config does not need are absent. */
typedef enum {
    DRAM_PROGRAM_DISTIL_STEP,
    DRAM_PROGRAM_PLAIN_STEP,
    DRAM_PROGRAM_UPDATE,       /* with accumulation */
    DRAM_PROGRAM_PLAIN_UPDATE, /* the same after plain steps, where those train fewer weights */
    DRAM_PROGRAM_EVALUATION,
    DRAM_PROGRAM_CACHE_FILL, /* the teacher alone: the embedding as the cache keeps it */
    DRAM_PROGRAM_FIDELITY,   /* the teacher at its size in training against the teacher at dram_teacher_full() */
    DRAM_PROGRAM_COUNT
} dram_program_kind;

/* Which programs are built together, over one arena. */
typedef enum {
    DRAM_SET_TRAIN, /* steps, updates, evaluation */
    DRAM_SET_EVALUATION,
    DRAM_SET_CACHE_FILL,
    DRAM_SET_FEATURES, /* evaluation, with the embeddings for the host */
    DRAM_SET_FIDELITY
} dram_program_set;

enum { DRAM_FULL_SIZE = 1024 }; /* side of the image for which SAM was trained */

/* Side of the image at which the teacher knows most: SAM's, unless its weights are of another. */
static inline int dram_teacher_full(const dram_config *cfg)
{
    int native = cfg->sam_distill.teacher.native_size;
    return native ? native : DRAM_FULL_SIZE;
}

/* Side of the teacher's canvas, and of the grid of its embedding over the image alone. */
static inline int dram_teacher_canvas(const dram_config *cfg)
{
    return cfg->sam_distill.pad_to ? cfg->sam_distill.pad_to : cfg->sam_distill.sam_input_size;
}

static inline int dram_teacher_grid(const dram_config *cfg)
{
    return cfg->sam_distill.sam_input_size / DRAM_VIT_PATCH;
}

/* A graph, and its values that the host writes or reads; DRAM_NONE where the program has no such value.
 * N micro-batch, S student's side, T side of the teacher's canvas, t = sam_input_size/16, g = S/16,
 * r = dram_resolution_grid().
 *
 * Which program has which, `fill` being the cache fill:
 *
 *                       distil plain update evaluation fill fidelity  condition
 *  image, image_valid     x      x              x              x
 *  teacher_image, _valid  x                     x       x      x      distil, evaluation: not cached
 *  target                 x      x              x                     distil, evaluation: cached; plain: reuse
 *  mask                   x      x              x              x      a teacher; plain: reuse
 *  sam_weight             x                                           scale_with_interval
 *  labels, label_count    x      x                                    task
 *  sr_mask                x      x                                    resolution distillation
 *  seed                   x      x                                    fp16
 *  hyper, clip            x      x     x                              steps: A = 1; update: A > 1
 *  unscale                x      x     x                              as hyper, and fp16
 *  embedding              x                     x       x             distil: reuse, not cached; evaluation: features
 *  student_embedding                            x                     features
 *  tap                                          x                     from the first on; no outputs
 *  loss, loss_*           x      x                                    a term: where its loss is enabled
 *  logits                                       x                     task
 *  cosine_gap                                   x              x      a teacher
 *  mse                                          x                     a teacher
 */
typedef struct {
    dram_graph *graph; /* NULL: absent */
    int index;         /* in the plan */
    /* staged */
    dram_val image;         /* u8 [N,S,S,3] */
    dram_val image_valid;   /* i32 [N,2]: height and width of the valid part */
    dram_val teacher_image; /* u8 [N,T,T,3] */
    dram_val teacher_valid; /* i32 [N,2] */
    dram_val target;        /* from the cache: f16 [N,t,t,256]; the last distil step's `embedding`: f32 [N,g,g,256] */
    dram_val sam_weight;    /* f32 [1]: what loss_sam is multiplied by besides its weight */
    dram_val labels;        /* u8 [N,S,S] */
    dram_val label_count;   /* f32 [1]: labelled pixels of the effective batch, at least 1, over A R */
    dram_val mask;          /* f32 [N,g,g] */
    dram_val sr_mask;       /* f32 [N,r,r] */
    dram_val hyper;         /* f32 [4]: what dram_hyper (session/schedule.h) gives */
    dram_val seed;          /* f32 [1]: loss scale over A R */
    dram_val unscale;       /* f32 [1]: 1 over the loss scale */
    /* read */
    dram_val embedding;                                  /* the teacher's: f32 [N,g,g,256]; cache fill: [N,t,t,256] */
    dram_val student_embedding;                          /* f32 [N,g,g,256] */
    dram_val tap[DRAM_TAPS];                             /* the student's features, as its trunk gives them */
    dram_val loss, loss_task, loss_sam, loss_resolution; /* f32 [1]; terms not yet weighted */
    dram_val clip;                                       /* f32 [2]: gradient norm, without the loss scale; factor */
    dram_val logits;                                     /* f32 [N,h,w,K] */
    dram_val cosine_gap, mse; /* f32 [1]: 1 - cosine, and MSE, of the student's embedding to the teacher's;
                               * fidelity: of the teacher's two embeddings */
} dram_io;

typedef struct {
    dram_slots slots;
    dram_io io[DRAM_PROGRAM_COUNT];
    int batch, accumulate;            /* images of a micro-batch; A */
    int ranks;                        /* over which gradients are summed: R; 1: over none */
    dram_reduce_mode reduce;          /* how */
    dram_optim_shard shard;           /* what each of several ranks has a piece of */
    bool scaled;                      /* fp16: the loss is scaled */
    bool fused;                       /* each weight is updated as soon as its gradient is there */
    int student_size;                 /* S; fidelity: dram_teacher_full(), of the teacher's other image */
    int teacher_size, teacher_canvas; /* side of what the teacher sees, and of its canvas; 0: no teacher runs */
    int teacher_grid;                 /* t; 0: no distillation */
    bool cached;                      /* targets come from the cache */
    bool reuse;                       /* plain steps train on the target of the last distil step */
    int grid, sr_grid;                /* sr_grid 0: no resolution distillation */
    int classes;                      /* 0: no task */
} dram_graph_set;

/* DRAM_ERR_CONFIG, with the key's place, for an unknown architecture or sizes that do not go together. */
dram_status dram_graph_set_build(const dram_config *cfg, dram_program_set set, dram_graph_set *graphs);

void dram_graph_set_free(dram_graph_set *graphs);

#endif
