#include "evaluate/predictions.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/folder.h"
#include "base/str.h"
#include "evaluate/logits.h"
#include "evaluate/palette.h"
#include "evaluate/picture.h"
#include "feed/datasets.h"
#include "io/atomic.h"
#include "io/path.h"

struct dram_predictions {
    const dram_dataset *dataset;
    char *folder;
    char *path; /* of an image, a label or a picture */
    int room;
    float *row; /* [K] logits at one pixel */
    dram_color color[256];
    int most;                     /* images that are shown */
    int64_t pixels;               /* of a picture that is */
    dram_predictions_shown shown; /* NULL: pictures are written */
    void *context;
};

/* ---- the folder ---- */

/* Whether a folder is `in`, or lies somewhere inside it. */
static bool lies_in(const char *folder, const char *in)
{
    bool found = false, above = true;
    dram_str path = {0}, parent = {0};
    dram_str_add(&path, "%s", folder);
    while (!path.failed && !(found = dram_same_place(path.text, in)) && above) {
        parent.length = 0;
        dram_str_add(&parent, "%s/..", path.text);
        above = !parent.failed && strlen(parent.text) < PATH_MAX && !dram_same_place(path.text, parent.text);
        dram_str_add(&path, "/..");
    }
    dram_str_free(&path);
    dram_str_free(&parent);
    return found;
}

/* Pictures among what is learned from would be learned from. */
static dram_status check_folder(const dram_config *cfg, const char *folder)
{
    const struct dram_config_data *data = &cfg->data;
    const char *const taken[] = {data->val.images, data->val.labels, data->train.images, data->train.labels};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (!taken[i]) continue;
        if (dram_same_place(folder, taken[i]))
            return dram_fail(DRAM_ERR_CONFIG,
                             "%s: this folder holds the images or the labels of the config; name another one for the "
                             "predictions",
                             folder);
        if (data->recursive && lies_in(folder, taken[i]))
            return dram_fail(DRAM_ERR_CONFIG,
                             "%s: this folder is inside %s, which is looked into with data.recursive; name another one "
                             "for the predictions",
                             folder, taken[i]);
    }
    return DRAM_OK;
}

static int by_stem(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    int n = dram_stem(x), m = dram_stem(y), order = memcmp(x, y, (size_t)(n < m ? n : m));
    return order ? order : n - m;
}

static dram_status check_stems(const dram_config *cfg, const dram_dataset *dataset)
{
    dram_status status = DRAM_OK;
    int n = dram_dataset_count(dataset);
    const char **names = dram_alloc((size_t)n * sizeof *names);
    if (!names) return dram_fail(DRAM_ERR_MEMORY, "no memory for the names of images");
    for (int i = 0; i < n; i++) names[i] = dram_dataset_name(dataset, i);
    qsort(names, (size_t)n, sizeof *names, by_stem);
    for (int i = 1; i < n && status == DRAM_OK; i++)
        if (by_stem(&names[i - 1], &names[i]) == 0)
            status = dram_config_fail(cfg, "data.val.images",
                                      "the predictions of %s and %s would both be %.*s.png; "
                                      "rename one of them",
                                      names[i - 1], names[i], dram_stem(names[i]), names[i]);
    dram_free(names);
    return status;
}

static const char *picture_path(const dram_predictions *p, const char *image)
{
    snprintf(p->path, (size_t)p->room, "%s/%.*s.png", p->folder, dram_stem(image), image);
    return p->path;
}

static dram_status make_room(dram_predictions *p, const dram_config *cfg, size_t folder)
{
    p->room = dram_dataset_path_room(p->dataset) + (int)folder;
    p->path = dram_alloc((size_t)p->room);
    p->row = dram_alloc((size_t)cfg->data.classes * sizeof *p->row);
    return p->path && p->row ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for pictures of predictions");
}

static dram_status open_folder(dram_predictions *p, const dram_config *cfg, const char *folder)
{
    TRY(check_stems(cfg, p->dataset));
    TRY(dram_folder_for_output(folder));
    TRY(dram_remove_leftovers(folder));
    TRY(check_folder(cfg, folder));
    TRY(make_room(p, cfg, strlen(folder)));
    p->folder = dram_strdup(folder);
    if (!p->folder) return dram_fail(DRAM_ERR_MEMORY, "no memory to write predictions");
    for (int i = 0; i < dram_dataset_count(p->dataset); i++) {
        const char *path = picture_path(p, dram_dataset_name(p->dataset, i));
        TRY(dram_picture_folders(path, strlen(folder)));
        TRY(dram_picture_check(path));
    }
    return DRAM_OK;
}

static dram_status make(const dram_config *cfg, const dram_dataset *dataset, dram_predictions **out)
{
    *out = NULL;
    if (!cfg->task.enabled)
        return dram_config_fail(cfg, "task.enabled", "predictions are those of the task; set it to true to see them");
    dram_predictions *p = dram_calloc(1, sizeof *p);
    if (!p) return dram_fail(DRAM_ERR_MEMORY, "no memory to write predictions");
    p->dataset = dataset;
    dram_palette(p->color, cfg->data.classes);
    *out = p;
    return DRAM_OK;
}

/* Which is closed if it came to an error. */
static dram_status made(dram_predictions **out, dram_status status)
{
    if (status == DRAM_OK) return DRAM_OK;
    dram_predictions_close(*out);
    *out = NULL;
    return status;
}

dram_status dram_predictions_open(const dram_config *cfg, const char *folder, const dram_dataset *dataset,
                                  dram_predictions **out)
{
    TRY(make(cfg, dataset, out));
    return made(out, open_folder(*out, cfg, folder));
}

dram_status dram_predictions_show(const dram_config *cfg, const dram_dataset *dataset, int most, int64_t pixels,
                                  dram_predictions_shown shown, void *context, dram_predictions **out)
{
    TRY(make(cfg, dataset, out));
    dram_predictions *p = *out;
    p->most = most;
    p->pixels = pixels;
    p->shown = shown;
    p->context = context;
    return made(out, make_room(p, cfg, 0));
}

void dram_predictions_close(dram_predictions *p)
{
    if (!p) return;
    dram_free(p->folder);
    dram_free(p->path);
    dram_free(p->row);
    dram_free(p);
}

/* ---- pictures ---- */

typedef struct {
    const dram_config *cfg;
    const dram_sample *sample;
    dram_logits logits;
    dram_image image;
    dram_label label; /* no ids: there is none */
} picture;

static uint8_t half(uint8_t a, uint8_t b)
{
    return (uint8_t)((a + b + 1) / 2);
}

/* The label's pixel under a point of the original image. */
static int label_at(const picture *q, double y, double x)
{
    int i = y < 0 ? 0 : (int)y, j = x < 0 ? 0 : (int)x;
    if (i >= q->label.height) i = q->label.height - 1;
    if (j >= q->label.width) j = q->label.width - 1;
    return q->label.ids[(int64_t)i * q->label.width + j];
}

static void lay_over(const dram_predictions *p, picture *q)
{
    dram_image *image = &q->image;
    int ignore = q->cfg->data.ignore_index;
    for (int i = 0; i < image->height; i++)
        for (int j = 0; j < image->width; j++) {
            double y = (i + 0.5 - image->origin_y) / image->scale_y, x = (j + 0.5 - image->origin_x) / image->scale_x;
            if (q->label.ids && label_at(q, y, x) == ignore) continue;
            int guess = dram_logits_class(&q->logits, y, x, p->row);
            if (guess == ignore) continue;
            uint8_t *pixel = image->pixels + 3 * ((int64_t)i * image->width + j);
            const dram_color *color = &p->color[guess];
            pixel[0] = half(pixel[0], color->r);
            pixel[1] = half(pixel[1], color->g);
            pixel[2] = half(pixel[2], color->b);
        }
}

static dram_status load_picture(const dram_predictions *p, picture *q)
{
    dram_image_rules how = dram_datasets_image_rules(q->cfg);
    if (p->shown && (!how.max_pixels || how.max_pixels > p->pixels)) how.max_pixels = p->pixels;
    int index = q->sample->index;
    TRY(dram_image_load(dram_dataset_image_path(p->dataset, index, p->path, p->room), &how, &q->image));
    if (!q->sample->has_label) return DRAM_OK;
    const dram_label_rules rules = dram_datasets_label_rules(q->cfg, q->image.full_height, q->image.full_width);
    return dram_label_load(dram_dataset_label_path(p->dataset, index, p->path, p->room), &rules, &q->label);
}

static dram_status show(const dram_predictions *p, const picture *q)
{
    void *png;
    size_t n;
    const dram_image *image = &q->image;
    const char *name = q->sample->name;
    TRY(dram_image_encode_png(name, NULL, image->pixels, image->height, image->width, &png, &n));
    dram_status status = p->shown(p->context, name, image->height, image->width, png, n);
    dram_free(png);
    return status;
}

dram_status dram_predictions_write(const dram_predictions *p, const dram_config *cfg, const dram_sample *sample,
                                   const float *logits, const dram_shape *shape)
{
    picture q = {.cfg = cfg, .sample = sample, .logits = dram_logits_of(sample, logits, shape)};
    if (p->shown && sample->index >= p->most) return DRAM_OK;
    dram_status status = load_picture(p, &q);
    if (status == DRAM_OK) {
        lay_over(p, &q);
        status = p->shown
                     ? show(p, &q)
                     : dram_picture_write(picture_path(p, sample->name), q.image.pixels, q.image.height, q.image.width);
    }
    dram_label_free(&q.label);
    dram_image_free(&q.image);
    return status;
}
