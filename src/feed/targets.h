/* targets: the teacher's embeddings from a cache (io/cache.h), instead of a teacher in the step.
 *
 * The cache keeps what the teacher gives for an image in dram_geometry_fit, and for its mirror image where training
 * flips: [t,t,256] before it is brought to the student's grid, in the format that sam_distill.cache_format says. The
 * key of an embedding is the hash of the image file's content, flip and data.max_pixels, and of data.orientation and
 * data.range where they change this file's pixels; what else it depends on, the teacher and its input, are the facts of
 * the cache. Legend: t = dram_teacher_grid().
 */
#ifndef DRAM_FEED_TARGETS_H
#define DRAM_FEED_TARGETS_H

#include <signal.h>

#include "config/config.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "io/cache.h"
#include "io/embedding.h"

typedef struct {
    dram_cache *cache; /* NULL: the config has none */
    dram_embedding_format format;
    int64_t cells;         /* t * t */
    dram_hash128 *train;   /* [images of data.train][2]: plain, flipped */
    dram_hash128 *val;     /* [images of data.val] */
    void *packed;          /* a record's payload */
    uint16_t *half;        /* F16 [t,t,256] */
    const char *directory; /* the config's string */
} dram_targets;

/* Bytes of an embedding on the disk, its header included. */
int64_t dram_targets_image_bytes(const dram_config *cfg);

/* The config that a session of DRAM_SET_CACHE_FILL is planned from. The teacher is as it is without a cache. It takes
 * one image at a time: no bit of an embedding depends on the order in which they are made. No lever is pulled that
 * would change what it gives. Its strings are those of cfg. */
dram_config dram_targets_fill_config(const dram_config *cfg);

/* Opens the cache that a chosen config names (none: *targets is {0}), and reads every image once for its key;
 * feed/fill.h makes what the cache lacks. train or val may be NULL: not wanted. stop: non-zero ends the reading with
 * DRAM_INTERRUPTED; NULL: never. The datasets must outlive the targets. DRAM_ERR_CONFIG: the cache was made by
 * something else. */
dram_status dram_targets_open(const dram_config *cfg, const dram_dataset *train, const dram_dataset *val,
                              const volatile sig_atomic_t *stop, dram_targets *targets);
void dram_targets_close(dram_targets *targets); /* {0} is allowed */

/* The embedding of a sample of data.train, or with `val` of data.val, is in targets->half afterwards. DRAM_ERR_FORMAT:
 * it is damaged; it will be made again when the run goes on. DRAM_ERR_RUN: the image changed after the run began. */
dram_status dram_targets_read(dram_targets *targets, bool val, const dram_sample *sample);

#endif
