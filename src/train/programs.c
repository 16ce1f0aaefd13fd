#include "train/programs.h"

#include <stdio.h>
#include <string.h>

#include "ops/autodiff.h"
#include "ops/call.h"

/* ImageNet's mean and standard deviation in 0..255, which are also SAM's. */
#define IMAGE_MEAN                                                                                                     \
    {                                                                                                                  \
        123.675f, 116.28f, 103.53f                                                                                     \
    }
#define IMAGE_STD                                                                                                      \
    {                                                                                                                  \
        58.395f, 57.12f, 57.375f                                                                                       \
    }

typedef struct {
    const dram_config *cfg;
    dram_programs *p;
    const dram_arch *student, *teacher; /* teacher NULL: none */
    dram_io *io;
    dram_graph *g;
} builder;

static dram_status find_arch(const dram_config *cfg, const char *key, const char *name, bool teacher,
                             const dram_arch **arch)
{
    int n;
    const char *const *names = dram_arch_names(&n);
    *arch = dram_arch_find(name);
    if (*arch && (!teacher || (*arch)->kind == DRAM_ARCH_SAM_VIT)) return DRAM_OK;
    if (*arch)
        return dram_config_fail(cfg, key, "%s is no SAM encoder: take vit_b, vit_l, vit_h, vit_tiny or vit_micro",
                                name);
    const char *nearest = dram_nearest(name, names, n);
    return dram_config_fail(cfg, key, "unknown architecture \"%s\"%s%s%s", name, nearest ? "; did you mean " : "",
                            nearest ? nearest : "", nearest ? "?" : "");
}

static dram_build build_of(const builder *b, const char *group, bool trainable, dram_bn_mode bn)
{
    bool teacher = strcmp(group, "teacher") == 0;
    return (dram_build){.g = b->g,
                        .group = group,
                        .category = teacher ? DRAM_CATEGORY_TEACHER_WEIGHTS : DRAM_CATEGORY_STUDENT_WEIGHTS,
                        .trainable = trainable,
                        .bn = bn,
                        .zero_init_last = b->cfg->student.zero_init_last};
}

static dram_val normalised(const builder *b, const char *name, int size, dram_val *pixels, dram_val *valid)
{
    char part[64];
    *pixels = dram_graph_input(b->g, name, DRAM_U8, DRAM_SHAPE(b->p->batch, size, size, 3));
    snprintf(part, sizeof part, "%s_valid", name);
    *valid = dram_graph_input(b->g, part, DRAM_I32, DRAM_SHAPE(b->p->batch, 2));
    snprintf(part, sizeof part, "%s_norm", name);
    return DRAM_CALL(b->g, image_norm, part, DRAM_ATTR(.mean = IMAGE_MEAN, .std = IMAGE_STD), *pixels, *valid);
}

/* The teacher first: its activations are dead, but for the embedding, before the student's begin. */
static dram_val teacher_target(builder *b)
{
    dram_build teacher = build_of(b, "teacher", false, DRAM_BN_EVAL);
    dram_val image = normalised(b, "teacher_image", b->p->teacher_size, &b->io->teacher_image, &b->io->teacher_valid);
    b->io->mask = dram_graph_input(b->g, "mask", DRAM_F32, DRAM_SHAPE(b->p->batch, b->p->grid, b->p->grid));
    return dram_teacher_target(&teacher, b->teacher, image, b->p->grid);
}

static dram_embed_mode embed_mode(const dram_config *cfg)
{
    switch (cfg->sam_distill.loss.type) {
    case DRAM_SAM_LOSS_COSINE:
        return DRAM_EMBED_COSINE;
    case DRAM_SAM_LOSS_HUBER:
        return DRAM_EMBED_HUBER;
    default:
        return DRAM_EMBED_MSE;
    }
}

static dram_val cross_entropy(builder *b, dram_val logits)
{
    int n = b->p->batch, s = b->p->student_size;
    b->io->labels = dram_graph_input(b->g, "labels", DRAM_U8, DRAM_SHAPE(n, s, s));
    b->io->label_count = dram_graph_input(b->g, "label_count", DRAM_F32, DRAM_SHAPE(1));
    return DRAM_CALL(b->g, cross_entropy, "loss_task", DRAM_ATTR(.ignore = b->cfg->data.ignore_index), logits,
                     b->io->labels, b->io->label_count);
}

/* The losses' weighted sum. */
static void add_losses(builder *b)
{
    dram_attr attr = {0};
    dram_val terms[3];
    int n = 0;
    const struct {
        dram_val loss;
        double weight;
    } term[3] = {{b->io->loss_task, b->cfg->task.weight},
                 {b->io->loss_sam, b->cfg->sam_distill.loss.weight},
                 {b->io->loss_resolution, b->cfg->resolution_distill.weight}};
    for (int i = 0; i < 3; i++) {
        if (term[i].loss == DRAM_NONE) continue;
        attr.weight[n] = (float)term[i].weight;
        terms[n++] = term[i].loss;
        dram_graph_output(b->g, term[i].loss);
    }
    b->io->loss = dram_call(b->g, DRAM_OP_weighted_sum, "loss", &attr, terms, n);
    dram_graph_output(b->g, b->io->loss);
}

static void forward(builder *b, bool with_teacher)
{
    const dram_config *cfg = b->cfg;
    dram_build student = build_of(b, "student", true, DRAM_BN_TRAIN), neck = build_of(b, "neck", true, DRAM_BN_TRAIN);
    dram_build head = build_of(b, "head", true, DRAM_BN_TRAIN), sr = build_of(b, "sr", true, DRAM_BN_TRAIN);
    dram_features features;
    dram_val target = with_teacher ? teacher_target(b) : DRAM_NONE, lifted = DRAM_NONE;
    dram_val image = normalised(b, "image", b->p->student_size, &b->io->image, &b->io->image_valid);
    if (b->p->sr_grid) {
        b->io->sr_mask =
            dram_graph_input(b->g, "sr_mask", DRAM_F32, DRAM_SHAPE(b->p->batch, b->p->sr_grid, b->p->sr_grid));
        lifted = dram_resolution_low(&student, &sr, b->student, image, cfg->resolution_distill.low_scale,
                                     cfg->resolution_distill.sr_target_scale);
    }
    if (dram_trunk_build(&student, b->student, image, &features) != DRAM_OK) return;
    if (b->p->sr_grid) b->io->loss_resolution = dram_resolution_term(b->g, lifted, &features, b->io->sr_mask);
    if (!with_teacher && !b->p->classes) return; /* nothing reads the neck */
    dram_val embedding = dram_neck_build(&neck, &features);
    if (with_teacher) b->io->loss_sam = dram_embed_term(b->g, embed_mode(cfg), embedding, target, b->io->mask);
    if (b->p->classes)
        b->io->loss_task = cross_entropy(b, dram_seg_head_build(&head, &features, embedding, b->p->classes));
}

static dram_val state_slot(builder *b, const dram_value *weight, const char *which)
{
    char name[256];
    const dram_slot *of = b->p->slots.at[weight->slot];
    snprintf(name, sizeof name, "%s.%s.%s", which, of->group, of->name);
    return dram_graph_slot(b->g, &(dram_slot){.name = name,
                                              .dtype = DRAM_F32,
                                              .shape = of->shape,
                                              .category = DRAM_CATEGORY_OPTIMIZER,
                                              .layout = of->layout,
                                              .group = "optimizer"});
}

static void update_weight(builder *b, dram_val weight, dram_val gradient)
{
    const dram_config *cfg = b->cfg;
    const dram_value *value = dram_value_at(b->g, weight);
    float decay = b->p->slots.at[value->slot]->decays ? (float)cfg->optim.weight_decay : 0.0f;
    if (cfg->optim.type == DRAM_OPTIM_SGD) {
        dram_val m = state_slot(b, value, "m");
        DRAM_CALL(b->g, sgd, "sgd", DRAM_ATTR(.momentum = (float)cfg->optim.momentum, .decay = decay), weight, gradient,
                  m, b->io->hyper, b->io->clip);
        return;
    }
    dram_val m = state_slot(b, value, "m"), v = state_slot(b, value, "v");
    DRAM_CALL(b->g, adamw, "adamw",
              DRAM_ATTR(.beta1 = (float)cfg->optim.beta1, .beta2 = (float)cfg->optim.beta2,
                        .eps = (float)cfg->optim.eps, .decay = decay),
              weight, gradient, m, v, b->io->hyper, b->io->clip);
}

/* Gradient norm over all trainable weights, then one update a weight, both in the order of the slots' first use. */
static dram_status backward_and_update(builder *b)
{
    dram_graph *g = b->g;
    dram_backward *back = NULL;
    dram_val squares = DRAM_NONE;
    dram_val seed = dram_call(g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    b->io->hyper = dram_graph_input(g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    int n_values = g->n_values;
    if (dram_backward_build(g, &b->io->loss, &seed, 1, &back) != DRAM_OK) goto done;
    for (dram_val v = 0; v < n_values; v++)
        if (g->values[v]->kind == DRAM_VALUE_SLOT && dram_gradient_of(back, v) != DRAM_NONE)
            squares = DRAM_CALL(g, sumsq, "squares", NULL, dram_gradient_of(back, v), squares);
    b->io->clip = DRAM_CALL(g, clip_factor, "clip", DRAM_ATTR(.clip = (float)b->cfg->optim.clip_norm), squares);
    dram_graph_output(g, b->io->clip);
    for (dram_val v = 0; v < n_values && g->status == DRAM_OK; v++)
        if (g->values[v]->kind == DRAM_VALUE_SLOT && dram_gradient_of(back, v) != DRAM_NONE)
            update_weight(b, v, dram_gradient_of(back, v));
done:
    dram_backward_free(back);
    return g->status;
}

static dram_status build_step(builder *b, bool with_teacher)
{
    forward(b, with_teacher);
    if (b->g->status == DRAM_OK) add_losses(b);
    return b->g->status == DRAM_OK ? backward_and_update(b) : b->g->status;
}

/* The student with its running statistics: logits for the host, and how near the embedding is to the teacher's. */
static dram_status build_evaluation(builder *b)
{
    dram_build student = build_of(b, "student", true, DRAM_BN_EVAL), neck = build_of(b, "neck", true, DRAM_BN_EVAL);
    dram_build head = build_of(b, "head", true, DRAM_BN_EVAL);
    dram_features features;
    b->g->detached = true;
    dram_val target = b->teacher ? teacher_target(b) : DRAM_NONE;
    dram_val image = normalised(b, "image", b->p->student_size, &b->io->image, &b->io->image_valid);
    TRY(dram_trunk_build(&student, b->student, image, &features));
    dram_val embedding = dram_neck_build(&neck, &features);
    if (b->teacher) {
        b->io->cosine_gap = dram_embed_term(b->g, DRAM_EMBED_COSINE, embedding, target, b->io->mask);
        b->io->mse = dram_embed_term(b->g, DRAM_EMBED_MSE, embedding, target, b->io->mask);
        dram_graph_output(b->g, b->io->cosine_gap);
        dram_graph_output(b->g, b->io->mse);
    }
    if (b->p->classes) {
        b->io->logits = dram_seg_head_build(&head, &features, embedding, b->p->classes);
        dram_graph_output(b->g, b->io->logits);
    }
    return b->g->status;
}

static dram_status build_program(builder *b, dram_program_kind kind, int *n_built)
{
    static const char *const name[DRAM_PROGRAM_COUNT] = {"distil_step", "plain_step", "evaluation"};
    b->io = &b->p->io[kind];
    TRY(dram_graph_new(name[kind], &b->p->slots, &b->io->graph));
    b->g = b->io->graph;
    b->io->index = (*n_built)++;
    if (kind == DRAM_PROGRAM_EVALUATION) return build_evaluation(b);
    return build_step(b, kind == DRAM_PROGRAM_DISTIL_STEP);
}

static void clear_io(dram_io *io)
{
    *io = (dram_io){.index = DRAM_NONE};
    dram_val *const values[] = {
        &io->image,       &io->image_valid, &io->teacher_image,   &io->teacher_valid, &io->labels,
        &io->label_count, &io->mask,        &io->sr_mask,         &io->hyper,         &io->loss,
        &io->loss_task,   &io->loss_sam,    &io->loss_resolution, &io->clip,          &io->logits,
        &io->cosine_gap,  &io->mse};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) *values[i] = DRAM_NONE;
}

dram_status dram_programs_build(const dram_config *cfg, dram_programs *p)
{
    dram_status status;
    int n_built = 0;
    dram_ops_init();
    *p = (dram_programs){.batch = cfg->train.batch_size, .student_size = cfg->data.size};
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) clear_io(&p->io[k]);
    builder b = {.cfg = cfg, .p = p};
    TRY(find_arch(cfg, "student.arch", cfg->student.arch, false, &b.student));
    p->grid = p->student_size / 16;
    if (cfg->sam_distill.enabled) {
        TRY(find_arch(cfg, "sam_distill.teacher.model_type", cfg->sam_distill.teacher.model_type, true, &b.teacher));
        p->teacher_size = cfg->sam_distill.sam_input_size;
    }
    if (cfg->task.enabled) p->classes = cfg->data.classes;
    if (cfg->resolution_distill.enabled)
        p->sr_grid = dram_resolution_grid(p->student_size, cfg->resolution_distill.low_scale,
                                          cfg->resolution_distill.sr_target_scale);
    bool plain = !b.teacher || cfg->sam_distill.distill_interval > 1;
    if (b.teacher) TRY_GOTO(build_program(&b, DRAM_PROGRAM_DISTIL_STEP, &n_built), failed);
    if (plain) TRY_GOTO(build_program(&b, DRAM_PROGRAM_PLAIN_STEP, &n_built), failed);
    if (b.teacher || p->classes) TRY_GOTO(build_program(&b, DRAM_PROGRAM_EVALUATION, &n_built), failed);
    return DRAM_OK;
failed:
    dram_programs_free(p);
    return status;
}

void dram_programs_free(dram_programs *p)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) dram_graph_free(p->io[k].graph);
    dram_slots_free(&p->slots);
    *p = (dram_programs){0};
}
