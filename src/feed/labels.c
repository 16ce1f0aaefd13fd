#include "feed/labels.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/str.h"
#include "data/image.h"
#include "feed/datasets.h"

enum { MOST_LABELS = 512 };
static const double MOST_SECONDS = 2;

/* What one thread has seen. */
typedef struct {
    int64_t pixels[256];
    int looked, bad;
    char *path;        /* [dram_dataset_path_room] */
    char reason[1024]; /* of the first bad label */
} share;

typedef struct {
    const dram_config *cfg;
    const dram_dataset *dataset;
    int *labelled;    /* [labels] images whose label is used */
    int labels, step; /* task k is of label k * step % labels */
    double begin;
    share *shares; /* [workers] */
} job;

/* Near 0.618 of n and without a common factor: the first k multiples are spread over 0 .. n - 1, for any k. */
static int spread_step(int n)
{
    int step = (int)(0.618 * n) + 1;
    for (;; step++) {
        int a = n, b = step;
        while (b) {
            int rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return step;
    }
}

static void look(void *context, int64_t task, int worker)
{
    const job *j = context;
    share *s = &j->shares[worker];
    const dram_label_rules rules = dram_datasets_label_rules(j->cfg, 0, 0);
    dram_label label;
    if (dram_clock() - j->begin > MOST_SECONDS) return;
    int image = j->labelled[task * j->step % j->labels], room = dram_dataset_path_room(j->dataset);
    if (dram_label_load(dram_dataset_label_path(j->dataset, image, s->path, room), &rules, &label) != DRAM_OK) {
        if (!s->bad++) snprintf(s->reason, sizeof s->reason, "%s", dram_error_text());
        dram_error_clear();
        return;
    }
    for (int64_t i = 0; i < (int64_t)label.height * label.width; i++) s->pixels[label.ids[i]]++;
    s->looked++;
    dram_label_free(&label);
}

static void add_up(const job *j, int workers, dram_label_counts *counts)
{
    const char *reason = NULL;
    for (int w = 0; w < workers; w++) {
        const share *s = &j->shares[w];
        for (int k = 0; k < 256; k++) counts->pixels[k] += s->pixels[k];
        counts->looked += s->looked;
        counts->bad += s->bad;
        if (s->bad && !reason) reason = s->reason;
    }
    if (reason) dram_warn("%d of %d labels read are bad: %s", counts->bad, counts->looked + counts->bad, reason);
}

dram_status dram_labels_count(const dram_config *cfg, const dram_dataset *dataset, dram_label_counts *counts)
{
    int n = dram_dataset_labelled(dataset), workers = cfg->data.workers;
    job j = {.cfg = cfg, .dataset = dataset, .labels = n};
    dram_pool *pool = NULL;
    dram_status status;
    *counts = (dram_label_counts){.labels = n};
    if (!n) return DRAM_OK;
    j.labelled = dram_alloc((size_t)n * sizeof *j.labelled);
    j.shares = dram_calloc((size_t)workers, sizeof *j.shares);
    bool good = j.labelled && j.shares;
    for (int w = 0; good && w < workers; w++)
        good = (j.shares[w].path = dram_alloc((size_t)dram_dataset_path_room(dataset))) != NULL;
    if (!good) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to look at the labels");
        goto done;
    }
    for (int i = 0, k = 0; i < dram_dataset_count(dataset); i++)
        if (dram_dataset_has_label(dataset, i)) j.labelled[k++] = i;
    j.step = spread_step(n);
    j.begin = dram_clock();
    TRY_GOTO(dram_pool_open(workers, &pool), done);
    dram_pool_run(pool, n < MOST_LABELS ? n : MOST_LABELS, look, &j);
    add_up(&j, workers, counts);
done:
    dram_pool_close(pool);
    for (int w = 0; j.shares && w < workers; w++) dram_free(j.shares[w].path);
    dram_free(j.shares);
    dram_free(j.labelled);
    return status;
}

/* ---- what is said of it ---- */

/* "class 1", "classes 1, 2, 5", "20 classes (3, 4, 5, ...)" of those in no label, by their names if they have some. */
static void name_missing(const dram_config *cfg, const int *missing, int n, dram_str *out)
{
    enum { NAMED = 10 };
    char room[16];
    if (n > NAMED)
        dram_str_add(out, "%d classes (", n);
    else
        dram_str_add(out, n == 1 ? "class " : "classes ");
    for (int i = 0; i < n && i < NAMED; i++)
        dram_str_add(out, "%s%s", i ? ", " : "", dram_class_name(cfg, missing[i], room, sizeof room));
    if (n > NAMED) dram_str_add(out, ", ...)");
}

/* "in the labels of data.train", or of how many of them. */
static void name_labels(const dram_label_counts *c, char *out, size_t size)
{
    if (c->looked == c->labels)
        snprintf(out, size, "the labels of data.train");
    else
        snprintf(out, size, "the %d of %d labels of data.train that were looked at", c->looked, c->labels);
}

static dram_status judge(const dram_config *cfg, const dram_label_counts *c, int64_t labelled, int64_t nothing)
{
    int classes = cfg->data.classes, ignore = cfg->data.ignore_index, missing[256], n = 0, present = 0;
    char where[120];
    dram_str names = {0};
    name_labels(c, where, sizeof where);
    if (!labelled && c->looked == c->labels)
        return dram_config_fail(cfg, "data.train.labels",
                                "none of the %d labels has a labelled pixel: all are %d (data.ignore_index), which is "
                                "void, and the task learns from the others; write the classes as 0 to %d, or set "
                                "task.enabled to false",
                                c->labels, ignore, classes - 1);
    for (int k = 0; k < classes && k < 256; k++) {
        if (k == ignore) continue;
        present += c->pixels[k] > 0;
        if (!c->pixels[k]) missing[n++] = k;
    }
    double percent = 100.0 * (double)nothing / (double)(labelled + nothing);
    if (!labelled)
        dram_warn("there is no labelled pixel in %s: all are void (%d, data.ignore_index)", where, ignore);
    else if (n) {
        name_missing(cfg, missing, n, &names);
        dram_warn("%s of data.classes %d %s in none of %s: the task cannot learn %s%s; %.0f %% of the pixels are void "
                  "(%d, data.ignore_index)",
                  names.failed ? "a class" : names.text, classes, n == 1 ? "is" : "are", where, n == 1 ? "it" : "them",
                  present == 1 ? ", and has but one answer to learn" : "", percent, ignore);
    }
    if (labelled && percent > 50)
        dram_warn("%.0f %% of the pixels of %s are void (%d, data.ignore_index): the task learns from the rest alone",
                  percent, where, ignore);
    dram_str_free(&names);
    return DRAM_OK;
}

dram_status dram_labels_check(const dram_config *cfg, const dram_dataset *train)
{
    dram_label_counts c;
    int64_t all = 0, nothing = 0;
    int present = 0;
    if (!cfg->task.enabled) return DRAM_OK;
    TRY(dram_labels_count(cfg, train, &c));
    for (int k = 0; k < 256; k++) {
        all += c.pixels[k];
        present += k != cfg->data.ignore_index && c.pixels[k] > 0;
        if (k == cfg->data.ignore_index) nothing = c.pixels[k];
    }
    if (!all) return DRAM_OK; /* no label could be read, as was said */
    if (c.looked + c.bad < c.labels)
        dram_info("labels: %d of %d looked at: %d of %d classes, %.1f %% void", c.looked, c.labels, present,
                  cfg->data.classes, 100.0 * (double)nothing / (double)all);
    return judge(cfg, &c, all - nothing, nothing);
}
