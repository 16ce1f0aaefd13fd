#include "launch/pack.h"

static int compare(int64_t a, int64_t b)
{
    return (a < b) - (a > b); /* the larger first */
}

int dram_pack_compare(const dram_pack_item *a, const dram_pack_item *b)
{
    const int64_t a_cards = a->card_bytes * a->ranks, b_cards = b->card_bytes * b->ranks;
    const int64_t a_host = a->host_bytes * a->ranks, b_host = b->host_bytes * b->ranks;
    int order = compare(a_cards, b_cards);
    if (!order) order = compare(a_host, b_host);
    return order ? order : (a->flops < b->flops) - (a->flops > b->flops);
}

static bool has_cores(const dram_pack_room *room, const dram_pack_item *item)
{
    if (room->jobs) return room->running < room->jobs;
    return (!room->running && !room->others) || item->cores * item->ranks <= room->cores;
}

static bool takes(const dram_pack_room *room, const dram_pack_card *card, int64_t bytes)
{
    if (bytes > card->free_bytes) return false;
    if (!card->running || room->always) return true;
    return card->share >= 0 && card->share * (card->running + 1) < 1.0;
}

bool dram_pack_fits(const dram_pack_room *room, const dram_pack_item *item, int cards[DRAM_PACK_CARDS])
{
    int n = 0;
    if (!has_cores(room, item) || item->host_bytes * item->ranks > room->host_bytes) return false;
    if (!item->card_bytes) return true;
    for (int i = 0; i < room->n_cards && n < item->ranks; i++)
        if (takes(room, &room->card[i], item->card_bytes)) cards[n++] = i;
    return n == item->ranks;
}

static void move(dram_pack_room *room, const dram_pack_item *item, const int *cards, int sign)
{
    room->host_bytes -= sign * item->host_bytes * item->ranks;
    room->cores -= sign * item->cores * item->ranks;
    room->running += sign;
    for (int i = 0; item->card_bytes && i < item->ranks; i++) {
        room->card[cards[i]].free_bytes -= sign * item->card_bytes;
        room->card[cards[i]].running += sign;
    }
}

void dram_pack_take(dram_pack_room *room, const dram_pack_item *item, const int *cards)
{
    move(room, item, cards, 1);
}

void dram_pack_give(dram_pack_room *room, const dram_pack_item *item, const int *cards)
{
    move(room, item, cards, -1);
}
