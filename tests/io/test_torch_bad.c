/* Files that look like those of torch.save and are not, or lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/helpers.h"
#include "io/pth.h"
#include "io/safetensors.h"

static const float numbers[6] = {0, 1, 2, 3, 4, 5};

static const pth_tensor good = {
    .type = "FloatStorage", .key = "0", .items = 6, .rank = 2, .dim = {2, 3}, .stride = {3, 1}};

/* A dict of one tensor, "w". */
static byte_buffer pickle_of(const pth_tensor *t)
{
    byte_buffer b = {0};
    pickle(&b, "\x80\2}(%t", "w");
    pickle_tensor(&b, t);
    pickle(&b, "u.");
    return b;
}

static void put_archive(const char *path, const zip_member *m, int n, int how)
{
    byte_buffer b = {0};
    zip(&b, m, n, how);
    put_file(path, b.at, b.n);
    free(b.at);
}

/* A file with this data.pkl, which is freed, and six numbers in data/0. */
static void put_pickle(const char *path, byte_buffer b)
{
    zip_member m[] = {{.name = "x/data.pkl", .data = b.at, .size = b.n},
                      {.name = "x/data/0", .data = numbers, .size = sizeof numbers}};
    put_archive(path, m, 2, 0);
    free(b.at);
}

static void opens(const char *path)
{
    dram_st *st;
    float got[6];
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_count(st), 1);
    ok(dram_st_read_f32(st, dram_st_find(st, "w"), 0, 6, got));
    assert_memory_equal(got, numbers, sizeof numbers);
    dram_st_close(st);
}

/* The open must fail, with this text after the path, and hold nothing. */
static void refuses(const char *path, const char *text)
{
    dram_st *st;
    int64_t held = dram_alloc_bytes();
    dram_status status = dram_st_open(path, &st);
    if (status != DRAM_ERR_FORMAT || strncmp(dram_error_text(), path, strlen(path)) != 0 ||
        strcmp(dram_error_text() + strlen(path), text) != 0)
        fail_msg("status %d: \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(st);
    assert_null(strchr(dram_error_text(), '\n'));
    assert_int_equal(dram_alloc_bytes(), held);
    dram_error_clear();
}

/* ---- archives ---- */

static void archives_as_they_may_be(void **state)
{
    const char *path = in_dir(state, "good.pth");
    byte_buffer b = pickle_of(&good);
    const zip_member m[] = {{.name = "any name/data.pkl", .data = b.at, .size = b.n},
                            {.name = "any name/data/0", .data = numbers, .size = sizeof numbers},
                            {.name = "any name/byteorder", .data = "little", .size = 6},
                            {.name = "any name/version", .data = "3\n", .size = 2},
                            {.name = "packed elsewhere", .data = "", .size = 0, .method = 8}};
    for (int n = 2; n <= 5; n++) {
        put_archive(path, m, n, 0);
        opens(path);
        put_archive(path, m, n, ZIP64);
        opens(path);
    }
    free(b.at);
}

static void damaged_archives(void **state)
{
    static const char no_end[] = ": truncated or damaged: the zip archive's directory, which is its end, is not there: "
                                 "fetch or write the file again";
    static const char beyond[] =
        ": truncated or damaged: a member of the zip archive ends beyond the file: fetch or write "
        "the file again";
    static const char unfit[] =
        ": truncated or damaged: the zip archive's directory does not fit its members: fetch or "
        "write the file again";
    const char *path = in_dir(state, "bad.pth");
    byte_buffer b = pickle_of(&good);
    const zip_member m[] = {{.name = "x/data.pkl", .data = b.at, .size = b.n},
                            {.name = "x/data/0", .data = numbers, .size = sizeof numbers}};
    enum { LIES = 12 };
    zip_member lie[LIES][3];
    for (int i = 0; i < LIES; i++) memcpy(lie[i], m, sizeof m);
    static const struct {
        int members;
        const char *text;
    } want[LIES] = {
        {2, beyond},
        {2, beyond},
        {2, unfit},
        {2, unfit},
        {2, ": truncated or damaged: data.pkl is not what was written: fetch or write the file again"},
        {2, ": data.pkl is compressed in the zip archive, and torch.save stores it as it is: save it again with "
            "torch.save"},
        {2,
         ": data/0 is compressed in the zip archive, and torch.save stores it as it is: save it again with torch.save"},
        {2, ": data.pkl is encrypted in the zip archive, and torch.save stores it as it is: save it again with "
            "torch.save"},
        {3, ": its numbers are not little-endian: save it again on another computer"},
        {3, ": the zip archive has two members of one name"},
        {3, ": the zip archive has two data.pkl: torch.save writes one"},
        {3,
         ": it is a TorchScript program: in Python, torch.save(torch.jit.load(OLD).state_dict(), NEW) writes what dram "
         "reads"},
    };
    lie[0][1].more = 1 << 20;
    lie[1][1].more = INT32_MAX;
    lie[2][1].at = 1 << 20;
    lie[3][1].at = 3;
    lie[4][0].crc_change = 1;
    lie[5][0].method = 8;
    lie[6][1].method = 8;
    lie[7][0].flags = 1;
    lie[8][2] = (zip_member){.name = "x/byteorder", .data = "big", .size = 3};
    lie[9][2] = m[1];
    lie[10][2] = (zip_member){.name = "y/data.pkl", .data = b.at, .size = b.n};
    lie[11][2] = (zip_member){.name = "x/code/__torch__.py", .data = "", .size = 0};
    for (int i = 0; i < LIES; i++)
        for (int how = 0; how <= ZIP64; how++) {
            put_archive(path, lie[i], want[i].members, how);
            refuses(path, want[i].text);
        }
    put_archive(path, m + 1, 1, 0);
    refuses(path,
            ": it is a zip archive that torch.save did not write: it has no data.pkl. If it holds a file of weights, "
            "unpack it");
    /* a member more or less than the directory says, and something after its end */
    byte_buffer all = {0};
    zip(&all, m, 2, 0);
    add_text(&all, "?");
    put_file(path, all.at, all.n);
    refuses(path, no_end);
    all.at[all.n - 1 - 22 + 8] = 3;
    all.at[all.n - 1 - 22 + 10] = 3;
    put_file(path, all.at, all.n - 1);
    refuses(path, ": truncated or damaged: the zip archive's directory cannot be read: fetch or write the file again");
    free(all.at);
    put_file(path, "PK\3\4 and no more", 16);
    refuses(path, no_end);
    free(b.at);
}

/* ---- tensors that lie about their storage ---- */

static void tensors_that_lie(void **state)
{
    static const char beyond[] = ": tensor \"w\" ends beyond data/0, where it lies";
    static const struct {
        pth_tensor t;
        const char *text;
    } bad[] = {
        {{"FloatStorage", "0", 6, 1, 2, {2, 3}, {3, 1}}, beyond},
        {{"FloatStorage", "0", 6, 7, 1, {0}, {1}}, beyond},
        {{"FloatStorage", "0", 6, 0, 2, {2, 4}, {3, 1}}, beyond},
        {{"FloatStorage", "0", 6, 0, 2, {2, 3}, {INT64_MAX, 1}}, beyond},
        {{"FloatStorage", "0", 6, INT64_MAX, 2, {2, 3}, {3, 1}}, beyond},
        {{"FloatStorage", "0", 6, 0, 2, {INT64_MAX, INT64_MAX}, {0, 0}}, beyond},
        {{"FloatStorage", "0", 6, 0, 1, {INT64_MAX}, {0}}, beyond},
        {{"FloatStorage", "0", 7, 0, 2, {2, 3}, {3, 1}},
         ": data/0, of tensor \"w\", has 24 bytes instead of 7 numbers of 4 bytes"},
        {{"FloatStorage", "0", 5, 0, 1, {5}, {1}},
         ": data/0, of tensor \"w\", has 24 bytes instead of 5 numbers of 4 bytes"},
        {{"HalfStorage", "0", 6, 0, 2, {2, 3}, {3, 1}},
         ": data/0, of tensor \"w\", has 24 bytes instead of 6 numbers of 2 bytes"},
        {{"FloatStorage", "0", INT64_MAX, 0, 2, {2, 3}, {3, 1}},
         ": data/0, of tensor \"w\", has 24 bytes instead of 9223372036854775807 numbers of 4 bytes"},
        {{"FloatStorage", "1", 6, 0, 2, {2, 3}, {3, 1}}, ": tensor \"w\" lies in data/1, which is not there"},
        {{"QInt8Storage", "0", 24, 0, 1, {6}, {1}}, ": tensor \"w\" has a type of numbers that dram does not know"},
        {{"FloatStorage", "0", 6, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 6}, {1, 1, 1, 1, 1, 1, 1, 1, 1}},
         ": tensor \"w\" has more than 8 dimensions"},
    };
    const char *path = in_dir(state, "lie.pth");
    put_pickle(path, pickle_of(&good));
    opens(path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_pickle(path, pickle_of(&bad[i].t));
        refuses(path, bad[i].text);
    }
}

/* Keys of storages that are no numbers: a key must not lead out of the folder. */
static void keys_that_lead_away(void **state)
{
    static const char *const keys[] = {"", "../data.pkl", "0/", "-1", "a", "00000000000000000000", " 0", "0\n"};
    const char *path = in_dir(state, "key.pth");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        pth_tensor t = good;
        dram_st *st;
        t.key = keys[i];
        put_pickle(path, pickle_of(&t));
        assert_int_equal(dram_st_open(path, &st), DRAM_ERR_FORMAT);
        assert_non_null(strstr(dram_error_text(), ": a storage's key is not a number, or its size is none"));
        dram_error_clear();
    }
}

/* ---- names and dicts ---- */

static byte_buffer dict_of(const char *first, const char *second)
{
    byte_buffer b = {0};
    pickle(&b, "\x80\2}(%t", first);
    pickle_tensor(&b, &good);
    pickle(&b, "%t", second);
    pickle_tensor(&b, &good);
    pickle(&b, "u.");
    return b;
}

static void names_that_are_none(void **state)
{
    const char *path = in_dir(state, "names.pth");
    put_pickle(path, dict_of("a", "a"));
    refuses(path, ": two tensors are named \"a\"");
    put_pickle(path, dict_of("a", "b\033[2J"));
    refuses(path, ": a tensor's name holds a control character");
    put_pickle(path, dict_of("a", "b\nc"));
    refuses(path, ": a tensor's name holds a control character");
}

/* What the outermost value is, if it is no dict of tensors. */
static void no_state_dict(void **state)
{
#define WAY_OUT ": in Python, torch.save(model.state_dict(), \"weights.pth\") writes what dram reads"
    const char *path = in_dir(state, "none.pth");
    byte_buffer b = {0};
    pickle(&b, "\x80\2}.");
    put_pickle(path, b);
    refuses(path, ": it holds no dict of tensors, but nothing" WAY_OUT);
    b = (byte_buffer){0};
    pickle(&b, "\x80\2}(%tK\1%tK\2u.", "epoch", "weird\033name");
    put_pickle(path, b);
    refuses(path, ": it holds no dict of tensors, but epoch, weird?name" WAY_OUT);
    b = (byte_buffer){0};
    pickle(&b, "\x80\2%g)\x81}b.", "os system");
    put_pickle(path, b);
    refuses(path, ": it holds an object of os.system, and no dict of tensors" WAY_OUT);
    b = (byte_buffer){0};
    pickle(&b, "\x80\2}%t%g(%ttRs.", "model", "posix system", "touch /tmp/dram-was-here");
    put_pickle(path, b);
    refuses(path, ": it holds an object of posix.system, and no dict of tensors" WAY_OUT);
    b = (byte_buffer){0};
    pickle(&b, "\x80\2");
    pickle_tensor(&b, &good);
    pickle(&b, ".");
    put_pickle(path, b);
    refuses(path, ": it holds no dict of tensors" WAY_OUT);
    b = (byte_buffer){0}; /* a dict in itself */
    pickle(&b, "\x80\2}q\1%th\1s.", "model");
    put_pickle(path, b);
    refuses(path, ": it holds no dict of tensors, but model" WAY_OUT);
}

/* The wrappers, in their order, and one in another; what is beside them does not matter. */
static void wrappers(void **state)
{
    static const struct {
        const char *outer[3];
        int taken;          /* the dict whose tensor has 6 numbers in order; the others' are reversed */
        const char *beside; /* another that might have been; NULL: there is none */
    } cases[] = {{{"ema", "teacher", "model"}, 2, "teacher"},     {{"ema", "teacher", "net"}, 1, "ema"},
                 {{"net", "ema", "optimizer"}, 1, NULL},          {{"state_dict", "ema", "epoch"}, 0, "ema"},
                 {{"state_dict", "model", "x"}, 1, "state_dict"}, {{"ema", "model", "x"}, 1, "ema"}};
    static const float reversed[6] = {5, 4, 3, 2, 1, 0};
    const char *path = in_dir(state, "wrapped.pth");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int within = 0; within < 2; within++) {
            byte_buffer b = {0};
            pickle(&b, "\x80\2}(%t", "beside");
            pth_tensor t = good;
            t.key = "1";
            pickle_tensor(&b, &t);
            for (int k = 0; k < 3; k++) {
                t.key = k == cases[i].taken ? "0" : "1";
                pickle(&b, "%t}%t", cases[i].outer[k], within ? "state_dict" : "w");
                if (within) pickle(&b, "}%t", "w");
                pickle_tensor(&b, &t);
                pickle(&b, within ? "ss" : "s");
            }
            pickle(&b, "u.");
            const zip_member m[] = {{.name = "x/data.pkl", .data = b.at, .size = b.n},
                                    {.name = "x/data/0", .data = numbers, .size = sizeof numbers},
                                    {.name = "x/data/1", .data = reversed, .size = sizeof reversed}};
            put_archive(path, m, 3, 0);
            opens(path);
            free(b.at);
            dram_st *st;
            const char *taken, *other;
            assert_int_equal(dram_st_open(path, &st), DRAM_OK);
            assert_int_equal(dram_st_choice(st, &taken, &other), cases[i].beside != NULL);
            if (cases[i].beside) {
                assert_string_equal(taken, cases[i].outer[cases[i].taken]);
                assert_string_equal(other, cases[i].beside);
            }
            dram_st_close(st);
        }
}

/* ---- more than 4 GiB ---- */

/* Storages beyond 4 GiB, in a file of holes: torch then writes the directory's numbers in 64 bits. */
static void beyond_4_gib(void **state)
{
    static const uint64_t away = UINT64_C(5) << 30;
    const char *path = in_dir(state, "large.pth");
    byte_buffer b = pickle_of(&good), head = {0}, tail = {0};
    zip_member m[] = {{.name = "x/data.pkl", .data = b.at, .size = b.n},
                      {.name = "x/data/0", .data = numbers, .size = sizeof numbers, .at = away}};
    zip(&head, m, 1, ZIP64);
    zip(&tail, m + 1, 1, ZIP64);
    size_t member = 0; /* what zip() wrote before its directory */
    while (memcmp(tail.at + member, "PK\1\2", 4) != 0) member++;
    tail.n = member;
    tail.begin = away;
    const uint64_t place[] = {0, away};
    const uint32_t crc[] = {(uint32_t)crc32(0, b.at, (uInt)b.n), 0};
    zip_directory(&tail, m, 2, place, crc, ZIP64);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(head.at, 1, head.n, f), head.n);
    assert_int_equal(fseeko(f, (off_t)away, SEEK_SET), 0);
    assert_int_equal(fwrite(tail.at, 1, tail.n, f), tail.n);
    assert_int_equal(fclose(f), 0);
    opens(path);
    assert_int_equal(remove(path), 0);
    free(head.at);
    free(tail.at);
    free(b.at);
}

/* ---- an index of several files ---- */

static void put_shards(void **state)
{
    put_pickle(in_dir(state, "one.bin"), dict_of("a", "b"));
    put_tensors(in_dir(state, "two.safetensors"), "{\"c\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}",
                numbers, sizeof numbers);
}

static void put_index(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

static dram_status open_index(void **state)
{
    dram_st *st;
    TRY(dram_st_open(in_dir(state, "w.index.json"), &st));
    dram_st_close(st);
    return DRAM_OK;
}

static void an_index_is_one_file(void **state)
{
    const char *path = in_dir(state, "w.index.json");
    float got[6];
    dram_st *st;
    put_shards(state);
    put_index(
        path,
        "{\"metadata\": {\"total_size\": 48},\n \"weight_map\": {\"c\": \"two.safetensors\", \"a\": \"one.bin\"}}");
    ok(dram_st_open(path, &st));
    assert_int_equal(dram_st_count(st), 2); /* b is not in the map */
    assert_null(dram_st_find(st, "b"));
    for (int i = 0; i < 2; i++) {
        ok(dram_st_read_f32(st, dram_st_find(st, i ? "c" : "a"), 1, 5, got));
        assert_memory_equal(got, numbers + 1, 20);
    }
    dram_st_close(st);
    out_of_memory_everywhere(open_index, state);
}

/* A cache of embeddings goes by it: another shard under the same index is another teacher. */
static void the_hash_is_of_all_files(void **state)
{
    static const float others[6] = {0, 1, 2, 3, 4, 6};
    const char *path = in_dir(state, "w.index.json"), *two = in_dir(state, "two.safetensors");
    char first[DRAM_HASH_SIZE], again[DRAM_HASH_SIZE], plain[DRAM_HASH_SIZE];
    put_shards(state);
    put_index(path, "{\"weight_map\": {\"c\": \"two.safetensors\"}}");
    ok(dram_st_hash(path, NULL, first));
    ok(dram_st_hash(path, NULL, again));
    assert_string_equal(first, again);
    ok(dram_st_hash(two, NULL, again));
    ok(dram_hash_file(two, NULL, plain));
    assert_string_equal(again, plain);
    put_tensors(two, "{\"c\":{\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]}}", others, sizeof others);
    ok(dram_st_hash(path, NULL, again));
    assert_string_not_equal(first, again);
    assert_int_equal(remove(two), 0); /* the index's own bytes are what is left */
    ok(dram_st_hash(path, NULL, again));
    ok(dram_hash_file(path, NULL, plain));
    assert_string_equal(again, plain);
    assert_int_equal(dram_st_hash(two, NULL, again), DRAM_ERR_CONFIG);
    dram_error_clear();
}

static void an_index_that_is_wrong(void **state)
{
    static const char none[] = ": it is JSON text, and no index of files of weights (weight_map)";
    static const char beside[] = ": its weight_map names a file that is not beside it";
    const char *path = in_dir(state, "w.index.json"), *two = in_dir(state, "two.safetensors");
    char text[9000];
    dram_st *st;
    put_shards(state);
    static const struct {
        const char *index, *text;
    } bad[] = {{"{\"weights\": {}}", none},
               {"{\"weight_map\": [\"a\"]}", none},
               {"{\"weight_map\": {\"a\": 1}}", none},
               {"{\"weight_map\": {\"a\": \"\"}}", beside},
               {"{\"weight_map\": {\"a\": \"../w/one.bin\"}}", beside},
               {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", beside},
               {"{\"weight_map\": {\"a\": \"one.bin\", \"a\": \"one.bin\"}}", ": two tensors are named \"a\""},
               {"{\"weight_map\": {\"c\": \"two.safetensors\", \"b\": \"w.index.json\"}}",
                ": it is JSON text, and no file of weights"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_index(path, bad[i].index);
        refuses(path, bad[i].text);
    }
    put_index(path, "{\"weight_map\": {\"a\": \"two.safetensors\"}}");
    snprintf(text, sizeof text, "%.4400s: it has no tensor \"a\", which %.4400s says is there", two, path);
    fails(dram_st_open(path, &st), DRAM_ERR_FORMAT, text);
    put_index(path, "{\"weight_map\": {\"a\": \"three.safetensors\"}}");
    fails(dram_st_open(path, &st), DRAM_ERR_CONFIG, "three.safetensors: cannot open: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_as_they_may_be),
        cmocka_unit_test(damaged_archives),
        cmocka_unit_test(tensors_that_lie),
        cmocka_unit_test(keys_that_lead_away),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(no_state_dict),
        cmocka_unit_test(wrappers),
        cmocka_unit_test(beyond_4_gib),
        cmocka_unit_test(an_index_is_one_file),
        cmocka_unit_test(the_hash_is_of_all_files),
        cmocka_unit_test(an_index_that_is_wrong),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
