#include "page/scale.h"

#include <math.h>
#include <stdio.h>

#include "base/str.h"

double dram_scale_round(double least)
{
    static const double factor[] = {1, 2, 5};
    double power = pow(10, floor(log10(least)));
    for (int i = 0; i < 3; i++)
        if (factor[i] * power >= least * (1 - 1e-9)) return factor[i] * power;
    return 10 * power;
}

/* The step of a clock: of minutes and hours people expect other numbers than of tens. */
static double round_seconds(double least)
{
    static const double step[] = {1,   2,    5,    10,   15,    30,    60,    120,   300,    600,
                                  900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800};
    if (least < 1) return dram_scale_round(least);
    for (size_t i = 0; i < sizeof step / sizeof step[0]; i++)
        if (step[i] >= least * (1 - 1e-9)) return step[i];
    return 86400 * dram_scale_round(least / 86400);
}

/* The unit in which labels are written. */
static double part_of(dram_unit unit, double most)
{
    static const double bytes[] = {0x1p40, 0x1p30, 0x1p20, 0x1p10}, seconds[] = {2 * 86400, 2 * 3600, 2 * 60};
    static const double shown[] = {86400, 3600, 60};
    most = fabs(most);
    if (unit == DRAM_UNIT_PERCENT) return 0.01;
    for (int i = 0; i < 4 && unit == DRAM_UNIT_BYTES; i++)
        if (most >= bytes[i]) return bytes[i];
    for (int i = 0; i < 3 && unit == DRAM_UNIT_SECONDS; i++)
        if (most >= seconds[i]) return shown[i];
    return 1;
}

static void add_tick(dram_scale *s, double value)
{
    if (s->n_ticks < DRAM_TICKS) s->tick[s->n_ticks++] = value;
}

static void fit_linear(dram_scale *s, const dram_scale_wish *w)
{
    double least = w->least, most = w->most;
    if (w->from_zero) {
        least = fmin(least, 0);
        most = fmax(most, 0);
    }
    if (most - least <= 1e-12 * fmax(fabs(least), fabs(most))) { /* one number: it lies in the middle */
        double around = most != 0 ? fabs(most) / 2 : 1;
        if (!(w->from_zero && least == 0)) least -= around;
        most += around;
    }
    double wanted = (most - least) / w->ticks;
    s->part = part_of(w->unit, fmax(fabs(most), fabs(least)));
    s->step = w->unit == DRAM_UNIT_SECONDS ? round_seconds(wanted) : s->part * dram_scale_round(wanted / s->part);
    double first = floor(least / s->step + 1e-9), last = ceil(most / s->step - 1e-9);
    s->low = w->tight ? least : first * s->step;
    s->high = w->tight ? most : last * s->step;
    for (double i = first; i <= last; i++)
        if (i * s->step >= s->low - 1e-9 * s->step && i * s->step <= s->high + 1e-9 * s->step) add_tick(s, i * s->step);
}

/* Decades, and where there are few of them 2 and 5 as well. Bytes go by powers of two. */
static void fit_log(dram_scale *s, const dram_scale_wish *w)
{
    static const double factor[3][3] = {{1}, {1, 3}, {1, 2, 5}};
    double base = w->unit == DRAM_UNIT_BYTES ? 2 : 10, span = log(w->most / w->least) / log(base);
    bool fine = base == 10 && span < 2.5;
    int n = fine ? 3 : 1, every = fine ? 1 : (int)fmax(1, ceil(span / (w->ticks + 1)));
    s->log = true;
    s->part = part_of(w->unit, w->most);
    double first = floor(log(w->least) / log(base) + 1e-9), last = ceil(log(w->most) / log(base) - 1e-9);
    s->low = w->least;
    s->high = w->most;
    double before = 0, above = 0;
    for (double e = first; e <= last + 1; e += 1)
        for (int i = 0; i < n; i++) {
            double value = factor[n - 1][i] * pow(base, e);
            if (fmod(fabs(e), every) != 0) continue;
            if (value <= w->least * (1 + 1e-9)) before = value;
            if (value >= w->most * (1 - 1e-9) && above == 0) above = value;
        }
    if (!w->tight && before > 0) s->low = before;
    if (!w->tight && above > 0) s->high = above;
    if (s->high <= s->low) s->high = s->low * base, s->low /= base;
    for (double e = first; e <= last + 1; e += 1)
        for (int i = 0; i < n; i++) {
            double value = factor[n - 1][i] * pow(base, e);
            if (fmod(fabs(e), every) != 0) continue;
            if (value >= s->low * (1 - 1e-9) && value <= s->high * (1 + 1e-9)) add_tick(s, value);
        }
}

dram_scale dram_scale_fit(const dram_scale_wish *wish)
{
    dram_scale s = {.unit = wish->unit, .part = 1};
    dram_scale_wish w = *wish;
    if (!isfinite(w.least) || !isfinite(w.most) || w.least > w.most) {
        w.least = 0;
        w.most = 1;
        w.log = false;
    }
    if (w.ticks < 1) w.ticks = 1;
    if (w.log && w.least > 0)
        fit_log(&s, &w);
    else
        fit_linear(&s, &w);
    return s;
}

double dram_scale_place(const dram_scale *s, double value)
{
    if (s->log) return value > 0 ? log(value / s->low) / log(s->high / s->low) : -1;
    return (value - s->low) / (s->high - s->low);
}

static const char *name_of_part(dram_unit unit, double part)
{
    if (unit == DRAM_UNIT_PERCENT) return " %";
    if (unit == DRAM_UNIT_BYTES)
        return part >= 0x1p40 ? " TiB" : part >= 0x1p30 ? " GiB" : part >= 0x1p20 ? " MiB" : part > 1 ? " KiB" : " B";
    if (unit == DRAM_UNIT_SECONDS) return part >= 86400 ? " d" : part >= 3600 ? " h" : part >= 60 ? " min" : " s";
    return "";
}

/* 100000 as "100,000". */
static void group_digits(double value, char *out, size_t size)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    size_t at = 0;
    if (value < 0) at += (size_t)snprintf(out, size, "-");
    for (int i = 0; i < n && at + 2 < size; i++) {
        out[at++] = digits[i];
        if ((n - i) % 3 == 1 && i + 1 < n) out[at++] = ',';
    }
    out[at] = '\0';
}

char *dram_scale_label(const dram_scale *s, double tick, char out[DRAM_TICK_LABEL])
{
    double value = tick / s->part;
    const char *part = name_of_part(s->unit, s->part);
    if (!s->log && fabs(value) < 1e-9 * s->step / s->part) value = 0;
    if (s->unit == DRAM_UNIT_NUMBER && fabs(value) >= 10000 && fabs(value) < 1e7 && value == floor(value)) {
        group_digits(value, out, DRAM_TICK_LABEL);
        return out;
    }
    double step = s->step / s->part;
    int decimals = s->log || step <= 0 ? -1 : (int)fmax(0, -floor(log10(step) + 1e-9));
    if (s->log && s->unit == DRAM_UNIT_BYTES && value < 1) part = name_of_part(s->unit, part_of(s->unit, tick));
    if (s->log && s->unit == DRAM_UNIT_BYTES && value < 1) value = tick / part_of(s->unit, tick);
    if (value == 0 && s->unit != DRAM_UNIT_PERCENT) part = "";
    if (decimals >= 0 && decimals <= 4 && value != 0 && fabs(value) < 1e6)
        snprintf(out, DRAM_TICK_LABEL, "%.*f%s", decimals, value, part);
    else
        snprintf(out, DRAM_TICK_LABEL, "%.6g%s", value, part);
    return out;
}

static void format_seconds(double value, char *out, size_t size)
{
    long long s = (long long)(value + 0.5);
    if (value < 1)
        snprintf(out, size, value > 0 ? "%.1f ms" : "%.0f s", 1000 * value);
    else if (value < 100)
        snprintf(out, size, "%.1f s", value);
    else if (s < 3600)
        snprintf(out, size, "%lld min %02lld s", s / 60, s % 60);
    else if (s < 2 * 86400)
        snprintf(out, size, "%lld h %02lld min", s / 3600, s / 60 % 60);
    else
        snprintf(out, size, "%lld d %02lld h", s / 86400, s / 3600 % 24);
}

char *dram_format_unit(double value, dram_unit unit, char *out, size_t size)
{
    if (isnan(value))
        snprintf(out, size, "-");
    else if (isinf(value))
        snprintf(out, size, "not finite");
    else if (fabs(value) >= 0x1p62)
        snprintf(out, size, "%.3e", value);
    else if (unit == DRAM_UNIT_BYTES)
        dram_format_bytes((int64_t)value, out, size);
    else if (unit == DRAM_UNIT_SECONDS)
        format_seconds(value, out, size);
    else if (unit == DRAM_UNIT_PERCENT)
        snprintf(out, size, value != 0 && fabs(value) < 0.01 ? "%.2f %%" : "%.1f %%", 100 * value);
    else if (value == floor(value) && fabs(value) < 1e15)
        group_digits(value, out, size);
    else if (fabs(value) < 1e-4 || fabs(value) >= 1e5)
        snprintf(out, size, "%.3e", value);
    else if (fabs(value) < 1e-2)
        snprintf(out, size, "%.4g", value);
    else
        snprintf(out, size, "%.*f", fabs(value) < 10 ? 4 : fabs(value) < 100 ? 2 : 1, value);
    return out;
}
