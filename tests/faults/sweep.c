/* One call fails, is cut short or is the last: what is said, what is left, and what the next start makes of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "faults/drive.h"
#include "faults/modes.h"

#define CACHED "run.yaml sam_distill.cache=cache data.augment.crop=false data.augment.color_jitter=0"

#define EXPORTED "exported"

/* A command, where it starts from, and what its folder is in the end. */
typedef struct {
    const char *name, *from, *args;
    bool trains;
    const char *whole; /* where not its own name */
} scenario;

static const scenario scenarios[] = {
    {"train", "bases/few", "train " CACHED, true, "train"},
    {"resume", "bases/stopped", "train " CACHED " --resume", true, "train"},
    {"begin again", "bases/begun", "train " CACHED, true, "train"},
    {"eval", "whole/train", "eval " CACHED " --weights runs/net/student.safetensors --save-predictions pictures", false,
     "eval"},
    {"export", "whole/train", "export runs/net --timm " EXPORTED, false, "export"},
};
enum {
    SCENARIOS = sizeof scenarios / sizeof scenarios[0],
    EVERY = 100,
    SOME = 40,
    SWEEPS = SCENARIOS * FAULT_CALLS_COUNT
};

typedef struct {
    fault_call call;
    fault_effect effect;
    int error;
    bool stays;    /* from the k-th call on, not that one alone */
    bool harmless; /* nothing may come of it, and nothing is said */
} fault;

static const fault faults[] = {
    {FAULT_OPEN, FAULT_FAIL, EACCES, false, false},   {FAULT_OPEN, FAULT_FAIL, EMFILE, true, false},
    {FAULT_OPEN, FAULT_FAIL, EIO, false, false},      {FAULT_OPEN, FAULT_KILL, 0, false, false},
    {FAULT_READ, FAULT_FAIL, EIO, false, false},      {FAULT_READ, FAULT_FAIL, EINTR, false, true},
    {FAULT_READ, FAULT_CUT, 0, false, true},          {FAULT_READDIR, FAULT_FAIL, EIO, false, false},
    {FAULT_READDIR, FAULT_FAIL, ENOMEM, true, false}, {FAULT_STAT, FAULT_FAIL, EACCES, false, false},
    {FAULT_STAT, FAULT_FAIL, EIO, false, false},      {FAULT_STAT, FAULT_FAIL, ENOMEM, true, false},
    {FAULT_WRITE, FAULT_FAIL, ENOSPC, true, false},   {FAULT_WRITE, FAULT_FAIL, EIO, false, false},
    {FAULT_WRITE, FAULT_FAIL, EINTR, false, true},    {FAULT_WRITE, FAULT_CUT, 0, false, true},
    {FAULT_WRITE, FAULT_KILL, 0, false, false},       {FAULT_SYNC, FAULT_FAIL, EIO, false, false},
    {FAULT_SYNC, FAULT_FAIL, ENOSPC, true, false},    {FAULT_SYNC, FAULT_KILL, 0, false, false},
    {FAULT_CLOSE, FAULT_FAIL, EIO, false, false},     {FAULT_RENAME, FAULT_FAIL, EIO, false, false},
    {FAULT_RENAME, FAULT_FAIL, ENOSPC, true, false},  {FAULT_RENAME, FAULT_FAIL, EACCES, false, false},
    {FAULT_RENAME, FAULT_KILL, 0, false, false},      {FAULT_RENAME, FAULT_KILL_AFTER, 0, false, false},
    {FAULT_UNLINK, FAULT_FAIL, EACCES, true, false},  {FAULT_UNLINK, FAULT_FAIL, EIO, false, false},
    {FAULT_UNLINK, FAULT_KILL, 0, false, false},      {FAULT_UNLINK, FAULT_KILL_AFTER, 0, false, false},
    {FAULT_LOCK, FAULT_FAIL, EINTR, false, true},     {FAULT_LOCK, FAULT_FAIL, EIO, false, false},
    {FAULT_LOCK, FAULT_FAIL, ENOLCK, true, false},    {FAULT_LOCK, FAULT_KILL_AFTER, 0, false, false},
    {FAULT_MKDIR, FAULT_FAIL, ENOSPC, true, false},   {FAULT_MKDIR, FAULT_FAIL, EACCES, false, false},
    {FAULT_MKDIR, FAULT_KILL, 0, false, false},       {FAULT_MKDIR, FAULT_KILL_AFTER, 0, false, false},
};
enum { FAULTS = sizeof faults / sizeof faults[0] };

static const char *const call_names[] = {
#define X(KIND, NAME) NAME,
    FAULT_CALLS(X)
#undef X
};

/* What each command is when nothing happens, and how many calls of each kind it makes. */
static struct {
    outcome quiet;
    int calls[FAULT_CALLS_COUNT];
} known[SCENARIOS];

static int counts[4]; /* of faults that were met: survived in silence, survived and said, ended the run, killed it */

static void prepare(void)
{
    make_base("few", 4, 2);
    make_whole("train", "bases/few", scenarios[0].args, &known[0].quiet);
    make_stopped("bases/stopped", "bases/few", scenarios[0].args, 3);
    make_stopped("bases/begun", "bases/few", scenarios[0].args, 1);
    for (int i = 0; i < SCENARIOS; i++) {
        const scenario *s = &scenarios[i];
        if (!s->trains) make_whole(s->name, s->from, s->args, &known[i].quiet);
        copy_folder(s->from, "trial");
        order_count("trial");
        run_dram("trial", s->args, true, &known[i].quiet);
        if (known[i].quiet.code != 0) give_up("dram %s: %s", s->args, known[i].quiet.err);
        for (int k = 0; k < FAULT_CALLS_COUNT; k++) known[i].calls[k] = atomic_load(&drive_order->counted[k]);
        const char *differs = compare_folders(in_work("whole/%s", s->whole), in_work("trial"));
        if (differs) give_up("%s, with the shim: %s", s->name, differs);
    }
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

/* What a command printed after what the data is, which tells how much of it had to be looked at again. */
static const char *results_of(const outcome *o)
{
    const char *at = strstr(o->out, " looked at ");
    return at ? strchrnul(at, '\n') : o->out;
}

/* What a run says that a call failed in, or NULL if that is as it should be. */
static const char *judge(const fault *f, const scenario *s, const outcome *o, const outcome *quiet)
{
    static char text[256];
    int errors = strncmp(o->err, "dram: ", 6) == 0;
    for (const char *at = o->err; (at = strstr(at, "\ndram: ")); at++) errors++;
    if (o->hung) return "it hangs";
    if (f->effect == FAULT_KILL || f->effect == FAULT_KILL_AFTER) return o->signal == 9 ? NULL : "it was not killed";
    snprintf(text, sizeof text, "signal %d, exit code %d, %d error lines", o->signal, o->code, errors);
    if (o->code < 0 || o->code > 2) return text;
    if ((o->code != 0) != (errors == 1)) return text;
    if (f->harmless && (o->code != 0 || count_lines(o->err) != count_lines(quiet->err))) return text;
    if (!s->trains && o->code == 0 && strcmp(results_of(o), results_of(quiet)) != 0) return "another result";
    return NULL;
}

/* An export replaces nothing: the user takes it away, and a folder of its name is whole. What a killed one left under
 * another name is the next one's to remove. */
static const char *take_export_away(void)
{
    static const char *const files[] = {"README.md", "config.json", "model.safetensors"};
    if (!is_there(in_work("trial/" EXPORTED))) return NULL;
    for (int i = 0; i < 3; i++)
        if (!is_there(in_work("trial/" EXPORTED "/%s", files[i]))) return "half an export is there";
    remove_folder("trial/" EXPORTED);
    return NULL;
}

/* The next start reaches what a run reaches that nothing happened to. */
static verdict go_on(const scenario *s, int k)
{
    char args[ARGS_ROOM];
    outcome o;
    const char *half = strcmp(s->name, "export") == 0 ? take_export_away() : NULL;
    if (half) return complain("%s", half);
    if (s->trains)
        next_args(s->args, k % 2, args);
    else
        snprintf(args, sizeof args, "%s", s->args);
    run_dram("trial", args, false, &o);
    if (o.code != 0 || o.hung) return complain("afterwards, exit code %d: %s", o.code, last_line(o.err));
    const char *differs = compare_folders(in_work("whole/%s", s->whole), in_work("trial"));
    /* A line that could not be written is said, and its step is saved. */
    if (differs && strstr(differs, "metrics.jsonl differs") && strstr(drive_order->path, "metrics.jsonl"))
        return PASSED;
    /* A config that could not be read is not taken for the one that is in force, which is written beside it. */
    if (differs && strstr(differs, "config.step-") && strstr(drive_order->path, "/config.yaml")) return PASSED;
    return differs ? complain("afterwards: %s", differs) : PASSED;
}

/* What was said of each fault that was met, for a reader: messages.txt of the work folder. */
static void keep_words(const char *words)
{
    FILE *file = fopen(in_work("messages.txt"), "a");
    if (file) fprintf(file, "%s: %s\n", trial_text, words);
    if (file) fclose(file);
}

/* One fault at the k-th call. *met: the command makes so many. */
static verdict try_one(int scenario_at, const fault *f, int k, bool *met)
{
    const scenario *s = &scenarios[scenario_at];
    const outcome *quiet = &known[scenario_at].quiet;
    outcome o;
    copy_folder(s->from, "trial");
    order_fault("trial", f->call, k, f->stays ? 1 << 30 : k, f->effect, f->error);
    int before = newest_checkpoint(in_work("trial/runs/net"));
    run_dram("trial", s->args, true, &o);
    *met = atomic_load(&drive_order->met) > 0;
    describe("%s, %s %d%s, %s of %s", s->name, call_names[f->call], k, f->stays ? " and all after it" : "",
             f->effect == FAULT_FAIL  ? strerror(f->error)
             : f->effect == FAULT_CUT ? "half"
                                      : "the last",
             drive_order->path);
    if (!*met) return o.code == 0 ? PASSED : complain("exit code %d: %s", o.code, last_line(o.err));
    const char *wrong = judge(f, s, &o, quiet);
    bool said = count_lines(o.err) > count_lines(quiet->err);
    counts[o.code < 0 ? 3 : o.code > 0 ? 2 : said]++;
    if (wrong) return complain("%s: %s", wrong, last_line(o.err));
    if (newest_checkpoint(in_work("trial/runs/net")) < before) return complain("a checkpoint is gone");
    const char *expected = o.code == 0 ? in_work("whole/%s", s->whole) : in_work("%s", s->from);
    const char *differs = compare_folders(expected, in_work("trial"));
    if (o.code == 0 && differs && !said) return complain("in silence: %s", differs);
    keep_words(said || o.code > 0 ? last_line(o.err) : "");
    return differs ? go_on(s, k) : PASSED; /* all is done, or as it was before */
}

/* A fault of a kind of calls: the i-th of them, over and over. */
static const fault *fault_of(fault_call call, int i)
{
    for (int at = 0;; at = (at + 1) % FAULTS)
        if (faults[at].call == call && i-- == 0) return &faults[at];
}

static verdict one_of_each(unsigned long seed, int i)
{
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_TEST, (uint64_t)i);
    const fault_call call = (fault_call)(i % FAULT_CALLS_COUNT);
    bool met;
    int at = (int)dram_rng_below(&rng, SCENARIOS);
    while (known[at].calls[call] == 0) at = (at + 1) % SCENARIOS;
    int k = 1 + (int)dram_rng_below(&rng, (uint64_t)known[at].calls[call]);
    return try_one(at, fault_of(call, (int)dram_rng_below(&rng, FAULTS)), k, &met);
}

/* Which command and which kind of calls is the i-th sweep's. */
static int draw(unsigned long seed, int i)
{
    int order[SWEEPS];
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_TEST, 1 << 20);
    for (int k = 0; k < SWEEPS; k++) {
        int other = (int)dram_rng_below(&rng, (uint64_t)k + 1);
        order[k] = order[other];
        order[other] = k;
    }
    return order[i];
}

/* Every call of the first hundred, and some of those after them to the last, with one fault after another of those that
 * the kind has; the next time round each has another. */
static verdict sweep(unsigned long seed, int i)
{
    verdict v = PASSED;
    bool met = true;
    int drawn = draw(seed, i % SWEEPS), at = drawn / FAULT_CALLS_COUNT, tried = 0;
    const fault_call call = (fault_call)(drawn % FAULT_CALLS_COUNT);
    int calls = known[at].calls[call], step = calls > EVERY + SOME ? (calls - EVERY + SOME - 1) / SOME : 1;
    for (int k = 1; met && k <= calls; k += k < EVERY ? 1 : step, tried++)
        if (try_one(at, fault_of(call, i / SWEEPS + k), k, &met) == FAILED) v = FAILED;
    note("%s, %s: %d of %d calls", scenarios[at].name, call_names[call], tried, calls);
    return v;
}

static int tell(int failed)
{
    note(
        "of the faults that were met, %d were survived in silence, %d were survived and said, %d ended the command, %d "
        "killed it",
        counts[0], counts[1], counts[2], counts[3]);
    return failed;
}

int try_calls(int n, unsigned long seed)
{
    prepare();
    return tell(run_trials("calls", n, seed, one_of_each));
}

int try_sweeps(int n, unsigned long seed)
{
    prepare();
    return tell(run_trials("sweeps", n, seed, sweep));
}
