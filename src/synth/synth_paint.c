#include "synth/synth_paint.h"

#include <math.h>

void dram_synth_noise_fill(synth_noise *noise, dram_rng *r)
{
    for (int i = 0; i < SYNTH_NOISE; i++)
        for (int j = 0; j < SYNTH_NOISE; j++) noise->at[i][j] = (float)dram_rng_uniform(r);
}

float dram_synth_noise_at(const synth_noise *noise, float x, float y)
{
    enum { MASK = SYNTH_NOISE - 1 };
    float fx = floorf(x), fy = floorf(y);
    unsigned i = (unsigned)(int)fy & MASK, j = (unsigned)(int)fx & MASK;
    unsigned i1 = (i + 1) & MASK, j1 = (j + 1) & MASK;
    float u = x - fx, v = y - fy;
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    float top = noise->at[i][j] + u * (noise->at[i][j1] - noise->at[i][j]);
    float bottom = noise->at[i1][j] + u * (noise->at[i1][j1] - noise->at[i1][j]);
    return top + v * (bottom - top);
}

float dram_synth_noise_sum(const synth_noise *noise, float x, float y)
{
    return 0.5f * dram_synth_noise_at(noise, x, y) + 0.3f * dram_synth_noise_at(noise, 2.1f * x + 17, 2.1f * y + 31) +
           0.2f * dram_synth_noise_at(noise, 4.3f * x + 53, 4.3f * y + 7);
}

synth_colour dram_synth_hsv(float hue, float saturation, float value)
{
    synth_colour out;
    for (int i = 0; i < 3; i++) {
        float k = fmodf((float)(5 - 2 * i) + 6 * (hue - floorf(hue)), 6);
        float t = dram_synth_clamp(fminf(k, 4 - k), 0, 1);
        out.c[i] = value * (1 - saturation * t);
    }
    return out;
}

float dram_synth_bricks(const synth_noise *noise, float x, float y, float w, float h)
{
    float row = floorf(y / h), along = x / w + 0.5f * (float)((int)row & 1), column = floorf(along);
    float u = along - column, v = y / h - row;
    if (u < 0.07f || v < 0.14f) return 0;
    return 0.7f + 0.3f * dram_synth_noise_at(noise, 3.7f * column + 0.5f, 5.3f * row + 0.5f);
}

static float between(dram_rng *r, float low, float high)
{
    return low == high ? low : dram_synth_uniform(r, low, high);
}

synth_colour dram_synth_draw_hsv(dram_rng *r, float hue0, float hue1, float saturation0, float saturation1,
                                 float value0, float value1)
{
    float value = between(r, value0, value1), saturation = between(r, saturation0, saturation1);
    return dram_synth_hsv(between(r, hue0, hue1), saturation, value);
}

static float part(float v)
{
    return v - floorf(v);
}

/* How much of a texture of this size is left to see: 0 when it is finer than a pixel. */
static float visible(const synth_thing *t, float size)
{
    return dram_synth_clamp(t->detail * size - 0.6f, 0, 1);
}

static bool in_disc(float x, float y, float rx, float ry)
{
    return x * x / (rx * rx) + y * y / (ry * ry) < 1;
}

static bool in_box(float x, float y, float x0, float y0, float x1, float y1)
{
    return x >= x0 && x < x1 && y >= y0 && y < y1;
}

/* Brighter towards the sun, across a round body. */
static synth_colour rounded(const synth_thing *t, synth_colour c, float side)
{
    return dram_synth_scale(c, 1 + 0.3f * side * t->light);
}

/* style: 0 brick, 1 plaster, 2 panels; a gable roof if part[1] is large. The side face is turned from or to the sun. */
static bool building(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    float w = t->width, eaves = t->part[1] > 0.5f ? t->height * 0.78f : t->height * 0.97f;
    float corner = w * (t->part[0] - 0.5f) * 0.7f; /* between the two faces */
    bool side = x > corner;
    float face = side != (t->light > 0) ? 0.72f : 1.0f;
    if (y > eaves) {
        float slope = (t->height - eaves) * (1 - 2 * fabsf(x) / w);
        if (t->part[1] > 0.5f && y - eaves > slope) return false;
        *colour = dram_synth_scale(t->second, 0.85f + 0.15f * part(y * 2.5f) * visible(t, 0.4f));
        return true;
    }
    synth_colour wall = t->main;
    if (t->style == 0) {
        float brick = dram_synth_bricks(noise, x, y, 0.5f, 0.22f), seen = visible(t, 0.3f);
        wall = brick > 0 ? dram_synth_scale(wall, 1 + (brick - 0.85f) * seen)
                         : dram_synth_mix(wall, t->third, 0.6f * seen);
    } else if (t->style == 1) {
        wall = dram_synth_scale(wall, 0.85f + 0.3f * dram_synth_noise_sum(noise, x * 0.8f + t->phase, y * 0.8f));
    } else {
        wall = dram_synth_scale(wall, part(x * 0.8f + t->phase) < 0.08f ? 0.7f : 1.0f);
    }
    float floor_height = 2.8f + t->part[2], pitch = 2.0f + 1.5f * t->part[3];
    float wx = part((x - corner) / pitch), wy = part(y / floor_height);
    bool door = side && y < 2.2f && x - corner > pitch && x - corner < pitch + 1.1f;
    if (door) {
        wall = dram_synth_scale(t->second, 0.6f);
    } else if (in_box(wx, wy, 0.25f, 0.3f, 0.75f, 0.8f) && y < eaves - 0.4f) {
        float lit = dram_synth_noise_at(noise, 7.3f * floorf((x - corner) / pitch) + t->phase,
                                        5.9f * floorf(y / floor_height) + 0.5f);
        bool frame = !in_box(wx, wy, 0.29f, 0.34f, 0.71f, 0.76f);
        wall = frame        ? t->third
               : lit > 0.7f ? (synth_colour){{0.9f, 0.8f, 0.5f}}
                            : (synth_colour){{0.1f, 0.13f, 0.18f}};
        if (!frame) wall = dram_synth_scale(wall, 0.8f + 0.6f * wy);
    }
    *colour = dram_synth_scale(wall, face);
    return true;
}

/* style: 0 leafy, 1 conifer, 2 bare-stemmed with a round crown. */
static bool tree(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    float h = t->height, w = t->width, stem = h * (0.15f + 0.25f * t->part[0]);
    float rough = dram_synth_noise_sum(noise, x * 1.3f + t->phase, y * 1.3f + t->phase) - 0.5f;
    bool crown;
    if (t->style == 1) {
        float up = (y - 0.12f * h) / (0.88f * h), tier = part(up * (4 + 4 * t->part[1]));
        crown = up > 0 && fabsf(x) < 0.5f * w * (1 - up) * (1.1f - 0.35f * tier) + 0.3f * rough;
    } else {
        float middle = (h + stem) / 2, ry = (h - stem) / 2;
        float d = sqrtf(4 * x * x / (w * w) + (y - middle) * (y - middle) / (ry * ry));
        crown = d + 0.9f * rough * (t->style == 0 ? 1.0f : 0.35f) < 0.88f;
    }
    if (crown) {
        float leaf = dram_synth_noise_at(noise, x * 5 + t->phase, y * 5), seen = visible(t, 0.3f);
        synth_colour c = dram_synth_mix(t->main, t->second, dram_synth_clamp(0.5f + 1.6f * rough, 0, 1));
        c = dram_synth_scale(c, 1 + 0.9f * (leaf - 0.5f) * seen + 0.25f * (y / h - 0.5f));
        *colour = rounded(t, c, 2 * x / w);
        return true;
    }
    float thick = 0.06f * w + 0.02f * h;
    if (fabsf(x) > thick * (1.2f - y / h) || y > stem + 0.3f * h) return false;
    *colour = rounded(t, dram_synth_scale(t->third, 0.8f + 0.4f * part(x * 9 + 3 * rough)), x / thick);
    return true;
}

static bool wheel(const synth_thing *t, float x, float y, float r, synth_colour *colour)
{
    if (!in_disc(x, y - r, r, r)) return false;
    *colour = in_disc(x, y - r, 0.5f * r, 0.5f * r) ? t->third : (synth_colour){{0.05f, 0.05f, 0.06f}};
    return true;
}

/* style: 0 and 1 from the side (saloon, van), 2 from the front or behind. */
static bool car(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    (void)noise;
    float w = t->width, h = t->height, r = 0.21f * h;
    synth_colour glass = {{0.12f, 0.16f, 0.2f}};
    float belt = h * (0.55f + 0.08f * t->part[0]);
    if (t->style == 2) {
        bool tyre = y < 0.25f * h && fabsf(x) > 0.3f * w && fabsf(x) < 0.45f * w;
        if (y < 0.12f * h || tyre) {
            *colour = (synth_colour){{0.05f, 0.05f, 0.06f}};
            return tyre;
        }
        float half = y > belt ? 0.5f * w * (0.92f - 0.3f * (y - belt) / (h - belt)) : 0.5f * w * 0.98f;
        if (fabsf(x) > half) return false;
        *colour = dram_synth_scale(t->main, y > belt ? 1.1f : 0.8f + 0.3f * y / h);
        if (y > belt + 0.05f * h && y < 0.93f * h && fabsf(x) < half - 0.08f * w) *colour = glass;
        if (in_box(fabsf(x), y, 0.32f * w, 0.38f * h, 0.46f * w, 0.5f * h)) *colour = t->second;
        if (in_box(fabsf(x), y, 0, 0.27f * h, 0.13f * w, 0.36f * h)) *colour = (synth_colour){{0.85f, 0.85f, 0.8f}};
        return true;
    }
    if (wheel(t, fabsf(x) - 0.3f * w, y, r, colour)) return true;
    if (y < 0.16f * h) return false;
    float front = t->style == 0 ? 0.2f : 0.38f, slope = t->style == 0 ? 0.16f : 0.06f;
    float up = (y - belt) / (h - belt);
    bool cabin = up > 0 && x > -0.44f * w + 0.1f * w * up && x < front * w - slope * w * up;
    bool body = y <= belt && fabsf(x) < 0.5f * w * (1 - 0.05f * fabsf(y / belt - 0.5f));
    if (!cabin && !body) return false;
    *colour = dram_synth_scale(t->main, 0.75f + 0.4f * y / h);
    bool window =
        up > 0.12f && up < 0.85f && x > -0.38f * w + 0.1f * w * up && x < (front - 0.05f) * w - slope * w * up;
    if (cabin && window && fabsf(x + 0.05f * w) > 0.02f * w) *colour = dram_synth_scale(glass, 0.8f + 0.8f * up);
    if (body && in_box(fabsf(x), y, 0.45f * w, 0.4f * h, 0.5f * w, 0.5f * h)) *colour = t->second;
    if (body && fabsf(y - 0.3f * h) < 0.015f * h) *colour = dram_synth_scale(*colour, 0.6f);
    return true;
}

/* part[0]: stride, part[1]: bulk, part[2]: skin, part[3]: a bag or not. */
static bool person(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    (void)noise;
    float h = t->height, bulk = 0.1f + 0.05f * t->part[1], v = y / h, u = x / h;
    if (in_disc(u, v - 0.925f, 0.055f, 0.072f)) {
        *colour = v > 0.945f || u * t->light < -0.035f ? t->third : t->second;
        return true;
    }
    if (v < 0.48f) { /* legs: apart by the stride, wider below */
        float apart = 0.03f + 0.09f * t->part[0] * (1 - v / 0.48f);
        if (fabsf(fabsf(u) - apart) > 0.036f + 0.02f * v) return false;
        *colour = v < 0.04f ? (synth_colour){{0.06f, 0.05f, 0.05f}} : rounded(t, t->third, u > 0 ? 0.7f : -0.7f);
        return true;
    }
    if (v < 0.84f && fabsf(u) < bulk - 0.1f * fabsf(v - 0.74f)) {
        *colour = rounded(t, t->main, u / bulk);
        if (t->style == 1 && part(v * 14) < 0.45f) *colour = dram_synth_scale(*colour, 0.55f);
        return true;
    }
    float arm = bulk + 0.025f + 0.1f * t->part[0] * (0.82f - v);
    if (v > 0.45f && v < 0.82f && fabsf(fabsf(u) - arm) < 0.026f) {
        *colour = v < 0.5f ? t->second : rounded(t, t->main, u > 0 ? 0.9f : -0.9f);
        return true;
    }
    if (t->part[3] > 0.6f && in_box(u, v, arm, 0.3f, arm + 0.1f, 0.44f)) {
        *colour = dram_synth_scale(t->main, 0.4f);
        return true;
    }
    return false;
}

/* style: 0 disc, 1 triangle, 2 board, 3 diamond. */
static bool sign(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    float r = t->width / 2, middle = t->height - r, v = y - middle, d = 2;
    switch (t->style) {
    case 0:
        d = sqrtf(x * x + v * v) / r;
        break;
    case 1:
        d = fmaxf(-v / (0.6f * r), (fabsf(x) + 0.55f * (v - 0.1f * r)) / (0.55f * r));
        break;
    case 2:
        d = fmaxf(fabsf(x) / r, fabsf(v) / (0.7f * r));
        break;
    default:
        d = (fabsf(x) + fabsf(v)) / r;
        break;
    }
    if (d < 1) {
        bool mark = t->part[0] < 0.5f
                        ? fabsf(v + 0.1f * r) < 0.14f * r && fabsf(x) < 0.5f * r
                        : dram_synth_noise_at(noise, x * 9 / r * 0.4f + t->phase, v * 9 / r * 0.4f) > 0.62f;
        *colour = d > 0.8f ? t->main : mark && d < 0.7f ? t->third : t->second;
        return true;
    }
    if (fabsf(x) > 0.04f + 0.02f * t->part[1] || y > middle) return false;
    *colour = rounded(t, (synth_colour){{0.45f, 0.46f, 0.48f}}, x / 0.06f);
    return true;
}

/* style: 0 stripes, 1 sectors, 2 spots; shaded as a sphere. */
static bool ball(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    float r = t->width / 2, u = x / r, v = (y - r) / r, d = u * u + v * v;
    if (d >= 1) return false;
    float z = sqrtf(1 - d), turn = 6.2832f * t->part[0];
    float a = u * cosf(turn) + v * sinf(turn), b = v * cosf(turn) - u * sinf(turn);
    bool second;
    if (t->style == 0)
        second = part(asinf(dram_synth_clamp(a, -1, 1)) * 1.3f + t->part[1]) < 0.5f;
    else if (t->style == 1)
        second = part(atan2f(b, z + 0.3f) * 1.2f + t->part[1]) < 0.5f;
    else
        second = dram_synth_noise_at(noise, a * 3 + t->phase, b * 3) > 0.6f;
    float shade = 0.45f + 0.65f * dram_synth_clamp(0.5f * u * t->light + 0.6f * v + 0.55f * z, 0, 1);
    *colour = dram_synth_scale(second ? t->second : t->main, shade);
    if (0.5f * u * t->light + 0.6f * v + 0.6f * z > 0.97f)
        *colour = dram_synth_mix(*colour, (synth_colour){{1, 1, 1}}, 0.6f);
    return true;
}

/* style: 0 boards, 1 pickets with gaps, 2 rails. */
static bool fence(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    float h = t->height, pitch = 0.22f + 0.2f * t->part[0], along = x / pitch + 500, u = part(along);
    bool rail = fabsf(y - 0.3f * h) < 0.06f * h || fabsf(y - 0.75f * h) < 0.06f * h;
    float shade = 0.8f + 0.35f * dram_synth_noise_at(noise, floorf(along) * 3.1f + t->phase, y * 1.5f);
    if (t->style == 0) {
        if (y > h * (0.93f + 0.07f * dram_synth_noise_at(noise, floorf(along) * 5.7f, t->phase))) return false;
        if (u < 0.12f) shade *= 1 - 0.6f * visible(t, pitch * 0.5f);
    } else if (t->style == 1) {
        bool picket = u < 0.6f && y < h * (1 - 0.35f * fabsf(u - 0.3f));
        if (!picket && !rail) return false;
        if (!picket) shade *= 0.7f;
    } else {
        bool post = part(x / 1.8f + t->phase) < 0.1f && y < h;
        if (!post && !rail && fabsf(y - 0.95f * h) > 0.05f * h) return false;
        shade *= post ? 0.85f : 1.0f;
    }
    *colour = dram_synth_scale(t->main, shade);
    return true;
}

bool dram_synth_shade(const synth_thing *t, const synth_noise *noise, float x, float y, synth_colour *colour)
{
    static bool (*const shade[DRAM_SYNTH_CLASSES])(const synth_thing *, const synth_noise *, float, float,
                                                   synth_colour *) = {
        [DRAM_SYNTH_BUILDING] = building, [DRAM_SYNTH_TREE] = tree, [DRAM_SYNTH_CAR] = car,
        [DRAM_SYNTH_PERSON] = person,     [DRAM_SYNTH_SIGN] = sign, [DRAM_SYNTH_BALL] = ball,
        [DRAM_SYNTH_FENCE] = fence};
    /* The rest of the list is background, painted by synth.c. */
    return shade[t->kind] && shade[t->kind](t, noise, x, y, colour);
}

/* Any colour, the greys and the dark ones included. */
static synth_colour paint(dram_rng *r)
{
    float saturation = dram_synth_uniform(r, 0, 1);
    return dram_synth_draw_hsv(r, 0, 1, saturation * 0.9f, saturation * 0.9f, 0.12f, 0.95f);
}

static void colour_thing(synth_thing *t, dram_rng *r)
{
    t->main = paint(r);
    t->second = paint(r);
    t->third = paint(r);
    switch (t->kind) {
    case DRAM_SYNTH_BUILDING:
        t->main = dram_synth_draw_hsv(r, -0.05f, 0.15f, 0.05f, 0.6f, 0.3f, 0.85f);
        t->second = dram_synth_draw_hsv(r, -0.05f, 0.1f, 0, 0.6f, 0.15f, 0.5f);
        t->third = dram_synth_hsv(0.1f, 0.1f, dram_synth_uniform(r, 0.5f, 0.9f));
        break;
    case DRAM_SYNTH_TREE: {
        float hue = dram_rng_uniform(r) < 0.2 ? dram_synth_uniform(r, 0.03f, 0.15f)
                                              : dram_synth_uniform(r, 0.2f, 0.4f); /* or autumn */
        t->main = dram_synth_draw_hsv(r, hue, hue, 0.4f, 0.8f, 0.25f, 0.6f);
        t->second = dram_synth_scale(t->main, 0.45f);
        t->third = dram_synth_draw_hsv(r, 0.07f, 0.07f, 0.2f, 0.6f, 0.15f, 0.4f);
        break;
    }
    case DRAM_SYNTH_PERSON:
        t->second = dram_synth_draw_hsv(r, 0.06f, 0.06f, 0.3f, 0.6f, 0.3f, 0.9f);
        t->third = dram_synth_scale(t->third, 0.5f);
        break;
    case DRAM_SYNTH_CAR:
        t->second = dram_rng_uniform(r) < 0.5 ? (synth_colour){{0.9f, 0.15f, 0.1f}} : (synth_colour){{1, 1, 0.8f}};
        t->third = dram_synth_hsv(0, 0, dram_synth_uniform(r, 0.3f, 0.7f));
        break;
    case DRAM_SYNTH_SIGN:
        t->main = dram_synth_draw_hsv(r, 0, 1, 0.85f, 0.85f, 0.5f, 0.9f);
        if (dram_rng_uniform(r) < 0.6) t->second = (synth_colour){{0.92f, 0.92f, 0.9f}};
        t->third = dram_synth_hsv(0, 0, dram_synth_uniform(r, 0, 0.2f));
        break;
    case DRAM_SYNTH_FENCE:
        t->main = dram_rng_uniform(r) < 0.4 ? dram_synth_hsv(0.1f, 0.05f, dram_synth_uniform(r, 0.6f, 0.95f))
                                            : dram_synth_draw_hsv(r, 0.04f, 0.12f, 0.2f, 0.7f, 0.25f, 0.6f);
        break;
    default:
        break;
    }
}

synth_thing dram_synth_thing(dram_synth_class kind, dram_rng *r)
{
    synth_thing t = {.kind = kind, .phase = dram_synth_uniform(r, 0, 100)};
    for (int i = 0; i < 4; i++) t.part[i] = dram_synth_uniform(r, 0, 1);
    float size = dram_synth_uniform(r, 0, 1);
    t.style = (int)dram_rng_below(r, kind == DRAM_SYNTH_SIGN ? 4 : 3);
    switch (kind) {
    case DRAM_SYNTH_BUILDING:
        t.width = 5 + 11 * t.part[2] * size + 3 * size;
        t.height = 4 + 12 * size * t.part[3];
        break;
    case DRAM_SYNTH_TREE:
        t.height = 2.5f + 6 * size;
        t.width = t.height * (t.style == 1 ? 0.35f + 0.2f * t.part[2] : 0.55f + 0.4f * t.part[2]);
        break;
    case DRAM_SYNTH_CAR:
        t.height = 1.4f + (t.style == 1 ? 0.8f * size : 0.2f * size);
        t.width = t.style == 2 ? t.height * (1.15f + 0.1f * size) : 3.8f + size;
        break;
    case DRAM_SYNTH_PERSON:
        t.height = 1.15f + 0.75f * size;
        t.width = t.height * 0.62f;
        break;
    case DRAM_SYNTH_SIGN:
        t.height = 2 + size;
        t.width = 0.7f + 0.8f * t.part[2];
        break;
    case DRAM_SYNTH_BALL:
        t.height = t.width = 0.5f + 1.1f * size;
        break;
    default: /* fence */
        t.height = 0.9f + 0.9f * size;
        t.width = 4 + 12 * t.part[2];
        break;
    }
    colour_thing(&t, r);
    return t;
}
