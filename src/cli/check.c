/* dram check: all that can be known of a run without a step. */
#include <stdio.h>
#include <unistd.h>

#include "check/check.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "device/host.h"
#include "session/choose.h"

static void print_warning(void *context, const char *line)
{
    char shown[9600];
    (void)context;
    printf("warning: %s\n", dram_visible(line, shown, sizeof shown));
}

static dram_status print_page(const dram_config *cfg, const dram_check *check)
{
    dram_str text = {0}, outlook = {0};
    dram_check_page(cfg, check, &text);
    dram_status verdict = dram_check_judge(cfg, check, true);
    if (verdict == DRAM_OK) dram_check_outlook(cfg, check, &outlook);
    if (text.failed || outlook.failed) verdict = dram_fail(DRAM_ERR_MEMORY, "no memory to print what was found");
    if (text.text) fputs(text.text, stdout);
    dram_check_warnings(cfg, check, print_warning, NULL);
    fputs(outlook.text ? outlook.text : "a run would not begin\n", stdout);
    dram_str_free(&text);
    dram_str_free(&outlook);
    return verdict;
}

static void add_warning(void *list, const char *line)
{
    char shown[9600];
    cJSON_AddItemToArray(list, cJSON_CreateString(dram_visible(line, shown, sizeof shown)));
}

/* {"data", "warnings", "refused"}: refused is null where a run could begin. */
static dram_status print_json(const dram_config *cfg, const dram_check *check)
{
    cJSON *root = cJSON_CreateObject(), *data = dram_check_json(check);
    if (data && !cJSON_AddItemToObject(root, "data", data)) cJSON_Delete(data);
    cJSON *warnings = cJSON_AddArrayToObject(root, "warnings");
    if (warnings) dram_check_warnings(cfg, check, add_warning, warnings);
    dram_status verdict = dram_check_judge(cfg, check, true);
    cJSON *refused = verdict == DRAM_OK ? cJSON_CreateNull() : cJSON_CreateString(dram_error_text());
    bool good = data && warnings && refused && cJSON_AddItemToObject(root, "refused", refused);
    if (!good) cJSON_Delete(root);
    dram_status printed = dram_print_json(good ? root : NULL);
    return verdict == DRAM_OK ? printed : verdict;
}

dram_status dram_command_check(int argc, char **argv)
{
    bool json = false, help;
    const dram_option options[] = {{"--json", NULL, "print one JSON object", &json, NULL}};
    dram_words words;
    dram_config *cfg;
    dram_check check;
    TRY(dram_parse("check", argc, argv, options, 1, 1, &words, &help));
    if (help) return DRAM_OK;
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    if (cfg->data.check == DRAM_DATA_CHECK_AUTO) cfg->data.check = DRAM_DATA_CHECK_FULL; /* it is what was asked for */
    dram_choose_loader(cfg, dram_host_cores(), dram_host_left_bytes());
    dram_progress_view view = {.out = stderr, .terminal = isatty(STDERR_FILENO) != 0};
    const dram_check_hooks hooks = {.context = &view, .looked = dram_progress_looked, .stop = dram_catch_signals()};
    dram_status status = dram_check_config(cfg, true, &hooks, &check);
    dram_progress_clear();
    if (status == DRAM_OK) status = json ? print_json(cfg, &check) : print_page(cfg, &check);
    dram_config_free(cfg);
    return status;
}
