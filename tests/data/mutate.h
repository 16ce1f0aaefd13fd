/* mutate: damaged copies of a file. Include after encode.h. */
#ifndef DRAM_TESTS_DATA_MUTATE_H
#define DRAM_TESTS_DATA_MUTATE_H

#include "base/rng.h"

/* Flips, overwrites, doubles, drops and cuts; half of the changes fall on the first bytes, where the headers are. */
static inline blob mutated(blob from, dram_rng *r)
{
    static const uint8_t telling[] = {0, 1, 2, 4, 8, 16, 0x7f, 0x80, 0xc2, 0xd9, 0xda, 0xff};
    blob b = blob_of(from.bytes, from.n);
    int changes = 1 + (int)dram_rng_below(r, 4);
    for (int k = 0; k < changes && b.n > 8; k++) {
        size_t range = dram_rng_below(r, 2) && b.n > 200 ? 200 : b.n;
        size_t at = dram_rng_below(r, range);
        switch (dram_rng_below(r, 6)) {
        case 0:
            b.bytes[at] ^= (uint8_t)(1u << dram_rng_below(r, 8));
            break;
        case 1:
            b.bytes[at] = (uint8_t)dram_rng_u64(r);
            break;
        case 2:
            b.bytes[at] = telling[dram_rng_below(r, sizeof telling)];
            break;
        case 3:
            b.n = at + 1;
            break;
        case 4: {
            size_t n = dram_rng_below(r, b.n - at) % 64;
            uint8_t copy[64];
            memcpy(copy, b.bytes + at, n);
            b = blob_insert(b, at, copy, n);
            break;
        }
        default: {
            size_t n = dram_rng_below(r, b.n - at) % 64;
            memmove(b.bytes + at, b.bytes + at + n, b.n - at - n);
            b.n -= n;
        }
        }
    }
    uint8_t *exact = realloc(b.bytes, b.n ? b.n : 1);
    assert_non_null(exact);
    b.bytes = exact;
    return b;
}

#endif
