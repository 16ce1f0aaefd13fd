#include "train/step.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "ir/op.h"
#include "session/build.h"
#include "session/update.h"

static dram_status write_number(dram_session *s, const dram_io *io, dram_val v, double number)
{
    float narrow = (float)number;
    return v == DRAM_NONE ? DRAM_OK : dram_exec_write(s->exec, io->index, v, &narrow, sizeof narrow);
}

static dram_status write_hyper(dram_session *s, const dram_io *io, const dram_step_order *order)
{
    TRY(write_number(s, io, io->unscale, 1.0 / order->loss_scale));
    if (io->hyper == DRAM_NONE) return DRAM_OK;
    return dram_exec_write(s->exec, io->index, io->hyper, order->hyper, sizeof order->hyper);
}

/* Everything that the program of micro-batch k reads. */
static dram_status stage(dram_session *s, dram_feed *feed, const dram_step_order *order, const dram_sample *samples,
                         int count, int k)
{
    const dram_graph_set *p = &s->graphs;
    const dram_io *io = &p->io[order->kind];
    const int micro_batches = p->accumulate * p->ranks;
    float labels = dram_feed_label_count(order->labelled, micro_batches);
    int each = count / p->accumulate;
    TRY(dram_feed_batch(s, feed, order->kind, k, samples + k * each, each, labels));
    TRY(write_number(s, io, io->sam_weight, order->sam_weight));
    TRY(write_number(s, io, io->seed, order->loss_scale / micro_batches));
    return write_hyper(s, io, order);
}

/* Adds the share of one micro-batch to a mean. */
static dram_status add_loss(dram_session *s, const dram_io *io, dram_val v, double *mean)
{
    float number;
    if (v == DRAM_NONE) {
        *mean = NAN;
        return DRAM_OK;
    }
    TRY(dram_exec_read(s->exec, io->index, v, &number, sizeof number));
    *mean += (double)number / s->graphs.accumulate;
    return DRAM_OK;
}

static double without_cells(const dram_graph_set *p, dram_val v, int cells, const dram_sample *samples, int count)
{
    return v == DRAM_NONE ? NAN : count - dram_feed_with_cells(p, samples, count, cells);
}

/* What the terms of these samples will have nothing of. */
static void count_left_out(const dram_graph_set *p, const dram_io *io, const dram_sample *samples, int count,
                           dram_step_result *result)
{
    result->sam_out = without_cells(p, io->loss_sam, p->grid, samples, count);
    result->resolution_out = without_cells(p, io->loss_resolution, p->sr_grid, samples, count);
}

/* The program's means are over all `count` images, of which those left out count 0. */
static double mean_of_rest(double mean, double out, int count)
{
    return out == 0 ? mean : out < count ? mean * count / (count - out) : NAN;
}

static dram_status run_program(dram_session *s, const dram_io *io, dram_step_result *result)
{
    double begin = dram_clock();
    result->ran = true;
    TRY(dram_exec_run(s->exec, io->index));
    result->device_seconds += dram_clock() - begin;
    return DRAM_OK;
}

/* Losses of this rank become means over all, its counts sums. */
static dram_status sum_over_ranks(dram_session *s, dram_step_result *result)
{
    double *const mean[] = {&result->loss, &result->loss_task, &result->loss_sam, &result->loss_resolution},
                  *const count[] = {&result->sam_out, &result->resolution_out};
    enum { MEANS = sizeof mean / sizeof mean[0], COUNTS = sizeof count / sizeof count[0] };
    double numbers[MEANS + COUNTS];
    int ranks = dram_comm_size(s->comm);
    if (ranks == 1) return DRAM_OK;
    for (int i = 0; i < MEANS; i++) numbers[i] = *mean[i] / ranks;
    for (int i = 0; i < COUNTS; i++) numbers[MEANS + i] = *count[i];
    TRY(dram_comm_sum(s->comm, numbers, MEANS + COUNTS));
    for (int i = 0; i < MEANS; i++) *mean[i] = numbers[i];
    for (int i = 0; i < COUNTS; i++) *count[i] = numbers[MEANS + i];
    return DRAM_OK;
}

static dram_status run_step(dram_session *s, dram_feed *feed, const dram_step_order *order, const dram_sample *samples,
                            int count, dram_loader *loader, dram_step_result *result)
{
    const dram_graph_set *p = &s->graphs;
    const dram_io *io = &p->io[order->kind], *update = &p->io[dram_update_of(p, order->kind)];
    float clip[2];
    *result = (dram_step_result){0};
    count_left_out(p, io, samples, count, result);
    for (int k = 0; k < p->accumulate; k++) {
        TRY(stage(s, feed, order, samples, count, k));
        if (loader && k == p->accumulate - 1) dram_loader_release(loader);
        TRY(run_program(s, io, result));
        TRY(dram_feed_keep(s, feed, order->kind, k));
        TRY(add_loss(s, io, io->loss, &result->loss));
        TRY(add_loss(s, io, io->loss_task, &result->loss_task));
        TRY(add_loss(s, io, io->loss_sam, &result->loss_sam));
        TRY(add_loss(s, io, io->loss_resolution, &result->loss_resolution));
    }
    TRY(sum_over_ranks(s, result));
    result->label_pixels = io->loss_task == DRAM_NONE ? NAN : (double)order->labelled;
    if (result->label_pixels == 0) result->loss_task = NAN;
    int images = count * p->ranks;
    result->loss_sam = mean_of_rest(result->loss_sam, result->sam_out, images);
    result->loss_resolution = mean_of_rest(result->loss_resolution, result->resolution_out, images);
    if (update != io) {
        TRY(write_hyper(s, update, order));
        TRY(run_program(s, update, result));
    }
    TRY(dram_exec_read(s->exec, update->index, update->clip, clip, sizeof clip));
    result->grad_norm = clip[0];
    return DRAM_OK;
}

dram_status dram_step_run(dram_session *s, dram_feed *feed, const dram_step_order *order, const dram_sample *samples,
                          int count, dram_loader *loader, dram_step_result *result)
{
    dram_status status = run_step(s, feed, order, samples, count, loader, result);
    return status == DRAM_OK ? status : dram_comm_fail(s->comm, status);
}

dram_status dram_step_trace(dram_session *s, dram_feed *feed, const dram_step_order *order, const dram_sample *samples,
                            int count, char *text, int size)
{
    const dram_io *io = &s->graphs.io[order->kind];
    char shape[96];
    int node = DRAM_NONE;
    dram_val v = DRAM_NONE;
    text[0] = '\0';
    const bool joins = dram_session_joins(s, order->kind); /* then all ranks run as much */
    for (int k = 0; k < s->graphs.accumulate && (v == DRAM_NONE || joins); k++) {
        int at;
        dram_val found;
        TRY(stage(s, feed, order, samples, count, k));
        TRY(dram_exec_find_nonfinite(s->exec, io->index, &at, &found));
        if (v != DRAM_NONE) continue;
        node = at;
        v = found;
    }
    if (v == DRAM_NONE) return DRAM_OK;
    const dram_value *value = dram_value_at(io->graph, v);
    snprintf(text, (size_t)size, "%s (%s, %s %s)", value->name, dram_op_rows[io->graph->nodes[node]->op].name,
             dram_dtype_name(value->dtype), dram_format_shape(&value->shape, shape, sizeof shape));
    return DRAM_OK;
}
