#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/hash.h"

enum { MAX_BYTES = 64 << 20 };

static _Thread_local bool memory_out; /* cJSON says NULL for bad text and for no memory alike */

static void *take(size_t bytes)
{
    void *memory = dram_alloc(bytes);
    memory_out = memory_out || !memory;
    return memory;
}

/* Before main, so that no tree is made by one allocator and freed by the other. */
__attribute__((constructor)) static void use_alloc_hook(void)
{
    cJSON_Hooks hooks = {.malloc_fn = take, .free_fn = dram_free};
    cJSON_InitHooks(&hooks);
}

dram_status dram_json_parse(const char *text, size_t bytes, cJSON **root, const char **place)
{
    const char *end = text;
    dram_status status = DRAM_OK;
    memory_out = false;
    *root = cJSON_ParseWithLengthOpts(text, bytes, &end, 0);
    if (!*root) {
        status = memory_out ? DRAM_ERR_MEMORY : DRAM_ERR_FORMAT;
    } else {
        while (end < text + bytes && strchr(" \t\r\n", *end) && *end) end++;
        if (end < text + bytes) status = DRAM_ERR_FORMAT;
    }
    if (place) *place = end;
    if (status == DRAM_OK) return DRAM_OK;
    cJSON_Delete(*root);
    *root = NULL;
    return status;
}

/* The tree as text with a newline; the caller's (cJSON_free). NULL: memory is out, and a text is recorded. */
static char *print_tree(const char *path, const cJSON *root)
{
    char *text = cJSON_Print(root), *line = NULL;
    size_t bytes = text ? strlen(text) : 0;
    if (text) line = cJSON_malloc(bytes + 2);
    if (line) {
        memcpy(line, text, bytes);
        memcpy(line + bytes, "\n", 2);
    } else {
        dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
    }
    cJSON_free(text);
    return line;
}

dram_status dram_json_write(const char *path, const cJSON *root)
{
    char *text = print_tree(path, root);
    if (!text) return DRAM_ERR_MEMORY;
    dram_status status = dram_atomic_save(path, text, strlen(text));
    cJSON_free(text);
    return status;
}

/* Line of a place in text, from 1. */
static int line_of(const char *text, const char *place)
{
    int line = 1;
    for (; text < place; text++) line += *text == '\n';
    return line;
}

static dram_status parse(const char *path, const char *text, size_t bytes, cJSON **root)
{
    const char *place;
    dram_status status = dram_json_parse(text, bytes, root, &place);
    if (status == DRAM_ERR_MEMORY) return dram_fail(status, "%s: out of host memory for its content", path);
    if (status != DRAM_OK) return dram_fail(status, "%s:%d: not JSON", path, line_of(text, place));
    if (cJSON_IsObject(*root)) return DRAM_OK;
    cJSON_Delete(*root);
    *root = NULL;
    return dram_fail(DRAM_ERR_FORMAT, "%s: not a JSON object", path);
}

/* The content of a file, with a zero behind it; the caller's. */
static dram_status read_text(const char *path, char **text, size_t *bytes)
{
    dram_status status = DRAM_OK;
    struct stat info;
    const char *why;
    ssize_t have = -1;
    *text = NULL;
    *bytes = 0;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open: %s", path, why);
    if (info.st_size > MAX_BYTES)
        status =
            dram_fail(DRAM_ERR_FORMAT, "%s: too large for a JSON file (%lld bytes)", path, (long long)info.st_size);
    else if (!(*text = dram_alloc((size_t)info.st_size + 1)))
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
    else if ((have = dram_file_read(fd, *text, (size_t)info.st_size)) < 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path);
    close(fd);
    if (status == DRAM_OK) {
        (*text)[have] = '\0';
        *bytes = (size_t)have;
        return DRAM_OK;
    }
    dram_free(*text);
    *text = NULL;
    return status;
}

dram_status dram_json_read(const char *path, cJSON **root)
{
    char *text;
    size_t bytes;
    *root = NULL;
    TRY(read_text(path, &text, &bytes));
    dram_status status = parse(path, text, bytes, root);
    dram_free(text);
    return status;
}

/* ---- sealed ---- */

/* How a sealed text ends: the digits are the hash of the text that has zeros in their place. */
static const char seal_before[] = "\t\"hash\":\t\"", seal_zeros[] = "00000000000000000000000000000000",
                  seal_behind[] = "\"\n}\n";
enum { BEFORE = sizeof seal_before - 1, DIGITS = sizeof seal_zeros - 1, BEHIND = sizeof seal_behind - 1 };
_Static_assert((int)DIGITS == (int)DRAM_HASH_SIZE - 1, "the digits of a hash");

/* Where the digits are; NULL: the text does not end as a sealed one. */
static char *digits_of(char *text, size_t bytes)
{
    if (bytes < BEFORE + DIGITS + BEHIND) return NULL;
    char *digits = text + bytes - BEHIND - DIGITS;
    bool ends = memcmp(digits - BEFORE, seal_before, BEFORE) == 0 && memcmp(digits + DIGITS, seal_behind, BEHIND) == 0;
    return ends ? digits : NULL;
}

dram_status dram_json_write_sealed(const char *path, cJSON *root)
{
    char hash[DRAM_HASH_SIZE], *text = NULL;
    dram_status status = DRAM_OK;
    if (!cJSON_AddStringToObject(root, "hash", seal_zeros))
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
    text = print_tree(path, root);
    char *digits = text ? digits_of(text, strlen(text)) : NULL;
    if (digits) {
        dram_hash_memory(text, strlen(text), hash);
        memcpy(digits, hash, DIGITS);
        status = dram_atomic_save(path, text, strlen(text));
    } else {
        status = text ? dram_fail(DRAM_ERR_INTERNAL, "%s: its hash is not its last member", path) : DRAM_ERR_MEMORY;
    }
    cJSON_free(text);
    return status;
}

dram_status dram_json_read_sealed(const char *path, cJSON **root)
{
    char *text, written[DIGITS], hash[DRAM_HASH_SIZE];
    size_t bytes;
    *root = NULL;
    TRY(read_text(path, &text, &bytes));
    char *digits = digits_of(text, bytes);
    bool sound = digits != NULL;
    if (digits) {
        memcpy(written, digits, DIGITS);
        memcpy(digits, seal_zeros, DIGITS);
        dram_hash_memory(text, bytes, hash);
        sound = memcmp(written, hash, DIGITS) == 0;
    }
    dram_status status = sound
                             ? parse(path, text, bytes, root)
                             : dram_fail(DRAM_ERR_FORMAT, "%s: damaged: its bytes are not those that were saved", path);
    dram_free(text);
    return status;
}

cJSON *dram_json_append(cJSON *array)
{
    cJSON *object = cJSON_CreateObject();
    if (object && cJSON_AddItemToArray(array, object)) return object;
    cJSON_Delete(object);
    return NULL;
}

const char *dram_json_name(const char *text, dram_str *room)
{
    const char *p = text;
    uint32_t code;
    int n;
    while (*p && (n = dram_utf8(p, &code)) > 0) p += n;
    if (!*p) return text;
    for (p = text; *p; p += n ? n : 1) {
        n = dram_utf8(p, &code);
        if (n)
            dram_str_add(room, "%.*s", n, p);
        else
            dram_str_add(room, "\\x%02X", (unsigned char)*p);
    }
    return room->failed ? NULL : room->text;
}

bool dram_json_add_text(cJSON *object, const char *key, const char *text)
{
    dram_str room = {0};
    if (!text) return cJSON_AddNullToObject(object, key) != NULL;
    const char *name = dram_json_name(text, &room);
    bool added = name && cJSON_AddStringToObject(object, key, name);
    dram_str_free(&room);
    return added;
}

bool dram_json_add_texts(cJSON *object, const char *key, const char *const *texts, int n)
{
    cJSON *list = cJSON_CreateStringArray(texts, n);
    if (list && cJSON_AddItemToObject(object, key, list)) return true;
    cJSON_Delete(list);
    return false;
}

/* The member, or the error that it is absent or of another type. */
static dram_status member(const cJSON *object, const char *path, const char *key, int types, const char *type,
                          const cJSON **item)
{
    *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!*item) return dram_fail(DRAM_ERR_FORMAT, "%s: %s is missing", path, key);
    if (!((*item)->type & types)) return dram_fail(DRAM_ERR_FORMAT, "%s: %s is not %s", path, key, type);
    return DRAM_OK;
}

dram_status dram_json_int(const cJSON *object, const char *path, const char *key, int64_t low, int64_t high,
                          int64_t *value)
{
    const cJSON *item;
    TRY(member(object, path, key, cJSON_Number, "a number", &item));
    double x = item->valuedouble;
    if (!(fabs(x) <= 0x1p53) || x != floor(x)) return dram_fail(DRAM_ERR_FORMAT, "%s: %s is not an integer", path, key);
    if ((int64_t)x < low || (int64_t)x > high)
        return dram_fail(DRAM_ERR_FORMAT, "%s: %s is %" PRId64 ", not in %" PRId64 " .. %" PRId64, path, key,
                         (int64_t)x, low, high);
    *value = (int64_t)x;
    return DRAM_OK;
}

double dram_json_number_or_nan(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

dram_status dram_json_number(const cJSON *object, const char *path, const char *key, double *value)
{
    const cJSON *item;
    TRY(member(object, path, key, cJSON_Number, "a number", &item));
    *value = item->valuedouble;
    return DRAM_OK;
}

dram_status dram_json_text(const cJSON *object, const char *path, const char *key, const char **value)
{
    const cJSON *item;
    TRY(member(object, path, key, cJSON_String, "text", &item));
    *value = item->valuestring;
    return DRAM_OK;
}
