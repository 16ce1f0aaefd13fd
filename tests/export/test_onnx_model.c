/* An ONNX model by itself, and graphs that have no ONNX form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/onnx_file.h"
#include "export/onnx_model.h"
#include "ops/call.h"
#include "support/ok.h"

static void fails_with(dram_status status, dram_status want, const char *text)
{
    if (status != want || !strstr(dram_error_text(), text))
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    dram_error_clear();
}

/* Tensors of more than 2 GiB: nothing of them is made. */
static dram_status never(void *context, void *out, void *scratch)
{
    (void)scratch;
    (void)context;
    (void)out;
    return dram_fail(DRAM_ERR_INTERNAL, "a tensor was made");
}

static void a_file_of_2_gib_is_refused_before_it_is_begun(void **state)
{
    const int64_t dim[2] = {1 << 20, 600};
    const char *path = in_dir(state, "large.onnx");
    dram_onnx_model *m;
    ok(dram_onnx_model_new("large", &m));
    assert_non_null(dram_onnx_tensor(m, "w", DRAM_ONNX_F32, 2, dim, never, NULL, 0));
    fails_with(dram_onnx_model_write(m, path), DRAM_ERR_CONFIG, "a file of ONNX holds less than 2 GiB: take --half");
    assert_int_equal(temporaries(*state), 0);
    dram_onnx_model_free(m);
}

static dram_status breaks(void *context, void *out, void *scratch)
{
    (void)scratch;
    (void)out;
    return dram_fail(DRAM_ERR_NUMERIC, "%s cannot be made", (const char *)context);
}

static void a_tensor_that_cannot_be_made_leaves_nothing(void **state)
{
    const int64_t dim = 4;
    const char *path = in_dir(state, "broken.onnx");
    dram_onnx_model *m;
    ok(dram_onnx_model_new("broken", &m));
    assert_non_null(dram_onnx_tensor(m, "w", DRAM_ONNX_F32, 1, &dim, breaks, "w", 2));
    fails_with(dram_onnx_model_write(m, path), DRAM_ERR_NUMERIC, "w cannot be made");
    assert_false(is_there(path));
    assert_int_equal(temporaries(*state), 0);
    dram_onnx_model_free(m);
}

/* One tensor for one name, whoever asks; a node of what is not there is none. */
static void names_are_given_once(void **state)
{
    (void)state;
    dram_onnx_model *m;
    ok(dram_onnx_model_new("names", &m));
    const char *a = DRAM_ONNX_SHAPE(m, 1, -1), *b = DRAM_ONNX_SHAPE(m, 1, -1);
    assert_string_equal(a, "ints_1_-1");
    assert_ptr_equal(a, b);
    assert_true(dram_onnx_has(m, "ints_1_-1"));
    assert_null(dram_onnx_node(m, "Relu", "y", NULL, 0, DRAM_ONNX_IN(NULL)));
    assert_false(dram_onnx_has(m, "y"));
    assert_non_null(dram_onnx_node(m, "Relu", "y", NULL, 0, DRAM_ONNX_IN(a)));
    assert_true(dram_onnx_has(m, "y"));
    fails_with(dram_onnx_model_fail(m, dram_fail(DRAM_ERR_CONFIG, "no")), DRAM_ERR_CONFIG, "no");
    assert_null(dram_onnx_node(m, "Relu", "z", NULL, 0, DRAM_ONNX_IN(a)));
    assert_int_equal(dram_onnx_model_status(m), DRAM_ERR_CONFIG);
    dram_onnx_model_free(m);
}

/* Tensors of three types, as they come back. */
static dram_status count_up(void *context, void *out, void *scratch)
{
    (void)scratch;
    (void)context;
    for (int i = 0; i < 3; i++) ((float *)out)[i] = (float)i / 3;
    return DRAM_OK;
}

static void tensors_come_back(void **state)
{
    const int64_t dim = 3, values[] = {7, -9};
    const char *path = in_dir(state, "back.onnx");
    int64_t back[2];
    dram_onnx_model *m;
    ok(dram_onnx_model_new("back", &m));
    dram_onnx_tensor(m, "single", DRAM_ONNX_F32, 1, &dim, count_up, NULL, 0);
    dram_onnx_tensor(m, "half", DRAM_ONNX_F16, 1, &dim, count_up, NULL, 0);
    dram_onnx_ints(m, 2, values);
    dram_onnx_scalar(m, DRAM_ONNX_F32, 0.25f);
    dram_onnx_metadata(m, "key", "value");
    ok(dram_onnx_model_write(m, path));
    dram_onnx_model_free(m);
    Onnx__ModelProto *read = read_model(path);
    assert_string_equal(read->graph->name, "back");
    assert_int_equal(read->graph->n_initializer, 4);
    for (int i = 0; i < 3; i++) {
        assert_true(number_in(tensor_of(read, "single"), i) == (double)((float)i / 3));
        assert_true(number_in(tensor_of(read, "half"), i) == (double)dram_f16_to_f32(dram_f32_to_f16((float)i / 3)));
    }
    const Onnx__TensorProto *ints = tensor_of(read, "ints_7_-9");
    assert_int_equal(ints->raw_data.len, sizeof back);
    memcpy(back, ints->raw_data.data, sizeof back);
    assert_int_equal(back[0], 7);
    assert_int_equal(back[1], -9);
    assert_int_equal(tensor_of(read, "number_0.25")->n_dims, 0);
    assert_true(number_in(tensor_of(read, "number_0.25"), 0) == 0.25);
    assert_string_equal(read->metadata_props[0]->key, "key");
    onnx__model_proto__free_unpacked(read, NULL);
}

/* ---- graphs ---- */

/* A student that is an image and what `tail` makes of it. */
typedef struct {
    dram_slots slots;
    dram_io io;
    dram_export e;
} toy;

static void open_toy(toy *t, dram_val (*tail)(dram_graph *g, dram_val image))
{
    static const dram_attr norm = {.std = {1, 1, 1}};
    *t = (toy){0};
    dram_ops_init();
    memset(&t->io, 0xff, sizeof t->io);
    ok(dram_graph_new("toy", &t->slots, &t->io.graph));
    dram_graph *g = t->io.graph;
    t->io.image = dram_graph_input(g, "image", DRAM_U8, DRAM_SHAPE(1, 32, 32, 3));
    t->io.image_valid = dram_graph_input(g, "valid", DRAM_I32, DRAM_SHAPE(1, 2));
    t->io.student_embedding = tail(g, DRAM_CALL(g, image_norm, "image_norm", &norm, t->io.image, t->io.image_valid));
    ok(g->status);
    t->e = (dram_export){.arch = dram_arch_find("regnetx_002"), .io = &t->io, .neck = true, .size = 32};
}

static void close_toy(toy *t)
{
    dram_graph_free(t->io.graph);
    dram_slots_free(&t->slots);
}

static dram_val scaled(dram_graph *g, dram_val x)
{
    return DRAM_CALL(g, scale, "twice", DRAM_ATTR(.scale = 2), x);
}

static dram_val enlarged(dram_graph *g, dram_val x)
{
    return DRAM_CALL(g, resize, "larger", DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = 40, .out_w = 64), x);
}

static dram_val bicubic(dram_graph *g, dram_val x)
{
    return DRAM_CALL(g, resize, "smooth", DRAM_ATTR(.mode = DRAM_RESIZE_BICUBIC_AA, .out_h = 64, .out_w = 64), x);
}

static dram_val vector(dram_graph *g, const char *name, int64_t n)
{
    return dram_graph_slot(g, &(dram_slot){.name = (char *)(uintptr_t)name,
                                           .shape = DRAM_SHAPE(n),
                                           .group = "student",
                                           .category = DRAM_CATEGORY_STUDENT_WEIGHTS});
}

static dram_val normed(dram_graph *g, dram_val x)
{
    return DRAM_CALL(g, bn_apply, "alone", DRAM_ATTR(.eps = 1e-5f), x, vector(g, "m", 3), vector(g, "v", 3),
                     vector(g, "g", 3), vector(g, "b", 3));
}

static dram_val attended(dram_graph *g, dram_val x)
{
    dram_val h = dram_graph_slot(g, &(dram_slot){.name = "h", .shape = DRAM_SHAPE(63, 1), .group = "student"});
    return DRAM_CALL(g, attention, "attn", DRAM_ATTR(.heads = 1), x, h, h, vector(g, "b", 3));
}

static void graphs_without_a_form_are_named(void **state)
{
    static const struct {
        dram_val (*tail)(dram_graph *g, dram_val x);
        const char *text;
    } cases[] = {
        {scaled, "twice: the op scale has no ONNX form, so this student cannot be exported"},
        {enlarged, "larger: a resize that is not bilinear and by whole factors has no ONNX form"},
        {bicubic, "smooth: a resize that is not bilinear"},
        {normed, "alone: a batch norm that follows no convolution"},
        {attended, "attn: an attention whose padding is not the bias of its q, k and v"},
    };
    const char *path = in_dir(state, "none.onnx");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        toy t;
        open_toy(&t, cases[i].tail);
        fails_with(dram_onnx_write(&t.e, &(dram_onnx_options){.what = DRAM_ONNX_EMBEDDING}, path), DRAM_ERR_CONFIG,
                   cases[i].text);
        assert_false(is_there(path));
        close_toy(&t);
    }
}

static dram_val gelu(dram_graph *g, dram_val x)
{
    return DRAM_CALL(g, gelu, "gelu", NULL, x);
}

/* Exact: opset 17 has no Gelu. */
static void gelu_is_made_of_erf(void **state)
{
    static const char *const ops[] = {"Div", "Erf", "Add", "Mul", "Mul"};
    const char *path = in_dir(state, "gelu.onnx");
    toy t;
    open_toy(&t, gelu);
    ok(dram_onnx_write(&t.e, &(dram_onnx_options){.what = DRAM_ONNX_EMBEDDING}, path));
    Onnx__ModelProto *m = read_model(path);
    assert_sound(m);
    assert_int_equal(m->graph->n_node, 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(m->graph->node[i]->op_type, ops[i]);
    assert_string_equal(m->graph->node[4]->output[0], "image_embeddings");
    onnx__model_proto__free_unpacked(m, NULL);
    close_toy(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_2_gib_is_refused_before_it_is_begun),
        cmocka_unit_test(a_tensor_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(names_are_given_once),
        cmocka_unit_test(tensors_come_back),
        cmocka_unit_test(graphs_without_a_form_are_named),
        cmocka_unit_test(gelu_is_made_of_erf),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
