/* Names and maps of classes in what dram prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

static int setup(void **state)
{
    static const char named[] =
        "base: run.yaml\n"
        "device: cpu\n"
        "data:\n"
        "  class_names: [sky, b1, b2, b3, b4, b5, b6, b7, b8, b9, \"Fu\\u00dfg\\u00e4nger\", \"a\\nb\"]\n";
    static const char mapped[] = "base: run.yaml\n"
                                 "data:\n"
                                 "  class_map:\n"
                                 "    \"#804080\": 7\n"
                                 "    128,64,0: 255\n";
    if (dram_setup(state, 2) != 0) return -1;
    put_file(in_dir(state, "named.yaml"), named, sizeof named - 1);
    put_file(in_dir(state, "mapped.yaml"), mapped, sizeof mapped - 1);
    dram_ok(state, "train named.yaml train.steps=1");
    return strstr(complained, "warning: class") && !strstr(complained, "class 1") ? 0 : -1;
}

static void an_evaluation_names_its_classes(void **state)
{
#define EVAL "eval named.yaml --weights runs/net/student.safetensors"
    dram_ok(state, EVAL);
    assert_non_null(strstr(printed, "\n  class 0    sky        IoU 0."));
    assert_non_null(strstr(printed, "\n  class 10   Fu\xc3\x9fg\xc3\xa4nger  "));
    assert_non_null(strstr(printed, "\n  class 11   a\\x0Ab  "));
    dram_ok(state, EVAL " --save-predictions new/pred");
    assert_non_null(strstr(printed, "\n  class 0    sky        #0000ff  IoU 0."));
    dram_ok(state, EVAL " --json");
    cJSON *root = printed_json();
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(root, "class_names");
    assert_int_equal(cJSON_GetArraySize(names), 12);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "class_iou")), 12);
    assert_string_equal(cJSON_GetArrayItem(names, 10)->valuestring, "Fu\xc3\x9fg\xc3\xa4nger");
    assert_string_equal(cJSON_GetArrayItem(names, 11)->valuestring, "a\nb");
    cJSON_Delete(root);
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors --json device=cpu");
    root = printed_json();
    assert_false(cJSON_HasObjectItem(root, "class_names"));
    cJSON_Delete(root);
}

/* What dram config prints is a config that it prints again. */
static void configs_round_trip(void **state)
{
    static const char *const args[] = {"config named.yaml", "config mapped.yaml",
                                       "config run.yaml data.class_map={} data.class_names=[] task.enabled=true"};
    static const char *const lines[] = {
        "\n  class_names: [sky, b1, b2, b3, b4, b5, b6, b7, b8, b9, \"Fu\xc3\x9fg\xc3\xa4nger\", \"a\\u000ab\"]\n",
        "\n  class_map: {\"#804000\": 255, \"#804080\": 7}\n", "\n  class_map: {}\n"};
    for (int i = 0; i < 3; i++) {
        dram_ok(state, args[i]);
        if (!strstr(printed, lines[i])) fail_msg("%s is not in %s", lines[i], printed);
        char *first = strdup(printed);
        assert_non_null(first);
        put_file(in_dir(state, "again.yaml"), first, strlen(first));
        dram_ok(state, "config again.yaml");
        assert_string_equal(printed, first);
        free(first);
    }
    dram_fails(state, "config mapped.yaml data.classes=5", 2,
               "mapped.yaml:4:5: data.class_map: #804080 is to be class 7, which is neither below data.classes, 5, nor "
               "data.ignore_index, 255");
    dram_fails(state, "config run.yaml data.class_map={255:1}", 2,
               "command line: data.class_map: write a space after each colon: {255: 1}");
    dram_fails(state, "config run.yaml data.class_names=[a,b]", 2,
               "command line: data.class_names: there are 2 names, and data.classes is 12; name every class");
    dram_ok(state, "config mapped.yaml task.enabled=false");
    assert_non_null(strstr(complained, "data.class_map (mapped.yaml:4:5) has no effect"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_evaluation_names_its_classes),
        cmocka_unit_test(configs_round_trip),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
