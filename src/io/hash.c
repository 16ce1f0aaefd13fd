#include "io/hash.h"

#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/file.h"

enum { CHUNK = 1 << 16 };

static void format_hash(XXH128_hash_t hash, char out[DRAM_HASH_SIZE])
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, hash);
    for (int i = 0; i < 16; i++) snprintf(out + 2 * i, 3, "%02x", bytes.digest[i]);
}

void dram_hash_memory(const void *data, size_t bytes, char out[DRAM_HASH_SIZE])
{
    format_hash(XXH3_128bits(data, bytes), out);
}

dram_hash128 dram_hash_128(const void *data, size_t bytes)
{
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    return (dram_hash128){.low = hash.low64, .high = hash.high64};
}

uint64_t dram_hash_64(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

dram_status dram_hash_file(const char *path, const volatile sig_atomic_t *stop, char out[DRAM_HASH_SIZE])
{
    dram_status status = DRAM_OK;
    char *chunk = NULL;
    XXH3_state_t *state = NULL;
    struct stat info;
    const char *why;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open: %s", path, why);
    chunk = dram_alloc(CHUNK);
    state = XXH3_createState();
    if (!chunk || !state) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its hash", path);
        goto done;
    }
    XXH3_128bits_reset(state);
    for (;;) {
        if (stop && *stop) {
            status = dram_fail(DRAM_INTERRUPTED, "interrupted while %s was read", path);
            goto done;
        }
        ssize_t n = dram_file_read(fd, chunk, CHUNK);
        if (n < 0) {
            status = dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path);
            goto done;
        }
        if (n == 0) break;
        XXH3_128bits_update(state, chunk, (size_t)n);
    }
    format_hash(XXH3_128bits_digest(state), out);
done:
    XXH3_freeState(state);
    dram_free(chunk);
    close(fd);
    return status;
}
