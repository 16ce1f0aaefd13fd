#include "evaluate/eval.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "evaluate/logits.h"
#include "feed/datasets.h"

typedef struct {
    int64_t *confusion; /* [K,K]: label, prediction */
    float *logits;      /* [N,h,w,K], read back */
    float *row;         /* [K] logits at one pixel */
    char *path;
    int path_room;
    int64_t labelled, void_pixels;
    int with_pixels; /* images with a labelled pixel */
    double cosine, mse;
    int embedded;
} tally;

/* Counts one image's labels against its logits. */
static dram_status count_image(const dram_session *s, const dram_dataset *dataset, const dram_sample *sample,
                               const float *logits, const dram_shape *shape, tally *t)
{
    dram_label label;
    const dram_config *cfg = &s->cfg;
    int classes = s->graphs.classes;
    const dram_logits at = dram_logits_of(sample, logits, shape);
    const dram_label_rules rules = dram_datasets_label_rules(cfg, sample->full_height, sample->full_width);
    TRY(dram_label_load(dram_dataset_label_path(dataset, sample->index, t->path, t->path_room), &rules, &label));
    int64_t before = t->labelled;
    for (int y = 0; y < label.height; y++)
        for (int x = 0; x < label.width; x++) {
            int id = label.ids[(int64_t)y * label.width + x];
            if (id == cfg->data.ignore_index) continue;
            t->labelled++;
            int guess = dram_logits_class(&at, y + 0.5, x + 0.5, t->row);
            t->confusion[(int64_t)id * classes + guess]++;
        }
    t->void_pixels += (int64_t)label.height * label.width - (t->labelled - before);
    t->with_pixels += t->labelled > before;
    dram_label_free(&label);
    return DRAM_OK;
}

static dram_status read_scalar(dram_session *s, const dram_io *io, dram_val v, double *value)
{
    float number;
    TRY(dram_exec_read(s->exec, io->index, v, &number, sizeof number));
    *value = number;
    return DRAM_OK;
}

static dram_status count_batch(dram_session *s, const dram_dataset *dataset, const dram_batch *batch,
                               const dram_predictions *predictions, tally *t)
{
    const dram_io *io = &s->graphs.io[DRAM_PROGRAM_EVALUATION];
    if (io->cosine_gap != DRAM_NONE) {
        /* The program's means are over its whole batch, in which images without a cell and absent ones count 0. */
        double gap, mse, full = s->graphs.batch;
        int with = dram_feed_with_cells(&s->graphs, batch->samples, batch->count, s->graphs.grid);
        TRY(read_scalar(s, io, io->cosine_gap, &gap));
        TRY(read_scalar(s, io, io->mse, &mse));
        t->cosine += with - gap * full;
        t->mse += mse * full;
        t->embedded += with;
    }
    if (io->logits == DRAM_NONE) return DRAM_OK;
    const dram_value *value = dram_value_at(io->graph, io->logits);
    int64_t each = dram_elements(&value->shape) / s->graphs.batch;
    TRY(dram_exec_read(s->exec, io->index, io->logits, t->logits, dram_value_bytes(value)));
    for (int i = 0; i < batch->count; i++) {
        const dram_sample *sample = &batch->samples[i];
        const float *logits = t->logits + i * each;
        if (sample->has_label) TRY(count_image(s, dataset, sample, logits, &value->shape, t));
        if (predictions) TRY(dram_predictions_write(predictions, &s->cfg, sample, logits, &value->shape));
    }
    return DRAM_OK;
}

/* IoU of a class = hits / (hits + misses + false alarms). The mean is over the classes present in the labels. */
static void score(const tally *t, int classes, int ignore_index, dram_eval_result *r)
{
    int64_t right = 0, all = 0;
    int present = 0;
    double sum = 0;
    r->classes = classes;
    for (int k = 0; k < classes; k++) {
        int64_t hit = t->confusion[(int64_t)k * classes + k], labelled = 0, guessed = 0;
        for (int j = 0; j < classes; j++) {
            labelled += t->confusion[(int64_t)k * classes + j];
            guessed += t->confusion[(int64_t)j * classes + k];
        }
        right += hit;
        all += labelled;
        double iou = labelled ? (double)hit / (double)(labelled + guessed - hit) : NAN;
        if (k < 256) r->class_iou[k] = iou;
        if (!labelled) {
            r->absent += k != ignore_index;
            continue;
        }
        present++;
        sum += iou;
    }
    r->miou = present ? sum / present : NAN;
    r->pixel_accuracy = all ? (double)right / (double)all : NAN;
    r->labelled_pixels = t->labelled;
    r->void_pixels = t->void_pixels;
    r->unlabelled = r->images - t->with_pixels;
}

static dram_status open_tally(const dram_session *s, const dram_dataset *dataset, tally *t)
{
    size_t classes = (size_t)s->graphs.classes;
    const dram_io *io = &s->graphs.io[DRAM_PROGRAM_EVALUATION];
    int64_t bytes = io->logits == DRAM_NONE ? 4 : dram_value_bytes(dram_value_at(io->graph, io->logits));
    *t = (tally){.path_room = dram_dataset_path_room(dataset)};
    t->confusion = dram_calloc(classes * classes + 1, sizeof *t->confusion);
    t->logits = dram_alloc((size_t)bytes);
    t->row = dram_alloc((classes + 1) * sizeof *t->row);
    t->path = dram_alloc((size_t)t->path_room);
    if (t->confusion && t->logits && t->row && t->path) return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory to evaluate");
}

static void close_tally(tally *t)
{
    dram_free(t->confusion);
    dram_free(t->logits);
    dram_free(t->row);
    dram_free(t->path);
}

dram_status dram_evaluate(dram_session *s, dram_feed *feed, const dram_dataset *dataset,
                          const dram_predictions *predictions, const volatile sig_atomic_t *stop,
                          dram_eval_result *result)
{
    const dram_graph_set *p = &s->graphs;
    dram_loader_params params = dram_datasets_params(&s->cfg, p, dataset);
    dram_loader *loader = NULL;
    dram_batch batch;
    tally t;
    dram_status status;
    *result = (dram_eval_result){.class_names = s->cfg.data.class_names,
                                 .miou = NAN,
                                 .pixel_accuracy = NAN,
                                 .embedding_cosine = NAN,
                                 .embedding_mse = NAN,
                                 .embedded = -1,
                                 .without_cell = -1};
    TRY_GOTO(open_tally(s, dataset, &t), done);
    if (!feed->said) feed->said = dram_calloc((size_t)dram_dataset_count(dataset), sizeof *feed->said);
    params.said = feed->said; /* NULL where memory is out: then some are said again */
    TRY_GOTO(dram_loader_open(&params, &loader), done);
    for (;;) {
        TRY_GOTO(dram_loader_next(loader, &batch), done);
        if (batch.count == 0) break;
        if (stop && *stop) {
            status =
                dram_fail(DRAM_INTERRUPTED, "interrupted: %d of %d images were evaluated, which are scored together",
                          result->images, dram_dataset_count(dataset));
            goto done;
        }
        TRY_GOTO(dram_feed_batch(s, feed, DRAM_PROGRAM_EVALUATION, 0, batch.samples, batch.count, 1), done);
        TRY_GOTO(dram_exec_run(s->exec, p->io[DRAM_PROGRAM_EVALUATION].index), done);
        TRY_GOTO(count_batch(s, dataset, &batch, predictions, &t), done);
        result->images += batch.count;
    }
    result->skipped = dram_loader_skipped(loader);
    if (p->classes) score(&t, p->classes, s->cfg.data.ignore_index, result);
    if (p->io[DRAM_PROGRAM_EVALUATION].cosine_gap != DRAM_NONE) {
        result->embedded = t.embedded;
        result->without_cell = result->images - t.embedded;
    }
    if (t.embedded) {
        result->embedding_cosine = t.cosine / t.embedded;
        result->embedding_mse = t.mse / t.embedded;
    }
done:
    dram_loader_close(loader);
    close_tally(&t);
    return status;
}
