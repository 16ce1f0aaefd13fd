/* dram sweep: many configs from one file, planned before the first runs, run, and read back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "device/host.h"
#include "launch/launch.h"
#include "page/page.h"
#include "sweep/sweep.h"

typedef struct {
    bool plan, json, report, help;
    dram_sweep_options run;
} asked;

/* A whole number of `low` or more; NULL is none, which is 0. */
static dram_status read_number(const char *option, const char *text, int low, int *out)
{
    char *end;
    if (!text) return DRAM_OK;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (*end || !*text || errno || value < low || value > INT32_MAX)
        return dram_fail(DRAM_ERR_CONFIG, "sweep: %s: \"%s\" is no whole number of %d or more", option, text, low);
    *out = (int)value;
    return DRAM_OK;
}

static dram_status read_words(int argc, char **argv, asked *a, dram_words *words)
{
    const char *jobs = NULL, *index = NULL, *memory = NULL, *share = NULL;
    const dram_option options[] = {
        {"--plan", NULL, "print the table of points, and stop there", &a->plan, NULL},
        {"--report", NULL, "read what is in the sweep's folder back, and run nothing", &a->report, NULL},
        {"--json", NULL, "print one JSON object, everything else on stderr", &a->json, NULL},
        {"--jobs", "N", "runs at once, at most", NULL, &jobs},
        {"--memory", "BYTES", "of RAM, for all runs of this machine together", NULL, &memory},
        {"--devices", "0,1", "the GPUs that may be used", NULL, &a->run.devices},
        {"--share", "always", "a GPU is shared whatever its runs keep it busy", NULL, &share},
        {"--index", "I", "the runs of point I alone: a task of an array", NULL, &index},
        {"--failed", NULL, "make the runs again that failed", &a->run.failed, NULL},
        {"--stop-on-failure", NULL, "begin no other run once one has failed", &a->run.stop_on_failure, NULL},
    };
    TRY(dram_parse("sweep", argc, argv, options, sizeof options / sizeof options[0], 1, words, &a->help));
    if (a->help) return DRAM_OK;
    if (a->plan && a->report)
        return dram_fail(DRAM_ERR_CONFIG, "sweep: --plan is before runs, --report after: give one");
    if ((a->plan || a->report) &&
        (jobs || memory || a->run.devices || share || index || a->run.failed || a->run.stop_on_failure))
        return dram_fail(DRAM_ERR_CONFIG, "sweep: %s makes no run: of the other options it takes --json alone",
                         a->plan ? "--plan" : "--report");
    if (share && strcmp(share, "always") != 0)
        return dram_fail(DRAM_ERR_CONFIG, "sweep: --share: \"%s\" is not always", share);
    if (memory && (!dram_parse_bytes(memory, &a->run.memory) || a->run.memory < 1))
        return dram_fail(DRAM_ERR_CONFIG, "sweep: --memory: \"%s\" is no size, as in 8GiB", memory);
    a->run.share_always = share != NULL;
    TRY(read_number("--jobs", jobs, 1, &a->run.jobs));
    return read_number("--index", index, 1, &a->run.index);
}

static dram_status print_table(const dram_sweep *sweep, FILE *out)
{
    dram_str text = {0};
    dram_status status = dram_sweep_table(sweep, &text);
    if (status == DRAM_OK) fputs(text.text, out);
    fflush(out);
    dram_str_free(&text);
    return status;
}

/* What cannot run at all is no sweep: 3 where something does not fit, else 2. */
static dram_status check_any(const dram_sweep *sweep)
{
    if (dram_sweep_count(sweep, DRAM_POINT_PLANNED)) return DRAM_OK;
    int big = dram_sweep_count(sweep, DRAM_POINT_TOO_BIG);
    return big ? dram_fail(DRAM_ERR_FIT, "no point fits: %d of %d are too big", big, sweep->n_points)
               : dram_fail(DRAM_ERR_CONFIG, "every point is wrong: nothing can be run");
}

static dram_status plan_only(dram_sweep *sweep, const asked *a)
{
    TRY(dram_sweep_plan(sweep, dram_host_cores(), false, a->run.stop));
    TRY(print_table(sweep, a->json ? stderr : stdout));
    if (a->json) TRY(dram_print_json(dram_sweep_json(sweep)));
    return check_any(sweep);
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static dram_status report(const dram_sweep *sweep, bool json)
{
    dram_sweep_results results;
    dram_str text = {0};
    dram_status status = dram_sweep_collect(sweep, &results);
    if (status == DRAM_OK) status = dram_sweep_write_csv(sweep, &results);
    if (status == DRAM_OK) status = dram_page_sweep_save(sweep, &results, NULL);
    if (status == DRAM_OK) status = dram_sweep_report(sweep, &results, &text);
    if (status == DRAM_OK)
        fprintf(json ? stderr : stdout, "%s%s/report.html, pareto.svg\n", text.text, sweep->directory);
    if (status == DRAM_OK && json) status = dram_print_json(dram_sweep_results_json(sweep, &results));
    dram_str_free(&text);
    dram_sweep_results_free(sweep, &results);
    return status;
}

static void tell(void *context, const char *line)
{
    fprintf(context, "%s\n", line);
    fflush(context);
}

/* Whoever has put the missing file in its place since waits in vain for its point. */
static void tell_planned_before(const dram_sweep *sweep, FILE *out)
{
    if (dram_sweep_count(sweep, DRAM_POINT_PLANNED) < sweep->n_points)
        fprintf(out, "This table is as it was planned at first: what was wrong or too big then stays so here. "
                     "With another name= all points are planned anew.\n");
}

/* Runs what is to be run, and reports what there is then, also where some failed or a stop was asked for. */
static dram_status run(dram_sweep *sweep, asked *a)
{
    FILE *out = a->json ? stderr : stdout;
    bool is_new;
    if (!dram_sweep_is_there(sweep)) {
        TRY(dram_sweep_plan(sweep, dram_host_cores(), true, a->run.stop));
        TRY(print_table(sweep, out));
        TRY(check_any(sweep));
    }
    TRY(dram_sweep_open(sweep, &is_new));
    if (!is_new) {
        TRY(print_table(sweep, out));
        tell_planned_before(sweep, out);
    }
    TRY(check_any(sweep));
    fprintf(out, "\n");
    a->run.context = out;
    a->run.told = tell;
    char why[1024];
    dram_status status = dram_sweep_launch(sweep, &a->run);
    snprintf(why, sizeof why, "%s", dram_error_text());
    dram_error_clear(); /* the report looks for files that need not be there */
    dram_status reported = report(sweep, a->json);
    if (status == DRAM_OK) return reported;
    dram_error_clear();
    return dram_fail(status, "%s", why);
}

dram_status dram_command_sweep(int argc, char **argv)
{
    asked a = {0};
    dram_words words;
    dram_sweep sweep;
    TRY(read_words(argc, argv, &a, &words));
    if (a.help) return DRAM_OK;
    const char *word = words.words[0];
    const bool folder = is_folder(word);
    if (folder && (!a.report || words.n_overrides))
        return dram_fail(DRAM_ERR_CONFIG,
                         "sweep: %s is a folder, which is for --report, without key=value: give the "
                         "file or config that the sweep was made of",
                         word);
    if (folder)
        TRY(dram_sweep_load(word, &sweep));
    else
        TRY(dram_sweep_read(word, words.overrides, words.n_overrides, &sweep));
    a.run.stop = dram_catch_signals();
    dram_status status;
    if (a.plan)
        status = plan_only(&sweep, &a);
    else if (a.report && !dram_sweep_is_there(&sweep))
        status = dram_fail(DRAM_ERR_CONFIG, "%s: this sweep has not begun: there is no plan.json", sweep.directory);
    else if (a.report)
        status = dram_sweep_open(&sweep, NULL);
    else
        status = run(&sweep, &a);
    if (a.report && status == DRAM_OK) status = report(&sweep, a.json);
    dram_sweep_free(&sweep);
    return status;
}
