/* keys: the rows of config/keys.def as data, and a value on its way between YAML and the struct. Private to config. */
#ifndef DRAM_CONFIG_KEYS_H
#define DRAM_CONFIG_KEYS_H

#include <stdarg.h>
#include <stddef.h>

#include "config/config.h"

typedef enum {
    DRAM_KEY_BASE,
    DRAM_KEY_SECTION,
    DRAM_KEY_BOOL,
    DRAM_KEY_INT,
    DRAM_KEY_INT64,
    DRAM_KEY_STEPS,
    DRAM_KEY_REAL,
    DRAM_KEY_BYTES,
    DRAM_KEY_TEXT,
    DRAM_KEY_INPUT,
    DRAM_KEY_OUTPUT,
    DRAM_KEY_CHOICE,
    DRAM_KEY_CHOICES,
    DRAM_KEY_MAP,
    DRAM_KEY_TEXTS
} dram_key_kind;

/* One row; fields that the kind does not use are zero. */
typedef struct {
    const char *path; /* "data.train.images" */
    const char *help;
    dram_key_kind kind;
    dram_resume_kind resume; /* none for BASE and SECTION */
    size_t offset;           /* in dram_config; none for BASE and SECTION */
    int64_t default_integer;
    int64_t low, high, multiple; /* MAP: of the class; TEXTS: high texts at most */
    double default_real, real_low, real_high;
    bool open;            /* real_low itself is not allowed */
    char *text;           /* default text, a literal */
    const char *keywords; /* "none|auto", "" when there are none */
    const char *const *words;
    int n_words;
} dram_key;

extern const dram_key dram_keys[];
extern const int dram_n_keys;

/* A value of any kind: BOOL, INT, INT64, BYTES, CHOICE and CHOICES as integer; TEXT, INPUT and OUTPUT as text;
 * STEPS as steps, and one number of it as integer; MAP as map, and the class of one pair as integer; TEXTS as texts, and
 * one of them as text. */
typedef struct {
    int64_t integer;
    double real;
    char *text;
    dram_steps steps;
    dram_class_map *map;
    dram_texts *texts;
} dram_key_value;

/* Where a value was written. line 0: nowhere in particular; file NULL: the command line. */
typedef struct {
    const char *file;
    const char *folder; /* absolute; where relative input paths start */
    int line, column;   /* from 1 */
} dram_key_place;

/* One plain or quoted word of YAML. */
typedef struct {
    const char *text;
    size_t length;
    bool plain; /* not quoted */
} dram_scalar;

typedef enum {
    DRAM_SCALAR_NULL,
    DRAM_SCALAR_BOOL,
    DRAM_SCALAR_INTEGER,
    DRAM_SCALAR_REAL,
    DRAM_SCALAR_TEXT
} dram_scalar_kind;

/* What a scalar is in YAML 1.2's core schema, without octal and hexadecimal numbers. */
dram_scalar_kind dram_scalar_classify(const dram_scalar *s);

enum { DRAM_TOLD = 96 };

/* What a message says of a scalar: "nothing", and for one of the command line "the number 33", `the text "big"`. What is
 * given as a file may be no config, and hold what no one is to see: of a file's word the kind alone is told. */
const char *dram_scalar_told(const dram_scalar *s, const dram_key_place *place, char out[DRAM_TOLD]);

/* Index of the key with this path, -1 if there is none. */
int dram_key_find(const char *path);
/* Last part of a path. */
const char *dram_key_name(const char *path);
/* Number of dots: how deep the key is nested. */
int dram_key_depth(const char *path);
/* True if `path` lies directly in `section` ("" for the top). */
bool dram_key_is_in(const char *path, const char *section);
/* True if `word` is one of the keywords. */
bool dram_key_has_keyword(const dram_key *key, const char *word);
/* Appends what a value may be: "a whole number from 1 to 256", "one of fp32, bf16, fp16". */
void dram_key_describe(const dram_key *key, dram_str *out);
/* Appends the range alone, "" if the kind has none: "from 1 to 256". */
void dram_key_describe_range(const dram_key *key, dram_str *out);

/* Frees text, map and texts of a value that nobody took over, and leaves {0}. */
void dram_key_value_free(dram_key_value *value);

/* Moves a value between a struct and the outside. set takes over what the value holds; get lends it. default's text is
 * lent by the row: duplicate before set. */
void dram_key_set(dram_config *cfg, const dram_key *key, const dram_key_value *value);
dram_key_value dram_key_get(const dram_config *cfg, const dram_key *key);
dram_key_value dram_key_default(const dram_key *key);

/* Converts and checks one scalar, one entry of a CHOICES or TEXTS list, or one class of a MAP. On success
 * value->text, if any, belongs to the caller. Fails at `place` with DRAM_ERR_CONFIG, or with DRAM_ERR_MEMORY. */
dram_status dram_key_read(const dram_key *key, const dram_scalar *s, const dram_key_place *place,
                          dram_key_value *value);

/* Adds "from step `from` on: value" to a STEPS value: fails unless the first is 0 and they rise. */
dram_status dram_key_add_step(const dram_key *key, const dram_scalar *from, int64_t value, const dram_key_place *place,
                              dram_steps *steps);

/* Adds a pair to a MAP value, or a text to a TEXTS value, which takes it over, also where it fails: an id or a colour is
 * wrong, or there already; the text is there already; there are too many. */
dram_status dram_key_add_pair(const dram_key *key, const dram_scalar *from, int64_t to, const dram_key_place *place,
                              dram_class_map **map);
dram_status dram_key_add_text(const dram_key *key, char *text, const dram_key_place *place, dram_texts **texts);

/* Fails at `place`: "expected ..., found FOUND". */
dram_status dram_key_unexpected(const dram_key *key, const dram_key_place *place, const char *found);

/* Fails with DRAM_ERR_CONFIG and the line "where: key: text"; where may be "", key may be NULL. */
dram_status dram_config_error(const char *where, const char *key, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* The same with "file:line:column" for where. */
dram_status dram_key_fail(const dram_key_place *place, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
dram_status dram_config_no_memory(void);

/* Whether the key has an effect beside the others of this config. */
bool dram_key_has_effect(const dram_config *cfg, const dram_key *key);

/* Appends a value as YAML (one line, no newline). */
dram_status dram_key_write(const dram_key *key, const dram_key_value *value, dram_str *out);

/* All defaults, to be loaded from `file` (NULL: from none). *out is the caller's to free, after a failure too. */
dram_status dram_config_new(const char *file, dram_config **out);

/* Takes over the value unless one of a higher rank is there; records where it came from. */
dram_status dram_config_put(dram_config *cfg, int index, dram_key_value *value, const dram_key_place *place, int rank);

/* Records the file that the loaded one names as its base. Once. */
dram_status dram_config_name_base(dram_config *cfg, const char *file);

/* True if `key` was set by a source that wins over the one that set `other`. */
bool dram_config_outranks(const dram_config *cfg, const char *key, const char *other);

/* Fails with what an unknown key was probably meant to be; `shown` is what the message has of its path. */
dram_status dram_key_unknown(const char *path, const char *shown, const dram_key_place *place);

/* Reads a file with its bases; reads one override. */
dram_status dram_config_read_file(dram_config *cfg, const char *file);
dram_status dram_config_read_override(dram_config *cfg, const dram_config_override *override);

/* Contradictions, and settings that this version cannot do yet. */
dram_status dram_config_check(const dram_config *cfg);

#endif
