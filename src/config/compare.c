/* Two configs held against each other, key by key: what a run had, and what it is to go on with; and one against the
 * defaults. */
#include <string.h>

#include "config/keys.h"

/* "0.001 -> 0.0005" into text; *equal: the two are the same. */
static dram_status write_both(const dram_key *key, const dram_config *before, const dram_config *now, dram_str *text,
                              bool *equal)
{
    const dram_key_value was = dram_key_get(before, key), is = dram_key_get(now, key);
    TRY(dram_key_write(key, &was, text));
    size_t first = text->length;
    dram_str_add(text, " -> ");
    size_t second = text->length;
    TRY(dram_key_write(key, &is, text));
    *equal = text->length - second == first && memcmp(text->text, text->text + second, first) == 0;
    return DRAM_OK;
}

dram_status dram_config_compare(const dram_config *before, const dram_config *now, dram_config_differs *differs,
                                void *context)
{
    dram_status status = DRAM_OK;
    for (int i = 0; i < dram_n_keys && status == DRAM_OK; i++) {
        const dram_key *key = &dram_keys[i];
        dram_str text = {0};
        bool equal;
        if (key->kind <= DRAM_KEY_SECTION || key->resume == DRAM_RESUME_FREE || !dram_key_has_effect(now, key))
            continue;
        status = write_both(key, before, now, &text, &equal);
        if (status == DRAM_OK && !equal) status = differs(context, key->path, key->resume, text.text);
        dram_str_free(&text);
    }
    return status;
}

dram_status dram_config_each(const dram_config *cfg, const dram_config *against, dram_config_each_entry *each,
                             void *context)
{
    dram_status status = DRAM_OK;
    for (int i = 0; i < dram_n_keys && status == DRAM_OK; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind <= DRAM_KEY_SECTION) continue;
        const dram_key_value is = dram_key_get(cfg, key),
                             standard = against ? dram_key_get(against, key) : dram_key_default(key);
        dram_str value = {0}, other = {0};
        status = dram_key_write(key, &is, &value);
        if (status == DRAM_OK) status = dram_key_write(key, &standard, &other);
        dram_config_entry entry = {.key = key->path,
                                   .value = value.text,
                                   .standard = other.text,
                                   .kind = key->resume,
                                   .idle = !dram_key_has_effect(cfg, key)};
        if (status == DRAM_OK) status = each(context, &entry);
        dram_str_free(&value);
        dram_str_free(&other);
    }
    return status;
}

static bool is_apart(const dram_key *key)
{
    return strcmp(key->path, "name") == 0 || strcmp(key->path, "seed") == 0 || strcmp(key->path, "run.dir") == 0;
}

dram_status dram_config_write_used(const dram_config *cfg, bool all, dram_str *out)
{
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind <= DRAM_KEY_SECTION || is_apart(key) || !dram_key_has_effect(cfg, key)) continue;
        if (!all && key->resume == DRAM_RESUME_FREE) continue;
        const dram_key_value value = dram_key_get(cfg, key);
        dram_str_add(out, "%s=", key->path);
        TRY(dram_key_write(key, &value, out));
        dram_str_add(out, "\n");
    }
    return out->failed ? dram_config_no_memory() : DRAM_OK;
}
