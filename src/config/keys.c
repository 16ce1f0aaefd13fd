#include "config/keys.h"

#include <string.h>

#include "base/alloc.h"

#define WORD(ID, TEXT, ...) [ID] = TEXT,
#define X(TYPE, LIST)                                                                                                  \
    static const char *const TYPE##_words[] = {LIST(WORD)};                                                            \
    const char *TYPE##_word(TYPE value)                                                                                \
    {                                                                                                                  \
        return TYPE##_words[value];                                                                                    \
    }                                                                                                                  \
    _Static_assert(sizeof(TYPE) == sizeof(unsigned), "an enum is stored as unsigned");
DRAM_ENUM_LISTS(X)
#undef X

#define AT(KIND, PATH, RESUME, HELP)                                                                                   \
    .path = #PATH, .help = HELP, .kind = DRAM_KEY_##KIND, .resume = DRAM_RESUME_##RESUME,                              \
    .offset = offsetof(dram_config, PATH)
#define WORDS(TYPE) .words = TYPE##_words, .n_words = (int)(sizeof TYPE##_words / sizeof TYPE##_words[0])
#define BASE(PATH, HELP) {.path = #PATH, .help = HELP, .kind = DRAM_KEY_BASE, .keywords = ""},
#define SECTION(TAG, PATH, HELP) {.path = #PATH, .help = HELP, .kind = DRAM_KEY_SECTION, .keywords = ""},
#define END(NAME)
#define BOOL(NAME, PATH, DEFAULT, RESUME, HELP)                                                                        \
    {AT(BOOL, PATH, RESUME, HELP), .default_integer = DEFAULT, .keywords = ""},
#define INT(NAME, PATH, DEFAULT, LOW, HIGH, MULTIPLE, RESUME, HELP)                                                    \
    {AT(INT, PATH, RESUME, HELP),                                                                                      \
     .default_integer = DEFAULT,                                                                                       \
     .low = LOW,                                                                                                       \
     .high = HIGH,                                                                                                     \
     .multiple = MULTIPLE,                                                                                             \
     .keywords = ""},
#define INT64(NAME, PATH, DEFAULT, LOW, HIGH, RESUME, HELP)                                                            \
    {AT(INT64, PATH, RESUME, HELP),                                                                                    \
     .default_integer = DEFAULT,                                                                                       \
     .low = LOW,                                                                                                       \
     .high = HIGH,                                                                                                     \
     .multiple = 1,                                                                                                    \
     .keywords = ""},
#define STEPS(NAME, PATH, DEFAULT, LOW, HIGH, RESUME, HELP)                                                            \
    {AT(STEPS, PATH, RESUME, HELP),                                                                                    \
     .default_integer = DEFAULT,                                                                                       \
     .low = LOW,                                                                                                       \
     .high = HIGH,                                                                                                     \
     .multiple = 1,                                                                                                    \
     .keywords = ""},
#define REAL(NAME, PATH, DEFAULT, OPEN, LOW, HIGH, RESUME, HELP)                                                       \
    {AT(REAL, PATH, RESUME, HELP),                                                                                     \
     .default_real = DEFAULT,                                                                                          \
     .open = OPEN,                                                                                                     \
     .real_low = LOW,                                                                                                  \
     .real_high = HIGH,                                                                                                \
     .keywords = ""},
#define BYTES(NAME, PATH, DEFAULT, LOW, KEYWORDS, RESUME, HELP)                                                        \
    {AT(BYTES, PATH, RESUME, HELP), .default_integer = DEFAULT, .low = LOW, .high = INT64_MAX, .multiple = 1,          \
     .keywords = KEYWORDS},
#define TEXT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP)                                                              \
    {AT(TEXT, PATH, RESUME, HELP), .text = DEFAULT, .keywords = KEYWORDS},
#define INPUT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP)                                                             \
    {AT(INPUT, PATH, RESUME, HELP), .text = DEFAULT, .keywords = KEYWORDS},
#define OUTPUT(NAME, PATH, DEFAULT, KEYWORDS, RESUME, HELP)                                                            \
    {AT(OUTPUT, PATH, RESUME, HELP), .text = DEFAULT, .keywords = KEYWORDS},
#define CHOICE(NAME, PATH, TYPE, DEFAULT, RESUME, HELP)                                                                \
    {AT(CHOICE, PATH, RESUME, HELP), .default_integer = DEFAULT, .keywords = "", WORDS(TYPE)},
#define CHOICES(NAME, PATH, TYPE, RESUME, HELP) {AT(CHOICES, PATH, RESUME, HELP), .keywords = "", WORDS(TYPE)},
#define MAP(NAME, PATH, RESUME, HELP) {AT(MAP, PATH, RESUME, HELP), .high = 255, .multiple = 1, .keywords = ""},
#define TEXTS(NAME, PATH, MOST, RESUME, HELP)                                                                          \
    {AT(TEXTS, PATH, RESUME, HELP), .high = MOST, .multiple = 1, .keywords = ""},

const dram_key dram_keys[] = {
#include "config/keys.def"
};
const int dram_n_keys = sizeof dram_keys / sizeof dram_keys[0];

double dram_config_added(const struct dram_config_sam_distill_loss *loss, dram_distance distance)
{
#define X(ID, WORD, NAME, ...) [ID] = loss->add.NAME,
    const double added[] = {DRAM_DISTANCE_LIST(X)};
#undef X
    return added[distance];
}

int dram_key_find(const char *path)
{
    for (int i = 0; i < dram_n_keys; i++)
        if (strcmp(dram_keys[i].path, path) == 0) return i;
    return -1;
}

const char *dram_key_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

int dram_key_depth(const char *path)
{
    int depth = 0;
    for (; *path; path++) depth += *path == '.';
    return depth;
}

bool dram_key_is_in(const char *path, const char *section)
{
    size_t n = strlen(section);
    size_t section_of_path = (size_t)(dram_key_name(path) - path);
    if (n == 0) return section_of_path == 0;
    return section_of_path == n + 1 && strncmp(path, section, n) == 0;
}

bool dram_key_has_keyword(const dram_key *key, const char *word)
{
    size_t n = strlen(word);
    for (const char *k = key->keywords; *k;) {
        size_t length = strcspn(k, "|");
        if (length == n && strncmp(k, word, n) == 0) return true;
        k += length + (k[length] == '|');
    }
    return false;
}

void dram_key_describe_range(const dram_key *key, dram_str *out)
{
    switch (key->kind) {
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
    case DRAM_KEY_STEPS:
    case DRAM_KEY_MAP:
    case DRAM_KEY_BYTES:
        if (key->multiple > 1) dram_str_add(out, "that is a multiple of %lld ", (long long)key->multiple);
        if (key->high == (key->kind == DRAM_KEY_INT ? INT_MAX : INT64_MAX))
            dram_str_add(out, "of %lld or more", (long long)key->low);
        else
            dram_str_add(out, "from %lld to %lld", (long long)key->low, (long long)key->high);
        break;
    case DRAM_KEY_REAL:
        if (key->open)
            dram_str_add(out, "above %.9g, up to %.9g", key->real_low, key->real_high);
        else
            dram_str_add(out, "from %.9g to %.9g", key->real_low, key->real_high);
        break;
    default:
        break;
    }
}

void dram_key_describe(const dram_key *key, dram_str *out)
{
    static const char *const kind_text[] = {
        [DRAM_KEY_BASE] = "a path",
        [DRAM_KEY_SECTION] = "a mapping of keys",
        [DRAM_KEY_BOOL] = "true or false",
        [DRAM_KEY_INT] = "a whole number ",
        [DRAM_KEY_INT64] = "a whole number ",
        [DRAM_KEY_STEPS] = "a whole number, or a mapping {step: number} that begins at step 0, each ",
        [DRAM_KEY_REAL] = "a number ",
        [DRAM_KEY_BYTES] = "a size such as 7GiB or a number of bytes ",
        [DRAM_KEY_TEXT] = "text",
        [DRAM_KEY_INPUT] = "a path",
        [DRAM_KEY_OUTPUT] = "a path",
        [DRAM_KEY_CHOICE] = "one of ",
        [DRAM_KEY_CHOICES] = "a list of any of ",
        [DRAM_KEY_MAP] = "a mapping {id: class} or {\"#RRGGBB\": class}, each class a whole number ",
        [DRAM_KEY_TEXTS] = "a list of texts, ",
    };
    dram_str_add(out, "%s", kind_text[key->kind]);
    if (key->kind == DRAM_KEY_TEXTS) dram_str_add(out, "%lld at most", (long long)key->high);
    dram_key_describe_range(key, out);
    for (int i = 0; i < key->n_words; i++) dram_str_add(out, "%s%s", i ? ", " : "", key->words[i]);
    for (const char *k = key->keywords; *k;) {
        size_t length = strcspn(k, "|");
        dram_str_add(out, ", or %.*s", (int)length, k);
        k += length + (k[length] == '|');
    }
}

void dram_key_value_free(dram_key_value *value)
{
    dram_free(value->text);
    dram_free(value->map);
    for (int i = 0; value->texts && i < value->texts->n; i++) dram_free(value->texts->text[i]);
    dram_free(value->texts);
    *value = (dram_key_value){0};
}

void dram_key_set(dram_config *cfg, const dram_key *key, const dram_key_value *value)
{
    char *field = (char *)cfg + key->offset;
    switch (key->kind) {
    case DRAM_KEY_BASE:
    case DRAM_KEY_SECTION:
        break;
    case DRAM_KEY_BOOL:
        *(bool *)field = value->integer != 0;
        break;
    case DRAM_KEY_INT:
        *(int *)(void *)field = (int)value->integer;
        break;
    case DRAM_KEY_INT64:
    case DRAM_KEY_BYTES:
        *(int64_t *)(void *)field = value->integer;
        break;
    case DRAM_KEY_STEPS:
        *(dram_steps *)(void *)field = value->steps;
        break;
    case DRAM_KEY_REAL:
        *(double *)(void *)field = value->real;
        break;
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        dram_free(*(char **)(void *)field);
        *(char **)(void *)field = value->text;
        break;
    case DRAM_KEY_CHOICE:
    case DRAM_KEY_CHOICES: {
        unsigned stored = (unsigned)value->integer;
        memcpy(field, &stored, sizeof stored); /* any enum type: not an lvalue of one type */
        break;
    }
    case DRAM_KEY_MAP:
        dram_free(*(dram_class_map **)(void *)field);
        *(dram_class_map **)(void *)field = value->map;
        break;
    case DRAM_KEY_TEXTS:
        dram_key_value_free(&(dram_key_value){.texts = *(dram_texts **)(void *)field});
        *(dram_texts **)(void *)field = value->texts;
        break;
    }
}

dram_key_value dram_key_get(const dram_config *cfg, const dram_key *key)
{
    const char *field = (const char *)cfg + key->offset;
    dram_key_value value = {0};
    switch (key->kind) {
    case DRAM_KEY_BASE:
    case DRAM_KEY_SECTION:
        break;
    case DRAM_KEY_BOOL:
        value.integer = *(const bool *)field;
        break;
    case DRAM_KEY_INT:
        value.integer = *(const int *)(const void *)field;
        break;
    case DRAM_KEY_INT64:
    case DRAM_KEY_BYTES:
        value.integer = *(const int64_t *)(const void *)field;
        break;
    case DRAM_KEY_STEPS:
        value.steps = *(const dram_steps *)(const void *)field;
        break;
    case DRAM_KEY_REAL:
        value.real = *(const double *)(const void *)field;
        break;
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        value.text = *(char *const *)(const void *)field;
        break;
    case DRAM_KEY_CHOICE:
    case DRAM_KEY_CHOICES: {
        unsigned stored;
        memcpy(&stored, field, sizeof stored);
        value.integer = stored;
        break;
    }
    case DRAM_KEY_MAP:
        value.map = *(dram_class_map *const *)(const void *)field;
        break;
    case DRAM_KEY_TEXTS:
        value.texts = *(dram_texts *const *)(const void *)field;
        break;
    }
    return value;
}

dram_key_value dram_key_default(const dram_key *key)
{
    return (dram_key_value){.integer = key->default_integer,
                            .real = key->default_real,
                            .text = key->text,
                            .steps = dram_steps_always((int)key->default_integer)};
}
