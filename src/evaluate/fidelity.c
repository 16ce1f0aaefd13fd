#include "evaluate/fidelity.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "evaluate/single.h"
#include "feed/datasets.h"
#include "session/choose.h"

/* At a cosine of 0.8 the part of the target that is foreign to the full embedding is 0.6 of its length: more than what
 * separates a trained student from its target, to which it comes as near as 0.9 within a short run (README). Below,
 * the student is kept from the teacher by the teacher's input more than by itself. */
static const double LOW_COSINE = 0.8;

bool dram_fidelity_means_something(const dram_config *cfg)
{
    const struct dram_config_sam_distill *sam = &cfg->sam_distill;
    int full = dram_teacher_full(cfg);
    return sam->enabled && (sam->sam_input_size != full || dram_teacher_canvas(cfg) != full);
}

static dram_fidelity empty(const dram_config *cfg)
{
    return (dram_fidelity){.size = cfg->sam_distill.sam_input_size,
                           .canvas = dram_teacher_canvas(cfg),
                           .full = dram_teacher_full(cfg),
                           .cosine = NAN,
                           .worst = NAN};
}

/* The cosine of one image, into the mean and the worst. */
static dram_status compare(dram_single *s, const char *path, const char *name, dram_fidelity *result)
{
    const dram_io *io = &s->session.graphs.io[DRAM_PROGRAM_FIDELITY];
    float gap;
    TRY(dram_single_load(s, DRAM_PROGRAM_FIDELITY, path));
    if (!dram_feed_with_cells(&s->session.graphs, &s->sample, 1, s->session.graphs.grid)) {
        result->without_cell++;
        return DRAM_OK;
    }
    TRY(dram_exec_run(s->session.exec, io->index));
    TRY(dram_exec_read(s->session.exec, io->index, io->cosine_gap, &gap, sizeof gap));
    double cosine = 1.0 - (double)gap;
    if (!isfinite(cosine))
        return dram_fail(DRAM_ERR_NUMERIC,
                         "%s: the teacher's embedding is not finite; take another "
                         "sam_distill.teacher.precision",
                         path);
    result->cosine = result->images ? result->cosine + (cosine - result->cosine) / (result->images + 1) : cosine;
    if (!result->images || cosine < result->worst) {
        result->worst = cosine;
        snprintf(result->worst_image, sizeof result->worst_image, "%s", name);
    }
    result->images++;
    return DRAM_OK;
}

/* `count` images, spread over the data set. quiet: nothing is said of bad ones, since the run will read them again and
 * say it. comm: ranks that wait; NULL: none do. */
static dram_status compare_images(dram_single *s, const dram_dataset *dataset, int count, bool quiet, dram_comm *comm,
                                  const volatile sig_atomic_t *stop, dram_fidelity *result)
{
    dram_status status = DRAM_OK;
    int n = dram_dataset_count(dataset), room = dram_dataset_path_room(dataset);
    char *path = dram_alloc((size_t)room);
    if (!path) return dram_fail(DRAM_ERR_MEMORY, "no memory for the names of images");
    for (int i = 0; i < count && status == DRAM_OK; i++) {
        bool asked;
        TRY_GOTO(dram_comm_busy(comm, stop, &asked), done);
        if (asked) {
            status = dram_fail(DRAM_INTERRUPTED,
                               "interrupted: the teacher's fidelity was looked at on %d of %d images, and nothing was "
                               "written",
                               i, count);
            break;
        }
        int index = (int)((int64_t)i * n / count);
        status =
            compare(s, dram_dataset_image_path(dataset, index, path, room), dram_dataset_name(dataset, index), result);
        if (status != DRAM_ERR_FORMAT && !(quiet && status == DRAM_ERR_IO)) continue;
        if (!quiet) dram_warn("%s; left out", dram_error_text());
        result->skipped++;
        dram_error_clear();
        status = DRAM_OK;
    }
done:
    dram_free(path);
    return status;
}

/* A teacher whose own size is not 1024 (vit_tiny, vit_micro) loses nothing at its own. */
static bool at_its_own(const dram_config *cfg, const dram_fidelity *r)
{
    const dram_arch *teacher = dram_arch_find(cfg->sam_distill.teacher.model_type);
    int own = cfg->sam_distill.teacher.native_size;
    if (!own && teacher) own = teacher->native;
    return r->size == own && r->canvas == r->size;
}

static void warn_if_low(const dram_config *cfg, const dram_fidelity *r)
{
    if (!r->images || r->cosine >= LOW_COSINE || at_its_own(cfg, r)) return;
    dram_warn("the teacher at %d gives another embedding than at %d: the cosine between them is %.3f (below %.1f)%s",
              r->size, r->full, r->cosine, LOW_COSINE,
              r->size < r->full ? "; a larger sam_distill.sam_input_size keeps more of what the teacher knows" : "");
}

dram_status dram_fidelity_folder(const dram_config *cfg, const char *folder, const volatile sig_atomic_t *stop,
                                 dram_fidelity *result)
{
    dram_chosen chosen = {0};
    dram_single s = {0};
    dram_dataset *dataset = NULL;
    static const char where[] = "--teacher-fidelity";
    const dram_dataset_params params = {.images = folder, .recursive = cfg->data.recursive, .images_where = where};
    dram_status status;
    *result = empty(cfg);
    if (!cfg->sam_distill.enabled)
        return dram_config_fail(cfg, "sam_distill.enabled", "there is no teacher to look at; set it to true");
    TRY(dram_single_check_teacher(cfg));
    TRY_GOTO(dram_dataset_open(&params, &dataset), done);
    TRY_GOTO(dram_datasets_check_broken(cfg, dataset, where, where), done);
    dram_datasets_say(dataset, params.recursive);
    TRY_GOTO(dram_choose(cfg, NULL, NULL, &chosen), done);
    *result = empty(&chosen.cfg); /* the file of weights may have said another size */
    if (!dram_fidelity_means_something(&chosen.cfg)) goto done;
    TRY_GOTO(dram_single_plan(&chosen.cfg, DRAM_SET_FIDELITY, &s), done);
    TRY_GOTO(dram_single_start(&s), done);
    TRY_GOTO(compare_images(&s, dataset, dram_dataset_count(dataset), false, NULL, stop, result), done);
    if (result->images)
        warn_if_low(&chosen.cfg, result);
    else if (!result->without_cell)
        status = dram_fail(DRAM_ERR_FORMAT, "--teacher-fidelity: none of the %d images of %s can be read",
                           dram_dataset_count(dataset), folder);
done:
    dram_single_close(&s);
    dram_dataset_close(dataset);
    dram_chosen_free(&chosen);
    return status;
}

/* ---- before a run ---- */

static void leave_out(dram_fidelity *result, const char *reason)
{
    snprintf(result->left_out, sizeof result->left_out, "%s", reason);
}

/* Whether the check takes no more of the device and of the host than the run itself. */
static bool fits(const dram_session *run, const dram_plan *plan, dram_fidelity *result)
{
    char need[32], have[32];
    if (plan->arena_bytes <= run->plan->arena_bytes && plan->host_bytes <= run->plan->host_bytes) return true;
    snprintf(result->left_out, sizeof result->left_out,
             "the teacher at %d takes %s, the run %s; `dram eval --teacher-fidelity` can make it", result->full,
             dram_format_bytes(plan->arena_bytes + plan->host_bytes, need, sizeof need),
             dram_format_bytes(run->plan->arena_bytes + run->plan->host_bytes, have, sizeof have));
    return false;
}

static dram_status run_before(const dram_session *run, const dram_dataset *train, const volatile sig_atomic_t *stop,
                              dram_fidelity *result)
{
    dram_single s = {0};
    dram_config cfg = run->cfg;
    dram_status status;
    int count = cfg.sam_distill.fidelity_images;
    cfg.memory.budget = DRAM_BYTES_NONE;
    if (count > dram_dataset_count(train)) count = dram_dataset_count(train);
    TRY_GOTO(dram_single_plan(&cfg, DRAM_SET_FIDELITY, &s), done);
    if (!fits(run, s.session.plan, result)) goto done;
    status = dram_single_start(&s);
    if (status == DRAM_ERR_FIT) { /* the run, which needs no less, will say so */
        dram_error_clear();
        leave_out(result, "there is not the memory for it");
        status = DRAM_OK;
        goto done;
    }
    if (status == DRAM_OK) status = compare_images(&s, train, count, true, run->comm, stop, result);
    if (status == DRAM_OK && !result->images)
        leave_out(result, result->without_cell ? "the images are too thin to have a cell" : "no image can be read");
done:
    dram_single_close(&s);
    return status;
}

dram_status dram_fidelity_before(const dram_session *run, const dram_dataset *train, bool resume,
                                 const volatile sig_atomic_t *stop, dram_fidelity *result, bool *asked)
{
    const dram_config *cfg = &run->cfg;
    *result = empty(cfg);
    *asked = cfg->sam_distill.fidelity_images > 0 && dram_fidelity_means_something(cfg) && !at_its_own(cfg, result);
    if (!*asked) return DRAM_OK;
    if (resume)
        leave_out(result, "this run goes on");
    else if (!run->graphs.teacher_size)
        leave_out(result, "the targets come from the cache, and no teacher runs");
    else
        TRY(run_before(run, train, stop, result));
    warn_if_low(cfg, result);
    return DRAM_OK;
}
