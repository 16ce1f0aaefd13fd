#include "check/check.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "check/count.h"
#include "feed/datasets.h"
#include "io/safetensors.h"

static bool is_sampled(const dram_check_set *s)
{
    return s->there && (s->looked_images < s->images || s->read_labels < s->used);
}

dram_status dram_check_look(const dram_config *cfg, const dram_dataset *train, const dram_dataset *val,
                            const dram_check_hooks *hooks, dram_check *check)
{
    const dram_dataset *const datasets[DRAM_SETS] = {[DRAM_TRAIN] = train, [DRAM_VAL] = val};
    dram_check_set *const to[DRAM_SETS] = {[DRAM_TRAIN] = &check->train, [DRAM_VAL] = &check->val};
    double begin = dram_clock();
    dram_survey *survey;
    dram_status status;
    *check = (dram_check){.how = cfg->data.check, .class_names = cfg->data.class_names};
    TRY(dram_survey_open(cfg, datasets, hooks, &survey));
    for (int set = 0; set < DRAM_SETS; set++)
        if (datasets[set]) TRY_GOTO(dram_count_set(cfg, dram_survey_set(survey, set), to[set]), done);
    status = dram_count_copies(dram_survey_set(survey, DRAM_TRAIN), dram_survey_set(survey, DRAM_VAL), check);
    check->sampled = cfg->data.check == DRAM_DATA_CHECK_AUTO && (is_sampled(&check->train) || is_sampled(&check->val));
    check->seconds = dram_clock() - begin;
done:
    dram_survey_close(survey);
    return status;
}

static dram_status open_weights(const dram_config *cfg, const char *key, const char *path)
{
    dram_st *file;
    char where[700];
    if (!path || path[0] != '/') return DRAM_OK; /* none, or they are drawn */
    dram_status status = dram_st_open(path, &file);
    dram_st_close(file);
    snprintf(where, sizeof where, "%s: %s: ", dram_config_where(cfg, key), key);
    return status == DRAM_OK ? DRAM_OK : dram_error_prefix(status, where);
}

/* What a run needs besides its data. data_opens: a path of the data is not said twice. */
static dram_status open_inputs(const dram_config *cfg, bool data_opens)
{
    if (data_opens) TRY(dram_config_check_inputs(cfg, true));
    TRY(open_weights(cfg, "student.weights", cfg->student.weights));
    TRY(open_weights(cfg, "student.heads", cfg->student.heads));
    if (!cfg->sam_distill.enabled) return DRAM_OK;
    return open_weights(cfg, "sam_distill.teacher.weights", cfg->sam_distill.teacher.weights);
}

/* What is wrong is kept as a text, and the rest is looked at all the same. DRAM_ERR_MEMORY. */
static dram_status keep_failure(dram_status status, char *refused, size_t size)
{
    if (status == DRAM_OK || status == DRAM_ERR_MEMORY) return status;
    snprintf(refused, size, "%s", dram_error_text());
    dram_error_clear();
    return DRAM_OK;
}

dram_status dram_check_config(const dram_config *cfg, bool training, const dram_check_hooks *hooks, dram_check *check)
{
    enum { ROOM = sizeof check->refused };
    dram_dataset *train = NULL, *val = NULL;
    char no_input[ROOM] = "", no_train[ROOM] = "", no_val[ROOM] = "";
    dram_status status;
    *check = (dram_check){.how = cfg->data.check};
    if (training) TRY_GOTO(keep_failure(dram_datasets_open(cfg, false, &train), no_train, ROOM), done);
    TRY_GOTO(keep_failure(dram_datasets_open(cfg, true, &val), no_val, ROOM), done);
    if (training) TRY_GOTO(keep_failure(open_inputs(cfg, !no_train[0] && !no_val[0]), no_input, ROOM), done);
    TRY_GOTO(dram_check_look(cfg, train, val, hooks, check), done);
    memcpy(check->refused, no_input, ROOM);
    memcpy(check->train.refused, no_train, ROOM);
    memcpy(check->val.refused, no_val, ROOM);
done:
    dram_dataset_close(train);
    dram_dataset_close(val);
    return status;
}
