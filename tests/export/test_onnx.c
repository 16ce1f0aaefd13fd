/* dram export --onnx: the graph that is read back, its weights, its options, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/onnx_file.h"
#include "export/weights.h"
#include "support/full_disk.h"

enum { CLASSES = 3 };

static int setup(void **state)
{
    static const char *const archs[] = {"regnetx_002", "regnety_002", "vit_micro"};
    if (tempdir_make(state) != 0) return -1;
    for (int i = 0; i < 3; i++) write_student(state, archs[i], archs[i], CLASSES);
    return 0;
}

/* The student of a folder of setup; dram_export_close it. */
static dram_export *open_student(void **state, const char *arch, int size)
{
    static dram_export e;
    const char *path = student_path(state, arch, "student.safetensors");
    const dram_export_request request = {.from = path, .size = size};
    ok(dram_export_open(&request, &e));
    return &e;
}

/* Exports it and reads the file back: onnx__model_proto__free_unpacked it. */
static Onnx__ModelProto *export(void **state, const char *arch, int size, dram_onnx_options options)
{
    const char *path = in_dir(state, "student.onnx");
    dram_export *e = open_student(state, arch, size);
    ok(dram_onnx_write(e, &options, path));
    dram_export_close(e);
    Onnx__ModelProto *m = read_model(path);
    assert_int_equal(remove(path), 0);
    assert_int_equal(temporaries(*state), 0);
    assert_sound(m);
    return m;
}

static void done(Onnx__ModelProto *m)
{
    onnx__model_proto__free_unpacked(m, NULL);
}

static void fails_with(dram_status status, dram_status want, const char *text)
{
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* ---- graphs ---- */

/* The graph is the recorded one, line for line; DRAM_GOLDEN=write in the environment records it. */
static void assert_recorded(const Onnx__ModelProto *m, const char *name)
{
    char path[400];
    size_t bytes;
    const char *mode = getenv("DRAM_GOLDEN");
    dram_str text = text_of(m);
    snprintf(path, sizeof path, "%s/tests/golden/%s.onnx.txt", DRAM_SOURCE_DIR, name);
    if (mode && strcmp(mode, "write") == 0) put_file(path, text.text, text.length);
    char *want = get_file(path, &bytes);
    const char *a = want, *b = text.text;
    for (int line = 1; *a || *b; line++) {
        size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");
        if (n != k || strncmp(a, b, n) != 0)
            fail_msg("%s, line %d:\n%.*s\ninstead of\n%.*s", path, line, (int)k, b, (int)n, a);
        a += n + (a[n] == '\n');
        b += k + (b[k] == '\n');
    }
    assert_true(bytes > 1000);
    free(want);
    dram_str_free(&text);
}

static void graphs_are_the_recorded_ones(void **state)
{
    Onnx__ModelProto *m = export(state, "regnety_002", 64, (dram_onnx_options){.what = DRAM_ONNX_LOGITS});
    assert_recorded(m, "regnety_002_logits");
    assert_int_equal(count_op(m, "BatchNormalization"), 0);
    done(m);
    m = export(state, "vit_micro", 256, (dram_onnx_options){.what = DRAM_ONNX_EMBEDDING});
    assert_recorded(m, "vit_micro_embedding");
    done(m);
}

/* ---- weights ---- */

/* A tensor of student.safetensors, as floats; free() it. */
static float *read_weight(const dram_st *file, const char *name, int64_t *n)
{
    const dram_st_tensor *t = dram_st_find(file, name);
    if (!t) fail_msg("no %s", name);
    float *out = malloc((size_t)t->elements * sizeof *out);
    assert_non_null(out);
    ok(dram_st_read_f32(file, t, 0, t->elements, out));
    if (n) *n = t->elements;
    return out;
}

static dram_st *open_weights(void **state, const char *arch)
{
    dram_st *file;
    const char *path = student_path(state, arch, "student.safetensors");
    ok(dram_st_open(path, &file));
    return file;
}

/* "student.s1.b1.conv1.conv.weight": the tensors of s1.b1.conv1.bn. */
static void assert_folded(const Onnx__ModelProto *m, const dram_st *file, const char *name)
{
    char conv[160], bn[160], part[200];
    const char *const parts[] = {"running_mean", "running_var", "weight", "bias"};
    float *of[4];
    int64_t n;
    snprintf(conv, sizeof conv, "%s", name + strlen("student."));
    snprintf(bn, sizeof bn, "%.*sbn", (int)(strlen(conv) - strlen("conv.weight")), conv);
    float *w = read_weight(file, conv, &n);
    for (int i = 0; i < 4; i++) {
        snprintf(part, sizeof part, "%s.%s", bn, parts[i]);
        of[i] = read_weight(file, part, NULL);
    }
    snprintf(part, sizeof part, "student.%s.bias", bn);
    const Onnx__TensorProto *weight = tensor_of(m, name), *bias = tensor_of(m, part);
    assert_int_equal(elements_in(weight), n);
    assert_int_equal(elements_in(bias), weight->dims[0]);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i / (n / weight->dims[0]);
        double want = w[i] * (of[2][c] / sqrt((double)of[1][c] + (double)1e-5f));
        if (number_in(weight, i) != (double)(float)want)
            fail_msg("%s[%d]: %g, not %g", name, (int)i, number_in(weight, i), want);
    }
    for (int64_t c = 0; c < weight->dims[0]; c++) {
        double want = of[3][c] - of[0][c] * (of[2][c] / sqrt((double)of[1][c] + (double)1e-5f));
        assert_true(number_in(bias, c) == (double)(float)want);
    }
    for (int i = 0; i < 4; i++) free(of[i]);
    free(w);
}

static void batch_norms_are_folded_in_double(void **state)
{
    int folded = 0;
    dram_st *file = open_weights(state, "regnetx_002");
    Onnx__ModelProto *m = export(state, "regnetx_002", 64, (dram_onnx_options){.what = DRAM_ONNX_FEATURES});
    for (size_t i = 0; i < m->graph->n_node; i++) {
        if (strcmp(m->graph->node[i]->op_type, "Conv") != 0) continue;
        assert_folded(m, file, m->graph->node[i]->input[1]);
        folded++;
    }
    assert_int_equal(folded, 1 + 13 * 3 + 4); /* stem, blocks, shortcuts */
    dram_st_close(file);
    done(m);
}

/* [rows, columns] of the file is [columns, rows], or stays as it is. */
static void assert_copied(const Onnx__ModelProto *m, const dram_st *file, const char *name, bool transposed)
{
    char full[160];
    int64_t n;
    snprintf(full, sizeof full, "student.%s", name);
    const Onnx__TensorProto *t = tensor_of(m, full);
    float *w = read_weight(file, name, &n);
    assert_int_equal(elements_in(t), n);
    int64_t columns = transposed ? t->dims[0] : n, rows = n / columns;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            assert_true(number_in(t, transposed ? c * rows + r : c) == (double)w[r * columns + c]);
    free(w);
}

static void other_weights_are_as_they_were(void **state)
{
    dram_st *file = open_weights(state, "vit_micro");
    Onnx__ModelProto *m = export(state, "vit_micro", 256, (dram_onnx_options){.what = DRAM_ONNX_FEATURES});
    assert_copied(m, file, "patch_embed.proj.weight", false);
    assert_copied(m, file, "blocks.3.attn.qkv.weight", true);
    assert_copied(m, file, "blocks.3.attn.qkv.bias", false);
    assert_copied(m, file, "blocks.2.attn.rel_pos_w", false);
    assert_copied(m, file, "blocks.5.mlp.fc2.weight", true);
    assert_copied(m, file, "neck.2.weight", false);
    const Onnx__TensorProto *position = tensor_of(m, "student.pos_embed");
    assert_int_equal(position->n_dims, 4);
    done(m);
    dram_st_close(file);
}

/* ---- options ---- */

static void assert_port(const Onnx__ValueInfoProto *port, const char *want)
{
    dram_str text = {0};
    add_port(&text, port);
    assert_string_equal(text.text, want);
    dram_str_free(&text);
}

static const char *metadata(const Onnx__ModelProto *m, const char *key)
{
    for (size_t i = 0; i < m->n_metadata_props; i++)
        if (strcmp(m->metadata_props[i]->key, key) == 0) return m->metadata_props[i]->value;
    fail_msg("no %s in the metadata", key);
    return NULL;
}

static void outputs_are_those_asked_for(void **state)
{
    static const char *const features[] = {"features_2 type 1 [1,32,48,48]\n", "features_4 type 1 [1,24,24,24]\n",
                                           "features_8 type 1 [1,56,12,12]\n", "features_16 type 1 [1,152,6,6]\n",
                                           "features_32 type 1 [1,368,3,3]\n"};
    Onnx__ModelProto *m = export(state, "regnetx_002", 96, (dram_onnx_options){.what = DRAM_ONNX_FEATURES});
    assert_int_equal(m->graph->n_output, 5);
    for (size_t i = 0; i < 5; i++) assert_port(m->graph->output[i], features[i]);
    done(m);
    m = export(state, "regnetx_002", 96, (dram_onnx_options){.what = DRAM_ONNX_EMBEDDING});
    assert_int_equal(m->graph->n_input, 1);
    assert_port(m->graph->input[0], "image type 1 [1,3,96,96]\n");
    assert_int_equal(m->graph->n_output, 1);
    assert_port(m->graph->output[0], "image_embeddings type 1 [1,256,6,6]\n");
    done(m);
    m = export(state, "regnetx_002", 96, (dram_onnx_options){.what = DRAM_ONNX_LOGITS});
    assert_int_equal(m->graph->n_output, 1);
    assert_port(m->graph->output[0], "logits type 1 [1,3,12,12]\n");
    done(m);
}

static void the_metadata_says_what_it_is(void **state)
{
    char hash[DRAM_HASH_SIZE];
    Onnx__ModelProto *m = export(state, "regnetx_002", 64, (dram_onnx_options){.what = DRAM_ONNX_EMBEDDING});
    assert_int_equal(m->ir_version, 8);
    assert_int_equal(m->n_opset_import, 1);
    assert_int_equal(m->opset_import[0]->version, 17);
    assert_string_equal(m->producer_name, "dram");
    assert_string_equal(metadata(m, "arch"), "regnetx_002");
    assert_string_equal(metadata(m, "size"), "64");
    assert_string_equal(metadata(m, "mean"), "123.675,116.28,103.53");
    assert_string_equal(metadata(m, "std"), "58.395,57.12,57.375");
    assert_string_equal(metadata(m, "dram_version"), DRAM_VERSION);
    ok(dram_hash_file(student_path(state, "regnetx_002", "student.safetensors"), NULL, hash));
    assert_string_equal(metadata(m, "weights_xxh3"), hash);
    ok(dram_hash_file(student_path(state, "regnetx_002", "heads.safetensors"), NULL, hash));
    assert_string_equal(metadata(m, "heads_xxh3"), hash);
    done(m);
}

static void the_input_has_the_name_and_the_batch(void **state)
{
    const dram_onnx_options options = {.what = DRAM_ONNX_EMBEDDING, .input = "pixel_values", .dynamic_batch = true};
    Onnx__ModelProto *m = export(state, "regnetx_002", 64, options);
    assert_port(m->graph->input[0], "pixel_values type 1 [batch,3,64,64]\n");
    assert_port(m->graph->output[0], "image_embeddings type 1 [batch,256,4,4]\n");
    assert_string_equal(m->graph->node[0]->input[0], "pixel_values");
    done(m);
}

static void pixels_are_prepared_inside(void **state)
{
    static const char *const ops[] = {"Cast", "Sub", "Div", "Transpose"};
    const dram_onnx_options options = {.what = DRAM_ONNX_EMBEDDING, .preprocess = true};
    Onnx__ModelProto *m = export(state, "regnetx_002", 64, options);
    assert_port(m->graph->input[0], "image type 2 [height,width,3]\n");
    for (size_t i = 0; i < 4; i++) assert_string_equal(m->graph->node[i]->op_type, ops[i]);
    assert_int_equal(count_op(m, "Pad"), 1);
    assert_true(number_in(tensor_of(m, "preprocess.mean"), 1) == (double)116.28f);
    assert_true(number_in(tensor_of(m, "preprocess.std"), 2) == (double)57.375f);
    done(m);
}

/* Weights are rounded to nearest; what is outside stays f32, and the norm of an image too. */
static void half_is_inside_alone(void **state)
{
    int64_t n;
    int norms = 0;
    dram_st *file = open_weights(state, "vit_micro");
    const dram_onnx_options options = {.what = DRAM_ONNX_EMBEDDING, .half = true};
    Onnx__ModelProto *m = export(state, "vit_micro", 256, options);
    assert_port(m->graph->input[0], "image type 1 [1,3,256,256]\n");
    assert_port(m->graph->output[0], "image_embeddings type 1 [1,256,16,16]\n");
    const Onnx__TensorProto *t = tensor_of(m, "student.patch_embed.proj.weight");
    assert_int_equal(t->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16);
    float *w = read_weight(file, "patch_embed.proj.weight", &n);
    assert_int_equal(t->raw_data.len, 2 * n);
    for (int64_t i = 0; i < n; i++) assert_true(number_in(t, i) == (double)dram_f16_to_f32(dram_f32_to_f16(w[i])));
    free(w);
    dram_st_close(file);
    done(m);
    m = export(state, "regnetx_002", 64, options);
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        t = m->graph->initializer[i];
        norms += strstr(t->name, ".norm") && t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    }
    assert_int_equal(norms, 4); /* of the neck */
    assert_int_equal(count_op(m, "Cast"), 1 + 2 * 2 + 1);
    done(m);
}

/* Positions are brought to another size by dram's own kernels. */
static void a_vit_takes_another_size(void **state)
{
    Onnx__ModelProto *m = export(state, "vit_micro", 320, (dram_onnx_options){.what = DRAM_ONNX_EMBEDDING});
    assert_port(m->graph->output[0], "image_embeddings type 1 [1,256,20,20]\n");
    const Onnx__TensorProto *t = tensor_of(m, "student.pos_embed_resized");
    assert_int_equal(t->n_dims, 4);
    assert_int_equal(t->dims[1], 20);
    assert_int_equal(tensor_of(m, "student.blocks.2.attn.rel_pos_h_resized")->dims[0], 39);
    int finite = 0;
    for (int64_t i = 0; i < elements_in(t); i++) finite += number_in(t, i) != 0 && fabs(number_in(t, i)) < 1;
    assert_int_equal(finite, elements_in(t));
    done(m);
}

/* ---- refusals ---- */

static void refuses(void **state, dram_onnx_options options, const char *text)
{
    const char *path = in_dir(state, "refused.onnx");
    dram_export *e = open_student(state, "regnetx_002", 64);
    fails_with(dram_onnx_write(e, &options, path), DRAM_ERR_CONFIG, text);
    dram_export_close(e);
    assert_false(is_there(path));
    assert_int_equal(temporaries(*state), 0);
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    refuses(state, (dram_onnx_options){.preprocess = true, .dynamic_batch = true}, "which has no batch");
    refuses(state, (dram_onnx_options){.input = ""}, "--input-name is empty");
    refuses(state, (dram_onnx_options){.what = DRAM_ONNX_EMBEDDING, .input = "image_embeddings"},
            "another value of the graph has this name");
    refuses(state, (dram_onnx_options){.input = "student.stem.conv.weight"}, "another value of the graph");
}

static void parts_that_are_not_there_are_refused(void **state)
{
    dram_export e;
    write_student(state, "alone", "regnetx_002", CLASSES);
    assert_int_equal(remove(student_path(state, "alone", "heads.safetensors")), 0);
    const dram_export_request request = {.from = student_path(state, "alone", "student.safetensors"), .size = 64};
    const char *out = in_dir(state, "refused.onnx");
    ok(dram_export_open(&request, &e));
    fails_with(dram_onnx_write(&e, &(dram_onnx_options){.what = DRAM_ONNX_EMBEDDING}, out), DRAM_ERR_CONFIG,
               "no weights of a neck");
    fails_with(dram_onnx_write(&e, &(dram_onnx_options){.what = DRAM_ONNX_LOGITS}, out), DRAM_ERR_CONFIG,
               "no weights of a task head");
    assert_false(is_there(out));
    ok(dram_onnx_write(&e, &(dram_onnx_options){.what = DRAM_ONNX_FEATURES}, out));
    dram_export_close(&e);
    remove(out);
}

static void a_number_too_large_for_half_is_refused(void **state)
{
    dram_st *file;
    dram_export e;
    write_student(state, "large", "regnetx_002", CLASSES);
    const char *path = student_path(state, "large", "student.safetensors");
    ok(dram_st_open(path, &file));
    const dram_st_tensor *t = dram_st_find(file, "stem.bn.bias");
    long at = 8 + (long)t->begin;
    uint64_t header;
    dram_st_close(file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    const float large = 1e6f;
    assert_int_equal(fseek(f, at + (long)header, SEEK_SET), 0);
    assert_int_equal(fwrite(&large, sizeof large, 1, f), 1);
    assert_int_equal(fclose(f), 0);
    const dram_export_request request = {.from = path, .size = 64};
    const char *out = in_dir(state, "refused.onnx");
    ok(dram_export_open(&request, &e));
    fails_with(dram_onnx_write(&e, &(dram_onnx_options){.half = true}, out), DRAM_ERR_CONFIG,
               "student.stem.bn.bias has the number 1e+06, which is too large for fp16");
    dram_export_close(&e);
    assert_false(is_there(out));
    assert_int_equal(temporaries(*state), 0);
}

static void a_full_disk_leaves_nothing(void **state)
{
    const char *path = in_dir(state, "full.onnx");
    dram_export *e = open_student(state, "regnetx_002", 64);
    file_limit before = limit_files(100000);
    dram_status status = dram_onnx_write(e, &(dram_onnx_options){.what = DRAM_ONNX_FEATURES}, path);
    unlimit_files(before);
    fails_with(status, DRAM_ERR_IO, "full.onnx: cannot write");
    dram_export_close(e);
    assert_false(is_there(path));
    assert_int_equal(temporaries(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graphs_are_the_recorded_ones),
        cmocka_unit_test(batch_norms_are_folded_in_double),
        cmocka_unit_test(other_weights_are_as_they_were),
        cmocka_unit_test(outputs_are_those_asked_for),
        cmocka_unit_test(the_metadata_says_what_it_is),
        cmocka_unit_test(the_input_has_the_name_and_the_batch),
        cmocka_unit_test(pixels_are_prepared_inside),
        cmocka_unit_test(half_is_inside_alone),
        cmocka_unit_test(a_vit_takes_another_size),
        cmocka_unit_test(options_that_do_not_go_together_are_refused),
        cmocka_unit_test(parts_that_are_not_there_are_refused),
        cmocka_unit_test(a_number_too_large_for_half_is_refused),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
