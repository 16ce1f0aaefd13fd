/* dram check, and what other commands say of the data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pty.h>

#include "cli/commands.h"
#include "data/image.h"

enum { SCENES = 6 };

static int setup(void **state)
{
    return dram_setup(state, SCENES);
}

/* A grey label of one value in place of a scene's. */
static void put_value(void **state, const char *name, int value, int height, int width)
{
    uint8_t *ids = malloc((size_t)height * (size_t)width);
    assert_non_null(ids);
    memset(ids, value, (size_t)height * (size_t)width);
    assert_int_equal(dram_label_write_png(in_dir(state, name), ids, height, width), DRAM_OK);
    free(ids);
}

static const cJSON *object_of(const cJSON *object, const char *key)
{
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsObject(o)) fail_msg("%s is no object", key);
    return o;
}

static void a_page(void **state)
{
    dram_ok(state, "check run.yaml");
    assert_string_equal(complained, "");
    assert_int_equal(strncmp(printed, "train: 6 images, 6 labels, 6 pairs\n", 35), 0);
    assert_non_null(strstr(printed, "\nval: 6 images, 6 labels, 6 pairs\n"));
    assert_non_null(strstr(printed, "  looked at          all images, every pixel of all labels\n"));
    assert_non_null(strstr(printed, "\na run would train on 6 images, 6 of them with a label, and evaluate on 6\n"));
    char *first = strdup(printed);
    dram_ok(state, "check run.yaml");
    assert_non_null(strstr(printed, "every pixel of all labels (12 files as they were known)\n"));
    free(first);
    dram_ok(state, "check run.yaml data.check=none");
    assert_non_null(strstr(printed, "  looked at          nothing but the names (data.check: none)\n"));
    dram_ok(state, "check --help");
    assert_non_null(strstr(printed, "--json"));
    dram_fails(state, "check run.yaml --jsn", 2, "did you mean --json");
}

static void as_json(void **state)
{
    dram_ok(state, "check run.yaml --json");
    assert_string_equal(complained, "");
    cJSON *root = printed_json();
    const cJSON *data = object_of(root, "data"), *train = object_of(data, "train");
    assert_string_equal(text_of(data, "check"), "full");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(data, "sampled")));
    assert_true(number_of(train, "images") == SCENES && number_of(train, "pairs") == SCENES);
    assert_true(number_of(object_of(train, "bad_labels"), "count") == 0);
    double pixels = 0;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(train, "class_pixels"), *item;
    assert_int_equal(cJSON_GetArraySize(list), 12);
    cJSON_ArrayForEach(item, list) pixels += item->valuedouble;
    const cJSON *largest = object_of(train, "largest");
    assert_true(pixels == number_of(train, "labelled_pixels"));
    assert_true(pixels + number_of(train, "void_pixels") ==
                SCENES * number_of(largest, "height") * number_of(largest, "width"));
    assert_true(cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(root, "warnings")));
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "refused")));
    cJSON_Delete(root);
    dram_ok(state, "check run.yaml --json data.val.images=none data.val.labels=none");
    root = printed_json();
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object_of(root, "data"), "val")));
    cJSON_Delete(root);
}

static void what_a_run_cannot_begin_with(void **state)
{
    int code = dram(state, "check run.yaml data.classes=3");
    assert_int_equal(code, 2);
    assert_non_null(strstr(printed, "\na run would not begin\n"));
    assert_non_null(strstr(printed, "  bad labels         "));
    assert_non_null(strstr(complained, "dram: run.yaml:"));
    assert_non_null(strstr(complained, "data.train.labels: "));
    assert_non_null(strstr(complained, " of 6 images cannot be used, more than 10 %; the first: "));
    assert_ptr_equal(strchr(complained, '\n'), complained + strlen(complained) - 1);
    code = dram(state, "check run.yaml --json data.classes=3");
    assert_int_equal(code, 2);
    cJSON *root = printed_json();
    assert_non_null(strstr(text_of(root, "refused"), "cannot be used"));
    cJSON_Delete(root);
    /* A run says the same, before it makes anything. */
    code = dram(state, "train run.yaml name=none data.classes=3 device=cpu");
    assert_int_equal(code, 2);
    assert_non_null(strstr(complained, " of 6 images cannot be used, more than 10 %; the first: "));
    assert_false(is_there(in_dir(state, "runs/none")));
    /* Without looking it surfaces when it is drawn. */
    code = dram(state, "train run.yaml name=late data.classes=3 data.check=none device=cpu");
    assert_true(code != 0);
    assert_null(strstr(complained, "cannot be used, more than 10 %"));
    code = dram(state, "check run.yaml data.train.images=nowhere data.val.images=none data.val.labels=none");
    assert_int_equal(code, 2);
    assert_non_null(strstr(printed, "train: refused: "));
    assert_non_null(strstr(complained, "nowhere"));
}

/* At most six lines for train and val together. */
static void the_first_screen_of_a_run(void **state)
{
    dram_ok(state, "train run.yaml device=cpu");
    const char *line = strstr(printed, "\ntrain: 6 images, 6 labels, 6 pairs, ");
    assert_non_null(line);
    int lines = 0, val = 0;
    for (line++; strncmp(line, "train: ", 7) == 0 || strncmp(line, "val: ", 5) == 0 || strncmp(line, "       ", 7) == 0;
         line = strchr(line, '\n') + 1) {
        lines++;
        val += strncmp(line, "val: 6 images, 6 labels, 6 pairs, ", 34) == 0;
    }
    assert_int_equal(val, 1);
    assert_in_range(lines, 4, 6);
    cJSON *root;
    assert_int_equal(dram_json_read(in_dir(state, "runs/net/summary.json"), &root), DRAM_OK);
    const cJSON *data = object_of(root, "data"), *train = object_of(data, "train");
    assert_string_equal(text_of(data, "check"), "auto");
    assert_true(number_of(train, "images") == SCENES && number_of(train, "labels_read") == SCENES);
    assert_true(number_of(object_of(data, "val"), "images") == SCENES);
    cJSON_Delete(root);
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors device=cpu");
    assert_int_equal(strncmp(printed, "val: 6 images, 6 labels, 6 pairs, ", 34), 0);
    assert_null(strstr(printed, "train: "));
}

/* Ctrl-C while the bar moves, on a terminal of its own. */
static void interrupted(void **state)
{
    enum { LINKS = 3000, SIDE = 1500 };
    char link[64], seen[1 << 16] = "",
                             *argv[] = {(char *)(uintptr_t) "dram", (char *)(uintptr_t) "check",
                                        (char *)(uintptr_t) "links.yaml", NULL};
    static const char yaml[] =
        "base: run.yaml\n"
        "data: {train: {images: l/images, labels: l/labels}, val: {images: none, labels: none}}\n";
    uint8_t *rgb = calloc(SIDE * SIDE, 3);
    assert_non_null(rgb);
    mkdir(in_dir(state, "l"), 0777);
    mkdir(in_dir(state, "l/images"), 0777);
    mkdir(in_dir(state, "l/labels"), 0777);
    assert_int_equal(dram_image_write_jpeg(in_dir(state, "one.jpg"), rgb, SIDE, SIDE, 50), DRAM_OK);
    free(rgb);
    put_value(state, "one.png", 1, SIDE, SIDE);
    put_file(in_dir(state, "links.yaml"), yaml, sizeof yaml - 1);
    for (int i = 0; i < LINKS; i++) {
        char path[4500];
        for (int label = 0; label < 2; label++) {
            snprintf(link, sizeof link, "../../one.%s", label ? "png" : "jpg");
            snprintf(path, sizeof path, "%s/l/%s/%04d.%s", (const char *)*state, label ? "labels" : "images", i,
                     label ? "png" : "jpg");
            assert_int_equal(symlink(link, path), 0);
        }
    }
    int terminal, how;
    fflush(NULL);
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        if (chdir(*state) != 0) _exit(99);
        execv(DRAM_PROGRAM, argv);
        _exit(99);
    }
    size_t n = 0;
    bool sent = false;
    for (;;) {
        ssize_t more = read(terminal, seen + n, sizeof seen - 1 - n);
        if (more <= 0) break; /* it has ended */
        n = n + (size_t)more < sizeof seen / 2 ? n + (size_t)more : n;
        seen[n] = '\0';
        if (!sent && strstr(seen, " of 3000 images")) {
            assert_int_equal(write(terminal, "\x03", 1), 1);
            sent = true;
        }
    }
    assert_true(sent);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 130);
    assert_non_null(strstr(seen, "dram: interrupted while looking at the data"));
    close(terminal);
    /* What had been looked at is kept. */
    assert_true(is_there(in_dir(state, "l/labels/.dram-check")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page),
        cmocka_unit_test(as_json),
        cmocka_unit_test(what_a_run_cannot_begin_with),
        cmocka_unit_test(the_first_screen_of_a_run),
        cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
