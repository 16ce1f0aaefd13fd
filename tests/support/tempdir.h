/* tempdir: a fresh folder for a test's files, under $TMPDIR or /tmp, and small file helpers. Every failure fails the
 * test. Include after cmocka.h. */
#ifndef DRAM_TESTS_TEMPDIR_H
#define DRAM_TESTS_TEMPDIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* cmocka group setup: *state becomes the folder's name; tempdir_remove is its teardown. */
static inline int tempdir_make(void **state)
{
    const char *top = getenv("TMPDIR");
    char *name = malloc(4096);
    if (!name) return -1;
    snprintf(name, 4096, "%s/dram-test-XXXXXX", top && *top ? top : "/tmp");
    if (!mkdtemp(name)) {
        free(name);
        return -1;
    }
    *state = name;
    return 0;
}

static inline int tempdir_remove(void **state)
{
    char command[4200];
    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)*state);
    int rc = system(command);
    free(*state);
    return rc;
}

/* The same name gives the same pointer, good until the program ends; 256 names at most. */
static inline const char *in_dir(void **state, const char *name)
{
    static char path[256][4352];
    static int used;
    char wanted[4352];
    snprintf(wanted, sizeof wanted, "%s/%s", (const char *)*state, name);
    for (int i = 0; i < used; i++)
        if (strcmp(path[i], wanted) == 0) return path[i];
    assert_true(used < 256);
    return strcpy(path[used++], wanted);
}

static inline void put_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* How many names of a folder begin as dram's temporaries do. */
static inline int temporaries(const char *folder)
{
    int n = 0;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) n += strncmp(entry->d_name, ".dram-tmp-", 10) == 0;
    closedir(dir);
    return n;
}

/* The whole file, with a zero after it; free() it. *bytes may be NULL. */
static inline char *get_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s cannot be read", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long n = ftell(f);
    assert_true(n >= 0);
    rewind(f);
    char *data = malloc((size_t)n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)n, f), (size_t)n);
    fclose(f);
    data[n] = '\0';
    if (bytes) *bytes = (size_t)n;
    return data;
}

static inline void assert_file_is(const char *path, const void *data, size_t bytes)
{
    size_t have;
    char *content = get_file(path, &have);
    assert_int_equal(have, bytes);
    assert_memory_equal(content, data, bytes);
    free(content);
}

static inline int is_there(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

#endif
