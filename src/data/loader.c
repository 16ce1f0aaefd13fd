#include "data/loader.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/thread.h"
#include "data/look.h"
#include "data/order.h"

enum { MAX_DRAWS = 64, TEXT_ROOM = 1024 };

typedef enum { SLOT_FREE, SLOT_WORKING, SLOT_READY, SLOT_LEFT_OUT, SLOT_FAILED, SLOT_HELD } slot_state;

/* One sample in flight. A worker owns it while it is WORKING; else the loader's lock does. */
typedef struct {
    slot_state state;
    uint8_t *memory; /* student, teacher and label, one block */
    uint8_t *student, *teacher, *label;
    dram_sample sample;
    int peak;           /* dram_image.peak of the sample */
    int bad[MAX_DRAWS]; /* bad images met on the way to this sample, in order */
    int bad_count;
    dram_status status; /* of a FAILED slot, with its text */
    char text[TEXT_ROOM];
} slot;

typedef struct {
    dram_loader *loader;
    pthread_t thread;
    char *path; /* [dram_dataset_path_room] */
} worker;

struct dram_loader {
    dram_loader_params params;
    int files; /* of the dataset */
    int count; /* positions of an evaluation */

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t work, done;
    bool stop;
    int64_t next_in;   /* the sample that the next free slot takes, of those of this loader: 0, 1, 2 .. */
    int64_t next_out;  /* the one to be handed out next */
    dram_order *order; /* in training */
    char **reason;     /* [files] why a file is bad; NULL: it is not known to be */
    bool *counted;     /* [files] bad and reached by the stream */
    slot *slots;       /* [slot_count] */
    int slot_count;

    /* of the consumer's thread */
    int *skipped_list; /* [files] images that are counted, in the order of the stream */
    int skipped;
    int wide, peak;       /* samples of 16 bits so far, and their largest value */
    dram_sample *samples; /* [batch_size] of the held batch */
    dram_status status;   /* what ended the stream, with its text */
    char text[TEXT_ROOM];

    worker *workers; /* [worker_count] started */
    int worker_count;
};

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "out of host memory while loading images");
}

/* Where the k-th sample of this loader stands in the stream. */
static int64_t position_of(const dram_loader *l, int64_t k)
{
    const dram_loader_params *p = &l->params;
    return p->start + p->offset + k / p->batch_size * p->stride + k % p->batch_size;
}

static int image_at(dram_loader *l, int64_t position)
{
    if (!l->params.train) return l->params.list ? l->params.list[position].index : (int)position;
    return dram_order_at(l->order, position);
}

static bool known_bad(dram_loader *l, int index)
{
    pthread_mutex_lock(&l->lock);
    bool bad = l->reason[index] != NULL;
    pthread_mutex_unlock(&l->lock);
    return bad;
}

static dram_status remember_bad(dram_loader *l, int index)
{
    char *text = dram_strdup(dram_error_text());
    dram_error_clear();
    if (!text) return no_memory();
    pthread_mutex_lock(&l->lock);
    if (!l->reason[index]) {
        l->reason[index] = text;
        text = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    dram_free(text); /* another worker met it first */
    return DRAM_OK;
}

static dram_status load_label(const dram_loader *l, slot *s, int orientation, char *path)
{
    const dram_loader_params *p = &l->params;
    dram_sample *sample = &s->sample;
    dram_label label;
    if (!s->label) return DRAM_OK;
    if (!dram_dataset_has_label(p->dataset, sample->index)) {
        memset(s->label, p->labels.ignore_index, (size_t)p->student_size * (size_t)p->student_size);
        return DRAM_OK;
    }
    dram_label_rules rules = p->labels;
    rules.height = sample->full_height;
    rules.width = sample->full_width;
    rules.orientation = orientation;
    rules.stored = p->images.stored;
    TRY(dram_label_load(dram_dataset_label_path(p->dataset, sample->index, path, dram_dataset_path_room(p->dataset)),
                        &rules, &label));
    dram_status status = dram_geometry_label(&sample->geometry, &label, p->student_size, (uint8_t)rules.ignore_index,
                                             s->label, &sample->label_pixels);
    dram_label_free(&label);
    sample->has_label = true;
    return status;
}

/* The sample of one image. DRAM_ERR_FORMAT: the image or its label is bad. */
static dram_status load_sample(const dram_loader *l, slot *s, int index, char *path)
{
    const dram_loader_params *p = &l->params;
    dram_sample *sample = &s->sample;
    dram_image image;
    int room = dram_dataset_path_room(p->dataset);
    TRY(dram_image_load(dram_dataset_image_path(p->dataset, index, path, room), &p->images, &image));
    dram_status status = DRAM_OK;
    *sample = (dram_sample){.student = s->student,
                            .teacher = s->teacher,
                            .label = s->label,
                            .position = sample->position,
                            .index = index,
                            .name = dram_dataset_name(p->dataset, index),
                            .full_height = image.full_height,
                            .full_width = image.full_width};
    if (p->train)
        sample->geometry =
            dram_geometry_draw(&p->augment, p->seed, (uint64_t)sample->position, image.full_height, image.full_width);
    else
        sample->geometry = dram_geometry_fit(image.full_height, image.full_width);
    if (p->list) sample->geometry.flip = p->list[sample->position].flip;
    if (s->student)
        status = dram_geometry_image(&sample->geometry, &image, p->student_size, p->student_size, s->student,
                                     &sample->student_height, &sample->student_width);
    if (status == DRAM_OK && s->teacher)
        status = dram_geometry_image(&sample->geometry, &image, p->teacher_size, p->teacher_canvas, s->teacher,
                                     &sample->teacher_height, &sample->teacher_width);
    s->peak = image.peak;
    int orientation = image.orientation;
    dram_image_free(&image); /* before the label is decoded: the two need not be held together */
    return status == DRAM_OK ? load_label(l, s, orientation, path) : status;
}

/* Fills a slot: the image of its position, or the replacement that loader.h states. */
static slot_state fill(dram_loader *l, slot *s, int index, char *path)
{
    dram_rng draw = dram_rng_make(l->params.seed, DRAM_RNG_ORDER, ~(uint64_t)s->sample.position);
    for (s->bad_count = 0; s->bad_count < MAX_DRAWS;) {
        bool bad = known_bad(l, index);
        if (!bad) {
            s->status = load_sample(l, s, index, path);
            if (s->status == DRAM_OK) return SLOT_READY;
            if (s->status == DRAM_ERR_FORMAT) {
                s->status = remember_bad(l, index);
                bad = s->status == DRAM_OK;
            }
            if (!bad) {
                snprintf(s->text, sizeof s->text, "%s", dram_error_text());
                dram_error_clear();
                return SLOT_FAILED;
            }
        }
        s->bad[s->bad_count++] = index;
        if (!l->params.train || l->params.stop_on_bad) return SLOT_LEFT_OUT;
        index = dram_order_replacement(l->order, s->sample.position, &draw);
    }
    s->status = DRAM_ERR_RUN;
    snprintf(s->text, sizeof s->text, "%d bad images drawn in a row (the last: %s); remove the bad files", MAX_DRAWS,
             dram_dataset_name(l->params.dataset, s->bad[MAX_DRAWS - 1]));
    return SLOT_FAILED;
}

static slot *free_slot(dram_loader *l)
{
    if (!l->params.train && position_of(l, l->next_in) >= l->count) return NULL;
    for (int i = 0; i < l->slot_count; i++)
        if (l->slots[i].state == SLOT_FREE) return &l->slots[i];
    return NULL;
}

/* Positions are taken in order, so the smallest missing one always has a slot: holes of left-out images cannot
 * block. */
static void *work(void *context)
{
    worker *w = context;
    dram_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        slot *s = free_slot(l);
        if (!s) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        s->state = SLOT_WORKING;
        s->sample = (dram_sample){.position = position_of(l, l->next_in++)};
        int index = image_at(l, s->sample.position);
        pthread_mutex_unlock(&l->lock);
        slot_state state = fill(l, s, index, w->path);
        pthread_mutex_lock(&l->lock);
        s->state = state;
        pthread_cond_signal(&l->done);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static dram_status check_params(const dram_loader_params *p)
{
    const char *wrong = NULL;
    bool labels = dram_dataset_labelled(p->dataset) && p->student_size > 0;
    if (p->student_size < (p->train || !p->teacher_size ? 1 : 0)) wrong = "student_size";
    if (p->list && (p->train || p->list_count < 0)) wrong = "list";
    if (p->teacher_size < 0) wrong = "teacher_size";
    if (p->teacher_size > 0 && p->teacher_canvas < p->teacher_size) wrong = "teacher_canvas";
    if (p->batch_size < 1) wrong = "batch_size";
    if (p->workers < 1) wrong = "workers";
    if (p->prefetch < 0) wrong = "prefetch";
    if (p->start < 0) wrong = "start";
    if (p->offset < 0 || p->offset > (p->stride ? p->stride - p->batch_size : 0)) wrong = "offset";
    if (p->stride < 0 || (p->stride && (!p->train || p->stride < p->batch_size))) wrong = "stride";
    if (!(p->labelled_share >= 0 && p->labelled_share <= 1)) wrong = "labelled_share";
    if (p->train && p->augment.crop && !(p->augment.scale_min > 0 && p->augment.scale_min <= p->augment.scale_max))
        wrong = "augment.scale_min";
    if (p->train && !(p->augment.jitter >= 0 && p->augment.jitter <= 1)) wrong = "augment.jitter";
    if (p->train && !(p->augment.hue >= 0 && p->augment.hue <= 0.5)) wrong = "augment.hue";
    if (labels && (p->labels.ignore_index < 0 || p->labels.ignore_index > 255)) wrong = "ignore_index";
    if (labels && p->labels.classes < 1) wrong = "classes";
    if (wrong) return dram_fail(DRAM_ERR_CONFIG, "loader: %s is out of range", wrong);
    return DRAM_OK;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static dram_status make_slots(dram_loader *l)
{
    const dram_loader_params *p = &l->params;
    size_t s = (size_t)p->student_size, t = p->teacher_size ? (size_t)p->teacher_canvas : 0;
    size_t student = aligned(3 * s * s), teacher = aligned(3 * t * t);
    size_t label = dram_dataset_labelled(p->dataset) ? s * s : 0;
    l->slot_count = p->prefetch > p->batch_size ? p->prefetch : p->batch_size;
    l->slots = dram_calloc((size_t)l->slot_count, sizeof *l->slots);
    l->samples = dram_calloc((size_t)p->batch_size, sizeof *l->samples);
    if (!l->slots || !l->samples) return no_memory();
    for (int i = 0; i < l->slot_count; i++) {
        slot *one = &l->slots[i];
        one->memory = dram_alloc(student + teacher + label);
        if (!one->memory) return no_memory();
        one->student = s ? one->memory : NULL;
        one->teacher = t ? one->memory + student : NULL;
        one->label = label ? one->memory + student + teacher : NULL;
    }
    return DRAM_OK;
}

static dram_status start_workers(dram_loader *l)
{
    char what[64];
    int n = l->params.workers, room = dram_dataset_path_room(l->params.dataset);
    l->workers = dram_calloc((size_t)n, sizeof *l->workers);
    if (!l->workers) return no_memory();
    for (int i = 0; i < n; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        w->path = dram_alloc((size_t)room);
        if (!w->path) return no_memory();
        snprintf(what, sizeof what, "loader thread %d of %d", i + 1, n);
        dram_status status = dram_thread_start(&w->thread, work, w, what, "lower data.workers");
        if (status != DRAM_OK) {
            dram_free(w->path);
            return status;
        }
        l->worker_count++;
    }
    return DRAM_OK;
}

dram_status dram_loader_open(const dram_loader_params *params, dram_loader **out)
{
    dram_status status;
    *out = NULL;
    TRY(check_params(params));
    dram_loader *l = dram_calloc(1, sizeof *l);
    if (!l) return no_memory();
    l->params = *params;
    l->files = dram_dataset_count(params->dataset);
    l->count = params->list ? params->list_count : l->files;
    if (!l->params.stride) l->params.stride = params->batch_size;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    l->reason = dram_calloc((size_t)l->files, sizeof *l->reason);
    l->counted = dram_calloc((size_t)l->files, sizeof *l->counted);
    l->skipped_list = dram_calloc((size_t)l->files, sizeof *l->skipped_list);
    if (!l->reason || !l->counted || !l->skipped_list) {
        status = no_memory();
        goto failed;
    }
    if (params->train)
        TRY_GOTO(dram_order_open(params->dataset, params->seed, params->labelled_share, &l->order), failed);
    TRY_GOTO(make_slots(l), failed);
    TRY_GOTO(start_workers(l), failed);
    *out = l;
    return DRAM_OK;
failed:
    dram_loader_close(l);
    return status;
}

static void end_stream(dram_loader *l, dram_status status, const char *text)
{
    l->status = status;
    snprintf(l->text, sizeof l->text, "%s", text);
}

/* Warns about and counts the bad images that this slot met for the first time in the stream. To stop at a bad image is
 * to stop at one that was counted before the stream went on, too. */
static void count_bad(dram_loader *l, const slot *s)
{
    char text[TEXT_ROOM];
    for (int i = 0; i < s->bad_count && l->status == DRAM_OK; i++) {
        int index = s->bad[i];
        bool is_new = !l->counted[index];
        dram_loader_count_skipped(l, index);
        if (l->params.stop_on_bad) {
            snprintf(text, sizeof text, "%s (data.on_bad is stop)", l->reason[index]);
            end_stream(l, DRAM_ERR_RUN, text);
            return;
        }
        if (!is_new) continue;
        if (!l->params.said || !l->params.said[index]) dram_warn("skipped: %s", l->reason[index]);
        if (l->params.said) l->params.said[index] = true;
        if (!dram_dataset_is_too_bad(l->skipped, l->files)) continue;
        snprintf(text, sizeof text, "%d of %d images are bad, more than 10 %%; remove or repair them (the last: %s)",
                 l->skipped, l->files, l->reason[index]);
        end_stream(l, DRAM_ERR_RUN, text);
    }
}

/* The next sample has 16 bits, or the stream has ended (peak 0). A dark picture alone is no reason to warn, so several
 * are looked at. */
static void judge_range(dram_loader *l, int peak, const char *name)
{
    enum { ENOUGH = 8 };
    int range = l->params.images.range ? l->params.images.range : DRAM_IMAGE_FULL_RANGE;
    if (peak > range && dram_range_is_news(true))
        dram_warn("%s has a 16-bit value of %d: what is above data.range, %d, is all white", name, peak, range);
    if (peak) l->wide++;
    if (peak > l->peak) l->peak = peak;
    bool enough = l->wide == (l->files < ENOUGH ? l->files : ENOUGH) || (!peak && l->wide && l->wide < ENOUGH);
    int bits = dram_range_bits(l->peak, range);
    if (!enough || !bits || !dram_range_is_news(false)) return;
    dram_warn("the images of 16 bits are nearly black: the largest value in %d of them is %d, where data.range, %d, is "
              "white; if they hold %d bits, set data.range to %d",
              l->wide, l->peak, range, bits, (1 << bits) - 1);
}

static slot *finished(dram_loader *l, int64_t position)
{
    for (int i = 0; i < l->slot_count; i++) {
        slot *s = &l->slots[i];
        bool ended = s->state == SLOT_READY || s->state == SLOT_LEFT_OUT || s->state == SLOT_FAILED;
        if (ended && s->sample.position == position) return s; /* a WORKING slot's sample is its worker's */
    }
    return NULL;
}

static void release(dram_loader *l)
{
    for (int i = 0; i < l->slot_count; i++)
        if (l->slots[i].state == SLOT_HELD) l->slots[i].state = SLOT_FREE;
    pthread_cond_broadcast(&l->work);
}

dram_status dram_loader_next(dram_loader *l, dram_batch *out)
{
    int count = 0;
    const bool train = l->params.train;
    *out = (dram_batch){0};
    pthread_mutex_lock(&l->lock);
    release(l);
    while (l->status == DRAM_OK && count < l->params.batch_size && (train || position_of(l, l->next_out) < l->count)) {
        slot *s = finished(l, position_of(l, l->next_out));
        if (!s) {
            pthread_cond_wait(&l->done, &l->lock);
            continue;
        }
        count_bad(l, s);
        if (s->state == SLOT_FAILED && l->status == DRAM_OK) end_stream(l, s->status, s->text);
        if (l->status != DRAM_OK) break;
        l->next_out++;
        if (s->state == SLOT_LEFT_OUT) {
            s->state = SLOT_FREE;
            pthread_cond_signal(&l->work);
        } else {
            s->state = SLOT_HELD;
            l->samples[count++] = s->sample;
            if (s->peak) judge_range(l, s->peak, s->sample.name);
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (l->status != DRAM_OK) return dram_fail(l->status, "%s", l->text);
    if (!train && position_of(l, l->next_out) == l->count) judge_range(l, 0, NULL);
    *out = (dram_batch){.count = count, .samples = l->samples};
    return DRAM_OK;
}

void dram_loader_release(dram_loader *l)
{
    pthread_mutex_lock(&l->lock);
    release(l);
    pthread_mutex_unlock(&l->lock);
}

int dram_loader_skipped(const dram_loader *l)
{
    return l->skipped;
}

int dram_loader_skipped_at(const dram_loader *l, int k)
{
    return l->skipped_list[k];
}

void dram_loader_count_skipped(dram_loader *l, int index)
{
    if (!l->counted[index]) l->skipped_list[l->skipped++] = index;
    l->counted[index] = true;
}

int64_t dram_loader_position(const dram_loader *l)
{
    return position_of(l, l->next_out) - l->params.offset;
}

void dram_loader_close(dram_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->worker_count; i++) {
        pthread_join(l->workers[i].thread, NULL);
        dram_free(l->workers[i].path);
    }
    dram_free(l->workers);
    for (int i = 0; l->slots && i < l->slot_count; i++) dram_free(l->slots[i].memory);
    dram_free(l->slots);
    dram_free(l->samples);
    for (int i = 0; l->reason && i < l->files; i++) dram_free(l->reason[i]);
    dram_free(l->reason);
    dram_free(l->counted);
    dram_free(l->skipped_list);
    dram_order_close(l->order);
    pthread_cond_destroy(&l->done);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    dram_free(l);
}
