#include "comm/world.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    dram_environment read;
    void *context;
} variables;

/* The names of a launcher's four numbers. */
typedef struct {
    const char *rank, *size, *local_rank, *local_size;
} four;

static const four torchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
static const four open_mpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
                              "OMPI_COMM_WORLD_LOCAL_SIZE"};
static const four mpich = {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
static const four slurm = {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", NULL};

/* Slurm's own steps (the script of sbatch, a shell of salloc) have the highest numbers: they are one process. */
static const long FIRST_STEP_OF_SLURM = 0xfffffff0;
static const int MOST_RANKS = 1 << 20, LAST_PORT = 65535;

const char *dram_launcher_name(dram_launcher launcher)
{
    static const char *const names[] = {"none", "torchrun", "Open MPI", "MPICH", "srun"};
    return names[launcher];
}

const char *dram_process_environment(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

/* An empty variable counts as one that is not set. */
static const char *value(const variables *v, const char *name)
{
    const char *text = v->read(v->context, name);
    return text && *text ? text : NULL;
}

/* A decimal number without a sign; false if it is none. Beyond what fits it is LONG_MAX. */
static bool is_number(const char *text, long *number)
{
    char *end;
    *number = strtol(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0';
}

/* beside: a variable that is set, and makes this one needed. */
static dram_status number(const variables *v, const char *name, const char *beside, long most, int *out)
{
    const char *text = value(v, name);
    long n;
    if (!text)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s=%s is set, but %s is not: start dram with torchrun, mpirun or srun, which set both, or "
                         "unset %s for one process",
                         beside, value(v, beside) ? value(v, beside) : "", name, beside);
    if (!is_number(text, &n) || n > most)
        return dram_fail(DRAM_ERR_CONFIG, "%s=%s is no number of 0 to %ld", name, text, most);
    *out = (int)n;
    return DRAM_OK;
}

static dram_status contradict(const variables *v, const char *a, const char *b, const char *because)
{
    const char *first = value(v, a), *second = value(v, b);
    return dram_fail(DRAM_ERR_CONFIG,
                     "the environment contradicts itself: %s=%s and %s=%s, but %s; unset those of the launcher that "
                     "did not start this process",
                     a, first ? first : "", b, second ? second : "", because);
}

static dram_status rank_and_size(const variables *v, const four *names, dram_world *world)
{
    const char *beside = value(v, names->rank) ? names->rank : names->size;
    TRY(number(v, names->rank, beside, MOST_RANKS - 1, &world->rank));
    TRY(number(v, names->size, beside, MOST_RANKS, &world->size));
    if (world->rank >= world->size)
        return contradict(v, names->rank, names->size, "ranks are counted from 0 to one less than the size");
    return DRAM_OK;
}

static dram_status local_numbers(const variables *v, const four *names, dram_world *world)
{
    world->local_rank = 0;
    world->local_size = 1;
    if (world->size == 1) return DRAM_OK;
    TRY(number(v, names->local_rank, names->rank, MOST_RANKS - 1, &world->local_rank));
    TRY(number(v, names->local_size, names->rank, MOST_RANKS, &world->local_size));
    if (world->local_rank >= world->local_size)
        return contradict(v, names->local_rank, names->local_size, "a machine's ranks are counted from 0");
    if (world->local_size > world->size)
        return contradict(v, names->local_size, names->size, "a machine has no more ranks than there are");
    return DRAM_OK;
}

/* The n-th number of "2(x3),1": 2 2 2 1; 0 if the text has none there or is of another form. */
static int nth_of_runs(const char *text, int n)
{
    int tasks, times, used;
    while (sscanf(text, "%d%n", &tasks, &used) == 1 && tasks > 0) {
        text += used;
        times = 1;
        used = 0;
        if (*text == '(' && (sscanf(text, "(x%d)%n", &times, &used) != 1 || !used || times < 1)) return 0;
        text += used;
        if (n < times) return tasks;
        n -= times;
        if (*text++ != ',') return 0;
    }
    return 0;
}

static bool in_a_step(const variables *v)
{
    const char *step = value(v, "SLURM_STEP_ID");
    long n;
    return step && !(is_number(step, &n) && n >= FIRST_STEP_OF_SLURM);
}

static dram_status slurm_local_numbers(const variables *v, dram_world *world)
{
    const char *name = value(v, "SLURM_STEP_TASKS_PER_NODE") ? "SLURM_STEP_TASKS_PER_NODE" : "SLURM_TASKS_PER_NODE";
    int node;
    world->local_rank = 0;
    world->local_size = 1;
    if (world->size == 1) return DRAM_OK;
    TRY(number(v, slurm.local_rank, slurm.rank, MOST_RANKS - 1, &world->local_rank));
    TRY(number(v, "SLURM_NODEID", slurm.rank, MOST_RANKS - 1, &node));
    const char *tasks = value(v, name);
    world->local_size = tasks ? nth_of_runs(tasks, node) : 0;
    if (!world->local_size)
        return dram_fail(DRAM_ERR_CONFIG, "%s=%s does not say how many tasks node SLURM_NODEID=%d has", name,
                         tasks ? tasks : "", node);
    if (world->local_rank >= world->local_size)
        return contradict(v, slurm.local_rank, name, "a node's tasks are counted from 0");
    if (world->local_size > world->size)
        return contradict(v, name, slurm.size, "a node has no more tasks than there are");
    return DRAM_OK;
}

/* What both launchers say of this process must be the same. */
static dram_status must_agree(const variables *v, const four *a, const four *b, const dram_world *world)
{
    dram_world other;
    TRY(rank_and_size(v, b, &other));
    if (other.size != world->size) return contradict(v, a->size, b->size, "both are the number of ranks");
    if (other.rank != world->rank) return contradict(v, a->rank, b->rank, "both are this process's rank");
    return DRAM_OK;
}

static bool is_set(const variables *v, const four *names)
{
    return value(v, names->rank) || value(v, names->size);
}

/* torchrun's own processes have TORCHELASTIC_RUN_ID: whatever else is set is of what started torchrun. Without it a
 * person or a script has set RANK, often from the numbers of the launcher that really started the process. */
static dram_status read_torchrun(const variables *v, dram_world *world)
{
    world->launcher = DRAM_LAUNCHER_TORCHRUN;
    TRY(rank_and_size(v, &torchrun, world));
    TRY(local_numbers(v, &torchrun, world));
    if (value(v, "TORCHELASTIC_RUN_ID")) return DRAM_OK;
    for (int i = 0; i < 2; i++) {
        const four *other = i == 0 ? &open_mpi : &mpich;
        if (!is_set(v, other)) continue;
        TRY(must_agree(v, &torchrun, other, world));
        world->mpi = true;
    }
    dram_world step;
    if (!in_a_step(v)) return DRAM_OK;
    TRY(rank_and_size(v, &slurm, &step));
    if (step.size > world->size)
        return contradict(v, torchrun.size, slurm.size, "srun has started more processes than that");
    return DRAM_OK;
}

static dram_status read_open_mpi(const variables *v, dram_world *world)
{
    world->launcher = DRAM_LAUNCHER_OPEN_MPI;
    world->mpi = true;
    TRY(rank_and_size(v, &open_mpi, world));
    return local_numbers(v, &open_mpi, world);
}

static dram_status read_mpich(const variables *v, dram_world *world)
{
    world->launcher = DRAM_LAUNCHER_MPICH;
    world->mpi = true;
    TRY(rank_and_size(v, &mpich, world));
    if (value(v, mpich.local_rank) || !in_a_step(v)) return local_numbers(v, &mpich, world);
    TRY(must_agree(v, &mpich, &slurm, world)); /* `srun --mpi=pmi2` */
    return slurm_local_numbers(v, world);
}

static dram_status read_srun(const variables *v, dram_world *world)
{
    world->launcher = DRAM_LAUNCHER_SRUN;
    world->mpi = value(v, "PMIX_RANK") != NULL;
    TRY(rank_and_size(v, &slurm, world));
    int tasks = world->size;
    if (value(v, "SLURM_STEP_NUM_TASKS")) TRY(number(v, "SLURM_STEP_NUM_TASKS", slurm.rank, MOST_RANKS, &tasks));
    if (tasks != world->size)
        return contradict(v, "SLURM_STEP_NUM_TASKS", slurm.size, "both are the number of tasks of this step");
    return slurm_local_numbers(v, world);
}

dram_status dram_world_read(dram_environment environment, void *context, dram_world *world)
{
    const variables v = {environment, context};
    *world = (dram_world){.size = 1, .local_size = 1};
    if (is_set(&v, &torchrun)) return read_torchrun(&v, world);
    if (is_set(&v, &open_mpi)) return read_open_mpi(&v, world);
    if (is_set(&v, &mpich)) return read_mpich(&v, world);
    if (in_a_step(&v)) return read_srun(&v, world);
    return DRAM_OK;
}

/* The first host of "n[03-05,9],m1": n03. Each bracket gives its first number. */
static bool first_host(const char *list, char address[DRAM_ADDRESS_SIZE])
{
    int n = 0;
    for (; *list && *list != ','; list++) {
        if (*list == '[') {
            list++;
            if (!isdigit((unsigned char)*list)) return false;
            while (isdigit((unsigned char)*list) && n < DRAM_ADDRESS_SIZE - 1) address[n++] = *list++;
            list += strspn(list, "0123456789,-");
            if (*list != ']') return false;
        } else if (n < DRAM_ADDRESS_SIZE - 1 && (isalnum((unsigned char)*list) || strchr("-._", *list))) {
            address[n++] = *list;
        } else {
            return false;
        }
    }
    address[n] = '\0';
    return n > 0;
}

static dram_status find_host(const variables *v, const dram_world *world, char address[DRAM_ADDRESS_SIZE])
{
    const char *master = value(v, "MASTER_ADDR"), *nodes = value(v, "SLURM_STEP_NODELIST");
    if (master && strlen(master) >= DRAM_ADDRESS_SIZE)
        return dram_fail(DRAM_ERR_CONFIG, "MASTER_ADDR=%.40s...: no host has a name that long", master);
    if (master) {
        snprintf(address, DRAM_ADDRESS_SIZE, "%s", master);
        return DRAM_OK;
    }
    if (world->launcher != DRAM_LAUNCHER_SRUN || !nodes)
        return dram_fail(
            DRAM_ERR_CONFIG,
            "the ranks do not know where to meet: set MASTER_ADDR to the host of rank 0 and MASTER_PORT to "
            "a free port of it (launcher: %s)",
            dram_launcher_name(world->launcher));
    if (first_host(nodes, address)) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "SLURM_STEP_NODELIST=%s is a list of a form that dram does not read: set MASTER_ADDR to the host "
                     "of rank 0",
                     nodes);
}

static dram_status find_port(const variables *v, const dram_world *world, int *port)
{
    const char *text = value(v, "MASTER_PORT"), *job = value(v, "SLURM_JOB_ID");
    bool store = text && value(v, "TORCHELASTIC_RUN_ID"); /* torchrun's agent listens on that port itself */
    long id;
    if (!text && world->launcher == DRAM_LAUNCHER_SRUN && job && is_number(job, &id)) {
        *port = 20000 + (int)(id % 20000);
        return DRAM_OK;
    }
    TRY(number(v, "MASTER_PORT", "MASTER_ADDR", LAST_PORT, port));
    if (*port == 0 || *port + store > LAST_PORT)
        return dram_fail(DRAM_ERR_CONFIG, "MASTER_PORT=%s: %s is no port of 1 to %d", text,
                         store ? "the one after it, where dram's ranks meet," : "that", LAST_PORT);
    *port += store;
    return DRAM_OK;
}

dram_status dram_world_address(dram_environment environment, void *context, const dram_world *world,
                               char address[DRAM_ADDRESS_SIZE], int *port)
{
    const variables v = {environment, context};
    TRY(find_host(&v, world, address));
    return find_port(&v, world, port);
}
