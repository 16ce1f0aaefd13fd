/* rng: counter-based random numbers.
 *
 * A number is a pure function of (seed, purpose, index, counter): never of a thread, a rank or a position in a batch.
 * The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014).
 */
#ifndef DRAM_BASE_RNG_H
#define DRAM_BASE_RNG_H

#include <math.h>
#include <stdint.h>

/* What a stream of numbers is for: two purposes never share numbers. */
typedef enum {
    DRAM_RNG_INIT = 1,    /* index: hash of the weight's name */
    DRAM_RNG_ORDER = 2,   /* index: epoch */
    DRAM_RNG_AUGMENT = 3, /* index: global sample index */
    DRAM_RNG_SYNTH = 4,   /* index: scene */
    DRAM_RNG_LABELS = 5,  /* index: hash of the file's stem */
    DRAM_RNG_SWEEP = 6,   /* index: point, mixed with the hash of the key */
    DRAM_RNG_LOOK = 7,    /* index: scene */
    DRAM_RNG_TEST = 100
} dram_rng_purpose;

typedef struct {
    uint64_t key;
    uint64_t counter; /* next number; may be set to jump */
} dram_rng;

static inline uint64_t dram_mix64(uint64_t z)
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline dram_rng dram_rng_make(uint64_t seed, dram_rng_purpose purpose, uint64_t index)
{
    return (dram_rng){.key = dram_mix64(dram_mix64(dram_mix64(seed) ^ (uint64_t)purpose) ^ index), .counter = 0};
}

static inline uint64_t dram_rng_u64(dram_rng *r)
{
    return dram_mix64(r->key + 0x9e3779b97f4a7c15u * r->counter++);
}

/* Uniform in [0, 1), 53 bits. */
static inline double dram_rng_uniform(dram_rng *r)
{
    return (double)(dram_rng_u64(r) >> 11) * 0x1.0p-53;
}

/* Uniform in [low, high). */
static inline double dram_rng_range(dram_rng *r, double low, double high)
{
    return low + (high - low) * dram_rng_uniform(r);
}

/* Uniform integer in [0, n), n > 0; by rejection, so that no value is favoured. */
static inline uint64_t dram_rng_below(dram_rng *r, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t u = dram_rng_u64(r);
    while (u >= limit) u = dram_rng_u64(r);
    return u % n;
}

/* Standard normal (Box-Muller, one of the pair). */
static inline double dram_rng_normal(dram_rng *r)
{
    double u = 1.0 - dram_rng_uniform(r); /* (0, 1] */
    double v = dram_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

/* FNV-1a of a name: the index for DRAM_RNG_INIT and DRAM_RNG_LABELS. */
static inline uint64_t dram_hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

#endif
