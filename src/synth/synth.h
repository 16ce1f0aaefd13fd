/* synth: synthetic street-like scenes with labels, to try dram on without any data set.
 *
 * A scene is sky over distant hills over ground with a road, seen in perspective: things that stand nearer are lower,
 * larger, and hide what is behind them. Textures are procedural; light has a direction, a colour and shadows; haze,
 * blur and sensor noise come last. Every number is drawn from (seed, DRAM_RNG_SYNTH, scene), what a style changes from
 * (seed, DRAM_RNG_LOOK, scene), so that scene i does not depend on how many are written.
 */
#ifndef DRAM_SYNTH_SYNTH_H
#define DRAM_SYNTH_SYNTH_H

#include <stdint.h>

#include "base/status.h"

/*    id         name        what it looks like */
#define DRAM_SYNTH_CLASS_LIST(X)                                                                                       \
    X(SKY, "sky")           /* gradient with clouds */                                                                 \
    X(HILL, "hill")         /* hazy ridges */                                                                          \
    X(GROUND, "ground")     /* grass, sand or snow */                                                                  \
    X(ROAD, "road")         /* asphalt or paving, lane marks */                                                        \
    X(BUILDING, "building") /* brick, plaster; windows, roof */                                                        \
    X(TREE, "tree")         /* leafy or conifer, with its trunk */                                                     \
    X(CAR, "car")                                                                                                      \
    X(PERSON, "person")                                                                                                \
    X(SIGN, "sign") /* post and plate */                                                                               \
    X(BALL, "ball") /* striped or spotted */                                                                           \
    X(FENCE, "fence")                                                                                                  \
    X(WATER, "water") /* pond with ripples */

typedef enum {
#define X(ID, NAME) DRAM_SYNTH_##ID,
    DRAM_SYNTH_CLASS_LIST(X)
#undef X
        DRAM_SYNTH_CLASSES
} dram_synth_class;

const char *dram_synth_class_name(dram_synth_class id);

/* How a scene looks; shapes, places and labels have one rule in all. */
#define DRAM_SYNTH_STYLE_LIST(X)                                                                                       \
    X(PLAIN, "plain")   /* natural colours */                                                                          \
    X(VARIED, "varied") /* each scene has its own palette, textures, light and camera */                               \
    X(DUSK, "dusk")     /* dark, blue, hatched, seen from low down: nothing of it is in the others */

typedef enum {
#define X(ID, NAME) DRAM_SYNTH_##ID,
    DRAM_SYNTH_STYLE_LIST(X)
#undef X
        DRAM_SYNTH_STYLES
} dram_synth_style;

const char *dram_synth_style_name(dram_synth_style style);

enum { DRAM_SYNTH_HEIGHT = 192, DRAM_SYNTH_WIDTH = 256 }; /* the command's size */

/* Draws one scene: rgb u8 [height,width,3] and ids u8 [height,width], both the caller's; every pixel has a class.
 * height and width 32..4096. DRAM_ERR_MEMORY only. */
dram_status dram_synth_draw(dram_synth_style style, uint64_t seed, uint64_t scene, int height, int width, uint8_t *rgb,
                            uint8_t *ids);

/* Writes scenes 0..count-1 to DIR/images/NNNNN.jpg and DIR/labels/NNNNN.png, and the class names, one a line in the
 * order of their ids, to DIR/classes.txt; makes the folders (those above DIR too), replaces files of the same name.
 * DRAM_ERR_IO names the file. */
dram_status dram_synth_write(const char *dir, int count, dram_synth_style style, uint64_t seed, int height, int width);

#endif
