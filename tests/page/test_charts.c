/* Axes, thinning of long series, and what charts say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "page/chart.h"
#include "page/html.h"
#include "page/scale.h"
#include "page/scatter.h"
#include "page/style.h"
#include "page/thin.h"
#include "report/markup.h"

/* ---- axes ---- */

static dram_scale fit(double least, double most, dram_unit unit, bool log, bool zero)
{
    return dram_scale_fit(&(dram_scale_wish){least, most, unit, .log = log, .from_zero = zero, .ticks = 5});
}

static void assert_labels(dram_scale s, const char *const *labels, int n)
{
    char text[DRAM_TICK_LABEL];
    assert_int_equal(s.n_ticks, n);
    for (int i = 0; i < n; i++) assert_string_equal(dram_scale_label(&s, s.tick[i], text), labels[i]);
}

static void ticks_are_round(void **state)
{
    (void)state;
    static const char *const number[] = {"0.78", "0.80", "0.82", "0.84", "0.86", "0.88"};
    static const char *const bytes[] = {"0", "20 MiB", "40 MiB", "60 MiB", "80 MiB", "100 MiB"};
    static const char *const percent[] = {"20 %", "30 %", "40 %", "50 %"};
    static const char *const seconds[] = {"0", "15 min", "30 min", "45 min", "60 min"};
    static const char *const decades[] = {"0.0001", "0.001", "0.01", "0.1"};
    static const char *const steps[] = {"0", "20,000", "40,000", "60,000", "80,000", "100,000"};
    assert_labels(fit(0.785, 0.865, DRAM_UNIT_NUMBER, false, false), number, 6);
    assert_labels(fit(3e6, 94162944, DRAM_UNIT_BYTES, false, true), bytes, 6);
    assert_labels(fit(0.21, 0.49, DRAM_UNIT_PERCENT, false, false), percent, 4);
    assert_labels(fit(0, 3500, DRAM_UNIT_SECONDS, false, true), seconds, 5);
    assert_labels(fit(2e-4, 0.09, DRAM_UNIT_NUMBER, true, false), decades, 4);
    assert_labels(fit(0, 99999, DRAM_UNIT_NUMBER, false, true), steps, 6);
}

/* One number, none, and what a log axis cannot hold. */
static void odd_spans_have_an_axis(void **state)
{
    (void)state;
    static const double span[][2] = {{5, 5},           {0, 0},       {-3, -3},    {NAN, NAN},    {INFINITY, -INFINITY},
                                     {1e-300, 1e-300}, {1e18, 1e18}, {-1e9, 1e9}, {1, 1 + 1e-15}};
    for (size_t i = 0; i < sizeof span / sizeof span[0]; i++)
        for (int unit = DRAM_UNIT_NUMBER; unit <= DRAM_UNIT_PERCENT; unit++)
            for (int how = 0; how < 8; how++) {
                dram_scale s =
                    dram_scale_fit(&(dram_scale_wish){span[i][0], span[i][1], (dram_unit)unit, .log = how & 1,
                                                      .from_zero = how & 2, .tight = how & 4, .ticks = 5});
                assert_true(isfinite(s.low) && isfinite(s.high) && s.low < s.high);
                for (int k = 1; k < s.n_ticks; k++) assert_true(s.tick[k] > s.tick[k - 1]);
            }
    dram_scale s = fit(-1, 100, DRAM_UNIT_NUMBER, true, false);
    assert_false(s.log);
}

static void numbers_lie_between_low_and_high(void **state)
{
    (void)state;
    dram_scale line = fit(0, 10, DRAM_UNIT_NUMBER, false, true), log = fit(1, 100, DRAM_UNIT_NUMBER, true, false);
    assert_true(dram_scale_place(&line, 0) == 0 && dram_scale_place(&line, 10) == 1);
    assert_true(fabs(dram_scale_place(&line, 2.5) - 0.25) < 1e-12);
    assert_true(fabs(dram_scale_place(&log, 10) - 0.5) < 1e-12);
}

static void numbers_are_for_a_person(void **state)
{
    (void)state;
    static const struct {
        double value;
        dram_unit unit;
        const char *text;
    } row[] = {{94162944, DRAM_UNIT_BYTES, "89.8 MiB"},   {0.30684228, DRAM_UNIT_PERCENT, "30.7 %"},
               {0.236, DRAM_UNIT_NUMBER, "0.2360"},       {40.0509, DRAM_UNIT_NUMBER, "40.05"},
               {100000, DRAM_UNIT_NUMBER, "100,000"},     {4.0612e-7, DRAM_UNIT_NUMBER, "4.061e-07"},
               {0.001403, DRAM_UNIT_NUMBER, "0.001403"},  {36.94, DRAM_UNIT_SECONDS, "36.9 s"},
               {4320, DRAM_UNIT_SECONDS, "1 h 12 min"},   {NAN, DRAM_UNIT_BYTES, "-"},
               {INFINITY, DRAM_UNIT_NUMBER, "not finite"}};
    char text[48];
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        assert_string_equal(dram_format_unit(row[i].value, row[i].unit, text, sizeof text), row[i].text);
}

/* ---- thinning ---- */

enum { LONG = 100000, COLUMNS = 600 };
static double x[LONG], y[LONG];
static int keep[LONG];

static bool is_kept(int n, int i)
{
    for (int k = 0; k < n; k++)
        if (keep[k] == i) return true;
    return false;
}

static void thinning_keeps_extremes_ends_and_gaps(void **state)
{
    (void)state;
    for (int i = 0; i < LONG; i++) {
        x[i] = i + 1;
        y[i] = sin(i * 0.37) + 1e-5 * i;
    }
    y[31234] = 50;
    y[77777] = -50;
    y[50001] = NAN;
    y[60002] = INFINITY;
    int n = dram_thin(x, y, LONG, COLUMNS, keep);
    assert_in_range(n, COLUMNS, 6 * COLUMNS);
    for (int k = 1; k < n; k++) assert_true(keep[k] > keep[k - 1]);
    static const int needed[] = {0, LONG - 1, 31234, 77777, 50001, 60002};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!is_kept(n, needed[i])) fail_msg("point %d was dropped", needed[i]);
    /* Of each column the least and the greatest, element by element. */
    double width = (x[LONG - 1] - x[0]) / COLUMNS;
    for (int c = 0, i = 0; c < COLUMNS; c++) {
        double low = INFINITY, high = -INFINITY, kept_low = INFINITY, kept_high = -INFINITY;
        int first = i;
        for (; i < LONG && (x[i] < x[0] + width * (c + 1) || c == COLUMNS - 1); i++)
            if (isfinite(y[i])) {
                low = fmin(low, y[i]);
                high = fmax(high, y[i]);
            }
        for (int k = 0; k < n; k++)
            if (keep[k] >= first && keep[k] < i && isfinite(y[keep[k]])) {
                kept_low = fmin(kept_low, y[keep[k]]);
                kept_high = fmax(kept_high, y[keep[k]]);
            }
        assert_true(i > first && kept_low == low && kept_high == high);
    }
}

static void short_series_are_kept_whole(void **state)
{
    (void)state;
    static const double a[] = {1, 2, 3, 3, 9}, b[] = {5, NAN, INFINITY, 1, 2};
    assert_int_equal(dram_thin(a, b, 5, 5, keep), 5);
    for (int i = 0; i < 5; i++) assert_int_equal(keep[i], i);
    assert_int_equal(dram_thin(a, b, 0, 5, keep), 0);
    double mean[3];
    static const double at[] = {1, 3, 9};
    dram_smooth(a, b, 5, at, 3, 1, mean);
    assert_true(mean[0] == 5 && mean[1] == 1 && mean[2] == 2);
    for (int i = 0; i < 20; i++) x[i] = 1; /* all in one place */
    assert_in_range(dram_thin(x, y, 20, 5, keep), 2, 6);
}

/* ---- charts ---- */

static void text_is_only_text(void **state)
{
    (void)state;
    dram_str out = {0};
    dram_markup_add(&out, "</title><script>alert(\"1\")</script>&amp;\x01\t\xff\xc3\xa9 \xe2\x82\xac");
    assert_string_equal(out.text, "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;amp;  \\xFF"
                                  "\xc3\xa9 \xe2\x82\xac");
    dram_str_free(&out);
}

static void draw(const dram_chart *chart, dram_str *out)
{
    assert_int_equal(dram_chart_add(chart, out), DRAM_OK);
    assert_well_formed(out->text);
}

static void lines_have_gaps_and_crosses(void **state)
{
    (void)state;
    static const double a[] = {1, 2, 3, 4, 5, 6}, b[] = {1, 2, NAN, 4, INFINITY, 3};
    static const double mark[] = {3, 99};
    dram_series s = {.name = "loss <b>", .x = a, .y = b, .n = 6};
    dram_chart c = {.title = "Loss & co",
                    .x_name = "update",
                    .series = &s,
                    .n_series = 1,
                    .marks = mark,
                    .n_marks = 2,
                    .marks_name = "went on",
                    .from_zero = true};
    dram_str out = {0}, again = {0};
    draw(&c, &out);
    const char *line = strstr(out.text, " d=\"M");
    assert_has(out.text, "Loss &amp; co</figcaption>");
    assert_has(out.text, "loss &lt;b&gt; <b>3</b>");
    assert_has(out.text, "&#215; 1 not finite");
    assert_int_equal(count_of(out.text, "was not finite at 5"), 1);
    assert_int_equal(count_of(out.text, "went on at "), 1); /* the other is beyond the axis */
    assert_has(out.text, "data-points=\"1 1;2 2;4 4;6 3;\"");
    assert_non_null(line);
    /* Two points, a gap, one alone, a gap, one alone. */
    const char *path = strstr(out.text, "data-points");
    path = strstr(path, " d=\"") + 4;
    char d[200];
    snprintf(d, sizeof d, "%.*s", (int)strcspn(path, "\""), path);
    assert_int_equal(count_of(d, "M"), 3);
    assert_int_equal(count_of(d, "L"), 1);
    assert_int_equal(count_of(d, "h0"), 2);
    draw(&c, &again);
    assert_string_equal(out.text, again.text);
    dram_str_free(&out);
    dram_str_free(&again);
}

static void a_chart_of_nothing_says_so(void **state)
{
    (void)state;
    static const double a[] = {1, 2}, b[] = {INFINITY, INFINITY};
    dram_series none = {.name = "none"}, wrong = {.name = "wrong", .x = a, .y = b, .n = 2};
    dram_str out = {0};
    draw(&(dram_chart){.title = "T", .x_name = "x", .series = &none, .n_series = 1}, &out);
    assert_has(out.text, "There are no numbers");
    dram_str_free(&out);
    draw(&(dram_chart){.title = "T", .x_name = "x", .series = &wrong, .n_series = 1, .wide = true}, &out);
    assert_has(out.text, "2 not finite");
    assert_has(out.text, "<b>-</b>");
    dram_str_free(&out);
}

static void styles_are_apart(void **state)
{
    (void)state;
    char all[DRAM_STYLES][32];
    for (int i = 0; i < DRAM_STYLES; i++) {
        snprintf(all[i], sizeof all[i], DRAM_STYLE_CLASSES, DRAM_STYLE_OF(i));
        for (int k = 0; k < i; k++) assert_string_not_equal(all[i], all[k]);
    }
}

/* A long series with a mean stays small, and its peak is there. */
static void a_long_series_is_a_small_figure(void **state)
{
    (void)state;
    for (int i = 0; i < LONG; i++) {
        x[i] = i + 1;
        y[i] = 2 + sin(i);
    }
    y[43210] = 77.25;
    dram_series s = {.name = "loss", .x = x, .y = y, .n = LONG, .reach = 1000};
    dram_str out = {0};
    draw(&(dram_chart){.title = "Loss", .x_name = "update", .series = &s, .n_series = 1, .wide = true}, &out);
    assert_has(out.text, "43211 77.25;");
    assert_in_range(out.length, 20000, 250000);
    dram_str_free(&out);
}

/* ---- memory against quality ---- */

static void dots_bars_and_the_frontier(void **state)
{
    (void)state;
    const dram_dot dots[] = {
        {.x = 50e6, .y = 0.2, .sd = 0.01, .seconds = 0.02, .frontier = true, .number = 1, .text = "one <&>\nline"},
        {.x = 90e6, .y = 0.3, .sd = NAN, .seconds = 0.01, .frontier = true, .hollow = true, .number = 2, .text = "two"},
        {.x = 91e6, .y = 0.25, .sd = 0.02, .seconds = NAN, .number = 3, .text = "three"},
        {.x = 70e6, .y = NAN, .number = 4, .text = "four"}};
    dram_scatter c = {.title = "Memory <against> mIoU",
                      .x_name = "bytes",
                      .y_name = "mIoU",
                      .x_unit = DRAM_UNIT_BYTES,
                      .y_unit = DRAM_UNIT_PERCENT,
                      .dots = dots,
                      .n = 4};
    dram_str page = {0}, picture = {0};
    assert_int_equal(dram_scatter_figure(&c, &page), DRAM_OK);
    assert_int_equal(dram_scatter_picture(&c, &picture), DRAM_OK);
    assert_well_formed(page.text);
    assert_well_formed(picture.text);
    assert_has(page.text, "1 point has no quality or no bytes, and is not drawn");
    assert_int_equal(count_of(picture.text, "<title>"), 3);
    assert_has(picture.text, "<title>one &lt;&amp;&gt;\nline</title>");
    assert_int_equal(count_of(picture.text, "class=\"bar c0\" d=\"M") - 1, 1); /* and the key's */
    assert_int_equal(count_of(picture.text, "class=\"bar grey\" d=\"M"), 1);
    assert_int_equal(count_of(picture.text, "class=\"front\""), 1);
    for (int i = 1; i <= 3; i++) {
        char number[16];
        snprintf(number, sizeof number, ">%d</text>", i);
        assert_has(picture.text, number);
    }
    dram_str_free(&page);
    dram_str_free(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_are_round),
        cmocka_unit_test(odd_spans_have_an_axis),
        cmocka_unit_test(numbers_lie_between_low_and_high),
        cmocka_unit_test(numbers_are_for_a_person),
        cmocka_unit_test(thinning_keeps_extremes_ends_and_gaps),
        cmocka_unit_test(short_series_are_kept_whole),
        cmocka_unit_test(text_is_only_text),
        cmocka_unit_test(lines_have_gaps_and_crosses),
        cmocka_unit_test(a_chart_of_nothing_says_so),
        cmocka_unit_test(styles_are_apart),
        cmocka_unit_test(a_long_series_is_a_small_figure),
        cmocka_unit_test(dots_bars_and_the_frontier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
