#include "synth/synth.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "data/image.h"
#include "synth/synth_look.h"

enum { MAX_THINGS = 40 };

typedef struct {
    synth_thing thing;
    float x, base; /* of its foot, pixels */
} placed;

/* The world: y pixels below the horizon is camera / y metres to the pixel across, camera * focal / y metres away. */
typedef struct {
    int height, width;
    float horizon, vanish, camera, focal; /* rows, columns, metres, pixels */
    float light, shadow, shadow_length;   /* side of the sun, darkness 0..1, length per height */
    float haze;                           /* per metre */
    synth_colour sky_low, sky_high, cloud;
    synth_colour ground[2];
    synth_colour road;
    bool has_road, has_water, paved;
    float road_at, road_half, road_bend, crossing; /* metres */
    float pond_x, pond_z, pond_rx, pond_rz;
    float cover; /* of clouds */
    placed things[MAX_THINGS];
    int count;
    dram_rng r;
    synth_noise noise;
    synth_look look;
} scene;

typedef struct {
    synth_colour *rgb; /* [height,width] */
    uint8_t *ids;      /* [height,width] */
} canvas;

const char *dram_synth_class_name(dram_synth_class id)
{
    static const char *const name[DRAM_SYNTH_CLASSES] = {
#define X(ID, NAME) [DRAM_SYNTH_##ID] = NAME,
        DRAM_SYNTH_CLASS_LIST(X)
#undef X
    };
    return name[id];
}

static float uniform(scene *s, float low, float high)
{
    return dram_synth_uniform(&s->r, low, high);
}

/* Two draws, from 0 to a and from 0 to b, multiplied: small ones are likelier. */
static float product(scene *s, float a, float b)
{
    float first = a * uniform(s, 0, 1);
    return first * uniform(s, 0, b);
}

static bool chance(scene *s, double p)
{
    return dram_rng_uniform(&s->r) < p;
}

static void choose_weather(scene *s)
{
    float kind = uniform(s, 0, 1);
    s->light = chance(s, 0.5) ? 1 : -1;
    s->shadow_length = uniform(s, 0.4f, 2);
    s->cover = uniform(s, 0.3f, 0.75f);
    if (kind < 0.5f) { /* clear */
        s->sky_high = dram_synth_draw_hsv(&s->r, 0.55f, 0.63f, 0.4f, 0.75f, 0.6f, 0.95f);
        s->sky_low = dram_synth_draw_hsv(&s->r, 0.5f, 0.62f, 0.1f, 0.3f, 0.95f, 0.95f);
        s->cloud = dram_synth_hsv(0.6f, 0.03f, 1);
        s->shadow = uniform(s, 0.35f, 0.6f);
    } else if (kind < 0.8f) { /* overcast */
        s->sky_high = dram_synth_draw_hsv(&s->r, 0.6f, 0.6f, 0, 0.15f, 0.5f, 0.8f);
        s->sky_low = dram_synth_draw_hsv(&s->r, 0.6f, 0.6f, 0, 0.1f, 0.7f, 0.95f);
        s->cloud = dram_synth_scale(s->sky_high, 0.75f);
        s->shadow = uniform(s, 0.05f, 0.25f);
    } else { /* evening */
        s->sky_high = dram_synth_draw_hsv(&s->r, 0.6f, 0.8f, 0.3f, 0.6f, 0.35f, 0.7f);
        s->sky_low = dram_synth_draw_hsv(&s->r, 0.02f, 0.12f, 0.4f, 0.7f, 0.8f, 1);
        s->cloud = dram_synth_hsv(0.0f, 0.4f, 0.7f);
        s->shadow = uniform(s, 0.3f, 0.55f);
        s->shadow_length *= 1.5f;
    }
    s->haze = product(s, 1, 0.012f);
}

static void choose_ground(scene *s)
{
    static const float palette[][3] = {
        {0.27f, 0.5f, 0.45f}, {0.11f, 0.4f, 0.6f}, {0.6f, 0.04f, 0.9f}, {0.08f, 0.35f, 0.4f}};
    double pick = dram_rng_uniform(&s->r);
    const float *p = palette[pick < 0.5 ? 0 : pick < 0.7 ? 1 : pick < 0.82 ? 2 : 3]; /* grass, sand, snow, earth */
    float hue = p[0] + uniform(s, -0.05f, 0.05f), value = p[2] * uniform(s, 0.8f, 1.1f);
    s->ground[0] = dram_synth_hsv(hue, p[1] * uniform(s, 0.7f, 1.2f), value);
    value *= uniform(s, 0.6f, 0.9f);
    s->ground[1] = dram_synth_hsv(hue + uniform(s, -0.05f, 0.05f), p[1], value);
    s->has_road = chance(s, 0.75);
    s->paved = chance(s, 0.25);
    s->road = dram_synth_draw_hsv(&s->r, 0, 1, 0, 0.12f, 0.22f, 0.6f);
    s->road_half = uniform(s, 1.8f, 4.5f);
    s->road_at = uniform(s, -4, 4);
    float side = uniform(s, -1, 1);
    s->road_bend = side * uniform(s, 0, 0.012f);
    s->crossing = chance(s, 0.3) ? uniform(s, 5, 20) : -100;
    s->has_water = chance(s, 0.45);
    s->pond_z = uniform(s, 8, 35);
    s->pond_x = uniform(s, -0.5f, 0.5f) * s->pond_z;
    s->pond_rx = uniform(s, 0.25f, 0.7f) * s->pond_z;
    s->pond_rz = uniform(s, 0.15f, 0.4f) * s->pond_z;
}

static float road_centre(const scene *s, float z)
{
    return s->road_at + s->road_bend * z * z * 0.5f;
}

/* Stands one thing on the ground; far ones are as likely as near ones on the screen. */
static void place(scene *s, dram_synth_class kind, float nearest, float farthest)
{
    if (s->count == MAX_THINGS) return;
    placed *p = &s->things[s->count++];
    p->thing = dram_synth_thing(kind, &s->r);
    float below = s->height - s->horizon;
    float t = below * uniform(s, farthest, nearest);
    t *= uniform(s, 0.6f, 1);
    if (t < 0.05f * below) t = 0.05f * below;
    float z = s->camera * s->focal / t, metre = t / s->camera;
    float x = (uniform(s, -0.05f, 1.05f) * (float)s->width - s->vanish) / metre;
    float away = x - road_centre(s, z);
    bool tall = kind == DRAM_SYNTH_BUILDING || kind == DRAM_SYNTH_TREE || kind == DRAM_SYNTH_FENCE;
    if (s->has_road && tall && fabsf(away) < s->road_half + 0.5f * p->thing.width) /* beside the road, not on it */
        x = road_centre(s, z) + copysignf(s->road_half + 0.55f * p->thing.width, away);
    if (s->has_road && kind == DRAM_SYNTH_CAR && chance(s, 0.7))
        x = road_centre(s, z) + uniform(s, -0.8f, 0.8f) * s->road_half;
    dram_synth_look_thing(&s->look, &p->thing);
    p->thing.light = s->light;
    p->thing.detail = metre;
    p->base = s->horizon + t;
    p->x = s->vanish + x * metre;
}

static int by_base(const void *a, const void *b)
{
    float x = ((const placed *)a)->base, y = ((const placed *)b)->base;
    return (x > y) - (x < y);
}

static void choose_things(scene *s)
{
    static const struct {
        dram_synth_class kind;
        int most;
        float nearest, farthest; /* share of the ground's rows */
    } crowd[] = {{DRAM_SYNTH_BUILDING, 5, 0.35f, 0.06f}, {DRAM_SYNTH_TREE, 6, 0.7f, 0.06f},
                 {DRAM_SYNTH_FENCE, 2, 0.8f, 0.2f},      {DRAM_SYNTH_CAR, 4, 1.0f, 0.15f},
                 {DRAM_SYNTH_PERSON, 6, 1.1f, 0.25f},    {DRAM_SYNTH_SIGN, 4, 1.1f, 0.3f},
                 {DRAM_SYNTH_BALL, 4, 1.1f, 0.35f}};
    for (size_t i = 0; i < sizeof crowd / sizeof crowd[0]; i++) {
        int most = (int)(s->look.view->crowd * (float)crowd[i].most),
            n = (int)dram_rng_below(&s->r, (uint64_t)most + 1);
        for (int k = 0; k < n; k++) place(s, crowd[i].kind, crowd[i].nearest, crowd[i].farthest);
    }
    qsort(s->things, (size_t)s->count, sizeof s->things[0], by_base);
}

static void choose_scene(scene *s, dram_synth_style style, uint64_t seed, uint64_t index, int height, int width)
{
    *s = (scene){.height = height, .width = width, .r = dram_rng_make(seed, DRAM_RNG_SYNTH, index)};
    dram_synth_noise_fill(&s->noise, &s->r);
    dram_synth_look_draw(style, seed, index, &s->look);
    const synth_view *view = s->look.view;
    s->horizon = uniform(s, view->horizon[0], view->horizon[1]) * (float)height;
    s->vanish = uniform(s, 0.2f, 0.8f) * (float)width;
    s->camera = uniform(s, view->camera[0], view->camera[1]);
    s->focal = uniform(s, view->focal[0], view->focal[1]) * (float)width;
    choose_weather(s);
    choose_ground(s);
    choose_things(s);
}

static synth_colour hazed(const scene *s, synth_colour c, float z)
{
    return dram_synth_mix(c, s->sky_low, 1 - expf(-s->haze * z));
}

static void paint_sky(const scene *s, canvas *to)
{
    for (int y = 0; y < s->height; y++) {
        float t = dram_synth_clamp((float)y / s->horizon, 0, 1);
        synth_colour base = dram_synth_mix(s->sky_high, s->sky_low, t * t);
        for (int x = 0; x < s->width; x++) {
            float flat = 6.0f / (float)s->width * (1 + t); /* clouds lie flatter near the horizon */
            float n = dram_synth_noise_sum(&s->noise, (float)x * flat, (float)y * flat * 2.5f + 40);
            float cloud = dram_synth_clamp((n - s->cover) * 5, 0, 0.9f);
            to->rgb[y * s->width + x] = dram_synth_mix(base, s->cloud, cloud);
            to->ids[y * s->width + x] = DRAM_SYNTH_SKY;
        }
    }
}

static void paint_hills(scene *s, canvas *to)
{
    int ridges = (int)dram_rng_below(&s->r, 4);
    for (int k = 0; k < ridges; k++) {
        float far = 1 - (float)k / (float)ridges, lift = uniform(s, 0.05f, 0.45f) * s->horizon * (0.4f + 0.6f * far);
        float wave = uniform(s, 1.5f, 5) / (float)s->width, row = uniform(s, 0, 100);
        synth_colour c = dram_synth_draw_hsv(&s->r, 0.2f, 0.65f, 0.1f, 0.5f, 0.25f, 0.6f);
        c = dram_synth_mix(c, s->sky_low, 0.15f + 0.55f * far);
        for (int x = 0; x < s->width; x++) {
            float top = s->horizon - lift * (2 * dram_synth_noise_sum(&s->noise, (float)x * wave, row) - 0.3f);
            int first = top < 0 ? 0 : (int)top, last = (int)s->horizon + 1;
            for (int y = first; y < last && y < s->height; y++) {
                float n = dram_synth_noise_sum(&s->noise, (float)x * 0.15f, (float)y * 0.25f + row);
                to->rgb[y * s->width + x] = dram_synth_scale(c, 0.8f + 0.4f * n);
                to->ids[y * s->width + x] = DRAM_SYNTH_HILL;
            }
        }
    }
}

static synth_colour road_colour(const scene *s, float x, float z, float pixel)
{
    float away = x - road_centre(s, z), seen = dram_synth_clamp(0.25f / pixel - 0.2f, 0, 1);
    synth_colour c = s->road, line = {{0.85f, 0.85f, 0.8f}};
    if (s->paved) {
        float brick = dram_synth_bricks(&s->noise, x, z, 0.6f, 0.6f);
        c = dram_synth_scale(c, 1 + seen * (brick > 0 ? brick - 0.85f : -0.4f));
    } else {
        c = dram_synth_scale(c, 1 + seen * 0.5f * (dram_synth_noise_at(&s->noise, x * 6, z * 6) - 0.5f));
        bool dash = fabsf(away) < 0.12f && z / 6 - floorf(z / 6) < 0.5f;
        if (dash || fabsf(fabsf(away) - s->road_half + 0.3f) < 0.08f) c = dram_synth_mix(c, line, 0.8f);
    }
    if (z > s->crossing && z < s->crossing + 3 && x / 0.9f - floorf(x / 0.9f) < 0.5f) c = line;
    return dram_synth_scale(c, 0.85f + 0.3f * dram_synth_noise_sum(&s->noise, x * 0.4f, z * 0.4f));
}

static bool in_pond(const scene *s, float x, float z)
{
    if (!s->has_water) return false;
    float u = (x - s->pond_x) / s->pond_rx, v = (z - s->pond_z) / s->pond_rz;
    float shore = dram_synth_noise_sum(&s->noise, x * 0.25f + 9, z * 0.25f + 3) - 0.5f;
    return u * u + v * v + 1.2f * shore < 1;
}

static void paint_ground(const scene *s, canvas *to)
{
    for (int y = (int)s->horizon + 1; y < s->height; y++) {
        float t = (float)y + 0.5f - s->horizon, pixel = s->camera / t, z = pixel * s->focal;
        float seen = dram_synth_clamp(0.35f / (pixel * s->focal / t) - 0.1f, 0, 1); /* of blades and grains */
        for (int x = 0; x < s->width; x++) {
            float wx = ((float)x + 0.5f - s->vanish) * pixel;
            synth_colour c;
            dram_synth_class id = DRAM_SYNTH_GROUND;
            if (s->has_road && fabsf(wx - road_centre(s, z)) < s->road_half) {
                id = DRAM_SYNTH_ROAD;
                c = road_colour(s, wx, z, pixel * s->focal / t);
            } else if (in_pond(s, wx, z)) {
                id = DRAM_SYNTH_WATER;
                float wave = dram_synth_noise_sum(&s->noise, wx * 0.6f, z * 2.2f);
                c = dram_synth_mix(dram_synth_scale(s->sky_high, 0.55f), s->sky_low, 0.2f + 0.5f * wave);
            } else {
                float patch = dram_synth_noise_sum(&s->noise, wx * 0.2f + 60, z * 0.2f);
                float grain = dram_synth_noise_at(&s->noise, wx * 7, z * 4) - 0.5f;
                c = dram_synth_mix(s->ground[0], s->ground[1], dram_synth_clamp(2 * patch - 0.5f, 0, 1));
                c = dram_synth_scale(c, 1 + 0.7f * seen * grain);
            }
            to->rgb[y * s->width + x] = hazed(s, c, z);
            to->ids[y * s->width + x] = (uint8_t)id;
        }
    }
}

/* A dark ellipse on the ground, from the foot away from the sun. */
static void paint_shadow(const scene *s, const placed *p, canvas *to)
{
    float metre = p->thing.detail, reach = p->thing.height * s->shadow_length * metre;
    float rx = 0.5f * (reach + 0.8f * p->thing.width * metre), ry = 0.1f * reach + 0.12f * p->thing.width * metre + 1;
    float cx = p->x - s->light * 0.5f * reach, cy = p->base - 0.3f * ry;
    int x0 = (int)fmaxf(cx - rx, 0), x1 = (int)fminf(cx + rx + 1, (float)s->width);
    int y0 = (int)fmaxf(cy - ry, s->horizon + 1), y1 = (int)fminf(cy + ry + 1, (float)s->height);
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            uint8_t id = to->ids[y * s->width + x];
            if (id != DRAM_SYNTH_GROUND && id != DRAM_SYNTH_ROAD && id != DRAM_SYNTH_WATER) continue;
            float u = ((float)x - cx) / rx, v = ((float)y - cy) / ry;
            float dark = s->shadow * dram_synth_clamp((1 - u * u - v * v) * 3, 0, 1);
            to->rgb[y * s->width + x] = dram_synth_scale(to->rgb[y * s->width + x], 1 - dark);
        }
    }
}

static void paint_thing(const scene *s, const placed *p, canvas *to)
{
    float metre = p->thing.detail, half = 0.5f * p->thing.width * metre, z = s->focal / metre;
    int x0 = (int)fmaxf(p->x - half, 0), x1 = (int)fminf(p->x + half + 1, (float)s->width);
    int y0 = (int)fmaxf(p->base - p->thing.height * metre, 0), y1 = (int)fminf(p->base, (float)s->height);
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            float u = ((float)x + 0.5f - p->x) / metre, v = (p->base - (float)y - 0.5f) / metre;
            synth_colour c;
            if (fabsf(u) > 0.5f * p->thing.width || v < 0 || v > p->thing.height) continue;
            if (!dram_synth_shade(&p->thing, &s->noise, u, v, &c)) continue;
            to->rgb[y * s->width + x] = hazed(s, c, z);
            to->ids[y * s->width + x] = (uint8_t)p->thing.kind;
        }
    }
}

/* Gain, colour cast, a gradient across the picture, drifting cloud shadows, darker corners. */
static void light_up(scene *s, canvas *to)
{
    float gain = uniform(s, 0.75f, 1.4f), slope_x = uniform(s, -0.2f, 0.2f), slope_y = uniform(s, -0.2f, 0.2f);
    float corner = uniform(s, 0, 0.3f), drift = chance(s, 0.4) ? uniform(s, 0.1f, 0.4f) : 0;
    float cast[3];
    for (int c = 0; c < 3; c++) cast[c] = gain * uniform(s, 0.88f, 1.12f);
    for (int y = 0; y < s->height; y++) {
        for (int x = 0; x < s->width; x++) {
            float u = 2 * (float)x / (float)s->width - 1, v = 2 * (float)y / (float)s->height - 1;
            float n = dram_synth_noise_sum(&s->noise, 2.5f * u + 80, 2.5f * v + 20);
            float k = (1 + slope_x * u + slope_y * v) * (1 - corner * 0.5f * (u * u + v * v));
            k *= 1 - drift * dram_synth_clamp((n - 0.5f) * 6, 0, 1);
            synth_colour *p = &to->rgb[y * s->width + x];
            for (int c = 0; c < 3; c++) p->c[c] *= k * cast[c];
        }
    }
}

/* One pass of 1 2 1 along n pixels `step` apart. */
static void blur_line(synth_colour *p, int n, int step)
{
    synth_colour before = p[0];
    for (int i = 0; i < n; i++) {
        synth_colour here = p[i * step], after = i + 1 < n ? p[(i + 1) * step] : here;
        for (int c = 0; c < 3; c++) p[i * step].c[c] = 0.25f * (before.c[c] + after.c[c]) + 0.5f * here.c[c];
        before = here;
    }
}

/* The camera: blur, noise, 8 bits. Noise is a sum of four uniform bytes, near enough to normal and quick. */
static void expose(scene *s, canvas *to, uint8_t *rgb)
{
    int passes = 1 + (int)product(s, 3, 1), n = s->height * s->width;
    float grain = product(s, 255, 0.05f) / 147.8f; /* deviation of the sum of four */
    for (int k = 0; k < passes; k++) {
        for (int y = 0; y < s->height; y++) blur_line(to->rgb + y * s->width, s->width, 1);
        for (int x = 0; x < s->width; x++) blur_line(to->rgb + x, s->height, s->width);
    }
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < 3; c++) {
            uint32_t bits = (uint32_t)dram_rng_u64(&s->r);
            int sum = (int)(bits & 255) + (int)(bits >> 8 & 255) + (int)(bits >> 16 & 255) + (int)(bits >> 24) - 510;
            float v = 255 * to->rgb[i].c[c] + grain * (float)sum + 0.5f;
            rgb[3 * i + c] = (uint8_t)dram_synth_clamp(v, 0, 255);
        }
    }
}

dram_status dram_synth_draw(dram_synth_style style, uint64_t seed, uint64_t index, int height, int width, uint8_t *rgb,
                            uint8_t *ids)
{
    dram_status status = DRAM_OK;
    scene *s = dram_alloc(sizeof *s);
    canvas to = {.rgb = dram_alloc((size_t)height * (size_t)width * sizeof *to.rgb), .ids = ids};
    if (!s || !to.rgb) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of host memory while drawing a scene");
        goto done;
    }
    choose_scene(s, style, seed, index, height, width);
    paint_sky(s, &to);
    paint_hills(s, &to);
    paint_ground(s, &to);
    for (int i = 0; i < s->count; i++) {
        paint_shadow(s, &s->things[i], &to);
        paint_thing(s, &s->things[i], &to);
    }
    dram_synth_look_dress(&s->look, &s->noise, height, width, to.rgb, ids);
    light_up(s, &to);
    expose(s, &to, rgb);
done:
    dram_free(to.rgb);
    dram_free(s);
    return status;
}

/* Makes a folder and those above it. `path` is changed on the way and left as it was. */
static dram_status make_folder(char *path)
{
    for (char *end = path; *end; end++) {
        if (end[1] != '/' && end[1] != '\0') continue;
        char cut = end[1];
        end[1] = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        dram_status status =
            made ? DRAM_OK : dram_fail(DRAM_ERR_IO, "%s: cannot make the folder: %s", path, strerror(errno));
        end[1] = cut;
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status write_names(const char *path)
{
    const char *why;
    FILE *file = dram_file_create(path, &why);
    if (!file) return dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", path, why);
    bool ok = true;
    for (int i = 0; ok && i < DRAM_SYNTH_CLASSES; i++) ok = fprintf(file, "%s\n", dram_synth_class_name(i)) > 0;
    if (fclose(file) != 0) ok = false;
    return ok ? DRAM_OK : dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* DIR/part into `path`, which is reused. */
static dram_status join(dram_str *path, const char *dir, const char *folder, int scene_number, const char *end)
{
    path->length = 0;
    dram_str_add(path, "%s%s", dir, folder);
    if (scene_number >= 0) dram_str_add(path, "/%05d", scene_number);
    dram_str_add(path, "%s", end);
    return path->failed ? dram_fail(DRAM_ERR_MEMORY, "out of host memory while writing scenes") : DRAM_OK;
}

dram_status dram_synth_write(const char *dir, int count, dram_synth_style style, uint64_t seed, int height, int width)
{
    dram_status status;
    dram_str path = {0};
    size_t pixels = (size_t)height * (size_t)width;
    uint8_t *rgb = dram_alloc(pixels * 4), *ids = rgb + pixels * 3;
    if (!rgb) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of host memory while writing scenes");
        goto done;
    }
    const char *const folders[] = {"", "/images", "/labels"};
    for (int i = 0; i < 3; i++) {
        TRY_GOTO(join(&path, dir, folders[i], -1, ""), done);
        TRY_GOTO(make_folder(path.text), done);
    }
    TRY_GOTO(join(&path, dir, "/classes.txt", -1, ""), done);
    TRY_GOTO(write_names(path.text), done);
    for (int i = 0; i < count; i++) {
        TRY_GOTO(dram_synth_draw(style, seed, (uint64_t)i, height, width, rgb, ids), done);
        TRY_GOTO(join(&path, dir, "/images", i, ".jpg"), done);
        TRY_GOTO(dram_image_write_jpeg(path.text, rgb, height, width, 92), done);
        TRY_GOTO(join(&path, dir, "/labels", i, ".png"), done);
        TRY_GOTO(dram_label_write_png(path.text, ids, height, width), done);
    }
done:
    dram_str_free(&path);
    dram_free(rgb);
    return status;
}
