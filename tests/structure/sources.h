/* sources: the files of the source tree and their text, for tests that read them. */
#ifndef DRAM_TESTS_SOURCES_H
#define DRAM_TESTS_SOURCES_H

#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_FILES = 2048, MAX_PATH = 256 };

/* Paths from the root of the sources on, sorted. */
typedef struct {
    int n;
    char path[MAX_FILES][MAX_PATH];
} source_list;

/* Whether a name ends in one of the words of `endings`: ".c .h". */
static inline bool source_ends_in(const char *name, const char *endings)
{
    const char *dot = strrchr(name, '.');
    size_t n = dot ? strlen(dot) : 0;
    for (const char *at = endings; dot && (at = strstr(at, dot)); at += n)
        if ((at == endings || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

static inline int source_order(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Adds the files below `folder` with one of the endings; returns how many they are. */
static inline int sources_below(source_list *list, const char *folder, const char *endings)
{
    char path[4 * MAX_PATH];
    int before = list->n;
    snprintf(path, sizeof path, "%s/%s", DRAM_SOURCE_DIR, folder);
    DIR *dir = opendir(path);
    if (!dir) fail_msg("%s cannot be opened", path);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_true(strlen(path) < MAX_PATH && list->n < MAX_FILES);
        if (entry->d_type == DT_DIR)
            sources_below(list, path, endings);
        else if (source_ends_in(path, endings))
            strcpy(list->path[list->n++], path);
    }
    closedir(dir);
    qsort(list->path, (size_t)list->n, sizeof list->path[0], source_order);
    return list->n - before;
}

/* The text of a file, zero-terminated; the caller frees it. */
static inline char *source_text(const char *file)
{
    char path[4 * MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", DRAM_SOURCE_DIR, file);
    FILE *in = fopen(path, "rb");
    if (!in) fail_msg("%s cannot be read", path);
    fseek(in, 0, SEEK_END);
    size_t n = (size_t)ftell(in);
    rewind(in);
    char *text = malloc(n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, n, in), n);
    fclose(in);
    text[n] = '\0';
    return text;
}

/* The end of the string or character that begins at `at`. */
static inline const char *source_after_quote(const char *at)
{
    char quote = *at++;
    while (*at && *at != quote) at += at[0] == '\\' && at[1] ? 2 : 1;
    return *at ? at + 1 : at;
}

/* Blanks comments, and joins lines that end in a backslash. */
static inline void source_strip(char *text)
{
    for (char *at = text; *at;) {
        char *end = at + 1;
        if (strncmp(at, "/*", 2) == 0)
            end = strstr(at + 2, "*/") ? strstr(at + 2, "*/") + 2 : at + strlen(at);
        else if (strncmp(at, "//", 2) == 0)
            end = at + strcspn(at, "\n");
        else if (strncmp(at, "\\\n", 2) == 0)
            end = at + 2;
        else if (*at == '"' || (*at == '\'' && (at == text || !isalnum((unsigned char)at[-1]))))
            at = end = at + (source_after_quote(at) - at);
        else
            at = end;
        while (at < end) *at++ = ' ';
    }
}

#endif
