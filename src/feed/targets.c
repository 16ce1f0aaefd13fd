#include "feed/targets.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "data/look.h"
#include "feed/datasets.h"
#include "io/safetensors.h"
#include "session/programs.h"

static dram_embedding_format format_of(const dram_config *cfg)
{
    bool int8 = cfg->sam_distill.cache_format == DRAM_CACHE_FORMAT_INT8;
    return int8 ? DRAM_EMBEDDING_INT8 : DRAM_EMBEDDING_FP16;
}

static int64_t payload_bytes(const dram_config *cfg)
{
    int64_t side = dram_teacher_grid(cfg);
    return dram_embedding_bytes(format_of(cfg), side * side, DRAM_EMBED_CHANNELS);
}

int64_t dram_targets_image_bytes(const dram_config *cfg)
{
    return DRAM_CACHE_HEADER + payload_bytes(cfg);
}

dram_config dram_targets_fill_config(const dram_config *cfg)
{
    dram_config fill = dram_config_one_image(cfg);
    fill.memory.may_change = 0;
    return fill;
}

/* ---- opening ---- */

/* What the weights are: the hash of their files, or where they are drawn from. */
static dram_status name_teacher(const dram_config *cfg, const volatile sig_atomic_t *stop, char *text, int size)
{
    char hash[DRAM_HASH_SIZE];
    const struct dram_config_sam_distill_teacher *teacher = &cfg->sam_distill.teacher;
    if (strcmp(teacher->weights, DRAM_WEIGHTS_RANDOM) == 0) {
        int n = snprintf(text, (size_t)size, "random:%" PRId64, teacher->seed);
        if (teacher->native_size) snprintf(text + n, (size_t)(size - n), " native %d", teacher->native_size);
        return DRAM_OK;
    }
    TRY(dram_st_hash(teacher->weights, stop, hash));
    snprintf(text, (size_t)size, "%s", hash);
    return DRAM_OK;
}

static dram_status open_cache(const dram_config *cfg, const volatile sig_atomic_t *stop, dram_targets *t)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    char teacher[64], where[600];
    TRY(name_teacher(cfg, stop, teacher, sizeof teacher));
    const dram_cache_fact facts[] = {
        {.name = "teacher", .text = teacher},
        {.name = "model_type", .text = sam->teacher.model_type},
        {.name = "sam_input_size", .number = sam->sam_input_size},
        {.name = "pad_to", .number = sam->pad_to > sam->sam_input_size ? sam->pad_to : 0},
        {.name = "precision", .text = dram_precision_word(sam->teacher.precision)},
        {.name = "format", .text = dram_cache_format_word(sam->cache_format)},
        {.name = "grid", .number = dram_teacher_grid(cfg)},
        {.name = "channels", .number = DRAM_EMBED_CHANNELS},
    };
    snprintf(where, sizeof where, "%s: sam_distill.cache: ", dram_config_where(cfg, "sam_distill.cache"));
    dram_status status =
        dram_cache_open(sam->cache, facts, sizeof facts / sizeof facts[0], payload_bytes(cfg), &t->cache);
    return status == DRAM_OK ? status : dram_error_prefix(status, where);
}

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for what a cache of embeddings needs");
}

static dram_status interrupted(void)
{
    return dram_fail(DRAM_INTERRUPTED, "interrupted before the first step, while the images were read");
}

/* What makes the pixels beside the file's content, where it is not what it always was: JPEG and WebP turned by EXIF, PNG
 * not, samples of 16 bits cut to 8. So a cache made before there was a choice stays good. */
static void name_pixels(const dram_image_rules *rules, const dram_image_header *image, char *out, size_t size)
{
    bool turned = image->orientation != 1 && !rules->stored;
    bool always = image->orientation != 1 && strcmp(image->format, "PNG") != 0;
    int n = snprintf(out, size, "%s", turned == always ? "" : turned ? " turned" : " stored");
    if (image->bits == 16 && rules->range != DRAM_IMAGE_FULL_RANGE)
        snprintf(out + n, size - (size_t)n, " range %d", rules->range);
}

/* The hash of an image file's content, and what name_pixels says of it; of a bad image, nothing. */
static dram_status read_image(const dram_image_rules *rules, const char *path, const volatile sig_atomic_t *stop,
                              char content[DRAM_HASH_SIZE], char *pixels, size_t size)
{
    uint8_t *bytes;
    size_t n;
    dram_image_header header;
    pixels[0] = '\0';
    dram_status status = dram_image_read(path, rules->max_bytes, &bytes, &n);
    if (status == DRAM_ERR_FORMAT) { /* too large */
        dram_error_clear();
        return dram_hash_file(path, stop, content);
    }
    if (status != DRAM_OK) return status;
    dram_hash_memory(bytes, n, content);
    status = dram_image_look(bytes, n, path, &header);
    if (status == DRAM_OK) name_pixels(rules, &header, pixels, size);
    dram_free(bytes);
    if (status != DRAM_ERR_FORMAT) return status;
    dram_error_clear();
    return DRAM_OK;
}

/* keys[flips * i + flip]: one or two for each image. */
static dram_status find_keys(const dram_config *cfg, const dram_dataset *dataset, int flips,
                             const volatile sig_atomic_t *stop, dram_hash128 **keys)
{
    char content[DRAM_HASH_SIZE], pixels[40], text[160];
    const dram_image_rules rules = dram_datasets_image_rules(cfg);
    int n = dram_dataset_count(dataset), room = dram_dataset_path_room(dataset);
    dram_status status = DRAM_OK;
    *keys = dram_alloc((size_t)n * (size_t)flips * sizeof **keys);
    char *path = dram_alloc((size_t)room);
    if (!*keys || !path) status = no_memory();
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        const char *file = dram_dataset_image_path(dataset, i, path, room);
        status = stop && *stop ? interrupted() : read_image(&rules, file, stop, content, pixels, sizeof pixels);
        for (int flip = 0; flip < flips && status == DRAM_OK; flip++) {
            int length = snprintf(text, sizeof text, "image %s flip %d max_pixels %d%s", content, flip,
                                  cfg->data.max_pixels, pixels);
            (*keys)[flips * i + flip] = dram_hash_128(text, (size_t)length);
        }
    }
    dram_free(path);
    return status;
}

dram_status dram_targets_open(const dram_config *cfg, const dram_dataset *train, const dram_dataset *val,
                              const volatile sig_atomic_t *stop, dram_targets *t)
{
    int64_t side = dram_teacher_grid(cfg);
    *t = (dram_targets){0};
    if (!cfg->sam_distill.enabled || !cfg->sam_distill.cache) return DRAM_OK;
    t->format = format_of(cfg);
    t->cells = side * side;
    t->directory = cfg->sam_distill.cache;
    TRY(open_cache(cfg, stop, t));
    t->packed = dram_alloc((size_t)payload_bytes(cfg));
    t->half = dram_alloc((size_t)t->cells * DRAM_EMBED_CHANNELS * sizeof *t->half);
    if (!t->packed || !t->half) return no_memory();
    if (train) TRY(find_keys(cfg, train, 2, stop, &t->train));
    if (val) TRY(find_keys(cfg, val, 1, stop, &t->val));
    return DRAM_OK;
}

void dram_targets_close(dram_targets *t)
{
    dram_cache_close(t->cache);
    dram_free(t->train);
    dram_free(t->val);
    dram_free(t->packed);
    dram_free(t->half);
    *t = (dram_targets){0};
}

dram_status dram_targets_read(dram_targets *t, bool val, const dram_sample *sample)
{
    char where[300];
    dram_hash128 key = val ? t->val[sample->index] : t->train[2 * sample->index + sample->geometry.flip];
    if (!dram_cache_has(t->cache, key))
        return dram_fail(DRAM_ERR_RUN, "%s has no embedding in %s: the image was bad when the run began; start again",
                         sample->name, t->directory);
    snprintf(where, sizeof where, "%.250s: ", sample->name);
    dram_status status = dram_cache_get(t->cache, key, t->packed);
    if (status != DRAM_OK) return dram_error_prefix(status, where);
    dram_embedding_unpack(t->format, t->cells, DRAM_EMBED_CHANNELS, t->packed, t->half);
    return DRAM_OK;
}
