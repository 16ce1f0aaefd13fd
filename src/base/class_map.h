/* class map: which values of a label's pixels are which classes (data.class_map). */
#ifndef DRAM_BASE_CLASS_MAP_H
#define DRAM_BASE_CLASS_MAP_H

#include <stdbool.h>
#include <stdint.h>

/* Pairs a map may have. */
enum { DRAM_CLASS_PAIRS = 4096 };

typedef struct {
    uint32_t from; /* 0xRRGGBB, or an id as stored, 0..255 */
    int to;        /* 0..255 */
} dram_class_pair;

/* One block of memory. */
typedef struct {
    bool color;             /* from colours; else from ids */
    int n;                  /* 1 or more */
    dram_class_pair pair[]; /* [n] by rising `from`, none twice */
} dram_class_map;

#endif
