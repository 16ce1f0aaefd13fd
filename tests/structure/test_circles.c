/* No calls in a circle across files, and no headers that include each other in one.
 *
 * A file calls another when its object refers to a function that the other defines. References to data do not count:
 * the table of rules (ops/table.c) names every op's rules, and these call no one back. */
#include "structure/sources.h"

enum { MAX_NODES = 1024, MAX_SYMBOLS = 65536, TEXT_ROOM = 65536 };

typedef struct {
    int n;
    char name[MAX_NODES][MAX_PATH];
    bool edge[MAX_NODES][MAX_NODES], reach[MAX_NODES][MAX_NODES];
} graph;

static int node_of(graph *g, const char *name)
{
    for (int i = 0; i < g->n; i++)
        if (strcmp(g->name[i], name) == 0) return i;
    assert_true(g->n < MAX_NODES && strlen(name) < MAX_PATH);
    strcpy(g->name[g->n], name);
    return g->n++;
}

static void add_edge(graph *g, const char *from, const char *to)
{
    int a = node_of(g, from), b = node_of(g, to);
    if (a != b) g->edge[a][b] = true;
}

static void find_reach(graph *g)
{
    memcpy(g->reach, g->edge, sizeof g->reach);
    for (int k = 0; k < g->n; k++)
        for (int i = 0; i < g->n; i++)
            for (int j = 0; g->reach[i][k] && j < g->n; j++) g->reach[i][j] |= g->reach[k][j];
}

/* A circle that stays, by its files in their order, and why. */
typedef struct {
    const char *files, *reason;
} allowed_circle;

/* Appends every circle of g that is not allowed, a line each, and every allowed one that is not there. */
static void circles(graph *g, const allowed_circle *allowed, int n_allowed, char *out)
{
    static char files[TEXT_ROOM];
    bool seen[16] = {false};
    assert_true(n_allowed <= 16);
    find_reach(g);
    *out = '\0';
    for (int i = 0; i < g->n; i++) {
        bool first = g->reach[i][i];
        for (int j = 0; j < i; j++) first &= !(g->reach[i][j] && g->reach[j][i]);
        if (!first) continue;
        *files = '\0';
        for (int j = i; j < g->n; j++)
            if (g->reach[i][j] && g->reach[j][i]) sprintf(files + strlen(files), "%s%s", *files ? " " : "", g->name[j]);
        bool may = false;
        for (int a = 0; a < n_allowed; a++)
            if (strcmp(allowed[a].files, files) == 0) may = seen[a] = true;
        if (!may) snprintf(out + strlen(out), TEXT_ROOM - strlen(out), "\na circle: %s", files);
    }
    for (int a = 0; a < n_allowed; a++)
        if (!seen[a])
            snprintf(out + strlen(out), TEXT_ROOM - strlen(out), "\nno circle any more: %s", allowed[a].files);
}

/* ---- calls ---- */

typedef struct {
    int file; /* a node */
    char *name;
} symbol;

/* "CMakeFiles/dram_base.dir/./src/base/alloc.c.o" -> "src/base/alloc.c" */
static void file_of_object(char *object)
{
    char *start = strstr(object, ".dir/");
    if (start) start += strncmp(start, ".dir/./", 7) == 0 ? 7 : 5;
    if (start) memmove(object, start, strlen(start) + 1);
    size_t n = strlen(object);
    if (n > 2 && strcmp(object + n - 2, ".o") == 0) object[n - 2] = '\0';
}

static int by_symbol(const void *a, const void *b)
{
    return strcmp(((const symbol *)a)->name, ((const symbol *)b)->name);
}

/* Reads what `nm -A -P -g` prints, "OBJECT: NAME TYPE ...", into edges; returns how many functions are defined. */
static int read_symbols(graph *g, FILE *in)
{
    static symbol defined[MAX_SYMBOLS], used[MAX_SYMBOLS];
    static char line[TEXT_ROOM], name[TEXT_ROOM];
    int n_defined = 0, n_used = 0;
    char type;
    g->n = 0;
    while (fgets(line, sizeof line, in)) {
        char *colon = strstr(line, ": ");
        if (!colon || sscanf(colon + 2, "%65535s %c", name, &type) != 2) continue;
        *colon = '\0';
        file_of_object(line);
        if (type != 'T' && type != 'U') continue;
        assert_true(n_defined < MAX_SYMBOLS && n_used < MAX_SYMBOLS);
        symbol *s = type == 'T' ? &defined[n_defined++] : &used[n_used++];
        *s = (symbol){.file = node_of(g, line), .name = strdup(name)};
    }
    qsort(defined, (size_t)n_defined, sizeof *defined, by_symbol);
    memset(g->edge, 0, sizeof g->edge);
    for (int i = 0; i < n_used; i++) {
        symbol *to = bsearch(&used[i], defined, (size_t)n_defined, sizeof *defined, by_symbol);
        if (to) add_edge(g, g->name[used[i].file], g->name[to->file]);
        free(used[i].name);
    }
    for (int i = 0; i < n_defined; i++) free(defined[i].name);
    return n_defined;
}

static graph files;
static char text[TEXT_ROOM];

static void no_calls_in_a_circle(void **state)
{
    (void)state;
    static const allowed_circle allowed[] = {
        {"kernels/cpu/gemm.c kernels/cpu/gemm_low.c",
         "a product of low precision is widened block by block into one of f32"},
    };
    FILE *in = popen(DRAM_NM " -A -P -g @" DRAM_OBJECTS, "r");
    assert_non_null(in);
    int functions = read_symbols(&files, in);
    assert_int_equal(pclose(in), 0);
    assert_true(functions > 500 && files.n > 100);
    assert_true(files.edge[node_of(&files, "src/data/image.c")][node_of(&files, "src/data/decode_label.c")]);
    circles(&files, allowed, sizeof allowed / sizeof allowed[0], text);
    if (*text) fail_msg("calls:%s", text);
}

/* ---- includes ---- */

/* Adds what a header of this text includes, if it is one of dram. */
static void read_includes(graph *g, const char *header, char *source)
{
    char name[MAX_PATH], path[2 * MAX_PATH];
    for (char *line = strtok(source, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, " # include \"%255[^\"]\"", name) != 1) continue;
        snprintf(path, sizeof path, "%s%s", strncmp(name, "kernels/", 8) == 0 ? "" : "src/", name);
        add_edge(g, header, path);
    }
}

static void no_headers_in_a_circle(void **state)
{
    (void)state;
    static source_list headers;
    assert_true(sources_below(&headers, "src", ".h .def") > 50);
    assert_true(sources_below(&headers, "kernels", ".h .cuh") > 15);
    memset(&files, 0, sizeof files);
    for (int i = 0; i < headers.n; i++) {
        char *source = source_text(headers.path[i]);
        read_includes(&files, headers.path[i], source);
        free(source);
    }
    assert_true(files.edge[node_of(&files, "src/ir/graph.h")][node_of(&files, "src/base/tensor.h")]);
    circles(&files, NULL, 0, text);
    if (*text) fail_msg("includes:%s", text);
}

/* ---- the checks can fail ---- */

static void circles_are_found(void **state)
{
    (void)state;
    static const allowed_circle allowed[] = {{"d e", ""}, {"x y", ""}};
    memset(&files, 0, sizeof files);
    add_edge(&files, "a", "b");
    add_edge(&files, "b", "c");
    add_edge(&files, "c", "a");
    add_edge(&files, "c", "d");
    add_edge(&files, "d", "e");
    add_edge(&files, "e", "d");
    add_edge(&files, "e", "f");
    circles(&files, allowed, 1, text);
    assert_string_equal(text, "\na circle: a b c");
    circles(&files, allowed, 2, text);
    assert_string_equal(text, "\na circle: a b c\nno circle any more: x y");
    files.edge[node_of(&files, "c")][node_of(&files, "a")] = false;
    circles(&files, allowed, 1, text);
    assert_string_equal(text, "");
}

static void calls_are_told_from_data(void **state)
{
    (void)state;
    char symbols[] = "x.dir/src/a.c.o: first T 0 1\nx.dir/src/a.c.o: second U\nx.dir/src/a.c.o: table U\n"
                     "y.dir/src/b.c.o: second T 0 1\ny.dir/src/b.c.o: third U\n"
                     "y.dir/src/c.c.o: third T 0 1\ny.dir/src/c.c.o: table R 0 1\ny.dir/src/c.c.o: first U\n"
                     "y.dir/src/d.c.o: table D 0 1\ny.dir/src/d.c.o: first U\n";
    FILE *in = fmemopen(symbols, sizeof symbols - 1, "r");
    assert_non_null(in);
    assert_int_equal(read_symbols(&files, in), 3);
    fclose(in);
    circles(&files, NULL, 0, text);
    assert_string_equal(text, "\na circle: src/a.c src/b.c src/c.c");
}

static void includes_are_read(void **state)
{
    (void)state;
    char a[] = "#include <stdio.h>\n#include \"ir/b.h\"\n", b[] = "  # include \"ir/a.h\"\n";
    memset(&files, 0, sizeof files);
    read_includes(&files, "src/ir/a.h", a);
    read_includes(&files, "src/ir/b.h", b);
    circles(&files, NULL, 0, text);
    assert_string_equal(text, "\na circle: src/ir/a.h src/ir/b.h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_calls_in_a_circle), cmocka_unit_test(no_headers_in_a_circle),
        cmocka_unit_test(circles_are_found),    cmocka_unit_test(calls_are_told_from_data),
        cmocka_unit_test(includes_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
