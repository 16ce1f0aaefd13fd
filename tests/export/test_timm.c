/* The folder for timm: names, shapes, bits, what its config says, its card, and that it is whole or not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/student.h"
#include "export/timm.h"

static int setup(void **state)
{
    if (runs_setup(state) != 0) return -1;
    train_one(state, "regnet", "");
    train_one(state, "vit", "student.arch=vit_micro run.export=bf16 task.enabled=false");
    return 0;
}

static cJSON *read_config(void **state, const char *folder)
{
    cJSON *root;
    char path[64];
    snprintf(path, sizeof path, "%s/config.json", folder);
    ok(dram_json_read(in_dir(state, path), &root));
    return root;
}

static int files_in(const char *folder)
{
    int n = 0;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void assert_numbers(const cJSON *array, const double *want, int n)
{
    assert_int_equal(cJSON_GetArraySize(array), n);
    for (int i = 0; i < n; i++) assert_true(fabs(cJSON_GetArrayItem(array, i)->valuedouble - want[i]) < 1e-9);
}

static const cJSON *at(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!item) fail_msg("config.json has no %s", key);
    return item;
}

/* model.safetensors is the run's student.safetensors, all of it. */
static void assert_same_weights(void **state, const char *folder, const char *run_name, dram_st_dtype dtype)
{
    char path[64];
    dram_st *made, *student;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    ok(dram_st_open(in_dir(state, path), &made));
    ok(dram_st_open(run_file(state, run_name, "student.safetensors"), &student));
    assert_string_equal(dram_st_metadata(made, "format"), "pt");
    assert_int_equal(dram_st_count(made), dram_st_count(student));
    assert_true(dram_st_count(made) > 70);
    for (int i = 0; i < dram_st_count(made); i++) {
        const dram_st_tensor *t = dram_st_at(made, i);
        assert_int_equal(t->dtype, t->rank ? dtype : DRAM_ST_I64);
        assert_same_tensor(made, t->name, student, t->name);
    }
    dram_st_close(made);
    dram_st_close(student);
}

static void regnet(void **state)
{
    dram_export *e = open_run(state, "regnet");
    ok(dram_export_timm(e, in_dir(state, "of regnet/")));
    dram_export_close(e);
    assert_int_equal(files_in(in_dir(state, "of regnet")), 3);
    assert_same_weights(state, "of regnet", "regnet", DRAM_ST_F32);
    cJSON *root = read_config(state, "of regnet");
    assert_string_equal(at(root, "architecture")->valuestring, "regnetx_002");
    assert_int_equal(at(root, "num_classes")->valueint, 0);
    assert_false(cJSON_HasObjectItem(root, "model_args"));
    const cJSON *cfg = at(root, "pretrained_cfg");
    assert_numbers(at(cfg, "mean"), (const double[]){0.485, 0.456, 0.406}, 3);
    assert_numbers(at(cfg, "std"), (const double[]){0.229, 0.224, 0.225}, 3);
    assert_numbers(at(cfg, "input_size"), (const double[]){3, 32, 32}, 3);
    assert_int_equal(at(cfg, "num_classes")->valueint, 0);
    assert_true(cJSON_IsNull(at(cfg, "classifier")));
    assert_true(cJSON_IsFalse(at(cfg, "fixed_input_size")));
    cJSON_Delete(root);
}

/* Sizes that timm's own model of the name has not. */
static void vit(void **state)
{
    dram_export *e = open_run(state, "vit");
    ok(dram_export_timm(e, in_dir(state, "of vit")));
    dram_export_close(e);
    assert_same_weights(state, "of vit", "vit", DRAM_ST_BF16);
    cJSON *root = read_config(state, "of vit");
    assert_string_equal(at(root, "architecture")->valuestring, "samvit_base_patch16");
    const cJSON *args = at(root, "model_args");
    assert_int_equal(cJSON_GetArraySize(args), 6);
    assert_true(cJSON_IsNull(at(args, "norm_layer"))); /* SAM's eps, not timm's default */
    assert_int_equal(at(args, "img_size")->valueint, 256);
    assert_int_equal(at(args, "embed_dim")->valueint, 128);
    assert_int_equal(at(args, "depth")->valueint, 6);
    assert_int_equal(at(args, "num_heads")->valueint, 4);
    assert_numbers(at(args, "global_attn_indexes"), (const double[]){2, 5}, 2);
    cJSON_Delete(root);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("the card has no \"%s\"", part);
}

/* What the run was, its numbers as summary.json has them, and nothing of this machine's folders. */
static void card(void **state)
{
    char number[64];
    char *text = get_file(in_dir(state, "of regnet/README.md"), NULL);
    has(text, "---\nlibrary_name: timm\n");
    has(text, "\n# of regnet\n");
    has(text, "Licence: not filled in.");
    has(text, "| stride | 2 | 4 | 8 | 16 | 32 |\n|---|---|---|---|---|---|\n| channels | 32 | 24 | 56 | 152 | 368 |\n");
    has(text, "`vit_micro`, random weights of seed 1, images of 32");
    has(text, "mse to the teacher's embedding, weight 1; cross_entropy, weight 1");
    has(text, "| images | `images`, 8 of them, 8 with labels |");
    has(text, "| updates | 1 of 2 images |");
    cJSON *summary = run_summary(state, "regnet");
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval");
    snprintf(number, sizeof number, "| mIoU | %.4f | 8 |", json_number(eval, "miou"));
    has(text, number);
    snprintf(number, sizeof number, "teacher's | %.4f | 8 |", json_number(eval, "embedding_cosine"));
    has(text, number);
    cJSON_Delete(summary);
    has(text, "Of these images 8 are in `data.train` too.");
    assert_null(strstr(text, *state));
    free(text);

    text = get_file(in_dir(state, "of vit/README.md"), NULL);
    has(text, "embedding = model.forward_features(image)  # [N, 256, H / 16, W / 16]");
    assert_null(strstr(text, "mIoU"));
    free(text);
}

/* It was made after fewer updates than the config asks for, and Markdown takes no part of a name for its own. */
static void card_of_a_checkpoint(void **state)
{
    static const char saved[] = "{\"step\": 3}";
    put_file(run_file(state, "regnet", "state.json"), saved, sizeof saved - 1);
    dram_export *e = open_run(state, "regnet");
    ok(dram_export_timm(e, in_dir(state, "<b>a|b`")));
    dram_export_close(e);
    assert_int_equal(unlink(run_file(state, "regnet", "state.json")), 0);
    char *text = get_file(in_dir(state, "<b>a|b`/README.md"), NULL);
    has(text, "| updates | 3 of 2 images |");
    has(text, "\n# &lt;b&gt;a'b'\n");
    free(text);
}

/* A file of weights without its run: nothing is made up. */
static void of_a_file(void **state)
{
    static dram_export e;
    const dram_export_request request = {.from = run_file(state, "regnet", "student.safetensors")};
    ok(dram_export_open(&request, &e));
    ok(dram_export_timm(&e, in_dir(state, "of file")));
    dram_export_close(&e);
    char *text = get_file(in_dir(state, "of file/README.md"), NULL);
    has(text, "Not known here: exported from a file of weights without its config.");
    has(text, "None: no evaluation belongs to these weights.");
    assert_null(strstr(text, "vit_micro"));
    free(text);
}

/* What is there stays: a folder, a file, a link that leads nowhere. */
static void nothing_is_replaced(void **state)
{
    const char *folder = in_dir(state, "mine"), *file = in_dir(state, "mine/note"), *link = in_dir(state, "link");
    dram_export *e = open_run(state, "regnet");
    assert_int_equal(mkdir(folder, 0777), 0);
    fails_with(dram_export_timm(e, folder), DRAM_ERR_CONFIG, "it is there already");
    put_file(file, "mine", 4);
    fails_with(dram_export_timm(e, folder), DRAM_ERR_CONFIG, "it is there already");
    fails_with(dram_export_timm(e, file), DRAM_ERR_CONFIG, "it is there already");
    assert_int_equal(symlink("nowhere", link), 0);
    fails_with(dram_export_timm(e, link), DRAM_ERR_CONFIG, "it is there already");
    assert_file_is(file, "mine", 4);
    assert_int_equal(files_in(folder), 1);
    assert_false(is_there(in_dir(state, "nowhere")));
    dram_export_close(e);
}

/* The disk is full in the weights, and in the smaller files. */
static void a_full_disk_leaves_nothing(void **state)
{
    dram_export *e = open_run(state, "regnet");
    const rlim_t limits[] = {0, 1000, 100000, 5000000};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        fails_on_a_full_disk(state, dram_export_timm, e, in_dir(state, "full"), limits[i]);
    ok(dram_export_timm(e, in_dir(state, "full")));
    dram_export_close(e);
}

/* Of a run that was stopped, of weights of another network, and of no folder there is. */
static void what_cannot_be_exported(void **state)
{
    static dram_export e;
    dram_export_request request = {.from = run_file(state, "stopped", "")};
    run_order o = {.name = "stopped",
                   .set = "train.steps=3 data.size=32 sam_distill.enabled=false resolution_distill.enabled=false",
                   .stop_at = 1};
    run_fails(state, &o, DRAM_INTERRUPTED, "");
    fails_with(dram_export_open(&request, &e), DRAM_ERR_CONFIG, "this run has not come to its end");
    dram_export_close(&e);
    request.from = run_file(state, "vit", "student.safetensors");
    request.config = run_file(state, "regnet", "config.yaml");
    fails_with(dram_export_open(&request, &e), DRAM_ERR_FORMAT,
               "does not hold the weights of regnetx_002: it is a file of vit_micro");
    dram_export_close(&e);
    dram_export *good = open_run(state, "regnet");
    fails_with(dram_export_timm(good, in_dir(state, "no/such/folder")), DRAM_ERR_CONFIG, "there is no folder");
    dram_export_close(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regnet),
        cmocka_unit_test(vit),
        cmocka_unit_test(card),
        cmocka_unit_test(card_of_a_checkpoint),
        cmocka_unit_test(of_a_file),
        cmocka_unit_test(nothing_is_replaced),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(what_cannot_be_exported),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
