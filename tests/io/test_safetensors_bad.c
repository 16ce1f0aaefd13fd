/* safetensors files that are not what they should be */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "io/helpers.h"
#include "io/safetensors.h"

/* The open must fail with FORMAT, and with exactly this text after the path and ": ". */
static void refuses(const char *path, const char *text)
{
    dram_st *st = NULL;
    int64_t held = dram_alloc_bytes();
    dram_error_clear();
    assert_int_equal(dram_st_open(path, &st), DRAM_ERR_FORMAT);
    assert_null(st);
    assert_int_equal(dram_alloc_bytes(), held);
    size_t n = strlen(path);
    assert_memory_equal(dram_error_text(), path, n);
    assert_string_equal(dram_error_text() + n, text);
    dram_error_clear();
}

static void malformed_headers_are_refused(void **state)
{
    static const struct {
        const char *header, *text;
    } bad[] = {
        {"", ": not a safetensors file: its header is not a JSON object"},
        {"[]", ": not a safetensors file: its header is not a JSON object"},
        {"3", ": not a safetensors file: its header is not a JSON object"},
        {"{", ": not a safetensors file: its header is not a JSON object"},
        {" {}", ": not a safetensors file: its header is not a JSON object"},
        {"{} x", ": not a safetensors file: its header is not a JSON object"},
        {"{}{}", ": not a safetensors file: its header is not a JSON object"},
        {"{\"a\":}", ": not a safetensors file: its header is not a JSON object"},
        {"{\"a\\u0000b\":1}", ": its header holds a name or text with a zero character"},
        {"{\"a\\n\":1}", ": a tensor's name holds a control character"},
        {"{\"a\":1}", ": tensor \"a\" is not an object"},
        {"{\"a\":{}}", ": tensor \"a\" lacks a proper dtype, shape or data_offsets"},
        {"{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" lacks a proper dtype, shape or data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}",
         ": tensor \"a\" lacks a proper dtype, shape or data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}",
         ": tensor \"a\" lacks a proper dtype, shape or data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has two shape"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has the unknown dtype \"F33\""},
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has the unknown dtype \"f32\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\": dimension 0 is not a count"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1.5],\"data_offsets\":[0,4]}}",
         ": tensor \"a\": dimension 1 is not a count"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}",
         ": tensor \"a\": dimension 0 is not a count"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,4]}}",
         ": tensor \"a\": dimension 0 is not a count"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has more than 8 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has too many elements"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has too many elements"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}",
         ": tensor \"a\" does not fill its last byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}",
         ": tensor \"a\": data_offsets are not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}",
         ": tensor \"a\": data_offsets are not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
         ": tensor \"a\": data_offsets are not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}",
         ": tensor \"a\": data_offsets are not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}",
         ": tensor \"a\" has 8 bytes, its shape and dtype need 4"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has 4 bytes, its shape and dtype need 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,4]}}",
         ": tensor \"a\" has 4 bytes, its shape and dtype need 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}",
         ": truncated or out of range: tensor \"a\" ends at byte 20 of the data, the file holds 16"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9007199254740988,9007199254740992]}}",
         ": truncated or out of range: tensor \"a\" ends at byte 9007199254740992 of the data, the file holds 16"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         ": tensors \"a\" and \"b\" overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
         ": tensors \"a\" and \"b\" overlap"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         ": 4 bytes before tensor \"b\" belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", ": the last 4 bytes belong to no tensor"},
        {"{}", ": the last 16 bytes belong to no tensor"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}",
         ": two tensors are named \"a\""},
        {"{\"__metadata__\":1,\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
         ": __metadata__ is not one object of texts"},
        {"{\"__metadata__\":{\"k\":1},\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
         ": __metadata__ is not one object of texts"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", ": __metadata__ is not one object of texts"},
    };
    static const float data[4];
    const char *path = in_dir(state, "bad.safetensors");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_tensors(path, bad[i].header, data, sizeof data);
        refuses(path, bad[i].text);
    }
}

static void malformed_files_are_refused(void **state)
{
    const char *path = in_dir(state, "bad.safetensors");
    put_file(path, "", 0);
    refuses(path, ": truncated: 0 bytes are no safetensors file");
    put_file(path, "\2\0\0\0\0\0\0", 7);
    refuses(path, ": truncated: 7 bytes are no safetensors file");
    put_file(path, "\2\0\0\0\0\0\0\0{", 9);
    refuses(path, ": truncated: a header of 2 bytes in a file of 9");
    put_file(path, "\x01\xe1\xf5\x05\0\0\0\0{}", 10); /* 100,000,001 */
    refuses(path, ": header too large: 100000001 bytes, 100000000 are allowed (is it a safetensors file?)");
    put_file(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    refuses(path, ": header too large: 18446744073709551615 bytes, 100000000 are allowed (is it a safetensors file?)");
    put_file(path, "PK\3\4\0\0\0\0\0\0\0\0", 12); /* a torch zip */
    refuses(path,
            ": truncated or damaged: the zip archive's directory, which is its end, is not there: fetch or write the "
            "file again");
    put_file(path, "PK\3\4\0\0\0\0{\"a\"", 12); /* a length that reads so */
    refuses(path, ": truncated: a header of 67324752 bytes in a file of 12");
    put_file(path, "\4\0\0\0\0\0\0\0{}\0 ", 12);
    refuses(path, ": not a safetensors file: its header is not a JSON object");
    put_tensors(path, "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "123456789012345", 15);
    refuses(path, ": truncated or out of range: tensor \"a\" ends at byte 16 of the data, the file holds 15");

    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    assert_int_equal(symlink("loop", in_dir(state, "loop")), 0);
    static const char *const names[][2] = {{"absent", "absent: cannot open: No such file"},
                                           {".", ": cannot open: not a file: a folder"},
                                           {"pipe", "pipe: cannot open: not a file: a pipe"},
                                           {"loop", "loop: cannot open: Too many levels of symbolic links"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        dram_st *st;
        assert_int_equal(dram_st_open(in_dir(state, names[i][0]), &st), DRAM_ERR_CONFIG);
        assert_non_null(strstr(dram_error_text(), names[i][1]));
        dram_error_clear();
    }
}

static void deep_nesting_is_refused(void **state)
{
    char *header = malloc(200001);
    assert_non_null(header);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', 199995);
    header[200000] = '\0';
    const char *path = in_dir(state, "deep.safetensors");
    put_tensors(path, header, NULL, 0);
    free(header);
    refuses(path, ": not a safetensors file: its header is not a JSON object");
}

static void wrong_dtype_is_refused_when_read(void **state)
{
    const char *path = in_dir(state, "u8.safetensors");
    put_tensors(path,
                "{\"u\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
                "\"n\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]}}",
                "0123456701234567", 16);
    dram_st *st;
    float x[8];
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_find(st, "u")->dtype, DRAM_ST_OTHER);
    assert_int_equal(dram_st_read_f32(st, dram_st_find(st, "u"), 0, 8, x), DRAM_ERR_FORMAT);
    assert_memory_equal(dram_error_text(), path, strlen(path));
    assert_string_equal(dram_error_text() + strlen(path), ": tensor \"u\" has dtype U8, want F32, F16 or BF16");
    dram_error_clear();
    assert_int_equal(dram_st_read_raw(st, dram_st_find(st, "u"), 0, 8, x), DRAM_ERR_FORMAT);
    dram_error_clear();
    assert_int_equal(dram_st_read_f32(st, dram_st_find(st, "n"), 0, 1, x), DRAM_ERR_FORMAT);
    dram_error_clear();
    int64_t n;
    assert_int_equal(dram_st_read_raw(st, dram_st_find(st, "n"), 0, 2, &n), DRAM_ERR_INTERNAL);
    dram_error_clear();
    assert_int_equal(dram_st_read_raw(st, dram_st_find(st, "n"), -1, 1, &n), DRAM_ERR_INTERNAL);
    dram_error_clear();
    assert_int_equal(dram_st_read_raw(st, dram_st_find(st, "n"), 1, INT64_MAX, &n), DRAM_ERR_INTERNAL);
    dram_error_clear();

    assert_int_equal(truncate(path, 20), 0); /* shrinks while it is open */
    assert_int_equal(dram_st_read_raw(st, dram_st_find(st, "n"), 0, 1, &n), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "truncated at byte"));
    dram_error_clear();
    dram_st_close(st);
}

/* Fuzz -------------------------------------------------------------------------------------------------------- */

/* Whatever is accepted must read in full: every tensor in range, no byte twice. */
static void use_all(const char *path, int *accepted)
{
    dram_st *st;
    dram_status status = dram_st_open(path, &st);
    if (status != DRAM_OK) {
        assert_int_equal(status, DRAM_ERR_FORMAT);
        assert_memory_equal(dram_error_text(), path, strlen(path));
        assert_null(strchr(dram_error_text(), '\n'));
        dram_error_clear();
        return;
    }
    (*accepted)++;
    int64_t bytes = 0;
    for (int i = 0; i < dram_st_count(st); i++) {
        const dram_st_tensor *t = dram_st_at(st, i);
        bytes += t->bytes;
        assert_ptr_equal(dram_st_find(st, t->name), t);
        if (t->dtype == DRAM_ST_OTHER) continue;
        void *raw = malloc((size_t)t->bytes + 1);
        assert_non_null(raw);
        ok(dram_st_read_raw(st, t, 0, t->elements, raw));
        free(raw);
    }
    assert_true(bytes <= 4096);
    dram_st_close(st);
}

static void mutated_files_are_safe(void **state)
{
    const char *seed = in_dir(state, "seed.safetensors"), *path = in_dir(state, "fuzz.safetensors");
    static const float x[24] = {1};
    static const int64_t n[1] = {1};
    const dram_st_out out[] = {{.name = "a", .dtype = DRAM_ST_F32, .rank = 2, .dim = {2, 3}, .data = x},
                               {.name = "b", .dtype = DRAM_ST_F16, .rank = 1, .dim = {24}, .data = x},
                               {.name = "c", .dtype = DRAM_ST_BF16, .rank = 1, .dim = {0}, .data = x},
                               {.name = "d", .dtype = DRAM_ST_I64, .rank = 0, .data = n}};
    const dram_st_pair pair = {"k", "v"};
    static const char *const words[] = {
        "0",   "1", "-1", "9",     "9007199254740993", "1e99", "null", "[]", "{}", "\"", "F16", "U8", "\\u0000",
        "\\n", ",", ":",  "shape", "__metadata__",     " ",    "}"};
    ok(dram_st_write(seed, out, 4, &pair, 1));
    size_t bytes;
    char *good = get_file(seed, &bytes), *mutant = malloc(bytes + 64);
    assert_non_null(mutant);
    uint64_t header;
    memcpy(&header, good, 8);
    dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, 1);
    enum { MUTANTS = 800 };
    int accepted = 0;
    int64_t held = dram_alloc_bytes();
    for (int i = 0; i < MUTANTS; i++) {
        size_t size = bytes;
        memcpy(mutant, good, bytes);
        uint64_t edits = 1 + dram_rng_below(&r, 3);
        for (uint64_t e = 0; e < edits; e++) {
            size_t at = 8 + dram_rng_below(&r, header);
            const char *word = words[dram_rng_below(&r, sizeof words / sizeof words[0])];
            switch (dram_rng_below(&r, 6)) {
            case 0:
                mutant[at] = (char)dram_rng_u64(&r);
                break;
            case 1:
                mutant[at] = (char)('0' + dram_rng_below(&r, 10));
                break;
            case 2: /* over what is there, within the header */
                for (size_t k = 0; word[k] && at + k < 8 + header; k++) mutant[at + k] = word[k];
                break;
            case 3:
                mutant[dram_rng_below(&r, 8)] = (char)dram_rng_u64(&r);
                break;
            case 4:
                size = dram_rng_below(&r, size + 1);
                break;
            default: { /* one header byte away, a space at the end: the length stays right */
                memmove(mutant + at, mutant + at + 1, 8 + header - at - 1);
                mutant[8 + header - 1] = ' ';
            }
            }
        }
        put_file(path, mutant, size);
        use_all(path, &accepted);
    }
    assert_true(accepted > 0 && accepted < MUTANTS);
    assert_int_equal(dram_alloc_bytes(), held);
    free(good);
    free(mutant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_headers_are_refused), cmocka_unit_test(malformed_files_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),       cmocka_unit_test(wrong_dtype_is_refused_when_read),
        cmocka_unit_test(mutated_files_are_safe),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
