#include "feed/marked.h"

#include <stdint.h>

#include "base/alloc.h"

/* lists: [ranks][most], those of rank r of which counts[r] are there. */
static int mark(bool *marked, const int32_t *lists, const int32_t *counts, int ranks, int most)
{
    int more = 0;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < counts[r]; i++) {
            int image = lists[(int64_t)r * most + i];
            more += !marked[image];
            marked[image] = true;
        }
    return more;
}

dram_status dram_marked_join(dram_comm *comm, bool *marked, int n, int *more)
{
    int ranks = dram_comm_size(comm), most = 0;
    int32_t mine = 0, *counts, *list = NULL, *lists = NULL;
    dram_status status = DRAM_OK;
    *more = 0;
    if (ranks == 1) return DRAM_OK;
    for (int i = 0; i < n; i++) mine += marked[i];
    counts = dram_alloc((size_t)ranks * sizeof *counts);
    if (!counts) goto no_memory;
    TRY_GOTO(dram_comm_gather(comm, &mine, sizeof mine, counts), done);
    for (int r = 0; r < ranks; r++) most = counts[r] > most ? counts[r] : most;
    if (!most) goto done;
    list = dram_calloc((size_t)most, sizeof *list);
    lists = dram_alloc((size_t)ranks * (size_t)most * sizeof *lists);
    if (!list || !lists) goto no_memory;
    for (int i = 0, k = 0; i < n; i++)
        if (marked[i]) list[k++] = i;
    TRY_GOTO(dram_comm_gather(comm, list, most * (int64_t)sizeof *list, lists), done);
    *more = mark(marked, lists, counts, ranks, most);
    goto done;
no_memory:
    status = dram_fail(DRAM_ERR_MEMORY, "no memory to tell the other ranks which images are bad");
done:
    dram_free(counts);
    dram_free(list);
    dram_free(lists);
    return status;
}
