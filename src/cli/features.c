/* dram features: writes pictures of what teacher and student make of images. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/command.h"
#include "evaluate/features.h"
#include "report/summary.h"

static void print_picture(void *context, const dram_features_picture *p)
{
    char path[PATH_MAX];
    (void)context;
    printf("%s:", dram_visible(p->path, path, sizeof path));
    if (isfinite(p->cosine)) printf(" embedding cosine %.4f, MSE %.4f,", p->cosine, p->mse);
    if (p->no_cell)
        printf(" too thin to have a cell: nothing was compared\n");
    else if (!isfinite(p->explained))
        printf(" - %% of the variance: all cells are alike\n");
    else
        printf(" %.0f %% of the variance\n", 100 * p->explained);
    fflush(stdout);
}

static void keep_picture(void *context, const dram_features_picture *p)
{
    cJSON *object = dram_picture_json(p);
    if (object) cJSON_AddItemToArray(context, object);
}

static dram_status write_pictures(const dram_config *cfg, const char *weights, const char *folder,
                                  const dram_words *words, bool json)
{
    int n = words->n_words - 1;
    const volatile sig_atomic_t *stop = dram_catch_signals();
    if (!json) return dram_features_write(cfg, weights, folder, words->words + 1, n, stop, print_picture, NULL);
    cJSON *root = cJSON_CreateObject(), *list = root ? cJSON_AddArrayToObject(root, "images") : NULL;
    dram_status status = list ? dram_features_write(cfg, weights, folder, words->words + 1, n, stop, keep_picture, list)
                              : dram_fail(DRAM_ERR_MEMORY, "no memory for the result");
    if (status == DRAM_OK) return dram_print_json(root);
    cJSON_Delete(root);
    return status;
}

dram_status dram_command_features(int argc, char **argv)
{
    bool json = false, help;
    const char *weights = NULL, *folder = NULL;
    const dram_option options[] = {
        {"--weights", "FILE", "the trunk; heads.safetensors is looked for beside it", NULL, &weights},
        {"--out", "DIR", "where the pictures go: STEM.png for each image", NULL, &folder},
        {"--json", NULL, "print one JSON object", &json, NULL},
    };
    dram_words words;
    dram_config *cfg;
    TRY(dram_parse_paths("features", argc, argv, options, 3, 2, &words, &help));
    if (help) return DRAM_OK;
    if (!weights) return dram_fail(DRAM_ERR_CONFIG, "features: --weights FILE is missing; see `dram features --help`");
    if (!folder) return dram_fail(DRAM_ERR_CONFIG, "features: --out DIR is missing; see `dram features --help`");
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_status status = write_pictures(cfg, weights, folder, &words, json);
    dram_config_free(cfg);
    return status;
}
