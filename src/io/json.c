#include "io/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"

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

dram_status dram_json_write(const char *path, const cJSON *root)
{
    dram_atomic file = {0};
    dram_status status;
    char *text = cJSON_Print(root);
    if (!text) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
    TRY_GOTO(dram_atomic_open(&file, path), done);
    TRY_GOTO(dram_atomic_write(&file, text, strlen(text)), done);
    TRY_GOTO(dram_atomic_write(&file, "\n", 1), done);
    status = dram_atomic_commit(&file);
done:
    dram_atomic_abort(&file);
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

dram_status dram_json_read(const char *path, cJSON **root)
{
    dram_status status = DRAM_OK;
    struct stat info;
    char *text = NULL;
    const char *why;
    ssize_t have;
    *root = NULL;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open: %s", path, why);
    if (info.st_size > MAX_BYTES) {
        status =
            dram_fail(DRAM_ERR_FORMAT, "%s: too large for a JSON file (%lld bytes)", path, (long long)info.st_size);
        goto done;
    }
    text = dram_alloc((size_t)info.st_size + 1);
    if (!text) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its text", path);
        goto done;
    }
    have = dram_file_read(fd, text, (size_t)info.st_size);
    if (have < 0) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path);
        goto done;
    }
    text[have] = '\0';
    status = parse(path, text, (size_t)have, root);
done:
    dram_free(text);
    close(fd);
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
