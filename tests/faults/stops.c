/* SIGTERM at random moments: what was done is saved at once, and goes on to the same bits. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "faults/drive.h"
#include "faults/modes.h"

/* Most of the time of such runs goes into filling a cache, and into evaluations. */
static const char *const variants[] = {
    "train run.yaml sam_distill.cache=cache data.augment.crop=false data.augment.color_jitter=0 run.save_every=4",
    "train run.yaml run.save_every=4",
    "train run.yaml train.precision=fp16 run.save_every=4 data.check=none",
};
enum { VARIANTS = sizeof variants / sizeof variants[0], TIMED = 10 };
static const double LATE = 0.1; /* of a run: one evaluation is four times as long */

static double seconds[VARIANTS]; /* that a whole run takes */
static double cpu[VARIANTS];     /* and of the processor's, which other programs do not lengthen */
static double latest;            /* of these, from a signal to the end */
static int stopped, done, before;
static bool timed;    /* whether one that comes late has failed */
static char base[32]; /* folder that trials start from */

static void prepare(int held, int variants_used)
{
    outcome o;
    char name[20];
    snprintf(name, sizeof name, "held-%d", held);
    make_base(name, 4, held);
    snprintf(base, sizeof base, "bases/%s", name);
    for (int i = 0; i < variants_used; i++) {
        snprintf(name, sizeof name, "stopped-%d", i);
        make_whole(name, base, variants[i], &o);
        seconds[i] = o.seconds;
        cpu[i] = o.cpu;
    }
}

static verdict judge(outcome *o, double late)
{
    int steps = lines_of(in_work("trial/runs/net/metrics.jsonl"));
    int saved = newest_checkpoint(in_work("trial/runs/net"));
    if (o->signal == SIGTERM) { /* before it was caught */
        before++;
        return is_there(in_work("trial/runs/net")) ? complain("ended by the signal in a run") : PASSED;
    }
    done += o->code == 0;
    stopped += o->code == 130;
    if (o->hung || (o->code != 0 && o->code != 130)) return complain("exit code %d: %s", o->code, last_line(o->err));
    if (o->code == 0) return PASSED;
    if (late > latest) latest = late;
    if (strncmp(last_line(o->err), "dram: interrupted", 17) != 0) return complain("it says: %s", last_line(o->err));
    return steps && saved != steps ? complain("%d steps were done, %d are saved", steps, saved) : PASSED;
}

static verdict stop_one(unsigned long seed, int i)
{
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_TEST, (uint64_t)i);
    const int at = i % VARIANTS;
    char args[ARGS_ROOM];
    outcome o;
    copy_folder(base, "trial");
    for (int t = 1 + (int)dram_rng_below(&rng, 2); t > 0; t--) {
        double moment = dram_rng_range(&rng, 0, seconds[at]), begin = dram_clock();
        next_args(variants[at], dram_rng_below(&rng, 2), args);
        describe("%d (dram %s, after %.3f s)", i, args, moment);
        pid_t child = start_dram("trial", args, false, 0);
        sleep_seconds(moment);
        double used = cpu_of(child);
        kill(child, SIGTERM);
        finish_dram(child, begin, 0, &o);
        double late = o.cpu - used;
        if (judge(&o, late) == FAILED) return FAILED;
        if (timed && o.code == 130 && late > LATE * cpu[at])
            return complain("it took %.2f s of the processor to stop, and a whole run takes %.2f s", late, cpu[at]);
    }
    next_args(variants[at], dram_rng_below(&rng, 2), args);
    run_dram("trial", args, false, &o);
    if (o.code != 0) return complain("afterwards, exit code %d: %s", o.code, last_line(o.err));
    const char *differs = compare_folders(in_work("whole/stopped-%d", at), in_work("trial"));
    return differs ? complain("afterwards: %s", differs) : PASSED;
}

int try_stops(int n, unsigned long seed)
{
    timed = n >= TIMED;
    prepare(timed ? 300 : 30, n < VARIANTS ? n : VARIANTS);
    int failed = run_trials("stops", n, seed, stop_one);
    note("  %d stopped, the slowest after %.2f s of the processor, where whole runs take %.2f, %.2f and %.2f s; %d "
         "were done, %d had not "
         "begun",
         stopped, latest, cpu[0], cpu[1], cpu[2], done, before);
    return failed;
}
