/* eval_file: the trained weights of a file, evaluated on data.val: what `dram eval` does. */
#ifndef DRAM_EVALUATE_EVAL_FILE_H
#define DRAM_EVALUATE_EVAL_FILE_H

#include "evaluate/eval.h"

/* Evaluates the weights in `file` (heads.safetensors is looked for beside it) on data.val. folder: for the predictions
 * of every image as overlays (evaluate/predictions.h); NULL: none are written. comm: the ranks that do it together, all of
 * which get the same result (NULL: one alone). stop: as in dram_evaluate. */
dram_status dram_evaluate_file(const dram_config *cfg, const char *file, const char *folder, dram_comm *comm,
                               const volatile sig_atomic_t *stop, dram_eval_result *result);

#endif
