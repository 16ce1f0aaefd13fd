/* synth_look: what a style makes of a scene: from where it is seen, what is recoloured, which textures and which light
 * lie over it. Internal to src/synth.
 *
 * A look has random numbers of its own, so that a scene of any style has the draws of the plain one, and a plain scene is
 * what it was before there were styles.
 */
#ifndef DRAM_SYNTH_SYNTH_LOOK_H
#define DRAM_SYNTH_SYNTH_LOOK_H

#include "synth/synth_paint.h"

/* Ranges of what a scene is seen from: the horizon's row and the focal length as shares of height and width, the
 * camera's height in metres; and how many times as many things may stand there. */
typedef struct {
    float horizon[2], focal[2], camera[2];
    float crowd;
} synth_view;

/* A turn of the hue about grey with a change of saturation, and a factor. */
typedef struct {
    float turn[3][3], gain;
} synth_tint;

typedef enum { SYNTH_SMOOTH, SYNTH_GRAIN, SYNTH_STRIPES, SYNTH_CHECKS, SYNTH_HATCH } synth_pattern;

typedef struct {
    synth_pattern pattern;
    float x, y; /* per pixel: the direction, one over the size */
    float strength;
} synth_texture;

typedef struct {
    dram_synth_style style;
    const synth_view *view;
    synth_tint tint[DRAM_SYNTH_CLASSES]; /* of what is no thing: sky, hill, ground, road, water */
    synth_texture texture[DRAM_SYNTH_CLASSES];
    float gamma, cast[3];
    dram_rng r;
} synth_look;

void dram_synth_look_draw(dram_synth_style style, uint64_t seed, uint64_t scene, synth_look *look);

/* Recolours one thing. */
void dram_synth_look_thing(synth_look *look, synth_thing *thing);

/* Recolours what is painted, rgb and ids [height,width], and lays textures and light over it. */
void dram_synth_look_dress(const synth_look *look, const synth_noise *noise, int height, int width, synth_colour *rgb,
                           const uint8_t *ids);

#endif
