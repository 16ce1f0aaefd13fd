#include "synth/synth_look.h"

#include <math.h>
#include <string.h>

static const synth_view views[DRAM_SYNTH_STYLES] = {
    [DRAM_SYNTH_PLAIN] = {{0.25f, 0.55f}, {0.7f, 1.1f}, {1.7f, 4.5f}, 1},
    [DRAM_SYNTH_VARIED] = {{0.18f, 0.58f}, {0.55f, 1.2f}, {1.3f, 5.2f}, 1.5f},
    [DRAM_SYNTH_DUSK] = {{0.6f, 0.7f}, {1.25f, 1.5f}, {0.9f, 1.25f}, 1},
};

const char *dram_synth_style_name(dram_synth_style style)
{
    static const char *const name[DRAM_SYNTH_STYLES] = {
#define X(ID, NAME) [DRAM_SYNTH_##ID] = NAME,
        DRAM_SYNTH_STYLE_LIST(X)
#undef X
    };
    return name[style];
}

/* A rotation of colours about the grey axis, then what is not grey times `saturation`. */
static synth_tint tint_of(float angle, float saturation, float gain)
{
    synth_tint t = {.gain = gain};
    float along = cosf(angle), third = (1 - along) / 3, across = sinf(angle) / sqrtf(3);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            float turned = i == k ? along + third : (k - i + 3) % 3 == 1 ? third - across : third + across;
            t.turn[i][k] = saturation * turned + (1 - saturation) / 3;
        }
    return t;
}

static synth_colour tinted(const synth_tint *t, synth_colour from)
{
    synth_colour to;
    for (int i = 0; i < 3; i++) {
        float v = t->turn[i][0] * from.c[0] + t->turn[i][1] * from.c[1] + t->turn[i][2] * from.c[2];
        to.c[i] = t->gain * fmaxf(v, 0);
    }
    return to;
}

static synth_texture texture_of(synth_pattern pattern, float angle, float size, float strength)
{
    return (synth_texture){.pattern = pattern, .x = cosf(angle) / size, .y = sinf(angle) / size, .strength = strength};
}

/* -1 to 1 at a pixel */
static float texture_at(const synth_texture *t, const synth_noise *noise, float x, float y)
{
    float u = t->x * x + t->y * y, v = t->x * y - t->y * x;
    switch (t->pattern) {
    case SYNTH_SMOOTH:
        return 0;
    case SYNTH_GRAIN:
        return 2 * dram_synth_noise_at(noise, fabsf(u), fabsf(v)) - 1;
    case SYNTH_STRIPES:
        return sinf(3.14159265f * u);
    case SYNTH_CHECKS:
        return ((int)floorf(u) + (int)floorf(v)) & 1 ? 1 : -1;
    case SYNTH_HATCH:
        return u - floorf(u) < 0.25f ? 1 : -0.3f; /* thin light lines */
    }
    return 0;
}

/* Hue, saturation, value and texture of every class anew, and a light; one class in four stays as it is. */
static void draw_varied(synth_look *look)
{
    dram_rng *r = &look->r;
    for (int i = 0; i < DRAM_SYNTH_CLASSES; i++) {
        float angle = dram_synth_uniform(r, -2, 2), saturation = dram_synth_uniform(r, 0.2f, 1.5f),
              gain = dram_synth_uniform(r, 0.55f, 1.45f);
        synth_pattern pattern = (synth_pattern)dram_rng_below(r, SYNTH_HATCH);
        float direction = dram_synth_uniform(r, 0, 3.14159265f), size = dram_synth_uniform(r, 1.5f, 14),
              strength = dram_synth_uniform(r, 0.03f, 0.3f);
        bool same = dram_synth_uniform(r, 0, 1) < 0.25f;
        look->tint[i] = same ? tint_of(0, 1, 1) : tint_of(angle, saturation, gain);
        look->texture[i] = texture_of(pattern, direction, size, strength);
    }
    look->gamma = dram_synth_uniform(r, 0.65f, 1.5f);
    for (int c = 0; c < 3; c++) look->cast[c] = dram_synth_uniform(r, 0.8f, 1.2f);
}

/* Dark, blue and pale, with slanting lines over everything. */
static void draw_dusk(synth_look *look)
{
    const float cast[3] = {0.85f, 0.95f, 1.45f};
    for (int i = 0; i < DRAM_SYNTH_CLASSES; i++) {
        look->tint[i] = tint_of(0.5f, 0.55f, i == DRAM_SYNTH_SKY ? 0.7f : 0.95f);
        look->texture[i] = texture_of(SYNTH_HATCH, dram_synth_uniform(&look->r, 0.4f, 0.6f), 5, 0.16f);
    }
    look->gamma = 1.7f;
    memcpy(look->cast, cast, sizeof cast);
}

void dram_synth_look_draw(dram_synth_style style, uint64_t seed, uint64_t scene, synth_look *look)
{
    *look = (synth_look){.style = style, .view = &views[style], .r = dram_rng_make(seed, DRAM_RNG_LOOK, scene)};
    if (style == DRAM_SYNTH_VARIED) draw_varied(look);
    if (style == DRAM_SYNTH_DUSK) draw_dusk(look);
}

void dram_synth_look_thing(synth_look *look, synth_thing *thing)
{
    dram_rng *r = &look->r;
    if (look->style == DRAM_SYNTH_PLAIN) return;
    synth_tint t = look->tint[thing->kind];
    if (look->style == DRAM_SYNTH_VARIED) {
        float angle = dram_synth_uniform(r, -3.14159265f, 3.14159265f), saturation = dram_synth_uniform(r, 0.2f, 1.5f);
        t = tint_of(angle, saturation, dram_synth_uniform(r, 0.55f, 1.45f));
    }
    synth_colour *const colours[] = {&thing->main, &thing->second, &thing->third};
    for (int i = 0; i < 3; i++) *colours[i] = tinted(&t, *colours[i]);
}

static bool is_thing(int id)
{
    return id != DRAM_SYNTH_SKY && id != DRAM_SYNTH_HILL && id != DRAM_SYNTH_GROUND && id != DRAM_SYNTH_ROAD &&
           id != DRAM_SYNTH_WATER;
}

void dram_synth_look_dress(const synth_look *look, const synth_noise *noise, int height, int width, synth_colour *rgb,
                           const uint8_t *ids)
{
    if (look->style == DRAM_SYNTH_PLAIN) return;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int id = ids[y * width + x];
            synth_colour *p = &rgb[y * width + x];
            const synth_texture *texture = &look->texture[id];
            if (!is_thing(id)) *p = tinted(&look->tint[id], *p);
            float k = 1 + texture->strength * texture_at(texture, noise, (float)x, (float)y);
            for (int c = 0; c < 3; c++) p->c[c] = look->cast[c] * powf(fmaxf(k * p->c[c], 0), look->gamma);
        }
    }
}
