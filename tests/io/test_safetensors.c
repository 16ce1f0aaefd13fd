#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/rng.h"
#include "base/testing.h"
#include "io/helpers.h"
#include "io/safetensors.h"

/* Layout ------------------------------------------------------------------------------------------------------ */

/* The bytes that the format's reference implementation makes: rules by hand, not by our writer. */
static void reads_hand_made_bytes(void **state)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"who\":\"hand\"},"
                                 "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
                                 "\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[16,18]},"
                                 "\"g\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[18,20]}}  ";
    static const unsigned char data[] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,
                                         0x80, 0x3f, 0,    0,    0,    0xc0, 0,    0x3e, 0x40, 0x40};
    const char *path = in_dir(state, "hand.safetensors");
    put_tensors(path, header, data, sizeof data);

    dram_st *st;
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_count(st), 4);
    assert_string_equal(dram_st_at(st, 0)->name, "a");
    assert_string_equal(dram_st_at(st, 3)->name, "h");
    assert_string_equal(dram_st_metadata(st, "who"), "hand");
    assert_null(dram_st_metadata(st, "nobody"));
    assert_null(dram_st_find(st, "c"));
    int64_t b;
    float a[2], h, g;
    const dram_st_tensor *t = dram_st_find(st, "b");
    assert_int_equal(t->rank, 0);
    assert_int_equal(t->elements, 1);
    ok(dram_st_read_raw(st, t, 0, 1, &b));
    assert_int_equal(b, -2);
    ok(dram_st_read_f32(st, dram_st_find(st, "a"), 0, 2, a));
    assert_true(a[0] == 1.0f && a[1] == -2.0f);
    ok(dram_st_read_f32(st, dram_st_find(st, "h"), 0, 1, &h));
    ok(dram_st_read_f32(st, dram_st_find(st, "g"), 0, 1, &g));
    assert_true(h == 1.5f && g == 3.0f);
    char shape[32];
    assert_string_equal(dram_st_format_shape(dram_st_find(st, "a"), shape, sizeof shape), "[2,1]");
    assert_string_equal(dram_st_format_shape(dram_st_find(st, "b"), shape, sizeof shape), "[]");
    assert_string_equal(dram_st_format_shape(dram_st_find(st, "a"), shape, 3), "[2");
    dram_st_close(st);
}

/* Byte for byte what the rules say: widest types first, compact JSON, spaces to a multiple of 8. */
static void writes_exact_bytes(void **state)
{
    const char *path = in_dir(state, "exact.safetensors");
    static const float x[3] = {1.0f, -0.5f, 65504.0f};
    static const int64_t n[1] = {7};
    const dram_st_out out[] = {
        {.name = "w\"1", .dtype = DRAM_ST_F16, .rank = 2, .dim = {3, 1}, .data = x},
        {.name = "v", .dtype = DRAM_ST_F32, .rank = 1, .dim = {1}, .data = x},
        {.name = "n", .dtype = DRAM_ST_I64, .rank = 0, .data = n},
    };
    const dram_st_pair pair = {"arch", "regnety_004"};
    ok(dram_st_write(path, out, 3, &pair, 1));
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\",\"arch\":\"regnety_004\"},"
                                 "\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
                                 "\"w\\\"1\":{\"dtype\":\"F16\",\"shape\":[3,1],\"data_offsets\":[12,18]}}";
    static const unsigned char data[] = {7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0x3c, 0, 0xb8, 0xff, 0x7b};
    size_t bytes;
    char *file = get_file(path, &bytes);
    size_t text = sizeof header - 1, padded = (text + 7) / 8 * 8;
    uint64_t length;
    memcpy(&length, file, 8);
    assert_int_equal(length, padded);
    assert_memory_equal(file + 8, header, text);
    for (size_t i = text; i < padded; i++) assert_int_equal(file[8 + i], ' ');
    assert_int_equal(bytes, 8 + padded + sizeof data);
    assert_memory_equal(file + 8 + padded, data, sizeof data);
    free(file);
    assert_int_equal(temporaries(*state), 0);
}

/* Round trips ------------------------------------------------------------------------------------------------- */

typedef struct {
    const float *x;
    int64_t next, calls;
} piecewise;

static dram_status give_piece(void *context, int64_t offset, int64_t count, void *out)
{
    piecewise *p = context;
    assert_int_equal(offset, p->next);
    memcpy(out, p->x + offset, (size_t)count * sizeof *p->x);
    p->next += count;
    p->calls++;
    return DRAM_OK;
}

enum { BIG = 40003 }; /* more than two chunks of the writer and of the reader */

static float narrowed(float x, dram_st_dtype dtype)
{
    if (dtype == DRAM_ST_F16) return dram_f16_to_f32(dram_f32_to_f16(x));
    if (dtype == DRAM_ST_BF16) return dram_bf16_to_f32(dram_f32_to_bf16(x));
    return x;
}

static void all_dtypes_come_back(void **state)
{
    static const dram_st_dtype dtypes[] = {DRAM_ST_F32, DRAM_ST_F16, DRAM_ST_BF16};
    const char *path = in_dir(state, "big.safetensors");
    float *x = malloc(BIG * sizeof *x), *y = malloc(BIG * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, 0);
    for (int i = 0; i < BIG; i++) x[i] = (float)dram_rng_normal(&r);
    for (int k = 0; k < 3; k++) {
        piecewise p = {.x = x};
        const dram_st_out out[] = {
            {.name = "pieces",
             .dtype = dtypes[k],
             .rank = 3,
             .dim = {13, 17, 181},
             .source = give_piece,
             .context = &p},
            {.name = "whole", .dtype = dtypes[k], .rank = 1, .dim = {BIG}, .data = x},
        };
        ok(dram_st_write(path, out, 2, NULL, 0));
        assert_int_equal(p.next, 13 * 17 * 181);
        assert_true(p.calls > 1);
        dram_st *st;
        ok(dram_st_open(path, &st));
        ok(dram_st_read_f32(st, dram_st_find(st, "whole"), 0, BIG, y));
        for (int i = 0; i < BIG; i++) assert_true(y[i] == narrowed(x[i], dtypes[k]));
        const dram_st_tensor *t = dram_st_find(st, "pieces");
        assert_int_equal(t->elements, 13 * 17 * 181);
        assert_int_equal(t->dim[1], 17);
        assert_string_equal(t->dtype_name, dram_st_dtype_name(dtypes[k]));
        ok(dram_st_read_f32(st, t, 16001, 17001, y)); /* a piece from the middle, over a chunk's border */
        for (int i = 0; i < 17001; i++) assert_true(y[i] == narrowed(x[16001 + i], dtypes[k]));
        dram_st_close(st);
    }
    free(x);
    free(y);
}

/* 65519.996 is the last float that rounds to fp16's largest number, 65504; what was infinite stays so. */
static void what_fp16_has_no_number_for_is_refused(void **state)
{
    const char *path = in_dir(state, "narrow.safetensors");
    float x[] = {1.0f, 65519.996f, INFINITY};
    const dram_st_out out = {.name = "w", .dtype = DRAM_ST_F16, .rank = 1, .dim = {3}, .data = x};
    ok(dram_st_write(path, &out, 1, NULL, 0));
    x[1] = -65520.0f;
    assert_int_equal(dram_st_write(path, &out, 1, NULL, 0), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "w has the number -65520, which is too large for fp16"));
    dram_error_clear();
    dram_st *st;
    ok(dram_st_open(path, &st)); /* the old file */
    ok(dram_st_read_f32(st, dram_st_find(st, "w"), 0, 3, x));
    assert_true(x[1] == 65504.0f && isinf(x[2]));
    dram_st_close(st);
}

static dram_status give_stored(void *context, int64_t offset, int64_t count, void *out)
{
    memcpy(out, (const uint16_t *)context + offset, (size_t)count * sizeof(uint16_t));
    return DRAM_OK;
}

/* Every pattern of 16 bits, NaNs with their payloads among them. */
static void raw_bits_are_copied(void **state)
{
    enum { ALL = 1 << 16 };
    const char *path = in_dir(state, "raw.safetensors");
    uint16_t *bits = malloc(ALL * sizeof *bits), *back = malloc(ALL * sizeof *back);
    assert_true(bits && back);
    for (int i = 0; i < ALL; i++) bits[i] = (uint16_t)i;
    const dram_st_out out[] = {
        {.name = "f16", .dtype = DRAM_ST_F16, .rank = 1, .dim = {ALL}, .data = bits, .raw = true},
        {.name = "bf16",
         .dtype = DRAM_ST_BF16,
         .rank = 1,
         .dim = {ALL},
         .source = give_stored,
         .context = bits,
         .raw = true},
        {.name = "f32", .dtype = DRAM_ST_F32, .rank = 1, .dim = {ALL / 2}, .data = bits, .raw = true},
        {.name = "i64", .dtype = DRAM_ST_I64, .rank = 1, .dim = {ALL / 4}, .data = bits, .raw = true},
    };
    ok(dram_st_write(path, out, 4, NULL, 0));
    dram_st *st;
    ok(dram_st_open(path, &st));
    for (int k = 0; k < 4; k++) {
        const dram_st_tensor *t = dram_st_find(st, out[k].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, out[k].dtype);
        assert_int_equal(t->bytes, ALL * sizeof *bits);
        ok(dram_st_read_raw(st, t, 0, t->elements, back));
        assert_memory_equal(back, bits, ALL * sizeof *bits);
    }
    dram_st_close(st);
    free(bits);
    free(back);
}

static void odd_shapes_come_back(void **state)
{
    const char *path = in_dir(state, "odd.safetensors");
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const int64_t n[2] = {INT64_MIN, INT64_MAX};
    const dram_st_out out[] = {
        {.name = "scalar", .dtype = DRAM_ST_F32, .rank = 0, .data = x},
        {.name = "none", .dtype = DRAM_ST_F32, .rank = 3, .dim = {4, 0, 5}},
        {.name = "eight", .dtype = DRAM_ST_BF16, .rank = 8, .dim = {1, 2, 1, 2, 1, 2, 1, 1}, .data = x},
        {.name = "ends", .dtype = DRAM_ST_I64, .rank = 1, .dim = {2}, .data = n},
        {.name = "also none", .dtype = DRAM_ST_F16, .rank = 1, .dim = {0}},
        {.name = "", .dtype = DRAM_ST_F16, .rank = 1, .dim = {1}, .data = x},
        {.name = "caf\xc3\xa9", .dtype = DRAM_ST_F16, .rank = 1, .dim = {1}, .data = x + 1},
    };
    ok(dram_st_write(path, out, 7, NULL, 0));
    dram_st *st;
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_count(st), 7);
    float y[8];
    int64_t m[2];
    ok(dram_st_read_f32(st, dram_st_find(st, "scalar"), 0, 1, y));
    assert_true(y[0] == 1);
    assert_int_equal(dram_st_find(st, "none")->elements, 0);
    assert_int_equal(dram_st_find(st, "none")->dim[2], 5);
    ok(dram_st_read_f32(st, dram_st_find(st, "none"), 0, 0, y));
    ok(dram_st_read_f32(st, dram_st_find(st, "eight"), 0, 8, y));
    for (int i = 0; i < 8; i++) assert_true(y[i] == x[i]);
    ok(dram_st_read_raw(st, dram_st_find(st, "ends"), 0, 2, m));
    assert_true(m[0] == INT64_MIN && m[1] == INT64_MAX);
    ok(dram_st_read_f32(st, dram_st_find(st, "caf\xc3\xa9"), 0, 1, y));
    assert_true(y[0] == 2);
    assert_non_null(dram_st_find(st, ""));
    dram_st_close(st);

    ok(dram_st_write(path, NULL, 0, NULL, 0));
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_count(st), 0);
    assert_null(dram_st_find(st, "scalar"));
    dram_st_close(st);
}

/* Every tensor of a mixed list lies on a multiple of its element size, the data itself on a multiple of 8. */
static void mixed_types_are_aligned(void **state)
{
    const char *path = in_dir(state, "mixed.safetensors");
    static const float x[3] = {1, 2, 3};
    static const int64_t n[1] = {1};
    const dram_st_out out[] = {{.name = "a", .dtype = DRAM_ST_BF16, .rank = 1, .dim = {1}, .data = x},
                               {.name = "b", .dtype = DRAM_ST_F32, .rank = 1, .dim = {3}, .data = x},
                               {.name = "c", .dtype = DRAM_ST_F16, .rank = 1, .dim = {3}, .data = x},
                               {.name = "d", .dtype = DRAM_ST_I64, .rank = 0, .data = n}};
    ok(dram_st_write(path, out, 4, NULL, 0));
    dram_st *st;
    ok(dram_st_open(path, &st));
    for (int i = 0; i < 4; i++)
        assert_int_equal(dram_st_at(st, i)->begin % dram_st_dtype_bytes(dram_st_at(st, i)->dtype), 0);
    dram_st_close(st);
    char *file = get_file(path, NULL);
    assert_int_equal(file[0] % 8, 0);
    free(file);
}

/* Failures ------------------------------------------------------------------------------------------------------- */

static void bad_lists_are_not_written(void **state)
{
    const char *path = in_dir(state, "list.safetensors");
    static const float x[1] = {1};
    const dram_st_out good = {.name = "a", .dtype = DRAM_ST_F32, .rank = 1, .dim = {1}, .data = x};
    dram_st_out out[2] = {good, good};
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL); /* equal names */
    out[1].name = "__metadata__";
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    out[1] = good, out[1].name = "b", out[1].dim[0] = -1;
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    out[1].dim[0] = INT64_MAX;
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    out[1].dim[0] = 1, out[1].dtype = DRAM_ST_OTHER;
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    out[1].dtype = DRAM_ST_F32, out[1].rank = 9;
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    out[1].rank = 1, out[1].data = NULL;
    assert_int_equal(dram_st_write(path, out, 2, NULL, 0), DRAM_ERR_INTERNAL);
    assert_false(is_there(path));
    assert_int_equal(temporaries(*state), 0);
    dram_error_clear();
}

/* Failures ---------------------------------------------------------------------------------------------------- */

static dram_status refuse_piece(void *context, int64_t offset, int64_t count, void *out)
{
    (void)context, (void)count, (void)out;
    return offset == 0 ? DRAM_OK : dram_fail(DRAM_ERR_NUMERIC, "no more");
}

static void a_failing_source_keeps_the_old_file(void **state)
{
    const char *path = in_dir(state, "old.safetensors");
    put_file(path, "old", 3);
    const dram_st_out out = {.name = "a", .dtype = DRAM_ST_BF16, .rank = 1, .dim = {BIG}, .source = refuse_piece};
    assert_int_equal(dram_st_write(path, &out, 1, NULL, 0), DRAM_ERR_NUMERIC);
    dram_error_clear();
    assert_file_is(path, "old", 3);
    assert_int_equal(temporaries(*state), 0);
}

/* A file-size limit stands for the full disk: write fails after a part of the bytes, with EFBIG instead of ENOSPC. */
static void a_full_disk_keeps_the_old_file(void **state)
{
    const char *path = in_dir(state, "full.safetensors");
    put_file(path, "old", 3);
    float *x = calloc(BIG, sizeof *x);
    assert_non_null(x);
    const dram_st_out out = {.name = "a", .dtype = DRAM_ST_F32, .rank = 1, .dim = {BIG}, .data = x};
    file_limit limit = limit_files(70000);
    dram_status status = dram_st_write(path, &out, 1, NULL, 0);
    unlimit_files(limit);
    free(x);
    assert_int_equal(status, DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "full.safetensors: cannot write: File too large"));
    dram_error_clear();
    assert_file_is(path, "old", 3);
    assert_int_equal(temporaries(*state), 0);
}

static void out_of_memory_at_every_request(void **state)
{
    const char *path = in_dir(state, "oom.safetensors");
    static const float x[2] = {1, 2};
    const dram_st_out out[] = {{.name = "a", .dtype = DRAM_ST_F16, .rank = 1, .dim = {2}, .data = x},
                               {.name = "b", .dtype = DRAM_ST_F32, .rank = 2, .dim = {1, 2}, .data = x}};
    const dram_st_pair pair = {"k", "v"};
    int64_t held = dram_alloc_bytes();
    int failures = 0;
    for (int64_t after = 0;; after++) {
        dram_alloc_fail_after(after);
        dram_status status = dram_st_write(path, out, 2, &pair, 1);
        dram_alloc_fail_after(-1);
        assert_int_equal(dram_alloc_bytes(), held);
        if (status == DRAM_OK) break;
        /* after the rename nothing but the folder's name is asked for: the file may be there already */
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_string_not_equal(dram_error_text(), "");
        dram_error_clear();
        assert_int_equal(temporaries(*state), 0);
        failures++;
    }
    assert_true(failures > 20);
    failures = 0;
    for (int64_t after = 0;; after++) {
        dram_st *st;
        dram_alloc_fail_after(after);
        dram_status status = dram_st_open(path, &st);
        dram_alloc_fail_after(-1);
        if (status == DRAM_OK) {
            dram_st_close(st);
            break;
        }
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_non_null(strstr(dram_error_text(), "out of host memory"));
        dram_error_clear();
        assert_null(st);
        assert_int_equal(dram_alloc_bytes(), held);
        failures++;
    }
    assert_true(failures > 20);
    assert_int_equal(dram_alloc_bytes(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_hand_made_bytes),
        cmocka_unit_test(writes_exact_bytes),
        cmocka_unit_test(all_dtypes_come_back),
        cmocka_unit_test(raw_bits_are_copied),
        cmocka_unit_test(odd_shapes_come_back),
        cmocka_unit_test(mixed_types_are_aligned),
        cmocka_unit_test(bad_lists_are_not_written),
        cmocka_unit_test(a_failing_source_keeps_the_old_file),
        cmocka_unit_test(what_fp16_has_no_number_for_is_refused),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
