/* alloc: the one hook through which dram takes host memory.
 *
 * Everything dram allocates on the host outside the arenas goes through here, so that it can be counted, and so that a
 * test can make the n-th request fail (base/testing.h). Arenas are taken by src/device, which counts them separately:
 * see device/device.h for the measured peak.
 */
#ifndef DRAM_BASE_ALLOC_H
#define DRAM_BASE_ALLOC_H

#include <stddef.h>

/* All return NULL when memory is out. The memory of dram_alloc and of a grown tail is not cleared; dram_calloc's is
 * zero. A size of 0 gives a pointer that may be freed. */
void *dram_alloc(size_t bytes);
void *dram_calloc(size_t count, size_t bytes);
void *dram_realloc(void *old, size_t bytes);
char *dram_strdup(const char *text);
void dram_free(void *memory); /* NULL is allowed */

/* Grows an array so that it has room for `need` elements (at least doubling): *items is replaced, *room is elements.
 * Returns 0 when memory is out, the array then being as it was. */
int dram_grow(void **items, int *room, int need, size_t element_bytes);

#endif
