/* One rank: every call is free. And several ranks that cannot meet: what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/testing.h"
#include "comm/comm.h"
#include "comm/mpi.h"
#include "support/ok.h"
#include "support/tempdir.h"

static void free_of_cost(dram_comm *comm)
{
    static const volatile sig_atomic_t asked = 1;
    dram_device device = {.comm = NULL};
    dram_agreed agreed;
    const dram_agreement mine = {.step = 5, .stop = true, .labelled = 77};
    double sum = 1.5;
    int64_t count = 3, all = 0;
    bool stop = true;
    const int64_t calls = dram_alloc_calls();
    assert_int_equal(dram_comm_rank(comm), 0);
    assert_int_equal(dram_comm_size(comm), 1);
    assert_string_equal(dram_comm_backend(comm), "none");
    assert_string_equal(dram_comm_version(comm), "");
    dram_comm_attach(comm, &device);
    assert_null(device.collectives);
    ok(dram_comm_agree(comm, &mine, &agreed));
    assert_true(agreed.stop && agreed.labelled == 77 && agreed.last == 0 && agreed.waited == 0);
    ok(dram_comm_busy(comm, NULL, &stop));
    assert_false(stop);
    ok(dram_comm_busy(comm, &asked, &stop));
    assert_true(stop);
    ok(dram_comm_wait(comm, DRAM_OK, &asked, &stop));
    assert_true(stop);
    ok(dram_comm_gather(comm, &count, sizeof count, &all));
    assert_int_equal(all, 3);
    ok(dram_comm_sum(comm, &sum, 1));
    ok(dram_comm_sum_counts(comm, &count, 1));
    assert_true(sum == 1.5 && count == 3);
    assert_int_equal(dram_comm_fail(comm, DRAM_ERR_IO), DRAM_ERR_IO); /* and the process goes on */
    assert_int_equal(dram_comm_wait(comm, DRAM_ERR_FIT, NULL, &stop), DRAM_ERR_FIT);
    assert_int_equal(dram_alloc_calls(), calls);
}

static void one_rank(void **state)
{
    (void)state;
    const dram_comm_params params = {.world = {.size = 1, .local_size = 1}};
    dram_comm *comm;
    free_of_cost(NULL);
    ok(dram_comm_open(&params, &comm));
    free_of_cost(comm);
    dram_comm_close(comm, DRAM_OK);
    dram_comm_close(NULL, DRAM_OK);
}

static void leave(void *context, dram_status status, const char *text)
{
    (void)context;
    fprintf(stderr, "%s\n", text);
    _Exit(dram_status_exit(status));
}

static void refuse(dram_launcher launcher, bool mpi, const char *const *parts)
{
    const dram_comm_params params = {.world = {.launcher = launcher, .size = 2, .local_size = 2, .mpi = mpi},
                                     .leave = leave};
    dram_comm *comm;
    dram_error_clear();
    assert_int_equal(dram_comm_open(&params, &comm), DRAM_ERR_CONFIG);
    for (; *parts; parts++)
        if (!strstr(dram_error_text(), *parts)) fail_msg("\"%s\" is not in \"%s\"", *parts, dram_error_text());
    dram_error_clear();
}

static void ranks_without_a_way_to_meet(void **state)
{
    char path[4096], version[512];
    refuse(DRAM_LAUNCHER_TORCHRUN, false, (const char *const[]){"torchrun", "mpirun -n 2 dram", NULL});
    refuse(DRAM_LAUNCHER_SRUN, false, (const char *const[]){"srun", "mpirun -n 2 dram", "--mpi=pmi", NULL});
    setenv("DRAM_MODULES", "/nowhere", 1);
    refuse(DRAM_LAUNCHER_OPEN_MPI, true, (const char *const[]){"/nowhere/dram_mpi.so", "libopenmpi-dev", NULL});
    dram_mpi_describe(path, sizeof path, version, sizeof version);
    assert_string_equal(path, "");
    assert_non_null(strstr(version, "/nowhere/dram_mpi.so"));
    FILE *file = fopen(in_dir(state, "dram_mpi.so"), "w");
    assert_non_null(file);
    fputs("no library", file);
    fclose(file);
    setenv("DRAM_MODULES", *state, 1);
    refuse(DRAM_LAUNCHER_OPEN_MPI, true, (const char *const[]){"dram_mpi.so cannot be loaded", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank),
        cmocka_unit_test_setup_teardown(ranks_without_a_way_to_meet, tempdir_make, tempdir_remove)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
