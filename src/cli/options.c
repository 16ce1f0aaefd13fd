/* Reads a command's words, and prints what several commands print. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/command.h"
#include "report/plan_text.h"

static void print_command_usage(const char *name, const dram_option *options, int n)
{
    for (int i = 0; i < dram_commands_count; i++)
        if (strcmp(dram_commands[i].name, name) == 0)
            printf("dram %s %s\n\n%s\n\n", name, dram_commands[i].usage, dram_commands[i].summary);
    for (int i = 0; i < n; i++) {
        const dram_option *o = &options[i];
        char word[80];
        const char *behind = !o->value ? "" : o->given ? "[=" : " ";
        snprintf(word, sizeof word, "%s%s%s%s", o->name, behind, o->value ? o->value : "", *behind == '[' ? "]" : "");
        printf("  %-20s %s\n", word, o->help);
    }
    printf("  %-20s %s\n", "--help", "this page");
}

static dram_status unknown_option(const char *command, const char *name, const dram_option *options, int n)
{
    const char *names[16];
    for (int i = 0; i < n; i++) names[i] = options[i].name;
    const char *nearest = dram_nearest(name, names, n);
    return dram_fail(DRAM_ERR_CONFIG, "%s: unknown option %s%s%s%s; see `dram %s --help`", command, name,
                     nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "", command);
}

static dram_status parse_option(const char *command, int argc, char **argv, int *i, const dram_option *options, int n)
{
    const char *name = argv[*i], *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    for (int k = 0; k < n; k++) {
        if (strlen(options[k].name) != length || strncmp(options[k].name, name, length) != 0) continue;
        if (!options[k].value && equals)
            return dram_fail(DRAM_ERR_CONFIG, "%s: %s takes no value", command, options[k].name);
        if (options[k].given) *options[k].given = true;
        if (equals) {
            *options[k].text = equals + 1;
        } else if (options[k].given) {
            return DRAM_OK;
        } else if (*i + 1 < argc) {
            *options[k].text = argv[++*i];
        } else {
            return dram_fail(DRAM_ERR_CONFIG, "%s: %s needs a value: %s", command, name, options[k].value);
        }
        return DRAM_OK;
    }
    return unknown_option(command, name, options, n);
}

/* A key has no slash, and a path may have any character: "./a=b.jpg" is a path. */
static bool is_override(const char *word)
{
    const char *equals = strchr(word, '=');
    return equals && !memchr(word, '/', (size_t)(equals - word));
}

static dram_status parse(const char *command, int argc, char **argv, const dram_option *options, int n_options,
                         int words, bool more, dram_words *out, bool *help)
{
    *out = (dram_words){0};
    *help = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_command_usage(command, options, n_options);
            *help = true;
            return DRAM_OK;
        }
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            TRY(parse_option(command, argc, argv, &i, options, n_options));
            continue;
        }
        if (out->n_words + out->n_overrides == DRAM_MAX_WORDS)
            return dram_fail(DRAM_ERR_CONFIG, "%s: more than %d words", command, DRAM_MAX_WORDS);
        if (out->n_words >= (more ? 1 : words) && (more ? is_override(argv[i]) : strchr(argv[i], '=') != NULL))
            out->overrides[out->n_overrides++] = argv[i];
        else
            out->words[out->n_words++] = argv[i];
    }
    if (out->n_words == words || (more && out->n_words > words)) return DRAM_OK;
    if (out->n_words > words)
        return dram_fail(DRAM_ERR_CONFIG, "%s: what is \"%s\"? An override is key=value; see `dram %s --help`", command,
                         out->words[words], command);
    return dram_fail(DRAM_ERR_CONFIG, "%s: an argument is missing; see `dram %s --help`", command, command);
}

dram_status dram_parse(const char *command, int argc, char **argv, const dram_option *options, int n_options, int words,
                       dram_words *out, bool *help)
{
    return parse(command, argc, argv, options, n_options, words, false, out, help);
}

dram_status dram_parse_paths(const char *command, int argc, char **argv, const dram_option *options, int n_options,
                             int words, dram_words *out, bool *help)
{
    return parse(command, argc, argv, options, n_options, words, true, out, help);
}

dram_status dram_print_page(const dram_session *session, FILE *out)
{
    dram_plan_facts facts;
    dram_str text = {0};
    dram_status status = dram_plan_facts_find(session, &facts);
    if (status == DRAM_OK) status = dram_plan_text(session->plan, &facts, &text);
    if (status == DRAM_OK) {
        fputs(text.text, out);
        fflush(out);
    }
    dram_str_free(&text);
    dram_plan_facts_free(&facts);
    return status;
}

/* Prints `part` of a tree (NULL: memory was out) and frees the tree. */
static dram_status print_part(cJSON *tree, const cJSON *part)
{
    char *text = part ? cJSON_Print(part) : NULL;
    if (cJSON_IsString(part))
        puts(part->valuestring);
    else if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(tree);
    return text ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory to print the result");
}

dram_status dram_print_json(cJSON *tree)
{
    return print_part(tree, tree);
}

/* What a child of an object or list is called; NULL: nothing. */
static const char *name_of(const cJSON *parent, const cJSON *child)
{
    return cJSON_IsArray(parent) ? cJSON_GetStringValue(cJSON_GetObjectItem(child, "name")) : child->string;
}

static dram_status no_such_value(const char *key, const char *part, int length, const cJSON *parent)
{
    const cJSON *child;
    dram_str names = {0};
    cJSON_ArrayForEach(child, parent)
    {
        const char *name = name_of(parent, child);
        if (name) dram_str_add(&names, "%s%s", names.text ? ", " : "; there are ", name);
    }
    dram_status status = dram_fail(DRAM_ERR_CONFIG, "--get %s: there is no \"%.*s\"%s", key, length, part,
                                   names.text ? names.text : " in a single value");
    dram_str_free(&names);
    return status;
}

static dram_status find_value(const cJSON *tree, const char *key, const cJSON **found)
{
    for (const char *part = key;; part += strcspn(part, ".") + 1) {
        int length = (int)strcspn(part, ".");
        const cJSON *child;
        cJSON_ArrayForEach(child, tree)
        {
            const char *name = name_of(tree, child);
            if (name && (int)strlen(name) == length && strncmp(name, part, (size_t)length) == 0) break;
        }
        if (!child) return no_such_value(key, part, length, tree);
        *found = tree = child;
        if (part[length] == '\0') return DRAM_OK;
    }
}

dram_status dram_print_value(cJSON *tree, const char *key)
{
    const cJSON *found = NULL;
    dram_status status = tree ? find_value(tree, key, &found) : DRAM_OK;
    if (status == DRAM_OK) return print_part(tree, found);
    cJSON_Delete(tree);
    return status;
}

dram_status dram_write_text(const char *path, const char *text)
{
    const char *why;
    FILE *file = dram_file_create(path, &why);
    if (!file) return dram_fail(DRAM_ERR_CONFIG, "%s cannot be written: %s", path, why);
    bool good = fputs(text, file) >= 0;
    if (fclose(file) != 0 || !good)
        return dram_fail(DRAM_ERR_IO, "%s could not be written whole: %s", path, strerror(errno));
    return DRAM_OK;
}
