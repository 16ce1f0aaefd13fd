/* The keys as a JSON schema (draft 2020-12), which editors use to complete and check a config. */
#include <cjson/cJSON.h>
#include <string.h>

#include "config/keys.h"

enum { MAX_DEPTH = 4 };

static cJSON *words_of(const dram_key *key)
{
    return cJSON_CreateStringArray(key->words, key->n_words);
}

static cJSON *keywords_of(const dram_key *key)
{
    cJSON *array = cJSON_CreateArray();
    for (const char *k = key->keywords; *k && array;) {
        char word[32];
        size_t n = strcspn(k, "|");
        memcpy(word, k, n);
        word[n] = '\0';
        if (!cJSON_AddItemToArray(array, cJSON_CreateString(word))) {
            cJSON_Delete(array);
            return NULL;
        }
        k += n + (k[n] == '|');
    }
    return array;
}

/* cJSON's adders take NULL for an item whose creation failed, and say so: every one of them is asked. */
static bool add(cJSON *object, const char *name, cJSON *item)
{
    if (item && cJSON_AddItemToObject(object, name, item)) return true;
    cJSON_Delete(item);
    return false;
}

static bool add_text(cJSON *object, const char *name, const char *text)
{
    return cJSON_AddStringToObject(object, name, text) != NULL;
}

static bool add_number(cJSON *object, const char *name, double number)
{
    return cJSON_AddNumberToObject(object, name, number) != NULL;
}

static bool describe_integer(cJSON *o, const dram_key *key)
{
    return add_text(o, "type", "integer") && add_number(o, "minimum", (double)key->low) &&
           (key->high == INT64_MAX || add_number(o, "maximum", (double)key->high)) &&
           (key->multiple == 1 || add_number(o, "multipleOf", (double)key->multiple));
}

static bool describe_real(cJSON *o, const dram_key *key)
{
    return add_text(o, "type", "number") && add_number(o, key->open ? "exclusiveMinimum" : "minimum", key->real_low) &&
           add_number(o, "maximum", key->real_high);
}

static cJSON *append_object(cJSON *array)
{
    cJSON *o = cJSON_CreateObject();
    if (o && array && cJSON_AddItemToArray(array, o)) return o;
    cJSON_Delete(o);
    return NULL;
}

static bool describe_bytes(cJSON *o, const dram_key *key)
{
    static const char pattern[] = "^[0-9]*\\.?[0-9]*([Ee][+-]?[0-9]+)? *([KkMmGgTt][Ii]?)?[Bb]?$";
    cJSON *any = cJSON_AddArrayToObject(o, "anyOf");
    cJSON *number = append_object(any), *text = append_object(any);
    if (!number || !text || !describe_integer(number, key)) return false;
    if (!add_text(text, "type", "string") || !add_text(text, "pattern", pattern)) return false;
    if (!key->keywords[0]) return true;
    cJSON *word = append_object(any);
    return word && add(word, "enum", keywords_of(key));
}

/* A number, or numbers by the step from which they hold. */
static bool describe_steps(cJSON *o, const dram_key *key)
{
    cJSON *any = cJSON_AddArrayToObject(o, "anyOf");
    cJSON *number = append_object(any), *mapping = append_object(any);
    if (!number || !mapping || !describe_integer(number, key)) return false;
    cJSON *properties = cJSON_AddObjectToObject(mapping, "patternProperties");
    cJSON *entry = properties ? cJSON_AddObjectToObject(properties, "^[0-9]+$") : NULL;
    return entry && describe_integer(entry, key) && add_text(mapping, "type", "object") &&
           cJSON_AddFalseToObject(mapping, "additionalProperties") != NULL && add_number(mapping, "minProperties", 1) &&
           add_number(mapping, "maxProperties", DRAM_STEPS);
}

/* Ids or colours, as src/config/lists.c reads them. */
static bool describe_map(cJSON *o, const dram_key *key)
{
    static const char *const from[] = {"^[0-9]+$", "^#[0-9A-Fa-f]{6}$|^ *[0-9]+ *, *[0-9]+ *, *[0-9]+ *$"};
    cJSON *any = cJSON_AddArrayToObject(o, "anyOf");
    for (int i = 0; i < 2; i++) {
        cJSON *mapping = append_object(any);
        cJSON *properties = mapping ? cJSON_AddObjectToObject(mapping, "patternProperties") : NULL;
        cJSON *entry = properties ? cJSON_AddObjectToObject(properties, from[i]) : NULL;
        if (!entry || !describe_integer(entry, key) || !add_text(mapping, "type", "object") ||
            !cJSON_AddFalseToObject(mapping, "additionalProperties"))
            return false;
    }
    return true;
}

static bool describe_texts(cJSON *o, const dram_key *key)
{
    cJSON *items = cJSON_AddObjectToObject(o, "items");
    return items && add_text(items, "type", "string") && add_number(items, "minLength", 1) &&
           add_text(o, "type", "array") && cJSON_AddTrueToObject(o, "uniqueItems") != NULL &&
           add_number(o, "maxItems", (double)key->high);
}

static bool describe_list(cJSON *o, const dram_key *key)
{
    cJSON *items = cJSON_AddObjectToObject(o, "items");
    return items && add_text(o, "type", "array") && add(items, "enum", words_of(key));
}

static bool describe_text(cJSON *o)
{
    return add_text(o, "type", "string") && add_number(o, "minLength", 1);
}

/* A section written with nothing in it is null, which is allowed. */
static bool describe_section(cJSON *o)
{
    static const char *const types[] = {"object", "null"};
    return add(o, "type", cJSON_CreateStringArray(types, 2)) &&
           cJSON_AddFalseToObject(o, "additionalProperties") != NULL &&
           cJSON_AddObjectToObject(o, "properties") != NULL;
}

static bool describe(cJSON *o, const dram_key *key)
{
    if (!add_text(o, "description", key->help)) return false;
    switch (key->kind) {
    case DRAM_KEY_SECTION:
        return describe_section(o);
    case DRAM_KEY_BOOL:
        return add_text(o, "type", "boolean") && cJSON_AddBoolToObject(o, "default", key->default_integer != 0);
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
        return describe_integer(o, key) && add_number(o, "default", (double)key->default_integer);
    case DRAM_KEY_STEPS:
        return describe_steps(o, key) && add_number(o, "default", (double)key->default_integer);
    case DRAM_KEY_REAL:
        return describe_real(o, key) && add_number(o, "default", key->default_real);
    case DRAM_KEY_BYTES:
        return describe_bytes(o, key) &&
               (key->default_integer == DRAM_BYTES_NONE ? add_text(o, "default", "none")
                                                        : add_number(o, "default", (double)key->default_integer));
    case DRAM_KEY_BASE:
        return describe_text(o);
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        return describe_text(o) && add_text(o, "default", key->text ? key->text : "none");
    case DRAM_KEY_CHOICE:
        return add(o, "enum", words_of(key)) && add_text(o, "default", key->words[key->default_integer]);
    case DRAM_KEY_CHOICES:
        return describe_list(o, key) && cJSON_AddArrayToObject(o, "default") != NULL;
    case DRAM_KEY_MAP:
        return describe_map(o, key) && cJSON_AddObjectToObject(o, "default") != NULL;
    case DRAM_KEY_TEXTS:
        return describe_texts(o, key) && cJSON_AddArrayToObject(o, "default") != NULL;
    }
    return false;
}

static bool describe_all(cJSON *root)
{
    cJSON *open[MAX_DEPTH + 1] = {root}; /* open[d]: the section whose keys have depth d */
    if (!add_text(root, "$schema", "https://json-schema.org/draft/2020-12/schema") ||
        !add_text(root, "title", "config of dram") || !describe_section(root))
        return false;
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        int depth = dram_key_depth(key->path);
        cJSON *properties = cJSON_GetObjectItemCaseSensitive(open[depth], "properties");
        cJSON *o = cJSON_AddObjectToObject(properties, dram_key_name(key->path));
        if (!o || !describe(o, key)) return false;
        if (key->kind == DRAM_KEY_SECTION) open[depth + 1] = o;
    }
    return true;
}

dram_status dram_config_schema(dram_str *out)
{
    cJSON *root = cJSON_CreateObject();
    char *text = root && describe_all(root) ? cJSON_Print(root) : NULL;
    cJSON_Delete(root);
    if (!text) return dram_config_no_memory();
    dram_str_add(out, "%s\n", text);
    cJSON_free(text);
    return out->failed ? dram_config_no_memory() : DRAM_OK;
}
