/* Who a process is: environments that launchers make, and those that they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "comm/world.h"

enum { MOST_VARIABLES = 16 };

typedef struct {
    const char *variables; /* "A=1 B=2": no value has a space */
    dram_launcher launcher;
    int rank, size, local_rank, local_size;
    bool mpi;
    const char *error; /* of the message: needed parts, each followed by '|'; NULL: none */
} row;

#define GOOD(LAUNCHER, RANK, SIZE, LOCAL_RANK, LOCAL_SIZE, MPI)                                                        \
    DRAM_LAUNCHER_##LAUNCHER, RANK, SIZE, LOCAL_RANK, LOCAL_SIZE, MPI, NULL
#define BAD(PARTS) DRAM_LAUNCHER_NONE, 0, 0, 0, 0, false, PARTS
#define OMPI(RANK, SIZE, LOCAL_RANK, LOCAL_SIZE)                                                                       \
    "OMPI_COMM_WORLD_RANK=" #RANK " OMPI_COMM_WORLD_SIZE=" #SIZE " OMPI_COMM_WORLD_LOCAL_RANK=" #LOCAL_RANK            \
    " OMPI_COMM_WORLD_LOCAL_SIZE=" #LOCAL_SIZE
#define TORCH(RANK, SIZE, LOCAL_RANK, LOCAL_SIZE)                                                                      \
    "RANK=" #RANK " WORLD_SIZE=" #SIZE " LOCAL_RANK=" #LOCAL_RANK " LOCAL_WORLD_SIZE=" #LOCAL_SIZE
#define STEP(RANK, SIZE, LOCAL_RANK, NODE, TASKS)                                                                      \
    "SLURM_STEP_ID=0 SLURM_PROCID=" #RANK " SLURM_NTASKS=" #SIZE " SLURM_LOCALID=" #LOCAL_RANK " SLURM_NODEID=" #NODE  \
    " SLURM_TASKS_PER_NODE=" TASKS

static const row rows[] = {
    {"", GOOD(NONE, 0, 1, 0, 1, false)},
    {"MASTER_ADDR=a MASTER_PORT=1", GOOD(NONE, 0, 1, 0, 1, false)},
    {"LOCAL_RANK=3", GOOD(NONE, 0, 1, 0, 1, false)}, /* alone it is nobody's */
    /* torchrun */
    {TORCH(0, 4, 0, 4), GOOD(TORCHRUN, 0, 4, 0, 4, false)},
    {TORCH(5, 8, 1, 4), GOOD(TORCHRUN, 5, 8, 1, 4, false)},
    {TORCH(0, 1, 0, 1), GOOD(TORCHRUN, 0, 1, 0, 1, false)},
    {"RANK=0 WORLD_SIZE=1", GOOD(TORCHRUN, 0, 1, 0, 1, false)},
    {TORCH(0, 2, 0, 2) " TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=0", GOOD(TORCHRUN, 0, 2, 0, 2, false)},
    {TORCH(4, 4, 0, 4), BAD("RANK=4|WORLD_SIZE=4|")},
    {TORCH(0, 4, 4, 4), BAD("LOCAL_RANK=4|LOCAL_WORLD_SIZE=4|")},
    {TORCH(0, 4, 0, 5), BAD("LOCAL_WORLD_SIZE=5|WORLD_SIZE=4|")},
    {TORCH(-1, 4, 0, 4), BAD("RANK=-1|0 to|")},
    {TORCH(x, 4, 0, 4), BAD("RANK=x|")},
    {TORCH(0, 99999999999999999999, 0, 4), BAD("WORLD_SIZE=99999999999999999999|")},
    {TORCH(1.5, 4, 0, 4), BAD("RANK=1.5|")},
    {"RANK=1", BAD("RANK=1|WORLD_SIZE is not|unset RANK|")},
    {"WORLD_SIZE=4", BAD("WORLD_SIZE=4|RANK is not|")},
    {"RANK= WORLD_SIZE=4", BAD("WORLD_SIZE=4|RANK is not|")},
    {"RANK=1 WORLD_SIZE=2", BAD("RANK=1|LOCAL_RANK is not|")},
    {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1", BAD("LOCAL_WORLD_SIZE is not|")},
    /* Open MPI */
    {OMPI(3, 4, 1, 2), GOOD(OPEN_MPI, 3, 4, 1, 2, true)},
    {OMPI(0, 1, 0, 1), GOOD(OPEN_MPI, 0, 1, 0, 1, true)},
    {OMPI(4, 4, 0, 2), BAD("OMPI_COMM_WORLD_RANK=4|OMPI_COMM_WORLD_SIZE=4|")},
    {"OMPI_COMM_WORLD_RANK=0", BAD("OMPI_COMM_WORLD_SIZE is not|")},
    {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2", BAD("OMPI_COMM_WORLD_LOCAL_RANK is not|")},
    {OMPI(1, 4, 1, 4) " " STEP(0, 1, 0, 0, "1"), GOOD(OPEN_MPI, 1, 4, 1, 4, true)}, /* mpirun in a shell of srun */
    /* RANK set by a script under mpirun, and torchrun under mpirun */
    {OMPI(1, 4, 1, 4) " " TORCH(1, 4, 1, 4), GOOD(TORCHRUN, 1, 4, 1, 4, true)},
    {OMPI(1, 4, 1, 4) " " TORCH(2, 4, 2, 4), BAD("RANK=2|OMPI_COMM_WORLD_RANK=1|")},
    {OMPI(1, 4, 1, 4) " " TORCH(1, 2, 1, 2), BAD("WORLD_SIZE=2|OMPI_COMM_WORLD_SIZE=4|")},
    {OMPI(1, 2, 0, 1) " " TORCH(6, 8, 2, 4) " TORCHELASTIC_RUN_ID=7", GOOD(TORCHRUN, 6, 8, 2, 4, false)},
    /* MPICH, Intel */
    {"PMI_RANK=2 PMI_SIZE=4 MPI_LOCALRANKID=0 MPI_LOCALNRANKS=2", GOOD(MPICH, 2, 4, 0, 2, true)},
    {"PMI_RANK=0 PMI_SIZE=1", GOOD(MPICH, 0, 1, 0, 1, true)},
    {"PMI_RANK=0 PMI_SIZE=2", BAD("PMI_RANK=0|MPI_LOCALRANKID is not|")},
    {"PMI_RANK=1 PMI_SIZE=4 " TORCH(0, 4, 0, 4), BAD("RANK=0|PMI_RANK=1|")},
    {"PMI_RANK=3 PMI_SIZE=4 " STEP(3, 4, 1, 1, "2(x2)"), GOOD(MPICH, 3, 4, 1, 2, true)}, /* srun --mpi=pmi2 */
    {"PMI_RANK=2 PMI_SIZE=4 " STEP(3, 4, 1, 1, "2(x2)"), BAD("PMI_RANK=2|SLURM_PROCID=3|")},
    /* srun */
    {STEP(0, 4, 0, 0, "4"), GOOD(SRUN, 0, 4, 0, 4, false)},
    {STEP(6, 7, 0, 3, "2(x3),1"), GOOD(SRUN, 6, 7, 0, 1, false)},
    {STEP(5, 7, 1, 2, "2(x3),1"), GOOD(SRUN, 5, 7, 1, 2, false)},
    {STEP(6, 7, 0, 4, "2(x3),1"), BAD("SLURM_TASKS_PER_NODE=2(x3),1|SLURM_NODEID=4|")},
    {STEP(0, 4, 0, 0, "4(y)"), BAD("SLURM_TASKS_PER_NODE=4(y)|")},
    {STEP(0, 4, 0, 0, "four"), BAD("SLURM_TASKS_PER_NODE=four|")},
    {STEP(3, 4, 3, 0, "2(x2)"), BAD("SLURM_LOCALID=3|SLURM_TASKS_PER_NODE=2(x2)|")},
    {STEP(0, 2, 0, 0, "4"), BAD("SLURM_TASKS_PER_NODE=4|SLURM_NTASKS=2|")},
    {STEP(0, 4, 0, 0, "4") " SLURM_STEP_TASKS_PER_NODE=2(x2)", GOOD(SRUN, 0, 4, 0, 2, false)},
    {STEP(0, 4, 0, 0, "4") " SLURM_STEP_NUM_TASKS=2", BAD("SLURM_STEP_NUM_TASKS=2|SLURM_NTASKS=4|")},
    {STEP(0, 4, 0, 0, "4") " PMIX_RANK=0", GOOD(SRUN, 0, 4, 0, 4, true)},
    {STEP(0, 1, 0, 0, "1"), GOOD(SRUN, 0, 1, 0, 1, false)},
    {STEP(1, 4, 1, 0, "4") " " TORCH(0, 1, 0, 1), BAD("WORLD_SIZE=1|SLURM_NTASKS=4|")},
    {STEP(1, 2, 0, 1, "1(x2)") " " TORCH(9, 16, 1, 8), GOOD(TORCHRUN, 9, 16, 1, 8, false)}, /* a launcher under srun */
    {"SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_LOCALID=0 SLURM_JOB_ID=7", GOOD(NONE, 0, 1, 0, 1, false)}, /* sbatch */
    {"SLURM_STEP_ID=4294967291 SLURM_PROCID=0 SLURM_NTASKS=4", GOOD(NONE, 0, 1, 0, 1, false)},       /* its step */
    {"SLURM_STEP_ID=4294967290 SLURM_PROCID=0 SLURM_NTASKS=4", GOOD(NONE, 0, 1, 0, 1, false)},       /* salloc's */
    {"SLURM_STEP_ID=0 SLURM_NTASKS=4", BAD("SLURM_PROCID is not|")},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* The value of a variable in "A=1 B=2", the context. The last few stay valid. */
static const char *read_variables(void *context, const char *name)
{
    static char kept[MOST_VARIABLES][128];
    static int next;
    size_t length = strlen(name);
    for (const char *at = context; at; at = strchr(at, ' '), at += at != NULL) {
        if (strncmp(at, name, length) != 0 || at[length] != '=') continue;
        at += length + 1;
        next = (next + 1) % MOST_VARIABLES;
        snprintf(kept[next], sizeof kept[next], "%.*s", (int)strcspn(at, " "), at);
        return kept[next];
    }
    return NULL;
}

static void must_have(const char *parts, const char *text, const char *of)
{
    char part[128];
    for (const char *at = parts; *at; at += strcspn(at, "|") + 1) {
        snprintf(part, sizeof part, "%.*s", (int)strcspn(at, "|"), at);
        if (!strstr(text, part)) fail_msg("%s: \"%s\" is not in \"%s\"", of, part, text);
    }
}

static void launchers(void **state)
{
    (void)state;
    assert_true(ROWS >= 40);
    for (int i = 0; i < ROWS; i++) {
        const row *r = &rows[i];
        dram_world w;
        dram_error_clear();
        dram_status status = dram_world_read(read_variables, (void *)r->variables, &w);
        if (r->error) {
            if (status != DRAM_ERR_CONFIG) fail_msg("%s: is taken", r->variables);
            must_have(r->error, dram_error_text(), r->variables);
        } else if (status != DRAM_OK) {
            fail_msg("%s: %s", r->variables, dram_error_text());
        } else if (w.launcher != r->launcher || w.rank != r->rank || w.size != r->size ||
                   w.local_rank != r->local_rank || w.local_size != r->local_size || w.mpi != r->mpi) {
            fail_msg("%s: %s, rank %d of %d, here %d of %d, mpi %d", r->variables, dram_launcher_name(w.launcher),
                     w.rank, w.size, w.local_rank, w.local_size, w.mpi);
        }
    }
    dram_error_clear();
}

static const struct {
    const char *variables, *address;
    int port;
    const char *error;
} meetings[] = {
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1 MASTER_PORT=29500", "n1", 29500, NULL},
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1 MASTER_PORT=29500 TORCHELASTIC_RUN_ID=r", "n1", 29501, NULL},
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1", NULL, 0, "MASTER_ADDR=n1|MASTER_PORT is not|"},
    {TORCH(0, 2, 0, 2), NULL, 0, "set MASTER_ADDR|torchrun|"},
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1 MASTER_PORT=0", NULL, 0, "MASTER_PORT=0|"},
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1 MASTER_PORT=65536", NULL, 0, "MASTER_PORT=65536|"},
    {TORCH(0, 2, 0, 2) " MASTER_ADDR=n1 MASTER_PORT=65535 TORCHELASTIC_RUN_ID=r", NULL, 0, "MASTER_PORT=65535|"},
    {OMPI(0, 2, 0, 2), NULL, 0, "set MASTER_ADDR|Open MPI|"},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=123456 SLURM_STEP_NODELIST=n[03-05,9]", "n03", 20000 + 3456, NULL},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=gpu-1.a,gpu-2.a", "gpu-1.a", 20007, NULL},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n[3,7-9]-ib,x", "n3-ib", 20007, NULL},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n[3", NULL, 0, "SLURM_STEP_NODELIST=n[3|MASTER_ADDR|"},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n{3}", NULL, 0, "n{3}|MASTER_ADDR|"},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n[]", NULL, 0, "n[]|MASTER_ADDR|"},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 SLURM_STEP_NODELIST=n[3] MASTER_ADDR=me MASTER_PORT=99", "me", 99, NULL},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7 MASTER_ADDR=me", "me", 20007, NULL},
    {STEP(0, 2, 0, 0, "2") " SLURM_JOB_ID=7", NULL, 0, "set MASTER_ADDR|"},
};
enum { MEETINGS = sizeof meetings / sizeof meetings[0] };

static void addresses(void **state)
{
    (void)state;
    for (int i = 0; i < MEETINGS; i++) {
        const char *variables = meetings[i].variables;
        char address[DRAM_ADDRESS_SIZE];
        int port;
        dram_world w;
        dram_error_clear();
        assert_int_equal(dram_world_read(read_variables, (void *)variables, &w), DRAM_OK);
        dram_status status = dram_world_address(read_variables, (void *)variables, &w, address, &port);
        if (meetings[i].error) {
            if (status != DRAM_ERR_CONFIG) fail_msg("%s: is taken", variables);
            must_have(meetings[i].error, dram_error_text(), variables);
        } else if (status != DRAM_OK) {
            fail_msg("%s: %s", variables, dram_error_text());
        } else {
            assert_string_equal(address, meetings[i].address);
            assert_int_equal(port, meetings[i].port);
        }
    }
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(launchers), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
