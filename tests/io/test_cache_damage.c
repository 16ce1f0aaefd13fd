/* The cache of embeddings: what is damaged, cut off or not a cache at all is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "caches.h"
#include "support/warnings.h"

static void bad_json(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "cache.json:1: not JSON"},
        {"{", "cache.json:1: not JSON"},
        {"[1]", "cache.json: not a JSON object"},
        {"{}", "cache.json: version is missing"},
        {"{\"version\": 1}", "cache.json: teacher is missing"},
        {"{\"version\": 1, \"teacher\": 3}", "cache.json: teacher is not text"},
        {"{\"version\": 1, \"teacher\": \"random:1\", \"sam_input_size\": 512.5}",
         "cache.json: sam_input_size is not an integer"},
        {"{\"version\": 1, \"teacher\": \"random:1\", \"sam_input_size\": -5}",
         "cache.json: sam_input_size is -5, not in 0 .. 9007199254740992"},
    };
    make(state, "json");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_cache *c;
        put_file(json(state, "json"), cases[i].text, strlen(cases[i].text));
        fails(dram_cache_open(in_dir(state, "json"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_FORMAT, cases[i].error);
        assert_file_is(json(state, "json"), cases[i].text, strlen(cases[i].text));
    }
    dram_cache *c;
    static const char newer[] = "{\"version\": 2}";
    put_file(json(state, "json"), newer, sizeof newer - 1);
    fails(dram_cache_open(in_dir(state, "json"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG,
          "made with version 2, and this run has 1; name another directory, or delete this one");
}

/* Whatever the length it was cut to: whole records stay, the others are written again where they were. */
static void truncated(void **state)
{
    make(state, "cut");
    size_t bytes;
    char *whole = get_file(bin(state, "cut"), &bytes);
    for (size_t length = 0; length <= bytes; length += length % RECORD < 130 ? 1 : 63) {
        put_file(bin(state, "cut"), whole, length);
        dram_cache *c;
        warnings = 0;
        dram_log_set_sink(keep_warning, NULL);
        ok(dram_cache_open(in_dir(state, "cut"), facts, FACTS, PAYLOAD, &c));
        dram_log_set_sink(NULL, NULL);
        assert_int_equal(warnings, length > 0 && length < DRAM_CACHE_HEADER); /* begun anew, beside its cache.json */
        int left = (int)(length / RECORD);
        assert_int_equal(held(c, RECORDS), left);
        for (int i = 0; i < left; i++) assert_holds(c, i, PAYLOAD);
        for (int i = RECORDS - 1; i >= 0; i--) put(c, i);
        for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
        dram_cache_close(c);
        assert_int_equal(size_of(bin(state, "cut")), bytes);
    }
    free(whole);
}

/* Beside its cache.json a file without a record is a damaged one: it is begun anew, and that is said. */
static void all_is_damaged(void **state)
{
    static const char zeros[3 * RECORD];
    const size_t lengths[] = {1, DRAM_CACHE_HEADER, RECORD, sizeof zeros};
    char want[200];
    make(state, "zeros");
    for (int i = 0; i < 4; i++) {
        put_file(bin(state, "zeros"), zeros, lengths[i]);
        put_file(in_dir(state, "zeros/.dram-tmp-1-1"), "x", 1); /* what a killed process left of a cache.json */
        put_file(in_dir(state, "zeros/mine.tmp"), "x", 1);
        warnings = 0;
        dram_log_set_sink(keep_warning, NULL);
        dram_cache *c = open_dir(state, "zeros");
        dram_log_set_sink(NULL, NULL);
        snprintf(want, sizeof want,
                 "embeddings.bin: there is not one embedding in this file of %zu bytes; it is begun anew", lengths[i]);
        assert_int_equal(warnings, 1);
        assert_non_null(strstr(last_warning, want));
        assert_int_equal(held(c, RECORDS), 0);
        assert_file_is(bin(state, "zeros"), "", 0);
        for (int k = 0; k < RECORDS; k++) ok(dram_cache_put(c, key_of(k), payload_of(k, PAYLOAD)));
        dram_cache_close(c);
        c = open_dir(state, "zeros");
        assert_int_equal(held(c, RECORDS), RECORDS);
        dram_cache_close(c);
        assert_false(is_there(in_dir(state, "zeros/.dram-tmp-1-1")));
        assert_true(is_there(in_dir(state, "zeros/mine.tmp")));
    }
}

static void links_are_not_written_through(void **state)
{
    dram_cache *c;
    put_file(in_dir(state, "outside"), "x", 1);
    assert_int_equal(mkdir(in_dir(state, "linked"), 0777), 0);
    for (int dangling = 0; dangling < 2; dangling++) {
        assert_int_equal(symlink(dangling ? "../gone" : "../outside", bin(state, "linked")), 0);
        fails(dram_cache_open(in_dir(state, "linked"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG,
              "linked/embeddings.bin: cannot open for writing: a link, and dram writes through none");
        assert_int_equal(unlink(bin(state, "linked")), 0);
    }
    assert_file_is(in_dir(state, "outside"), "x", 1);
    assert_false(is_there(in_dir(state, "gone")));
}

static void someone_elses_file(void **state)
{
    char foreign[3 * RECORD];
    for (size_t i = 0; i < sizeof foreign; i++) foreign[i] = (char)(i * 7 + 1);
    assert_int_equal(mkdir(in_dir(state, "foreign"), 0777), 0);
    const size_t lengths[] = {1, DRAM_CACHE_HEADER, RECORD, sizeof foreign};
    for (int i = 0; i < 4; i++) {
        dram_cache *c;
        put_file(bin(state, "foreign"), foreign, lengths[i]);
        fails(dram_cache_open(in_dir(state, "foreign"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_FORMAT,
              "embeddings.bin: there is not one embedding in this file; move it away");
        assert_file_is(bin(state, "foreign"), foreign, lengths[i]);
        assert_false(is_there(json(state, "foreign")));
    }
}

/* Of another size, though by the same maker as far as it says. */
static void records_of_another_size(void **state)
{
    make(state, "size");
    dram_cache *c;
    dram_status status = dram_cache_open(in_dir(state, "size"), facts, FACTS, 2 * PAYLOAD, &c);
    ok(status); /* record 0 begins where it did */
    char got[2 * PAYLOAD];
    for (int i = 0; i < RECORDS; i++)
        if (dram_cache_has(c, key_of(i)))
            fails(dram_cache_get(c, key_of(i), got), DRAM_ERR_FORMAT, "and the next run makes it again");
    dram_cache_close(c);
}

static void damaged_payload(void **state)
{
    make(state, "payload");
    for (int byte = 0; byte < PAYLOAD; byte += 51) {
        static char got[PAYLOAD];
        char was = ((const char *)payload_of(2, PAYLOAD))[byte];
        copy_bytes(bin(state, "payload"), 2 * RECORD + DRAM_CACHE_HEADER + byte, &(char){(char)(was ^ 4)}, 1);
        dram_cache *c = open_dir(state, "payload"), *other = open_dir(state, "payload");
        assert_true(dram_cache_has(c, key_of(2)));
        fails(dram_cache_get(c, key_of(2), got), DRAM_ERR_FORMAT,
              "embeddings.bin: embedding 2 is damaged; it is marked bad, and the next run makes it again");
        assert_false(dram_cache_has(c, key_of(2)));
        assert_int_equal(held(c, RECORDS), RECORDS - 1);
        assert_holds(c, 1, PAYLOAD);
        dram_cache_close(c);
        c = open_dir(state, "payload"); /* the next run */
        assert_int_equal(held(c, RECORDS), RECORDS - 1);
        assert_false(dram_cache_has(c, key_of(2)));
        put(c, 100); /* another one takes its place */
        put(c, 2);
        assert_holds(c, 2, PAYLOAD);
        dram_cache_close(c);
        /* Who opened it before finds another record there, and leaves it alone. */
        if (byte == 0) {
            fails(dram_cache_get(other, key_of(2), got), DRAM_ERR_FORMAT, "and the next run makes it again");
            assert_holds(other, 100, PAYLOAD);
            put(other, 2);
            assert_holds(other, 2, PAYLOAD);
        }
        dram_cache_close(other);
        assert_int_equal(size_of(bin(state, "payload")), (RECORDS + 1) * RECORD);
        make(state, "again");
        size_t n;
        char *fresh = get_file(bin(state, "again"), &n);
        put_file(bin(state, "payload"), fresh, n);
        free(fresh);
    }
}

static void damaged_header(void **state)
{
    make(state, "header");
    size_t n;
    char *whole = get_file(bin(state, "header"), &n);
    for (int byte = 0; byte < DRAM_CACHE_HEADER; byte++) {
        copy_bytes(bin(state, "header"), 3 * RECORD + byte, &(char){(char)(whole[3 * RECORD + byte] ^ 1)}, 1);
        dram_cache *c = open_dir(state, "header");
        assert_int_equal(held(c, RECORDS), RECORDS - 1);
        assert_false(dram_cache_has(c, key_of(3)));
        assert_holds(c, 4, PAYLOAD);
        put(c, 3);
        assert_holds(c, 3, PAYLOAD);
        dram_cache_close(c);
        assert_file_is(bin(state, "header"), whole, n); /* in its old place, with the same bytes */
    }
    free(whole);
}

static void damaged_while_open(void **state)
{
    char got[PAYLOAD];
    make(state, "open");
    dram_cache *c = open_dir(state, "open");
    assert_int_equal(truncate(bin(state, "open"), 4 * RECORD + 10), 0);
    fails(dram_cache_get(c, key_of(4), got), DRAM_ERR_FORMAT, "and the next run makes it again");
    fails(dram_cache_get(c, key_of(5), got), DRAM_ERR_FORMAT, "and the next run makes it again");
    assert_holds(c, 3, PAYLOAD);
    for (int i = 0; i < RECORDS; i++) put(c, i);
    for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
    dram_cache_close(c);
    assert_int_equal(size_of(bin(state, "open")), RECORDS * RECORD);
}

static void mutate(dram_rng *r, char *data, size_t n)
{
    int changes = 1 + (int)dram_rng_below(r, 4);
    for (int i = 0; i < changes; i++) {
        size_t at = (size_t)dram_rng_below(r, n);
        switch (dram_rng_below(r, 3)) {
        case 0:
            data[at] = (char)(data[at] ^ 1 << dram_rng_below(r, 8));
            break;
        case 1:
            data[at] = (char)dram_rng_below(r, 256);
            break;
        default: { /* a piece of the file somewhere else */
            size_t from = (size_t)dram_rng_below(r, n), longest = n - (from > at ? from : at);
            memmove(data + at, data + from, (size_t)dram_rng_below(r, longest < 400 ? longest : 400));
        }
        }
    }
}

static void mutations(void **state)
{
    enum { ROUNDS = 2500 };
    size_t n[2];
    int refused = 0, damaged = 0, good = 0;
    make(state, "fuzz");
    const char *path[2] = {bin(state, "fuzz"), json(state, "fuzz")};
    char *whole[2] = {get_file(path[0], &n[0]), get_file(path[1], &n[1])};
    for (int k = 0; k < ROUNDS; k++) {
        dram_rng r = dram_rng_make(4, DRAM_RNG_TEST, (uint64_t)k);
        int which = k % 4 == 3;
        char *data = malloc(n[which] + 1), got[PAYLOAD];
        assert_non_null(data);
        memcpy(data, whole[which], n[which]);
        mutate(&r, data, n[which]);
        put_file(path[which], data, dram_rng_below(&r, 8) ? n[which] : (size_t)dram_rng_below(&r, n[which]));
        put_file(path[!which], whole[!which], n[!which]);
        dram_cache *c;
        dram_status status = dram_cache_open(in_dir(state, "fuzz"), facts, FACTS, PAYLOAD, &c);
        refused += status != DRAM_OK;
        if (status != DRAM_OK && status != DRAM_ERR_CONFIG && status != DRAM_ERR_FORMAT)
            fail_msg("round %d: status %d: %s", k, (int)status, dram_error_text());
        for (int i = 0; status == DRAM_OK && i < RECORDS; i++) {
            if (!dram_cache_has(c, key_of(i))) continue;
            dram_status read = dram_cache_get(c, key_of(i), got);
            if (read == DRAM_OK && memcmp(got, payload_of(i, PAYLOAD), PAYLOAD) != 0)
                fail_msg("round %d: a wrong embedding %d was given", k, i);
            if (read != DRAM_OK) assert_int_equal(read, DRAM_ERR_FORMAT);
            good += read == DRAM_OK;
            damaged += read != DRAM_OK;
            dram_error_clear();
        }
        if (status == DRAM_OK) { /* and it can be completed */
            for (int i = 0; i < RECORDS; i++) put(c, i);
            for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
        }
        dram_error_clear();
        dram_cache_close(c);
        free(data);
    }
    assert_true(refused > 100 && damaged > 100 && good > 1000);
    free(whole[0]);
    free(whole[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_json),
        cmocka_unit_test(truncated),
        cmocka_unit_test(someone_elses_file),
        cmocka_unit_test(all_is_damaged),
        cmocka_unit_test(links_are_not_written_through),
        cmocka_unit_test(records_of_another_size),
        cmocka_unit_test(damaged_payload),
        cmocka_unit_test(damaged_header),
        cmocka_unit_test(damaged_while_open),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
