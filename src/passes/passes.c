#include "passes/passes.h"

#include "base/alloc.h"
#include "passes/collect.h"
#include "passes/delay.h"
#include "passes/fuse.h"

dram_status dram_passes_run(const dram_passes *passes, dram_graph *g, const dram_profile *profile,
                            dram_chain_schedule *schedule, int64_t *added_flops)
{
    dram_recompute_options options = passes->recompute;
    dram_recompute *r = NULL;
    double *seconds = NULL;
    int64_t live;
    dram_status status;
    TRY(dram_delay(g));
    TRY(dram_collect(g, passes->bucket));
    if (passes->fuse) TRY(dram_fuse_updates(g));
    TRY_GOTO(passes->seconds(passes->context, g, &seconds), done);
    options.seconds = seconds;
    TRY_GOTO(dram_recompute_open(g, profile, options, &r), done);
    TRY_GOTO(passes->schedule(passes->context, r, schedule), done);
    TRY_GOTO(dram_recompute_measure(r, schedule, &live, added_flops), done);
    status = dram_recompute_apply(r, g, schedule);
done:
    dram_recompute_close(r);
    dram_free(seconds);
    return status;
}

dram_status dram_passes_update(dram_graph *g, int64_t bucket)
{
    TRY(dram_collect(g, bucket));
    return dram_fuse_updates(g);
}
