/* No public name stands in two headers of src and kernels: no type, function, variable, macro or enum constant.
 *
 * A forward `typedef struct x x;` counts as a place: the header that has x is to be included instead. The other way
 * round, a header that includes the forward one may say what the struct holds: it is then the same type. */
#include "structure/names.h"

static void no_name_stands_in_two_headers(void **state)
{
    (void)state;
    static source_list headers;
    reader *r = reader_open();
    headers.n = 0;
    assert_true(sources_below(&headers, "src", ".h") > 50);
    assert_true(sources_below(&headers, "kernels", ".h .cuh") > 15);
    for (int pass = 0; pass < 2; pass++) { /* in the second the macros of every header are known */
        r->names = r->includes = 0;
        for (int i = 0; i < headers.n; i++) {
            char *text = source_text(headers.path[i]);
            read_header(r, headers.path[i], text);
            free(text);
        }
    }
    static const char *const known[] = {
        "dram_graph",    "DRAM_OP_relu", "DRAM_OK",        "dram_last",           "TRY",
        "dram_rng_make", "DRAM_WARP",    "dram_map_block", "dram_precision_word", "dram_cpu_DRAM_CPU_VARIANT_gemm",
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!has_name(r, known[i])) fail_msg("%s was not found: the headers were not read", known[i]);
    dram_str text = {0};
    if (clashes(r, &text)) fail_msg("public names that clash:%s", text.text);
    reader_close(r);
}

/* Whether two headers of these texts clash, and in `name`. */
static bool clash_in(const char *name, const char *a, const char *b)
{
    reader *r = reader_open();
    dram_str text = {0};
    char want[NAME_ROOM], *first = strdup(a), *second = strdup(b);
    read_header(r, "a.h", first);
    read_header(r, "b.h", second);
    snprintf(want, sizeof want, "\n%s stands in a.h and in b.h", name ? name : "");
    int n = clashes(r, &text);
    bool is_it = name ? n == 1 && strcmp(text.text, want) == 0 : n > 0;
    dram_str_free(&text);
    free(first);
    free(second);
    reader_close(r);
    return is_it;
}

static void every_kind_of_clash_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *name, *a, *b;
    } cases[] = {
        {"point", "typedef struct { int x; } point;", "typedef int point;"},
        {"point", "typedef struct point { int x; } point;", "typedef struct point point;"},
        {"point", "struct point { int x; };", "int point(int x);"},
        {"point", "typedef struct point point;", "struct point { int x; };"},
        {"point", "typedef struct point point;", "#include \"a.h\"\ntypedef struct point point;"},
        {"area", "int area(int x);", "static inline int area(int x)\n{\n    return x;\n}"},
        {"area", "int area(int x);", "extern const int area[];"},
        {"area", "typedef int (*area)(int x);", "int *area(void) __attribute__((pure));"},
        {"AREA", "#define AREA(x) (x)", "enum { NONE, AREA = 3 };"},
        {"AREA", "typedef enum { AREA, LINE } kind;", "enum { AREA };"},
        {"KIND_A",
         "#define LIST(X) \\\n    X(A) \\\n    X(B)\ntypedef enum {\n#define X(ID) KIND_##ID,\n    LIST(X)\n#undef "
         "X\n} kind;",
         "#define KIND_A 1"},
        {"area", "template <typename T> static inline T area(T x)\n{\n    return x;\n}", "int area(int x);"},
        {"area", "extern \"C\" {\nint area(int x);\n}", "namespace n {\nint area(int x);\n}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (!clash_in(cases[i].name, cases[i].a, cases[i].b)) fail_msg("case %zu: no clash of %s", i, cases[i].name);
}

static void what_is_no_public_name_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
    } cases[] = {
        {"/* int area(int x); */", "int area(int x); // and area"},
        {"#ifndef AREA_H\n#define AREA_H\n#endif", "#ifndef AREA_H\n#define AREA_H\n#endif"},
        {"#define X(A) A\n#undef X", "#define X(A) A\n#undef X"},
        {"struct a { int x; };", "struct b { int x; };"},
        {"int area(int x);", "int volume(int area);"},
        {"static inline int a(void)\n{\n    int x = 1;\n    return x;\n}",
         "static inline int b(void)\n{\n    int x = 2;\n    return x;\n}"},
        {"typedef struct point { int x; } point;", "struct point *point_of(const struct point *p);"},
        {"int area(int x);\nint area(int x);", "const char *const word = \"int area(int x);\";"},
        {"typedef struct point point;", "#include \"a.h\"\nstruct point { int x; };"},
        {"template <typename T> struct kind { int n; };", "template <> struct kind<float> { int n; };"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (clash_in(NULL, cases[i].a, cases[i].b)) fail_msg("case %zu clashes", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_name_stands_in_two_headers),
        cmocka_unit_test(every_kind_of_clash_is_found),
        cmocka_unit_test(what_is_no_public_name_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
