#include "report/plan_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/markup.h"

/* The sheet in pixels: the plot, and the legend to the right of it. */
enum { SHEET_W = 1280, SHEET_H = 720, PLOT_X = 84, PLOT_Y = 76, PLOT_W = 900, PLOT_H = 572, LEGEND_X = 1008 };

typedef struct {
    const dram_plan *plan;
    const dram_program *program;
    const dram_graph *graph;
    dram_str *out;
    double per_node, per_byte; /* pixels */
} sheet;

/* Ten hues that stay apart for most eyes (after Tableau 10). */
static const char *colour_of(dram_category c)
{
    static const char *const colour[DRAM_CATEGORY_COUNT] = {
        [DRAM_CATEGORY_TEACHER_WEIGHTS] = "#4e79a7", [DRAM_CATEGORY_STUDENT_WEIGHTS] = "#59a14f",
        [DRAM_CATEGORY_GRADIENTS] = "#e15759",       [DRAM_CATEGORY_OPTIMIZER] = "#b07aa1",
        [DRAM_CATEGORY_ACTIVATIONS] = "#f28e2b",     [DRAM_CATEGORY_TEACHER_ACTIVATIONS] = "#76b7b2",
        [DRAM_CATEGORY_WORKSPACE] = "#9c9590",       [DRAM_CATEGORY_INPUT] = "#edc948",
        [DRAM_CATEGORY_MEAN_WEIGHTS] = "#ff9da7"};
    return colour[c];
}

static double x_of(const sheet *s, int32_t node)
{
    return PLOT_X + s->per_node * node;
}

static double y_of(const sheet *s, int64_t offset)
{
    return PLOT_Y + PLOT_H - s->per_byte * (double)offset;
}

/* The least of 1, 2, 5 times a power of ten that is not below `least`. */
static double round_step(double least)
{
    double power = pow(10, floor(log10(least)));
    for (int i = 0; i < 3; i++) {
        static const double factor[] = {1, 2, 5};
        if (factor[i] * power >= least * (1 - 1e-9)) return factor[i] * power;
    }
    return 10 * power;
}

static void add_head(const sheet *s)
{
    const dram_program *p = s->program;
    char peak[32], most[32];
    int64_t top = s->plan->slots_bytes + p->placement.top, live = s->plan->slots_bytes + p->placement.max_live;
    dram_str_add(s->out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                 "font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#333\">\n"
                 "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
                 "<text x=\"%d\" y=\"32\" font-size=\"20\" font-weight=\"bold\">",
                 SHEET_W, SHEET_H, SHEET_W, SHEET_H, SHEET_W, SHEET_H, PLOT_X);
    dram_markup_add(s->out, s->graph->name);
    dram_str_add(s->out, "</text>\n<text x=\"%d\" y=\"54\" fill=\"#666\">%d nodes, peak %s", PLOT_X, s->graph->n_nodes,
                 dram_format_bytes(top, peak, sizeof peak));
    dram_str_add(s->out, ", %.2f %% above the %s alive at node %d",
                 live ? 100.0 * (double)(top - live) / (double)live : 0, dram_format_bytes(live, most, sizeof most),
                 p->placement.max_live_at);
    if (s->graph->n_nodes) {
        dram_str_add(s->out, ", ");
        dram_markup_add(s->out, dram_program_peak_at(p));
    }
    dram_str_add(s->out, "</text>\n");
}

static void add_axes(const sheet *s)
{
    double top_mib = (double)s->plan->arena_bytes / 0x1p20;
    double step = round_step(fmax(top_mib, 1e-6) / 8);
    int ticks = (int)floor(top_mib / step + 1e-9);
    dram_str_add(s->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#f6f6f6\"/>\n", PLOT_X, PLOT_Y,
                 PLOT_W, PLOT_H);
    for (int i = 0; i <= ticks; i++) {
        double y = y_of(s, (int64_t)(i * step * 0x1p20));
        dram_str_add(
            s->out,
            "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
            PLOT_X - 5, y, PLOT_X + PLOT_W, PLOT_X - 9, y + 4, i * step);
    }
    int nodes = s->graph->n_nodes;
    int every = (int)fmax(1, round_step(fmax(nodes, 1) / 12.0));
    for (int i = 0; i < nodes; i += every)
        dram_str_add(
            s->out,
            "<path d=\"M%.1f %dv5\" stroke=\"#999\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n",
            x_of(s, i) + s->per_node / 2, PLOT_Y + PLOT_H, x_of(s, i) + s->per_node / 2, PLOT_Y + PLOT_H + 18, i);
    dram_str_add(
        s->out,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">node, in the order in which they run</text>\n"
        "<text transform=\"translate(22 %d) rotate(-90)\" text-anchor=\"middle\">offset in the arena, MiB</text>\n",
        PLOT_X + PLOT_W / 2, PLOT_Y + PLOT_H + 40, PLOT_Y + PLOT_H / 2);
}

typedef struct {
    int32_t first, last;
    int64_t offset, bytes;
    dram_category category;
    const char *name, *label; /* label: the end of the name, drawn where there is room */
} box;

/* Leaves an open <g>, to which the caller adds the rest of the title and closes it with end_box. */
static void begin_box(const sheet *s, const box *b)
{
    double w = s->per_node * (b->last - b->first + 1), h = s->per_byte * (double)b->bytes;
    double x = x_of(s, b->first), y = y_of(s, b->offset + b->bytes);
    dram_str_add(s->out, "<g><rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"", x, y, w, h,
                 colour_of(b->category));
    if (w > 3 && h > 3) dram_str_add(s->out, " stroke=\"#fff\" stroke-width=\".6\"");
    dram_str_add(s->out, "/>");
    int fits = (int)((w - 8) / 5.6), n = (int)strlen(b->label);
    if (h >= 13 && (n <= fits || fits >= 12)) {
        dram_str_add(s->out, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"10\" fill=\"%s\">%s", x + 4, y + h / 2 + 3.5,
                     b->category == DRAM_CATEGORY_INPUT ? "#333" : "#fff", n > fits ? ".." : "");
        dram_markup_add(s->out, n > fits ? b->label + (n - fits + 2) : b->label);
        dram_str_add(s->out, "</text>");
    }
    dram_str_add(s->out, "<title>");
    dram_markup_add(s->out, b->name);
}

static void end_box(const sheet *s, const box *b)
{
    char bytes[32];
    dram_str_add(s->out, "\n%s, %s", dram_format_bytes(b->bytes, bytes, sizeof bytes), dram_category_name(b->category));
    if (b->first == 0 && b->last >= s->graph->n_nodes - 1)
        dram_str_add(s->out, "\nthe whole program");
    else
        dram_str_add(s->out, "\nnodes %d to %d", b->first, b->last);
    dram_str_add(s->out, "</title></g>\n");
}

/* The band of slots, neighbours of one category joined: hundreds of thin stripes would tell nothing. */
static void add_slots(const sheet *s)
{
    const dram_slots *slots = s->plan->slots;
    int32_t end = s->graph->n_nodes ? s->graph->n_nodes - 1 : 0;
    for (int i = 0; i < slots->n;) {
        int n = 1;
        if (slots->at[i]->space != DRAM_SPACE_DEVICE) {
            i++;
            continue;
        }
        box b = {.last = end, .offset = s->plan->slot_offset[i], .bytes = dram_plan_slot_bytes(s->plan, i)};
        b.category = slots->at[i]->category;
        b.name = b.label = dram_category_name(b.category);
        for (; i + n < slots->n && slots->at[i + n]->category == b.category &&
               slots->at[i + n]->space == DRAM_SPACE_DEVICE;
             n++)
            b.bytes += dram_plan_slot_bytes(s->plan, i + n);
        if (b.bytes) {
            begin_box(s, &b);
            dram_str_add(s->out, "\n%d from ", n);
            dram_markup_add(s->out, slots->at[i]->name);
            end_box(s, &b);
        }
        i += n;
    }
}

static void add_values(const sheet *s)
{
    const dram_graph *g = s->graph;
    for (int v = 0; v < g->n_values; v++) {
        const dram_value *value = g->values[v];
        const dram_place_of_value *at = &s->program->value[v];
        char shape[96];
        if (value->slot != DRAM_NONE || !at->bytes || value->space != DRAM_SPACE_DEVICE) continue;
        box b = {.first = at->first, .last = at->last, .offset = at->offset, .bytes = at->bytes};
        b.category = value->category;
        b.name = b.label = value->name;
        begin_box(s, &b);
        dram_str_add(s->out, "\n%s %s", dram_dtype_name(value->dtype),
                     dram_format_shape(&value->shape, shape, sizeof shape));
        if (at->alias != DRAM_NONE) {
            dram_str_add(s->out, ", on the bytes of ");
            dram_markup_add(s->out, g->values[at->alias]->name);
        }
        end_box(s, &b);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        if (!s->program->workspace_bytes[i] || dram_node_space(g, g->nodes[i]) != DRAM_SPACE_DEVICE) continue;
        box b = {.first = i, .last = i, .category = DRAM_CATEGORY_WORKSPACE};
        b.offset = s->program->workspace_offset[i];
        b.bytes = s->program->workspace_bytes[i];
        b.name = b.label = g->nodes[i]->name;
        begin_box(s, &b);
        dram_str_add(s->out, ": workspace");
        end_box(s, &b);
    }
}

static void add_line(const sheet *s, int64_t bytes, const char *colour, const char *label, double raise)
{
    char text[32];
    double y = y_of(s, bytes);
    dram_str_add(s->out,
                 "<path d=\"M%d %.1fH%d\" stroke=\"%s\" stroke-width=\"1.5\" stroke-dasharray=\"6 3\" fill=\"none\"/>"
                 "<text x=\"%d\" y=\"%.1f\" font-size=\"11\" fill=\"%s\" text-anchor=\"end\" paint-order=\"stroke\" "
                 "stroke=\"#fff\" stroke-width=\"3\">%s %s</text>\n",
                 PLOT_X, y, PLOT_X + PLOT_W, colour, PLOT_X + PLOT_W - 4, y + raise, colour, label,
                 dram_format_bytes(bytes, text, sizeof text));
}

static void add_lines(const sheet *s)
{
    const dram_program *p = s->program;
    add_line(s, s->plan->arena_bytes, "#222", "arena", -5);
    add_line(s, s->plan->slots_bytes + p->placement.max_live, "#c00", "max live", 14);
    if (!s->graph->n_nodes) return;
    double x = x_of(s, p->placement.max_live_at) + s->per_node / 2;
    dram_str_add(s->out, "<path d=\"M%.1f %dV%d\" stroke=\"#c00\" stroke-dasharray=\"2 3\"/>\n", x, PLOT_Y,
                 PLOT_Y + PLOT_H);
}

static void add_legend(const sheet *s)
{
    char bytes[32];
    int y = PLOT_Y + 10;
    int64_t live = s->plan->slots_bytes + s->program->placement.max_live;
    dram_str_add(s->out, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">alive at the peak</text>\n", LEGEND_X, y);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++) {
        int64_t n = s->plan->slots_by_category[c] + s->program->live_at_peak[c];
        if (!n && c == DRAM_CATEGORY_MEAN_WEIGHTS) continue; /* there is none */
        y += 24;
        dram_str_add(s->out,
                     "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>"
                     "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
                     LEGEND_X, y - 11, colour_of((dram_category)c), LEGEND_X + 22, y,
                     dram_category_name((dram_category)c), SHEET_W - 24, y, dram_format_bytes(n, bytes, sizeof bytes));
    }
    const struct {
        const char *label;
        int64_t bytes;
    } row[] = {{"max live", live},
               {"peak of this program", s->plan->slots_bytes + s->program->placement.top},
               {"arena of all programs", s->plan->arena_bytes}};
    y += 14;
    for (int i = 0; i < 3; i++) {
        y += 24;
        dram_str_add(s->out, "<text x=\"%d\" y=\"%d\">%s</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
                     LEGEND_X, y, row[i].label, SHEET_W - 24, y, dram_format_bytes(row[i].bytes, bytes, sizeof bytes));
    }
    dram_str_add(s->out,
                 "<text x=\"%d\" y=\"%d\" font-size=\"11\" fill=\"#888\">point at a rectangle for its name and size"
                 "</text>\n",
                 LEGEND_X, PLOT_Y + PLOT_H);
}

dram_status dram_plan_svg(const dram_plan *plan, int program, dram_str *out)
{
    const dram_program *p = &plan->programs[program];
    sheet s = {.plan = plan, .program = p, .graph = p->graph, .out = out};
    s.per_node = (double)PLOT_W / (p->graph->n_nodes ? p->graph->n_nodes : 1);
    s.per_byte = (double)PLOT_H / (double)(plan->arena_bytes ? plan->arena_bytes : 1);
    add_head(&s);
    add_axes(&s);
    add_slots(&s);
    add_values(&s);
    add_lines(&s);
    add_legend(&s);
    dram_str_add(out, "</svg>\n");
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the picture of %s", p->graph->name) : DRAM_OK;
}
