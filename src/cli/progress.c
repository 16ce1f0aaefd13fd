#include "cli/progress.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static const double LOOKED_SECONDS = 10; /* between lines where there is no terminal */

/* Messages come from other threads too. */
static pthread_mutex_t terminal = PTHREAD_MUTEX_INITIALIZER;
static bool bar_is_up; /* the last line on the terminal is the bar */

static void clear_bar(void)
{
    if (bar_is_up) fputs("\r\033[K", stderr);
    bar_is_up = false;
}

void dram_progress_clear(void)
{
    pthread_mutex_lock(&terminal);
    clear_bar();
    pthread_mutex_unlock(&terminal);
}

void dram_progress_log(void *context, dram_log_level level, const char *message)
{
    (void)context;
    pthread_mutex_lock(&terminal);
    clear_bar();
    fprintf(stderr, "%s%s\n", level == DRAM_LOG_WARNING ? "warning: " : "", message);
    pthread_mutex_unlock(&terminal);
}

static void format_time(double seconds, char *out, size_t size)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, size, "%lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
    else
        snprintf(out, size, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
}

/* The loss, or "-" where no term of it compared anything. */
static void add_whole_loss(dram_str *line, double loss)
{
    if (isfinite(loss))
        dram_str_add(line, "loss %.4f", loss);
    else
        dram_str_add(line, "loss -");
}

/* nothing: the step has this loss and had nothing to compare. */
static void add_loss(dram_str *line, const char *name, double value, bool nothing)
{
    if (isfinite(value))
        dram_str_add(line, " %s %.4f", name, value);
    else if (nothing)
        dram_str_add(line, " %s -", name);
}

/* fp16 alone has a loss scale: "scale 32768 skipped 1". */
static void add_scale(dram_str *line, const dram_progress *p)
{
    if (!isfinite(p->metrics.loss_scale)) return;
    dram_str_add(line, "  scale %g", p->metrics.loss_scale);
    if (p->skipped_steps) dram_str_add(line, " skipped %lld", (long long)p->skipped_steps);
}

static void format_line(const dram_progress *p, dram_str *line)
{
    char used[32], planned[32], left[32];
    const dram_metrics *m = &p->metrics;
    format_time(p->seconds_left, left, sizeof left);
    dram_str_add(line, "step %lld/%lld  ", (long long)p->done, (long long)p->steps);
    add_whole_loss(line, m->loss);
    dram_str_add(line, " (");
    size_t before = line->length;
    add_loss(line, "task", m->loss_task, m->label_pixels == 0);
    add_loss(line, "sam", m->loss_sam, m->sam_images_left_out > 0);
    add_loss(line, "resolution", m->loss_resolution, m->resolution_images_left_out > 0);
    if (!line->failed && line->length > before) /* "( task" to "(task" */
        for (size_t i = before; i < line->length; i++) line->text[i] = line->text[i + 1];
    if (!line->failed && line->length > before) line->length--;
    dram_str_add(line, ")  lr %.2e", m->lr);
    add_scale(line, p);
    dram_str_add(line, "  %.1f images/s  left %s  memory %s of %s planned", m->images_per_second, left,
                 dram_format_bytes(m->measured_peak_bytes, used, sizeof used),
                 dram_format_bytes(m->planned_peak_bytes, planned, sizeof planned));
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* One line, cut to the terminal's width: a line that wraps could not be taken back. The bar takes what the text leaves
 * of it, so that it is the bar a narrow terminal goes without. */
static void draw_bar(int64_t done, int64_t all, const char *text)
{
    enum { LONGEST = 24, FRAME = 3 }; /* FRAME: two brackets and a space */
    dram_str bar = {0};
    int columns = terminal_columns() - 1, room = columns - FRAME - (int)strlen(text);
    int width = room < LONGEST ? room : LONGEST;
    if (width > 0) {
        int64_t full = all > 0 ? done * width / all : width;
        dram_str_add(&bar, "[");
        for (int i = 0; i < width; i++) dram_str_add(&bar, i < full ? "#" : ".");
        dram_str_add(&bar, "] ");
    }
    pthread_mutex_lock(&terminal);
    if (!bar.failed) fprintf(stderr, "\r\033[K%s%.*s", bar.text ? bar.text : "", columns, text);
    fflush(stderr);
    bar_is_up = true;
    pthread_mutex_unlock(&terminal);
    dram_str_free(&bar);
}

static void draw_step(const dram_progress *p)
{
    char used[32], planned[32], left[32];
    const dram_metrics *m = &p->metrics;
    dram_str line = {0};
    format_time(p->seconds_left, left, sizeof left);
    dram_str_add(&line, "%lld/%lld ", (long long)p->done, (long long)p->steps);
    add_whole_loss(&line, m->loss);
    dram_str_add(&line, " %.1f images/s left %s %s of %s planned", m->images_per_second, left,
                 dram_format_bytes(m->measured_peak_bytes, used, sizeof used),
                 dram_format_bytes(m->planned_peak_bytes, planned, sizeof planned));
    add_scale(&line, p);
    if (!line.failed) draw_bar(p->done, p->steps, line.text);
    dram_str_free(&line);
}

void dram_progress_looked(void *context, int done, int all)
{
    dram_progress_view *view = context;
    char text[100];
    double now = dram_clock();
    snprintf(text, sizeof text, "looked at %d of %d images", done, all);
    if (view->terminal) {
        draw_bar(done, all, text);
    } else if (now - view->told > LOOKED_SECONDS) {
        if (view->told > 0) fprintf(view->out, "%s\n", text);
        fflush(view->out);
        view->told = now;
    }
}

void dram_progress_data(void *context, const dram_config *cfg, const dram_check *check)
{
    const dram_progress_view *view = context;
    dram_str text = {0};
    dram_progress_clear();
    dram_check_summary(cfg, check, &text);
    if (text.text) fputs(text.text, view->out);
    fflush(view->out);
    dram_str_free(&text);
}

static void show_step(const dram_progress_view *view, const dram_progress *p)
{
    dram_str line = {0};
    bool due = p->done % view->every == 0 || p->done == p->steps || p->done == 1;
    if (view->terminal) draw_step(p);
    if (view->terminal || !due) return;
    format_line(p, &line);
    if (!line.failed) {
        fprintf(view->out, "%s\n", line.text);
        fflush(view->out);
    }
    dram_str_free(&line);
}

void dram_format_task_note(const dram_eval_result *r, char out[DRAM_NOTE_ROOM])
{
    double all = (double)(r->labelled_pixels + r->void_pixels);
    int void_percent = all > 0 ? (int)(100.0 * (double)r->void_pixels / all + 0.5) : 0;
    out[0] = '\0';
    if (!r->labelled_pixels)
        snprintf(out, DRAM_NOTE_ROOM, "  (no labelled pixel)");
    else if (r->absent)
        snprintf(out, DRAM_NOTE_ROOM, "  (%d of %d classes in no label; %d %% void)", r->absent, r->classes,
                 void_percent);
    else if (void_percent > 50)
        snprintf(out, DRAM_NOTE_ROOM, "  (%d %% void)", void_percent);
}

void dram_format_cell_note(const dram_eval_result *r, char out[DRAM_NOTE_ROOM])
{
    out[0] = '\0';
    if (r->embedded == 0)
        snprintf(out, DRAM_NOTE_ROOM, "  (no image has a cell)");
    else if (r->without_cell > 0)
        snprintf(out, DRAM_NOTE_ROOM, "  (%d image%s left out, too thin for a cell)", r->without_cell,
                 r->without_cell == 1 ? "" : "s");
}

static void show_evaluation(const dram_progress_view *view, int64_t step, const dram_eval_result *r)
{
    char note[DRAM_NOTE_ROOM];
    dram_progress_clear();
    fprintf(view->out, "step %lld  evaluated %d images:", (long long)step, r->images);
    dram_format_task_note(r, note);
    if (isfinite(r->miou))
        fprintf(view->out, "  mIoU %.4f  pixel accuracy %.4f%s", r->miou, r->pixel_accuracy, note);
    else if (r->classes)
        fprintf(view->out, "  mIoU -%s", note);
    dram_format_cell_note(r, note);
    if (isfinite(r->embedding_cosine))
        fprintf(view->out, "  embedding cosine %.4f  MSE %.4f%s", r->embedding_cosine, r->embedding_mse, note);
    else if (r->embedded == 0)
        fprintf(view->out, "  embedding cosine -%s", note);
    fprintf(view->out, "\n");
    fflush(view->out);
}

static dram_status show(void *view, const dram_fact *fact)
{
    if (fact->kind == DRAM_FACT_STEP)
        show_step(view, fact->progress);
    else
        show_evaluation(view, fact->step, fact->evaluation);
    return DRAM_OK;
}

const dram_sink dram_console_sink = {.facts = 1u << DRAM_FACT_STEP | 1u << DRAM_FACT_EVALUATION, .fact = show};

void dram_progress_fidelity(void *context, const dram_fidelity *r)
{
    char size[64];
    const dram_progress_view *view = context;
    dram_progress_clear();
    dram_format_teacher_size(r, size, sizeof size);
    if (r->images)
        fprintf(view->out, "teacher fidelity: cosine %.3f (worst %.3f) of %s against %d, %d image%s\n", r->cosine,
                r->worst, size, r->full, r->images, r->images == 1 ? "" : "s");
    if (r->images && r->without_cell)
        fprintf(view->out, "teacher fidelity: %d more too thin for a cell\n", r->without_cell);
    if (!r->images) fprintf(view->out, "teacher fidelity: left out: %s\n", r->left_out);
    fflush(view->out);
}

char *dram_format_teacher_size(const dram_fidelity *r, char *out, size_t size)
{
    if (r->canvas == r->size)
        snprintf(out, size, "%d", r->size);
    else
        snprintf(out, size, "%d padded to %d", r->size, r->canvas);
    return out;
}
