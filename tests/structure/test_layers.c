/* The house rules that a compiler does not check: which layer includes which, and how long a file may be. */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_LINES = 600, LINE_ROOM = 4096 };

/* A folder below src/ includes from itself and from these. The order is docs/design.md's: none names a later one. */
static const struct {
    const char *folder, *from;
} layers[] = {
    {"base", ""},
    {"config", "base"},
    {"ir", "base"},
    {"ops", "base ir"},
    {"passes", "base ir ops"},
    {"plan", "base ir"},
    {"model", "base ir ops"},
    {"distill", "base ir ops model"},
    {"device", "base ir plan kernels"},
    {"io", "base"},
    {"data", "base"},
    {"comm", "base device"},
    {"session", "base config ir ops passes plan model distill device io comm"},
    {"feed", "base config model device io data session"},
    {"evaluate", "base config model device io data session feed"},
    {"report", "base config ir passes plan device io session feed evaluate"},
    {"train", "base config ir device io data comm session feed evaluate report"},
    {"cli", "base config device io data session evaluate report train"},
};
enum { LAYERS = sizeof layers / sizeof layers[0] };

static bool has_word(const char *words, const char *word, size_t length)
{
    for (const char *at = words; (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

/* Whether a file of `folder` may have this include: NULL for a kernel's folder. */
static bool may_include(const char *folder, const char *from, const char *include)
{
    char part[64];
    size_t length = strcspn(include, "/");
    if (include[length] != '/' || length >= sizeof part) return false;
    memcpy(part, include, length);
    part[length] = '\0';
    return strcmp(part, folder) == 0 || has_word(from, part, length);
}

/* Checks one file; returns its number of includes of ours. `own` is the path by which its folder includes itself. */
static int check_file(const char *path, const char *own, const char *from)
{
    char line[LINE_ROOM], include[256];
    int includes = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, " # include \"%255[^\"]\"", include) != 1) continue;
        includes++;
        size_t length = strlen(own);
        bool itself = strncmp(include, own, length) == 0 && include[length] == '/';
        itself |= strcmp(include, "cudasim.h") == 0; /* the simulated CUDA, in place of its <cuda_runtime.h> */
        if (!itself && !may_include("", from, include)) fail_msg("%s may not include \"%s\"", path, include);
    }
    fclose(file);
    return includes;
}

static bool ends_in(const char *name, const char *endings)
{
    const char *dot = strrchr(name, '.');
    return dot && has_word(endings, dot, strlen(dot));
}

static bool is_source(const char *name)
{
    return ends_in(name, ".c .h .def .cu .cuh");
}

/* All sources of a folder; returns their number. */
static int check_folder(const char *folder, const char *own, const char *from, int *includes)
{
    char path[LINE_ROOM];
    int files = 0;
    snprintf(path, sizeof path, "%s/%s", DRAM_SOURCE_DIR, folder);
    DIR *dir = opendir(path);
    if (!dir) return 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (!is_source(entry->d_name)) continue;
        snprintf(path, sizeof path, "%s/%s/%.255s", DRAM_SOURCE_DIR, folder, entry->d_name);
        *includes += check_file(path, own, from);
        files++;
    }
    closedir(dir);
    return files;
}

static void layers_include_what_they_may(void **state)
{
    (void)state;
    int files = 0, includes = 0;
    char folder[64];
    for (int i = 0; i < LAYERS; i++) {
        snprintf(folder, sizeof folder, "src/%s", layers[i].folder);
        files += check_folder(folder, layers[i].folder, layers[i].from, &includes);
    }
    assert_true(files > 50 && includes > 200); /* it did read the sources */
}

static void every_folder_is_a_layer(void **state)
{
    (void)state;
    DIR *dir = opendir(DRAM_SOURCE_DIR "/src");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        bool known = entry->d_name[0] == '.';
        for (int i = 0; i < LAYERS; i++) known |= strcmp(layers[i].folder, entry->d_name) == 0;
        if (!known) fail_msg("src/%s is no layer: name it in docs/design.md and here", entry->d_name);
    }
    closedir(dir);
}

static void kernels_know_base_alone(void **state)
{
    (void)state;
    int includes = 0;
    assert_true(check_folder("kernels/cpu", "kernels/cpu", "base", &includes) > 10);
    assert_true(check_folder("kernels/cuda", "kernels/cuda", "base", &includes) > 10);
    assert_true(includes > 20);
}

static int lines_of(const char *path)
{
    int lines = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be read", path);
    for (int c = getc(file); c != EOF; c = getc(file)) lines += c == '\n';
    fclose(file);
    return lines;
}

static int measured;

static int measure(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    if (type != FTW_F || !ends_in(path + at->base, ".c .h .def .cu .cuh .cpp .hpp .sh .py")) return 0;
    int lines = lines_of(path);
    if (lines > MAX_LINES) fail_msg("%s has %d lines, more than %d", path, lines, MAX_LINES);
    measured++;
    return 0;
}

static void no_file_is_long(void **state)
{
    (void)state;
    static const char *const folders[] = {"src", "kernels", "tests", "bench", "scripts"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[LINE_ROOM];
        snprintf(path, sizeof path, "%s/%s", DRAM_SOURCE_DIR, folders[i]);
        measured = 0;
        assert_int_equal(nftw(path, measure, 16, FTW_PHYS), 0);
        if (measured < 10) fail_msg("%s: only %d files were measured", path, measured);
    }
}

/* The order of the table is an order: no layer takes from a later one. */
static void order_is_kept(void **state)
{
    (void)state;
    for (int i = 0; i < LAYERS; i++)
        for (int later = i; later < LAYERS; later++)
            assert_false(has_word(layers[i].from, layers[later].folder, strlen(layers[later].folder)));
}

static void the_check_can_fail(void **state)
{
    (void)state;
    assert_true(may_include("", "base ir", "ir/graph.h"));
    assert_false(may_include("", "base ir", "io/json.h"));
    assert_false(may_include("", "base ir", "train/train.h"));
    assert_false(may_include("", "base ir", "graph.h"));
    assert_false(may_include("", "base", "bas/x.h"));
    assert_true(may_include("plan", "base", "plan/place.h"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_include_what_they_may),
        cmocka_unit_test(every_folder_is_a_layer),
        cmocka_unit_test(kernels_know_base_alone),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(no_file_is_long),
        cmocka_unit_test(the_check_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
