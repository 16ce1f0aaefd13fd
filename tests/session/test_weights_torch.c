/* Weights as people have them: files of torch.save give what safetensors with the same numbers give, bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/half.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "session/started.h"

/* How the same network may lie in a file. */
typedef struct {
    dram_names names;
    const char *prefix;  /* before every name */
    const char *wrapper; /* the dict is in another one, under this; NULL: it is not */
    const char *type;
    dram_st_dtype dtype;
} form;

#define META DRAM_NAMES_META
#define BARE DRAM_NAMES_META_BARE

static void add_value(byte_buffer *b, float x, dram_st_dtype dtype)
{
    if (dtype == DRAM_ST_F32) add(b, &x, 4);
    if (dtype == DRAM_ST_F16) add_number(b, dram_f32_to_f16(x), 2);
    if (dtype == DRAM_ST_BF16) add_number(b, dram_f32_to_bf16(x), 2);
}

/* All tensors of the file `from` in one storage, one after another, as torch.save writes views. */
static void write_torch(const char *from, const char *to, const form *f)
{
    dram_st *st;
    byte_buffer numbers = {0}, b = {0};
    ok(dram_st_open(from, &st));
    assert_true(dram_st_count(st) > 50);
    int64_t items = 0, at = 0;
    for (int i = 0; i < dram_st_count(st); i++) items += dram_st_at(st, i)->elements;
    pickle(&b, "\x80\2}(");
    if (f->wrapper) pickle(&b, "%tK\2%t}(", "epoch", f->wrapper);
    for (int i = 0; i < dram_st_count(st); i++) {
        const dram_st_tensor *t = dram_st_at(st, i);
        char name[300];
        size_t n = (size_t)snprintf(name, sizeof name, "%s", f->prefix);
        pth_tensor out = {.type = f->type, .key = "0", .items = items, .offset = at, .rank = t->rank};
        assert_non_null(dram_names_of(dram_arch_find("vit_micro"), f->names, t->name, name + n, sizeof name - n));
        int64_t stride = 1;
        for (int d = t->rank - 1; d >= 0; d--) {
            out.dim[d] = t->dim[d];
            out.stride[d] = stride;
            stride *= t->dim[d];
        }
        pickle(&b, "%t", name);
        pickle_tensor(&b, &out);
        float *values = malloc((size_t)t->elements * 4);
        assert_non_null(values);
        ok(dram_st_read_f32(st, t, 0, t->elements, values));
        for (int64_t k = 0; k < t->elements; k++) add_value(&numbers, values[k], f->dtype);
        free(values);
        at += t->elements;
    }
    pickle(&b, f->wrapper ? "uu." : "u.");
    byte_buffer all = {0};
    const zip_member m[] = {{.name = "sam/data.pkl", .data = b.at, .size = b.n},
                            {.name = "sam/data/0", .data = numbers.at, .size = numbers.n}};
    zip(&all, m, 2, 0);
    put_file(to, all.at, all.n);
    free(all.at);
    free(b.at);
    free(numbers.at);
    dram_st_close(st);
}

/* Every naming, wrapper and type; the name of the file says something else. */
static void every_form_gives_the_same_weights(void **state)
{
    static const form forms[] = {
        {META, "", NULL, "FloatStorage", DRAM_ST_F32},
        {META, "module.", NULL, "FloatStorage", DRAM_ST_F32},
        {META, "model.", "state_dict", "FloatStorage", DRAM_ST_F32},
        {BARE, "", "model", "FloatStorage", DRAM_ST_F32},
        {BARE, "module.model.", NULL, "FloatStorage", DRAM_ST_F32},
        {DRAM_NAMES_HF, "model.module.", NULL, "FloatStorage", DRAM_ST_F32},
        {DRAM_NAMES_TIMM, "", NULL, "FloatStorage", DRAM_ST_F32},
        {META, "", "model", "HalfStorage", DRAM_ST_F16},
        {BARE, "", NULL, "BFloat16Storage", DRAM_ST_BF16},
    };
    const char *from[DRAM_ST_I64] = {[DRAM_ST_F32] = in_dir(state, "f32.safetensors"),
                                     [DRAM_ST_F16] = in_dir(state, "f16.safetensors"),
                                     [DRAM_ST_BF16] = in_dir(state, "bf16.safetensors")};
    static const dram_precision precision[DRAM_ST_I64] = {
        [DRAM_ST_F32] = DRAM_PRECISION_FP32, [DRAM_ST_F16] = DRAM_PRECISION_FP16, [DRAM_ST_BF16] = DRAM_PRECISION_BF16};
    for (int k = 0; k < DRAM_ST_I64; k++) save_started(state, "", "teacher", from[k], precision[k]);
    const char *to = in_dir(state, "weights.safetensors"), *again = in_dir(state, "again.safetensors");
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const form *f = &forms[i];
        write_torch(from[f->dtype], to, f);
        save_started(state, with("sam_distill.teacher.weights", to), "teacher", again, precision[f->dtype]);
        assert_same_file(from[f->dtype], again);
    }
}

/* The teacher from either file makes the same student: its embeddings are the same bits. */
static void either_file_teaches_the_same(void **state)
{
    static const form meta = {META, "", NULL, "FloatStorage", DRAM_ST_F32};
    const char *plain = in_dir(state, "f32.safetensors"), *pth = in_dir(state, "sam.pth");
    write_torch(plain, pth, &meta);
    char set[2][4700];
    snprintf(set[0], sizeof set[0], "train.steps=2 %s", with("sam_distill.teacher.weights", plain));
    snprintf(set[1], sizeof set[1], "train.steps=2 %s", with("sam_distill.teacher.weights", pth));
    run_order a = {.name = "plain", .set = set[0]}, b = {.name = "pth", .set = set[1]};
    run_ok(state, &a);
    run_ok(state, &b);
    assert_same_file(run_file(state, "plain", "student.safetensors"), run_file(state, "pth", "student.safetensors"));
    assert_true(isfinite(a.summary.eval.embedding_mse) && a.summary.eval.embedding_mse > 0);
    assert_true(a.summary.eval.embedding_mse == b.summary.eval.embedding_mse &&
                a.summary.eval.embedding_cosine == b.summary.eval.embedding_cosine);
    run_remove(state, "plain");
    run_remove(state, "pth");
}

/* Changes one number of a tensor in a file of F32. */
static void spoil(const char *from, const char *to, const char *name, int64_t element, float value)
{
    dram_st *st;
    size_t size;
    char *all = get_file(from, &size);
    ok(dram_st_open(from, &st));
    const dram_st_tensor *t = dram_st_find(st, name);
    assert_non_null(t);
    assert_int_equal(t->dtype, DRAM_ST_F32);
    uint64_t header;
    memcpy(&header, all, 8);
    memcpy(all + 8 + header + t->begin + element * 4, &value, 4);
    put_file(to, all, size);
    free(all);
    dram_st_close(st);
}

static void what_is_not_finite_is_refused(void **state)
{
    const char *from = in_dir(state, "f32.safetensors"), *to = in_dir(state, "spoilt.safetensors");
    const char *set = with("sam_distill.teacher.weights", to);
    spoil(from, to, "blocks.1.mlp.fc1.weight", 1234, NAN);
    start_fails(
        state, set,
        "spoilt.safetensors: element 1234 of tensor \"blocks.1.mlp.fc1.weight\" is NaN: the file is damaged, or its "
        "training diverged");
    spoil(from, to, "neck.0.weight", 5, INFINITY); /* a convolution, which is loaded as a whole */
    start_fails(state, set, "element 5 of tensor \"neck.0.weight\" is infinite");
    spoil(from, to, "pos_embed", 0, -INFINITY);
    start_fails(state, set, "element 0 of tensor \"pos_embed\" is infinite");
    spoil(from, to, "pos_embed", 0, 0);
    save_started(state, set, "teacher", in_dir(state, "again.safetensors"), DRAM_PRECISION_FP32);
}

/* What lies where weights should, named, with the place in the config. */
static void what_is_no_weights_file(void **state)
{
    static char tar[512];
    memcpy(tar + 257, "ustar", 5);
    memcpy(tar, "weights/model.bin", 17);
    static const struct {
        const char *bytes;
        size_t size;
        const char *text;
    } files[] = {
#define FILE_OF(BYTES, TEXT) {BYTES, sizeof BYTES - 1, TEXT}
        FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n",
                "it is a Git LFS pointer and not the file itself: git lfs pull fetches it"),
        FILE_OF("<!DOCTYPE html><html></html>",
                "it is a web page, as a failed download leaves: download the file itself"),
        FILE_OF("\n \xef\xbb\xbf", "truncated: 5 bytes are no safetensors file"),
        FILE_OF("\xef\xbb\xbf\r\n  <HTML lang=en>", "it is a web page"),
        FILE_OF("<?xml version=\"1.0\"?><Error/>", "it is a web page"),
        FILE_OF("{\"metadata\": {}, \"architectures\": {}}",
                "it is JSON text, and no index of files of weights (weight_map)"),
        FILE_OF("\x80\2}q\0X\5\0\0\0modelq\1", "it is a bare pickle, not made by torch.save"),
        FILE_OF("\x80\4\x95\x10\0\0\0\0\0\0\0", "it is a bare pickle, not made by torch.save"),
        FILE_OF("\x1f\x8b\x08\0\0\0\0\0\0\3", "it is compressed by gzip: unpack it first"),
        FILE_OF("\x89HDF\r\n\x1a\n", "it is an HDF5 file (Keras)"),
        FILE_OF("PK\5\6\0\0\0\0\0\0", "it is an empty zip archive"),
        {tar, sizeof tar, "it is a tar archive (torch before 0.4, or packed)"},
    };
    const char *to = in_dir(state, "other.pth"), *set = with("sam_distill.teacher.weights", to);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char text[200];
        put_file(to, files[i].bytes, files[i].size);
        snprintf(text, sizeof text, "other.pth: %s", files[i].text);
        start_fails(state, set, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_gives_the_same_weights),
        cmocka_unit_test(either_file_teaches_the_same),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(what_is_no_weights_file),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
