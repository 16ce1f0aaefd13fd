/* The table of names against a plain list, with collisions on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "ir/index.h"

enum { ITEMS = 3000 };

static bool holds(const dram_index *index, uint64_t hash, int item)
{
    int times = 0;
    for (int at = -1, i; (i = dram_index_next(index, hash, &at)) >= 0;) times += i == item;
    assert_in_range(times, 0, 1);
    return times == 1;
}

/* Hashes of few values: many items under one, runs that touch. */
static uint64_t hash_of(int item, int kind)
{
    if (kind == 0) return dram_mix64((uint64_t)item);
    return kind == 1 ? (uint64_t)item % 50 : (uint64_t)(item % 7) << 40;
}

static void items_come_and_go(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        dram_index index = {0};
        static bool there[ITEMS];
        dram_rng r = dram_rng_make(3, DRAM_RNG_TEST, (uint64_t)kind);
        int items = kind == 0 ? ITEMS : 300, n = 0;
        for (int i = 0; i < ITEMS; i++) there[i] = false;
        assert_false(holds(&index, 1, 0)); /* an empty one */
        for (int step = 0; step < 4 * items; step++) {
            int item = (int)dram_rng_below(&r, (uint64_t)items);
            if (there[item]) {
                dram_index_drop(&index, hash_of(item, kind), item);
                n--;
            } else {
                assert_true(dram_index_add(&index, hash_of(item, kind), item));
                n++;
            }
            there[item] = !there[item];
            assert_int_equal(index.n, n);
            if (step % 97 == 0 || step == 4 * items - 1)
                for (int i = 0; i < items; i++) assert_true(holds(&index, hash_of(i, kind), i) == there[i]);
        }
        dram_index_drop(&index, 12345, 1); /* what is not there */
        assert_int_equal(index.n, n);
        dram_index_free(&index);
        assert_int_equal(index.room, 0);
    }
}

static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    dram_index index = {0};
    int64_t held = dram_alloc_bytes();
    dram_alloc_fail_after(0);
    assert_false(dram_index_add(&index, 1, 1));
    dram_alloc_fail_after(-1);
    int n = 0;
    for (; n < 1000; n++) {
        dram_alloc_fail_after(n ? 0 : 1);
        bool added = dram_index_add(&index, hash_of(n, 0), n);
        dram_alloc_fail_after(-1);
        if (!added) break;
    }
    assert_in_range(n, 10, 999);
    for (int i = 0; i < n; i++) assert_true(holds(&index, hash_of(i, 0), i));
    assert_false(holds(&index, hash_of(n, 0), n));
    assert_true(dram_index_add(&index, hash_of(n, 0), n));
    assert_true(holds(&index, hash_of(n, 0), n));
    dram_index_free(&index);
    assert_int_equal(dram_alloc_bytes(), held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_and_go),
        cmocka_unit_test(out_of_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
