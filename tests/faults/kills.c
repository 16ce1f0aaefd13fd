/* SIGKILL at random moments, of the clock and of the calls that a run makes: no run is lost, and what comes of it is what
 * comes of a run that no one killed. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "faults/drive.h"
#include "faults/modes.h"

typedef struct {
    const char *name, *args;
} variant;

static const variant variants[] = {
    {"cached", "train run.yaml sam_distill.cache=cache data.augment.crop=false data.augment.color_jitter=0"},
    {"half", "train run.yaml train.precision=fp16 optim.type=adamw run.save_every=1 run.eval_every=1"},
    {"kept", "train run.yaml student.arch=regnetx_002 student.weights=none sam_distill.distill_interval=3 "
             "sam_distill.between=reuse "
             "run.save_every=1 run.keep=2 train.steps=5"},
};
enum { VARIANTS = sizeof variants / sizeof variants[0], IN_A_ROW = 3 };

static struct {
    double seconds;
    int calls[FAULT_CALLS_COUNT];
} known[VARIANTS];

/* Where a run was when it was killed. */
typedef enum { STARTING, FILLING, STEPPING, SAVING, EVALUATING, DONE, PLACES } place;
static const char *const place_names[] = {"starting", "filling the cache", "stepping", "saving", "evaluating", "done"};
static int places[PLACES];

static void prepare(int variants_used)
{
    outcome o;
    char name[64];
    make_base("held", 6, 12);
    for (int i = 0; i < variants_used; i++) {
        snprintf(name, sizeof name, "killed-%s", variants[i].name);
        make_whole(name, "bases/held", variants[i].args, &o);
        copy_folder("bases/held", "trial");
        order_count("trial");
        run_dram("trial", variants[i].args, true, &o);
        known[i].seconds = o.seconds;
        for (int k = 0; k < FAULT_CALLS_COUNT; k++) known[i].calls[k] = atomic_load(&drive_order->counted[k]);
    }
}

static place where(const char *args)
{
    const char *run = in_work("trial/runs/net");
    int lines = lines_of(in_work("trial/runs/net/metrics.jsonl"));
    int evaluations = lines_of(in_work("trial/runs/net/evaluations.jsonl"));
    int every = strstr(args, "eval_every=1") ? 1 : 2;
    if (!is_there(run)) return is_there(in_work("trial/cache/embeddings.bin")) ? FILLING : STARTING;
    if (has_temporary(in_work("trial/runs/net/checkpoints"))) return SAVING;
    return lines && lines % every == 0 && evaluations < lines / every ? EVALUATING : STEPPING;
}

/* Runs a command and kills it, at a time or at a call. */
static void run_and_kill(int at, const char *args, dram_rng *rng, outcome *o)
{
    bool by_call = dram_rng_below(rng, 2);
    double seconds = dram_rng_range(rng, 0, 1.1 * known[at].seconds), begin = dram_clock();
    fault_call call = (fault_call)dram_rng_below(rng, FAULT_CALLS_COUNT);
    while (!known[at].calls[call]) call = (fault_call)((call + 1) % FAULT_CALLS_COUNT);
    int k = 1 + (int)dram_rng_below(rng, (uint64_t)known[at].calls[call]);
    order_fault("trial", call, k, k, dram_rng_below(rng, 2) ? FAULT_KILL : FAULT_KILL_AFTER, 0);
    pid_t child = start_dram("trial", args, by_call, 0);
    if (!by_call) {
        sleep_seconds(seconds);
        kill(child, SIGKILL);
    }
    finish_dram(child, begin, 0, o);
}

static verdict kill_one(unsigned long seed, int i)
{
    dram_rng rng = dram_rng_make(seed, DRAM_RNG_TEST, (uint64_t)i);
    int at = i % VARIANTS, times = 1 + (int)dram_rng_below(&rng, IN_A_ROW), killed = 0;
    const variant *v = &variants[at];
    char args[ARGS_ROOM];
    outcome o;
    copy_folder("bases/held", "trial");
    for (int t = 0; t < times; t++) {
        int before = newest_checkpoint(in_work("trial/runs/net"));
        next_args(v->args, dram_rng_below(&rng, 2), args);
        run_and_kill(at, args, &rng, &o);
        describe("%d (%s, %d times)", i, v->name, t + 1);
        if (o.code > 0 || (o.signal && o.signal != SIGKILL) || o.hung)
            return complain("signal %d, exit code %d: %s", o.signal, o.code, last_line(o.err));
        killed += o.signal != 0;
        places[o.signal ? where(v->args) : DONE]++;
        if (newest_checkpoint(in_work("trial/runs/net")) < before) return complain("a checkpoint is gone");
    }
    describe("%d (%s, killed %d times)", i, v->name, killed);
    next_args(v->args, dram_rng_below(&rng, 2), args);
    run_dram("trial", args, false, &o);
    if (o.code != 0) return complain("afterwards, exit code %d: %s", o.code, last_line(o.err));
    const char *differs = compare_folders(in_work("whole/killed-%s", v->name), in_work("trial"));
    return differs ? complain("afterwards: %s", differs) : PASSED;
}

int try_kills(int n, unsigned long seed)
{
    prepare(n < VARIANTS ? n : VARIANTS);
    int failed = run_trials("kills", n, seed, kill_one);
    for (int i = 0; i < PLACES; i++) note("  %d %s%s", places[i], i == DONE ? "" : "killed while ", place_names[i]);
    return failed;
}
