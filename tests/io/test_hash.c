/* Hashes of memory and of files against those of xxhsum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "helpers.h"
#include "io/hash.h"

static void hashes_are_those_of_xxh128sum(void **state)
{
    char a[DRAM_HASH_SIZE], b[DRAM_HASH_SIZE];
    dram_hash_memory("", 0, a);
    assert_string_equal(a, "99aa06d3014798d86001c324468d497f");
    const char *path = in_dir(state, "hashed");
    char *data = malloc(200001);
    assert_non_null(data);
    for (int i = 0; i < 200001; i++) data[i] = (char)(i * 7 + i / 251);
    put_file(path, data, 200001);
    dram_hash_memory(data, 200001, a);
    ok(dram_hash_file(path, NULL, b));
    assert_string_equal(a, b);
    data[200000] ^= 1;
    dram_hash_memory(data, 200001, b);
    assert_string_not_equal(a, b);
    const dram_hash128 empty = dram_hash_128("", 0); /* the same hash, as numbers */
    assert_true(empty.high == 0x99aa06d3014798d8u && empty.low == 0x6001c324468d497fu);
    assert_true(dram_hash_64("", 0) == 0x2d06800538d394c2u); /* of xxhsum -H3 */
    free(data);
    fails(dram_hash_file(in_dir(state, "absent"), NULL, a), DRAM_ERR_CONFIG,
          "absent: cannot open: No such file or directory");
    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    fails(dram_hash_file(in_dir(state, "pipe"), NULL, a), DRAM_ERR_CONFIG, "pipe: cannot open: not a file: a pipe");
    fails(dram_hash_file(*state, NULL, a), DRAM_ERR_CONFIG, ": cannot open: not a file: a folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_xxh128sum),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
