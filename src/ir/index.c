#include "ir/index.h"

#include "base/alloc.h"

/* Linear probing, at most half full. The low bits of the hash are mixed once more: names often differ in one letter. */
static int home(const dram_index *index, uint64_t hash)
{
    return (int)((hash ^ hash >> 32) & (uint64_t)(index->room - 1));
}

int dram_index_next(const dram_index *index, uint64_t hash, int *at)
{
    if (!index->room) return -1;
    *at = *at < 0 ? home(index, hash) : (*at + 1) & (index->room - 1);
    for (; index->cell[*at].item; *at = (*at + 1) & (index->room - 1))
        if (index->cell[*at].hash == hash) return index->cell[*at].item - 1;
    return -1;
}

static void put(dram_index *index, uint64_t hash, int32_t item)
{
    int at = home(index, hash);
    while (index->cell[at].item) at = (at + 1) & (index->room - 1);
    index->cell[at].hash = hash;
    index->cell[at].item = item;
}

static bool grow(dram_index *index)
{
    dram_index more = {.room = index->room ? 2 * index->room : 64, .n = index->n};
    more.cell = dram_calloc((size_t)more.room, sizeof *more.cell);
    if (!more.cell) return false;
    for (int i = 0; i < index->room; i++)
        if (index->cell[i].item) put(&more, index->cell[i].hash, index->cell[i].item);
    dram_free(index->cell);
    *index = more;
    return true;
}

bool dram_index_add(dram_index *index, uint64_t hash, int item)
{
    if (2 * (index->n + 1) > index->room && !grow(index)) return false;
    put(index, hash, item + 1);
    index->n++;
    return true;
}

void dram_index_drop(dram_index *index, uint64_t hash, int item)
{
    int at = -1, found = dram_index_next(index, hash, &at);
    while (found >= 0 && found != item) found = dram_index_next(index, hash, &at);
    if (found < 0) return;
    index->cell[at].item = 0;
    index->n--;
    /* What follows without a gap may have come over this cell. */
    for (int i = (at + 1) & (index->room - 1); index->cell[i].item; i = (i + 1) & (index->room - 1)) {
        int32_t moved = index->cell[i].item;
        index->cell[i].item = 0;
        put(index, index->cell[i].hash, moved);
    }
}

void dram_index_free(dram_index *index)
{
    dram_free(index->cell);
    *index = (dram_index){0};
}
