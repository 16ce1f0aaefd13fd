/* The SAM checkpoint: names of both sources, bits of the student and of the decoder, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "export/sam.h"
#include "export/student.h"
#include "session/weights.h"
#include "support/warnings.h"

/* ---- a file with a decoder ---- */

typedef struct {
    const char *meta, *hugging_face; /* NULL: of the other alone */
    dram_st_dtype dtype;
    int rank;
    int64_t dim[4];
} part;

/* Some tensors of each part of one, of several types, and what is not its own. */
static const part parts[] = {
    {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
     "shared_image_embedding.positional_embedding",
     DRAM_ST_F32,
     2,
     {2, 128}},
    {"prompt_encoder.point_embeddings.3.weight", "prompt_encoder.point_embed.3.weight", DRAM_ST_F16, 2, {1, 256}},
    {"prompt_encoder.not_a_point_embed.weight", "prompt_encoder.not_a_point_embed.weight", DRAM_ST_F32, 2, {1, 256}},
    {"prompt_encoder.no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight", DRAM_ST_F32, 2, {1, 256}},
    {"prompt_encoder.mask_downscaling.6.weight",
     "prompt_encoder.mask_embed.conv3.weight",
     DRAM_ST_F32,
     4,
     {256, 16, 1, 1}},
    {"mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight", DRAM_ST_BF16, 2, {1, 256}},
    {"mask_decoder.mask_tokens.weight", "mask_decoder.mask_tokens.weight", DRAM_ST_F32, 2, {4, 256}},
    {"mask_decoder.transformer.layers.1.mlp.lin2.weight",
     "mask_decoder.transformer.layers.1.mlp.lin2.weight",
     DRAM_ST_F32,
     2,
     {256, 2048}},
    {"mask_decoder.transformer.final_attn_token_to_image.out_proj.weight",
     "mask_decoder.transformer.final_attn_token_to_image.out_proj.weight",
     DRAM_ST_F32,
     2,
     {256, 128}},
    {"mask_decoder.output_upscaling.3.weight", "mask_decoder.upscale_conv2.weight", DRAM_ST_F32, 4, {64, 32, 2, 2}},
    {"mask_decoder.output_hypernetworks_mlps.3.layers.2.weight",
     "mask_decoder.output_hypernetworks_mlps.3.proj_out.weight",
     DRAM_ST_F32,
     2,
     {32, 256}},
    {"mask_decoder.iou_prediction_head.layers.2.weight",
     "mask_decoder.iou_prediction_head.proj_out.weight",
     DRAM_ST_F32,
     2,
     {4, 256}},
    {"mask_decoder.of_a_later_model.weight", "mask_decoder.of_a_later_model.weight", DRAM_ST_I64, 1, {3}},
    {"image_encoder.pos_embed", "vision_encoder.pos_embed", DRAM_ST_F32, 1, {5}},
    {"pixel_mean", NULL, DRAM_ST_F32, 1, {3}},
};
enum { PARTS = sizeof parts / sizeof parts[0], OF_DECODER = PARTS - 2 };

/* Random bits, NaNs among them: nothing may look at them. `without` and `misshapen` are places in parts, -1: none. */
static const char *put_sam(void **state, const char *name, bool meta, int without, int misshapen)
{
    dram_st_out out[PARTS];
    uint32_t *bits[PARTS];
    char wrapped[PARTS][128];
    int n = 0;
    for (int i = 0; i < PARTS; i++) {
        const part *p = &parts[i];
        if (i == without || (!meta && !p->hugging_face)) continue;
        out[n] = (dram_st_out){.name = wrapped[n], .dtype = p->dtype, .rank = p->rank, .raw = true};
        snprintf(wrapped[n], sizeof wrapped[n], "module.%s", meta ? p->meta : p->hugging_face);
        memcpy(out[n].dim, p->dim, sizeof p->dim);
        if (i == misshapen) out[n].dim[0] += 1;
        int64_t words = 2;
        for (int k = 0; k < p->rank; k++) words *= out[n].dim[k];
        dram_rng r = dram_rng_make(7, DRAM_RNG_TEST, (uint64_t)i);
        bits[n] = malloc((size_t)words * sizeof *bits[n]);
        assert_non_null(bits[n]);
        for (int64_t k = 0; k < words; k++) bits[n][k] = (uint32_t)dram_rng_u64(&r);
        out[n].data = bits[n];
        n++;
    }
    ok(dram_st_write(in_dir(state, name), out, n, NULL, 0));
    while (n > 0) free(bits[--n]);
    return in_dir(state, name);
}

static int setup(void **state)
{
    if (runs_setup(state) != 0) return -1;
    train_one(state, "regnet", "task.enabled=false run.eval_every=0");
    train_one(state, "vit", "student.arch=vit_micro run.export=fp16 task.enabled=false sam_distill.loss.type=cosine");
    train_one(state, "alone", "sam_distill.enabled=false");
    put_sam(state, "meta.safetensors", true, -1, -1);
    put_sam(state, "hf.safetensors", false, -1, -1);
    dram_log_set_sink(keep_warning, NULL);
    return 0;
}

/* The decoder's tensors are those of `source`, and there is nothing else beside `student` and `neck` tensors. */
static void assert_decoder(const dram_st *made, const dram_st *source, bool meta, int beside)
{
    for (int i = 0; i < OF_DECODER; i++) {
        const char *name = meta ? parts[i].meta : parts[i].hugging_face;
        char wrapped[128];
        snprintf(wrapped, sizeof wrapped, "module.%s", name);
        assert_same_tensor(made, name, source, wrapped);
    }
    assert_int_equal(dram_st_count(made), OF_DECODER + beside);
}

static void regnet(void **state)
{
    dram_st *made, *source, *student, *heads;
    for (int meta = 0; meta < 2; meta++) {
        const char *decoder = in_dir(state, meta ? "meta.safetensors" : "hf.safetensors");
        const char *file = in_dir(state, meta ? "regnet.meta" : "regnet.hf");
        const char *encoder = meta ? "image_encoder" : "vision_encoder";
        dram_export *e = open_run(state, "regnet");
        warnings = 0;
        ok(dram_export_sam(e, decoder, file));
        assert_int_equal(warnings, 0);
        ok(dram_st_open(file, &made));
        ok(dram_st_open(decoder, &source));
        ok(dram_st_open(e->weights, &student));
        ok(dram_st_open(e->heads, &heads));
        char name[256];
        for (int i = 0; i < dram_st_count(student); i++) {
            snprintf(name, sizeof name, "%s.trunk.%s", encoder, dram_st_at(student, i)->name);
            assert_same_tensor(made, name, student, dram_st_at(student, i)->name);
        }
        for (int i = 0; i < dram_st_count(heads); i++) {
            snprintf(name, sizeof name, "%s.%s", encoder, dram_st_at(heads, i)->name);
            assert_same_tensor(made, name, heads, dram_st_at(heads, i)->name);
        }
        assert_int_equal(dram_st_count(heads), 7); /* the neck alone */
        assert_decoder(made, source, meta, dram_st_count(student) + dram_st_count(heads));
        assert_string_equal(dram_st_metadata(made, "format"), "pt");
        assert_string_equal(dram_st_metadata(made, "student"), "regnetx_002");
        assert_string_equal(dram_st_metadata(made, "image_size"), "32");
        assert_string_equal(dram_st_metadata(made, "student_hash"), e->weights_hash);
        dram_st_close(made);
        dram_st_close(source);
        dram_st_close(student);
        dram_st_close(heads);
        dram_export_close(e);
    }
}

/* SAM's own names of an encoder, in the type of the run's files. */
static void vit(void **state)
{
    static const struct {
        const char *ours, *meta, *hugging_face;
    } names[] = {
        {"pos_embed", "image_encoder.pos_embed", "vision_encoder.pos_embed"},
        {"blocks.2.attn.rel_pos_h", "image_encoder.blocks.2.attn.rel_pos_h", "vision_encoder.layers.2.attn.rel_pos_h"},
        {"blocks.5.mlp.fc1.weight", "image_encoder.blocks.5.mlp.lin1.weight",
         "vision_encoder.layers.5.mlp.lin1.weight"},
        {"patch_embed.proj.weight", "image_encoder.patch_embed.proj.weight",
         "vision_encoder.patch_embed.projection.weight"},
        {"neck.2.weight", "image_encoder.neck.2.weight", "vision_encoder.neck.conv2.weight"},
        {"neck.3.bias", "image_encoder.neck.3.bias", "vision_encoder.neck.layer_norm2.bias"},
    };
    dram_st *made, *source, *student;
    for (int meta = 0; meta < 2; meta++) {
        const char *decoder = in_dir(state, meta ? "meta.safetensors" : "hf.safetensors");
        const char *file = in_dir(state, meta ? "vit.meta" : "vit.hf");
        dram_export *e = open_run(state, "vit");
        warnings = 0;
        ok(dram_export_sam(e, decoder, file));
        assert_int_equal(warnings, 1); /* trained by cosine alone */
        assert_non_null(strstr(last_warning, "cosine alone does not teach the scale"));
        ok(dram_st_open(file, &made));
        ok(dram_st_open(decoder, &source));
        ok(dram_st_open(e->weights, &student));
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            assert_same_tensor(made, meta ? names[i].meta : names[i].hugging_face, student, names[i].ours);
        assert_int_equal(dram_st_find(made, names[0].meta) ? meta : !meta, 1);
        assert_decoder(made, source, meta, dram_st_count(student));
        dram_st_close(made);
        dram_st_close(source);
        dram_st_close(student);
        dram_export_close(e);
    }
}

/* What was written is a file of the student again. */
static void comes_back(void **state)
{
    static const char *const files[] = {"regnet.meta", "regnet.hf", "vit.meta", "vit.hf"}, *const student[] = {
                                                                                               "student"};
    for (int i = 0; i < 4; i++) {
        static dram_export e;
        const char *run = i < 2 ? "regnet" : "vit", *again = in_dir(state, "again.safetensors");
        const dram_export_request request = {.from = in_dir(state, files[i]),
                                             .config = run_file(state, run, "config.yaml")};
        ok(dram_export_open(&request, &e));
        ok(dram_weights_save(&e.session, again, student, 1, false, e.cfg->run.export));
        assert_same_file(again, run_file(state, run, "student.safetensors"));
        dram_export_close(&e);
    }
}

static void no_decoder(void **state)
{
    char shipped[512];
    dram_export *e = open_run(state, "regnet");
    snprintf(shipped, sizeof shipped, "%s/configs/teacher/vit_micro.safetensors", DRAM_SOURCE_DIR);
    const char *out = in_dir(state, "none.safetensors");
    fails_with(dram_export_sam(e, shipped, out), DRAM_ERR_FORMAT, "it has no mask decoder of SAM");
    fails_with(
        dram_export_sam(e, NULL, out), DRAM_ERR_CONFIG,
        "sam_distill.teacher.weights: it is random: there is no file with a decoder; name one with --sam-decoder");
    fails_with(dram_export_sam(e, in_dir(state, "no such file"), out), DRAM_ERR_CONFIG, "No such file");
    for (int i = 0; i < OF_DECODER - 1; i++) {
        fails_with(dram_export_sam(e, put_sam(state, "half.safetensors", i % 2, i, -1), out), DRAM_ERR_FORMAT,
                   i % 2 ? parts[i].meta : parts[i].hugging_face);
        fails_with(dram_export_sam(e, put_sam(state, "half.safetensors", i % 2, -1, i), out), DRAM_ERR_FORMAT,
                   "and of SAM's decoder [");
    }
    assert_false(is_there(out));
    assert_int_equal(temporaries(*state), 0);
    dram_export_close(e);
}

static const char sealed[] = "runs/regnet/checkpoints/step-00000001/checkpoint.json";

/* The run's newest checkpoint says that its teacher's file had this hash. */
static void put_hash(void **state, const char *hash)
{
    cJSON *root;
    ok(dram_json_read_sealed(in_dir(state, sealed), &root));
    cJSON *depends = cJSON_GetObjectItem(root, "depends");
    assert_true(cJSON_ReplaceItemInObject(depends, "teacher", hash ? cJSON_CreateString(hash) : cJSON_CreateNull()));
    cJSON_DeleteItemFromObject(root, "hash");
    ok(dram_json_write_sealed(in_dir(state, sealed), root));
    cJSON_Delete(root);
}

/* The teacher's own file, where the config names one. Another than the student learned from is warned of. */
static void of_the_teacher(void **state)
{
    static const char other[] = "0123456789abcdef0123456789abcdef";
    char hash[DRAM_HASH_SIZE], want[200];
    const char *file = in_dir(state, "hf.safetensors"), *out = in_dir(state, "teacher.hf");
    const char *const kept[] = {hash, other, NULL};
    dram_export *e = open_run(state, "regnet");
    char *before = e->cfg->sam_distill.teacher.weights;
    e->cfg->sam_distill.teacher.weights = (char *)(uintptr_t)file;
    ok(dram_st_hash(file, NULL, hash));
    for (int i = 0; i < 3; i++) {
        last_warning[0] = '\0';
        put_hash(state, kept[i]);
        ok(dram_export_sam(e, NULL, out));
        assert_same_file(out, in_dir(state, "regnet.hf"));
        assert_int_equal(remove(out), 0);
        snprintf(want, sizeof want, "is another file than this student learned from: hash %s -> %s;",
                 kept[i] ? kept[i] : "none", hash);
        if (i == 0 ? last_warning[0] != '\0' : !strstr(last_warning, want)) fail_msg("%d: %s", i, last_warning);
    }
    ok(dram_export_sam(e, file, out)); /* whoever names a file knows which */
    assert_int_equal(remove(out), 0);
    assert_int_equal(remove(in_dir(state, sealed)), 0);
    ok(dram_export_sam(e, NULL, out));
    assert_non_null(strstr(last_warning, "learned from is not known: no checkpoint of the run has its hash"));
    e->cfg->sam_distill.teacher.weights = before;
    dram_export_close(e);
    assert_int_equal(remove(out), 0);
}

/* No neck, no teacher, no config that says which. */
static void no_embedding(void **state)
{
    static dram_export e;
    const char *decoder = in_dir(state, "meta.safetensors"), *out = in_dir(state, "none.safetensors");
    dram_export *alone = open_run(state, "alone");
    fails_with(dram_export_sam(alone, decoder, out), DRAM_ERR_CONFIG, "this student learned from no SAM");
    dram_export_close(alone);
    dram_export_request request = {.from = run_file(state, "regnet", "student.safetensors")};
    ok(dram_export_open(&request, &e));
    fails_with(dram_export_sam(&e, NULL, out), DRAM_ERR_CONFIG, "without its config");
    dram_export_close(&e);
    assert_int_equal(rename(run_file(state, "regnet", "heads.safetensors"), in_dir(state, "heads.safetensors")), 0);
    ok(dram_export_open(&request, &e));
    fails_with(dram_export_sam(&e, decoder, out), DRAM_ERR_CONFIG, "there is no neck for it");
    dram_export_close(&e);
    assert_int_equal(rename(in_dir(state, "heads.safetensors"), run_file(state, "regnet", "heads.safetensors")), 0);
    assert_false(is_there(out));
}

static dram_status write_sam(dram_export *e, const char *path)
{
    return dram_export_sam(e, e->cfg->sam_distill.teacher.weights, path);
}

static void whole_or_not_there(void **state)
{
    dram_export *e = open_run(state, "regnet");
    const char *file = in_dir(state, "whole.safetensors");
    char *before = e->cfg->sam_distill.teacher.weights;
    e->cfg->sam_distill.teacher.weights = (char *)(uintptr_t)in_dir(state, "meta.safetensors");
    const rlim_t limits[] = {0, 1000, 1000000, 10000000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        fails_on_a_full_disk(state, write_sam, e, file, limits[i]);
    put_file(file, "mine", 4);
    fails_with(write_sam(e, file), DRAM_ERR_CONFIG, "it is there already");
    assert_file_is(file, "mine", 4);
    e->cfg->sam_distill.teacher.weights = before;
    dram_export_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regnet),
        cmocka_unit_test(vit),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(no_decoder),
        cmocka_unit_test(of_the_teacher),
        cmocka_unit_test(no_embedding),
        cmocka_unit_test(whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
