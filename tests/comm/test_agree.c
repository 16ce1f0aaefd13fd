/* What ranks agree upon, by several of them: mpirun.sh N test_comm_agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/rng.h"
#include "comm/job.h"
#include "comm/ranks.h"
#include "support/ok.h"

static dram_comm *comm;
static int rank, size;

/* A failure is for good, and a stop, but for a test. */
static int fresh(void **state)
{
    (void)state;
    comm->failed = comm->stop = false;
    dram_error_clear();
    return 0;
}

static void steps_add_labels(void **state)
{
    (void)state;
    for (int step = 0; step < 20; step++) {
        const dram_agreement mine = {.step = step, .labelled = ((int64_t)1 << 40) + step * (rank + 1)};
        dram_agreed agreed;
        int lasts[64];
        ok(dram_comm_agree(comm, &mine, &agreed));
        assert_false(agreed.stop);
        assert_true(agreed.labelled == ((int64_t)size << 40) + step * size * (size + 1) / 2);
        assert_true(agreed.waited >= 0 && agreed.last >= 0 && agreed.last < size);
        ok(dram_comm_gather(comm, &agreed.last, sizeof agreed.last, lasts));
        for (int r = 0; r < size; r++) assert_int_equal(lasts[r], agreed.last); /* all name the same */
    }
}

static void gathers_are_in_rank_order(void **state)
{
    (void)state;
    static unsigned char mine[100001], all[4 * sizeof mine];
    memset(mine, 10 + rank, sizeof mine);
    ok(dram_comm_gather(comm, mine, sizeof mine, all));
    for (int r = 0; r < size; r++)
        for (size_t i = 0; i < sizeof mine; i++) assert_int_equal(all[(size_t)r * sizeof mine + i], 10 + r);
    for (int r = 0; r < size; r++) assert_int_equal(strncmp(dram_comm_host(comm, r), dram_comm_host(comm, 0), 64), 0);
}

static double number(int of_rank, int i)
{
    dram_rng r = dram_rng_make((uint64_t)of_rank, DRAM_RNG_TEST, (uint64_t)i);
    return dram_rng_range(&r, -1, 1);
}

static void sums_are_in_rank_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    double x[N];
    int64_t counts[2] = {(int64_t)1 << 53, rank};
    for (int i = 0; i < N; i++) x[i] = number(rank, i);
    ok(dram_comm_sum(comm, x, N));
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int r = 0; r < size; r++) sum += number(r, i);
        assert_memory_equal(&x[i], &sum, sizeof sum);
    }
    ok(dram_comm_sum_counts(comm, counts, 2));
    assert_true(counts[0] == (int64_t)size << 53);
    assert_int_equal(counts[1], size * (size - 1) / 2);
}

/* A wait is over when the last rank is done: it has made a file by then. */
static void a_wait_lasts_until_all_are_done(void **state)
{
    (void)state;
    char path[128] = "";
    char paths[4 * sizeof path];
    bool stop = true;
    struct stat found;
    if (rank == 0) snprintf(path, sizeof path, "/tmp/dram-wait-%d", (int)getpid());
    ok(dram_comm_gather(comm, path, sizeof path, paths));
    if (rank == 0) {
        for (int i = 0; i < 8; i++) { /* longer than the limit of a quarter between two exchanges */
            usleep(50000);
            ok(dram_comm_busy(comm, NULL, &stop));
        }
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
    }
    ok(dram_comm_wait(comm, DRAM_OK, NULL, &stop));
    assert_false(stop);
    assert_int_equal(stat(paths, &found), 0);
    ok(dram_comm_wait(comm, DRAM_OK, NULL, &stop)); /* all have looked */
    if (rank == 0) unlink(path);
}

/* The error of this call, on every rank: rank 1 has failed. Those that follow say it again and ask nobody. */
static void expect_peer(dram_status status, const char *text)
{
    char want[256];
    snprintf(want, sizeof want, "rank 1 on %s: %s", dram_comm_host(comm, 1), text);
    assert_int_equal(status, rank == 1 ? DRAM_ERR_IO : DRAM_ERR_PEER);
    assert_string_equal(dram_error_text(), rank == 1 ? text : want);
    bool stop;
    double one = 1;
    assert_int_equal(dram_comm_wait(comm, status, NULL, &stop), status);
    assert_int_equal(dram_comm_busy(comm, NULL, &stop), DRAM_ERR_PEER);
    assert_int_equal(dram_comm_sum(comm, &one, 1), DRAM_ERR_PEER);
    assert_string_equal(dram_error_text(), rank == 1 ? text : want);
    fresh(NULL);
}

static void a_failure_is_told(void **state)
{
    (void)state;
    bool stop;
    dram_agreed agreed;
    dram_agreement mine = {.step = 3};
    if (rank == 1) mine.status = dram_fail(DRAM_ERR_IO, "the disk is full");
    expect_peer(dram_comm_agree(comm, &mine, &agreed), "the disk is full");
    dram_status status = rank == 1 ? dram_fail(DRAM_ERR_IO, "no such folder") : DRAM_OK;
    expect_peer(dram_comm_wait(comm, status, NULL, &stop), "no such folder");
    /* wherever the others are */
    static const volatile sig_atomic_t asked = 1;
    double sums[3] = {0};
    status = rank == 1 ? dram_fail(DRAM_ERR_IO, "no such image") : DRAM_OK;
    expect_peer(rank == 1 ? dram_comm_wait(comm, status, NULL, &stop) : dram_comm_sum(comm, sums, 3), "no such image");
    mine = (dram_agreement){.step = 9, .status = rank == 1 ? dram_fail(DRAM_ERR_IO, "no such label") : DRAM_OK};
    expect_peer(rank == 1 ? dram_comm_agree(comm, &mine, &agreed) : dram_comm_busy(comm, &asked, &stop),
                "no such label");
}

static void the_first_failure_is_told(void **state)
{
    (void)state;
    char want[256];
    dram_agreed agreed;
    dram_agreement mine = {.step = 4};
    if (size < 3) return; /* nobody would be told */
    if (rank >= 1) mine.status = dram_fail(DRAM_ERR_NUMERIC, "from %d", rank);
    dram_status status = dram_comm_agree(comm, &mine, &agreed);
    snprintf(want, sizeof want, "rank 1 on %s: from 1 (and %d more rank%s)", dram_comm_host(comm, 1), size - 2,
             size == 3 ? "" : "s");
    if (rank) snprintf(want, sizeof want, "rank %d on %s: from %d", rank, dram_comm_host(comm, rank), rank);
    assert_int_equal(status, rank ? DRAM_ERR_NUMERIC : DRAM_ERR_PEER);
    assert_string_equal(dram_error_text(), want);
}

static void ranks_that_part_are_found(void **state)
{
    (void)state;
    bool stop;
    dram_agreed agreed;
    const dram_agreement mine = {.step = rank == 1 ? 8 : 7};
    assert_int_equal(dram_comm_agree(comm, &mine, &agreed), DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "rank 1 is in the agreement of a step (8), rank 0 in that of 7"));
    fresh(NULL);
    dram_status status = rank == 1 ? dram_comm_wait(comm, DRAM_OK, NULL, &stop) : dram_comm_agree(comm, &mine, &agreed);
    assert_int_equal(status, DRAM_ERR_INTERNAL);
    assert_non_null(
        strstr(dram_error_text(), "rank 1 is in a wait for other ranks, rank 0 in the agreement of a step"));
}

static void a_stop_is_for_all(void **state)
{
    (void)state;
    bool stop = false;
    const volatile sig_atomic_t asked = rank == 1;
    dram_agreed agreed;
    if (rank == 1) ok(dram_comm_busy(comm, &asked, &stop)); /* at once */
    ok(dram_comm_wait(comm, DRAM_OK, &asked, &stop));
    assert_true(stop);
    const dram_agreement mine = {.step = 9};
    ok(dram_comm_agree(comm, &mine, &agreed));
    assert_true(agreed.stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(steps_add_labels, fresh),
        cmocka_unit_test_setup(gathers_are_in_rank_order, fresh),
        cmocka_unit_test_setup(sums_are_in_rank_order, fresh),
        cmocka_unit_test_setup(a_wait_lasts_until_all_are_done, fresh),
        cmocka_unit_test_setup(a_failure_is_told, fresh),
        cmocka_unit_test_setup(the_first_failure_is_told, fresh),
        cmocka_unit_test_setup(ranks_that_part_are_found, fresh),
        cmocka_unit_test_setup(a_stop_is_for_all, fresh),
    };
    comm = ranks_open(60, "a: 1\n", "1");
    rank = dram_comm_rank(comm);
    size = dram_comm_size(comm);
    if (size < 2 || size > 4) {
        fprintf(stderr, "start it with mpirun.sh, 2 to 4 ranks\n");
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    dram_comm_close(comm, failed ? DRAM_ERR_RUN : DRAM_OK);
    return failed;
}
