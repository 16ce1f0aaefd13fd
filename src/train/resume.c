#include "train/resume.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "train/configs.h"
#include "train/sound.h"

/* ---- which checkpoint ---- */

static dram_status no_such_step(const char *folder, int64_t step, const int64_t *steps, int n)
{
    enum { LISTED = 8 };
    dram_str there = {0};
    for (int i = n > LISTED ? n - LISTED : 0; i < n; i++)
        dram_str_add(&there, "%sstep-%" PRId64, there.length ? ", " : n > LISTED ? "..., " : "", steps[i]);
    dram_status status =
        dram_fail(DRAM_ERR_CONFIG, "%s: there is no checkpoint of step %" PRId64 "; there %s %s", folder, step,
                  n == 1 ? "is" : "are", n ? there.text ? there.text : "others" : "none");
    dram_str_free(&there);
    return status;
}

static dram_status choose_step(const char *folder, dram_resume order, int64_t *step)
{
    int64_t *steps;
    int n;
    bool there = false;
    TRY(dram_checkpoint_list(folder, &steps, &n));
    for (int i = 0; i < n; i++) there = there || steps[i] == order.step;
    dram_status status = DRAM_OK;
    if (order.step && !there)
        status = no_such_step(folder, order.step, steps, n);
    else
        *step = order.step ? order.step : n ? steps[n - 1] : 0;
    dram_free(steps);
    return status;
}

/* Reads every byte of the checkpoint. root as dram_checkpoint_verify has it. */
static dram_status verify(const char *folder, int64_t step, const volatile sig_atomic_t *stop, cJSON **root)
{
    char text[1024], newest[200];
    dram_status status = dram_sound_check(folder, step, stop, root);
    if (status == DRAM_OK && !*root)
        dram_info("%s/step-%08" PRId64
                  ": an older dram saved it, without hashes: whether it is damaged cannot be checked",
                  folder, step);
    if (status != DRAM_ERR_FORMAT && status != DRAM_ERR_IO) return status;
    snprintf(text, sizeof text, "%s", dram_error_text());
    dram_error_clear();
    return dram_fail(status, "%.800s%s", text, dram_sound_newest(folder, false, newest, sizeof newest));
}

/* ---- what it was trained with ---- */

/* A config that cannot be read keeps no run from going on, unless levers have to be as they were. */
static dram_status load_config(const char *path, bool levers, dram_config **before)
{
    dram_status status = dram_config_load(path, NULL, 0, before);
    if (status != DRAM_ERR_CONFIG && status != DRAM_ERR_IO && status != DRAM_ERR_FORMAT) return status;
    if (levers)
        return dram_error_prefix(DRAM_ERR_CONFIG,
                                 "memory.may_change needs what this run had, and that cannot be read: ");
    dram_warn("what has changed since the last part of this run is not known: %s", dram_error_text());
    dram_error_clear();
    return DRAM_OK;
}

static dram_status read_sealed(const char *checkpoint, const cJSON *root, dram_resumed *r)
{
    char *path;
    TRY(dram_path_join(checkpoint, "checkpoint.json", &path));
    dram_status status = dram_depends_read(root, path, &r->depends);
    dram_free(path);
    r->has_depends = status == DRAM_OK;
    return status;
}

dram_status dram_resume_find(const char *directory, dram_resume order, bool levers, const volatile sig_atomic_t *stop,
                             dram_resumed *r)
{
    char *folder = NULL, *checkpoint = NULL, *path = NULL;
    cJSON *root = NULL;
    dram_status status;
    TRY_GOTO(dram_path_join(directory, "checkpoints", &folder), done);
    TRY_GOTO(choose_step(folder, order, &r->step), done);
    if (!r->step) goto done;
    TRY_GOTO(verify(folder, r->step, stop, &root), done);
    TRY_GOTO(dram_checkpoint_path(folder, r->step, &checkpoint), done);
    if (root) TRY_GOTO(read_sealed(checkpoint, root, r), done);
    TRY_GOTO(dram_path_join(root ? checkpoint : directory, "config.yaml", &path), done);
    status = load_config(path, levers, &r->before);
done:
    cJSON_Delete(root);
    dram_free(path);
    dram_free(checkpoint);
    dram_free(folder);
    return status;
}

void dram_resume_close(dram_resumed *r)
{
    dram_config_free(r->before);
    *r = (dram_resumed){0};
}

/* ---- what is another ---- */

typedef struct {
    const dram_resumed *resumed;
    const dram_config *now;
    const dram_depends *depends;
    bool told; /* that what follows changes results */
} comparison;

/* The same weights may lie elsewhere. */
static bool is_moved(const comparison *c, const char *key)
{
    const char *was = NULL, *is = NULL;
    if (!c->resumed->has_depends) return false;
    if (strcmp(key, "student.weights") == 0) {
        was = c->resumed->depends.student;
        is = c->depends->student;
    } else if (strcmp(key, "student.heads") == 0) {
        was = c->resumed->depends.heads;
        is = c->depends->heads;
    } else if (strcmp(key, "sam_distill.teacher.weights") == 0) {
        was = c->resumed->depends.teacher;
        is = c->depends->teacher;
    }
    return was && was[0] && strcmp(was, is) == 0;
}

static dram_status refuse(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    const comparison *c = context;
    if (kind != DRAM_RESUME_REFUSED || is_moved(c, key)) return DRAM_OK;
    return dram_config_fail(
        c->now, key,
        "%.600s: a run keeps its student, classes, seed, kind of optimiser and resolution_distill.target; resume it "
        "with what it had, or begin another run",
        values);
}

/* The files of a key, and their hashes; NULL, "": none. */
typedef struct {
    const char *key, *was, *is, *hash_was, *hash_is;
} begun;

static dram_status refuse_other(const dram_config *now, const begun *b)
{
    if (!b->was || !b->is || strcmp(b->hash_was, b->hash_is) == 0) return DRAM_OK;
    return dram_config_fail(now, b->key,
                            "%s is another file than this run began with: hash %s -> %s; resume it with that one, or "
                            "begin another run",
                            b->is, b->hash_was, b->hash_is);
}

dram_status dram_resume_refuse(const dram_resumed *r, const dram_config *now, const dram_depends *depends)
{
    comparison c = {.resumed = r, .now = now, .depends = depends};
    if (!r->before) return DRAM_OK;
    TRY(dram_config_compare(r->before, now, refuse, &c));
    if (!r->has_depends) return DRAM_OK;
    const struct dram_config_student *was = &r->before->student, *is = &now->student;
    TRY(refuse_other(now,
                     &(begun){"student.weights", was->weights, is->weights, r->depends.student, depends->student}));
    return refuse_other(now, &(begun){"student.heads", was->heads, is->heads, r->depends.heads, depends->heads});
}

static dram_status say(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    bool moved = is_moved(context, key);
    if (kind == DRAM_RESUME_SAID || moved) dram_info("%s: %s%s", key, values, moved ? " (the same bytes)" : "");
    return DRAM_OK;
}

static void head(comparison *c)
{
    if (!c->told)
        dram_warn("from step %" PRId64 " on this run goes on with what changes its results:", c->resumed->step);
    c->told = true;
}

static dram_status list(void *context, const char *key, dram_resume_kind kind, const char *values)
{
    comparison *c = context;
    if (kind != DRAM_RESUME_LISTED || is_moved(c, key)) return DRAM_OK;
    head(c);
    dram_warn("%s: %s", key, values);
    return DRAM_OK;
}

static void tell_teacher(comparison *c)
{
    const char *was = c->resumed->depends.teacher, *is = c->depends->teacher;
    if (!c->now->sam_distill.enabled || strcmp(was, is) == 0) return;
    head(c);
    dram_warn("sam_distill.teacher.weights: hash %s -> %s", was[0] ? was : "none", is[0] ? is : "none");
}

/* "200 images, 50 of them with a label" */
static const char *count(const dram_data_list *list, char *out, size_t size)
{
    snprintf(out, size, "%d images, %d with a label", list->images, list->labels);
    return out;
}

static void tell_list(comparison *c, const char *key, const dram_data_list *was, const dram_data_list *is)
{
    char before[80], now[80], more[80];
    int n = is->images - was->images;
    if (strcmp(was->hash, is->hash) == 0) return;
    if (n)
        snprintf(more, sizeof more, "%d %s", n > 0 ? n : -n, n > 0 ? "more" : "fewer");
    else
        snprintf(more, sizeof more, "%s", "as many, of other names or with other labels");
    head(c);
    dram_warn("%s: %s -> %s (%s)", key, count(was, before, sizeof before), count(is, now, sizeof now), more);
}

static void tell_machine(const dram_depends *was, const dram_depends *is)
{
    if (was->gpu != is->gpu)
        dram_info("it ran on %s, and goes on on %s: the last bits of results will differ",
                  was->gpu ? "a GPU" : "the CPU", is->gpu ? "a GPU" : "the CPU");
    else if (was->threads != is->threads)
        dram_info("it ran on %d threads, and goes on with %d: the last bits of results will differ", was->threads,
                  is->threads);
}

dram_status dram_resume_tell(const dram_resumed *r, const dram_config *now, const dram_depends *depends)
{
    comparison c = {.resumed = r, .now = now, .depends = depends};
    const dram_depends *was = &r->depends;
    if (r->before) TRY(dram_config_compare(r->before, now, say, &c));
    if (r->has_depends) tell_machine(was, depends);
    if (r->before) TRY(dram_config_compare(r->before, now, list, &c));
    if (!r->has_depends) return DRAM_OK;
    tell_teacher(&c);
    tell_list(&c, "data.train", &was->train, &depends->train);
    tell_list(&c, "data.val", &was->val, &depends->val);
    return DRAM_OK;
}

/* ---- what comes after it ---- */

dram_status dram_resume_put_aside(const dram_resumed *r, const char *directory)
{
    char *folder, *aside;
    int64_t *steps = NULL;
    int n = 0;
    TRY(dram_path_join(directory, "checkpoints", &folder));
    dram_status status = dram_checkpoint_list(folder, &steps, &n);
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        if (steps[i] <= r->step) continue;
        status = dram_checkpoint_put_aside(folder, steps[i], &aside);
        if (status == DRAM_OK) dram_info("the checkpoint of step %" PRId64 " is kept as %s", steps[i], aside);
        dram_free(aside);
    }
    dram_free(steps);
    dram_free(folder);
    return status == DRAM_OK ? dram_configs_put_aside(directory, r->step) : status;
}
