/* How long a file may be, how many a folder has, and that each says its job. */
#include "structure/sources.h"

enum { MAX_IN_FOLDER = 16, MAX_LINES = 600 };

static source_list list;

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* Whether both lie in one folder. */
static bool are_beside(const char *a, const char *b)
{
    size_t n = (size_t)(name_of(a) - a);
    return n == (size_t)(name_of(b) - b) && memcmp(a, b, n) == 0;
}

/* Sources in the folder of `path`. */
static int in_folder_of(const char *path, const source_list *sources)
{
    int n = 0;
    for (int i = 0; i < sources->n; i++) n += are_beside(path, sources->path[i]);
    return n;
}

/* src/ops and src/model have one file a family. */
static void folders_are_small(void **state)
{
    (void)state;
    list.n = 0;
    assert_true(sources_below(&list, "src", ".c") > 100);
    for (int i = 0; i < list.n; i++) {
        const char *path = list.path[i];
        if (strncmp(path, "src/ops/", 8) == 0 || strncmp(path, "src/model/", 10) == 0) continue;
        int n = in_folder_of(path, &list);
        if (n > MAX_IN_FOLDER)
            fail_msg("%.*s has %d .c files, more than %d", (int)(name_of(path) - path - 1), path, n, MAX_IN_FOLDER);
    }
}

static int lines_of(const char *text)
{
    int lines = 0;
    for (; *text; text++) lines += *text == '\n';
    return lines;
}

static void files_are_short(void **state)
{
    (void)state;
    static const char *const folders[] = {"src", "kernels", "tests", "bench", "scripts"};
    list.n = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        assert_true(sources_below(&list, folders[i], ".c .h .def .cu .cuh .cpp .hpp .sh .py") >= 10);
    for (int i = 0; i < list.n; i++) {
        char *text = source_text(list.path[i]);
        int lines = lines_of(text);
        free(text);
        if (lines > MAX_LINES) fail_msg("%s has %d lines, more than %d", list.path[i], lines, MAX_LINES);
    }
}

/* Whether the text begins with a comment. */
static bool opens_with_comment(const char *text)
{
    return strncmp(text, "/*", 2) == 0 && isalpha((unsigned char)text[2 + strspn(text + 2, " *\n")]);
}

/* Whether a header of the same name lies beside the file. */
static bool has_header(const char *path, const source_list *headers)
{
    size_t n = strcspn(name_of(path), ".");
    for (int i = 0; i < headers->n; i++) {
        const char *header = headers->path[i];
        if (are_beside(path, header) && strcspn(name_of(header), ".") == n &&
            memcmp(name_of(path), name_of(header), n) == 0)
            return true;
    }
    return false;
}

/* Lists the sources that neither open with a comment nor have a header of their name, which does. */
static int check_openings(const char *folder, const char *endings, const char *header_endings, char *out, size_t size)
{
    static source_list headers;
    int n = 0;
    list.n = headers.n = 0;
    sources_below(&headers, folder, header_endings);
    sources_below(&list, folder, endings);
    for (int i = 0; i < headers.n + list.n; i++) {
        const char *path = i < headers.n ? headers.path[i] : list.path[i - headers.n];
        char *text = source_text(path);
        if (!opens_with_comment(text) && (i < headers.n || !has_header(path, &headers))) {
            snprintf(out + strlen(out), size - strlen(out), "\n%s", path);
            n++;
        }
        free(text);
    }
    return n;
}

static void every_file_says_its_job(void **state)
{
    (void)state;
    static char text[32768];
    int n = check_openings("src", ".c", ".h .def", text, sizeof text);
    n += check_openings("kernels", ".c .cu", ".h .cuh", text, sizeof text);
    n += check_openings("tests/support", ".c", ".h", text, sizeof text);
    n += check_openings("bench", ".c", ".h", text, sizeof text);
    if (n) fail_msg("%d files neither open with a comment nor have a header of their name that does:%s", n, text);
}

static void the_checks_can_fail(void **state)
{
    (void)state;
    assert_int_equal(lines_of("a\nb\n"), 2);
    list.n = 0;
    for (int i = 0; i < MAX_IN_FOLDER + 3; i++)
        sprintf(list.path[list.n++], "src/%s/%d.c", i < 2 ? "io" : i < 3 ? "io/in" : "ir", i);
    assert_int_equal(in_folder_of("src/io/x.c", &list), 2);
    assert_int_equal(in_folder_of("src/ir/x.c", &list), MAX_IN_FOLDER);
    assert_true(opens_with_comment("/* slots: what outlives a program. */\n#include <stdio.h>\n"));
    assert_true(opens_with_comment("/*\n * slots */\n"));
    assert_false(opens_with_comment("#include <stdio.h>\n/* slots */\n"));
    assert_false(opens_with_comment("/* */\n"));
    assert_true(has_header("src/ir/3.c", &list));
    assert_false(has_header("src/ir/2.c", &list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_short),
        cmocka_unit_test(folders_are_small),
        cmocka_unit_test(every_file_says_its_job),
        cmocka_unit_test(the_checks_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
