/* Checkpoints of which a byte is another: each is found, and the file is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "helpers.h"
#include "io/checkpoint.h"
#include "io/json.h"

enum { FILES = 6, MOST_BYTES = 4096, CHANGES = 1000 };
static const char *const names[FILES] = {"student.safetensors", "heads.safetensors", "optimizer.safetensors",
                                         "state.json",          "config.yaml",       "checkpoint.json"};

typedef struct {
    uint8_t bytes[MOST_BYTES];
    size_t n;
} content;

static const char *file_of(void **state, int i)
{
    char name[64];
    snprintf(name, sizeof name, "step-00000007/%s", names[i]);
    return in_dir(state, name);
}

static void put(void **state, int i, const content *c)
{
    put_file(file_of(state, i), c->bytes, c->n);
}

/* Files of any bytes, sealed as a checkpoint. */
static void make_checkpoint(void **state, content files[FILES])
{
    const char *folder = in_dir(state, "step-00000007");
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 0);
    cJSON *root = cJSON_CreateObject();
    mkdir(folder, 0777);
    (void)remove(file_of(state, FILES - 1));
    for (int i = 0; i < FILES - 1; i++) {
        files[i].n = 100 + dram_rng_below(&r, MOST_BYTES - 100);
        for (size_t k = 0; k < files[i].n; k++) files[i].bytes[k] = (uint8_t)dram_rng_u64(&r);
        put(state, i, &files[i]);
    }
    assert_non_null(cJSON_AddStringToObject(root, "version", "0"));
    ok(dram_checkpoint_seal(folder, root));
    cJSON_Delete(root);
    char *sealed = get_file(file_of(state, FILES - 1), &files[FILES - 1].n);
    assert_in_range(files[FILES - 1].n, 1, MOST_BYTES);
    memcpy(files[FILES - 1].bytes, sealed, files[FILES - 1].n);
    free(sealed);
}

static void is_sound(void **state)
{
    cJSON *root;
    ok(dram_checkpoint_verify(in_dir(state, "step-00000007"), NULL, &root));
    assert_non_null(root);
    cJSON_Delete(root);
}

/* File i is named and no other, and then it is as it was. */
static void is_found(void **state, int i, const content *was)
{
    cJSON *root = (cJSON *)1;
    dram_error_clear();
    if (dram_checkpoint_verify(in_dir(state, "step-00000007"), NULL, &root) != DRAM_ERR_FORMAT)
        fail_msg("a change of %s is not found: %s", names[i], dram_error_text());
    assert_null(root);
    for (int k = 0; k < FILES; k++)
        if ((strstr(dram_error_text(), names[k]) != NULL) != (k == i))
            fail_msg("%s was changed: %s", names[i], dram_error_text());
    dram_error_clear();
    put(state, i, was);
}

static void every_changed_byte_is_found(void **state)
{
    static content files[FILES];
    dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, 0);
    int changed[FILES] = {0};
    make_checkpoint(state, files);
    for (int k = 0; k < CHANGES; k++) {
        int i = (int)dram_rng_below(&r, FILES);
        content c = files[i];
        c.bytes[dram_rng_below(&r, (uint32_t)c.n)] ^= (uint8_t)(1 + dram_rng_below(&r, 255));
        put(state, i, &c);
        is_found(state, i, &files[i]);
        changed[i]++;
    }
    for (int i = 0; i < FILES; i++) assert_true(changed[i] > CHANGES / FILES / 2);
    is_sound(state);
}

/* What has the hashes is text, of which YAML, JSON and their readers would not miss a byte. */
static void every_byte_of_the_hashes_counts(void **state)
{
    static content files[FILES];
    const int i = FILES - 1;
    make_checkpoint(state, files);
    for (size_t at = 0; at < files[i].n; at++) {
        content c = files[i];
        c.bytes[at] ^= at % 2 ? 0x20 : 1; /* another case among them */
        put(state, i, &c);
        is_found(state, i, &files[i]);
    }
    is_sound(state);
}

static void lost_and_longer_files_are_found(void **state)
{
    static content files[FILES];
    make_checkpoint(state, files);
    for (int i = 0; i < FILES; i++) {
        content c = files[i];
        c.n--;
        put(state, i, &c);
        is_found(state, i, &files[i]);
        c.n += 2;
        c.bytes[c.n - 1] = '\n';
        put(state, i, &c);
        is_found(state, i, &files[i]);
        c.n = 0;
        put(state, i, &c);
        is_found(state, i, &files[i]);
        assert_int_equal(remove(file_of(state, i)), 0);
        is_found(state, i, &files[i]);
        assert_int_equal(remove(file_of(state, i)), 0);
        assert_int_equal(mkdir(file_of(state, i), 0777), 0);
        dram_error_clear();
        cJSON *root;
        assert_int_equal(dram_checkpoint_verify(in_dir(state, "step-00000007"), NULL, &root), DRAM_ERR_FORMAT);
        assert_non_null(strstr(dram_error_text(), names[i]));
        dram_error_clear();
        assert_int_equal(rmdir(file_of(state, i)), 0);
        put(state, i, &files[i]);
    }
    put(state, 0, &files[1]); /* one in the place of another */
    is_found(state, 0, &files[0]);
    is_sound(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(every_byte_of_the_hashes_counts),
        cmocka_unit_test(lost_and_longer_files_are_found),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
