/* dram plan: prints, draws or dumps the plan of a run, and says whether it fits. */
#include <limits.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/command.h"
#include "report/plan_dump.h"
#include "report/plan_json.h"
#include "report/plan_svg.h"
#include "session/budget.h"
#include "session/calibrate.h"
#include "session/machine.h"
#include "session/weights.h"

static dram_status write_dump(const dram_session *s, const char *path)
{
    cJSON *tree = dram_plan_dump(s->plan);
    char *text = tree ? cJSON_Print(tree) : NULL;
    cJSON_Delete(tree);
    if (!text) return dram_fail(DRAM_ERR_MEMORY, "no memory for the dump");
    dram_status status = dram_write_text(path, text);
    cJSON_free(text);
    return status;
}

static dram_status write_svg(const dram_session *s, const char *path)
{
    dram_str text = {0};
    dram_status status = dram_plan_svg(s->plan, s->plan->peak_program, &text);
    if (status == DRAM_OK) status = dram_write_text(path, text.text);
    dram_str_free(&text);
    return status;
}

/* One value of it, or all where `key` is NULL. */
static dram_status print_json(const dram_session *s, const char *key)
{
    dram_plan_facts facts;
    dram_status status = dram_plan_facts_find(s, &facts);
    cJSON *report = status == DRAM_OK ? dram_plan_json(s->plan, &facts) : NULL;
    if (status == DRAM_OK) status = key ? dram_print_value(report, key) : dram_print_json(report);
    dram_plan_facts_free(&facts);
    return status;
}

/* The plan holds for the CPU or the GPU of any machine; whether it would run here is a note, no verdict. */
static void note_machine(const dram_session *s)
{
    char need[32], have[32];
    const char *whose = s->plan->profile.gpu ? "this machine's GPU" : "this machine";
    dram_machine_memory memory;
    if (dram_machine_read_memory(&s->plan->profile, &memory) != DRAM_OK) {
        fprintf(stderr, "note: %s; `dram train` would refuse here\n", dram_error_text());
        dram_error_clear();
        return;
    }
    int64_t bytes =
        s->plan->arena_bytes + (memory.apart ? 0 : s->plan->host_bytes) + dram_machine_overhead(&s->plan->profile);
    if (s->budget > memory.device_total)
        fprintf(stderr, "note: the budget is %s and %s has %s: `dram train` would refuse here\n",
                dram_format_bytes(s->budget, need, sizeof need), whose,
                dram_format_bytes(memory.device_total, have, sizeof have));
    else if (bytes > memory.device_free)
        fprintf(stderr, "note: the plan needs %s and %s has %s free: `dram train` would refuse here\n",
                dram_format_bytes(bytes, need, sizeof need), whose,
                dram_format_bytes(memory.device_free, have, sizeof have));
}

static dram_status show(const dram_session *s, bool json, const char *key, const char *dump, const char *svg)
{
    if (dump) TRY(write_dump(s, dump));
    if (svg) TRY(write_svg(s, svg));
    if (json)
        TRY(print_json(s, key));
    else
        TRY(dram_print_page(s, stdout));
    note_machine(s);
    return s->budget ? dram_budget_check(s, s->budget, "the budget is") : DRAM_OK;
}

/* Times the step's nodes on this machine, and says how the times are put to use. */
static dram_status calibrate(const dram_config *cfg)
{
    const char *path = cfg->memory.profile ? cfg->memory.profile : "dram-profile.json";
    char context[32], loaded[32], shown[PATH_MAX];
    dram_calibration found;
    TRY(dram_calibrate(cfg, path, dram_catch_signals(), &found));
    fprintf(stderr, "%s holds the times of %d kinds of nodes; memory.profile=%s plans by them\n",
            dram_visible(path, shown, sizeof shown), found.nodes, shown);
    if (found.process.counted != DRAM_COUNTED_NOT)
        fprintf(stderr, "and that a process takes %s of the GPU for its context and %s for libraries and kernels%s\n",
                dram_format_bytes(found.process.context_bytes, context, sizeof context),
                dram_format_bytes(found.process.loaded_bytes, loaded, sizeof loaded),
                found.process.counted == DRAM_COUNTED_GPU ? ", by the change of the whole GPU's memory" : "");
    else if (dram_machine_gpu(cfg, NULL, 0))
        fprintf(stderr, "the driver does not say what a process takes (libnvidia-ml.so.1 is missing, too old or "
                        "refuses): beside the arena it stays assumed\n");
    return DRAM_OK;
}

dram_status dram_command_plan(int argc, char **argv)
{
    bool json = false, timed = false, help;
    const char *key = NULL, *dump = NULL, *svg = NULL;
    const dram_option options[] = {
        {"--json", NULL, "print one JSON object", &json, NULL},
        {"--get", "KEY", "with --json, print one value of it: programs.distil_step.peak_bytes", NULL, &key},
        {"--calibrate", NULL, "run the step here to time its nodes, keep the times in memory.profile, plan by them",
         &timed, NULL},
        {"--dump", "FILE", "write every value's offset, size and lifetime as JSON", NULL, &dump},
        {"--svg", "FILE", "draw the arena of the largest program over time", NULL, &svg},
    };
    dram_words words;
    dram_config *cfg;
    dram_session session;
    TRY(dram_parse("plan", argc, argv, options, 5, 1, &words, &help));
    if (help) return DRAM_OK;
    if (key && !json) return dram_fail(DRAM_ERR_CONFIG, "plan: --get takes a value out of --json, which is missing");
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_config_tell_idle(cfg);
    dram_status status = dram_weights_native(cfg, &cfg->sam_distill.teacher.native_size);
    if (status == DRAM_OK && timed) status = calibrate(cfg);
    if (status == DRAM_OK) status = dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &session);
    if (status == DRAM_OK) {
        status = show(&session, json, key, dump, svg);
        dram_session_close(&session);
    }
    dram_config_free(cfg);
    return status;
}
