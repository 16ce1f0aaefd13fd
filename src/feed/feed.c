#include "feed/feed.h"

#include <string.h>

#include "base/alloc.h"
#include "data/augment.h"

int64_t dram_feed_kept(const dram_graph_set *p)
{
    bool keeps = p->io[DRAM_PROGRAM_DISTIL_STEP].embedding != DRAM_NONE;
    return keeps ? (int64_t)p->accumulate * p->batch * p->grid * p->grid * DRAM_EMBED_CHANNELS : 0;
}

dram_status dram_feed_open(const dram_graph_set *p, dram_feed *feed)
{
    int cells = p->grid > p->sr_grid ? p->grid : p->sr_grid;
    *feed = (dram_feed){0};
    feed->mask = dram_alloc((size_t)p->batch * (size_t)cells * (size_t)cells * sizeof *feed->mask);
    feed->size = dram_alloc((size_t)p->batch * 2 * sizeof *feed->size);
    int64_t kept = dram_feed_kept(p);
    if (kept) feed->kept = dram_calloc((size_t)kept, sizeof *feed->kept);
    if (feed->mask && feed->size && (feed->kept || !kept)) return DRAM_OK;
    dram_feed_close(feed);
    return dram_fail(DRAM_ERR_MEMORY, "no memory to stage a batch");
}

void dram_feed_close(dram_feed *feed)
{
    dram_free(feed->mask);
    dram_free(feed->size);
    dram_free(feed->kept);
    dram_free(feed->said);
    dram_free(feed->left_out);
    *feed = (dram_feed){0};
}

static dram_status write_sizes(dram_session *s, dram_feed *feed, const dram_io *io, dram_val v, bool teacher,
                               const dram_sample *samples, int count)
{
    if (v == DRAM_NONE) return DRAM_OK;
    int batch = s->graphs.batch;
    memset(feed->size, 0, (size_t)batch * 2 * sizeof *feed->size);
    for (int i = 0; i < count; i++) {
        feed->size[2 * i] = teacher ? samples[i].teacher_height : samples[i].student_height;
        feed->size[2 * i + 1] = teacher ? samples[i].teacher_width : samples[i].student_width;
    }
    return dram_exec_write(s->exec, io->index, v, feed->size, (int64_t)batch * 2 * (int64_t)sizeof *feed->size);
}

static dram_status write_mask(dram_session *s, dram_feed *feed, const dram_io *io, dram_val v, int cells,
                              const dram_sample *samples, int count)
{
    if (v == DRAM_NONE) return DRAM_OK;
    size_t each = (size_t)cells * (size_t)cells, all = (size_t)s->graphs.batch * each;
    memset(feed->mask, 0, all * sizeof *feed->mask);
    for (int i = 0; i < count; i++)
        dram_valid_mask(s->graphs.student_size, samples[i].student_height, samples[i].student_width, cells,
                        feed->mask + (size_t)i * each);
    return dram_exec_write(s->exec, io->index, v, feed->mask, (int64_t)(all * sizeof *feed->mask));
}

/* One image of the batch; an absent value or picture is nothing to do. */
static dram_status write_pixels(dram_session *s, const dram_io *io, dram_val v, int i, const uint8_t *pixels,
                                int64_t bytes)
{
    if (v == DRAM_NONE || !pixels) return DRAM_OK;
    return dram_exec_write_part(s->exec, io->index, v, i * bytes, pixels, bytes);
}

int64_t dram_feed_label_pixels(const dram_sample *samples, int count)
{
    int64_t pixels = 0;
    for (int i = 0; i < count; i++) pixels += samples[i].label_pixels;
    return pixels;
}

float dram_feed_label_count(int64_t pixels, int micro_batches)
{
    return (pixels ? (float)pixels : 1.0f) / (float)micro_batches;
}

int dram_feed_with_cells(const dram_graph_set *p, const dram_sample *samples, int count, int cells)
{
    int with = 0;
    for (int i = 0; i < count; i++)
        with += dram_valid_any(p->student_size, samples[i].student_height, samples[i].student_width, cells);
    return with;
}

/* Micro-batch k of what is kept. */
static float *kept_at(const dram_graph_set *p, const dram_feed *feed, int k, int64_t *bytes)
{
    int64_t each = dram_feed_kept(p) / p->accumulate;
    *bytes = each * (int64_t)sizeof *feed->kept;
    return feed->kept + k * each;
}

dram_status dram_feed_keep(dram_session *s, dram_feed *feed, dram_program_kind kind, int k)
{
    const dram_io *io = &s->graphs.io[kind];
    int64_t bytes;
    if (!feed->kept || io->embedding == DRAM_NONE) return DRAM_OK;
    float *kept = kept_at(&s->graphs, feed, k, &bytes);
    return dram_exec_read(s->exec, io->index, io->embedding, kept, bytes);
}

/* An evaluation is of data.val, every step of data.train. A place without an image gets zeros: some sums read it too,
 * and what lay there before may be NaN. */
static dram_status write_cached(dram_session *s, const dram_feed *feed, dram_program_kind kind,
                                const dram_sample *samples, int count)
{
    const dram_io *io = &s->graphs.io[kind];
    dram_targets *t = feed->targets;
    size_t bytes = (size_t)t->cells * DRAM_EMBED_CHANNELS * sizeof *t->half;
    for (int i = 0; i < s->graphs.batch; i++) {
        if (i < count)
            TRY(dram_targets_read(t, kind == DRAM_PROGRAM_EVALUATION, &samples[i]));
        else
            memset(t->half, 0, bytes);
        TRY(dram_exec_write_part(s->exec, io->index, io->target, i * (int64_t)bytes, t->half, (int64_t)bytes));
    }
    return DRAM_OK;
}

static dram_status write_target(dram_session *s, const dram_feed *feed, dram_program_kind kind, int k,
                                const dram_sample *samples, int count)
{
    const dram_io *io = &s->graphs.io[kind];
    int64_t bytes;
    if (io->target == DRAM_NONE) return DRAM_OK;
    if (s->graphs.cached) return write_cached(s, feed, kind, samples, count);
    const float *kept = kept_at(&s->graphs, feed, k, &bytes);
    return dram_exec_write(s->exec, io->index, io->target, kept, bytes);
}

dram_status dram_feed_batch(dram_session *s, dram_feed *feed, dram_program_kind kind, int k, const dram_sample *samples,
                            int count, float label_count)
{
    const dram_graph_set *p = &s->graphs;
    const dram_io *io = &p->io[kind];
    int64_t student = (int64_t)p->student_size * p->student_size,
            teacher = (int64_t)p->teacher_canvas * p->teacher_canvas;
    for (int i = 0; i < count; i++) {
        TRY(write_pixels(s, io, io->image, i, samples[i].student, student * 3));
        TRY(write_pixels(s, io, io->teacher_image, i, samples[i].teacher, teacher * 3));
        TRY(write_pixels(s, io, io->labels, i, samples[i].label, student));
    }
    TRY(write_sizes(s, feed, io, io->image_valid, false, samples, count));
    TRY(write_sizes(s, feed, io, io->teacher_valid, true, samples, count));
    TRY(write_mask(s, feed, io, io->mask, p->grid, samples, count));
    TRY(write_mask(s, feed, io, io->sr_mask, p->sr_grid, samples, count));
    TRY(write_target(s, feed, kind, k, samples, count));
    if (io->label_count == DRAM_NONE) return DRAM_OK;
    return dram_exec_write(s->exec, io->index, io->label_count, &label_count, sizeof label_count);
}
