/* Values that are many: pairs of a class map, texts. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "config/keys.h"

/* "#804080" */
static bool read_hex(const char *text, uint32_t *color)
{
    if (text[0] != '#' || strspn(text + 1, "0123456789abcdefABCDEF") != 6 || text[7] != '\0') return false;
    *color = (uint32_t)strtoul(text + 1, NULL, 16);
    return true;
}

/* "128,64,128", with spaces anywhere but in a number. */
static bool read_decimal(const char *text, uint32_t *color)
{
    *color = 0;
    for (int i = 0; i < 3; i++) {
        text += strspn(text, " ");
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 3 || atoi(text) > 255) return false;
        *color = *color << 8 | (uint32_t)atoi(text);
        text += digits;
        text += strspn(text, " ");
        if (*text++ != (i < 2 ? ',' : '\0')) return false;
    }
    return true;
}

/* An id, or a colour. */
static dram_status read_from(const dram_key *key, const dram_scalar *s, const dram_key_place *place, uint32_t *from,
                             bool *color)
{
    const dram_key id = {.path = key->path, .kind = DRAM_KEY_INT, .high = 255, .multiple = 1, .keywords = ""};
    dram_key_value value;
    *color = dram_scalar_classify(s) == DRAM_SCALAR_TEXT && strlen(s->text) == s->length;
    char told[DRAM_TOLD];
    if (*color && !read_hex(s->text, from) && !read_decimal(s->text, from)) {
        bool number = s->length > 0 && strspn(s->text, "0123456789") == s->length;
        return dram_key_fail(place, key->path,
                             "expected an id from 0 to 255%s, or a colour such as \"#804080\" or \"128,64,128\", found "
                             "%s%s",
                             number ? " without quotes" : "", dram_scalar_told(s, place, told),
                             !s->plain || !strchr(s->text, ':') ? "" : " (write a space after each colon)");
    }
    if (*color) return DRAM_OK;
    bool six = strspn(s->text, "0123456789") == 6 && s->length == 6;
    if (six)
        return dram_key_fail(place, key->path,
                             "six digits are no id from 0 to 255; a colour is written \"#804080\", in quotes");
    TRY(dram_key_read(&id, s, place, &value));
    *from = (uint32_t)value.integer;
    return DRAM_OK;
}

/* The first pair that is not below `from`. */
static int place_of(const dram_class_map *map, uint32_t from)
{
    int low = 0, high = map ? map->n : 0;
    while (low < high) {
        int middle = (low + high) / 2;
        if (map->pair[middle].from < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

dram_status dram_key_add_pair(const dram_key *key, const dram_scalar *s, int64_t to, const dram_key_place *place,
                              dram_class_map **map)
{
    uint32_t from;
    bool color;
    TRY(read_from(key, s, place, &from, &color));
    int n = *map ? (*map)->n : 0, at = place_of(*map, from);
    if (n && (*map)->color != color)
        return dram_key_fail(place, key->path,
                             "this is %s, and before it %s: a map is either of ids or of colours, never of both",
                             color ? "a colour" : "an id", color ? "are ids" : "are colours");
    if (at < n && (*map)->pair[at].from == from)
        return dram_key_fail(place, key->path, "this %s is there twice", color ? "colour" : "id");
    if (n == DRAM_CLASS_PAIRS) return dram_key_fail(place, key->path, "at most %d colours", DRAM_CLASS_PAIRS);
    dram_class_map *more = dram_realloc(*map, sizeof *more + (size_t)(n + 1) * sizeof more->pair[0]);
    if (!more) return dram_config_no_memory();
    *map = more;
    more->n = n + 1;
    more->color = color;
    memmove(&more->pair[at + 1], &more->pair[at], (size_t)(n - at) * sizeof more->pair[0]);
    more->pair[at] = (dram_class_pair){.from = from, .to = (int)to};
    return DRAM_OK;
}

dram_status dram_key_add_text(const dram_key *key, char *text, const dram_key_place *place, dram_texts **texts)
{
    dram_status status;
    dram_texts *more;
    int n = *texts ? (*texts)->n : 0;
    for (int i = 0; i < n; i++) {
        if (strcmp((*texts)->text[i], text) != 0) continue;
        status = dram_key_fail(place, key->path, "entries %d and %d are the same", i + 1, n + 1);
        goto failed;
    }
    if (n == key->high) {
        status = dram_key_fail(place, key->path, "at most %d texts", n);
        goto failed;
    }
    more = dram_realloc(*texts, sizeof *more + (size_t)(n + 1) * sizeof more->text[0]);
    if (!more) {
        status = dram_config_no_memory();
        goto failed;
    }
    *texts = more;
    more->n = n + 1;
    more->text[n] = text;
    return DRAM_OK;
failed:
    dram_free(text);
    return status;
}
