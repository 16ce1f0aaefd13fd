/* What was found as JSON: the object "data" of summary.json, and `dram check --json`. */
#include "io/json.h"
#include "check/check.h"

static bool add_number(cJSON *object, const char *key, double value)
{
    return cJSON_AddNumberToObject(object, key, value) != NULL;
}

/* {"count": 3, "first": "000.jpg"}; first is null where there is none. */
static bool add_some(cJSON *object, const char *key, const dram_check_some *some)
{
    cJSON *o = cJSON_AddObjectToObject(object, key);
    return o && add_number(o, "count", some->n) && dram_json_add_text(o, "first", some->n ? some->first : NULL);
}

/* {"height", "width"}, or null. */
static bool add_size(cJSON *object, const char *key, const int size[2])
{
    if (!size[0]) return cJSON_AddNullToObject(object, key) != NULL;
    cJSON *o = cJSON_AddObjectToObject(object, key);
    return o && add_number(o, "height", size[0]) && add_number(o, "width", size[1]);
}

/* Pixels of each class; null where no label was read. */
static bool add_classes(cJSON *object, const dram_check_set *s)
{
    if (!s->labelled_pixels && !s->void_pixels) return cJSON_AddNullToObject(object, "class_pixels") != NULL;
    cJSON *list = cJSON_AddArrayToObject(object, "class_pixels");
    for (int k = 0; list && k < s->classes; k++) {
        cJSON *item = cJSON_CreateNumber((double)s->pixels[k]);
        if (!item || !cJSON_AddItemToArray(list, item)) return false;
    }
    return list != NULL;
}

static bool fill_set(cJSON *o, const dram_check_set *s)
{
    const struct {
        const char *key;
        int n;
    } numbers[] = {
        {"images", s->images},
        {"labels", s->labels},
        {"pairs", s->pairs},
        {"labels_used", s->used},
        {"images_not_in_list", s->unlisted},
        {"images_looked_at", s->looked_images},
        {"labels_looked_at", s->looked_labels},
        {"labels_read", s->read_labels},
        {"files_known", s->known},
        {"left_out", s->bad},
        {"images_of_16_bits", s->deep},
    };
    const struct {
        const char *key;
        const dram_check_some *some;
    } some[] = {
        {"images_without_label", &s->images_alone},
        {"labels_without_image", &s->labels_alone},
        {"folders_not_looked_into", &s->folders},
        {"other_files", &s->others},
        {"broken", &s->broken},
        {"images_of_one_name", &s->twins},
        {"unreadable", &s->unread},
        {"bad_images", &s->bad_images},
        {"bad_labels", &s->bad_labels},
        {"turned", &s->turned},
        {"too_thin", &s->thin},
        {"duplicates", &s->copies},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!add_number(o, numbers[i].key, numbers[i].n)) return false;
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        if (!add_some(o, some[i].key, some[i].some)) return false;
    bool peak = s->deep_looked ? add_number(o, "largest_value_of_16_bits", s->peak)
                               : cJSON_AddNullToObject(o, "largest_value_of_16_bits") != NULL;
    return peak && add_size(o, "smallest", s->smallest) && add_size(o, "largest", s->largest) &&
           add_number(o, "labelled_pixels", (double)s->labelled_pixels) &&
           add_number(o, "void_pixels", (double)s->void_pixels) && add_classes(o, s);
}

static bool add_set(cJSON *object, const char *key, const dram_check_set *s)
{
    if (!s->there) return cJSON_AddNullToObject(object, key) != NULL;
    cJSON *o = cJSON_AddObjectToObject(object, key);
    return o && fill_set(o, s);
}

cJSON *dram_check_json(const dram_check *c)
{
    cJSON *o = cJSON_CreateObject();
    bool good = o && dram_json_add_text(o, "check", dram_data_check_word(c->how)) &&
                cJSON_AddBoolToObject(o, "sampled", c->sampled) && add_set(o, "train", &c->train) &&
                add_set(o, "val", &c->val) && add_some(o, "val_in_train_by_name", &c->shared) &&
                add_some(o, "val_in_train_by_content", &c->between) && add_number(o, "seconds", c->seconds);
    const dram_texts *names = c->class_names;
    if (good && names) good = dram_json_add_texts(o, "class_names", (const char *const *)names->text, names->n);
    if (good) return o;
    cJSON_Delete(o);
    return NULL;
}
