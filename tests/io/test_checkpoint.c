/* The hashes of a checkpoint: what they are of, what has none, and what is put aside. test_damage.c has the bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/checkpoint.h"
#include "io/helpers.h"
#include "io/json.h"
#include "io/path.h"

static const char *const files[] = {"config.yaml", "empty", "state.json", "student.safetensors"};
enum { WRITTEN = 4, MOST = 4096 };

/* A sealed folder of a text, a file of zeros, an empty one, and bytes of all kinds. */
static const char *sealed(void **state, const char *name)
{
    char path[300];
    uint8_t bytes[MOST];
    const char *folder = in_dir(state, name);
    for (int i = 0; i < MOST; i++) bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    ok(dram_make_folders(folder));
    static const char *const content[WRITTEN] = {"optim: {lr: 1}\n", "", "\0\0\0\0\0\0\0\0", NULL};
    static const size_t length[WRITTEN] = {15, 0, 8, MOST};
    for (int i = 0; i < WRITTEN; i++) {
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        put_file(in_dir(state, path), content[i] ? (const void *)content[i] : bytes, length[i]);
    }
    cJSON *root = cJSON_CreateObject();
    assert_non_null(cJSON_AddStringToObject(root, "version", "0.1.0"));
    ok(dram_checkpoint_seal(folder, root));
    cJSON_Delete(root);
    return folder;
}

/* Damaged, and the file is named. */
static void found_in(const char *folder, const char *file)
{
    char want[5000];
    cJSON *root;
    dram_status status = dram_checkpoint_verify(folder, NULL, &root);
    snprintf(want, sizeof want, "%s/%s: ", folder, file);
    assert_null(root);
    if (status != DRAM_ERR_FORMAT || strncmp(dram_error_text(), want, strlen(want)) != 0)
        fail_msg("%s: status %d, \"%s\"", file, (int)status, dram_error_text());
    dram_error_clear();
}

static void sound(const char *folder)
{
    cJSON *root;
    ok(dram_checkpoint_verify(folder, NULL, &root));
    assert_non_null(root);
    cJSON_Delete(root);
}

/* A sealed text in place of another's, and one whose members are of another kind. */
static void sealed_but_not_a_checkpoint(void **state)
{
    const char *folder = sealed(state, "step-00000003"), *file = in_dir(state, "step-00000003/checkpoint.json");
    static const char *const text[] = {"{}",
                                       "{\"files\": 3}",
                                       "{\"files\": {}}",
                                       "{\"files\": []}",
                                       "{\"files\": {\"config.yaml\": 7}}",
                                       "{\"files\": {\"config.yaml\": \"\"}}"};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        cJSON *root;
        ok(dram_json_parse(text[i], strlen(text[i]), &root, NULL));
        ok(dram_json_write_sealed(file, root));
        cJSON_Delete(root);
        found_in(folder, i < 4 ? "checkpoint.json" : "config.yaml");
    }
}

/* One without hashes, as older drams saved them, is nothing that can be checked. */
static void without_hashes(void **state)
{
    const char *folder = sealed(state, "step-00000004");
    cJSON *root;
    assert_int_equal(remove(in_dir(state, "step-00000004/checkpoint.json")), 0);
    found_in(folder, "checkpoint.json");
    assert_int_equal(remove(in_dir(state, "step-00000004/config.yaml")), 0);
    ok(dram_checkpoint_verify(folder, NULL, &root));
    assert_null(root);
}

/* The same folder gives the same bytes; what is put beside later is nobody's damage. */
static void the_same_bytes(void **state)
{
    size_t n, m;
    sound(sealed(state, "step-00000005"));
    put_file(in_dir(state, "step-00000005/notes.txt"), "mine", 4);
    sound(in_dir(state, "step-00000005"));
    assert_int_equal(remove(in_dir(state, "step-00000005/notes.txt")), 0);
    sealed(state, "step-00000005");
    sealed(state, "step-00000006");
    char *a = get_file(in_dir(state, "step-00000005/checkpoint.json"), &n),
         *b = get_file(in_dir(state, "step-00000006/checkpoint.json"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static void put_aside(void **state)
{
    char *aside;
    int64_t latest;
    static const char *const want[] = {"/step-00000007.before", "/step-00000007.before-2", "/step-00000007.before-3"};
    for (int i = 0; i < 3; i++) {
        sealed(state, "aside/step-00000007");
        ok(dram_checkpoint_put_aside(in_dir(state, "aside"), 7, &aside));
        assert_string_equal(aside + strlen(aside) - strlen(want[i]), want[i]);
        sound(aside);
        dram_free(aside);
        ok(dram_checkpoint_latest(in_dir(state, "aside"), &latest));
        assert_int_equal(latest, -1);
    }
    fails(dram_checkpoint_put_aside(in_dir(state, "aside"), 7, &aside), DRAM_ERR_IO,
          "aside/step-00000007.before-4: No such file or directory");
    assert_null(aside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {

        cmocka_unit_test(sealed_but_not_a_checkpoint),
        cmocka_unit_test(without_hashes),
        cmocka_unit_test(the_same_bytes),
        cmocka_unit_test(put_aside),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
