/* What `dram doctor` says of several processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/commands.h"

static void set_rank(const char *rank)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE"};
    for (int i = 0; i < 4; i++)
        if (rank)
            setenv(names[i], i < 2 ? rank : "4", 1);
        else
            unsetenv(names[i]);
}

static void must_say(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

static void doctor_says_who_it_is(void **state)
{
    dram_ok(state, "doctor");
    must_say(printed, "launcher      none: one process\n");
    must_say(printed, "\nMPI           ");
    must_say(printed, "\nNCCL          ");
    set_rank("1");
    dram_ok(state, "doctor");
    must_say(printed, "launcher      Open MPI: rank 1 of 4, 1 of 4 on this machine\n");
    dram_ok(state, "doctor --json");
    cJSON *root = cJSON_Parse(printed), *world = cJSON_GetObjectItemCaseSensitive(root, "world");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(world, "launcher")), "Open MPI");
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(world, "rank")) == 1);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(world, "ranks")) == 4);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(world, "local_ranks")) == 4);
    cJSON_Delete(root);
    set_rank("4");
    dram_ok(state, "doctor");
    must_say(printed, "launcher      not to be told: the environment contradicts itself: OMPI_COMM_WORLD_RANK=4");
    dram_ok(state, "doctor --json");
    root = cJSON_Parse(printed);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "world")));
    cJSON_Delete(root);
    set_rank(NULL);
}

static void a_missing_module_is_named(void **state)
{
    setenv("DRAM_MODULES", "/nowhere", 1);
    dram_ok(state, "doctor");
    must_say(printed, "MPI           none: there is no dram_mpi.so (/nowhere/dram_mpi.so is not there)");
    dram_ok(state, "doctor --json");
    cJSON *root = cJSON_Parse(printed);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "mpi")));
    cJSON_Delete(root);
    unsetenv("DRAM_MODULES");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(doctor_says_who_it_is),
                                       cmocka_unit_test(a_missing_module_is_named)};
    return cmocka_run_group_tests(tests, tempdir_make, dram_teardown);
}
