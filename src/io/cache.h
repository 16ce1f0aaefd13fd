/* cache: a folder of records of one size, found by a key of 128 bits, that several processes may fill at once.
 *
 * DIRECTORY/cache.json says what made the records (the facts below). DIRECTORY/embeddings.bin is records and nothing
 * else: record i is at i * (64 + payload), a header of 64 bytes and the payload. A header is, in the machine's byte
 * order (u64 but where said):
 *
 *     magic, key (2), XXH3 of the payload, XXH3 of the facts, i, state (u32: 1 being written, 2 done, 3 bad), 0 (u32),
 *     XXH3 of these 56 bytes
 *
 * A writer holds flock(LOCK_EX) on embeddings.bin: header (being written), payload, header (done). A header lies within
 * one sector, so a process killed at any point leaves it old or new. Under the lock a record that is not done is one
 * that a dead writer left, a damaged one or one that was found bad: the next writer takes its place. Reading takes no
 * lock and maps nothing; the payload's hash is checked at every read, so that nothing has to be synced.
 *
 * In memory is what finds a record: 24 bytes a key, and twice that for room. One thread at a time.
 */
#ifndef DRAM_IO_CACHE_H
#define DRAM_IO_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "io/hash.h"

typedef struct dram_cache dram_cache;

enum { DRAM_CACHE_HEADER = 64 }; /* bytes of a record besides its payload */

/* Something that the records depend on, a text or (text NULL) a number. */
typedef struct {
    const char *name, *text;
    int64_t number;
} dram_cache_fact;

/* Makes the folder if it is not there, and reads all headers. payload_bytes is a multiple of 64.
 * DRAM_ERR_CONFIG: the folder cannot be made or written; cache.json has another fact (the text names it, and both
 * values), or the records are of other facts than cache.json. DRAM_ERR_FORMAT: cache.json is damaged, or embeddings.bin
 * holds no record at all and no cache.json is beside it: it is someone else's file. Beside a cache.json such a file is
 * emptied, with a warning. Links in place of the two files are not written through. */
dram_status dram_cache_open(const char *directory, const dram_cache_fact *facts, int n, int64_t payload_bytes,
                            dram_cache **cache);
void dram_cache_close(dram_cache *cache); /* NULL is allowed */

bool dram_cache_has(const dram_cache *cache, dram_hash128 key);

/* Learns of the records that other processes have added. */
dram_status dram_cache_refresh(dram_cache *cache);

/* Bytes that `records` more take on the disk, and what is free there. DRAM_ERR_CONFIG: they do not fit. */
dram_status dram_cache_check_disk(const dram_cache *cache, int64_t records, int64_t *need, int64_t *free_bytes);

/* Adds a record, unless the key is there by now. After a failure (a full disk) the others are as they were. */
dram_status dram_cache_put(dram_cache *cache, dram_hash128 key, const void *payload);

/* Reads the payload of a key that the cache has. DRAM_ERR_FORMAT: it is damaged; it is marked bad, so that the next
 * dram_cache_put of this key writes it again, and the cache no longer has it. */
dram_status dram_cache_get(dram_cache *cache, dram_hash128 key, void *payload);

#endif
