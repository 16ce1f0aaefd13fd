/* caches: what the tests of the cache of embeddings share. Include after cmocka.h. */
#ifndef DRAM_TESTS_IO_CACHES_H
#define DRAM_TESTS_IO_CACHES_H

#include <fcntl.h>

#include "base/rng.h"
#include "helpers.h"
#include "io/cache.h"

enum { PAYLOAD = 256, RECORD = DRAM_CACHE_HEADER + PAYLOAD, LARGE = 1 << 18, RECORDS = 6 };

static const dram_cache_fact facts[] = {{.name = "teacher", .text = "random:1"},
                                        {.name = "sam_input_size", .number = 512},
                                        {.name = "precision", .text = "fp32"}};
enum { FACTS = sizeof facts / sizeof facts[0] };

static inline dram_hash128 key_of(int i)
{
    char text[32];
    int n = snprintf(text, sizeof text, "image %d", i);
    return dram_hash_128(text, (size_t)n);
}

/* What record i holds. */
static inline const void *payload_of(int i, int64_t bytes)
{
    static uint64_t data[LARGE / 8];
    dram_rng r = dram_rng_make(5, DRAM_RNG_TEST, (uint64_t)i);
    assert_true(bytes <= LARGE);
    for (int64_t k = 0; k < bytes / 8; k++) data[k] = dram_rng_u64(&r);
    return data;
}

static inline const char *bin(void **state, const char *dir)
{
    char name[200];
    snprintf(name, sizeof name, "%s/embeddings.bin", dir);
    return in_dir(state, name);
}

static inline const char *json(void **state, const char *dir)
{
    char name[200];
    snprintf(name, sizeof name, "%s/cache.json", dir);
    return in_dir(state, name);
}

static inline dram_cache *open_sized(void **state, const char *dir, int64_t payload)
{
    dram_cache *c;
    ok(dram_cache_open(in_dir(state, dir), facts, FACTS, payload, &c));
    return c;
}

static inline dram_cache *open_dir(void **state, const char *dir)
{
    return open_sized(state, dir, PAYLOAD);
}

static inline void put(dram_cache *c, int i)
{
    ok(dram_cache_put(c, key_of(i), payload_of(i, PAYLOAD)));
}

static inline void assert_holds(dram_cache *c, int i, int64_t payload)
{
    static char got[LARGE];
    memset(got, 0xaa, sizeof got);
    ok(dram_cache_get(c, key_of(i), got));
    assert_memory_equal(got, payload_of(i, payload), (size_t)payload);
}

/* How many of the keys [0, n) it has. */
static inline int held(const dram_cache *c, int n)
{
    int count = 0;
    for (int i = 0; i < n; i++) count += dram_cache_has(c, key_of(i));
    return count;
}

/* A cache of RECORDS records, closed. */
static inline void make(void **state, const char *dir)
{
    dram_cache *c = open_dir(state, dir);
    for (int i = 0; i < RECORDS; i++) put(c, i);
    assert_int_equal(held(c, RECORDS), RECORDS);
    dram_cache_close(c);
}

static inline void copy_bytes(const char *path, int64_t offset, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, offset), bytes);
    close(fd);
}

static inline int64_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

#endif
