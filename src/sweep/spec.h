/* spec: what a sweep file and the words of a command line ask for, before a config is made of it. For src/sweep. */
#ifndef DRAM_SWEEP_SPEC_H
#define DRAM_SWEEP_SPEC_H

#include "sweep/sweep.h"

/* A key and the values that it takes. */
typedef struct {
    const char *key;
    dram_config_override at;     /* where the key is; no text */
    dram_config_override *value; /* [n], "key=value"; n 0: drawn from a range */
    int n;
    double low, high;
    bool log, whole;
    int multiple; /* of a whole number */
} dram_sweep_axis;

typedef struct {
    dram_config_override *set; /* [n] */
    int n;
} dram_sweep_group;

/* Everything that it points to is its own, and goes with it. */
typedef struct {
    const char *file; /* the sweep file; NULL: a config and words alone */
    const char *base; /* the config, as it is to be opened */
    const char *name; /* NULL: not said */
    dram_str yaml;    /* the file's text, or the words as one */
    dram_config_override base_at;
    dram_sweep_group set;  /* for every point */
    dram_sweep_axis *grid; /* [n_grid] */
    int n_grid;
    dram_sweep_group *list; /* [n_list] points of their own */
    int n_list;
    dram_sweep_axis *random; /* [n_random] */
    int n_random, random_count;
    int64_t random_seed;
    int64_t *seeds; /* [n_seeds]; 0: that of the base */
    int n_seeds;
    int quality; /* a dram_quality, -1: not said */
    int64_t rungs[DRAM_SWEEP_RUNGS];
    int n_rungs;
    dram_config_override rungs_at;
    double keep;
    int ranks; /* 0: not said */
    dram_config_override ranks_at;
    void **block; /* what it has taken */
    int n_blocks;
} dram_sweep_spec;

/* Reads a file that has `sweep:` at its top, or takes any other as the config that is swept, and then the words.
 * DRAM_ERR_CONFIG with "file:line:column: key: text". *spec is to be freed after a failure too. */
dram_status dram_sweep_spec_read(const char *file, const char *const *words, int n_words, dram_sweep_spec *spec);
void dram_sweep_spec_free(dram_sweep_spec *spec);

/* Zeroed bytes that live as long as the spec; a copy of a text. NULL: memory is out, which is recorded. */
void *dram_sweep_keep(dram_sweep_spec *spec, size_t bytes);
const char *dram_sweep_keep_text(dram_sweep_spec *spec, const char *text, size_t length);

/* Adds the words key=a,b,c to it. For spec.c. */
dram_status dram_sweep_words(dram_sweep_spec *spec, const char *const *words, int n);

/* Fails unless a value can be had for this key of a config: it is known, not a section, and not the sweep's own matter;
 * or the value cannot be read. */
dram_status dram_sweep_check_key(const char *key, const dram_config_override *at);
dram_status dram_sweep_check_value(const dram_config_override *value);

/* Length of the first part of a text: up to the mark, or its end. A mark inside brackets or quotes parts nothing. */
size_t dram_sweep_part(const char *text, char mark);

/* Fails where a key of one axis is that of another, or is set: both places are named. */
dram_status dram_sweep_check_twice(const dram_sweep_spec *spec);

/* Fails with "file:line:column: key: text", or "command line: key: text". */
dram_status dram_sweep_fail(const dram_config_override *at, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether it names a folder: 1 to 200 characters, no / and no control character among them, no . first. */
bool dram_sweep_is_name(const char *text);

/* A seed, a whole number of 0 or more; false: it is none. */
bool dram_sweep_parse_seed(const char *text, int64_t *seed);

/* Fails where a seed is there twice. */
dram_status dram_sweep_check_seeds(const dram_sweep_spec *spec, const dram_config_override *at);

#endif
