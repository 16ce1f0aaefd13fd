/* synth_paint: the things of a synthetic scene, each a rule that says which points of its rectangle are it and in what
 * colour. Internal to src/synth; synth.c lays them out.
 *
 * Lengths are metres. A thing stands at (0, 0), x to the right, y up.
 */
#ifndef DRAM_SYNTH_SYNTH_PAINT_H
#define DRAM_SYNTH_SYNTH_PAINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "synth/synth.h"

typedef struct {
    float c[3]; /* linear light, 0..1 and above */
} synth_colour;

/* Smooth noise: a tile of random numbers, repeated. */
enum { SYNTH_NOISE = 128 };
typedef struct {
    float at[SYNTH_NOISE][SYNTH_NOISE];
} synth_noise;

void dram_synth_noise_fill(synth_noise *noise, dram_rng *r);
float dram_synth_noise_at(const synth_noise *noise, float x, float y);  /* 0..1, features of size 1 */
float dram_synth_noise_sum(const synth_noise *noise, float x, float y); /* three octaves, 0..1 */

static inline synth_colour dram_synth_mix(synth_colour a, synth_colour b, float t)
{
    for (int i = 0; i < 3; i++) a.c[i] += (b.c[i] - a.c[i]) * t;
    return a;
}

static inline synth_colour dram_synth_scale(synth_colour a, float t)
{
    for (int i = 0; i < 3; i++) a.c[i] *= t;
    return a;
}

static inline float dram_synth_clamp(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v;
}

static inline float dram_synth_uniform(dram_rng *r, float low, float high)
{
    return (float)dram_rng_range(r, low, high);
}

/* Any hue; saturation and value 0..1. */
synth_colour dram_synth_hsv(float hue, float saturation, float value);

/* A colour between two hues, saturations and values; where both are the same nothing is drawn. The draws have an order
 * of their own, value, saturation, hue: that of a call's arguments is the compiler's, and scenes are to be the same. */
synth_colour dram_synth_draw_hsv(dram_rng *r, float hue0, float hue1, float saturation0, float saturation1,
                                 float value0, float value1);

typedef struct {
    dram_synth_class kind;
    float width, height; /* of its rectangle */
    float detail;        /* pixels per metre: finer texture fades out */
    float light;         /* -1 or 1: the side the sun stands on */
    int style;           /* of the kind */
    float phase;         /* its place in the noise */
    float part[4];       /* proportions, 0..1 */
    synth_colour main, second, third;
} synth_thing;

/* Draws size, style, proportions and colours of a thing. */
synth_thing dram_synth_thing(dram_synth_class kind, dram_rng *r);

/* Whether (x, y), |x| <= width / 2 and 0 <= y <= height, is on the thing; *colour if so. */
bool dram_synth_shade(const synth_thing *thing, const synth_noise *noise, float x, float y, synth_colour *colour);

/* Rows of bricks w x h: 0 on the joints, else 0.7..1 by brick. */
float dram_synth_bricks(const synth_noise *noise, float x, float y, float w, float h);

#endif
