/* Which runs go beside each other: by bytes, by cores, by the share of a card. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "launch/room.h"

static dram_pack_item on_cpu(int64_t bytes, int cores)
{
    return (dram_pack_item){.host_bytes = bytes, .cores = cores, .ranks = 1};
}

static dram_pack_item on_gpu(int64_t bytes, int ranks)
{
    return (dram_pack_item){.card_bytes = bytes, .host_bytes = 1, .cores = 1, .ranks = ranks};
}

static bool fits(const dram_pack_room *room, dram_pack_item item)
{
    int cards[DRAM_PACK_CARDS];
    return dram_pack_fits(room, &item, cards);
}

static void take(dram_pack_room *room, dram_pack_item item)
{
    int cards[DRAM_PACK_CARDS];
    assert_true(dram_pack_fits(room, &item, cards));
    dram_pack_take(room, &item, cards);
}

static void the_largest_first(void **state)
{
    (void)state;
    const dram_pack_item small = {.host_bytes = 1, .ranks = 1, .flops = 9}, large = {.host_bytes = 2, .ranks = 1};
    const dram_pack_item longer = {.host_bytes = 2, .ranks = 1, .flops = 1}, two = {.host_bytes = 1, .ranks = 3};
    const dram_pack_item card = {.card_bytes = 1, .ranks = 1};
    assert_true(dram_pack_compare(&large, &small) < 0 && dram_pack_compare(&small, &large) > 0);
    assert_true(dram_pack_compare(&longer, &large) < 0 && dram_pack_compare(&two, &longer) < 0);
    assert_true(dram_pack_compare(&card, &two) < 0);
    assert_int_equal(dram_pack_compare(&small, &small), 0);
}

static void bytes_and_cores(void **state)
{
    (void)state;
    dram_pack_room room = {.host_bytes = 100, .cores = 4};
    assert_true(fits(&room, on_cpu(100, 1)));
    assert_false(fits(&room, on_cpu(101, 1)));
    assert_true(fits(&room, on_cpu(1, 9))); /* alone it gets all there are */
    take(&room, on_cpu(60, 3));
    assert_true(fits(&room, on_cpu(40, 1)));
    assert_false(fits(&room, on_cpu(41, 1)));
    assert_false(fits(&room, on_cpu(1, 2)));
    room.jobs = 2; /* then cores do not count */
    take(&room, on_cpu(1, 2));
    assert_false(fits(&room, on_cpu(1, 1)));
    dram_pack_room other = {.host_bytes = 100, .cores = 4, .others = 1};
    assert_false(fits(&other, on_cpu(1, 9)));
    other.jobs = 1; /* of this process */
    assert_true(fits(&other, on_cpu(1, 9)));
    dram_pack_item ranks = {.host_bytes = 30, .cores = 1, .ranks = 4};
    assert_false(fits(&other, ranks));
    ranks.ranks = 3;
    assert_true(fits(&other, ranks));
}

static void cards(void **state)
{
    (void)state;
    dram_pack_room room = {.host_bytes = 100, .cores = 9, .n_cards = 2};
    room.card[0] = (dram_pack_card){.free_bytes = 50, .share = -1};
    room.card[1] = (dram_pack_card){.free_bytes = 100, .share = -1};
    int chosen[DRAM_PACK_CARDS];
    dram_pack_item two = on_gpu(50, 2), large = on_gpu(60, 1);
    assert_true(dram_pack_fits(&room, &two, chosen) && chosen[0] == 0 && chosen[1] == 1);
    assert_false(fits(&room, on_gpu(51, 2)));
    assert_true(dram_pack_fits(&room, &large, chosen) && chosen[0] == 1);
    dram_pack_take(&room, &large, chosen);
    assert_false(fits(&room, on_gpu(51, 1)));
    take(&room, on_gpu(20, 1)); /* on the first, which is then shared by nobody: its share is not known */
    assert_false(fits(&room, on_gpu(20, 1)));
    room.card[1].share = 0.5; /* two of them come to 1 */
    assert_false(fits(&room, on_gpu(20, 1)));
    room.card[1].share = 0.49;
    assert_true(dram_pack_fits(&room, &(dram_pack_item){.card_bytes = 20, .ranks = 1, .cores = 1}, chosen));
    assert_int_equal(chosen[0], 1);
    room.card[1].share = -1;
    room.always = true;
    assert_true(fits(&room, on_gpu(40, 1)) && !fits(&room, on_gpu(41, 1)));
    dram_pack_give(&room, &large, &(int){1});
    assert_true(fits(&room, on_gpu(100, 1)));
    assert_int_equal(room.running, 1);
}

/* Whatever comes and goes: what is taken is never more than there is, and comes back. */
static void at_random(void **state)
{
    enum { ITEMS = 40, TURNS = 4000 };
    static dram_pack_item item[ITEMS];
    static int at[ITEMS][DRAM_PACK_CARDS];
    bool in[ITEMS] = {false};
    dram_pack_room room = {.host_bytes = 1000, .cores = 16, .n_cards = 3}, all;
    int taken = 0;
    (void)state;
    for (int c = 0; c < 3; c++) room.card[c] = (dram_pack_card){.free_bytes = 300 + 100 * c, .share = 0.2};
    all = room;
    dram_rng random = dram_rng_make(7, DRAM_RNG_TEST, 0);
    for (int i = 0; i < ITEMS; i++) {
        uint64_t bits = dram_rng_u64(&random);
        item[i] = (dram_pack_item){.card_bytes = bits % 3 ? (int64_t)(bits >> 8) % 300 + 1 : 0,
                                   .host_bytes = (int64_t)(bits >> 24) % 200,
                                   .cores = 1 + (int)((bits >> 40) % 4),
                                   .ranks = 1 + (int)((bits >> 48) % 3)};
    }
    for (int turn = 0; turn < TURNS; turn++) {
        int i = (int)(dram_rng_u64(&random) % ITEMS);
        if (in[i])
            dram_pack_give(&room, &item[i], at[i]);
        else if (dram_pack_fits(&room, &item[i], at[i]))
            dram_pack_take(&room, &item[i], at[i]);
        else
            continue;
        in[i] = !in[i];
        taken += in[i];
        assert_true(room.host_bytes >= 0 && (room.cores >= 0 || room.running == 1));
        for (int c = 0; c < 3; c++) assert_true(room.card[c].free_bytes >= 0 && room.card[c].running <= 4);
    }
    assert_true(taken > 100);
    for (int i = 0; i < ITEMS; i++)
        if (in[i]) dram_pack_give(&room, &item[i], at[i]);
    assert_true(room.host_bytes == all.host_bytes && room.cores == all.cores && room.running == 0);
    for (int c = 0; c < 3; c++)
        assert_true(room.card[c].free_bytes == all.card[c].free_bytes && room.card[c].running == 0);
}

/* What a sweep that is gone has left running takes the place of a run of this one; what another makes does not. */
static void children_of_a_dead_sweep(void **state)
{
    (void)state;
    const dram_room machine = {0};
    dram_claim_owner owner = dram_claim_self();
    dram_pack_room room = {.host_bytes = 100, .cores = 4, .jobs = 1};
    owner.bytes = 10;
    dram_room_take_claim(&machine, &owner, &room);
    assert_true(fits(&room, on_cpu(90, 1)));
    owner.start++; /* its number is another process's by now */
    dram_room_take_claim(&machine, &owner, &room);
    assert_false(fits(&room, on_cpu(1, 1)));
    room.jobs = 2;
    assert_true(fits(&room, on_cpu(80, 1)));
    assert_false(fits(&room, on_cpu(81, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_largest_first), cmocka_unit_test(bytes_and_cores),
                                       cmocka_unit_test(children_of_a_dead_sweep), cmocka_unit_test(cards),
                                       cmocka_unit_test(at_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
