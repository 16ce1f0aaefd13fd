/* The cache of embeddings: what is put in comes back, for its own maker alone, and a place that cannot be written is
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "caches.h"

static void round_trip(void **state)
{
    enum { MANY = 300 }; /* the table grows */
    dram_cache *c = open_dir(state, "trip");
    assert_int_equal(held(c, MANY), 0);
    assert_false(dram_cache_has(c, key_of(0)));
    for (int i = 0; i < MANY; i++) {
        put(c, i);
        assert_true(dram_cache_has(c, key_of(i)));
        assert_false(dram_cache_has(c, key_of(i + 1)));
    }
    for (int i = 0; i < MANY; i += 7) put(c, i); /* there already */
    for (int i = MANY - 1; i >= 0; i--) assert_holds(c, i, PAYLOAD);
    dram_cache_close(c);
    assert_int_equal(size_of(bin(state, "trip")), MANY * RECORD);
    c = open_dir(state, "trip");
    assert_int_equal(held(c, MANY + 1), MANY);
    for (int i = 0; i < MANY; i++) assert_holds(c, i, PAYLOAD);
    dram_cache_close(c);
}

/* Two that are open at once learn of each other's records. */
static void two_at_once(void **state)
{
    dram_cache *a = open_dir(state, "two"), *b = open_dir(state, "two");
    put(a, 0);
    assert_false(dram_cache_has(b, key_of(0)));
    put(b, 1);
    put(b, 0);
    assert_true(dram_cache_has(b, key_of(0)));
    ok(dram_cache_refresh(a));
    assert_holds(a, 1, PAYLOAD);
    assert_int_equal(size_of(bin(state, "two")), 2 * RECORD);
    dram_cache_close(a);
    dram_cache_close(b);
}

static void another_maker_is_refused(void **state)
{
    make(state, "maker");
    for (int i = 0; i < FACTS; i++) {
        dram_cache_fact other[FACTS];
        char text[200];
        dram_cache *c;
        memcpy(other, facts, sizeof other);
        if (other[i].text) {
            other[i].text = "another";
            snprintf(text, sizeof text,
                     "cache.json: this cache was made with %s %s, and this run has another; name another "
                     "directory, or delete this one",
                     facts[i].name, facts[i].text);
        } else {
            other[i].number = 1024;
            snprintf(text, sizeof text,
                     "cache.json: this cache was made with %s 512, and this run has 1024; name another "
                     "directory, or delete this one",
                     facts[i].name);
        }
        fails(dram_cache_open(in_dir(state, "maker"), other, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG, text);
        assert_null(c);
        /* The records know it too. */
        char *kept = get_file(json(state, "maker"), NULL);
        assert_int_equal(remove(json(state, "maker")), 0);
        fails(dram_cache_open(in_dir(state, "maker"), other, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG,
              "these embeddings were made by another teacher, size or format than those of this cache; delete both of "
              "its files, or name another directory");
        assert_false(is_there(json(state, "maker")));
        put_file(json(state, "maker"), kept, strlen(kept));
        free(kept);
    }
    assert_int_equal(remove(json(state, "maker")), 0); /* it is made again */
    dram_cache *c = open_dir(state, "maker");
    for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
    dram_cache_close(c);
    assert_true(is_there(json(state, "maker")));
}

static void no_place_for_it(void **state)
{
    dram_cache *c;
    put_file(in_dir(state, "file"), "x", 1);
    assert_int_equal(dram_cache_open(in_dir(state, "file"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG);
    dram_error_clear();
    assert_int_equal(dram_cache_open(in_dir(state, "file/below"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG);
    dram_error_clear();
    assert_int_equal(mkdir(in_dir(state, "taken"), 0777), 0);
    assert_int_equal(mkdir(bin(state, "taken"), 0777), 0);
    fails(dram_cache_open(in_dir(state, "taken"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG,
          "embeddings.bin: cannot open for writing: Is a directory");
}

static void unwritable_folder(void **state)
{
    dram_cache *c;
    if (geteuid() == 0) {
        print_message("skipped: root can write a folder that is read-only\n");
        skip();
    }
    assert_int_equal(mkdir(in_dir(state, "readonly"), 0555), 0);
    fails(dram_cache_open(in_dir(state, "readonly"), facts, FACTS, PAYLOAD, &c), DRAM_ERR_CONFIG,
          "embeddings.bin: cannot open for writing: Permission denied");
}

static void full_disk(void **state)
{
    make(state, "full");
    dram_cache *c = open_dir(state, "full");
    file_limit limit = limit_files(RECORDS * RECORD + 100);
    fails(dram_cache_put(c, key_of(50), payload_of(50, PAYLOAD)), DRAM_ERR_IO,
          "embeddings.bin: cannot write: File too large");
    unlimit_files(limit);
    assert_false(dram_cache_has(c, key_of(50)));
    for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
    put(c, 51);
    put(c, 50);
    assert_holds(c, 50, PAYLOAD);
    assert_holds(c, 51, PAYLOAD);
    dram_cache_close(c);
    assert_int_equal(size_of(bin(state, "full")), (RECORDS + 2) * RECORD);
}

static void room_on_the_disk(void **state)
{
    int64_t need, free_bytes;
    make(state, "room");
    dram_cache *c = open_dir(state, "room");
    ok(dram_cache_check_disk(c, 10, &need, &free_bytes));
    assert_int_equal(need, 10 * RECORD);
    assert_true(free_bytes > need);
    int64_t many = free_bytes / RECORD * 3;
    assert_int_equal(dram_cache_check_disk(c, many, &need, &free_bytes), DRAM_ERR_CONFIG);
    assert_int_equal(need, many * RECORD);
    assert_non_null(strstr(dram_error_text(), "of this disk are free"));
    dram_error_clear();
    dram_cache_close(c);
    copy_bytes(bin(state, "room"), 2 * RECORD, "?", 1); /* a place that is taken already */
    c = open_dir(state, "room");
    ok(dram_cache_check_disk(c, 10, &need, &free_bytes));
    assert_int_equal(need, 9 * RECORD);
    dram_cache_close(c);
}

static dram_status use(void **state)
{
    char got[PAYLOAD];
    dram_cache *c;
    TRY(dram_cache_open(in_dir(state, "memory"), facts, FACTS, PAYLOAD, &c));
    dram_status status = DRAM_OK;
    for (int i = 0; i < 40 && status == DRAM_OK; i++) status = dram_cache_put(c, key_of(i), payload_of(i, PAYLOAD));
    for (int i = 0; i < 40 && status == DRAM_OK; i++) status = dram_cache_get(c, key_of(i), got);
    dram_cache_close(c);
    return status;
}

static void out_of_memory(void **state)
{
    out_of_memory_everywhere(use, state);
    copy_bytes(bin(state, "memory"), 3 * RECORD, "?", 1); /* with a list of places that are free */
    out_of_memory_everywhere(use, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(two_at_once),
        cmocka_unit_test(another_maker_is_refused),
        cmocka_unit_test(no_place_for_it),
        cmocka_unit_test(unwritable_folder),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(room_on_the_disk),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
