/* The cache of embeddings: what is put in comes back, what is damaged is found, killed writers and several at once
 * leave a good file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "helpers.h"
#include "io/cache.h"

enum { PAYLOAD = 256, RECORD = DRAM_CACHE_HEADER + PAYLOAD, LARGE = 1 << 18, RECORDS = 6 };

static const dram_cache_fact facts[] = {{.name = "teacher", .text = "random:1"},
                                        {.name = "sam_input_size", .number = 512},
                                        {.name = "precision", .text = "fp32"}};
enum { FACTS = sizeof facts / sizeof facts[0] };

static dram_hash128 key_of(int i)
{
    char text[32];
    int n = snprintf(text, sizeof text, "image %d", i);
    return dram_hash_128(text, (size_t)n);
}

/* What record i holds. */
static const void *payload_of(int i, int64_t bytes)
{
    static uint64_t data[LARGE / 8];
    dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, (uint64_t)i);
    assert_true(bytes <= LARGE);
    for (int64_t k = 0; k < bytes / 8; k++) data[k] = dram_rng_u64(&r);
    return data;
}

static const char *bin(void **state, const char *dir)
{
    char name[200];
    snprintf(name, sizeof name, "%s/embeddings.bin", dir);
    return in_dir(state, name);
}

static const char *json(void **state, const char *dir)
{
    char name[200];
    snprintf(name, sizeof name, "%s/cache.json", dir);
    return in_dir(state, name);
}

static dram_cache *open_sized(void **state, const char *dir, int64_t payload)
{
    dram_cache *c;
    ok(dram_cache_open(in_dir(state, dir), facts, FACTS, payload, &c));
    return c;
}

static dram_cache *open_dir(void **state, const char *dir)
{
    return open_sized(state, dir, PAYLOAD);
}

static void put(dram_cache *c, int i)
{
    ok(dram_cache_put(c, key_of(i), payload_of(i, PAYLOAD)));
}

static void assert_holds(dram_cache *c, int i, int64_t payload)
{
    static char got[LARGE];
    memset(got, 0xaa, sizeof got);
    ok(dram_cache_get(c, key_of(i), got));
    assert_memory_equal(got, payload_of(i, payload), (size_t)payload);
}

/* A cache of RECORDS records, closed. */
static void make(void **state, const char *dir)
{
    dram_cache *c = open_dir(state, dir);
    for (int i = 0; i < RECORDS; i++) put(c, i);
    assert_int_equal(dram_cache_count(c), RECORDS);
    dram_cache_close(c);
}

static void copy_bytes(const char *path, int64_t offset, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, offset), bytes);
    close(fd);
}

static int64_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

/* ---- records ---- */

static void round_trip(void **state)
{
    enum { MANY = 300 }; /* the table grows */
    dram_cache *c = open_dir(state, "trip");
    assert_int_equal(dram_cache_count(c), 0);
    assert_int_equal(dram_cache_record_bytes(c), RECORD);
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
    assert_int_equal(dram_cache_count(c), MANY);
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
        dram_status status = dram_cache_open(in_dir(state, "cut"), facts, FACTS, PAYLOAD, &c);
        if (length > 0 && length < DRAM_CACHE_HEADER) { /* not one header: it could be anything */
            fails(status, DRAM_ERR_FORMAT, "there is not one embedding in this file; move it away");
            continue;
        }
        ok(status);
        int left = (int)(length / RECORD);
        assert_int_equal(dram_cache_count(c), left);
        for (int i = 0; i < left; i++) assert_holds(c, i, PAYLOAD);
        for (int i = RECORDS - 1; i >= 0; i--) put(c, i);
        for (int i = 0; i < RECORDS; i++) assert_holds(c, i, PAYLOAD);
        dram_cache_close(c);
        assert_int_equal(size_of(bin(state, "cut")), bytes);
    }
    free(whole);
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
        assert_int_equal(dram_cache_count(c), RECORDS - 1);
        assert_holds(c, 1, PAYLOAD);
        dram_cache_close(c);
        c = open_dir(state, "payload"); /* the next run */
        assert_int_equal(dram_cache_count(c), RECORDS - 1);
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
        assert_int_equal(dram_cache_count(c), RECORDS - 1);
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

/* ---- places that cannot be written ---- */

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
    ok(dram_cache_check_room(c, 10, &need, &free_bytes));
    assert_int_equal(need, 10 * RECORD);
    assert_true(free_bytes > need);
    int64_t many = free_bytes / RECORD * 3;
    assert_int_equal(dram_cache_check_room(c, many, &need, &free_bytes), DRAM_ERR_CONFIG);
    assert_int_equal(need, many * RECORD);
    assert_non_null(strstr(dram_error_text(), "of this disk are free"));
    dram_error_clear();
    dram_cache_close(c);
    copy_bytes(bin(state, "room"), 2 * RECORD, "?", 1); /* a place that is taken already */
    c = open_dir(state, "room");
    ok(dram_cache_check_room(c, 10, &need, &free_bytes));
    assert_int_equal(need, 9 * RECORD);
    dram_cache_close(c);
}

/* ---- several processes ---- */

static void die(int number)
{
    (void)number;
    kill(getpid(), SIGKILL);
}

/* A child that puts what is missing of [0, n) and ends; or with `dies` is killed at the end at the latest, and before
 * that when the file has grown to `limit` bytes (0: any). */
static pid_t start_writer(void **state, const char *dir, int first, int n, int64_t payload, bool dies, int64_t limit)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid) return pid;
    dram_cache *c;
    if (dram_cache_open(in_dir(state, dir), facts, FACTS, payload, &c) != DRAM_OK) _exit(10);
    if (limit) {
        struct rlimit files = {.rlim_cur = (rlim_t)limit, .rlim_max = (rlim_t)limit};
        signal(SIGXFSZ, die);
        if (setrlimit(RLIMIT_FSIZE, &files) != 0) _exit(11);
    }
    for (int i = 0; i < n; i++) {
        int k = (first + i) % n;
        if (dram_cache_refresh(c) != DRAM_OK) _exit(12);
        if (dram_cache_has(c, key_of(k))) continue;
        if (dram_cache_put(c, key_of(k), payload_of(k, payload)) != DRAM_OK) _exit(13);
    }
    dram_cache_close(c);
    if (dies) die(0);
    _exit(0);
}

/* Each key of [0, n) once, and nothing else in the file. */
static void assert_complete(void **state, const char *dir, int n, int64_t payload)
{
    int64_t record = payload + DRAM_CACHE_HEADER;
    assert_int_equal(size_of(bin(state, dir)), n * record);
    dram_cache *c = open_sized(state, dir, payload);
    assert_int_equal(dram_cache_count(c), n);
    for (int i = 0; i < n; i++) assert_holds(c, i, payload);
    dram_cache_close(c);
}

static void killed_writers(void **state)
{
    enum { N = 400, KILLS = 50 };
    const int64_t record = LARGE + DRAM_CACHE_HEADER;
    dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, 0);
    int killed = 0, half_written = 0;
    for (int k = 0; k < KILLS; k++) {
        int64_t size = k ? size_of(bin(state, "killed")) : 0, limit = 0;
        if (k % 2) /* after a number of bytes: among them all places of a header */
            limit = size + 1 + (int64_t)dram_rng_below(&r, k % 4 == 1 ? 200 : 2 * (uint64_t)record);
        pid_t pid = start_writer(state, "killed", 0, N, LARGE, true, limit);
        if (!limit) {
            usleep((useconds_t)dram_rng_below(&r, 6000));
            assert_int_equal(kill(pid, SIGKILL), 0);
        }
        int how;
        assert_int_equal(waitpid(pid, &how, 0), pid);
        killed += WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL;
        dram_cache *c = open_sized(state, "killed", LARGE);
        int64_t places = (size_of(bin(state, "killed")) + record - 1) / record;
        half_written += dram_cache_count(c) < places;
        assert_true(dram_cache_count(c) >= places - 1); /* at most the record being written is lost */
        for (int i = 0; i < N; i++)
            if (dram_cache_has(c, key_of(i))) assert_holds(c, i, LARGE);
        dram_cache_close(c);
    }
    assert_int_equal(killed, KILLS);
    assert_true(half_written > 5);
    int how;
    pid_t pid = start_writer(state, "killed", 0, N, LARGE, false, 0);
    assert_int_equal(waitpid(pid, &how, 0), pid);
    assert_int_equal(how, 0);
    assert_complete(state, "killed", N, LARGE);
}

/* From nothing, so that they also make the folder and cache.json at once. */
static void four_fill_one(void **state)
{
    enum { N = 120, PROCESSES = 4 };
    for (int round = 0; round < 5; round++) {
        char dir[32];
        pid_t pid[PROCESSES];
        int how;
        snprintf(dir, sizeof dir, "four%d/below", round);
        for (int p = 0; p < PROCESSES; p++)
            pid[p] = start_writer(state, dir, round < 4 ? p * N / 4 : 0, N, 16384, false, 0);
        for (int p = 0; p < PROCESSES; p++) {
            assert_int_equal(waitpid(pid[p], &how, 0), pid[p]);
            assert_int_equal(how, 0);
        }
        assert_complete(state, dir, N, 16384);
    }
}

/* ---- anything at all in the files ---- */

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
        cmocka_unit_test(bad_json),
        cmocka_unit_test(truncated),
        cmocka_unit_test(someone_elses_file),
        cmocka_unit_test(records_of_another_size),
        cmocka_unit_test(damaged_payload),
        cmocka_unit_test(damaged_header),
        cmocka_unit_test(damaged_while_open),
        cmocka_unit_test(no_place_for_it),
        cmocka_unit_test(unwritable_folder),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(room_on_the_disk),
        cmocka_unit_test(killed_writers),
        cmocka_unit_test(four_fill_one),
        cmocka_unit_test(mutations),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
