#include "evaluate/eval_file.h"

#include "evaluate/eval.h"
#include "feed/datasets.h"
#include "feed/fill.h"
#include "session/room.h"
#include "session/settle.h"
#include "session/weights.h"

dram_status dram_evaluate_file(const dram_config *cfg, const char *file, const char *folder, dram_eval_result *result)
{
    dram_settled settled = {0};
    dram_dataset *val = NULL;
    dram_session session = {0};
    dram_feed feed = {0};
    dram_targets targets = {0};
    dram_predictions *predictions = NULL;
    dram_status status;
    TRY_GOTO(dram_config_check_inputs(cfg, false), done);
    TRY_GOTO(dram_settle(cfg, NULL, &settled), done);
    settled.cfg.student.weights = NULL; /* what training began from */
    TRY_GOTO(dram_datasets_open(&settled.cfg, true, &val), done);
    if (folder) TRY_GOTO(dram_predictions_open(&settled.cfg, folder, val, &predictions), done);
    TRY_GOTO(dram_room_plan(&settled.cfg, DRAM_SET_EVALUATION, &session), done);
    if (!session.programs.io[DRAM_PROGRAM_EVALUATION].graph) {
        status =
            dram_config_fail(cfg, "task.enabled", "neither a task nor a teacher is on: there is nothing to evaluate");
        goto done;
    }
    TRY_GOTO(dram_targets_open(&settled.cfg, NULL, val, NULL, &targets), done);
    TRY_GOTO(dram_fill_missing(&settled.cfg, &targets, NULL, val, NULL), done);
    TRY_GOTO(dram_room_start(&settled.cfg, &session, NULL, NULL), done);
    TRY_GOTO(dram_feed_open(&session.programs, &feed), done);
    feed.targets = &targets;
    TRY_GOTO(dram_weights_load_trained(&session, file), done);
    status = dram_evaluate(&session, &feed, val, predictions, result);
done:
    dram_predictions_close(predictions);
    dram_feed_close(&feed);
    dram_targets_close(&targets);
    dram_session_close(&session);
    dram_dataset_close(val);
    dram_settle_free(&settled);
    return status;
}
