/* drive: what all trials share. A trial makes a folder with scenes and a config, runs the dram program in it while
 * something goes wrong, runs it again to its end, and holds what is there against a run to which nothing happened.
 *
 * The work folder has `bases/NAME` (a folder that trials start from), `whole/NAME` (what a run makes of it that nothing
 * happened to), `trial` (where a trial runs), and `failed-N` (the folder of one that failed). */
#ifndef DRAM_TESTS_FAULTS_DRIVE_H
#define DRAM_TESTS_FAULTS_DRIVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "faults/shim.h"

enum { PATH_ROOM = 1024, ARGS_ROOM = 1024, TEXT_ROOM = 16384 };

extern const char *drive_work; /* the work folder, an absolute path */
extern fault_order *drive_order;

/* ---- trials ---- */

typedef enum { PASSED, FAILED } verdict;

/* Says which trial this is and what went wrong, and keeps its folder. Returns FAILED. */
__attribute__((format(printf, 1, 2))) verdict complain(const char *format, ...);

/* Describes the trial that runs now, for complain: trial_text. */
extern char trial_text[1024];
__attribute__((format(printf, 1, 2))) void describe(const char *format, ...);

/* Prints a line of the log. */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);

/* Runs trials [0..n) of a mode that has not been run before in this work folder; the seed of one that was begun is taken
 * from there. Returns how many failed, all that were run in the folder together. */
int run_trials(const char *mode, int n, unsigned long seed, verdict (*trial)(unsigned long seed, int i));

/* Ends the program: the work folder, or dram, is not as it must be for any trial. */
__attribute__((format(printf, 1, 2), noreturn)) void give_up(const char *format, ...);

/* ---- processes ---- */

typedef struct {
    int code;                            /* its exit code; -1: a signal ended it */
    int signal;                          /* that one */
    bool hung;                           /* it was ended after a time in which it should have been done many times */
    double seconds, cpu;                 /* that passed, and of the processor's */
    char out[TEXT_ROOM], err[TEXT_ROOM]; /* what it said, cut */
} outcome;

/* Starts `dram ARGS` (one space between words) in a folder below the work folder; `faulty`: with the shim, and
 * *drive_order. `slot` (0, 1) tells two that run side by side apart. */
pid_t start_dram(const char *folder, const char *args, bool faulty, int slot);

/* Seconds of the processor that it has taken so far. */
double cpu_of(pid_t child);

/* Waits for its end. */
void finish_dram(pid_t child, double begin, int slot, outcome *o);

/* Both. */
void run_dram(const char *folder, const char *args, bool faulty, outcome *o);

/* An order to count alone, or to do something to some calls, of what is below `folder`. */
void order_count(const char *folder);
void order_fault(const char *folder, fault_call call, int from, int until, fault_effect effect, int error);

void sleep_seconds(double seconds);

/* The last line of a text, without its newline, which goes. */
const char *last_line(char *text);

/* ---- folders ---- */

/* Path of a name below the work folder; four may be held at a time. */
__attribute__((format(printf, 1, 2))) const char *in_work(const char *format, ...);

bool is_there(const char *path);

/* Puts a copy of one folder of the work folder where there may be another. */
void copy_folder(const char *from, const char *to);
void remove_folder(const char *folder);
void remove_work(void);

/* What a base is: `dram synth` with so many scenes to train on and held out, run.yaml, and the weights of the teacher that
 * is in the repository, for teacher and student: drawing random ones would take half of the time. */
void make_base(const char *name, int scenes, int held);

/* Makes whole/NAME, if it is not there, from a folder by `dram ARGS`, which must succeed. *o: code, seconds and what was
 * said of that run, now or when it was made. */
void make_whole(const char *name, const char *from, const char *args, outcome *o);

/* Makes the folder NAME, if it is not there: a run that was killed as it had written so many lines of metrics. */
void make_stopped(const char *name, const char *base, const char *args, int lines);

/* The `dram train` that goes on with the run of `trial` that `args` began: with --resume if it has a checkpoint, and with
 * `again` where its folder is there. */
void next_args(const char *args, bool again, char next[ARGS_ROOM]);

/* Steps of the newest checkpoint of a run, -1: none. */
int newest_checkpoint(const char *run);

/* Whether a temporary of dram's is in a folder. */
bool has_temporary(const char *folder);

/* Lines of a file; 0 where there is none. */
int lines_of(const char *path);

/* Holds a folder against another: each file of either is in both, with the same bytes; of files that depend on the clock
 * or on an order of processes, what does not. Returns NULL, or what differs. */
const char *compare_folders(const char *whole, const char *trial);

#endif
