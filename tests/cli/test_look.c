/* What a user looks at: predictions, features, the teacher's fidelity, and the lines of a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "cli/commands.h"

static int setup(void **state)
{
    if (dram_setup(state, 2) != 0) return -1;
    dram_ok(state, "train run.yaml train.steps=2");
    assert_classes_missed();
    assert_null(strstr(printed, "fidelity"));
    assert_null(strstr(printed, "scale")); /* not in fp32 */
    return 0;
}

/* Every score is in the files of a run. */
static void scores_are_kept(void **state)
{
    static const char *const keys[] = {"miou", "pixel_accuracy", "embedding_cosine", "embedding_mse", "images"};
    cJSON *summary, *line;
    assert_int_equal(dram_json_read(in_dir(state, "runs/net/summary.json"), &summary), DRAM_OK);
    char *text = get_file(in_dir(state, "runs/net/evaluations.jsonl"), NULL);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one, at the end */
    assert_int_equal(dram_json_parse(text, strlen(text), &line, NULL), DRAM_OK);
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval"), *item;
    for (int i = 0; i < 5; i++) assert_true(number_of(eval, keys[i]) == number_of(line, keys[i]));
    assert_true(number_of(line, "step") == 2);
    int classes = 0, present = 0;
    double sum = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(eval, "class_iou"))
    {
        classes++;
        present += cJSON_IsNumber(item);
        if (cJSON_IsNumber(item)) sum += item->valuedouble;
    }
    assert_int_equal(classes, 12);
    assert_true(present > 3 && fabs(number_of(eval, "miou") - sum / present) < 1e-12);
    cJSON_Delete(summary);
    cJSON_Delete(line);
    free(text);
}

static bool is_png(void **state, const char *name)
{
    size_t bytes;
    char *data = get_file(in_dir(state, name), &bytes);
    bool png = bytes > 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0;
    free(data);
    return png;
}

static void predictions(void **state)
{
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors --save-predictions new/pred");
    assert_true(is_png(state, "new/pred/00000.png") && is_png(state, "new/pred/00001.png"));
    assert_false(is_there(in_dir(state, "new/pred/00002.png")));
    assert_non_null(strstr(printed, "  class 0    #0000ff  IoU 0."));
    assert_non_null(strstr(printed, "  class 11 "));
    assert_non_null(strstr(printed, "predictions: new/pred\n"));
    char *with = strdup(printed);
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors");
    assert_int_equal(strncmp(printed, with, (size_t)(strstr(with, "  class") - with)), 0);
    assert_non_null(strstr(printed, "  class 0    IoU 0."));
    assert_null(strchr(printed, '#'));
    free(with);
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors --save-predictions new/json --json");
    cJSON *root = printed_json(), *classes = cJSON_GetObjectItemCaseSensitive(root, "class_iou");
    assert_int_equal(cJSON_GetArraySize(classes), 12);
    assert_true(number_of(root, "images") == 2 && number_of(root, "pixel_accuracy") >= 0);
    assert_true(number_of(root, "embedding_mse") > 0);
    cJSON_Delete(root);
    assert_true(is_png(state, "new/json/00001.png"));
}

/* A row for each side, as `data.size` by itself gives it; one at which training would refuse resolution distillation. */
static void several_sides(void **state)
{
    static const char *const keys[] = {"miou", "pixel_accuracy", "embedding_cosine", "embedding_mse", "images"};
    static const int side[] = {64, 32};
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors resolution_distill.enabled=true --sizes 64,32 "
                   "--json");
    cJSON *root = printed_json(), *sizes = cJSON_GetObjectItemCaseSensitive(root, "sizes");
    assert_int_equal(cJSON_GetArraySize(sizes), 2);
    for (int i = 0; i < 2; i++) {
        char words[200];
        snprintf(words, sizeof words, "eval run.yaml --weights runs/net/student.safetensors --json data.size=%d",
                 side[i]);
        dram_ok(state, words);
        cJSON *alone = printed_json(), *row = cJSON_GetArrayItem(sizes, i);
        assert_true(number_of(row, "data_size") == side[i]);
        for (int k = 0; k < 5; k++) assert_true(number_of(row, keys[k]) == number_of(alone, keys[k]));
        cJSON_Delete(alone);
    }
    assert_true(number_of(cJSON_GetArrayItem(sizes, 0), "embedding_mse") !=
                number_of(cJSON_GetArrayItem(sizes, 1), "embedding_mse"));
    char first[40], *line;
    snprintf(first, sizeof first, "\n       64%9.4f", number_of(cJSON_GetArrayItem(sizes, 0), "miou"));
    cJSON_Delete(root);
    dram_ok(state, "eval run.yaml --weights runs/net/student.safetensors --sizes 64,32");
    assert_non_null(line = strstr(printed, "2 images\ndata.size     mIoU   pixel accuracy   embedding cosine"));
    assert_non_null(strstr(line, first));
    assert_non_null(strstr(line, "\n       32   0."));
}

static void predictions_go_wrong(void **state)
{
#define EVAL "eval run.yaml --weights runs/net/student.safetensors --save-predictions "
    dram_fails(state, EVAL "run.yaml/x", 2, "run.yaml: cannot make this folder");
    dram_fails(state, EVAL "run.yaml", 2, "run.yaml: cannot make this folder: File exists");
    dram_fails(state, EVAL "/proc/self", 2, "/proc/self: files cannot be written to this folder");
    dram_fails(state, EVAL "scenes/labels", 2, "scenes/labels: this folder holds the images or the labels");
    dram_fails(state, EVAL "off task.enabled=false", 2, "task.enabled: predictions are those of the task");
    assert_false(is_there(in_dir(state, "off")));
}

static void features(void **state)
{
    dram_ok(state, "features run.yaml --weights runs/net/student.safetensors --out new/feat "
                   "scenes/images/00000.jpg threads=1 scenes/images/00001.jpg");
    assert_true(is_png(state, "new/feat/00000.png") && is_png(state, "new/feat/00001.png"));
    assert_int_equal(strncmp(printed, "new/feat/00000.png: embedding cosine ", 37), 0);
    assert_non_null(strstr(printed, "\nnew/feat/00001.png: embedding cosine "));
    /* an image with "=" in its name */
    size_t bytes;
    char *data = get_file(in_dir(state, "scenes/images/00001.jpg"), &bytes);
    put_file(in_dir(state, "a=b.jpg"), data, bytes);
    free(data);
    dram_ok(state, "features run.yaml ./a=b.jpg --json --weights=runs/net/student.safetensors --out=new/feat");
    cJSON *root = printed_json();
    const cJSON *picture = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "images"), 0);
    assert_string_equal(text_of(picture, "image"), "./a=b.jpg");
    assert_string_equal(text_of(picture, "picture"), "new/feat/a=b.png");
    assert_true(number_of(picture, "embedding_cosine") < 1 && number_of(picture, "explained_variance") > 0);
    cJSON_Delete(root);
    assert_true(is_png(state, "new/feat/a=b.png"));
}

static void features_go_wrong(void **state)
{
#define FEATURES "features run.yaml --weights runs/net/student.safetensors --out "
    dram_fails(state, FEATURES "new/none run.yaml", 2, "run.yaml: not a JPEG, PNG or WebP image");
    dram_fails(state, FEATURES "new/none scenes", 2, "scenes: not a file");
    dram_fails(state, FEATURES "new/none nowhere.jpg", 2, "nowhere.jpg: No such file");
    dram_fails(state, FEATURES "new/none", 2, "features: an argument is missing");
    dram_fails(state, FEATURES "run.yaml/x scenes/images/00000.jpg", 2, "run.yaml: cannot make this folder");
    dram_fails(state, FEATURES "new/none scenes/images/00000.jpg --colour", 2, "features: unknown option --colour");
    dram_fails(state, "features run.yaml --weights run.yaml --out new/none scenes/images/00000.jpg", 2, "run.yaml");
    dram_fails(state, FEATURES "new/none scenes/images/00000.jpg student.arch=regnety_002", 2,
               "does not hold the weights of regnety_002: it is a file of regnetx_002; ");
}

/* What `dram eval --teacher-fidelity ARGS --json` says of the one image of a folder, whose cosine is the worst too. */
static double fidelity_of(void **state, const char *args, int size)
{
    char words[200];
    snprintf(words, sizeof words, "eval run.yaml --teacher-fidelity %s sam_distill.sam_input_size=%d --json", args,
             size);
    dram_ok(state, words);
    cJSON *root = printed_json();
    double cosine = number_of(root, "cosine");
    assert_true(number_of(root, "images") == 1 && number_of(root, "sam_input_size") == size);
    assert_true(number_of(root, "worst") == cosine && cosine > -1 && cosine < 1);
    cJSON_Delete(root);
    return cosine;
}

static void fidelity(void **state)
{
    char want[300];
    dram_ok(state, "synth one --count 1 --seed 4");
    double own = fidelity_of(state, "one/images", 256);
    assert_string_equal(complained, "");
    dram_ok(state, "eval run.yaml --teacher-fidelity one/images sam_distill.sam_input_size=256");
    snprintf(want, sizeof want,
             "1 image: the teacher's embedding at 256, on the grid of 1024, against that at 1024\n"
             "cosine            %.4f\nworst             %.4f  00000.jpg\n",
             own, own);
    assert_string_equal(printed, want);
    assert_string_equal(complained, "");
    double small = fidelity_of(state, "one/images", 64);
    assert_true(small < 0.8 && small != own);
    snprintf(want, sizeof want,
             "warning: the teacher at 64 gives another embedding than at 1024: the cosine between them is %.3f ",
             small);
    assert_int_equal(strncmp(complained, want, strlen(want)), 0);
    dram_ok(state, "eval run.yaml --teacher-fidelity scenes/images sam_distill.sam_input_size=1024");
    assert_non_null(strstr(printed, "the teacher sees 1024 in training too: there is nothing to compare"));
    dram_ok(state, "eval run.yaml --teacher-fidelity scenes/images sam_distill.sam_input_size=1024 --json");
    cJSON *root = printed_json();
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "cosine")));
    cJSON_Delete(root);
    dram_fails(state, "eval run.yaml --teacher-fidelity nowhere", 2,
               "dram: --teacher-fidelity: nowhere: cannot open the folder of images: No such file");
    dram_fails(state, "eval run.yaml --teacher-fidelity runs", 2, "no image in the folder");
    dram_fails(state, "eval run.yaml --teacher-fidelity scenes/images sam_distill.enabled=false", 2,
               "there is no teacher to look at");
    dram_fails(state, "eval run.yaml --teacher-fidelity scenes/images memory.budget=1MiB", 3, "the plan needs ");
}

/* One line before the first step, which says of the first image what eval says of it. */
static void fidelity_of_a_run(void **state)
{
    char want[200];
    dram_ok(state, "synth first --count 1 --seed 3");
    double cosine = fidelity_of(state, "first/images", 224);
    dram_ok(state, "train run.yaml name=one sam_distill.fidelity_images=1 sam_distill.sam_input_size=224 "
                   "train.batch_size=1 train.steps=1");
    snprintf(want, sizeof want, "\nteacher fidelity: cosine %.3f (worst %.3f) of 224 against 1024, 1 image\n", cosine,
             cosine);
    const char *line = strstr(printed, want);
    if (!line) fail_msg("\"%s\" is not in: %s", want, printed);
    assert_non_null(strstr(line, "\nstep 1/1  loss "));
    dram_ok(state, "train run.yaml name=one sam_distill.fidelity_images=1 sam_distill.sam_input_size=224 "
                   "train.batch_size=1 train.steps=2 --resume");
    assert_non_null(strstr(printed, "\nteacher fidelity: left out: this run goes on\n"));
    /* vit_micro's own size: 1024 is no measure for it */
    dram_ok(state, "train run.yaml name=own sam_distill.fidelity_images=1 sam_distill.sam_input_size=256 "
                   "train.batch_size=1 train.steps=1");
    assert_null(strstr(printed, "fidelity"));
    dram_fails(state, "train run.yaml sam_distill.fidelity_images=65", 2,
               "command line: sam_distill.fidelity_images: ");
}

/* The loss scale is shown where there is one, and how many steps were skipped for it. */
static void fp16_says_its_scale(void **state)
{
    dram_ok(state, "train run.yaml name=half train.precision=fp16");
    for (const char *line = printed; (line = strstr(line, "\nstep ")); line++) {
        if (strstr(line, " evaluated ") && strstr(line, " evaluated ") < strchr(line + 1, '\n')) continue;
        const char *scale = strstr(line, "  scale "), *end = strchr(line + 1, '\n');
        assert_true(scale && end && scale < end);
        assert_true(strtod(scale + 8, NULL) >= 1);
    }
    assert_non_null(strstr(printed, "\nstep 3/3  loss "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_kept),
        cmocka_unit_test(predictions),
        cmocka_unit_test(several_sides),
        cmocka_unit_test(predictions_go_wrong),
        cmocka_unit_test(features),
        cmocka_unit_test(features_go_wrong),
        cmocka_unit_test(fidelity),
        cmocka_unit_test(fidelity_of_a_run),
        cmocka_unit_test(fp16_says_its_scale),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
