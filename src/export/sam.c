#include "export/sam.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "session/weights.h"
#include "train/depends.h"

enum { NAME_SIZE = 288 };

/* ---- the decoder's file ---- */

/* What is taken of it. */
static const char *const taken[] = {"prompt_encoder.", "mask_decoder.", "shared_image_embedding."};

/* A tensor of each part of a decoder, under both sources' names: which one a file follows, and whether it is whole. */
static const struct {
    const char *meta, *hugging_face;
    int rank;
    int64_t dim[4];
} parts[] = {
    {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
     "shared_image_embedding.positional_embedding",
     2,
     {2, 128}},
    {"prompt_encoder.point_embeddings.3.weight", "prompt_encoder.point_embed.3.weight", 2, {1, 256}},
    {"prompt_encoder.not_a_point_embed.weight", "prompt_encoder.not_a_point_embed.weight", 2, {1, 256}},
    {"prompt_encoder.no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight", 2, {1, 256}},
    {"prompt_encoder.mask_downscaling.6.weight", "prompt_encoder.mask_embed.conv3.weight", 4, {256, 16, 1, 1}},
    {"mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight", 2, {1, 256}},
    {"mask_decoder.mask_tokens.weight", "mask_decoder.mask_tokens.weight", 2, {4, 256}},
    {"mask_decoder.transformer.layers.1.mlp.lin2.weight",
     "mask_decoder.transformer.layers.1.mlp.lin2.weight",
     2,
     {256, 2048}},
    {"mask_decoder.transformer.final_attn_token_to_image.out_proj.weight",
     "mask_decoder.transformer.final_attn_token_to_image.out_proj.weight",
     2,
     {256, 128}},
    {"mask_decoder.output_upscaling.3.weight", "mask_decoder.upscale_conv2.weight", 4, {64, 32, 2, 2}},
    {"mask_decoder.output_hypernetworks_mlps.3.layers.2.weight",
     "mask_decoder.output_hypernetworks_mlps.3.proj_out.weight",
     2,
     {32, 256}},
    {"mask_decoder.iou_prediction_head.layers.2.weight",
     "mask_decoder.iou_prediction_head.proj_out.weight",
     2,
     {4, 256}},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_taken(const char *name)
{
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (begins_with(name, taken[i])) return true;
    return false;
}

static const char *part_name(int i, dram_names names)
{
    return names == DRAM_NAMES_HF ? parts[i].hugging_face : parts[i].meta;
}

static int parts_found(const dram_st *file, dram_names names)
{
    int n = 0;
    for (int i = 0; i < PARTS; i++) n += dram_st_find(file, part_name(i, names)) != NULL;
    return n;
}

/* Whose names a decoder has; an error where there is none, or not all of one. */
static dram_status look_at_decoder(const dram_st *file, const char *path, dram_names *names)
{
    char has[96], want[96];
    int meta = parts_found(file, DRAM_NAMES_META), theirs = parts_found(file, DRAM_NAMES_HF);
    *names = theirs > meta ? DRAM_NAMES_HF : DRAM_NAMES_META;
    if (!meta && !theirs)
        return dram_fail(DRAM_ERR_FORMAT,
                         "%s: it has no mask decoder of SAM (prompt_encoder.*, mask_decoder.*); name a file that has "
                         "one with --sam-decoder",
                         path);
    for (int i = 0; i < PARTS; i++) {
        const dram_st_tensor *t = dram_st_find(file, part_name(i, *names));
        if (!t)
            return dram_fail(DRAM_ERR_FORMAT, "%s: its decoder is not whole: %s is missing", path,
                             part_name(i, *names));
        dram_shape shape = {.rank = parts[i].rank};
        memcpy(shape.dim, parts[i].dim, sizeof parts[i].dim);
        if (t->rank != shape.rank || memcmp(t->dim, shape.dim, (size_t)shape.rank * sizeof shape.dim[0]) != 0)
            return dram_fail(DRAM_ERR_FORMAT, "%s: %s is %s, and of SAM's decoder %s", path, t->name,
                             dram_st_format_shape(t, has, sizeof has), dram_format_shape(&shape, want, sizeof want));
    }
    return DRAM_OK;
}

/* ---- the list ---- */

typedef struct {
    const dram_st *file;
    const dram_st_tensor *tensor;
} origin;

static dram_status read_origin(void *context, int64_t offset, int64_t count, void *out)
{
    const origin *from = context;
    return dram_st_read_raw(from->file, from->tensor, offset, count, out);
}

/* All tensors of the file that is written. */
typedef struct {
    dram_weights_list student, neck;
    dram_st_out *out; /* [n] */
    origin *from;     /* [n] */
    char (*names)[NAME_SIZE];
    int n;
} tensors;

static void free_tensors(tensors *t)
{
    dram_weights_list_free(&t->student);
    dram_weights_list_free(&t->neck);
    dram_free(t->out);
    dram_free(t->from);
    dram_free(t->names);
}

static void add_student(const dram_export *e, dram_names names, tensors *t)
{
    const char *prefix = names == DRAM_NAMES_HF ? "vision_encoder" : "image_encoder";
    for (int i = 0; i < t->student.n; i++, t->n++) {
        t->out[t->n] = t->student.out[i];
        t->out[t->n].name = dram_names_of(e->arch, names, t->student.out[i].name, t->names[t->n], NAME_SIZE);
    }
    for (int i = 0; i < t->neck.n; i++, t->n++) {
        t->out[t->n] = t->neck.out[i];
        snprintf(t->names[t->n], NAME_SIZE, "%s.%s", prefix, t->neck.out[i].name);
        t->out[t->n].name = t->names[t->n];
    }
}

static dram_status add_decoder(const dram_st *file, const char *path, tensors *t)
{
    for (int i = 0; i < dram_st_count(file); i++) {
        const dram_st_tensor *tensor = dram_st_at(file, i);
        if (!is_taken(tensor->name)) continue;
        if (dram_st_dtype_bytes(tensor->dtype) == 0)
            return dram_fail(DRAM_ERR_FORMAT, "%s: %s is of %s, which is not copied", path, tensor->name,
                             tensor->dtype_name);
        t->from[t->n] = (origin){.file = file, .tensor = tensor};
        t->out[t->n] = (dram_st_out){.name = tensor->name,
                                     .dtype = tensor->dtype,
                                     .rank = tensor->rank,
                                     .source = read_origin,
                                     .context = &t->from[t->n],
                                     .raw = true};
        memcpy(t->out[t->n++].dim, tensor->dim, (size_t)tensor->rank * sizeof tensor->dim[0]);
    }
    return DRAM_OK;
}

/* *t is to be freed whatever is returned. */
static dram_status list_tensors(dram_export *e, const dram_st *file, const char *decoder, dram_names names, tensors *t)
{
    static const char *const student[] = {"student"}, *const neck[] = {"neck"};
    dram_precision precision = e->cfg->run.export;
    TRY(dram_weights_list_groups(&e->session, e->weights, student, 1, false, precision, &t->student));
    TRY(dram_weights_list_groups(&e->session, e->weights, neck, 1, true, precision, &t->neck));
    size_t room = (size_t)(t->student.n + t->neck.n + dram_st_count(file));
    t->out = dram_calloc(room, sizeof *t->out);
    t->from = dram_calloc(room, sizeof *t->from);
    t->names = dram_calloc(room, sizeof *t->names);
    if (!t->out || !t->from || !t->names) return dram_fail(DRAM_ERR_MEMORY, "no memory for the tensors of %s", decoder);
    add_student(e, names, t);
    return add_decoder(file, decoder, t);
}

/* ---- what is refused, and what is said ---- */

static dram_status check_student(const dram_export *e, const char **decoder)
{
    static const char key[] = "sam_distill.teacher.weights";
    const struct dram_config_sam_distill *sam = &e->cfg->sam_distill;
    if (!e->neck)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s: there is no neck for it (heads.safetensors beside it, with neck.*), and so no embedding",
                         e->weights);
    if (e->has_config && !sam->enabled)
        return dram_config_fail(e->cfg, "sam_distill.enabled",
                                "this student learned from no SAM, and no SAM's decoder reads its embedding");
    if (*decoder) return DRAM_OK;
    if (!e->has_config)
        return dram_fail(
            DRAM_ERR_CONFIG,
            "%s: without its config it is not known whose decoder is taken; name the file with --sam-decoder",
            e->weights);
    if (!sam->teacher.weights || strcmp(sam->teacher.weights, DRAM_WEIGHTS_RANDOM) == 0)
        return dram_config_fail(e->cfg, key, "it is %s: there is no file with a decoder; name one with --sam-decoder",
                                sam->teacher.weights ? sam->teacher.weights : "none");
    *decoder = sam->teacher.weights;
    return DRAM_OK;
}

/* The decoder reads the embedding as it is. Distances that the scale of an embedding does not change teach directions
 * alone. */
static void tell_scale(const dram_export *e)
{
    const struct dram_config_sam_distill_loss *loss = &e->cfg->sam_distill.loss;
    for (int i = 0; e->has_config && i < DRAM_DISTANCE_COUNT; i++) {
        bool used = loss->type == (dram_distance)i || dram_config_added(loss, (dram_distance)i) > 0;
        if (used && (i == DRAM_DISTANCE_MSE || i == DRAM_DISTANCE_HUBER)) return;
    }
    if (e->has_config)
        dram_warn(
            "--sam: %s alone does not teach the scale of SAM's embedding, which the decoder reads: look at the masks, "
            "or train with sam_distill.loss.add.mse",
            dram_distance_word(loss->type));
}

/* The student reads as its own teacher does, and that was the file as it was then. */
static dram_status tell_teacher(const dram_export *e, const char *file)
{
    char hash[DRAM_HASH_SIZE];
    dram_depends was;
    bool known;
    if (!e->run) return DRAM_OK;
    dram_status status = dram_depends_of_run(e->run, &was, &known);
    if (status != DRAM_OK || !known) {
        dram_warn("--sam: whether %s is the file that this student learned from is not known: %s", file,
                  status == DRAM_OK ? "no checkpoint of the run has its hash" : dram_error_text());
        dram_error_clear();
        return DRAM_OK;
    }
    TRY(dram_st_hash(file, NULL, hash));
    if (strcmp(hash, was.teacher) != 0)
        dram_warn("--sam: sam_distill.teacher.weights, %s, is another file than this student learned from: hash %s -> "
                  "%s; its decoder may not read the student's embedding: name that one with --sam-decoder",
                  file, was.teacher[0] ? was.teacher : "none", hash);
    return DRAM_OK;
}

/* ---- writing ---- */

static dram_status write_sam(dram_export *e, const dram_st *source, const char *decoder, const char *file)
{
    char size[16];
    dram_names names;
    tensors t = {0};
    dram_status status;
    snprintf(size, sizeof size, "%d", e->size);
    const dram_st_pair pairs[] = {
        {"dram", DRAM_VERSION}, {"student", e->arch->name}, {"image_size", size}, {"student_hash", e->weights_hash}};
    TRY(look_at_decoder(source, decoder, &names));
    TRY_GOTO(list_tensors(e, source, decoder, names, &t), done);
    status = dram_st_write(file, t.out, t.n, pairs, 4);
done:
    free_tensors(&t);
    return status;
}

dram_status dram_export_sam(dram_export *e, const char *decoder, const char *file)
{
    dram_st *source;
    TRY(dram_export_check_target("--sam", file));
    bool own = decoder == NULL;
    TRY(check_student(e, &decoder));
    if (own) TRY(tell_teacher(e, decoder));
    TRY(dram_st_open(decoder, &source));
    dram_weights_unwrap(source);
    tell_scale(e);
    dram_status status = write_sam(e, source, decoder, file);
    dram_st_close(source);
    return status;
}
