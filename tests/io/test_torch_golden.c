/* Files that torch wrote (scripts/golden_torch.py): every value is known, since storages count from 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "io/helpers.h"
#include "io/safetensors.h"

#define RECORDED DRAM_SOURCE_DIR "/tests/golden/torch/"

/* A tensor whose element at index (i, j, k) is offset + i * step[0] + j * step[1] + k * step[2]. */
typedef struct {
    const char *name;
    dram_st_dtype dtype;
    int rank;
    int64_t dim[3];
    int offset, step[3];
} expected;

static float value_of(const expected *e, int64_t n)
{
    int64_t x = e->offset;
    for (int d = e->rank - 1; d >= 0; d--) {
        x += n % e->dim[d] * e->step[d];
        n /= e->dim[d];
    }
    return (float)x;
}

/* Reads the tensor at once, and in pieces of every size up to 40 from everywhere. */
static void compare(const dram_st *st, const expected *e)
{
    const dram_st_tensor *t = dram_st_find(st, e->name);
    if (!t) fail_msg("%s is not there", e->name);
    float all[200];
    int64_t elements = 1;
    assert_int_equal(t->rank, e->rank);
    for (int d = 0; d < e->rank; d++) {
        assert_int_equal(t->dim[d], e->dim[d]);
        elements *= e->dim[d];
    }
    assert_int_equal(t->dtype, e->dtype);
    assert_int_equal(t->elements, elements);
    assert_int_equal(t->bytes, elements * dram_st_dtype_bytes(t->dtype));
    assert_true(elements <= 200);
    ok(dram_st_read_f32(st, t, 0, elements, all));
    for (int64_t i = 0; i < elements; i++)
        if (all[i] != value_of(e, i)) fail_msg("%s[%d] is %g", e->name, (int)i, (double)all[i]);
    for (int64_t size = 1; size <= 40; size += 3)
        for (int64_t at = 0; at + size <= elements; at++) {
            float piece[40];
            ok(dram_st_read_f32(st, t, at, size, piece));
            assert_memory_equal(piece, all + at, (size_t)size * 4);
        }
}

static dram_st *open_recorded(const char *name)
{
    char path[512];
    dram_st *st;
    snprintf(path, sizeof path, RECORDED "%s", name);
    ok(dram_st_open(path, &st));
    return st;
}

static void every_type(void **state)
{
    (void)state;
    static const char *const files[] = {"types.pth", "protocol-3.pth"};
    static const expected want[] = {{"f32", DRAM_ST_F32, 2, {2, 3}, 0, {3, 1}},
                                    {"f16", DRAM_ST_F16, 1, {4}, 0, {1}},
                                    {"bf16", DRAM_ST_BF16, 2, {3, 1}, 0, {1, 0}},
                                    {"empty", DRAM_ST_F32, 2, {0, 4}, 0, {0, 0}}};
    for (int k = 0; k < 2; k++) {
        dram_st *st = open_recorded(files[k]);
        assert_int_equal(dram_st_count(st), 8);
        for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) compare(st, &want[i]);
        float scalar;
        int64_t integer;
        ok(dram_st_read_f32(st, dram_st_find(st, "scalar"), 0, 1, &scalar));
        assert_true(scalar == -1.5f);
        assert_int_equal(dram_st_find(st, "scalar")->rank, 0);
        ok(dram_st_read_raw(st, dram_st_find(st, "i64"), 0, 1, &integer));
        assert_int_equal(integer, 7);
        fails(dram_st_read_f32(st, dram_st_find(st, "i64"), 0, 1, &scalar), DRAM_ERR_FORMAT,
              ": tensor \"i64\" has dtype I64, want F32, F16 or BF16");
        fails(dram_st_read_raw(st, dram_st_find(st, "f64"), 0, 1, &integer), DRAM_ERR_FORMAT,
              ": tensor \"f64\" has dtype F64, which dram does not read");
        fails(dram_st_read_raw(st, dram_st_find(st, "u8"), 0, 1, &integer), DRAM_ERR_FORMAT,
              ": tensor \"u8\" has dtype U8, which dram does not read");
        dram_st_close(st);
    }
}

static void views_of_one_storage(void **state)
{
    (void)state;
    static const expected want[] = {{"all", DRAM_ST_F32, 1, {120}, 0, {1}},
                                    {"grid", DRAM_ST_F32, 2, {10, 12}, 0, {12, 1}},
                                    {"rows", DRAM_ST_F32, 2, {4, 12}, 36, {12, 1}},
                                    {"block", DRAM_ST_F32, 2, {3, 5}, 28, {12, 1}},
                                    {"columns", DRAM_ST_F32, 2, {10, 3}, 0, {12, 5}},
                                    {"cube", DRAM_ST_F32, 3, {2, 3, 6}, 36, {30, 6, 1}},
                                    {"corner", DRAM_ST_F32, 3, {4, 5, 3}, 2, {30, 6, 1}},
                                    {"line", DRAM_ST_F32, 2, {1, 3}, 69, {6, 1}},
                                    {"one_wide", DRAM_ST_F32, 2, {10, 1}, 3, {12, 1}},
                                    {"element", DRAM_ST_F32, 0, {0}, 119, {0}},
                                    {"half", DRAM_ST_F16, 2, {3, 2}, 5, {8, 1}}};
    static const char *const refused[] = {"transposed", "expanded", "overlapping"};
    dram_st *st = open_recorded("views.pth");
    assert_int_equal(dram_st_count(st), sizeof want / sizeof want[0] + 3);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) compare(st, &want[i]);
    for (int i = 0; i < 3; i++) {
        char text[256];
        float x;
        snprintf(
            text, sizeof text,
            ": the elements of tensor \"%s\" do not lie in order (it is transposed or expanded): save it again after "
            "tensor.contiguous()",
            refused[i]);
        fails(dram_st_read_f32(st, dram_st_find(st, refused[i]), 0, 1, &x), DRAM_ERR_FORMAT, text);
    }
    dram_st_close(st);
}

/* Objects of a training program lie before and after the state dict, and a tensor beside it. */
static void training_checkpoint(void **state)
{
    (void)state;
    static const expected want[] = {{"module.0.weight", DRAM_ST_F32, 2, {3, 2}, 0, {2, 1}},
                                    {"module.0.bias", DRAM_ST_F32, 1, {3}, 0, {1}},
                                    {"module.1.running_var", DRAM_ST_F32, 1, {3}, 0, {1}}};
    dram_st *st = open_recorded("checkpoint.pth");
    assert_int_equal(dram_st_count(st), 7);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) compare(st, &want[i]);
    assert_int_equal(dram_st_find(st, "module.1.num_batches_tracked")->dtype, DRAM_ST_I64);
    dram_st_strip(st, "model."); /* not theirs */
    assert_non_null(dram_st_find(st, "module.0.weight"));
    dram_st_strip(st, "module.");
    assert_non_null(dram_st_find(st, "0.weight"));
    assert_non_null(dram_st_find(st, "1.running_mean"));
    assert_null(dram_st_find(st, "module.0.weight"));
    dram_st_close(st);
}

static void parameters_in_a_wrapper(void **state)
{
    (void)state;
    static const expected want[] = {{"w", DRAM_ST_F32, 2, {2, 2}, 0, {2, 1}}, {"b", DRAM_ST_F32, 1, {2}, 0, {1}}};
    dram_st *st = open_recorded("parameters.pt");
    assert_int_equal(dram_st_count(st), 2);
    for (int i = 0; i < 2; i++) compare(st, &want[i]);
    dram_st_close(st);
}

static void what_torch_writes_otherwise(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text;
    } refused[] = {
        {"protocol-4.pth",
         ": its data.pkl has pickle protocol 4, dram reads 2 and 3: save it again with torch.save and "
         "its default protocol"},
        {"old-format.pth",
         ": it is written by torch before 1.6, in the old format: in Python, torch.save(torch.load(OLD), "
         "NEW) with torch 1.6 or later writes what dram reads"},
        {"whole-module.pth",
         ": it holds an object of torch.nn.modules.linear.Linear, and no dict of tensors: in Python, "
         "torch.save(model.state_dict(), \"weights.pth\") writes what dram reads"},
        {"sparse.pth", ": tensor \"b\" is made by torch._utils._rebuild_sparse_tensor, which dram does not read"},
        {"script.pt",
         ": it is a TorchScript program: in Python, torch.save(torch.jit.load(OLD).state_dict(), NEW) writes "
         "what dram reads"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char path[512];
        dram_st *st;
        snprintf(path, sizeof path, RECORDED "%s", refused[i].file);
        fails(dram_st_open(path, &st), DRAM_ERR_FORMAT, refused[i].text);
        assert_null(st);
    }
}

/* Every prefix of a file is refused: what ends it is the directory. */
static void truncated_anywhere(void **state)
{
    size_t size;
    char *all = get_file(RECORDED "views.pth", &size);
    const char *path = in_dir(state, "cut.pth");
    for (size_t n = 0; n < size; n += n < 64 || n + 64 > size ? 1 : 13) {
        dram_st *st;
        put_file(path, all, n);
        int64_t held = dram_alloc_bytes();
        assert_int_equal(dram_st_open(path, &st), DRAM_ERR_FORMAT);
        if (n >= 8) assert_non_null(strstr(dram_error_text(), ": truncated or damaged: the zip archive's directory"));
        assert_int_equal(dram_alloc_bytes(), held);
        dram_error_clear();
    }
    free(all);
}

static dram_status open_checkpoint(void **state)
{
    dram_st *st;
    (void)state;
    TRY(dram_st_open(RECORDED "checkpoint.pth", &st));
    dram_st_close(st);
    return DRAM_OK;
}

static void out_of_memory_at_every_request(void **state)
{
    out_of_memory_everywhere(open_checkpoint, state);
}

/* Reads all of a file that opens. */
static void use_all(const char *path, int *accepted)
{
    dram_st *st;
    dram_status status = dram_st_open(path, &st);
    dram_error_clear();
    if (status != DRAM_OK) {
        assert_int_equal(status, DRAM_ERR_FORMAT);
        return;
    }
    ++*accepted;
    for (int i = 0; i < dram_st_count(st); i++) {
        const dram_st_tensor *t = dram_st_at(st, i);
        if (t->bytes > 1 << 16) continue;
        void *raw = malloc((size_t)t->bytes + 1);
        assert_non_null(raw);
        (void)dram_st_read_raw(st, t, 0, t->elements, raw);
        free(raw);
    }
    dram_error_clear();
    dram_st_close(st);
}

static void mutated_files_are_safe(void **state)
{
    static const char *const seeds[] = {"views.pth", "checkpoint.pth", "types.pth", "parameters.pt"};
    enum { MUTANTS = 1500 };
    const char *path = in_dir(state, "mutant.pth");
    dram_rng r = dram_rng_make(7, DRAM_RNG_TEST, 2);
    int accepted = 0;
    int64_t held = dram_alloc_bytes();
    for (int i = 0; i < MUTANTS; i++) {
        char from[512];
        size_t size;
        snprintf(from, sizeof from, RECORDED "%s", seeds[i % 4]);
        char *mutant = get_file(from, &size);
        uint64_t edits = 1 + dram_rng_below(&r, 3);
        for (uint64_t e = 0; e < edits; e++) {
            /* half of them in the directory at the end */
            size_t at = dram_rng_below(&r, 2) ? dram_rng_below(&r, size) : size - 1 - dram_rng_below(&r, 400);
            mutant[at] = (char)(dram_rng_below(&r, 2) ? dram_rng_u64(&r) : (uint64_t)mutant[at] + 1);
        }
        put_file(path, mutant, size);
        use_all(path, &accepted);
        free(mutant);
    }
    assert_true(accepted > 0 && accepted < MUTANTS);
    assert_int_equal(dram_alloc_bytes(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),
        cmocka_unit_test(views_of_one_storage),
        cmocka_unit_test(training_checkpoint),
        cmocka_unit_test(parameters_in_a_wrapper),
        cmocka_unit_test(what_torch_writes_otherwise),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(out_of_memory_at_every_request),
        cmocka_unit_test(mutated_files_are_safe),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
