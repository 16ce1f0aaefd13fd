/* hash: XXH3, of 128 bits as 32 hexadecimal digits (the canonical order of `xxh128sum`) or as two numbers, or of 64
 * bits. Not for secrets. */
#ifndef DRAM_IO_HASH_H
#define DRAM_IO_HASH_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { DRAM_HASH_SIZE = 33 }; /* with the final zero */

void dram_hash_memory(const void *data, size_t bytes, char out[DRAM_HASH_SIZE]);

typedef struct {
    uint64_t low, high;
} dram_hash128;

dram_hash128 dram_hash_128(const void *data, size_t bytes);
uint64_t dram_hash_64(const void *data, size_t bytes);

/* Reads the file in chunks. DRAM_ERR_CONFIG: it cannot be opened. DRAM_INTERRUPTED: *stop was non-zero (NULL: nobody
 * asks), which is looked at every few milliseconds. */
dram_status dram_hash_file(const char *path, const volatile sig_atomic_t *stop, char out[DRAM_HASH_SIZE]);

#endif
