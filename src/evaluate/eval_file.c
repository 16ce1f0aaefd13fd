#include "evaluate/eval_file.h"

#include "comm/machines.h"
#include "evaluate/eval.h"
#include "feed/datasets.h"
#include "feed/fill.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "session/weights.h"

/* All that is open. */
typedef struct {
    dram_chosen chosen;
    dram_dataset *val;
    dram_session session;
    dram_feed feed;
    dram_targets targets;
    dram_predictions *predictions;
} work;

static dram_status open_data(const dram_config *cfg, const char *folder, dram_comm *comm, work *w)
{
    TRY(dram_ranks_together(comm, dram_config_check_inputs(cfg, false)));
    TRY(dram_choose(cfg, NULL, comm, &w->chosen));
    w->chosen.cfg.student.weights = w->chosen.cfg.student.heads = NULL; /* what training began from */
    TRY(dram_datasets_open(&w->chosen.cfg, true, &w->val));
    return folder ? dram_predictions_open(&w->chosen.cfg, folder, w->val, &w->predictions) : DRAM_OK;
}

static dram_status plan(const dram_config *cfg, dram_comm *comm, work *w)
{
    TRY(dram_headroom_plan(&w->chosen.cfg, DRAM_SET_EVALUATION, comm, &w->session));
    if (w->session.graphs.io[DRAM_PROGRAM_EVALUATION].graph) return DRAM_OK;
    return dram_config_fail(cfg, "task.enabled", "neither a task nor a teacher is on: there is nothing to evaluate");
}

static dram_status load(const char *file, work *w)
{
    TRY(dram_feed_open(&w->session.graphs, &w->feed));
    w->feed.targets = &w->targets;
    return dram_weights_load_trained(&w->session, file);
}

dram_status dram_evaluate_file(const dram_config *cfg, const char *file, const char *folder, dram_comm *comm,
                               const volatile sig_atomic_t *stop, dram_eval_result *result)
{
    work w = {0};
    dram_status status;
    TRY_GOTO(dram_ranks_together(comm, open_data(cfg, folder, comm, &w)), done);
    TRY_GOTO(dram_ranks_together(comm, plan(cfg, comm, &w)), done);
    status = dram_targets_open(&w.chosen.cfg, NULL, w.val, stop, &w.targets);
    TRY_GOTO(dram_ranks_together(comm, status), done);
    TRY_GOTO(dram_fill_missing(&w.chosen.cfg, &w.targets, NULL, w.val, comm, stop), done);
    TRY_GOTO(dram_headroom_start(&w.chosen.cfg, &w.session, NULL, NULL), done);
    TRY_GOTO(dram_ranks_together(comm, load(file, &w)), done);
    status = dram_evaluate(&w.session, &w.feed, w.val, w.predictions, stop, result);
done:
    dram_predictions_close(w.predictions);
    dram_feed_close(&w.feed);
    dram_targets_close(&w.targets);
    dram_session_close(&w.session);
    dram_dataset_close(w.val);
    dram_chosen_free(&w.chosen);
    return status;
}
