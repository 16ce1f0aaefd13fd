/* Bytes as the state.json of a run of eight images and seed 3.
 * -max_len=512 */
#include <math.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fuzz/folder.h"
#include "io/json.h"
#include "train/state.h"

enum { SEED = 3, IMAGES = 8, ROOM = 4096 };

static const char *const names[IMAGES] = {"a.jpg",    "b.jpg",    "c.jpg",         "d e.jpg",
                                          "f\"g.jpg", "h\\i.jpg", "j\xc3\xa4.jpg", "k\xff.jpg"};
static dram_dataset *dataset;
static int warnings;

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    must(level == DRAM_LOG_WARNING && strlen(message) > 10 && is_one_line(message));
    warnings++;
}

static void make_dataset(void)
{
    must(mkdir(path_in_folder("images"), 0777) == 0);
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "images/%s", names[i]);
        put_in_folder(name, "", 0);
    }
    const dram_dataset_params params = {.images = path_in_folder("images"), .label_fraction = 1, .seed = 1};
    must(dram_dataset_open(&params, &dataset) == DRAM_OK && dram_dataset_count(dataset) == IMAGES);
    dram_log_set_sink(keep_warning, NULL);
}

/* Whether the list of the file has this image. */
static bool is_listed(const cJSON *root, const char *name)
{
    const cJSON *item;
    bool found = false;
    dram_str room = {0};
    const char *text = dram_json_name(name, &room);
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "skipped_images"))
    {
        found = found || (cJSON_IsString(item) && strcmp(item->valuestring, text) == 0);
    }
    dram_str_free(&room);
    return found;
}

static void check_state(const uint8_t *data, size_t size, const dram_run_state *state, int64_t tracked)
{
    char text[ROOM + 1];
    cJSON *root;
    int exponent, skipped = 0;
    const int64_t most = 999999999999999, *const count[] = {&state->step, &state->position, &state->scaling.good,
                                                            &state->scaling.skipped, &tracked};
    for (size_t i = 0; i < sizeof count / sizeof count[0]; i++) must(*count[i] >= 0 && *count[i] <= most);
    must(state->scaling.scale >= 1 && isfinite(state->scaling.scale) && frexp(state->scaling.scale, &exponent) == 0.5);
    memcpy(text, data, size);
    text[size] = '\0';
    must(dram_json_parse(text, size, &root, NULL) == DRAM_OK);
    for (int i = 0; i < IMAGES; i++) {
        must(state->is_skipped[i] == is_listed(root, dram_dataset_name(dataset, i)));
        skipped += state->is_skipped[i];
    }
    must(skipped == state->skipped);
    cJSON_Delete(root);
}

/* What is written of it is read as the same. */
static void check_written(const dram_run_state *state, int64_t tracked)
{
    bool is_skipped[IMAGES];
    dram_run_state again = {.dataset = dataset, .is_skipped = is_skipped};
    int64_t tracked_again;
    warnings = 0;
    must(dram_state_write(path_in_folder("state.json"), SEED, tracked, state) == DRAM_OK);
    must(dram_state_read(path_in_folder("state.json"), SEED, &tracked_again, &again) == DRAM_OK && !warnings);
    must(again.step == state->step && again.position == state->position && tracked_again == tracked);
    must(memcmp(&again.scaling, &state->scaling, sizeof again.scaling) == 0 && again.skipped == state->skipped);
    must(memcmp(is_skipped, state->is_skipped, sizeof is_skipped) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_skipped[IMAGES] = {0};
    int64_t tracked = -1;
    if (!dataset) make_dataset();
    if (size > ROOM) return 0;
    int64_t before = dram_alloc_bytes();
    dram_run_state state = {.dataset = dataset, .is_skipped = is_skipped};
    warnings = 0;
    dram_status status = dram_state_read(file_of(data, size), SEED, &tracked, &state);
    must(warnings <= 1);
    if (status == DRAM_OK) {
        must(!*dram_error_text());
        check_state(data, size, &state, tracked);
        if (size % 32 == 0) check_written(&state, tracked);
    } else {
        must(status == DRAM_ERR_FORMAT || status == DRAM_ERR_CONFIG);
        refused();
    }
    must(dram_alloc_bytes() == before);
    return 0;
}
