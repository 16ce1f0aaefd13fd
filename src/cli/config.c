/* dram config: prints the resolved config, the schema that editors use, or the table of all keys. */
#include <stdio.h>

#include "cli/command.h"

/* Prints what `write` adds to a text. */
static dram_status print_text(dram_status status, dram_str *text)
{
    if (status == DRAM_OK) fputs(text->text, stdout);
    dram_str_free(text);
    return status;
}

dram_status dram_command_config(int argc, char **argv)
{
    bool schema = false, keys = false, help;
    const dram_option options[] = {
        {"--schema", NULL, "print the JSON schema of config files instead", &schema, NULL},
        {"--keys", NULL, "print all keys as a Markdown table instead", &keys, NULL},
    };
    dram_words words;
    dram_config *cfg;
    dram_str text = {0};
    for (int i = 0; i < argc; i++) /* these two need no CONFIG */
        if (argv[i][0] == '-') {
            TRY(dram_parse("config", 1, &argv[i], options, 2, 0, &words, &help));
            if (help) return DRAM_OK;
        }
    if (schema) return print_text(dram_config_schema(&text), &text);
    if (keys) return print_text(dram_config_markdown(&text), &text);
    TRY(dram_parse("config", argc, argv, options, 2, 1, &words, &help));
    if (help) return DRAM_OK;
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_status status = print_text(dram_config_write_yaml(cfg, &text), &text);
    dram_config_free(cfg);
    return status;
}
