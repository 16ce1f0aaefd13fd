#include <math.h>
#include <stdio.h>

#include "cli/command.h"
#include "train/report.h"
#include "train/train.h"

static void print_result(const dram_eval_result *r)
{
    printf("%d images%s\n", r->images, r->skipped ? " (some were skipped, see the warnings)" : "");
    if (isfinite(r->miou)) {
        printf("mIoU              %.4f\npixel accuracy    %.4f\n", r->miou, r->pixel_accuracy);
        for (int k = 0; k < r->classes && k < 256; k++)
            if (isfinite(r->class_iou[k])) printf("  IoU of class %-3d %.4f\n", k, r->class_iou[k]);
    }
    if (isfinite(r->embedding_cosine))
        printf("embedding cosine  %.4f\nembedding MSE     %.4f\n", r->embedding_cosine, r->embedding_mse);
}

dram_status dram_command_eval(int argc, char **argv)
{
    bool json = false, help;
    const char *weights = NULL;
    const dram_option options[] = {
        {"--weights", "FILE", "the trunk; heads.safetensors is looked for beside it", NULL, &weights},
        {"--json", NULL, "print one JSON object", &json, NULL},
    };
    dram_words words;
    dram_config *cfg;
    dram_eval_result result;
    TRY(dram_parse("eval", argc, argv, options, 2, 1, &words, &help));
    if (help) return DRAM_OK;
    if (!weights) return dram_fail(DRAM_ERR_CONFIG, "eval: --weights FILE is missing; see `dram eval --help`");
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_status status = dram_evaluate_file(cfg, weights, &result);
    if (status == DRAM_OK && json) status = dram_print_json(dram_eval_json(&result));
    if (status == DRAM_OK && !json) print_result(&result);
    dram_config_free(cfg);
    return status;
}
