/* facts: what a look at one file finds, whatever a config makes of it. Private to src/check. */
#ifndef DRAM_CHECK_FACTS_H
#define DRAM_CHECK_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "data/image.h"
#include "io/hash.h"

/* How far a file was looked at; each holds what the one before it does. */
typedef enum { DRAM_DEPTH_NONE, DRAM_DEPTH_HEADER, DRAM_DEPTH_PIXELS } dram_depth;

/* A label's values are packed: `color` files, values and pixels as dram_label_values has them. */
typedef struct {
    int64_t size, time; /* of the file: bytes, and nanoseconds of its last change. size -1: not to be kept */
    dram_hash128 hash;  /* of an image's content */
    int height, width;  /* as stored */
    int packed_bytes;
    const uint8_t *packed; /* a label's values; NULL unless depth is DRAM_DEPTH_PIXELS. Borrowed */
    uint16_t peak;         /* of an image of 16 bits whose pixels were read: its largest sample */
    uint8_t depth;         /* dram_depth */
    uint8_t bad;           /* it was looked at, and is not what it should be; nothing else is known of it */
    uint8_t unread;        /* bad, and the reason is that it could not be read */
    uint8_t orientation, bits;
    uint8_t is_png;
} dram_facts;

/* What one thread needs to look at files. Start from {0}; one at a time. */
typedef struct {
    dram_label_values values;
    uint8_t **chunk; /* [chunks] of packed values, which facts borrow */
    int chunks, room;
    size_t used; /* of the last */
} dram_desk;

void dram_desk_free(dram_desk *desk); /* and all values that were packed at it */

/* Size and time of a file that is there; false: it is not, or cannot be looked at. */
bool dram_facts_stat(const char *path, dram_facts *facts);

/* The time that facts hold, of a file's last change. */
int64_t dram_facts_time(const struct stat *info);

/* Looks at a file and overwrites *facts. max_bytes: larger files are bad.
 * DRAM_ERR_FORMAT, DRAM_ERR_IO: it is bad, facts->bad is set and the reason, which begins with the path, is held.
 * DRAM_ERR_MEMORY. */
dram_status dram_facts_image(const char *path, int64_t max_bytes, dram_facts *facts);
dram_status dram_facts_label(dram_desk *desk, const char *path, dram_depth depth, int64_t max_bytes, dram_facts *facts);

/* The values of a label whose every pixel was read. False: what is packed is not such values. */
bool dram_facts_values(const dram_facts *facts, dram_label_values *out);

#endif
