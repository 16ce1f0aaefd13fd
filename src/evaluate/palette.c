#include "evaluate/palette.h"

#include <math.h>

typedef struct {
    double l, a, b; /* CIELAB under D65 */
} lab;

static double linear(int byte)
{
    double v = byte / 255.0;
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double lab_curve(double t)
{
    return t > 216.0 / 24389.0 ? cbrt(t) : (24389.0 / 27.0 * t + 16.0) / 116.0;
}

static lab lab_of(dram_color c)
{
    double r = linear(c.r), g = linear(c.g), b = linear(c.b);
    double x = lab_curve((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
    double y = lab_curve(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
    double z = lab_curve((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
    return (lab){116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)};
}

/* Farthest-point selection among 16 levels of each channel. */
void dram_palette(dram_color *colors, int n)
{
    enum { LEVELS = 16, ALL = LEVELS * LEVELS * LEVELS };
    static const double DARK = 30, PALE = 92, GREY = 30;
    dram_color candidate[ALL];
    lab at[ALL];
    float away[ALL]; /* squared distance from the nearest colour taken; at first from grey */
    int count = 0;
    for (int i = 0; i < ALL; i++) {
        dram_color c = {.r = (uint8_t)(i / (LEVELS * LEVELS) * 17),
                        .g = (uint8_t)(i / LEVELS % LEVELS * 17),
                        .b = (uint8_t)(i % LEVELS * 17)};
        lab x = lab_of(c);
        double chroma = x.a * x.a + x.b * x.b;
        if (x.l < DARK || x.l > PALE || chroma < GREY * GREY) continue;
        candidate[count] = c;
        at[count] = x;
        away[count++] = (float)chroma;
    }
    for (int k = 0; k < n; k++) {
        int best = 0;
        for (int i = 1; i < count; i++)
            if (away[i] > away[best]) best = i;
        colors[k] = candidate[best];
        for (int i = 0; i < count; i++) {
            double l = at[i].l - at[best].l, a = at[i].a - at[best].a, b = at[i].b - at[best].b;
            float d = (float)(l * l + a * a + b * b);
            if (k == 0 || d < away[i]) away[i] = d;
        }
    }
}
