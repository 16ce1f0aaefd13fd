/* child: a process that makes a run: `dram train RUN/config.yaml --continue`, below mpirun where it is one of several
 * ranks. Its output goes to RUN/log.txt. */
#ifndef DRAM_LAUNCH_CHILD_H
#define DRAM_LAUNCH_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"
#include "base/str.h"

typedef struct {
    const char *directory; /* the run's, with config.yaml in it */
    int64_t stop_at;       /* train.stop_at=N on its command line; below 0: as its config says */
    int ranks;
    const char *cards; /* "0,2": the GPUs that it sees; NULL: as this process */
    int claim;         /* the open claim, which it holds as well */
} dram_child_order;

typedef struct {
    pid_t pid;     /* 0: none */
    bool by_ranks; /* it is mpirun */
    int64_t log;   /* bytes of log.txt that were there before */
} dram_child;

/* Starts it, in a process group of its own: a Ctrl-C of the terminal is for the sweep, which passes it on. */
dram_status dram_child_start(const dram_child_order *order, dram_child *child);

/* Asks it to save and to end. */
void dram_child_stop(const dram_child *child);

/* Whether it has ended, without waiting. *code: its exit code, 128 + N where signal N ended it. */
bool dram_child_ended(const dram_child *child, int *code);

/* The last line that it wrote to log.txt, or what ended it. */
void dram_child_last_words(const char *directory, const dram_child *child, int code, dram_str *text);

/* DRAM_ERR_CONFIG, with words, where a run of several ranks cannot be started here. */
dram_status dram_child_check_ranks(int ranks);

/* Runs this program with these words, waits, and reads what it printed on standard output (at most 1 MiB). */
dram_status dram_child_ask(const char *const *words, const char *cards, dram_str *out, int *code);

#endif
