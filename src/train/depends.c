#include "train/depends.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "io/safetensors.h"

static dram_status hash_weights(const dram_config *cfg, const char *key, const char *file,
                                const volatile sig_atomic_t *stop, char hash[DRAM_HASH_SIZE])
{
    char where[1200];
    if (!file || strcmp(file, DRAM_WEIGHTS_RANDOM) == 0) return DRAM_OK;
    dram_status status = dram_st_hash(file, stop, hash);
    snprintf(where, sizeof where, "%s: %s: ", dram_config_where(cfg, key), key);
    return status == DRAM_OK || status == DRAM_INTERRUPTED ? status : dram_error_prefix(status, where);
}

dram_status dram_depends_files(const dram_config *cfg, const volatile sig_atomic_t *stop, dram_depends *d)
{
    *d = (dram_depends){0};
    if (cfg->sam_distill.enabled)
        TRY(hash_weights(cfg, "sam_distill.teacher.weights", cfg->sam_distill.teacher.weights, stop, d->teacher));
    TRY(hash_weights(cfg, "student.weights", cfg->student.weights, stop, d->student));
    return hash_weights(cfg, "student.heads", cfg->student.heads, stop, d->heads);
}

/* The hash of each name goes into the next: nothing has to hold them all. */
static dram_status list_data(const dram_dataset *dataset, dram_data_list *list)
{
    if (!dataset) return DRAM_OK;
    list->images = dram_dataset_count(dataset);
    list->labels = dram_dataset_labelled(dataset);
    size_t room = DRAM_HASH_SIZE + 2 + (size_t)dram_dataset_path_room(dataset);
    char *text = dram_alloc(room);
    if (!text) return dram_fail(DRAM_ERR_MEMORY, "no memory for a hash of the images' names");
    for (int i = 0; i < list->images; i++) {
        int n = snprintf(text, room, "%s %d %s", list->hash, dram_dataset_has_label(dataset, i),
                         dram_dataset_name(dataset, i));
        dram_hash_memory(text, (size_t)n, list->hash);
    }
    dram_free(text);
    return DRAM_OK;
}

dram_status dram_depends_rest(const dram_dataset *train, const dram_dataset *val, const dram_profile *profile,
                              dram_depends *d)
{
    d->threads = profile->workers;
    d->gpu = profile->gpu;
    TRY(list_data(train, &d->train));
    return list_data(val, &d->val);
}

static bool add_hash(cJSON *object, const char *key, const char *hash)
{
    return dram_json_add_text(object, key, hash[0] ? hash : NULL);
}

static bool add_list(cJSON *object, const char *key, const dram_data_list *list)
{
    cJSON *o = cJSON_AddObjectToObject(object, key);
    return o && cJSON_AddNumberToObject(o, "images", list->images) &&
           cJSON_AddNumberToObject(o, "labels", list->labels) && add_hash(o, "hash", list->hash);
}

dram_status dram_depends_add(const dram_depends *d, cJSON *root)
{
    cJSON *o = cJSON_AddObjectToObject(root, "depends");
    bool good = o && add_hash(o, "teacher", d->teacher) && add_hash(o, "student", d->student) &&
                add_hash(o, "heads", d->heads) && add_list(o, "train", &d->train) && add_list(o, "val", &d->val) &&
                cJSON_AddNumberToObject(o, "threads", d->threads) && cJSON_AddBoolToObject(o, "gpu", d->gpu);
    return good ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory to save what the run depends on");
}

/* null is "". */
static dram_status read_hash(const cJSON *object, const char *path, const char *key, char hash[DRAM_HASH_SIZE])
{
    const char *text;
    hash[0] = '\0';
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, key))) return DRAM_OK;
    TRY(dram_json_text(object, path, key, &text));
    if (strlen(text) != DRAM_HASH_SIZE - 1) return dram_fail(DRAM_ERR_FORMAT, "%s: %s is no hash", path, key);
    memcpy(hash, text, DRAM_HASH_SIZE);
    return DRAM_OK;
}

static dram_status read_list(const cJSON *object, const char *path, const char *key, dram_data_list *list)
{
    int64_t images, labels;
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(object, key);
    TRY(dram_json_int(o, path, "images", 0, INT_MAX, &images));
    TRY(dram_json_int(o, path, "labels", 0, INT_MAX, &labels));
    list->images = (int)images;
    list->labels = (int)labels;
    return read_hash(o, path, "hash", list->hash);
}

dram_status dram_depends_read(const cJSON *root, const char *path, dram_depends *d)
{
    int64_t threads;
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "depends");
    TRY(read_hash(o, path, "teacher", d->teacher));
    TRY(read_hash(o, path, "student", d->student));
    d->heads[0] = '\0';
    if (cJSON_HasObjectItem(o, "heads")) TRY(read_hash(o, path, "heads", d->heads)); /* an older dram wrote none */
    TRY(read_list(o, path, "train", &d->train));
    TRY(read_list(o, path, "val", &d->val));
    TRY(dram_json_int(o, path, "threads", 1, INT_MAX, &threads));
    d->threads = (int)threads;
    d->gpu = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "gpu"));
    return DRAM_OK;
}

static dram_status find_checkpoint(const char *run, char **checkpoint)
{
    char *folder;
    int64_t step = -1;
    *checkpoint = NULL;
    if (dram_path_has(run, "state.json")) return dram_path_join("", run, checkpoint);
    TRY(dram_path_join(run, "checkpoints", &folder));
    dram_status status = dram_checkpoint_latest(folder, &step);
    if (status == DRAM_OK && step >= 0) status = dram_checkpoint_path(folder, step, checkpoint);
    dram_free(folder);
    return status;
}

dram_status dram_depends_of_run(const char *run, dram_depends *d, bool *known)
{
    char *checkpoint, *path = NULL;
    cJSON *root = NULL;
    *d = (dram_depends){0};
    *known = false;
    TRY(find_checkpoint(run, &checkpoint));
    if (!checkpoint) return DRAM_OK;
    dram_status status = dram_path_join(checkpoint, "checkpoint.json", &path);
    if (status == DRAM_OK && dram_path_exists(path)) {
        status = dram_json_read_sealed(path, &root);
        if (status == DRAM_OK) status = dram_depends_read(root, path, d);
        *known = status == DRAM_OK;
    }
    cJSON_Delete(root);
    dram_free(path);
    dram_free(checkpoint);
    return status;
}
