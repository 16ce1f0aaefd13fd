/* Two processes at once: in one run, where one is refused and the other is whole, and on one cache, where both are. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "faults/drive.h"
#include "faults/modes.h"

#define RUN "train run.yaml"
#define CACHED " sam_distill.cache=cache data.augment.crop=false data.augment.color_jitter=0"

/* Two commands and where they begin. Of `second`, NULL: the first again. `whole[k]`: what the folder is if command k was
 * the one that ran. */
typedef struct {
    const char *name, *from, *first, *second, *whole[2];
} setting;

static const setting settings[] = {
    {"both begin", "bases/few", RUN, NULL, {"alone", "alone"}},
    {"both begin, one with another rate", "bases/few", RUN, RUN " optim.lr=5.0e-4", {"alone", "other"}},
    {"both go on", "bases/half", RUN " --resume", NULL, {"alone", "alone"}},
    {"one begins, one goes on", "bases/few", RUN, RUN " --resume", {"alone", "alone"}},
    {"one goes on, one begins", "bases/half", RUN " --resume", RUN, {"alone", "alone"}},
    {"both on one cache", "bases/few", RUN CACHED, RUN CACHED " name=other", {"both", "both"}},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

static double seconds; /* that a run takes */
static int refused;

static void prepare(void)
{
    outcome o;
    make_base("few", 4, 2);
    make_whole("alone", "bases/few", RUN, &o);
    seconds = o.seconds;
    make_whole("other", "bases/few", RUN " optim.lr=5.0e-4", &o);
    make_whole("one", "bases/few", RUN CACHED, &o);
    make_whole("both", "whole/one", RUN CACHED " name=other", &o);
    make_stopped("bases/half", "bases/few", RUN, 3);
}

static bool is_refused(outcome *o)
{
    return o->code == 2 && (strstr(o->err, "is training in this run") || strstr(o->err, "this run exists already") ||
                            strstr(o->err, "there is no run to resume"));
}

static verdict judge(const setting *s, outcome o[2])
{
    bool two = strcmp(s->whole[0], "both") == 0;
    int done = (o[0].code == 0) + (o[1].code == 0);
    for (int k = 0; k < 2; k++)
        if (o[k].hung || (o[k].code != 0 && (two || !is_refused(&o[k]))))
            return complain("of process %d, exit code %d: %s", k, o[k].code, last_line(o[k].err));
    if (done == 0) return complain("none of the two ran: %s", last_line(o[0].err));
    refused += 2 - done;
    const char *differs = compare_folders(in_work("whole/%s", s->whole[o[0].code != 0]), in_work("trial"));
    return differs ? complain("%s", differs) : PASSED;
}

/* The second starts while the first runs, at any moment of it, or both at once. */
static verdict try_pair(unsigned long seed, int i)
{
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_TEST, (uint64_t)i);
    const setting *s = &settings[i % SETTINGS];
    outcome o[2];
    double delay = dram_rng_below(&rng, 4) ? dram_rng_range(&rng, 0, 0.8 * seconds) : 0, begin = dram_clock();
    int first = (int)dram_rng_below(&rng, 2);
    const char *const args[2] = {s->first, s->second ? s->second : s->first};
    pid_t child[2];
    describe("%d (%s, command %d first by %.3f s)", i, s->name, first, delay);
    copy_folder(s->from, "trial");
    child[first] = start_dram("trial", args[first], false, first);
    sleep_seconds(delay);
    child[!first] = start_dram("trial", args[!first], false, !first);
    for (int k = 0; k < 2; k++) finish_dram(child[k], begin, k, &o[k]);
    return judge(s, o);
}

int try_pairs(int n, unsigned long seed)
{
    prepare();
    int failed = run_trials("pairs", n, seed, try_pair);
    note("  %d processes were refused", refused);
    return failed;
}
