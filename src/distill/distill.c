#include "distill/distill.h"

#include <math.h>
#include <stddef.h>

#include "model/family.h"
#include "ops/call.h"

/* The host runs on what is staged in its own memory. */
static void stage_in(dram_graph *graph, dram_val v, dram_space space)
{
    if (graph->status == DRAM_OK) dram_value_at(graph, v)->space = space;
}

static dram_val to_grid(dram_graph *graph, dram_val embedding, int g)
{
    if (graph->status != DRAM_OK || dram_shape_of(graph, embedding)->dim[1] == g) return embedding;
    return DRAM_CALL(graph, resize, "teacher_to_student_grid",
                     DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = g, .out_w = g), embedding);
}

dram_val dram_staged_target(dram_graph *graph, dram_val embedding, int g)
{
    dram_category category = graph->category;
    bool detached = graph->detached;
    graph->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    graph->detached = true;
    if (graph->status == DRAM_OK && dram_value_at(graph, embedding)->dtype != DRAM_F32)
        embedding = DRAM_CALL(graph, cast, "target_f32", DRAM_ATTR(.dtype = DRAM_F32), embedding);
    embedding = to_grid(graph, embedding, g);
    graph->category = category;
    graph->detached = detached;
    return embedding;
}

dram_val dram_teacher_target(const dram_build *teacher, const dram_arch *arch, dram_val pixels, dram_val valid, int t,
                             int g)
{
    dram_graph *graph = teacher->g;
    dram_category category = graph->category;
    dram_space space = graph->space;
    bool detached = graph->detached;
    graph->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    graph->detached = true;
    graph->space = teacher->run_space;
    stage_in(graph, pixels, graph->space);
    stage_in(graph, valid, graph->space);
    dram_val embedding = arch->family->embed(teacher, arch, pixels, valid);
    if (graph->status == DRAM_OK && dram_shape_of(graph, embedding)->dim[1] != t)
        embedding = DRAM_CALL(graph, crop, "teacher_padding_cut", DRAM_ATTR(.out_h = t, .out_w = t), embedding);
    embedding = to_grid(graph, embedding, g);
    if (graph->space != space) embedding = DRAM_CALL(graph, copy, "teacher_to_device", NULL, embedding);
    graph->category = category;
    graph->detached = detached;
    graph->space = space;
    return embedding;
}

typedef struct {
    dram_val mean, var; /* f32 [C]; they carry no gradient */
} channel_stats;

static channel_stats stats_of(dram_graph *graph, const char *name, dram_val x, dram_val mask)
{
    dram_val out[DRAM_MAX_OUT] = {DRAM_NONE, DRAM_NONE};
    dram_graph_add(graph, DRAM_OP_channel_stats, name, NULL, (dram_val[]){x, mask}, 2, out);
    if (graph->sync > 1) { /* a mask is of zeros and ones, so that its squares are their count */
        dram_val count = DRAM_CALL(graph, sumsq, "valid_cells", NULL, mask);
        dram_sync_stats(graph, out, count);
    }
    return (channel_stats){out[0], out[1]};
}

static dram_val standardized(dram_graph *graph, const char *name, dram_val x, channel_stats stats)
{
    return DRAM_CALL(graph, standardize, name, DRAM_ATTR(.eps = 1e-5f), x, stats.mean, stats.var);
}

/* What is made of the target alone is the teacher's, and detached. */
static void standardize_embeddings(dram_graph *graph, dram_val *embedding, dram_val *target, dram_val mask)
{
    dram_category category = graph->category;
    bool detached = graph->detached;
    graph->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    graph->detached = true;
    channel_stats stats = stats_of(graph, "target_stats", *target, mask);
    *target = standardized(graph, "target_standardized", *target, stats);
    graph->category = category;
    graph->detached = detached;
    *embedding = standardized(graph, "embedding_standardized", *embedding, stats);
}

/* The two sides of a distance, f32 [N,g,g,256], and their mask. */
typedef struct {
    dram_graph *graph;
    const char *name; /* of the node */
    double temperature;
    dram_val embedding, target, mask;
} sides;

static dram_val embed_loss(const sides *s, dram_embed_mode mode)
{
    return DRAM_CALL(s->graph, embed_loss, s->name, DRAM_ATTR(.mode = mode), s->embedding, s->target, s->mask);
}

static dram_val mse_distance(const sides *s)
{
    return embed_loss(s, DRAM_EMBED_MSE);
}

static dram_val cosine_distance(const sides *s)
{
    return embed_loss(s, DRAM_EMBED_COSINE);
}

static dram_val huber_distance(const sides *s)
{
    return embed_loss(s, DRAM_EMBED_HUBER);
}

static dram_val cwd_distance(const sides *s)
{
    return DRAM_CALL(s->graph, cwd_loss, s->name, DRAM_ATTR(.scale = (float)s->temperature), s->embedding, s->target,
                     s->mask);
}

static const struct {
    const char *name;
    dram_val (*build)(const sides *s);
} distances[] = {
#define X(ID, WORD, NAME, ...) [ID] = {"loss_sam." WORD, NAME##_distance},
    DRAM_DISTANCE_LIST(X)
#undef X
};
_Static_assert((int)DRAM_DISTANCE_COUNT <= 8, "one weighted_sum adds them up");

dram_val dram_embed_term(dram_graph *graph, const dram_embed_choice *choice, dram_val embedding, dram_val target,
                         dram_val mask)
{
    dram_val term[DRAM_DISTANCE_COUNT];
    dram_attr attr = {0};
    int chosen = 0, n = 0;
    for (int k = 0; k < DRAM_DISTANCE_COUNT; k++) chosen += choice->weight[k] > 0;
    if (choice->standardize) standardize_embeddings(graph, &embedding, &target, mask);
    for (int k = 0; k < DRAM_DISTANCE_COUNT; k++) {
        if (!(choice->weight[k] > 0)) continue;
        bool alone = chosen == 1 && choice->weight[k] == 1.0;
        term[n] = distances[k].build(&(sides){.graph = graph,
                                              .name = alone ? "loss_sam" : distances[k].name,
                                              .temperature = choice->temperature,
                                              .embedding = embedding,
                                              .target = target,
                                              .mask = mask});
        if (alone) return term[n];
        attr.weight[n++] = (float)choice->weight[k];
    }
    return dram_call(graph, DRAM_OP_weighted_sum, "loss_sam", &attr, term, n);
}

static int low_size(int student_size, double low_scale)
{
    int size = (int)(student_size * low_scale / 16 + 0.5) * 16; /* a whole number of stride-16 cells */
    return size < 16 ? 16 : size;
}

int dram_resolution_grid(int student_size, double low_scale, double sr_target_scale)
{
    int grid = (int)floor(low_size(student_size, low_scale) / 16 * sr_target_scale + 0.5);
    return grid < 1 ? 1 : grid;
}

static dram_val stride_16(const dram_features *features)
{
    for (int i = 0; i < features->n; i++)
        if (features->stride[i] == 16) return features->tap[i];
    return DRAM_NONE;
}

dram_val dram_resolution_low(const dram_build *student, const dram_build *sr, const dram_arch *arch, dram_val image,
                             double low_scale, double sr_target_scale, bool learns)
{
    dram_graph *graph = student->g;
    dram_features low;
    if (graph->status != DRAM_OK) return DRAM_NONE;
    int size = (int)dram_shape_of(graph, image)->dim[1];
    int r = dram_resolution_grid(size, low_scale, sr_target_scale);
    int scope = dram_scope_push(graph, "low");
    bool detached = graph->detached;
    graph->detached = true;
    int side = low_size(size, low_scale);
    dram_val x_low =
        DRAM_CALL(graph, resize, "image", DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = side, .out_w = side), image);
    dram_scope_pop(graph, scope);
    if (learns) graph->detached = detached;
    dram_build once = *student;
    once.bn = DRAM_BN_BATCH;
    once.deepest = 16;
    dram_trunk_build(&once, arch, x_low, &low);
    graph->detached = detached;
    return dram_sr_head_build(sr, graph->status == DRAM_OK ? stride_16(&low) : DRAM_NONE, r, r);
}

dram_val dram_resolution_term(dram_graph *graph, bool standardize, dram_val lifted, const dram_features *features,
                              dram_val mask)
{
    if (graph->status != DRAM_OK) return DRAM_NONE;
    dram_val high = stride_16(features);
    int r = (int)dram_shape_of(graph, lifted)->dim[1];
    if (dram_shape_of(graph, high)->dim[1] != r)
        high = DRAM_CALL(graph, resize, "features_to_sr_grid",
                         DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = r, .out_w = r), high);
    if (standardize) {
        channel_stats stats = stats_of(graph, "features_stats", high, mask);
        lifted = standardized(graph, "lifted_standardized", lifted, stats);
        high = standardized(graph, "features_standardized", high, stats);
    }
    return DRAM_CALL(graph, embed_loss, "loss_resolution", DRAM_ATTR(.mode = DRAM_EMBED_COSINE), lifted, high, mask);
}
