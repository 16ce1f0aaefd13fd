/* dram plan: prints, draws or dumps the plan of a run, and says whether it fits. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/command.h"
#include "device/rate.h"
#include "report/estimate.h"
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

/* One value of it, or all where `key` is NULL. card: NULL for none. */
static dram_status print_json(const dram_session *s, const char *key, const dram_card *card)
{
    dram_plan_facts facts;
    dram_status status = dram_plan_facts_find(s, &facts);
    cJSON *report = status == DRAM_OK ? dram_plan_json(s->plan, &facts) : NULL;
    cJSON *estimate = report && card ? dram_estimate_json(s, card) : NULL;
    if (report && card && !cJSON_AddItemToObject(report, "card", estimate)) {
        cJSON_Delete(estimate);
        cJSON_Delete(report);
        report = NULL;
    }
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

static dram_status print_estimate(const dram_session *s, const dram_card *card)
{
    dram_str text = {0};
    dram_status status = dram_estimate_text(s, card, &text);
    if (status == DRAM_OK) fputs(text.text, stdout);
    dram_str_free(&text);
    return status;
}

/* A card is planned for by its kind of device: `auto` becomes that. */
static dram_status choose_device(dram_config *cfg, const char *name)
{
    bool gpu = strcmp(name, "cpu") != 0;
    dram_run_device other = gpu ? DRAM_RUN_DEVICE_CPU : DRAM_RUN_DEVICE_CUDA;
    char shown[64];
    if (gpu && !dram_card_find(name)) {
        dram_str names = {0};
        dram_card_names(&names);
        dram_fail(DRAM_ERR_CONFIG, "plan: --card %s is unknown; there are %s, and cpu (this machine's)",
                  dram_visible(name, shown, sizeof shown), names.text ? names.text : "");
        dram_str_free(&names);
        return DRAM_ERR_CONFIG;
    }
    if (cfg->device == other)
        return dram_fail(DRAM_ERR_CONFIG, "plan: --card %s is a %s and device is %s: plan with device=%s", name,
                         gpu ? "GPU" : "CPU", gpu ? "cpu" : "cuda", gpu ? "cuda" : "cpu");
    cfg->device = gpu ? DRAM_RUN_DEVICE_CUDA : DRAM_RUN_DEVICE_CPU;
    return DRAM_OK;
}

/* By its data sheet, or the CPU by a short measurement. */
static dram_status find_card(const dram_session *s, const char *name, dram_card *card)
{
    const dram_config *cfg = &s->cfg;
    bool f16 =
        cfg->train.precision == DRAM_PRECISION_FP16 ||
        (cfg->train.precision == DRAM_PRECISION_FP32 && cfg->sam_distill.teacher.precision == DRAM_PRECISION_FP16);
    const dram_card *known = dram_card_find(name);
    dram_machine_memory memory;
    dram_device *device;
    if (known) {
        *card = *known;
        return DRAM_OK;
    }
    TRY(dram_machine_read_memory(&s->plan->profile, &memory));
    TRY(dram_machine_open(cfg, &s->plan->profile, &device));
    dram_status status = dram_device_rate(device, f16 ? DRAM_F16 : DRAM_BF16, card);
    card->memory_bytes = memory.device_total;
    dram_device_close(device);
    return status;
}

typedef struct {
    bool json;
    const char *key, *dump, *svg, *card; /* NULL: not asked for */
} wanted;

static dram_status show(const dram_session *s, const wanted *w)
{
    dram_card card;
    if (w->card) TRY(find_card(s, w->card, &card));
    if (w->dump) TRY(write_dump(s, w->dump));
    if (w->svg) TRY(write_svg(s, w->svg));
    if (w->json) {
        TRY(print_json(s, w->key, w->card ? &card : NULL));
    } else {
        TRY(dram_print_page(s, stdout));
        if (w->card) TRY(print_estimate(s, &card));
    }
    if (!s->plan->profile.gpu || !w->card) note_machine(s); /* a plan for a card is for another machine */
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
    bool timed = false, help;
    wanted w = {0};
    const dram_option options[] = {
        {"--json", NULL, "print one JSON object", &w.json, NULL},
        {"--get", "KEY", "with --json, print one value of it: programs.distil_step.peak_bytes", NULL, &w.key},
        {"--calibrate", NULL, "run the step here to time its nodes, keep the times in memory.profile, plan by them",
         &timed, NULL},
        {"--dump", "FILE", "write every value's offset, size and lifetime as JSON", NULL, &w.dump},
        {"--svg", "FILE", "draw the arena of the largest program over time", NULL, &w.svg},
        {"--card", "NAME", "estimate an update's time on a GPU by its data sheet (h200, 4090, ...), or on this cpu",
         NULL, &w.card},
    };
    dram_words words;
    dram_config *cfg;
    dram_session session;
    TRY(dram_parse("plan", argc, argv, options, 6, 1, &words, &help));
    if (help) return DRAM_OK;
    if (w.key && !w.json)
        return dram_fail(DRAM_ERR_CONFIG, "plan: --get takes a value out of --json, which is missing");
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_config_tell_idle(cfg);
    dram_status status = w.card ? choose_device(cfg, w.card) : DRAM_OK;
    if (status == DRAM_OK) status = dram_weights_native(cfg, &cfg->sam_distill.teacher.native_size);
    if (status == DRAM_OK && timed) status = calibrate(cfg);
    if (status == DRAM_OK) status = dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &session);
    if (status == DRAM_OK) {
        status = show(&session, &w);
        dram_session_close(&session);
    }
    dram_config_free(cfg);
    return status;
}
