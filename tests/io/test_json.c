/* JSON files: what is written comes back checked, what is no JSON object is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "helpers.h"
#include "io/json.h"
#include "io/path.h"

static void json_comes_back_checked(void **state)
{
    const char *path = in_dir(state, "state.json"), *text;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "step", 500);
    cJSON_AddNumberToObject(root, "bytes", 7516192768.0);
    cJSON_AddNumberToObject(root, "loss", 0.1);
    cJSON_AddNumberToObject(root, "nan", NAN);
    cJSON_AddStringToObject(root, "name", "a \"quoted\" one");
    ok(dram_json_write(path, root));
    cJSON_Delete(root);
    int64_t step;
    double x;
    ok(dram_json_read(path, &root));
    ok(dram_json_int(root, path, "step", 0, 500, &step));
    assert_int_equal(step, 500);
    ok(dram_json_int(root, path, "bytes", 0, INT64_MAX, &step));
    assert_int_equal(step, 7516192768);
    ok(dram_json_number(root, path, "loss", &x));
    assert_true(x == 0.1);
    ok(dram_json_text(root, path, "name", &text));
    assert_string_equal(text, "a \"quoted\" one");
    fails(dram_json_int(root, path, "epoch", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: epoch is missing");
    fails(dram_json_int(root, path, "name", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: name is not a number");
    fails(dram_json_int(root, path, "loss", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: loss is not an integer");
    fails(dram_json_int(root, path, "step", 0, 499, &step), DRAM_ERR_FORMAT,
          "state.json: step is 500, not in 0 .. 499");
    fails(dram_json_number(root, path, "nan", &x), DRAM_ERR_FORMAT, "state.json: nan is not a number");
    fails(dram_json_text(root, path, "step", &text), DRAM_ERR_FORMAT, "state.json: step is not text");
    cJSON_Delete(root);
}

static void bad_json_is_refused(void **state)
{
    static const struct {
        const char *content, *text;
    } bad[] = {{"", "bad.json:1: not JSON"},           {"{\n\"a\": 1,\n}", "bad.json:3: not JSON"},
               {"{}\n x", "bad.json:2: not JSON"},     {"{} {}", "bad.json:1: not JSON"},
               {"[1]", "bad.json: not a JSON object"}, {"null", "bad.json: not a JSON object"}};
    const char *path = in_dir(state, "bad.json");
    cJSON *root;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_file(path, bad[i].content, strlen(bad[i].content));
        fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, bad[i].text);
        assert_null(root);
    }
    put_file(path, "{}\0{", 4);
    fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, "bad.json:1: not JSON");
    put_file(path, " {} \n\t", 6);
    ok(dram_json_read(path, &root));
    cJSON_Delete(root);
    assert_int_equal(truncate(path, (64 << 20) + 1), 0); /* a hole: takes no disk */
    fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, "bad.json: too large for a JSON file (67108865 bytes)");
    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    fails(dram_json_read(in_dir(state, "pipe"), &root), DRAM_ERR_CONFIG, "pipe: cannot open: not a file: a pipe");
    fails(dram_json_read(*state, &root), DRAM_ERR_CONFIG, ": cannot open: not a file: a folder");
    fails(dram_json_read(in_dir(state, "absent.json"), &root), DRAM_ERR_CONFIG,
          "absent.json: cannot open: No such file or directory");
}

/* A file's name is bytes; JSON is UTF-8. Control characters are JSON's own to escape. */
static void names_that_are_not_utf8(void **state)
{
    const char *path = in_dir(state, "names.json"), *text;
    cJSON *root = cJSON_CreateObject();
    assert_true(dram_json_add_text(root, "good", "\xc3\xa4\x1b.jpg") &&
                dram_json_add_text(root, "bad", "\xc3\xa4\xe4\xff.jpg"));
    ok(dram_json_write(path, root));
    cJSON_Delete(root);
    size_t bytes;
    uint32_t code;
    char *file = get_file(path, &bytes);
    for (size_t at = 0, n; at < bytes; at += n) assert_true((n = (size_t)dram_utf8(file + at, &code)) > 0);
    assert_non_null(strstr(file, "\"\xc3\xa4\\u001b.jpg\""));
    free(file);
    ok(dram_json_read(path, &root));
    ok(dram_json_text(root, path, "good", &text));
    assert_string_equal(text, "\xc3\xa4\x1b.jpg");
    ok(dram_json_text(root, path, "bad", &text));
    assert_string_equal(text, "\xc3\xa4\\xE4\\xFF.jpg");
    cJSON_Delete(root);
}

static dram_status try_json(void **state)
{
    cJSON *root;
    TRY(dram_json_read(in_dir(state, "oom/in.json"), &root));
    dram_status status = dram_json_write(in_dir(state, "oom/out.json"), root);
    cJSON_Delete(root);
    return status;
}

static void out_of_memory_at_every_request(void **state)
{
    static const char json[] = "{\"a\": [1, {\"b\": \"c\"}]}";
    ok(dram_make_folders(in_dir(state, "oom")));
    put_file(in_dir(state, "oom/in.json"), json, sizeof json - 1);
    out_of_memory_everywhere(try_json, state);
    assert_file_is(in_dir(state, "oom/out.json"), "{\n\t\"a\":\t[1, {\n\t\t\t\"b\":\t\"c\"\n\t\t}]\n}\n", 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_comes_back_checked),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(names_that_are_not_utf8),
        cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
