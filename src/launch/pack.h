/* pack: which runs of a sweep go beside each other on one machine. Pure: numbers in, numbers out. */
#ifndef DRAM_LAUNCH_PACK_H
#define DRAM_LAUNCH_PACK_H

#include <stdbool.h>
#include <stdint.h>

enum { DRAM_PACK_CARDS = 64 };

/* What a run takes for as long as it runs; of each rank. */
typedef struct {
    int64_t card_bytes; /* of a GPU; 0 on the CPU */
    int64_t host_bytes; /* of RAM */
    double flops;       /* of the whole run */
    int cores, ranks;
} dram_pack_item;

/* A GPU. A run keeps it busy for a share of the time, 0..1. */
typedef struct {
    int64_t free_bytes; /* what runs may take of it that take nothing yet */
    int running;        /* on it */
    double share;       /* of one run, as it was measured; below 0: not known yet */
} dram_pack_card;

/* What is left of a machine. */
typedef struct {
    int64_t host_bytes; /* may be below 0 */
    int cores;
    int running; /* runs of this process, and those that a process which is gone has left to it */
    int others;  /* runs that other processes make here */
    int jobs;    /* of the first, at most, and then cores do not count; 0: as many as there are cores for */
    bool always; /* a card is shared whatever its share */
    dram_pack_card card[DRAM_PACK_CARDS];
    int n_cards;
} dram_pack_room;

/* The order in which runs are tried: first fit decreasing, those that take most first, and of equal ones those that run
 * longest; then as they come. Negative: a goes before b. */
int dram_pack_compare(const dram_pack_item *a, const dram_pack_item *b);

/* Whether there is room for it now. cards[item->ranks] are then the cards that it takes, in the order of their numbers;
 * none on the CPU. A run that needs more cores than there are gets them all when nothing else runs. A card is shared
 * where the share of its runs is known, and stays under 1. */
bool dram_pack_fits(const dram_pack_room *room, const dram_pack_item *item, int cards[DRAM_PACK_CARDS]);

/* Takes what it needs, or gives it back. */
void dram_pack_take(dram_pack_room *room, const dram_pack_item *item, const int *cards);
void dram_pack_give(dram_pack_room *room, const dram_pack_item *item, const int *cards);

#endif
