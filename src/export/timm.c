#include "export/timm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "export/card.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"
#include "model/family.h"
#include "session/weights.h"

/* Divides by 255 and rounds to what a person would have written: 123.675 is 0.485. */
static bool add_colors(cJSON *object, const char *key, const float color[3])
{
    cJSON *list = cJSON_AddArrayToObject(object, key);
    for (int i = 0; list && i < 3; i++) {
        cJSON *item = cJSON_CreateNumber(nearbyint(color[i] / 255.0 * 1e6) / 1e6);
        if (!item || !cJSON_AddItemToArray(list, item)) return false;
    }
    return list != NULL;
}

/* The image as the student was trained on it, and that there is no classifier: with 0 classes on both sides timm loads
 * strictly. */
static bool fill_pretrained(cJSON *o, const dram_export *e)
{
    return cJSON_AddStringToObject(o, "tag", "dram") && cJSON_AddNumberToObject(o, "num_classes", 0) &&
           cJSON_AddItemToObject(o, "input_size", cJSON_CreateIntArray((const int[]){3, e->size, e->size}, 3)) &&
           cJSON_AddFalseToObject(o, "fixed_input_size") && cJSON_AddStringToObject(o, "interpolation", "bilinear") &&
           cJSON_AddNumberToObject(o, "crop_pct", 1) && add_colors(o, "mean", e->mean) &&
           add_colors(o, "std", e->std) && cJSON_AddNullToObject(o, "pool_size") &&
           cJSON_AddNullToObject(o, "first_conv") && cJSON_AddNullToObject(o, "classifier");
}

static dram_status fill_config(cJSON *root, const dram_export *e)
{
    dram_timm timm;
    cJSON *args = NULL;
    e->arch->family->in_timm(e->arch, &timm);
    bool good =
        cJSON_AddStringToObject(root, "architecture", timm.name) && cJSON_AddNumberToObject(root, "num_classes", 0);
    if (timm.args[0]) {
        TRY(dram_json_parse(timm.args, strlen(timm.args), &args, NULL));
        good = good && cJSON_AddItemToObject(root, "model_args", args);
    }
    cJSON *o = good ? cJSON_AddObjectToObject(root, "pretrained_cfg") : NULL;
    return o && fill_pretrained(o, e) ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for config.json");
}

static dram_status write_config(const dram_export *e, const char *path)
{
    cJSON *root = cJSON_CreateObject();
    dram_status status = root ? fill_config(root, e) : dram_fail(DRAM_ERR_MEMORY, "no memory for config.json");
    if (status == DRAM_OK) status = dram_json_write(path, root);
    cJSON_Delete(root);
    return status;
}

static dram_status write_card(const dram_export *e, const char *name, const char *path)
{
    dram_str text = {0};
    dram_status status = dram_export_card(e, name, &text);
    if (status == DRAM_OK) status = dram_atomic_save(path, text.text, text.length);
    dram_str_free(&text);
    return status;
}

static dram_status write_files(dram_export *e, const char *name, const char *path[3])
{
    static const char *const student[] = {"student"};
    TRY(dram_weights_save(&e->session, path[0], student, 1, false, e->cfg->run.export));
    TRY(write_config(e, path[1]));
    return write_card(e, name, path[2]);
}

dram_status dram_export_timm(dram_export *e, const char *folder)
{
    char *path[3] = {0}, where[1200];
    dram_dir dir = {0};
    dram_status status;
    snprintf(where, sizeof where, "--timm %.1100s: ", folder);
    TRY(dram_export_check_target("--timm", folder));
    TRY(dram_dir_begin(&dir, folder));
    TRY_GOTO(dram_dir_file(&dir, "model.safetensors", &path[0]), done);
    TRY_GOTO(dram_dir_file(&dir, "config.json", &path[1]), done);
    TRY_GOTO(dram_dir_file(&dir, "README.md", &path[2]), done);
    TRY_GOTO(write_files(e, dram_path_name(dir.path), (const char **)path), done);
    status = dram_dir_commit(&dir);
done:
    for (int i = 0; i < 3; i++) dram_free(path[i]);
    dram_dir_abort(&dir);
    return status == DRAM_OK ? status : dram_error_prefix(status, where); /* the files have temporary names */
}
