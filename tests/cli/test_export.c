/* dram export as a command: what it says, and its exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "export/weights.h"
#include "support/full_disk.h"

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    write_student(state, "net", "regnetx_002", 3);
    return 0;
}

static int teardown(void **state)
{
    free(printed);
    free(complained);
    return tempdir_remove(state);
}

/* It must fail with this exit code, one line that holds `text`, and without a trace of a file. */
static void refuses(void **state, const char *command, int code, const char *text)
{
    if (dram(state, command) != code || !strstr(complained, text))
        fail_msg("%s: \"%s\" instead of \"%s\"", command, complained, text);
    assert_string_equal(strchr(complained, '\n'), "\n");
    assert_false(is_there(in_dir(state, "x.onnx")));
    assert_int_equal(temporaries(*state), 0);
}

static void words_that_mean_nothing_are_refused(void **state)
{
    refuses(state, "export net/student.safetensors", 2, "as what? --onnx FILE, --timm DIR, --sam FILE");
    refuses(state, "export --onnx x.onnx", 2, "an argument is missing");
    refuses(state, "export net/student.safetensors a b --onnx x.onnx", 2, "what is \"b\"?");
    refuses(state, "export net/student.safetensors data.size=64 --onnx x.onnx", 2, "what is \"data.size=64\"?");
    refuses(state, "export net/student.safetensors --onnx x.onnx --output mask", 2,
            "--output mask: it is one of features, embedding, logits");
    refuses(state, "export net/student.safetensors --timm x.onnx --size big", 2, "--size big: a side in pixels");
    refuses(state, "export net/student.safetensors --timm x.onnx --size 100", 2, "--size 100: ");
    refuses(state, "export net/student.safetensors --timm x.onnx --onnx x.onnx", 2, "export: x.onnx is given twice");
    refuses(state, "export nothing --timm x.onnx", 2, "nothing: there is no such run or file");
}

/* An option that nothing reads would be ignored. */
static void options_without_their_target_are_refused(void **state)
{
    static const char *const options[] = {"--output features", "--input-name x", "--with-preprocess", "--dynamic-batch",
                                          "--half"};
    char command[200];
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        snprintf(command, sizeof command, "export net/student.safetensors --timm t %s", options[i]);
        refuses(state, command, 2, " is for --onnx FILE, which is not given");
    }
    assert_false(is_there(in_dir(state, "t")));
}

static void an_export_is_written_once(void **state)
{
    static const char command[] = "export net/student.safetensors --size 64 --onnx ./y.onnx";
    size_t bytes;
    if (DRAM_TEST_ONNX) {
        dram_ok(state, command);
        assert_string_equal(printed, "ONNX  ./y.onnx\n");
        char *data = get_file(in_dir(state, "y.onnx"), &bytes);
        assert_true(bytes > 10000000); /* 2.3 million weights of the trunk, and the neck's */
        assert_int_equal(dram(state, command), 2);
        assert_non_null(strstr(complained, "--onnx ./y.onnx: it is there already"));
        assert_file_is(in_dir(state, "y.onnx"), data, bytes);
        free(data);
    } else {
        refuses(state, command, 2, "this dram was built without ONNX: install libprotobuf-c-dev");
    }
}

static void a_full_disk_is_no_mistake_of_the_command(void **state)
{
    if (!DRAM_TEST_ONNX) skip();
    file_limit before = limit_files(1 << 20);
    int code = dram(state, "export net/student.safetensors --size 64 --onnx x.onnx");
    unlimit_files(before);
    assert_int_equal(code, 1);
    assert_non_null(strstr(complained, "x.onnx: cannot write"));
    assert_false(is_there(in_dir(state, "x.onnx")));
    assert_int_equal(temporaries(*state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_mean_nothing_are_refused),
        cmocka_unit_test(options_without_their_target_are_refused),
        cmocka_unit_test(an_export_is_written_once),
        cmocka_unit_test(a_full_disk_is_no_mistake_of_the_command),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
