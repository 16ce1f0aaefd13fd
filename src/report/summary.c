#include "report/summary.h"

#include <math.h>

#include "base/alloc.h"
#include "io/json.h"
#include "io/path.h"

/* NaN is what was not measured: null in JSON. */
static bool add_number(cJSON *object, const char *key, double value)
{
    return (isfinite(value) ? cJSON_AddNumberToObject(object, key, value) : cJSON_AddNullToObject(object, key)) != NULL;
}

static bool fill_eval(cJSON *object, const dram_eval_result *r)
{
    if (!add_number(object, "miou", r->miou) || !add_number(object, "embedding_cosine", r->embedding_cosine) ||
        !add_number(object, "embedding_mse", r->embedding_mse) ||
        !add_number(object, "pixel_accuracy", r->pixel_accuracy) || !add_number(object, "images", r->images) ||
        !add_number(object, "skipped_images", r->skipped) ||
        !add_number(object, "images_compared", r->embedded < 0 ? NAN : r->embedded) ||
        !add_number(object, "images_without_cell", r->without_cell < 0 ? NAN : r->without_cell) ||
        !add_number(object, "images_without_label", r->classes ? r->unlabelled : NAN) ||
        !add_number(object, "labelled_pixels", r->classes ? (double)r->labelled_pixels : NAN) ||
        !add_number(object, "void_pixels", r->classes ? (double)r->void_pixels : NAN) ||
        !add_number(object, "classes_in_no_label", r->classes ? r->absent : NAN))
        return false;
    if (!r->classes || !isfinite(r->miou)) return true;
    cJSON *classes = cJSON_AddArrayToObject(object, "class_iou");
    for (int k = 0; classes && k < r->classes && k < 256; k++) {
        cJSON *item = isfinite(r->class_iou[k]) ? cJSON_CreateNumber(r->class_iou[k]) : cJSON_CreateNull();
        if (!item || !cJSON_AddItemToArray(classes, item)) return false;
    }
    const dram_texts *names = r->class_names;
    if (!classes || !names) return classes != NULL;
    return dram_json_add_texts(object, "class_names", (const char *const *)names->text, names->n);
}

cJSON *dram_eval_json(const dram_eval_result *result)
{
    cJSON *object = cJSON_CreateObject();
    if (object && fill_eval(object, result)) return object;
    cJSON_Delete(object);
    return NULL;
}

cJSON *dram_fidelity_json(const dram_fidelity *r)
{
    cJSON *object = cJSON_CreateObject();
    bool good = object && add_number(object, "cosine", r->cosine) && add_number(object, "worst", r->worst) &&
                dram_json_add_text(object, "worst_image", r->images ? r->worst_image : NULL) &&
                add_number(object, "images", r->images) && add_number(object, "skipped_images", r->skipped) &&
                add_number(object, "images_without_cell", r->without_cell) &&
                add_number(object, "sam_input_size", r->size) && add_number(object, "canvas", r->canvas) &&
                add_number(object, "full_size", r->full);
    if (good) return object;
    cJSON_Delete(object);
    return NULL;
}

cJSON *dram_picture_json(const dram_features_picture *p)
{
    cJSON *object = cJSON_CreateObject();
    bool good = object && dram_json_add_text(object, "image", p->image) &&
                dram_json_add_text(object, "picture", p->path) && add_number(object, "embedding_cosine", p->cosine) &&
                add_number(object, "embedding_mse", p->mse) && add_number(object, "explained_variance", p->explained);
    if (good) return object;
    cJSON_Delete(object);
    return NULL;
}

/* "gpu_process"; null on the CPU, and what the driver does not count is null too. */
static bool add_process(cJSON *object, const dram_gpu_process *p)
{
    if (!p->gpu) return cJSON_AddNullToObject(object, "gpu_process") != NULL;
    cJSON *o = cJSON_AddObjectToObject(object, "gpu_process");
    return o && add_number(o, "planned_bytes", (double)p->planned_bytes) &&
           cJSON_AddBoolToObject(o, "overhead_measured", p->overhead_measured) &&
           add_number(o, "measured_bytes", p->measured_bytes ? (double)p->measured_bytes : NAN) &&
           dram_json_add_text(o, "counted", dram_counted_word(p->counted)) &&
           add_number(o, "programs_recorded", p->recorded) && add_number(o, "programs_not_recorded", p->refused) &&
           dram_json_add_text(o, "not_recorded_why", p->refused ? p->refused_why : NULL);
}

/* 0 is what nothing is known of. */
static bool add_bytes(cJSON *object, const char *key, int64_t bytes)
{
    return add_number(object, key, bytes ? (double)bytes : NAN);
}

static bool add_environment(cJSON *object, const dram_summary_ranks *r)
{
    cJSON *o = cJSON_AddObjectToObject(object, "environment");
    for (int i = 0; o && i < r->variables; i++)
        if (!dram_json_add_text(o, r->environment[i][0], r->environment[i][1])) return false;
    return o != NULL;
}

/* "distributed"; null with one rank. */
static bool add_ranks(cJSON *object, const dram_summary_ranks *r)
{
    if (!r->ranks) return cJSON_AddNullToObject(object, "distributed") != NULL;
    cJSON *o = cJSON_AddObjectToObject(object, "distributed");
    bool good = o && add_number(o, "ranks", r->ranks) && add_number(o, "nodes", r->nodes) &&
                dram_json_add_text(o, "backend", r->backend) && dram_json_add_text(o, "launcher", r->launcher) &&
                dram_json_add_text(o, "library_version", r->version) &&
                dram_json_add_text(o, "reduce", r->fast ? "fast" : "ordered") &&
                dram_json_add_text(o, "batch_norm", r->local ? "local" : "sync") &&
                add_number(o, "channels", r->channels ? r->channels : NAN) && add_environment(o, r) &&
                add_bytes(o, "comm_planned_bytes", r->planned_bytes) &&
                add_bytes(o, "comm_measured_bytes", r->taken_bytes) && add_number(o, "comm_seconds", r->comm_seconds) &&
                add_number(o, "wait_seconds", r->wait_seconds) &&
                add_number(o, "failed_rank", r->failed_rank >= 0 ? r->failed_rank : NAN) &&
                dram_json_add_text(o, "failed_text", r->failed_rank >= 0 ? r->failed_text : NULL);
    cJSON *each = good && r->measured ? cJSON_AddArrayToObject(o, "arena_bytes") : NULL;
    for (int i = 0; each && i < r->ranks; i++)
        if (!cJSON_AddItemToArray(each, cJSON_CreateNumber((double)r->arena_bytes[i]))) return false;
    return good && (each || (!r->measured && cJSON_AddNullToObject(o, "arena_bytes")));
}

cJSON *dram_summary_json(const dram_summary *s, dram_status status)
{
    cJSON *object = cJSON_CreateObject();
    bool good = object && add_number(object, "steps", (double)s->steps) &&
                add_number(object, "steps_in_all", (double)s->steps_in_all) &&
                add_number(object, "planned_peak_bytes", (double)s->planned_peak_bytes) &&
                add_number(object, "measured_peak_bytes", (double)s->measured_peak_bytes) &&
                add_number(object, "process_peak_rss_bytes", (double)s->process_peak_rss_bytes) &&
                add_process(object, &s->process) && add_ranks(object, &s->distributed) &&
                add_number(object, "images_per_second", s->images_per_second) &&
                add_number(object, "device_utilization", s->device_utilization) &&
                add_number(object, "cpu_utilization", s->cpu_utilization) &&
                add_number(object, "skipped_images", s->skipped_images) &&
                add_number(object, "skipped_steps", (double)s->skipped_steps) &&
                add_number(object, "loss_scale", s->loss_scale) && add_number(object, "final_loss", s->final_loss);
    cJSON *eval = good && s->evaluated ? dram_eval_json(&s->eval) : cJSON_CreateNull();
    cJSON *data = s->data.train.there ? dram_check_json(&s->data) : cJSON_CreateNull();
    good = good && eval && cJSON_AddItemToObject(object, "eval", eval) && data &&
           cJSON_AddItemToObject(object, "data", data) && add_number(object, "exit", dram_status_exit(status));
    if (good) return object;
    cJSON_Delete(object);
    return NULL;
}

/* summary.json, where it is one of a run of so many steps; NULL otherwise. What cannot be read is written anew. */
static cJSON *read_summary(const char *path, int64_t steps)
{
    cJSON *object = NULL;
    if (!dram_path_exists(path)) return NULL;
    if (dram_json_read(path, &object) != DRAM_OK) dram_error_clear();
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, "steps");
    bool whole = cJSON_HasObjectItem(object, "eval") && cJSON_HasObjectItem(object, "exit");
    if (whole && cJSON_IsNumber(item) && item->valuedouble == (double)steps) return object;
    cJSON_Delete(object);
    return NULL;
}

dram_status dram_summary_done(const char *directory, int64_t steps, bool *done)
{
    char *path;
    TRY(dram_path_join(directory, "summary.json", &path));
    cJSON *object = read_summary(path, steps);
    const cJSON *code = object ? cJSON_GetObjectItemCaseSensitive(object, "exit") : NULL;
    *done = cJSON_IsNumber(code) && code->valuedouble == 0;
    cJSON_Delete(object);
    dram_free(path);
    return DRAM_OK;
}

/* Puts a member of `from` in the place of that of `to`. */
static bool move_member(cJSON *from, cJSON *to, const char *key)
{
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(from, key);
    if (item && cJSON_ReplaceItemInObjectCaseSensitive(to, key, item)) return true;
    cJSON_Delete(item);
    return false;
}

dram_status dram_summary_write(const dram_summary *summary, dram_status status, bool again, const char *directory)
{
    char *path;
    TRY(dram_path_join(directory, "summary.json", &path));
    cJSON *object = dram_summary_json(summary, status), *before = again ? read_summary(path, summary->steps) : NULL;
    bool kept = object && before && move_member(object, before, "exit") &&
                (!summary->evaluated || move_member(object, before, "eval"));
    dram_status written = object && kept == (before != NULL) ? dram_json_write(path, kept ? before : object)
                                                             : dram_fail(DRAM_ERR_MEMORY, "no memory for summary.json");
    cJSON_Delete(before);
    cJSON_Delete(object);
    dram_free(path);
    return written;
}
