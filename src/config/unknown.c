/* What an unknown key was probably meant to be. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "config/keys.h"

/* The only key elsewhere whose last part is exactly `name` ("lr" under train is optim.lr), or NULL. */
static const char *same_name(const char *name)
{
    const char *found = NULL;
    for (int i = 0; i < dram_n_keys; i++) {
        if (strcmp(dram_key_name(dram_keys[i].path), name) != 0) continue;
        if (found) return NULL;
        found = dram_keys[i].path;
    }
    return found;
}

/* The key of this section with the nearest name, else the key anywhere with the nearest name, else NULL. `names` has
 * room for all keys. */
static const char *nearest_key(const char *path, const char *section, const char **names)
{
    const char *name = dram_key_name(path);
    int n = 0;
    if (strlen(name) <= 2) return NULL; /* any two letters are near any others */
    for (int i = 0; i < dram_n_keys; i++)
        if (dram_key_is_in(dram_keys[i].path, section)) names[n++] = dram_key_name(dram_keys[i].path);
    const char *nearest = dram_nearest(name, names, n);
    for (int i = 0; nearest && i < dram_n_keys; i++)
        if (dram_key_is_in(dram_keys[i].path, section) && dram_key_name(dram_keys[i].path) == nearest)
            return dram_keys[i].path;
    for (int i = 0; i < dram_n_keys; i++) names[i] = dram_key_name(dram_keys[i].path);
    nearest = dram_nearest(name, names, dram_n_keys);
    if (!nearest) return NULL;
    n = 0; /* several sections may have that name: take the path that is nearest as a whole */
    for (int i = 0; i < dram_n_keys; i++)
        if (strcmp(dram_key_name(dram_keys[i].path), nearest) == 0) names[n++] = dram_keys[i].path;
    const char *whole = dram_nearest(path, names, n);
    return whole ? whole : names[0];
}

static dram_status list_section(const char *shown, const char *section, const dram_key_place *place)
{
    dram_str all = {0};
    int known = dram_key_find(section);
    if (known < 0 || dram_keys[known].kind != DRAM_KEY_SECTION) section = "";
    for (int i = 0; i < dram_n_keys; i++)
        if (dram_key_is_in(dram_keys[i].path, section))
            dram_str_add(&all, "%s%s", all.length ? ", " : "", dram_key_name(dram_keys[i].path));
    dram_status status = DRAM_ERR_CONFIG;
    if (all.failed)
        status = dram_config_no_memory();
    else
        dram_key_fail(place, shown, "unknown key; %s may have: %s", *section ? section : "a config", all.text);
    dram_str_free(&all);
    return status;
}

dram_status dram_key_unknown(const char *path, const char *shown, const dram_key_place *place)
{
    char section[128] = "";
    const char *name = dram_key_name(path);
    if (name > path) snprintf(section, sizeof section, "%.*s", (int)(name - 1 - path), path);
    if (strcmp(path, "sweep") == 0)
        return dram_key_fail(place, shown, "this file is of many configs: `dram sweep FILE` plans and runs them");
    const char *meant = same_name(name);
    if (!meant) {
        const char **names = dram_alloc((size_t)dram_n_keys * sizeof *names);
        if (!names) return dram_config_no_memory();
        meant = nearest_key(path, section, names);
        dram_free(names);
    }
    if (meant) return dram_key_fail(place, shown, "unknown key, did you mean %s?", meant);
    return list_section(shown, section, place);
}
