/* What recompute costs: a trunk alone in training, bf16, its activations in ever fewer bytes, and the FLOPs spent
 * again. bench_recompute [ARCH [SIZE [BATCH]]]. Plans only; nothing runs. */
#include <stdio.h>
#include <stdlib.h>

#include "../tests/support/trunk_graph.h"
#include "passes/recompute.h"

static dram_status curve(dram_graph *g)
{
    static const int percent[] = {100, 90, 80, 70, 60, 50, 40, 30, 24, 20, 0};
    dram_recompute *all, *r;
    dram_profile profile = dram_profile_cpu(2);
    const dram_chain_schedule none = {0};
    int64_t stored, live, flops, total = 0;
    for (int i = 0; i < g->n_nodes; i++) total += dram_node_flops(g, g->nodes[i]);
    TRY(dram_recompute_open(g, &profile, (dram_recompute_options){.in_place = true}, &all));
    TRY(dram_recompute_measure(all, &none, &stored, &flops));
    TRY(dram_recompute_open(g, &profile, (dram_recompute_options){.norms = true, .more = true, .in_place = true}, &r));
    printf("%d blocks, everything stored: %.1f MiB, %.1f GFLOP\n", dram_recompute_chain(r)->length,
           (double)stored / 0x1p20, (double)total * 1e-9);
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++) {
        dram_chain_schedule schedule;
        TRY(dram_recompute_search(r, stored * percent[i] / 100, &schedule));
        TRY(dram_recompute_measure(r, &schedule, &live, &flops));
        printf("asked %3d %%: %8.1f MiB = %5.1f %%, FLOPs + %5.2f %%\n", percent[i], (double)live / 0x1p20,
               100.0 * (double)live / (double)stored, 100.0 * (double)flops / (double)total);
        dram_chain_schedule_free(&schedule);
    }
    dram_recompute_close(all);
    dram_recompute_close(r);
    return DRAM_OK;
}

int main(int argc, char **argv)
{
    dram_slots slots = {0};
    dram_graph *g = NULL;
    dram_ops_init();
    const dram_arch *arch = dram_arch_find(argc > 1 ? argv[1] : "regnety_016");
    dram_status status = arch ? dram_graph_new("trunk", &slots, &g) : dram_fail(DRAM_ERR_CONFIG, "no such arch");
    if (status == DRAM_OK) status = trunk_graph(g, arch, argc > 3 ? atoi(argv[3]) : 1, argc > 2 ? atoi(argv[2]) : 1024);
    if (status == DRAM_OK) status = curve(g);
    if (status != DRAM_OK) fprintf(stderr, "bench_recompute: %s\n", dram_error_text());
    dram_graph_free(g);
    dram_slots_free(&slots);
    return status == DRAM_OK ? 0 : 1;
}
