/* alloc: the one hook through which dram takes host memory.
 *
 * Everything dram allocates on the host outside the arenas goes through here, so that it can be counted, and so that a
 * test can make the n-th request fail (base/testing.h). Arenas are taken by src/device, which counts them separately:
 * see device/device.h for the measured peak.
 */
#ifndef DRAM_BASE_ALLOC_H
#define DRAM_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* All return NULL when memory is out. The memory of dram_alloc and of a grown tail is not cleared; dram_calloc's is
 * zero. A size of 0 gives a pointer that may be freed. */
void *dram_alloc(size_t bytes);
void *dram_calloc(size_t count, size_t bytes);
void *dram_realloc(void *old, size_t bytes);
char *dram_strdup(const char *text);
void dram_free(void *memory); /* NULL is allowed */

/* Grows ARRAY, a pointer to its elements, so that it has room for NEED of them: ROOM is their number now, and at least
 * doubles. False when memory is out: both are as they were. dram_grow is given the pointer's address. */
#define DRAM_GROW(ARRAY, ROOM, NEED) dram_grow(&(ARRAY), &(ROOM), NEED, sizeof *(ARRAY))
bool dram_grow(void *array, int *room, int need, size_t element_bytes);

#endif
