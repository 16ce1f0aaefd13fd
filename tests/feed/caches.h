/* caches: runs with a cache of embeddings in the temporary folder. Include after cmocka.h and link dram_train; main
 * calls dram_log_set_sink(hear, NULL). */
#ifndef DRAM_TESTS_FEED_CACHES_H
#define DRAM_TESTS_FEED_CACHES_H

#include "feed/datasets.h"
#include "feed/fill.h"
#include "support/runs.h"

#define STILL "data.augment.crop=false data.augment.color_jitter=0 "
#define EMBED "task.enabled=false resolution_distill.enabled=false "
enum { SIDE = 64, GRID = SIDE / 16, ELEMENTS = GRID * GRID * 256, RECORD = DRAM_CACHE_HEADER + 2 * ELEMENTS };

static char said[1 << 16];                     /* by the library */
static volatile sig_atomic_t *stop_at_warning; /* set to 1 when it warns; NULL: nothing is */

static inline void hear(void *context, dram_log_level level, const char *message)
{
    (void)context;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%s\n", message);
    if (level == DRAM_LOG_WARNING && stop_at_warning) *stop_at_warning = 1;
}

/* That it was said since the last time. */
static inline void assert_said(const char *text)
{
    if (!strstr(said, text)) fail_msg("\"%s\" was not said, but: %s", text, said);
    said[0] = '\0';
}

/* Overrides with the cache in DIR of the temporary folder. Four may be held at a time. */
static inline const char *with_cache(void **state, const char *dir, const char *set)
{
    static char all[4][9000];
    static int next;
    char *out = all[next++ % 4];
    snprintf(out, sizeof all[0], STILL "sam_distill.cache=%.4300s %.4000s", in_dir(state, dir), set);
    return out;
}

/* How many records of that many bytes DIR/embeddings.bin has. */
static inline int64_t records(void **state, const char *dir, int64_t record)
{
    char name[200];
    struct stat info;
    snprintf(name, sizeof name, "%s/embeddings.bin", dir);
    assert_int_equal(stat(in_dir(state, name), &info), 0);
    assert_int_equal(info.st_size % record, 0);
    return info.st_size / record;
}

static inline char *embeddings(void **state, const char *dir, size_t *bytes)
{
    char name[200];
    snprintf(name, sizeof name, "%s/embeddings.bin", dir);
    return get_file(in_dir(state, name), bytes);
}

static inline void put_embeddings(void **state, const char *dir, const char *data, size_t bytes)
{
    char name[200];
    snprintf(name, sizeof name, "%s/embeddings.bin", dir);
    put_file(in_dir(state, name), data, bytes);
}

static inline void remove_dir(void **state, const char *dir)
{
    char command[4500];
    snprintf(command, sizeof command, "rm -rf '%.4300s'", in_dir(state, dir));
    assert_int_equal(system(command), 0);
}

static inline dram_status open_filled(const dram_config *cfg, const dram_dataset *train, const dram_dataset *val,
                                      dram_targets *t)
{
    TRY(dram_targets_open(cfg, train, val, NULL, t));
    return dram_fill_missing(cfg, t, train, val, NULL, NULL);
}

/* Opens the cache of a config, filling it, as a run does before its first step. */
static inline dram_status open_targets(void **state, const char *dir, const char *set, dram_targets *t)
{
    dram_config *cfg = run_config(state, "t", with_cache(state, dir, set));
    dram_dataset *train, *val;
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    assert_int_equal(dram_datasets_open(cfg, true, &val), DRAM_OK);
    said[0] = '\0';
    dram_status status = open_filled(cfg, train, val, t);
    dram_dataset_close(train);
    dram_dataset_close(val);
    dram_config_free(cfg);
    return status;
}

#endif
