/* Names as people have them: pipes where a file is meant, the home folder, bytes that are no text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "cli/commands.h"

static int setup(void **state)
{
    return dram_setup(state, 4);
}

/* Nobody writes to this pipe: what opens it as a file would be waited for until ctest ends the test. */
static void pipes_are_not_waited_for(void **state)
{
    static const char *const cases[][2] = {
        {"plan pipe", "dram: pipe: not a file: a pipe"},
        {"plan based.yaml", "dram: based.yaml:1:7: base: pipe: not a file: a pipe"},
        {"train run.yaml device=cpu name=a student.weights=pipe", "/pipe: cannot open: not a file: a pipe"},
        {"train run.yaml device=cpu name=a sam_distill.teacher.weights=pipe", "/pipe: cannot open: not a file: a pipe"},
        {"train run.yaml device=cpu name=a data.train.images=piped",
         "/piped/00001.png: no image can be read here: not a file: a pipe; and no other image is left"},
        {"train run.yaml device=cpu name=a data.train.labels=piped data.labels_optional=true",
         "/piped/00001.png: no label can be read here: not a file: a pipe"},
        {"eval run.yaml device=cpu --weights pipe", "pipe: cannot open: not a file: a pipe"},
        {"features run.yaml device=cpu --weights none --out out pipe", "pipe: not a file"},
        {"plan run.yaml memory.profile=pipe", "pipe: cannot open: not a file: a pipe"},
    };
    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    assert_int_equal(mkdir(in_dir(state, "piped"), 0777), 0);
    assert_int_equal(mkfifo(in_dir(state, "piped/b.jpg"), 0666), 0);
    assert_int_equal(mkfifo(in_dir(state, "piped/00001.png"), 0666), 0);
    put_file(in_dir(state, "based.yaml"), "base: pipe\n", 11);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = dram(state, cases[i][0]);
        if (code != 2 || !strstr(complained, cases[i][1]))
            fail_msg("dram %s: exit code %d, \"%s\" instead of \"%s\"", cases[i][0], code, complained, cases[i][1]);
    }
}

/* Neither a warning nor an error nor JSON takes a name's bytes as they are. */
static void names_are_escaped(void **state)
{
    assert_int_equal(mkdir(in_dir(state, "odd"), 0777), 0);
    put_file(in_dir(state, "odd/\x1b]0;x\x07\xff.txt"), "", 0);
    put_file(in_dir(state, "odd/\x1b[31m\n\xe4.jpg"), "", 0);
    dram_ok(state, "train run.yaml device=cpu train.steps=1 run.eval_every=0");
    assert_int_equal(dram(state, "eval run.yaml device=cpu --weights runs/net/student.safetensors data.val.images=odd "
                                 "data.val.labels=none"),
                     2);
    assert_non_null(strstr(complained, "\\x1B]0;x\\x07\\xFF.txt"));
    assert_non_null(strstr(complained, "\\x1B[31m\\x0A\\xE4.jpg"));
    for (const char *p = complained; *p; p++) assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
    char args[512], *image = get_file(in_dir(state, "scenes/images/00001.jpg"), NULL);
    free(image);
    assert_int_equal(rename(in_dir(state, "scenes/images/00001.jpg"), in_dir(state, "odd/\x1b\xe4.jpg")), 0);
    for (int json = 0; json < 2; json++) {
        snprintf(args, sizeof args,
                 "features run.yaml device=cpu --weights runs/net/student.safetensors --out out%s odd/\x1b\xe4.jpg",
                 json ? " --json" : "");
        dram_ok(state, args);
        uint32_t code;
        for (const char *p = printed; *p; p += dram_utf8(p, &code)) assert_true(dram_utf8(p, &code) > 0);
        assert_null(strchr(printed, '\x1b'));
    }
    cJSON *root = printed_json(), *first = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "images"), 0);
    assert_string_equal(text_of(first, "image"), "odd/\x1b\\xE4.jpg");
    assert_string_equal(text_of(first, "picture"), "out/\x1b\\xE4.png");
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipes_are_not_waited_for),
        cmocka_unit_test(names_are_escaped),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
