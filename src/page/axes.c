#include "page/axes.h"

#include "report/markup.h"

double dram_axes_x(const dram_axes *a, double value)
{
    return a->left + a->width * dram_scale_place(&a->x, value);
}

double dram_axes_y(const dram_axes *a, double value)
{
    return a->top + a->height * (1 - dram_scale_place(&a->y, value));
}

void dram_axes_add(const dram_axes *a, const char *x_name, dram_str *out)
{
    char label[DRAM_TICK_LABEL];
    double right = a->left + a->width, bottom = a->top + a->height;
    for (int i = 0; i < a->y.n_ticks; i++) {
        double y = dram_axes_y(a, a->y.tick[i]);
        dram_str_add(
            out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=\"end\">%s</text>\n",
            a->left, y, right, a->left - 6, y + 4, dram_scale_label(&a->y, a->y.tick[i], label));
    }
    for (int i = 0; i < a->x.n_ticks; i++) {
        double x = dram_axes_x(a, a->x.tick[i]);
        const char *anchor = x > right - 0.04 * a->width ? "end" : "mid"; /* none is cut off at the edge */
        dram_str_add(out,
                     "<path class=\"tick\" d=\"M%.1f %.1fv4\"/><text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x,
                     bottom, anchor[0] == 'e' ? right + 8 : x, bottom + 19, anchor,
                     dram_scale_label(&a->x, a->x.tick[i], label));
    }
    dram_str_add(out, "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>\n", a->left, bottom, right);
    dram_str_add(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"end name\">", right + 8, bottom + 38);
    dram_markup_add(out, x_name);
    dram_str_add(out, "</text>\n");
}
