/* metrics, JSON and hashes */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/hash.h"
#include "io/helpers.h"
#include "io/json.h"
#include "io/path.h"
#include "report/metrics.h"

/* Metrics ----------------------------------------------------------------------------------------------------- */

static dram_metrics sample(int64_t step)
{
    return (dram_metrics){.step = step,
                          .loss = 2.5,
                          .loss_task = 0.1f,
                          .loss_sam = step % 2 ? NAN : 1.25,
                          .loss_resolution = NAN,
                          .lr = 1e-3f,
                          .grad_norm = INFINITY,
                          .loss_scale = 65536,
                          .teacher_ran = step % 2 == 0,
                          .images_per_second = 12.5,
                          .planned_peak_bytes = 7516192768,
                          .measured_peak_bytes = 7516192768};
}

static const char EVEN[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":1.25,\"loss_resolution\":null,"
                           "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"distilled\":true,"
                           "\"teacher_ran\":true,\"images_per_second\":12.5,\"planned_peak_bytes\":7516192768,"
                           "\"measured_peak_bytes\":7516192768}\n";
static const char ODD[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":null,\"loss_resolution\":null,"
                          "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"distilled\":false,"
                          "\"teacher_ran\":false,\"images_per_second\":12.5,\"planned_peak_bytes\":7516192768,"
                          "\"measured_peak_bytes\":7516192768}\n";

/* The file must be the lines 0 .. count - 1. */
static void expect_lines(const char *path, int count)
{
    char want[16384];
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(want + n, sizeof want - n, "{\"step\":%d%s", i, i % 2 ? ODD : EVEN);
    assert_file_is(path, want, n);
}

static void append_lines(const char *path, int from, int to)
{
    dram_metrics_file *file;
    ok(dram_metrics_open(path, &file));
    for (int i = from; i < to; i++) {
        dram_metrics m = sample(i);
        ok(dram_metrics_append(file, &m));
        expect_lines(path, i + 1); /* each line is there at once */
    }
    dram_metrics_close(file);
}

static void metrics_are_appended_and_cut(void **state)
{
    const char *path = in_dir(state, "metrics.jsonl");
    ok(dram_metrics_truncate(path, 5)); /* no file */
    assert_false(is_there(path));
    append_lines(path, 0, 3);
    append_lines(path, 3, 6);
    ok(dram_metrics_truncate(path, 100));
    expect_lines(path, 6);
    ok(dram_metrics_truncate(path, 4));
    expect_lines(path, 4);
    append_lines(path, 4, 5);

    size_t bytes;
    char *content = get_file(path, &bytes);
    for (size_t cut = 1; cut < 30; cut += 7) { /* torn at the end */
        put_file(path, content, bytes - cut);
        ok(dram_metrics_truncate(path, 100));
        expect_lines(path, 4);
    }
    char *damaged = malloc(bytes + 5000);
    assert_non_null(damaged);
    static const char *const wrong[] = {"\n", "{}\n", "{\"step\":\"1\"}\n", "{\"step\":1.5}\n", "{\"step\":1\n", "3\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t n = strlen(wrong[i]);
        memcpy(damaged, content, bytes);
        memcpy(damaged + bytes, wrong[i], n);
        put_file(path, damaged, bytes + n);
        fails(dram_metrics_truncate(path, 100), DRAM_ERR_FORMAT, "metrics.jsonl:6: not a line of metrics");
        assert_file_is(path, damaged, bytes + n);
    }
    memset(damaged, 'x', 5000); /* one line, longer than any of ours */
    memcpy(damaged + 5000, "\n", 1);
    put_file(path, damaged, 5001);
    fails(dram_metrics_truncate(path, 100), DRAM_ERR_FORMAT, "metrics.jsonl:1: not a line of metrics");
    assert_false(is_there(in_dir(state, "metrics.jsonl.tmp")));
    ok(dram_remove_tree(path));
    put_file(path, "{\"step\":0", 9); /* killed at the first line */
    ok(dram_metrics_truncate(path, 0));
    expect_lines(path, 0);
    free(content);
    free(damaged);
}

static void metrics_on_a_full_disk(void **state)
{
    dram_metrics m = sample(0);
    dram_metrics_file *file;
    ok(dram_metrics_open("/dev/full", &file));
    fails(dram_metrics_append(file, &m), DRAM_ERR_IO, "/dev/full: cannot write: No space left on device");
    dram_metrics_close(file);

    const char *path = in_dir(state, "short.jsonl");
    ok(dram_metrics_open(path, &file));
    ok(dram_metrics_append(file, &m));
    file_limit limit = limit_files(400); /* the second line fits in part */
    dram_status status = dram_metrics_append(file, &m);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "short.jsonl: cannot write: File too large");
    expect_lines(path, 1); /* no part of it is left */
    dram_metrics_close(file);
    fails(dram_metrics_open(in_dir(state, "no/such/file"), &file), DRAM_ERR_IO,
          "cannot open for appending: No such file or directory");
}

/* JSON -------------------------------------------------------------------------------------------------------- */

static void json_comes_back_checked(void **state)
{
    const char *path = in_dir(state, "state.json"), *text;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "step", 500);
    cJSON_AddNumberToObject(root, "bytes", 7516192768.0);
    cJSON_AddNumberToObject(root, "loss", 0.1);
    cJSON_AddNumberToObject(root, "nan", NAN);
    cJSON_AddStringToObject(root, "name", "a \"quoted\" one");
    cJSON_AddBoolToObject(root, "teacher_ran", 1);
    ok(dram_json_write(path, root));
    cJSON_Delete(root);
    int64_t step;
    double x;
    bool flag;
    ok(dram_json_read(path, &root));
    ok(dram_json_int(root, path, "step", 0, 500, &step));
    assert_int_equal(step, 500);
    ok(dram_json_int(root, path, "bytes", 0, INT64_MAX, &step));
    assert_int_equal(step, 7516192768);
    ok(dram_json_number(root, path, "loss", &x));
    assert_true(x == 0.1);
    ok(dram_json_text(root, path, "name", &text));
    assert_string_equal(text, "a \"quoted\" one");
    ok(dram_json_bool(root, path, "teacher_ran", &flag));
    assert_true(flag);
    fails(dram_json_int(root, path, "epoch", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: epoch is missing");
    fails(dram_json_int(root, path, "name", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: name is not a number");
    fails(dram_json_int(root, path, "loss", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: loss is not an integer");
    fails(dram_json_int(root, path, "step", 0, 499, &step), DRAM_ERR_FORMAT,
          "state.json: step is 500, not in 0 .. 499");
    fails(dram_json_number(root, path, "nan", &x), DRAM_ERR_FORMAT, "state.json: nan is not a number");
    fails(dram_json_bool(root, path, "step", &flag), DRAM_ERR_FORMAT, "state.json: step is not true or false");
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
    fails(dram_json_read(*state, &root), DRAM_ERR_FORMAT, ": not a file");
    fails(dram_json_read(in_dir(state, "absent.json"), &root), DRAM_ERR_CONFIG,
          "absent.json: cannot open: No such file or directory");
}

/* Hash -------------------------------------------------------------------------------------------------------- */

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
    ok(dram_hash_file(path, b));
    assert_string_equal(a, b);
    data[200000] ^= 1;
    dram_hash_memory(data, 200001, b);
    assert_string_not_equal(a, b);
    const dram_hash128 empty = dram_hash_128("", 0); /* the same hash, as numbers */
    assert_true(empty.high == 0x99aa06d3014798d8u && empty.low == 0x6001c324468d497fu);
    assert_true(dram_hash_64("", 0) == 0x2d06800538d394c2u); /* of xxhsum -H3 */
    free(data);
    fails(dram_hash_file(in_dir(state, "absent"), a), DRAM_ERR_CONFIG,
          "absent: cannot open: No such file or directory");
    fails(dram_hash_file(*state, a), DRAM_ERR_IO, ": cannot read: Is a directory");
}

/* Memory ------------------------------------------------------------------------------------------------------ */

static dram_status try_json(void **state)
{
    cJSON *root;
    TRY(dram_json_read(in_dir(state, "oom/in.json"), &root));
    dram_status status = dram_json_write(in_dir(state, "oom/out.json"), root);
    cJSON_Delete(root);
    return status;
}

static dram_status try_metrics(void **state)
{
    const char *path = in_dir(state, "oom/metrics.jsonl");
    dram_metrics_file *file;
    dram_metrics m = sample(3);
    unlink(path); /* or each attempt would need more requests than the one before */
    TRY(dram_metrics_open(path, &file));
    dram_status status = dram_metrics_append(file, &m);
    dram_metrics_close(file);
    TRY(status);
    return dram_metrics_truncate(path, 100);
}

static void out_of_memory_at_every_request(void **state)
{
    static const char json[] = "{\"a\": [1, {\"b\": \"c\"}]}";
    ok(dram_make_folders(in_dir(state, "oom")));
    put_file(in_dir(state, "oom/in.json"), json, sizeof json - 1);
    out_of_memory_everywhere(try_json, state);
    out_of_memory_everywhere(try_metrics, state);
    assert_file_is(in_dir(state, "oom/out.json"), "{\n\t\"a\":\t[1, {\n\t\t\t\"b\":\t\"c\"\n\t\t}]\n}\n", 33);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_appended_and_cut),  cmocka_unit_test(metrics_on_a_full_disk),
        cmocka_unit_test(json_comes_back_checked),       cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(hashes_are_those_of_xxh128sum), cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
