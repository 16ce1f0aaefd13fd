/* dram report: a run, several runs or a sweep as one page for a browser. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"
#include "cli/command.h"
#include "io/atomic.h"
#include "io/path.h"
#include "page/history.h"
#include "page/page.h"

static bool is_sweep(const char *folder)
{
    return dram_path_has(folder, "plan.json") && !dram_history_is_run(folder);
}

/* What a folder holds that is neither a run's nor a sweep's: the runs in it, by the names of the first; "": others. */
static void say_content(const char *folder, dram_str *text)
{
    enum { NAMED = 3 };
    const struct dirent *entry;
    int n = 0, runs = 0;
    DIR *dir = opendir(folder);
    while (dir && (entry = dram_folder_next(dir)) != NULL) {
        char *path;
        if (entry->d_name[0] == '.' || dram_path_join(folder, entry->d_name, &path) != DRAM_OK) continue;
        n++;
        if (dram_history_is_run(path) && runs++ < NAMED)
            dram_str_add(text, "%s%s", runs > 1 ? ", " : "; runs in it: ", path);
        dram_free(path);
    }
    if (dir) closedir(dir);
    dram_error_clear();
    if (runs > NAMED) dram_str_add(text, " and %d more", runs - NAMED);
    if (dir && n == 0) dram_str_add(text, "; it is empty");
}

/* Refuses what is no folder of dram's before anything is read. */
static dram_status check_folder(const char *path)
{
    struct stat info;
    bool there;
    const char *why = dram_file_look(AT_FDCWD, path, &info, &there);
    if (why) return dram_fail(DRAM_ERR_CONFIG, "report: %s: %s", path, why);
    if (!there) return dram_fail(DRAM_ERR_CONFIG, "report: %s: there is no such folder", path);
    if (!S_ISDIR(info.st_mode)) return dram_fail(DRAM_ERR_CONFIG, "report: %s: a file, not the folder of a run", path);
    if (dram_history_is_run(path) || is_sweep(path)) return DRAM_OK;
    if (dram_history_is_checkpoint(path))
        return dram_fail(DRAM_ERR_CONFIG, "report: %s: a checkpoint; name the folder of its run", path);
    dram_str text = {0};
    say_content(path, &text);
    dram_status status =
        dram_fail(DRAM_ERR_CONFIG, "report: %s: neither a run's folder (config.yaml) nor a sweep's (plan.json)%s", path,
                  text.text ? text.text : "");
    dram_str_free(&text);
    return status;
}

static void say_written(const char *path, size_t bytes, int notes)
{
    char shown[4096], size[32];
    printf("%s, %s", dram_visible(path, shown, sizeof shown), dram_format_bytes((int64_t)bytes, size, sizeof size));
    if (notes) printf(", %d %s of what is odd or left out", notes, notes == 1 ? "note" : "notes");
    printf("\n");
}

/* The tables and pareto.svg beside the page are written again too. */
static dram_status write_sweep(const char *folder, const char *output)
{
    dram_sweep sweep;
    dram_sweep_results results = {0};
    TRY(dram_sweep_load(folder, &sweep));
    dram_status status = dram_sweep_collect(&sweep, &results);
    if (status == DRAM_OK) {
        status = dram_sweep_write_csv(&sweep, &results);
        if (status == DRAM_OK) status = dram_page_sweep_save(&sweep, &results, output);
        dram_sweep_results_free(&sweep, &results);
    }
    dram_sweep_free(&sweep);
    return status;
}

static dram_status write_runs(const dram_words *words, const char *output, int *notes)
{
    dram_str page = {0};
    dram_status status = words->n_words == 1 ? dram_page_run(words->words[0], &page, notes)
                                             : dram_page_runs(words->words, words->n_words, &page, notes);
    if (status == DRAM_OK) status = dram_atomic_save(output, page.text, page.length);
    dram_str_free(&page);
    return status;
}

static dram_status write_page(const dram_words *words, const char *output)
{
    struct stat info;
    char *own = NULL;
    int notes = 0;
    bool sweep = is_sweep(words->words[0]);
    for (int i = 0; i < words->n_words; i++) {
        TRY(check_folder(words->words[i]));
        if (words->n_words > 1 && is_sweep(words->words[i]))
            return dram_fail(DRAM_ERR_CONFIG, "report: %s: a sweep has a page of its own; give it alone",
                             words->words[i]);
    }
    if (!output && words->n_words == 1) TRY(dram_path_join(words->words[0], "report.html", &own));
    const char *path = output ? output : own ? own : "report.html";
    dram_remove_leftovers_beside(path);
    dram_status status = sweep ? write_sweep(words->words[0], path) : write_runs(words, path, &notes);
    if (status == DRAM_OK) say_written(path, stat(path, &info) == 0 ? (size_t)info.st_size : 0, notes);
    dram_free(own);
    return status;
}

dram_status dram_command_report(int argc, char **argv)
{
    bool help;
    const char *output = NULL;
    const dram_option options[] = {
        {"--output", "FILE", "where the page goes; else DIR/report.html, of several runs report.html here", NULL,
         &output},
    };
    dram_words words;
    TRY(dram_parse_paths("report", argc, argv, options, 1, 1, &words, &help));
    if (help) return DRAM_OK;
    if (words.n_overrides)
        return dram_fail(DRAM_ERR_CONFIG, "report: what is \"%s\"? It takes folders: ./%s", words.overrides[0],
                         words.overrides[0]);
    return write_page(&words, output);
}
