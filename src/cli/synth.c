/* dram synth: writes synthetic scenes with labels. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/command.h"
#include "synth/synth.h"

static dram_status read_number(const char *option, const char *text, long long low, long long high, long long *value)
{
    char *end;
    if (!text) return dram_fail(DRAM_ERR_CONFIG, "synth: %s is missing; see `dram synth --help`", option);
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && *value >= low && *value <= high) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "synth: %s is %s, but must be a whole number from %lld to %lld", option, text,
                     low, high);
}

static dram_status read_style(const char *text, dram_synth_style *style)
{
    char names[80] = "";
    for (int i = 0; i < DRAM_SYNTH_STYLES; i++) {
        const char *name = dram_synth_style_name((dram_synth_style)i);
        *style = (dram_synth_style)i;
        if (strcmp(text, name) == 0) return DRAM_OK;
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", name);
    }
    return dram_fail(DRAM_ERR_CONFIG, "synth: --style is %s, but must be one of %s", text, names);
}

dram_status dram_command_synth(int argc, char **argv)
{
    bool help;
    const char *count_text = NULL, *seed_text = "1", *style_text = "plain";
    long long count, seed;
    dram_synth_style style;
    const dram_option options[] = {
        {"--count", "N", "scenes to write", NULL, &count_text},
        {"--seed", "S", "another seed draws other scenes (1)", NULL, &seed_text},
        {"--style", "NAME", "plain, varied or dusk: the look of the scenes (plain)", NULL, &style_text},
    };
    dram_words words;
    char folder[PATH_MAX];
    TRY(dram_parse("synth", argc, argv, options, 3, 1, &words, &help));
    if (help) return DRAM_OK;
    TRY(read_number("--count", count_text, 1, 99999, &count));
    TRY(read_number("--seed", seed_text, 0, INT64_MAX, &seed));
    TRY(read_style(style_text, &style));
    TRY(dram_synth_write(words.words[0], (int)count, style, (uint64_t)seed, DRAM_SYNTH_HEIGHT, DRAM_SYNTH_WIDTH));
    dram_visible(words.words[0], folder, sizeof folder);
    printf("%lld scenes of %d classes in %s/images and %s/labels\n", count, DRAM_SYNTH_CLASSES, folder, folder);
    return DRAM_OK;
}
