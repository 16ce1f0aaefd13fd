/* The cache of embeddings: killed writers and several at once leave a good file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "caches.h"

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
    assert_int_equal(held(c, n + 1), n);
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
        half_written += held(c, N) < places;
        assert_true(held(c, N) >= places - 1); /* at most the record being written is lost */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_writers),
        cmocka_unit_test(four_fill_one),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
