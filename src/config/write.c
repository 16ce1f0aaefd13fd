/* A config as YAML, and the keys as Markdown. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/keys.h"

/* The shortest decimal that reads back as the same double, with a point so that every YAML reader takes it as a
 * real. */
static void write_real(double value, dram_str *out)
{
    char text[40];
    int digits = 1;
    do snprintf(text, sizeof text, "%.*g", digits, value);
    while (strtod(text, NULL) != value && ++digits <= 17);
    int mantissa = (int)strcspn(text, "e");
    bool point = memchr(text, '.', (size_t)mantissa) != NULL;
    dram_str_add(out, "%.*s%s%s", mantissa, text, point ? "" : ".0", text + mantissa);
}

static void write_bytes(int64_t value, dram_str *out)
{
    static const char *const unit[] = {"", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    if (value == DRAM_BYTES_NONE || value == DRAM_BYTES_AUTO) {
        dram_str_add(out, "%s", value == DRAM_BYTES_NONE ? "none" : "auto");
        return;
    }
    while (u < 4 && value > 0 && value % 1024 == 0) {
        value /= 1024;
        u++;
    }
    dram_str_add(out, "%lld%s", (long long)value, unit[u]);
}

/* True if the text, unquoted, is read back as this very text, by us and by readers of YAML 1.1. */
static bool is_plain_safe(const dram_key *key, const char *text)
{
    static const char *const old_bools[] = {"y", "n", "yes", "no", "on", "off"};
    dram_scalar s = {.text = text, .length = strlen(text), .plain = true};
    if (!isalpha((unsigned char)text[0]) && !strchr("_./", text[0])) return false;
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_./+-", *c)) return false;
    for (size_t i = 0; i < sizeof old_bools / sizeof old_bools[0]; i++)
        if (strcasecmp(text, old_bools[i]) == 0) return false;
    return dram_scalar_classify(&s) == DRAM_SCALAR_TEXT && !dram_key_has_keyword(key, text);
}

static dram_status write_quoted(const dram_key *key, const char *text, dram_str *out)
{
    dram_str_add(out, "\"");
    for (int n; *text; text += n) {
        uint32_t code;
        n = dram_utf8(text, &code);
        if (n == 0) return dram_fail(DRAM_ERR_CONFIG, "%s: not UTF-8, so it cannot be written as YAML", key->path);
        bool printable = (code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code != 0x2028 && code != 0x2029 &&
                                                           code != 0xfeff && code != 0xfffe && code != 0xffff);
        if (code == '"' || code == '\\')
            dram_str_add(out, "\\%c", (char)code);
        else if (printable)
            dram_str_add(out, "%.*s", n, text);
        else
            dram_str_add(out, "\\u%04x", code);
    }
    dram_str_add(out, "\"");
    return DRAM_OK;
}

static dram_status write_text(const dram_key *key, const char *text, dram_str *out)
{
    if (!text) {
        dram_str_add(out, "none");
        return DRAM_OK;
    }
    /* An input path is absolute, so a keyword here is the keyword. */
    bool keyword = key->kind == DRAM_KEY_INPUT && dram_key_has_keyword(key, text);
    if (!keyword && !is_plain_safe(key, text)) return write_quoted(key, text, out);
    dram_str_add(out, "%s", text);
    return DRAM_OK;
}

static void write_set(const dram_key *key, int64_t set, dram_str *out)
{
    const char *between = "";
    dram_str_add(out, "[");
    for (int i = 0; i < key->n_words; i++) {
        if (!(set >> i & 1)) continue;
        dram_str_add(out, "%s%s", between, key->words[i]);
        between = ", ";
    }
    dram_str_add(out, "]");
}

static void write_steps(const dram_steps *steps, dram_str *out)
{
    if (steps->n == 1) {
        dram_str_add(out, "%d", steps->value[0]);
        return;
    }
    for (int i = 0; i < steps->n; i++)
        dram_str_add(out, "%s%lld: %d", i ? ", " : "{", (long long)steps->from[i], steps->value[i]);
    dram_str_add(out, "}");
}

static void write_map(const dram_class_map *map, dram_str *out)
{
    dram_str_add(out, "{");
    for (int i = 0; map && i < map->n; i++)
        dram_str_add(out, map->color ? "%s\"#%06x\": %d" : "%s%u: %d", i ? ", " : "", map->pair[i].from,
                     map->pair[i].to);
    dram_str_add(out, "}");
}

static dram_status write_texts(const dram_key *key, const dram_texts *texts, dram_str *out)
{
    dram_str_add(out, "[");
    for (int i = 0; texts && i < texts->n; i++) {
        dram_str_add(out, "%s", i ? ", " : "");
        TRY(write_text(key, texts->text[i], out));
    }
    dram_str_add(out, "]");
    return DRAM_OK;
}

dram_status dram_key_write(const dram_key *key, const dram_key_value *value, dram_str *out)
{
    dram_status status = DRAM_OK;
    switch (key->kind) {
    case DRAM_KEY_SECTION:
        break;
    case DRAM_KEY_BOOL:
        dram_str_add(out, "%s", value->integer ? "true" : "false");
        break;
    case DRAM_KEY_INT:
    case DRAM_KEY_INT64:
        dram_str_add(out, "%lld", (long long)value->integer);
        break;
    case DRAM_KEY_STEPS:
        write_steps(&value->steps, out);
        break;
    case DRAM_KEY_REAL:
        write_real(value->real, out);
        break;
    case DRAM_KEY_BYTES:
        write_bytes(value->integer, out);
        break;
    case DRAM_KEY_BASE:
    case DRAM_KEY_TEXT:
    case DRAM_KEY_INPUT:
    case DRAM_KEY_OUTPUT:
        status = write_text(key, value->text, out);
        break;
    case DRAM_KEY_CHOICE:
        dram_str_add(out, "%s", key->words[value->integer]);
        break;
    case DRAM_KEY_CHOICES:
        write_set(key, value->integer, out);
        break;
    case DRAM_KEY_MAP:
        write_map(value->map, out);
        break;
    case DRAM_KEY_TEXTS:
        status = write_texts(key, value->texts, out);
        break;
    }
    TRY(status);
    return out->failed ? dram_config_no_memory() : DRAM_OK;
}

/* Whether a key is written among the kept ones: a section that has one below it, or a key that is not FREE. */
static bool is_kept(const dram_key *key)
{
    size_t length = strlen(key->path);
    if (key->kind != DRAM_KEY_SECTION) return key->resume != DRAM_RESUME_FREE;
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *other = &dram_keys[i];
        if (other->kind > DRAM_KEY_SECTION && other->resume != DRAM_RESUME_FREE &&
            strncmp(other->path, key->path, length) == 0 && other->path[length] == '.')
            return true;
    }
    return false;
}

static dram_status write_keys(const dram_config *cfg, bool all, dram_str *out)
{
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        if (key->kind == DRAM_KEY_BASE || !(all || is_kept(key))) continue; /* a base's keys are here already */
        dram_str_add(out, "%*s%s:", 2 * dram_key_depth(key->path), "", dram_key_name(key->path));
        if (key->kind != DRAM_KEY_SECTION) {
            dram_key_value value = dram_key_get(cfg, key);
            dram_str_add(out, " ");
            TRY(dram_key_write(key, &value, out));
        }
        dram_str_add(out, "\n");
    }
    return out->failed ? dram_config_no_memory() : DRAM_OK;
}

dram_status dram_config_write_yaml(const dram_config *cfg, dram_str *out)
{
    return write_keys(cfg, true, out);
}

dram_status dram_config_write_base(const char *file, const char *what, dram_str *out)
{
    char shown[4200];
    dram_config *base;
    TRY(dram_config_try(file, NULL, 0, &base));
    dram_str_add(out, "# %s, ", dram_visible(file, shown, sizeof shown));
    dram_str_add(out, "%s\n", dram_visible(what, shown, sizeof shown));
    dram_status status = dram_config_write_yaml(base, out);
    dram_config_free(base);
    return status;
}

dram_status dram_config_write_kept(const dram_config *cfg, dram_str *out)
{
    return write_keys(cfg, false, out);
}

dram_status dram_config_markdown(dram_str *out)
{
    static const char *const resume[] = {[DRAM_RESUME_FREE] = "free",
                                         [DRAM_RESUME_SAID] = "said",
                                         [DRAM_RESUME_LISTED] = "listed",
                                         [DRAM_RESUME_REFUSED] = "refused"};
    dram_str_add(out, "| key | value | default | `--resume` | meaning |\n|---|---|---|---|---|\n");
    for (int i = 0; i < dram_n_keys; i++) {
        const dram_key *key = &dram_keys[i];
        dram_key_value value = dram_key_default(key);
        bool has_default = key->kind != DRAM_KEY_SECTION && key->kind != DRAM_KEY_BASE;
        if (key->kind == DRAM_KEY_SECTION) {
            dram_str_add(out, "| **`%s`** | | | | **%s** |\n", key->path, key->help);
            continue;
        }
        dram_str_add(out, "| `%s` | ", key->path);
        dram_key_describe(key, out);
        dram_str_add(out, " | %s", has_default ? "`" : "");
        if (has_default) TRY(dram_key_write(key, &value, out));
        dram_str_add(out, "%s | %s | %s |\n", has_default ? "`" : "", has_default ? resume[key->resume] : "",
                     key->help);
    }
    return out->failed ? dram_config_no_memory() : DRAM_OK;
}
