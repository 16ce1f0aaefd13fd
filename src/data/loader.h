/* loader: samples of a dataset, decoded and augmented by worker threads, handed out in the order of the stream.
 *
 * The training stream is infinite. Position p belongs to epoch p / n of n images, each epoch shuffled by
 * (seed, DRAM_RNG_ORDER, epoch), or comes from the labelled or the other images (data/order.h); its augmentation is
 * drawn from (seed, p). What comes out at p depends on data and seed only: not on threads, timing, batch size or where
 * the stream was started.
 *
 * An image is bad where it or its label cannot be decoded, or where its label breaks a rule (dram_image_load or
 * dram_label_load says DRAM_ERR_FORMAT); it is skipped with its label. In training, position p then takes image
 * below(n) of the n that could stand there, by the numbers (seed, DRAM_RNG_ORDER, ~p), drawn until one is good; in
 * evaluation the position is left out. Each bad image is warned about once (dram_warn, with the file's name) and counted
 * once, when the stream reaches it; more than 10 % of the dataset's images, or 64 bad draws in a row, end the stream
 * with DRAM_ERR_RUN. So does, with stop_on_bad, the first. A file that cannot be read (DRAM_ERR_IO) always ends it: the
 * fault may pass, and what is trained must not depend on it.
 *
 * Images of 16 bits whose values end far below the range are nearly black, and values above it are all white. The
 * stream warns of either where it reaches them, each once in the life of the process.
 */
#ifndef DRAM_DATA_LOADER_H
#define DRAM_DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/image.h"

typedef struct dram_loader dram_loader;

/* An image of the dataset to be shown, as it is or flipped. */
typedef struct {
    int index;
    bool flip;
} dram_loader_item;

typedef struct {
    const dram_dataset *dataset; /* must outlive the loader */
    uint64_t seed;
    bool train;                   /* false: evaluation, one pass in the dataset's order with dram_geometry_fit */
    const dram_loader_item *list; /* evaluation of these alone, in this order; it must outlive the loader. NULL: all */
    int list_count;
    int student_size;        /* S; 0 (an evaluation's): the teacher's images alone, no student's and no labels */
    int teacher_size;        /* of what the teacher sees; 0: no teacher images */
    int teacher_canvas;      /* T, teacher_size or more: the rest is padding */
    int batch_size;          /* > 0 */
    int workers;             /* threads, > 0 */
    int prefetch;            /* samples in flight, the held batch included; at least batch_size are taken */
    dram_augment augment;    /* read if train */
    dram_image_rules images; /* of each worker's decoding */
    dram_label_rules labels; /* height and width are the loader's; ignore_index 0..255 also fills the padding */
    bool stop_on_bad;        /* end at the first bad image */
    bool *said;              /* [images of the dataset] bad ones that were warned about, for several loaders of one
                                * dataset in turn; it must outlive them. NULL: each warns for itself */
    double labelled_share;   /* of the training samples (data/order.h); 0: as they come */
    int64_t start;           /* position of the first sample; of a share, where all of them together begin */
    /* A share of a training stream that several loaders draw together: its batches begin at start + offset,
     * start + offset + stride and so on. stride 0: batch_size, and no offset; the whole stream. */
    int offset, stride;
} dram_loader_params;

typedef struct {
    const uint8_t *student; /* [S,S,3], padding bytes 0, or NULL */
    const uint8_t *teacher; /* [T,T,3], or NULL */
    const uint8_t *label;   /* [S,S]; all ignore_index if !has_label; NULL if no image of the dataset has a label */
    int student_height, student_width; /* valid pixels, top left */
    int teacher_height, teacher_width;
    bool has_label;
    int64_t label_pixels;        /* pixels of `label` that are not ignore_index */
    int64_t position;            /* in the stream: the global sample index */
    int index;                   /* in the dataset: dram_dataset_label_path(dataset, index, ...) */
    const char *name;            /* file name, owned by the dataset */
    int full_height, full_width; /* original size */
    dram_geometry geometry;
} dram_sample;

typedef struct {
    int count;                  /* batch_size; evaluation: fewer in the last batch, 0 at the end */
    const dram_sample *samples; /* [count], in stream order; valid, with their pixels, until the batch is released */
} dram_batch;

/* Takes every sample buffer (max(prefetch, batch_size) slots) and starts the threads. Afterwards only decoding
 * allocates. DRAM_ERR_CONFIG for parameters out of range. */
dram_status dram_loader_open(const dram_loader_params *params, dram_loader **out);

/* Waits for the next batch. The batch of the call before is released if it was not. An error of a worker comes out
 * here, with its text, when the stream reaches it, and again at every later call. One thread may call at a time. */
dram_status dram_loader_next(dram_loader *loader, dram_batch *out);

/* Gives the held batch's slots back to the workers; call it once the pixels are copied. */
void dram_loader_release(dram_loader *loader);

/* Distinct bad images that the stream has reached, and the k-th of them from 0 on, in the order in which it did: those
 * of dram_loader_count_skipped come first. To be asked by the thread that calls dram_loader_next. */
int dram_loader_skipped(const dram_loader *loader);
int dram_loader_skipped_at(const dram_loader *loader, int k);

/* This image was counted elsewhere: by the stream that this one goes on from, or by another share. Same thread. */
void dram_loader_count_skipped(dram_loader *loader, int index);

/* Position of the first sample that dram_loader_next has not handed out: `start` of a loader that continues here. Of a
 * share, the same for all shares after as many batches of each. Same thread. */
int64_t dram_loader_position(const dram_loader *loader);

/* Stops the threads and frees everything, batches included, at any time. NULL is allowed. */
void dram_loader_close(dram_loader *loader);

#endif
