/* dram report: a run, several runs or a sweep as one page for a browser. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/command.h"
#include "io/atomic.h"
#include "io/path.h"
#include "page/page.h"

static dram_status save(const char *path, const dram_str *text)
{
    char shown[4096], bytes[32];
    TRY(dram_atomic_save(path, text->text, text->length));
    printf("%s, %s\n", dram_visible(path, shown, sizeof shown),
           dram_format_bytes((int64_t)text->length, bytes, sizeof bytes));
    return DRAM_OK;
}

static dram_status write_page(const dram_words *words, const char *output)
{
    dram_str page = {0};
    char *path = NULL;
    dram_status status;
    if (words->n_words == 1) {
        TRY(dram_path_join(words->words[0], "report.html", &path));
        status = dram_page_run(words->words[0], &page);
    } else {
        status = dram_page_runs(words->words, words->n_words, &page);
    }
    if (status == DRAM_OK) status = save(output ? output : path ? path : "report.html", &page);
    dram_str_free(&page);
    dram_free(path);
    return status;
}

dram_status dram_command_report(int argc, char **argv)
{
    bool help;
    const char *output = NULL;
    const dram_option options[] = {
        {"--output", "FILE", "where the page goes; DIR/report.html, of several runs report.html here", NULL, &output},
    };
    dram_words words;
    TRY(dram_parse_paths("report", argc, argv, options, 1, 1, &words, &help));
    if (help) return DRAM_OK;
    if (words.n_overrides)
        return dram_fail(DRAM_ERR_CONFIG, "report: what is \"%s\"? It takes folders: ./%s", words.overrides[0],
                         words.overrides[0]);
    return write_page(&words, output);
}
