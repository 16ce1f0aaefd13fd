/* What the large teachers take at their full size, planned and not run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "teachers.h"

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Most bytes of streamed weights alive at one node. */
static int64_t weights_alive(const teacher *t)
{
    const dram_program *p = &t->plan->programs[0];
    int64_t most = 0;
    for (int i = 0; i < t->g->n_nodes; i++) {
        int64_t bytes = 0;
        for (int v = 0; v < t->g->n_values; v++) {
            const dram_value *value = t->g->values[v];
            if (value->category != DRAM_CATEGORY_TEACHER_WEIGHTS || value->slot != DRAM_NONE) continue;
            if (p->value[v].first <= i && p->value[v].last >= i) bytes += p->value[v].bytes;
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

/* Eight images at 1024 in bf16, one at a time through a block. Gives the peak in GiB. */
static double peak_of(const char *arch, placement where)
{
    teacher t;
    double begin = cpu_seconds();
    teacher_open(
        &t,
        (teacher_order){
            .arch = arch, .images = 8, .size = 1024, .grid = 64, .group = 1, .placement = where, .dtype = DRAM_BF16});
    double seconds = cpu_seconds() - begin, peak = (double)t.plan->arena_bytes / 0x1p30;
    int64_t weights = 0, alive = weights_alive(&t);
    for (int i = 0; i < t.slots.n; i++) weights += dram_plan_slot_bytes(t.plan, i);
    print_message(
        "%s %-8s %d nodes, planned in %.2f s: peak %.3f GiB, host %.3f GiB, streamed weights alive %.1f MiB\n", arch,
        where == ON_DEVICE  ? "device"
        : where == STREAMED ? "stream"
                            : "host",
        t.g->n_nodes, seconds, peak, (double)t.plan->host_bytes / 0x1p30, (double)alive / 0x1p20);
    assert_true((double)t.plan->arena_bytes <= 1.005 * (double)t.plan->max_live_bytes);
    assert_true(where == ON_DEVICE ? t.plan->host_bytes == 0 : t.plan->host_bytes >= weights);
    if (where == ON_DEVICE) assert_int_equal(t.plan->slots_bytes, weights);
    /* of 12 or 32 blocks of like size, patch embedding and neck, no more than two blocks at a time */
    if (where == STREAMED)
        assert_true(alive > 0 && (double)alive < 2.1 * (double)weights / dram_arch_find(arch)->blocks);
#ifndef DRAM_SANITIZED
    assert_true(seconds < 1.0); /* an order of magnitude above what it takes */
#endif
    teacher_close(&t);
    return peak;
}

static void large_teachers_are_small(void **state)
{
    (void)state;
    assert_true(peak_of("vit_b", ON_DEVICE) < 0.4);
    assert_true(peak_of("vit_h", ON_DEVICE) < 1.6);
    assert_true(peak_of("vit_h", STREAMED) < 0.4);
    assert_true(peak_of("vit_b", STREAMED) < 0.2);
    assert_true(peak_of("vit_h", ON_HOST) < 0.02); /* the embedding: 16 MiB */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(large_teachers_are_small)};
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
