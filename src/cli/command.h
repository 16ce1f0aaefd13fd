/* command: the subcommands of `dram` and what they share. Only this layer prints and exits. */
#ifndef DRAM_CLI_COMMAND_H
#define DRAM_CLI_COMMAND_H

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>

#include "session/session.h"

/* An option of a command: a switch, one that takes a value (--dump FILE), or a switch that may have one (--resume,
 * --resume=STEP). */
typedef struct {
    const char *name;  /* "--json" */
    const char *value; /* what it takes, for the usage: "FILE"; NULL: a switch */
    const char *help;
    bool *given;       /* set for a switch; NULL: it is none */
    const char **text; /* set for a value */
} dram_option;

/* What a command line held besides options: the first words, then key=value overrides. */
enum { DRAM_MAX_WORDS = 4096 }; /* a shell may have listed a folder */
typedef struct {
    const char *words[DRAM_MAX_WORDS];
    int n_words;
    const char *overrides[DRAM_MAX_WORDS];
    int n_overrides;
} dram_words;

typedef struct {
    const char *name;
    const char *usage;   /* "CONFIG [key=value ...] [options]" */
    const char *summary; /* one line */
    dram_status (*run)(int argc, char **argv);
} dram_command;

extern const dram_command dram_commands[];
extern const int dram_commands_count;

/* Splits argv[0..argc) (what follows the command's name). --help prints the usage of `command` and sets *help.
 * DRAM_ERR_CONFIG for an unknown option, a missing value, or another number of words than `words`. */
dram_status dram_parse(const char *command, int argc, char **argv, const dram_option *options, int n_options, int words,
                       dram_words *out, bool *help);

/* The same for a command that takes paths behind its config: `words` words or more, overrides anywhere behind the
 * first. A word with a slash before its "=" is a path. */
dram_status dram_parse_paths(const char *command, int argc, char **argv, const dram_option *options, int n_options,
                             int words, dram_words *out, bool *help);

/* Prints the page of a session's plan (report/plan_text.h). */
dram_status dram_print_page(const dram_session *session, FILE *out);

/* Prints a JSON tree (NULL: memory was out) and a newline on standard output, and frees it. */
dram_status dram_print_json(cJSON *tree);

/* The same for the value at `key`: a dot goes into an object, or to the object of that "name" in a list; text is
 * printed without its quotes. DRAM_ERR_CONFIG for a key that is not there names those of its level. */
dram_status dram_print_value(cJSON *tree, const char *key);

/* Writes text to a file for the user; the error names the file. */
dram_status dram_write_text(const char *path, const char *text);

/* From now on SIGINT, SIGTERM, SIGUSR1 and, unless it is ignored, SIGHUP set this, which is returned. One that comes
 * more than a second after the first ends the program. */
const volatile sig_atomic_t *dram_catch_signals(void);

dram_status dram_command_check(int argc, char **argv);
dram_status dram_command_train(int argc, char **argv);
dram_status dram_command_plan(int argc, char **argv);
dram_status dram_command_eval(int argc, char **argv);
dram_status dram_command_features(int argc, char **argv);
dram_status dram_command_export(int argc, char **argv);
dram_status dram_command_report(int argc, char **argv);
dram_status dram_command_synth(int argc, char **argv);
dram_status dram_command_config(int argc, char **argv);
dram_status dram_command_sweep(int argc, char **argv);
dram_status dram_command_doctor(int argc, char **argv);

#endif
