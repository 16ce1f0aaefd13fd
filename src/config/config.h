/* config: one YAML file, with its bases and overrides, as one checked struct.
 *
 * The keys, their types, ranges, defaults and meanings are the rows of config/keys.def; the struct below is made from
 * them and mirrors the YAML: cfg->data.train.images, cfg->sam_distill.loss.type, cfg->memory.budget.
 */
#ifndef DRAM_CONFIG_CONFIG_H
#define DRAM_CONFIG_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/class_map.h"
#include "base/status.h"
#include "base/str.h"
#include "config/enums.h"
#include "config/steps.h"
#include "config/texts.h"

/* What --resume does with a key that is no longer what the run had: the column `resume` of config/keys.def. */
typedef enum { DRAM_RESUME_FREE, DRAM_RESUME_SAID, DRAM_RESUME_LISTED, DRAM_RESUME_REFUSED } dram_resume_kind;

/* A size in bytes that is a keyword. */
#define DRAM_BYTES_NONE ((int64_t)-1)
#define DRAM_BYTES_AUTO ((int64_t)-2)

/* sam_distill.teacher.weights when the weights are drawn. No file has this name: input paths are absolute. */
#define DRAM_WEIGHTS_RANDOM "random"

typedef struct dram_config {
#define BASE(PATH, HELP)
#define SECTION(TAG, PATH, HELP) struct dram_config_##TAG {
#define END(NAME)                                                                                                      \
    }                                                                                                                  \
    NAME;
#define BOOL(NAME, PATH, DEFAULT, RESUME, HELP) bool NAME;
#define INT(NAME, PATH, DEFAULT, LOW, HIGH, MULTIPLE, RESUME, HELP) int NAME;
#define INT64(NAME, PATH, DEFAULT, LOW, HIGH, RESUME, HELP) int64_t NAME;
#define STEPS(NAME, PATH, DEFAULT, LOW, HIGH, RESUME, HELP) dram_steps NAME;
#define REAL(NAME, PATH, DEFAULT, OPEN, LOW, HIGH, RESUME, HELP) double NAME;
#define BYTES(NAME, PATH, DEFAULT, LOW, KEYWORDS, RESUME, HELP) int64_t NAME;
#define TEXT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP) char *NAME;
#define INPUT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP) char *NAME;
#define OUTPUT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP) char *NAME;
#define CHOICE(NAME, PATH, TYPE, DEFAULT, RESUME, HELP) TYPE NAME;
#define CHOICES(NAME, PATH, TYPE, RESUME, HELP) unsigned NAME;
#define MAP(NAME, PATH, RESUME, HELP) dram_class_map *NAME;
#define TEXTS(NAME, PATH, MOST, RESUME, HELP) dram_texts *NAME;
#include "config/keys.def"
    struct dram_config_origin *origin; /* where each value came from */
} dram_config;

/* Reads `file` (NULL: the defaults alone), the files it names as `base`, then overrides[0..n), each "key.path=value"
 * with a YAML value, and checks the result. Later wins: base, file, overrides from left to right. The config and its
 * strings belong to the caller: dram_config_free. *out is NULL on failure.
 * DRAM_ERR_CONFIG: a key, a value or a file is wrong, or settings contradict each other; the text begins with
 * file:line:column and names the key. DRAM_ERR_IO: there is no working directory. DRAM_ERR_MEMORY. */
dram_status dram_config_load(const char *file, const char *const *overrides, int n, dram_config **out);

/* The same with overrides that were written in files. */
typedef struct {
    const char *text; /* "train.steps=100" */
    const char *file; /* errors name it, and relative input paths start at its folder; NULL: the command line */
    int line, column; /* where the value is in it, from 1 */
} dram_config_override;

dram_status dram_config_load_from(const char *file, const dram_config_override *overrides, int n, dram_config **out);

/* Fails as dram_config_load_from does, but for settings that contradict each other: further overrides may mend them. The
 * config is to look at; out NULL: not wanted. */
dram_status dram_config_try(const char *file, const dram_config_override *overrides, int n, dram_config **out);

/* What the value of a key is. */
typedef enum {
    DRAM_CONFIG_NO_KEY,
    DRAM_CONFIG_SECTION, /* it has keys below it */
    DRAM_CONFIG_WHOLE,   /* a whole number, a size in bytes among them: *multiple is what it must be a multiple of */
    DRAM_CONFIG_REAL,
    DRAM_CONFIG_OTHER
} dram_config_value;
dram_config_value dram_config_value_of(const char *path, int *multiple);

void dram_config_free(dram_config *cfg); /* NULL is allowed */

/* Says (dram_info, a line for each reason) which keys have no effect because of another key, as scale_min without a
 * crop: those that were set, to something else than their default, by a source no weaker than the one that set the
 * other key. What a base sets and the file that names it switches off is not said, nor
 * what a file sets in a section beside its own `enabled: false`. */
void dram_config_tell_idle(const dram_config *cfg);

/* What only a run needs and a plan does not: images (of data.train when `training`, else of data.val) and the teacher's
 * weights are given, and every input path that is set and used exists. */
dram_status dram_config_check_inputs(const dram_config *cfg, bool training);

/* The config of programs that take one image at a time and train nothing: a batch of 1, no cache, no weights that
 * training began from. Its strings are those of cfg. */
dram_config dram_config_one_image(const dram_config *cfg);

/* "file.yaml:12:9", "command line" or "default": where the value of a key (its full path) came from. Lives as long as
 * the config. */
const char *dram_config_where(const dram_config *cfg, const char *key);

/* The file that the config was loaded from, and the one that this names as its base; NULL: none. As long as the config. */
const char *dram_config_file(const dram_config *cfg);
const char *dram_config_base(const dram_config *cfg);

/* Fails with DRAM_ERR_CONFIG and the text "WHERE: KEY: ...". For a key that was not given, WHERE is the file's name. */
dram_status dram_config_fail(const dram_config *cfg, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The YAML word of an enum's value: dram_precision_word(DRAM_PRECISION_BF16) is "bf16". */
#define X(TYPE, LIST) const char *TYPE##_word(TYPE value);
DRAM_ENUM_LISTS(X)
#undef X

/* The weight of a distance in sam_distill.loss.add; 0: it is not used there. */
double dram_config_added(const struct dram_config_sam_distill_loss *loss, dram_distance distance);

/* The name of class k: that of data.class_names, as it was written (base/str.h: dram_visible); its number, written into
 * out[0..size), where there are no names. */
const char *dram_class_name(const dram_config *cfg, int k, char *out, size_t size);

/* Calls `differs` for each key that has another value in `before` than in `now`, in the order of the keys. A status
 * other than DRAM_OK ends the comparison. values: "0.001 -> 0.0005", as YAML. FREE keys are not compared, nor is a key
 * that has no effect in `now` (dram_config_tell_idle). */
typedef dram_status dram_config_differs(void *context, const char *key, dram_resume_kind kind, const char *values);
dram_status dram_config_compare(const dram_config *before, const dram_config *now, dram_config_differs *differs,
                                void *context);

/* Calls `each` for every key that has a value, in the order of the keys: its value and that which it has in `standard`
 * (NULL: its default) as YAML, and what --resume does with it. idle: it has no effect beside the others. A status other
 * than DRAM_OK ends it. */
typedef struct {
    const char *key, *value, *standard;
    dram_resume_kind kind;
    bool idle;
} dram_config_entry;
typedef dram_status dram_config_each_entry(void *context, const dram_config_entry *entry);
dram_status dram_config_each(const dram_config *cfg, const dram_config *standard, dram_config_each_entry *each,
                             void *context);

/* All append to `out`, and return DRAM_ERR_MEMORY when it cannot grow.
 * yaml: every key with its value; dram_config_load reads it back as the same config, from any folder (except that
 *       run.dir and the cache stay relative to the working directory).
 * used: the keys that have an effect (dram_config_tell_idle), but for name, seed and run.dir: two configs of one such
 *       text are the same but for these. Not `all`: without the FREE keys too.
 * kept: the same without the FREE keys: what the results depend on, for a checkpoint.
 * base: yaml of a file with its bases alone, below a comment: "# FILE, WHAT".
 * schema: JSON schema (draft 2020-12) of a config file. markdown: a table of all keys. */
dram_status dram_config_write_yaml(const dram_config *cfg, dram_str *out);
dram_status dram_config_write_kept(const dram_config *cfg, dram_str *out);
dram_status dram_config_write_used(const dram_config *cfg, bool all, dram_str *out);
dram_status dram_config_write_base(const char *file, const char *what, dram_str *out);
dram_status dram_config_schema(dram_str *out);
dram_status dram_config_markdown(dram_str *out);

#endif
