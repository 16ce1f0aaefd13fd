/* What ranks put together of their slots: running statistics, and tensors of which each has a shard. By several ranks:
 * mpirun.sh N test_train_gathered. Every rank knows what the others have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/state8.h"
#include "comm/ranks.h"
#include "session/budget.h"
#include "session/slot_floats.h"
#include "support/ok.h"
#include "support/runs.h"
#include "train/together.h"

static dram_comm *comm;
static int rank, size;
static int64_t compared;

static dram_session *started(void **state, const char *set, dram_config **cfg)
{
    static dram_session s;
    char text[400];
    snprintf(text, sizeof text,
             "threads=1 data.size=32 sam_distill.enabled=false "
             "resolution_distill.enabled=false distributed.ranks=%d %s",
             size, set);
    *cfg = run_config(state, "gathered", text);
    ok(dram_budget_plan(*cfg, DRAM_SET_TRAIN, 0, &s));
    s.comm = comm;
    ok(dram_session_start(&s));
    return &s;
}

static void ended(dram_session *s, dram_config *cfg)
{
    dram_session_close(s);
    dram_config_free(cfg);
}

/* Of every rank as much: not of the first alone, and not the sum. Other weights stay. */
static void running_statistics_are_averaged(void **state)
{
    dram_config *cfg;
    dram_session *s = started(state, "distributed.batch_norm=local", &cfg);
    const dram_slots *slots = &s->graphs.slots;
    static float x[1 << 20];
    for (int k = 0; k < 2; k++) {
        if (k) ok(dram_together_average(s));
        for (int i = 0; i < slots->n; i++) {
            int64_t n = dram_elements(&slots->at[i]->shape);
            bool running = strstr(slots->at[i]->name, ".running_");
            if (!running && !strstr(slots->at[i]->name, ".bn.weight")) continue;
            for (int64_t e = 0; e < n; e++) x[e] = (float)(e + (1 << rank));
            if (!k) ok(dram_slot_write_floats(s, i, 0, n, x));
            if (k) ok(dram_slot_read_floats(s, i, 0, n, x));
            for (int64_t e = 0; k && e < n; e++, compared++) {
                double want = running ? (double)e + ((1 << size) - 1) / (double)size : (double)(e + (1 << rank));
                if (x[e] != (float)want) fail_msg("%s: %g, not %g", slots->at[i]->name, (double)x[e], want);
            }
        }
    }
    ended(s, cfg);
}

/* Element e of a tensor, of 8 bits a byte's number as files have it. */
static float number(bool bytes, int64_t e)
{
    return bytes ? (float)(e * 7 % 251) * 0x1p-24f : (float)(e % 8191) - 1000.0f;
}

/* In a shard of 8-bit state codes come before maxima, as in the whole: codes and maxima of this rank's blocks. */
static void codes_and_maxima(dram_session *s, int slot)
{
    static uint8_t mine[1 << 20];
    const dram_slot *of = s->graphs.slots.at[slot];
    const int64_t bytes = dram_elements(&of->shape), whole = dram_elements(&of->whole), codes = bytes / 260 * 256;
    ok(dram_exec_read_slot(s->exec, slot, 0, mine, bytes));
    for (int64_t i = 0; i < bytes; i++) {
        const int64_t border = dram_state8_maxima_in(whole), end = i < codes ? border : whole;
        const int64_t e = i < codes ? rank * codes + i : border + rank * (bytes - codes) + i - codes;
        if (e < end && mine[i] != e * 7 % 251) fail_msg("%s: byte %lld of a shard", of->name, (long long)i);
        compared += e < end;
    }
}

/* What each takes of a tensor as it would be read is what rank 0 is lent, in any order: codes and maxima too. */
static void shards_come_and_go(void **state, const char *set, int least)
{
    dram_config *cfg;
    dram_session *s = started(state, set, &cfg);
    const dram_slots *slots = &s->graphs.slots;
    static float x[1 << 20];
    int shards = 0;
    for (int i = 0; i < slots->n; i++) {
        int64_t n = dram_elements(dram_slot_tensor(slots->at[i])), first, end;
        if (!slots->at[i]->whole.rank) continue;
        assert_true(n <= 1 << 20);
        dram_slot_range(s, i, &first, &end);
        for (int64_t e = first; e < end; e++) x[e - first] = number(slots->at[i]->dtype == DRAM_U8, e);
        ok(dram_slot_write_floats(s, i, first, end - first, x));
        if (slots->at[i]->dtype == DRAM_U8) codes_and_maxima(s, i);
        shards++;
    }
    assert_true(shards > least);
    if (rank) ok(dram_slots_lend(s, "optimizer"));
    for (int i = slots->n - 1; !rank && i >= 0; i--) {
        const dram_slot *slot = slots->at[i];
        if (!slot->whole.rank) continue;
        ok(dram_slot_gather_floats(s, i, x));
        for (int64_t e = 0; e < dram_elements(&slot->whole); e++, compared++)
            if (x[e] != number(slot->dtype == DRAM_U8, e)) fail_msg("%s: element %lld", slot->name, (long long)e);
    }
    if (!rank) ok(dram_slots_gathered(s, "optimizer"));
    ended(s, cfg);
}

static void shards_of_floats(void **state)
{
    shards_come_and_go(state, "optim.shard=state", 20);
}

static void shards_of_8_bits(void **state)
{
    shards_come_and_go(state, "optim.shard=gradients optim.state=int8", 20);
}

/* A rank that cannot go on says so where the others wait for its shards, and nobody is left waiting. */
static void who_fails_is_heard(void **state)
{
    dram_config *cfg;
    dram_session *s = started(state, "optim.shard=state", &cfg);
    static float x[1 << 20];
    bool asked;
    int slot = 0;
    while (!s->graphs.slots.at[slot]->whole.rank) slot++;
    dram_status mine = DRAM_OK;
    if (rank == size - 1)
        mine = dram_fail(DRAM_ERR_IO, "no memory left");
    else if (rank)
        mine = dram_slots_lend(s, "optimizer");
    else
        mine = dram_slot_gather_floats(s, slot, x);
    dram_status all = dram_comm_wait(comm, mine, NULL, &asked);
    assert_int_equal(mine, rank == size - 1 ? DRAM_ERR_IO : DRAM_ERR_PEER);
    assert_int_equal(all, mine);
    compared++;
    dram_error_clear();
    ended(s, cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_statistics_are_averaged), cmocka_unit_test(shards_of_floats),
        cmocka_unit_test(shards_of_8_bits),
        cmocka_unit_test(who_fails_is_heard), /* the last: nothing is agreed behind it */
    };
    comm = ranks_open(60, NULL, NULL);
    rank = dram_comm_rank(comm);
    size = dram_comm_size(comm);
    if (size < 2) {
        fprintf(stderr, "start it with mpirun.sh\n");
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
    if (compared < (rank ? 100 : 100000)) failed++;
    dram_comm_close(comm, failed ? DRAM_ERR_RUN : DRAM_OK);
    return failed;
}
