/* Folders as data sets are downloaded: the same images with the same labels give the same weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"

enum { SCENES = 4 };

typedef struct {
    const char *name;
    const char *images, *labels; /* folders below the layout's */
    const char *image[SCENES];   /* in the order of the scenes, which is that of their names */
    const char *label[SCENES];
    const char *extra; /* an image that is in no list, or NULL */
    const char *set;
} layout;

static const layout layouts[] = {
    {"subfolders",
     "images",
     "labels",
     {"0.jpg", "drive2/1.jpg", "drive2/2.jpg", "drive3/0.jpg"},
     {"0.png", "1.png", "2.png", "drive3/0.png"},
     NULL,
     "data.recursive=true"},
    {"mirror",
     "images",
     "labels",
     {"a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"},
     {"a/0.PNG", "a/1.png", "b/0.png", "b/1.png"},
     NULL,
     "data.recursive=true"},
    {"suffix",
     "images",
     "labels",
     {"0.jpg", "1.jpg", "2.jpg", "3.jpg"},
     {"0_L.png", "1_L.png", "2_L.png", "3_L.png"},
     NULL,
     "data.label_pattern=_L"},
    {"replaced",
     "left",
     "fine",
     {"0_left.jpg", "1_left.jpg", "2_left.jpg", "3_left.jpg"},
     {"0_fine_ids.png", "1_fine_ids.png", "2_fine_ids.png", "3_fine_ids.png"},
     NULL,
     "data.label_pattern=_left:_fine_ids"},
    {"one", ".", ".", {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}, {"0.png", "1.png", "2.png", "3.png"}, NULL, ""},
    {"inside",
     ".",
     "labels",
     {"a/0.jpg", "a/1.jpg", "b/2.jpg", "c.jpg"},
     {"0.png", "1.png", "2.png", "c.png"},
     NULL,
     "data.recursive=true"},
    {"listed",
     "images",
     "labels",
     {"0.jpg", "1.jpg", "2.jpg", "3.jpg"},
     {"0.png", "1.png", "2.png", "3.png"},
     "10.jpg",
     "data.train.list=list.txt data.val.list=list.txt"},
};

static int setup(void **state)
{
    static const char list[] = "2\r\n3.jpg\r\n\r\n0\r\n# the rest\r\n1\r\n";
    if (dram_setup(state, SCENES) != 0) return -1;
    put_file(in_dir(state, "list.txt"), list, sizeof list - 1);
    dram_ok(state, "train run.yaml device=cpu data.val.images=scenes/images data.val.labels=scenes/labels");
    return 0;
}

/* A link below layout/folder to a file of the scenes, with the folders that it needs. */
static void place(void **state, const char *name, const char *folder, const char *file, const char *scene)
{
    char command[20000];
    snprintf(command, sizeof command, "cd '%s' && mkdir -p \"$(dirname '%s/%s/%s')\" && ln -s \"$PWD/%s\" '%s/%s/%s'",
             (const char *)*state, name, folder, file, scene, name, folder, file);
    assert_int_equal(system(command), 0);
}

static void lay_out(void **state, const layout *l)
{
    char scene[64];
    for (int i = 0; i < SCENES; i++) {
        snprintf(scene, sizeof scene, "scenes/images/%05d.jpg", i);
        place(state, l->name, l->images, l->image[i], scene);
        snprintf(scene, sizeof scene, "scenes/labels/%05d.png", i);
        place(state, l->name, l->labels, l->label[i], scene);
    }
    if (l->extra) place(state, l->name, l->images, l->extra, "run.yaml");
}

static double miou(void **state, const char *run)
{
    char path[128];
    snprintf(path, sizeof path, "runs/%s/summary.json", run);
    cJSON *root;
    assert_int_equal(dram_json_read(in_dir(state, path), &root), DRAM_OK);
    double value = number_of(cJSON_GetObjectItemCaseSensitive(root, "eval"), "miou");
    cJSON_Delete(root);
    return value;
}

static void layouts_give_the_same_weights(void **state)
{
    char args[1024], path[128];
    size_t bytes;
    char *want = get_file(in_dir(state, "runs/net/student.safetensors"), &bytes);
    assert_true(bytes > 1000000);
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        const layout *l = &layouts[i];
        lay_out(state, l);
        snprintf(args, sizeof args,
                 "train run.yaml device=cpu name=%s data.train.images=%s/%s data.train.labels=%s/%s "
                 "data.val.images=%s/%s data.val.labels=%s/%s %s",
                 l->name, l->name, l->images, l->name, l->labels, l->name, l->images, l->name, l->labels, l->set);
        dram_ok(state, args);
        snprintf(path, sizeof path, "runs/%s/student.safetensors", l->name);
        assert_file_is(in_dir(state, path), want, bytes);
        assert_true(miou(state, l->name) == miou(state, "net"));
    }
    free(want);
}

/* From the run's own config: a picture for each image, two of one name among them. */
static void a_run_of_subfolders_is_evaluated(void **state)
{
    dram_ok(state, "eval runs/mirror/config.yaml device=cpu --weights runs/mirror/student.safetensors "
                   "--save-predictions seen");
    static const char *const pictures[] = {"seen/a/0.png", "seen/a/1.png", "seen/b/0.png", "seen/b/1.png"};
    for (int i = 0; i < SCENES; i++) assert_true(is_there(in_dir(state, pictures[i])));
    dram_ok(state, "eval run.yaml device=cpu --teacher-fidelity mirror/images sam_distill.sam_input_size=128 "
                   "data.recursive=true sam_distill.teacher.model_type=vit_micro --json");
    cJSON *root = printed_json();
    assert_int_equal((int)number_of(root, "images"), SCENES);
    assert_non_null(strchr("ab", text_of(root, "worst_image")[0])); /* a/0.jpg, say: two are called 0.jpg */
    assert_int_equal(text_of(root, "worst_image")[1], '/');
    cJSON_Delete(root);
}

/* What a newcomer meets first. */
static void wrong_layouts_end_with_a_way_out(void **state)
{
    static const char *const cases[][2] = {
        {"data.train.images=suffix/images data.train.labels=suffix/labels",
         "labels are called like 0_L.png: set data.label_pattern to _L"},
        {"data.train.images=mirror/images data.train.labels=mirror/labels",
         "no image in the folder (files *.jpg, *.jpeg, *.png, *.webp); the folders inside it"},
        {"data.train.images=inside/a data.train.labels=inside", "are looked into with data.recursive"},
        {"data.train.images=scenes/labels data.train.labels=scenes/labels", "would be its own label"},
        {"data.train.list=none.txt", "none.txt: No such file"},
        {"data.train.list=run.yaml", "run.yaml:1: this is no image of "},
        {"data.label_pattern='*_L.png'", "data.label_pattern: *_L.png: the end of a name alone"},
    };
    char args[1024];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(args, sizeof args, "train run.yaml device=cpu name=wrong %s", cases[i][0]);
        int code = dram(state, args);
        if (code != 2 || !strstr(complained, cases[i][1]))
            fail_msg("dram %s: exit code %d, \"%s\" instead of \"%s\"", args, code, complained, cases[i][1]);
        assert_false(is_there(in_dir(state, "runs/wrong")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_give_the_same_weights),
        cmocka_unit_test(a_run_of_subfolders_is_evaluated),
        cmocka_unit_test(wrong_layouts_end_with_a_way_out),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
