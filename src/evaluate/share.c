#include "evaluate/share.h"

#include <math.h>

#include "base/alloc.h"
#include "comm/comm.h"
#include "evaluate/logits.h"
#include "feed/datasets.h"
#include "session/build.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory to evaluate");
}

/* ---- one rank's batches ---- */

/* What counting takes. */
typedef struct {
    const dram_eval_work *work;
    dram_eval_share *share;
    float *logits; /* [N,h,w,K], read back */
    float *row;    /* [K] logits at one pixel */
    char *path;
    int path_room;
    int batches; /* done */
} counter;

/* Counts one image's labels against its logits. */
static dram_status count_image(const dram_session *s, const dram_sample *sample, const float *logits,
                               const dram_shape *shape, counter *c)
{
    dram_label label;
    const dram_config *cfg = &s->cfg;
    int classes = s->graphs.classes;
    int64_t *counts = c->share->counts, *confusion = counts + DRAM_EVAL_COUNTS, labelled = 0;
    const dram_logits at = dram_logits_of(sample, logits, shape);
    const dram_label_rules rules = dram_datasets_label_rules(cfg, sample->full_height, sample->full_width);
    const char *file = dram_dataset_label_path(c->work->dataset, sample->index, c->path, c->path_room);
    TRY(dram_label_load(file, &rules, &label));
    for (int y = 0; y < label.height; y++)
        for (int x = 0; x < label.width; x++) {
            int id = label.ids[(int64_t)y * label.width + x];
            if (id == cfg->data.ignore_index) continue;
            labelled++;
            int guess = dram_logits_class(&at, y + 0.5, x + 0.5, c->row);
            confusion[(int64_t)id * classes + guess]++;
        }
    counts[DRAM_EVAL_LABELLED] += labelled;
    counts[DRAM_EVAL_VOID_PIXELS] += (int64_t)label.height * label.width - labelled;
    counts[DRAM_EVAL_WITH_PIXELS] += labelled > 0;
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

/* The program's means are over its whole batch, in which images without a cell and absent ones count 0. */
static dram_status read_term(dram_session *s, const dram_io *io, const dram_batch *batch, counter *c)
{
    double gap, mse, full = s->graphs.batch;
    int with = dram_feed_with_cells(&s->graphs, batch->samples, batch->count, s->graphs.grid);
    TRY(read_scalar(s, io, io->cosine_gap, &gap));
    TRY(read_scalar(s, io, io->mse, &mse));
    c->share->terms[c->batches] = (dram_eval_term){.cosine = with - gap * full, .mse = mse * full};
    c->share->counts[DRAM_EVAL_EMBEDDED] += with;
    return DRAM_OK;
}

static dram_status count_batch(dram_session *s, const dram_batch *batch, counter *c)
{
    const dram_io *io = &s->graphs.io[DRAM_PROGRAM_EVALUATION];
    c->share->counts[DRAM_EVAL_IMAGES] += batch->count;
    if (io->cosine_gap != DRAM_NONE) TRY(read_term(s, io, batch, c));
    if (io->logits == DRAM_NONE) return DRAM_OK;
    const dram_value *value = dram_value_at(io->graph, io->logits);
    int64_t each = dram_elements(&value->shape) / s->graphs.batch;
    TRY(dram_exec_read(s->exec, io->index, io->logits, c->logits, dram_value_bytes(value)));
    for (int i = 0; i < batch->count; i++) {
        const dram_sample *sample = &batch->samples[i];
        const float *logits = c->logits + i * each;
        if (sample->has_label) TRY(count_image(s, sample, logits, &value->shape, c));
        if (c->work->predictions)
            TRY(dram_predictions_write(c->work->predictions, &s->cfg, sample, logits, &value->shape));
    }
    return DRAM_OK;
}

static dram_status open_counter(const dram_session *s, const dram_eval_work *work, dram_eval_share *share, counter *c)
{
    const dram_io *io = &s->graphs.io[DRAM_PROGRAM_EVALUATION];
    int64_t bytes = io->logits == DRAM_NONE ? 4 : dram_value_bytes(dram_value_at(io->graph, io->logits));
    *c = (counter){.work = work, .share = share, .path_room = dram_dataset_path_room(work->dataset)};
    c->logits = dram_alloc((size_t)bytes);
    c->row = dram_alloc(((size_t)s->graphs.classes + 1) * sizeof *c->row);
    c->path = dram_alloc((size_t)c->path_room);
    return c->logits && c->row && c->path ? DRAM_OK : no_memory();
}

static void close_counter(counter *c)
{
    dram_free(c->logits);
    dram_free(c->row);
    dram_free(c->path);
}

/* The images of this rank's batches, which are `batch` each, in order. */
static dram_status list_items(const dram_eval_work *work, int batch, dram_loader_item **items, int *n)
{
    int images = dram_dataset_count(work->dataset);
    int64_t good = 0;
    *n = 0;
    *items = dram_alloc((size_t)images * sizeof **items);
    if (!*items) return no_memory();
    for (int i = 0; i < images; i++) {
        if (work->left_out[i]) continue;
        if (good++ / batch % work->ranks == work->rank) (*items)[(*n)++] = (dram_loader_item){.index = i};
    }
    return DRAM_OK;
}

static dram_status interrupted(const counter *c)
{
    return dram_fail(DRAM_INTERRUPTED, "interrupted: %d of %d images were evaluated, which are scored together",
                     (int)c->share->counts[DRAM_EVAL_IMAGES], dram_dataset_count(c->work->dataset));
}

/* The next batch in which no image is bad; count 0 behind the last. */
static dram_status next_good(dram_loader *loader, const counter *c, dram_batch *batch)
{
    do TRY(dram_loader_next(loader, batch));
    while (batch->count > 0 && c->work->left_out && dram_loader_skipped(loader));
    return DRAM_OK;
}

/* A program that joins the ranks (a teacher in shards) is run by all of them as often: who has no more batches runs it
 * on. */
static dram_status run_together(dram_session *s, dram_feed *feed, dram_loader *loader, counter *c)
{
    dram_batch batch = {.count = 1};
    dram_agreed agreed;
    for (int64_t round = 0;; round++) {
        dram_status status = batch.count > 0 ? next_good(loader, c, &batch) : DRAM_OK;
        const dram_agreement mine = {.step = round,
                                     .status = status,
                                     .stop = c->work->stop && *c->work->stop,
                                     .labelled = status == DRAM_OK && batch.count > 0};
        TRY(dram_comm_agree(s->comm, &mine, &agreed));
        if (agreed.stop) return interrupted(c);
        if (agreed.labelled == 0) return DRAM_OK;
        if (batch.count > 0)
            status = dram_feed_batch(s, feed, DRAM_PROGRAM_EVALUATION, 0, batch.samples, batch.count, 1);
        if (status == DRAM_OK) status = dram_exec_run(s->exec, s->graphs.io[DRAM_PROGRAM_EVALUATION].index);
        if (status != DRAM_OK) return dram_comm_fail(s->comm, status);
        if (batch.count == 0) continue;
        TRY(count_batch(s, &batch, c));
        c->batches++;
    }
}

static dram_status run_batches(dram_session *s, dram_feed *feed, dram_loader *loader, counter *c)
{
    dram_batch batch;
    const volatile sig_atomic_t *stop = c->work->stop;
    for (;;) {
        bool asked;
        TRY(dram_loader_next(loader, &batch));
        if (batch.count == 0) return DRAM_OK;
        TRY(dram_comm_busy(s->comm, stop, &asked));
        if (asked) return interrupted(c);
        /* Of several ranks all will do this again, without the image that was bad. */
        if (c->work->left_out && dram_loader_skipped(loader)) continue;
        TRY(dram_feed_batch(s, feed, DRAM_PROGRAM_EVALUATION, 0, batch.samples, batch.count, 1));
        TRY(dram_exec_run(s->exec, s->graphs.io[DRAM_PROGRAM_EVALUATION].index));
        TRY(count_batch(s, &batch, c));
        c->batches++;
    }
}

dram_status dram_eval_share_run(dram_session *s, dram_feed *feed, const dram_eval_work *work, dram_eval_share *share)
{
    dram_loader_params params = dram_datasets_params(&s->cfg, &s->graphs, work->dataset);
    dram_loader_item *items = NULL;
    dram_loader *loader = NULL;
    counter c;
    dram_status status;
    TRY_GOTO(open_counter(s, work, share, &c), done);
    if (work->left_out) {
        TRY_GOTO(list_items(work, params.batch_size, &items, &params.list_count), done);
        params.list = items;
    }
    params.said = feed->said; /* NULL where memory is out: then some are said again */
    TRY_GOTO(dram_loader_open(&params, &loader), done);
    bool joins = dram_session_joins(s, DRAM_PROGRAM_EVALUATION);
    status = joins ? run_together(s, feed, loader, &c) : run_batches(s, feed, loader, &c);
    share->counts[DRAM_EVAL_SKIPPED] = dram_loader_skipped(loader);
    for (int k = 0; work->left_out && k < dram_loader_skipped(loader); k++)
        work->left_out[dram_loader_skipped_at(loader, k)] = true;
done:
    dram_loader_close(loader);
    dram_free(items);
    close_counter(&c);
    return status;
}

/* ---- all shares ---- */

dram_status dram_eval_share_open(const dram_session *s, int images, int ranks, dram_eval_share *share)
{
    int classes = s->graphs.classes, batches = (images + s->graphs.batch - 1) / s->graphs.batch;
    *share = (dram_eval_share){.n_counts = DRAM_EVAL_COUNTS + classes * classes, .most = (batches + ranks - 1) / ranks};
    share->counts = dram_calloc((size_t)share->n_counts, sizeof *share->counts);
    share->terms = dram_calloc((size_t)share->most + 1, sizeof *share->terms);
    if (share->counts && share->terms) return DRAM_OK;
    dram_eval_share_close(share);
    return no_memory();
}

void dram_eval_share_close(dram_eval_share *share)
{
    dram_free(share->counts);
    dram_free(share->terms);
    *share = (dram_eval_share){0};
}

/* IoU of a class = hits / (hits + misses + false alarms). The mean is over the classes present in the labels. */
static void score_task(const int64_t *counts, int classes, int ignore_index, dram_eval_result *r)
{
    const int64_t *confusion = counts + DRAM_EVAL_COUNTS;
    int64_t right = 0, all = 0;
    int present = 0;
    double sum = 0;
    r->classes = classes;
    for (int k = 0; k < classes; k++) {
        int64_t hit = confusion[(int64_t)k * classes + k], labelled = 0, guessed = 0;
        for (int j = 0; j < classes; j++) {
            labelled += confusion[(int64_t)k * classes + j];
            guessed += confusion[(int64_t)j * classes + k];
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
    r->labelled_pixels = counts[DRAM_EVAL_LABELLED];
    r->void_pixels = counts[DRAM_EVAL_VOID_PIXELS];
    r->unlabelled = r->images - (int)counts[DRAM_EVAL_WITH_PIXELS];
}

static void score_embedding(const dram_eval_term *terms, int embedded, int ranks, int most, dram_eval_result *r)
{
    double cosine = 0, mse = 0;
    r->embedded = embedded;
    r->without_cell = r->images - embedded;
    if (!embedded) return;
    for (int64_t batch = 0; batch < (int64_t)ranks * most; batch++) {
        const dram_eval_term *term = &terms[batch % ranks * most + batch / ranks];
        cosine += term->cosine;
        mse += term->mse;
    }
    r->embedding_cosine = cosine / embedded;
    r->embedding_mse = mse / embedded;
}

void dram_eval_share_score(const dram_session *s, const int64_t *counts, const dram_eval_term *terms, int ranks,
                           int most, dram_eval_result *r)
{
    const dram_graph_set *p = &s->graphs;
    *r = (dram_eval_result){.class_names = s->cfg.data.class_names,
                            .miou = NAN,
                            .pixel_accuracy = NAN,
                            .embedding_cosine = NAN,
                            .embedding_mse = NAN,
                            .images = (int)counts[DRAM_EVAL_IMAGES],
                            .skipped = (int)counts[DRAM_EVAL_SKIPPED],
                            .embedded = -1,
                            .without_cell = -1};
    if (p->classes) score_task(counts, p->classes, s->cfg.data.ignore_index, r);
    if (p->io[DRAM_PROGRAM_EVALUATION].cosine_gap != DRAM_NONE)
        score_embedding(terms, (int)counts[DRAM_EVAL_EMBEDDED], ranks, most, r);
}
