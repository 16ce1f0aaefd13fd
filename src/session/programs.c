#include "session/programs.h"

#include <stdio.h>
#include <string.h>

#include "model/family.h"
#include "ops/call.h"
#include "session/machine.h"
#include "session/update.h"

typedef struct {
    const dram_config *cfg;
    dram_graph_set *p;
    const dram_arch *student, *teacher; /* teacher NULL: none */
    dram_io *io;
    dram_graph *g;
    bool together; /* all ranks run these programs, and at the same time */
    bool frozen;   /* the trunk is not trained */
    bool shows;    /* evaluation gives the embeddings to the host */
} builder;

static dram_dtype stored_as(dram_precision precision)
{
    return precision == DRAM_PRECISION_BF16 ? DRAM_BF16 : precision == DRAM_PRECISION_FP16 ? DRAM_F16 : DRAM_F32;
}

/* A name that is no student's, or no teacher's: what it may have been meant for, and all that there are. */
static dram_status unknown_arch(const dram_config *cfg, const char *key, const char *name, bool teacher)
{
    const char *names[DRAM_ARCHS_MOST];
    dram_str text = {0};
    int n = dram_arch_names(teacher, names);
    const char *nearest = dram_arch_find(name) ? NULL : dram_nearest(name, names, n);
    if (dram_arch_find(name))
        dram_str_add(&text, "%s is no SAM encoder: take one of ", name);
    else if (nearest)
        dram_str_add(&text, "unknown architecture \"%.60s\"; did you mean %s? It may be: ", name, nearest);
    else
        dram_str_add(&text, "unknown architecture \"%.60s\"; it may be: ", name);
    for (int i = 0; i < n; i++) dram_str_add(&text, "%s%s", i ? ", " : "", names[i]);
    dram_config_fail(cfg, key, "%s", text.failed ? name : text.text);
    dram_str_free(&text);
    return DRAM_ERR_CONFIG;
}

static dram_status find_arch(const dram_config *cfg, const char *key, const char *name, bool teacher,
                             const dram_arch **arch)
{
    *arch = dram_arch_find(name);
    return *arch && (!teacher || (*arch)->family->embed) ? DRAM_OK : unknown_arch(cfg, key, name, teacher);
}

static dram_build build_of(const builder *b, const char *group, dram_bn_mode bn)
{
    return (dram_build){.g = b->g,
                        .group = group,
                        .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                        .trainable = true,
                        .bn = bn,
                        .dtype = stored_as(b->cfg->train.precision),
                        .zero_init_last = b->cfg->student.zero_init_last};
}

/* A frozen one is run with its running statistics, which stay as they are. */
static dram_build trunk_of(const builder *b, dram_bn_mode bn)
{
    dram_build trunk = build_of(b, "student", b->frozen ? DRAM_BN_EVAL : bn);
    trunk.trainable = !b->frozen;
    trunk.keep_f32 = true;
    return trunk;
}

static dram_build teacher_of(const builder *b)
{
    const struct dram_config_sam_distill_teacher *teacher = &b->cfg->sam_distill.teacher;
    bool host = teacher->placement == DRAM_PLACEMENT_HOST, stream = teacher->placement == DRAM_PLACEMENT_STREAM;
    bool shard = teacher->placement == DRAM_PLACEMENT_SHARD && b->together;
    return (dram_build){.g = b->g,
                        .group = "teacher",
                        .category = DRAM_CATEGORY_TEACHER_WEIGHTS,
                        .bn = DRAM_BN_EVAL,
                        .dtype = stored_as(teacher->precision),
                        .space = host || stream ? DRAM_SPACE_HOST : DRAM_SPACE_DEVICE,
                        .ranks = shard ? b->p->ranks : 1,
                        .run_space = host ? DRAM_SPACE_HOST : DRAM_SPACE_DEVICE,
                        .native = teacher->native_size,
                        .images = teacher->group,
                        .low_bias = !host && dram_machine_gpu(b->cfg, NULL, 0)};
}

/* What the losses and the host read. */
static dram_val as_f32(const builder *b, const char *name, dram_val x)
{
    if (b->g->status != DRAM_OK || dram_value_at(b->g, x)->dtype == DRAM_F32) return x;
    return DRAM_CALL(b->g, cast, name, DRAM_ATTR(.dtype = DRAM_F32), x);
}

/* Images of a side, and how far each is valid: staged. */
static void stage_images(const builder *b, const char *name, int size, dram_val *pixels, dram_val *valid)
{
    char part[64];
    *pixels = dram_graph_input(b->g, name, DRAM_U8, DRAM_SHAPE(b->p->batch, size, size, 3));
    snprintf(part, sizeof part, "%s_valid", name);
    *valid = dram_graph_input(b->g, part, DRAM_I32, DRAM_SHAPE(b->p->batch, 2));
}

static dram_val student_image(builder *b, dram_dtype dtype)
{
    stage_images(b, "image", b->p->student_size, &b->io->image, &b->io->image_valid);
    return dram_image_build(b->g, "image_norm", dtype, b->io->image, b->io->image_valid);
}

/* The teacher's embedding on a grid of g cells. */
static dram_val run_teacher(builder *b, int g)
{
    dram_build teacher = teacher_of(b);
    stage_images(b, "teacher_image", b->p->teacher_canvas, &b->io->teacher_image, &b->io->teacher_valid);
    return dram_teacher_target(&teacher, b->teacher, b->io->teacher_image, b->io->teacher_valid, b->p->teacher_grid, g);
}

/* For the host, which keeps it. */
static void give_embedding(builder *b, dram_val embedding)
{
    b->io->embedding = as_f32(b, "embedding_kept", embedding);
    dram_graph_output(b->g, b->io->embedding);
}

/* What the student's embedding is held against: from the teacher, which runs first, so that its activations are dead
 * before the student's begin; from the cache; or, in a plain step, what the last distil step had. */
static dram_val sam_target(builder *b, bool with_teacher)
{
    const dram_graph_set *p = b->p;
    int side = p->cached ? p->teacher_grid : p->grid;
    b->io->mask = dram_graph_input(b->g, "mask", DRAM_F32, DRAM_SHAPE(p->batch, p->grid, p->grid));
    if (with_teacher && !p->cached) return run_teacher(b, p->grid);
    b->io->target = dram_graph_input(b->g, "target", p->cached ? DRAM_F16 : DRAM_F32,
                                     DRAM_SHAPE(p->batch, side, side, DRAM_EMBED_CHANNELS));
    return dram_staged_target(b->g, b->io->target, p->grid);
}

/* sam_distill.loss: the distance of `type`, and those of `add` with their weights. */
static dram_embed_choice embed_choice(const struct dram_config_sam_distill_loss *loss)
{
    dram_embed_choice choice = {.temperature = loss->temperature, .standardize = loss->standardize};
    for (int d = 0; d < DRAM_DISTANCE_COUNT; d++) choice.weight[d] = dram_config_added(loss, (dram_distance)d);
    choice.weight[loss->type] = 1.0;
    return choice;
}

static dram_val cross_entropy(builder *b, dram_val logits)
{
    int n = b->p->batch, s = b->p->student_size;
    b->io->labels = dram_graph_input(b->g, "labels", DRAM_U8, DRAM_SHAPE(n, s, s));
    b->io->label_count = dram_graph_input(b->g, "label_count", DRAM_F32, DRAM_SHAPE(1));
    return DRAM_CALL(b->g, cross_entropy, "loss_task", DRAM_ATTR(.ignore = b->cfg->data.ignore_index),
                     as_f32(b, "logits_f32", logits), b->io->labels, b->io->label_count);
}

/* loss_sam times what the host says, where that changes with the interval. */
static dram_val scaled_sam(builder *b, bool with_teacher)
{
    const struct dram_config_sam_distill *sam = &b->cfg->sam_distill;
    if (b->io->loss_sam == DRAM_NONE || !with_teacher || !sam->loss.scale_with_interval) return b->io->loss_sam;
    b->io->sam_weight = dram_graph_input(b->g, "sam_weight", DRAM_F32, DRAM_SHAPE(1));
    return DRAM_CALL(b->g, scale_by, "loss_sam_scaled", NULL, b->io->loss_sam, b->io->sam_weight);
}

/* The losses' weighted sum. */
static void add_losses(builder *b, bool with_teacher)
{
    dram_attr attr = {0};
    dram_val terms[3];
    int n = 0;
    const struct {
        dram_val loss, term;
        double weight;
    } part[3] = {{b->io->loss_task, b->io->loss_task, b->cfg->task.weight},
                 {b->io->loss_sam, scaled_sam(b, with_teacher), b->cfg->sam_distill.loss.weight},
                 {b->io->loss_resolution, b->io->loss_resolution, b->cfg->resolution_distill.weight}};
    for (int i = 0; i < 3; i++) {
        if (part[i].loss == DRAM_NONE) continue;
        attr.weight[n] = (float)part[i].weight;
        terms[n++] = part[i].term;
        dram_graph_output(b->g, part[i].loss);
    }
    b->io->loss = dram_call(b->g, DRAM_OP_weighted_sum, "loss", &attr, terms, n);
    dram_graph_output(b->g, b->io->loss);
}

/* The student's features with those that resolution distillation compares in f32. */
static dram_features for_comparison(const builder *b, const dram_features *features)
{
    dram_features f = *features;
    for (int i = 0; i < f.n; i++)
        if (f.stride[i] == 16) f.tap[i] = as_f32(b, "features_f32", f.tap[i]);
    return f;
}

/* The trunk of a training step. The plan's names say where it is frozen. */
static dram_status build_trunk(const builder *b, const dram_build *trunk, dram_val image, dram_features *features)
{
    int scope = (int)strlen(b->g->scope);
    if (b->frozen) dram_scope_push(b->g, "frozen");
    dram_status status = dram_trunk_build(trunk, b->student, image, features);
    dram_scope_pop(b->g, scope);
    return status;
}

/* An embedding that is the trunk's own learns nothing where the trunk is frozen. */
static bool embeds_frozen(const builder *b, const dram_features *features)
{
    if (!b->frozen || features->n > 1) return false;
    b->g->status = dram_config_fail(b->cfg, "student.trainable",
                                    "the embedding of %s is its trunk's own, without a neck, and heads leaves the "
                                    "trunk as it is: sam_distill would train nothing; set sam_distill.enabled to "
                                    "false, or this to all",
                                    b->cfg->student.arch);
    return true;
}

static void add_resolution_loss(const builder *b, dram_val lifted, const dram_features *features)
{
    dram_features f32 = for_comparison(b, features);
    b->io->loss_resolution = dram_resolution_term(b->g, b->cfg->resolution_distill.standardize,
                                                  as_f32(b, "lifted_f32", lifted), &f32, b->io->sr_mask);
}

/* A mean of the trunk's weights, as far as stride 16. Tarvainen, Valpola 2017 ("Mean teachers are better role models"):
 * it is no part of the backward, and normalises by the batch it sees, as their published code does. */
static dram_status build_mean(const builder *b, dram_val image, dram_features *features)
{
    dram_build mean = build_of(b, "mean", DRAM_BN_BATCH);
    mean.category = DRAM_CATEGORY_MEAN_WEIGHTS;
    mean.trainable = false;
    mean.keep_f32 = true; /* an update is too small for 16 bits */
    mean.deepest = 16;
    return dram_trunk_build(&mean, b->student, image, features);
}

/* What of resolution distillation stands before the student's own pass; the lifted features, if that is to learn from
 * them. */
static dram_val build_low(builder *b, const dram_build *student, dram_val image)
{
    const struct dram_config_resolution_distill *resolution = &b->cfg->resolution_distill;
    const bool by_mean = resolution->target == DRAM_RESOLUTION_MEAN;
    const dram_build sr = build_of(b, "sr", DRAM_BN_TRAIN);
    const int r = b->p->sr_grid;
    dram_features features;
    if (!r) return DRAM_NONE;
    b->io->sr_mask = dram_graph_input(b->g, "sr_mask", DRAM_F32, DRAM_SHAPE(b->p->batch, r, r));
    if (by_mean && build_mean(b, image, &features) != DRAM_OK) return DRAM_NONE;
    dram_val lifted = dram_resolution_low(student, &sr, b->student, image, resolution->low_scale,
                                          resolution->sr_target_scale, by_mean);
    if (!by_mean) return lifted;
    add_resolution_loss(b, lifted, &features);
    return DRAM_NONE;
}

static void forward(builder *b, bool with_teacher)
{
    const dram_config *cfg = b->cfg;
    dram_build student = trunk_of(b, DRAM_BN_TRAIN), neck = build_of(b, "neck", DRAM_BN_TRAIN);
    dram_build head = build_of(b, "head", DRAM_BN_TRAIN);
    dram_features features;
    bool distils = b->teacher && (with_teacher || b->p->reuse);
    dram_val target = distils ? sam_target(b, with_teacher) : DRAM_NONE;
    if (with_teacher && b->p->reuse && !b->p->cached) give_embedding(b, target);
    dram_val image = student_image(b, student.dtype);
    dram_val lifted = build_low(b, &student, image);
    if (build_trunk(b, &student, image, &features) != DRAM_OK) return;
    if (distils && embeds_frozen(b, &features)) return;
    if (lifted != DRAM_NONE) add_resolution_loss(b, lifted, &features);
    if (!distils && !b->p->classes) return; /* nothing reads the neck */
    dram_val embedding = dram_neck_build(&neck, &features);
    if (distils) {
        const dram_embed_choice choice = embed_choice(&cfg->sam_distill.loss);
        b->io->loss_sam = dram_embed_term(b->g, &choice, as_f32(b, "embedding_f32", embedding),
                                          as_f32(b, "target_f32", target), b->io->mask);
    }
    if (b->p->classes)
        b->io->loss_task = cross_entropy(b, dram_seg_head_build(&head, &features, embedding, b->p->classes));
}

static dram_status build_step(builder *b, bool with_teacher)
{
    forward(b, with_teacher);
    if (b->g->status == DRAM_OK) add_losses(b, with_teacher);
    return b->g->status == DRAM_OK ? dram_backward_append(b->cfg, b->p, b->io) : b->g->status;
}

/* What the student's embedding and its target look like, for the host. */
static void show_embeddings(builder *b, dram_val embedding, dram_val target)
{
    b->io->student_embedding = as_f32(b, "embedding_f32", embedding);
    dram_graph_output(b->g, b->io->student_embedding);
    if (target != DRAM_NONE) give_embedding(b, target);
}

/* The student with its running statistics: logits for the host, and how near the embedding is to the teacher's. */
static dram_status build_evaluation(builder *b)
{
    dram_build student = trunk_of(b, DRAM_BN_EVAL), neck = build_of(b, "neck", DRAM_BN_EVAL);
    dram_build head = build_of(b, "head", DRAM_BN_EVAL);
    const dram_embed_choice cosine = {.weight = {[DRAM_DISTANCE_COSINE] = 1.0}};
    const dram_embed_choice mse = {.weight = {[DRAM_DISTANCE_MSE] = 1.0}};
    dram_features features;
    b->g->detached = true;
    dram_val target = b->teacher ? sam_target(b, true) : DRAM_NONE;
    dram_val image = student_image(b, student.dtype);
    TRY(dram_trunk_build(&student, b->student, image, &features));
    for (int i = 0; i < features.n; i++) b->io->tap[i] = features.tap[i];
    dram_val embedding = dram_neck_build(&neck, &features);
    if (b->shows) show_embeddings(b, embedding, target);
    if (b->teacher) {
        dram_val ours = as_f32(b, "embedding_f32", embedding);
        target = as_f32(b, "target_f32", target);
        b->io->cosine_gap = dram_embed_term(b->g, &cosine, ours, target, b->io->mask);
        b->io->mse = dram_embed_term(b->g, &mse, ours, target, b->io->mask);
        dram_graph_output(b->g, b->io->cosine_gap);
        dram_graph_output(b->g, b->io->mse);
    }
    if (b->p->classes) {
        dram_val logits = dram_seg_head_build(&head, &features, embedding, b->p->classes);
        b->io->logits = as_f32(b, "logits_f32", logits);
        dram_graph_output(b->g, b->io->logits);
    }
    return b->g->status;
}

static dram_status build_cache_fill(builder *b)
{
    b->g->detached = true;
    give_embedding(b, run_teacher(b, b->p->teacher_grid));
    return b->g->status;
}

/* Both embeddings on the grid of the full one: the other is brought there as the student's target is. */
static dram_status build_fidelity(builder *b)
{
    const dram_graph_set *p = b->p;
    const dram_embed_choice cosine = {.weight = {[DRAM_DISTANCE_COSINE] = 1.0}};
    b->g->detached = true;
    b->io->mask = dram_graph_input(b->g, "mask", DRAM_F32, DRAM_SHAPE(p->batch, p->grid, p->grid));
    dram_val low = as_f32(b, "low_f32", run_teacher(b, p->grid));
    int scope = dram_scope_push(b->g, "full");
    dram_build teacher = teacher_of(b);
    stage_images(b, "full_image", p->student_size, &b->io->image, &b->io->image_valid);
    dram_val full = dram_teacher_target(&teacher, b->teacher, b->io->image, b->io->image_valid, p->grid, p->grid);
    dram_scope_pop(b->g, scope);
    full = as_f32(b, "full_f32", full);
    b->io->cosine_gap = dram_embed_term(b->g, &cosine, low, full, b->io->mask);
    dram_graph_output(b->g, b->io->cosine_gap);
    return b->g->status;
}

static dram_status build_program(builder *b, dram_program_kind kind, int *n_built)
{
    static const char *const name[DRAM_PROGRAM_COUNT] = {"distil_step", "plain_step", "update",  "plain_update",
                                                         "evaluation",  "cache_fill", "fidelity"};
    b->io = &b->p->io[kind];
    TRY(dram_graph_new(name[kind], &b->p->slots, &b->io->graph));
    b->g = b->io->graph;
    bool sync = b->together && b->cfg->distributed.batch_norm == DRAM_BATCH_NORM_SYNC && b->p->ranks > 1;
    b->g->sync = sync ? b->p->ranks : 0;
    b->g->reduce = b->p->reduce;
    b->io->index = (*n_built)++;
    if (kind == DRAM_PROGRAM_EVALUATION) return build_evaluation(b);
    if (kind == DRAM_PROGRAM_CACHE_FILL) return build_cache_fill(b);
    if (kind == DRAM_PROGRAM_FIDELITY) return build_fidelity(b);
    if (kind == DRAM_PROGRAM_UPDATE || kind == DRAM_PROGRAM_PLAIN_UPDATE) {
        const dram_graph *distil = b->p->io[DRAM_PROGRAM_DISTIL_STEP].graph;
        const dram_graph *plain = b->p->io[DRAM_PROGRAM_PLAIN_STEP].graph;
        return dram_update_build(b->cfg, b->p, kind == DRAM_PROGRAM_UPDATE && distil ? distil : plain, b->io);
    }
    return build_step(b, kind == DRAM_PROGRAM_DISTIL_STEP);
}

/* One for both kinds of step where they train the same weights. */
static dram_status build_updates(builder *b, int *n_built)
{
    const dram_graph *distil = b->p->io[DRAM_PROGRAM_DISTIL_STEP].graph;
    const dram_graph *plain = b->p->io[DRAM_PROGRAM_PLAIN_STEP].graph;
    TRY(build_program(b, DRAM_PROGRAM_UPDATE, n_built));
    if (!distil || !plain || dram_update_same(b->p, distil, plain)) return DRAM_OK;
    return build_program(b, DRAM_PROGRAM_PLAIN_UPDATE, n_built);
}

/* No graph, and none of the values. */
static void clear_io(dram_io *io)
{
    _Static_assert(DRAM_NONE == -1, "all of its bits are set");
    memset(io, 0xff, sizeof *io);
    io->graph = NULL;
}

/* Sizes, and which networks there are. */
static dram_status find_networks(builder *b, dram_program_set set)
{
    const dram_config *cfg = b->cfg;
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    dram_graph_set *p = b->p;
    TRY(find_arch(cfg, "student.arch", cfg->student.arch, false, &b->student));
    p->grid = p->student_size / DRAM_VIT_PATCH;
    if (sam->enabled) {
        TRY(find_arch(cfg, "sam_distill.teacher.model_type", sam->teacher.model_type, true, &b->teacher));
        p->cached = sam->cache != NULL;
        p->reuse = sam->between == DRAM_BETWEEN_REUSE && dram_steps_most(&sam->distill_interval) > 1;
        p->teacher_grid = dram_teacher_grid(cfg);
        if (!p->cached || set == DRAM_SET_CACHE_FILL) {
            p->teacher_size = sam->sam_input_size;
            p->teacher_canvas = dram_teacher_canvas(cfg);
        }
    }
    if (cfg->task.enabled) p->classes = cfg->data.classes;
    if (cfg->resolution_distill.enabled)
        p->sr_grid = dram_resolution_grid(p->student_size, cfg->resolution_distill.low_scale,
                                          cfg->resolution_distill.sr_target_scale);
    return DRAM_OK;
}

static dram_status build_set(builder *b, dram_program_set set)
{
    int n = 0;
    bool plain = !b->teacher || dram_steps_most(&b->cfg->sam_distill.distill_interval) > 1;
    if (set == DRAM_SET_CACHE_FILL) return build_program(b, DRAM_PROGRAM_CACHE_FILL, &n);
    if (set == DRAM_SET_FIDELITY) return build_program(b, DRAM_PROGRAM_FIDELITY, &n);
    b->shows = set == DRAM_SET_FEATURES;
    if (set == DRAM_SET_TRAIN) {
        if (b->teacher) TRY(build_program(b, DRAM_PROGRAM_DISTIL_STEP, &n));
        if (plain) TRY(build_program(b, DRAM_PROGRAM_PLAIN_STEP, &n));
        if (b->p->accumulate > 1) TRY(build_updates(b, &n));
    }
    return b->teacher || b->p->classes ? build_program(b, DRAM_PROGRAM_EVALUATION, &n) : DRAM_OK;
}

dram_status dram_graph_set_build(const dram_config *cfg, dram_program_set set, dram_graph_set *p)
{
    dram_status status;
    dram_ops_init();
    *p = (dram_graph_set){.batch = cfg->train.batch_size / cfg->train.accumulate,
                          .accumulate = cfg->train.accumulate,
                          .ranks = dram_machine_ranks(cfg),
                          .reduce = dram_machine_reduce(cfg),
                          .shard = dram_machine_ranks(cfg) > 1 ? cfg->optim.shard : DRAM_OPTIM_SHARD_NONE,
                          .scaled = cfg->train.precision == DRAM_PRECISION_FP16,
                          .student_size = set == DRAM_SET_FIDELITY ? dram_teacher_full(cfg) : cfg->data.size};
    p->fused = cfg->optim.fused != DRAM_FUSED_OFF && dram_update_may_fuse(cfg);
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) clear_io(&p->io[k]);
    const bool trains = set == DRAM_SET_TRAIN;
    builder b = {
        .cfg = cfg, .p = p, .together = trains, .frozen = trains && cfg->student.trainable == DRAM_TRAINABLE_HEADS};
    TRY(find_networks(&b, set));
    TRY_GOTO(build_set(&b, set), failed);
    return DRAM_OK;
failed:
    dram_graph_set_free(p);
    return status;
}

void dram_graph_set_free(dram_graph_set *p)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) dram_graph_free(p->io[k].graph);
    dram_slots_free(&p->slots);
    *p = (dram_graph_set){0};
}
