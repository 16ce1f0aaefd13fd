/* Which layer includes which: what a compiler does not check. */
#include "structure/sources.h"

enum { LINE_ROOM = 4096 };

/* A folder below src/ includes from itself and from these, of which it needs every one. The order is docs/design.md's:
 * none names a later one. */
static const struct {
    const char *folder, *from;
} layers[] = {
    {"base", ""},
    {"config", "base"},
    {"ir", "base"},
    {"scratch", "base"},
    {"ops", "base ir scratch"},
    {"passes", "base ir"},
    {"plan", "base ir"},
    {"model", "base ir ops"},
    {"distill", "base ops model"},
    {"device", "base ir plan kernels"},
    {"io", "base"},
    {"data", "base"},
    {"synth", "base data"},
    {"comm", "base config device io"},
    {"session", "base config ir ops passes plan model distill device io comm"},
    {"feed", "base config io data comm session"},
    {"check", "base config io data session feed"},
    {"evaluate", "base config io data comm session feed"},
    {"report", "base ir plan io session feed check evaluate"},
    {"record", "base config io evaluate report"},
    {"train", "base config ir plan device io data comm session feed check evaluate report record"},
    {"export", "base io model report session train"},
    {"sweep", "base config io session feed"},
    {"launch", "base device io sweep"},
    {"page", "base config io session report train sweep"},
    {"cli", "base config device io comm synth session check evaluate report record train export sweep launch page"},
};
enum { LAYERS = sizeof layers / sizeof layers[0] };

static bool has_word(const char *words, const char *word, size_t length)
{
    for (const char *at = words; (at = strstr(at, word)); at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

/* Whether a file of `folder` may have this include. */
static bool may_include(const char *folder, const char *from, const char *include)
{
    char part[64];
    size_t length = strcspn(include, "/");
    if (include[length] != '/' || length >= sizeof part) return false;
    memcpy(part, include, length);
    part[length] = '\0';
    return strcmp(part, folder) == 0 || has_word(from, part, length);
}

/* The next `#include "..."` of a text into include[256], and *at behind it; false when there is none. */
static bool next_include(const char **at, char *include)
{
    while (**at) {
        bool found = **at != '\n' && sscanf(*at, " # include \"%255[^\"]\"", include) == 1;
        *at += strcspn(*at, "\n");
        *at += **at == '\n';
        if (found) return true;
    }
    return false;
}

/* Checks the sources of a folder; returns how many they are. `own` is the path by which the folder includes itself. */
static int check_folder(const char *folder, const char *own, const char *from, int *includes)
{
    static source_list list;
    char include[256];
    size_t length = strlen(own);
    list.n = 0;
    sources_below(&list, folder, ".c .h .def .cu .cuh");
    for (int i = 0; i < list.n; i++) {
        char *text = source_text(list.path[i]);
        for (const char *at = text; next_include(&at, include); ++*includes) {
            bool itself = strncmp(include, own, length) == 0 && include[length] == '/';
            itself |= strcmp(include, "cudasim.h") == 0; /* the simulated CUDA, in place of its <cuda_runtime.h> */
            if (!itself && !may_include("", from, include))
                fail_msg("%s may not include \"%s\"", list.path[i], include);
        }
        free(text);
    }
    return list.n;
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

/* Whether a source of the folder includes one of `from`. */
static bool is_used(const char *folder, const char *from)
{
    static source_list list;
    char path[64], include[256];
    bool used = false;
    size_t length = strlen(from);
    list.n = 0;
    snprintf(path, sizeof path, "src/%s", folder);
    sources_below(&list, path, ".c .h .def");
    for (int i = 0; i < list.n && !used; i++) {
        char *text = source_text(list.path[i]);
        for (const char *at = text; !used && next_include(&at, include);)
            used = strncmp(include, from, length) == 0 && include[length] == '/';
        free(text);
    }
    return used;
}

static void rows_name_what_is_used(void **state)
{
    (void)state;
    char words[256];
    for (int i = 0; i < LAYERS; i++) {
        snprintf(words, sizeof words, "%s", layers[i].from);
        for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
            if (!is_used(layers[i].folder, word))
                fail_msg("src/%s includes nothing of %s: take it out of the table", layers[i].folder, word);
    }
    assert_false(is_used("base", "train"));
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

static void kernels_know_base_and_scratch_alone(void **state)
{
    (void)state;
    int includes = 0;
    assert_true(check_folder("kernels/cpu", "kernels/cpu", "base scratch", &includes) > 10);
    assert_true(check_folder("kernels/cuda", "kernels/cuda", "base scratch", &includes) > 10);
    assert_true(includes > 20);
}

/* Takes the rows "| `src/X/` | ..." of a text in turn; whether they name the layers in their order, and no other. */
static bool names_the_layers(FILE *text)
{
    char line[LINE_ROOM], folder[64];
    int i = 0;
    while (fgets(line, sizeof line, text)) {
        if (sscanf(line, "| `src/%63[^/`]/` |", folder) != 1) continue;
        if (i == LAYERS || strcmp(folder, layers[i].folder) != 0) return false;
        i++;
    }
    return i == LAYERS;
}

static void the_design_names_the_layers(void **state)
{
    (void)state;
    FILE *text = fopen(DRAM_SOURCE_DIR "/docs/design.md", "r");
    assert_non_null(text);
    assert_true(names_the_layers(text));
    fclose(text);
    char wrong[] = "| `src/base/` | x |\n| `src/ir/` | y |\n";
    text = fmemopen(wrong, sizeof wrong - 1, "r");
    assert_non_null(text);
    assert_false(names_the_layers(text));
    fclose(text);
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
        cmocka_unit_test(rows_name_what_is_used),
        cmocka_unit_test(every_folder_is_a_layer),
        cmocka_unit_test(the_design_names_the_layers),
        cmocka_unit_test(kernels_know_base_and_scratch_alone),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(the_check_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
