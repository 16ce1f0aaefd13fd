#include "evaluate/eval_file.h"

#include "evaluate/eval.h"
#include "feed/datasets.h"
#include "feed/fill.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "session/weights.h"

dram_status dram_evaluate_file(const dram_config *cfg, const char *file, const char *folder,
                               const volatile sig_atomic_t *stop, dram_eval_result *result)
{
    dram_chosen chosen = {0};
    dram_dataset *val = NULL;
    dram_session session = {0};
    dram_feed feed = {0};
    dram_targets targets = {0};
    dram_predictions *predictions = NULL;
    dram_status status;
    TRY_GOTO(dram_config_check_inputs(cfg, false), done);
    TRY_GOTO(dram_choose(cfg, NULL, &chosen), done);
    chosen.cfg.student.weights = NULL; /* what training began from */
    TRY_GOTO(dram_datasets_open(&chosen.cfg, true, &val), done);
    if (folder) TRY_GOTO(dram_predictions_open(&chosen.cfg, folder, val, &predictions), done);
    TRY_GOTO(dram_headroom_plan(&chosen.cfg, DRAM_SET_EVALUATION, &session), done);
    if (!session.graphs.io[DRAM_PROGRAM_EVALUATION].graph) {
        status =
            dram_config_fail(cfg, "task.enabled", "neither a task nor a teacher is on: there is nothing to evaluate");
        goto done;
    }
    TRY_GOTO(dram_targets_open(&chosen.cfg, NULL, val, stop, &targets), done);
    TRY_GOTO(dram_fill_missing(&chosen.cfg, &targets, NULL, val, stop), done);
    TRY_GOTO(dram_headroom_start(&chosen.cfg, &session, NULL, NULL), done);
    TRY_GOTO(dram_feed_open(&session.graphs, &feed), done);
    feed.targets = &targets;
    TRY_GOTO(dram_weights_load_trained(&session, file), done);
    status = dram_evaluate(&session, &feed, val, predictions, stop, result);
done:
    dram_predictions_close(predictions);
    dram_feed_close(&feed);
    dram_targets_close(&targets);
    dram_session_close(&session);
    dram_dataset_close(val);
    dram_chosen_free(&chosen);
    return status;
}
