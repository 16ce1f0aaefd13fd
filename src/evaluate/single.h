/* single: one image file through a program of batch 1. Internal to src/evaluate. */
#ifndef DRAM_EVALUATE_SINGLE_H
#define DRAM_EVALUATE_SINGLE_H

#include "data/loader.h"
#include "feed/feed.h"

/* A session of batch 1 over which images go one by one, each in dram_geometry_fit. */
typedef struct {
    dram_config cfg; /* what the session was planned from */
    dram_session session;
    dram_feed feed;
    uint8_t *student, *teacher; /* [S,S,3], [T,T,3] (NULL: no teacher runs) */
    dram_sample sample;         /* of the image that was loaded last; its pixels are `student` and `teacher` */
    dram_image image;           /* and that image */
} dram_single;

/* Whether the teacher's weights are named and can be read: DRAM_ERR_CONFIG if not. No teacher is no error. */
dram_status dram_single_check_teacher(const dram_config *cfg);

/* Plans a set of programs with a batch of 1, without a cache and without the weights that training began from; touches
 * nothing. *s must not be moved afterwards; dram_single_close in any case. */
dram_status dram_single_plan(const dram_config *chosen, dram_program_set set, dram_single *s);

/* Takes the arena, with the teacher's weights in it. */
dram_status dram_single_start(dram_single *s);
void dram_single_close(dram_single *s); /* {0} is allowed */

/* Decodes an image file and stages it. Errors are those of dram_image_load. */
dram_status dram_single_load(dram_single *s, dram_program_kind kind, const char *path);

#endif
