#include "cli/progress.h"

#include <math.h>
#include <stdio.h>

#include "base/str.h"

static bool bar_is_up; /* the last line on the terminal is the bar */

void dram_progress_clear(void)
{
    if (bar_is_up) fputs("\r\033[K", stderr);
    bar_is_up = false;
}

void dram_progress_log(void *context, dram_log_level level, const char *message)
{
    (void)context;
    dram_progress_clear();
    fprintf(stderr, "%s%s\n", level == DRAM_LOG_WARNING ? "warning: " : "", message);
}

static void format_time(double seconds, char *out, size_t size)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, size, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
    else
        snprintf(out, size, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
}

static void add_loss(dram_str *line, const char *name, double value)
{
    if (isfinite(value)) dram_str_add(line, " %s %.4f", name, value);
}

static void format_line(const dram_progress *p, dram_str *line)
{
    char used[32], planned[32], left[32];
    format_time(p->seconds_left, left, sizeof left);
    dram_str_add(line, "step %lld/%lld  loss %.4f", (long long)p->step, (long long)p->steps, p->loss);
    dram_str_add(line, " (");
    size_t before = line->length;
    add_loss(line, "task", p->loss_task);
    add_loss(line, "sam", p->loss_sam);
    add_loss(line, "resolution", p->loss_resolution);
    if (!line->failed && line->length > before) /* "( task" to "(task" */
        for (size_t i = before; i < line->length; i++) line->text[i] = line->text[i + 1];
    if (!line->failed && line->length > before) line->length--;
    dram_str_add(line, ")  lr %.2e  %.1f images/s  left %s  memory %s of %s planned", p->lr, p->images_per_second, left,
                 dram_format_bytes(p->measured_peak_bytes, used, sizeof used),
                 dram_format_bytes(p->planned_peak_bytes, planned, sizeof planned));
}

static void draw_bar(const dram_progress *p, const char *line)
{
    enum { WIDTH = 20 };
    char bar[WIDTH + 1];
    int full = p->steps > 0 ? (int)(p->step * WIDTH / p->steps) : WIDTH;
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K[%s] %s", bar, line);
    fflush(stderr);
    bar_is_up = true;
}

void dram_progress_step(void *context, const dram_progress *p)
{
    const dram_progress_view *view = context;
    dram_str line = {0};
    bool due = p->step % view->every == 0 || p->step == p->steps || p->step == 1;
    if (!view->terminal && !due) return;
    format_line(p, &line);
    if (!line.failed && view->terminal) draw_bar(p, line.text);
    if (!line.failed && !view->terminal) {
        fprintf(view->out, "%s\n", line.text);
        fflush(view->out);
    }
    dram_str_free(&line);
}

void dram_progress_evaluated(void *context, int64_t step, const dram_eval_result *r)
{
    const dram_progress_view *view = context;
    dram_progress_clear();
    fprintf(view->out, "step %lld  evaluated %d images:", (long long)step, r->images);
    if (isfinite(r->miou)) fprintf(view->out, "  mIoU %.4f  pixel accuracy %.4f", r->miou, r->pixel_accuracy);
    if (isfinite(r->embedding_cosine))
        fprintf(view->out, "  embedding cosine %.4f  MSE %.4f", r->embedding_cosine, r->embedding_mse);
    fprintf(view->out, "\n");
    fflush(view->out);
}
