/* What is said of what was found: whether a run could begin, and what is wrong all the same. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "check/words.h"
#include "data/look.h"

/* ---- reasons against a run ---- */

static bool are_too_bad(const dram_config *cfg, const dram_check_set *s)
{
    bool stop = cfg->data.on_bad == DRAM_ON_BAD_STOP;
    return s->bad && (stop || dram_dataset_is_too_bad(s->bad, s->images));
}

static dram_status judge_bad(const dram_config *cfg, const dram_check_set *s, const char *images, const char *labels)
{
    const dram_check_some *why = s->bad_images.n ? &s->bad_images : &s->bad_labels;
    const char *key = s->bad_images.n || s->unread.n ? images : labels;
    if (s->unread.n)
        return dram_config_fail(cfg, key, "%d file%s cannot be read: %s%s", s->unread.n, S(s->unread.n),
                                FIRST(s->unread.n), s->unread.first);
    if (!are_too_bad(cfg, s)) return DRAM_OK;
    if (cfg->data.on_bad == DRAM_ON_BAD_STOP)
        return dram_config_fail(cfg, key, "%d of %d images cannot be used, and data.on_bad is stop: %s", s->bad,
                                s->images, why->first);
    return dram_config_fail(cfg, key, "%d of %d images cannot be used, more than 10 %%; the first: %s", s->bad,
                            s->images, why->first);
}

static dram_status judge_void(const dram_config *cfg, const dram_check_set *s)
{
    int good = s->read_labels - s->bad_labels.n;
    if (!s->has_labels || !good || s->read_labels < s->used || s->labelled_pixels) return DRAM_OK;
    return dram_config_fail(cfg, "data.train.labels",
                            "none of the %d labels has a labelled pixel: all are %d (data.ignore_index), which is "
                            "void, and the task learns from the others; write the classes as 0 to %d, or set "
                            "task.enabled to false%s%s",
                            good, cfg->data.ignore_index, cfg->data.classes - 1, s->advice[0] ? "; " : "", s->advice);
}

dram_status dram_check_judge(const dram_config *cfg, const dram_check *c, bool training)
{
    if (c->refused[0]) return dram_fail(DRAM_ERR_CONFIG, "%s", c->refused);
    if (training && c->train.refused[0]) return dram_fail(DRAM_ERR_CONFIG, "%s", c->train.refused);
    if (c->val.refused[0]) return dram_fail(DRAM_ERR_CONFIG, "%s", c->val.refused);
    if (training) {
        TRY(judge_bad(cfg, &c->train, "data.train.images", "data.train.labels"));
        TRY(judge_void(cfg, &c->train));
    }
    return judge_bad(cfg, &c->val, "data.val.images", "data.val.labels");
}

/* ---- warnings ---- */

typedef struct {
    const dram_config *cfg;
    void (*say)(void *context, const char *line);
    void *context;
    int n;
} speaker;

static void say(speaker *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(speaker *to, const char *format, ...)
{
    char line[2400];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    to->say(to->context, line);
    to->n++;
}

static void warn_of_names(speaker *to, const dram_check_set *s, const char *key)
{
    const struct dram_config_data *data = &to->cfg->data;
    if (s->folders.n)
        say(to, "%s: %d folder%s inside %s not looked into (%s%s)%s", key, s->folders.n, S(s->folders.n),
            s->folders.n == 1 ? "is" : "are", FIRST(s->folders.n), s->folders.first,
            data->recursive ? ", since another name leads there too"
                            : "; set data.recursive to true to take its images");
    if (s->others.n)
        say(to, "%s: %d file%s left aside, neither *.jpg, *.jpeg, *.png nor *.webp (%s%s)", key, s->others.n,
            S(s->others.n), FIRST(s->others.n), s->others.first);
    if (s->broken.n)
        say(to, "%s: %d of %d images %s left out (%s%s)", key, s->broken.n, s->images + s->broken.n,
            s->broken.n == 1 ? "is" : "are", FIRST(s->broken.n), s->broken.first);
    if (s->twins.n)
        say(to, "%s: %d image%s the name of another but for the ending (%s%s): if they are labels, name their folder",
            key, s->twins.n, s->twins.n == 1 ? " has" : "s have", FIRST(s->twins.n), s->twins.first);
    if (s->labels_alone.n)
        say(to, "%s: %d of %d labels %s no image (%s%s)%s%s", key, s->labels_alone.n, s->labels,
            s->labels_alone.n == 1 ? "has" : "have", FIRST(s->labels_alone.n), s->labels_alone.first,
            s->hint[0] ? "; " : "", s->hint);
    if (s->images_alone.n && !s->labels_alone.n && s->hint[0])
        say(to, "%s: %d of %d images %s no label (%s%s); %s", key, s->images_alone.n, s->images,
            s->images_alone.n == 1 ? "has" : "have", FIRST(s->images_alone.n), s->images_alone.first, s->hint);
}

static void warn_of_range(speaker *to, const dram_check_set *s, const char *key)
{
    int range = to->cfg->data.range, bits = dram_range_bits(s->peak, range);
    if (s->peak > range) dram_range_is_news(true); /* the loader need not say it again */
    if (s->deep_looked && bits) dram_range_is_news(false);
    if (s->peak > range)
        say(to, "%s: a 16-bit value is %d: what is above data.range, %d, is all white", key, s->peak, range);
    if (s->deep_looked && bits)
        say(to,
            "%s: the images of 16 bits are nearly black: the largest value in %d of %d is %d, where data.range, %d, "
            "is white; if they hold %d bits, set data.range to %d",
            key, s->deep_looked, s->deep, s->peak, range, bits, (1 << bits) - 1);
}

static void warn_of_files(speaker *to, const dram_check_set *s, const char *key)
{
    bool refused = are_too_bad(to->cfg, s);
    if (s->bad_images.n && !refused)
        say(to, "%s: %d image%s cannot be used and %s left out (%s%s)", key, s->bad_images.n, S(s->bad_images.n),
            s->bad_images.n == 1 ? "is" : "are", FIRST(s->bad_images.n), s->bad_images.first);
    if (s->bad_labels.n && !refused)
        say(to, "%s: %d label%s cannot be used and %s left out with the image (%s%s)", key, s->bad_labels.n,
            S(s->bad_labels.n), s->bad_labels.n == 1 ? "is" : "are", FIRST(s->bad_labels.n), s->bad_labels.first);
    if (s->unsure.n)
        say(to,
            "%s: %d image%s turned by EXIF, and the label is not (%s%s): look whether the labels show "
            "what the turned images do; if they are as the files are stored, set data.orientation to stored",
            key, s->unsure.n, s->unsure.n == 1 ? " is" : "s are", FIRST(s->unsure.n), s->unsure.first);
    warn_of_range(to, s, key);
    if (s->thin.n)
        say(to,
            "%s: %d of %d images %s so thin at data.size %d that %s no cell to compare, and %s nothing of an embedding "
            "(%s%s)",
            key, s->thin.n, s->looked_images, s->thin.n == 1 ? "is" : "are", to->cfg->data.size,
            s->thin.n == 1 ? "it has" : "they have", s->thin.n == 1 ? "teaches" : "teach", FIRST(s->thin.n),
            s->thin.first);
    if (s->copies.n)
        say(to, "%s: %d of %d images %s the content of another (%s%s)", key, s->copies.n, s->looked_images,
            s->copies.n == 1 ? "has" : "have", FIRST(s->copies.n), s->copies.first);
}

void dram_check_mark_said(const dram_check_set *s, bool *said)
{
    if (s->bad_images.n) said[s->first_bad[0]] = true;
    if (s->bad_labels.n) said[s->first_bad[1]] = true;
}

/* ---- classes ---- */

/* "class sky", "classes sky, road", "20 classes (3, 4, ...)". */
static void name_classes(const dram_config *cfg, const bool *in, int n, char *out, size_t size)
{
    enum { NAMED = 10 };
    char room[32];
    int named = 0;
    size_t at = (size_t)(n > NAMED ? snprintf(out, size, "%d classes (", n)
                                   : snprintf(out, size, n == 1 ? "class " : "classes "));
    for (int k = 0; k < DRAM_CHECK_CLASSES && named < NAMED && at < size; k++)
        if (in[k])
            at += (size_t)snprintf(out + at, size - at, "%s%s", named++ ? ", " : "",
                                   dram_class_name(cfg, k, room, sizeof room));
    if (n > NAMED && at < size) snprintf(out + at, size - at, ", ...)");
}

/* "the labels of data.train", or of how many of them. */
static void name_labels(const dram_check_set *s, char *out, size_t size)
{
    if (s->read_labels == s->used)
        snprintf(out, size, "the labels of data.train");
    else
        snprintf(out, size, "the %d of %d labels of data.train that were read", s->read_labels, s->used);
}

static int count_true(const bool *in)
{
    int n = 0;
    for (int k = 0; k < DRAM_CHECK_CLASSES; k++) n += in[k];
    return n;
}

static void warn_of_classes(speaker *to, const dram_check_set *s)
{
    bool missing[DRAM_CHECK_CLASSES] = {false};
    char where[120], names[400], voids[100] = "";
    int classes = to->cfg->data.classes, ignore = to->cfg->data.ignore_index, present = 0;
    double all = (double)(s->labelled_pixels + s->void_pixels), percent = 100.0 * (double)s->void_pixels / all;
    const char *then = s->advice[0] ? "; " : "";
    if (!(all > 0)) return;
    name_labels(s, where, sizeof where);
    for (int k = 0; k < classes; k++) {
        missing[k] = k != ignore && !s->pixels[k];
        present += k != ignore && s->pixels[k];
    }
    int n = count_true(missing);
    if (!s->labelled_pixels && s->read_labels == s->used) return; /* which judge refuses */
    if (!s->labelled_pixels) {
        say(to, "there is no labelled pixel in %s: all are void (%d, data.ignore_index)%s%s", where, ignore, then,
            s->advice);
        return;
    }
    if (s->void_pixels)
        snprintf(voids, sizeof voids, "; %.0f %% of the pixels are void (%d, data.ignore_index)", percent, ignore);
    if (n) {
        name_classes(to->cfg, missing, n, names, sizeof names);
        say(to, "%s of data.classes %d %s in none of %s: the task cannot learn %s%s%s%s%s", names, classes,
            n == 1 ? "is" : "are", where, n == 1 ? "it" : "them",
            present == 1 ? ", and has but one answer to learn" : "", voids, then, s->advice);
    }
    if (percent > 50)
        say(to, "%.0f %% of the pixels of %s are void (%d, data.ignore_index): the task learns from the rest alone",
            percent, where, ignore);
}

static void warn_of_both(speaker *to, const dram_check *c)
{
    bool unseen[DRAM_CHECK_CLASSES] = {false};
    char names[400], where[120];
    if (c->shared.n)
        say(to, "%d of %d images of data.val %s of data.train too (%s%s): what is measured on %s was trained on",
            c->shared.n, c->val.images, c->shared.n == 1 ? "is" : "are", FIRST(c->shared.n), c->shared.first,
            c->shared.n == 1 ? "it" : "them");
    if (c->between.n)
        say(to,
            "%d image%s of data.val %s the content of one of data.train (%s%s): what is measured on %s was trained on",
            c->between.n, S(c->between.n), c->between.n == 1 ? "has" : "have", FIRST(c->between.n), c->between.first,
            c->between.n == 1 ? "it" : "them");
    for (int k = 0; k < DRAM_CHECK_CLASSES && c->train.labelled_pixels; k++)
        unseen[k] = c->val.pixels[k] && !c->train.pixels[k];
    int n = count_true(unseen);
    if (!n) return;
    name_classes(to->cfg, unseen, n, names, sizeof names);
    name_labels(&c->train, where, sizeof where);
    say(to, "%s %s in the labels of data.val and in none of %s", names, n == 1 ? "is" : "are", where);
}

int dram_check_warnings(const dram_config *cfg, const dram_check *c, void (*to)(void *context, const char *line),
                        void *context)
{
    speaker s = {.cfg = cfg, .say = to, .context = context};
    const struct {
        const dram_check_set *set;
        const char *key;
    } sets[] = {{&c->train, "data.train"}, {&c->val, "data.val"}};
    for (int i = 0; i < 2; i++) {
        if (!sets[i].set->there) continue;
        warn_of_names(&s, sets[i].set, sets[i].key);
        warn_of_files(&s, sets[i].set, sets[i].key);
        if (i == 0) warn_of_classes(&s, sets[i].set);
    }
    if (c->train.there && c->val.there) warn_of_both(&s, c);
    return s.n;
}

static void log_warning(void *context, const char *line)
{
    (void)context;
    dram_warn("%s", line);
}

void dram_check_warn(const dram_config *cfg, const dram_check *c)
{
    dram_check_warnings(cfg, c, log_warning, NULL);
}
