/* A rank of a job that goes wrong, for faults.sh: rank FAULT RANK [STEP [TIMEOUT]]. It makes steps of an agreement and
 * an all_reduce, as a training does, and rank RANK does at step STEP what FAULT says:
 *
 *   none    nothing; the job ends well after 40 steps
 *   kill    dies by SIGKILL              stop    stops by SIGSTOP       late    stops between agreement and all_reduce
 *   sleep   does something else for ever
 *   fail    has failed, and says so in the agreement
 *   inside  fails inside a program       ahead   is a step ahead        alone   ends without a word
 *   config  has another config           program runs another program
 *
 * Each rank writes its process id into $DRAM_RANK_PIDS.RANK. It prints and ends as src/cli/main.c does. */
#include <signal.h>
#include <string.h>

#include "comm/ranks.h"

static const char *fault;
static bool mine; /* this rank is the one */
static long at_step = 7;

static bool is(const char *name)
{
    return mine && strcmp(fault, name) == 0;
}

static void write_process(int rank)
{
    char path[4096];
    const char *prefix = getenv("DRAM_RANK_PIDS");
    if (!prefix) return;
    snprintf(path, sizeof path, "%s.%d", prefix, rank);
    FILE *file = fopen(path, "w");
    if (!file) exit(9);
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

static dram_status all_reduce(dram_device *device)
{
    enum { N = 30000, ROOM = N + 64 };
    static void *x, *workspace;
    const dram_attr attr = {.mode = DRAM_REDUCE_ORDERED};
    const bool queued = device->ops->asynchronous;
    if (!x) {
        TRY(dram_device_alloc(device, DRAM_SPACE_DEVICE, N * sizeof(float), &x));
        TRY(dram_device_alloc(device, DRAM_SPACE_DEVICE, ROOM * sizeof(float), &workspace));
    }
    dram_kernel_args a = {.n_in = 1, .n_out = 1, .attr = &attr, .workspace = workspace, .pool = device->pool};
    const dram_kernel_args *args = &a;
    if (queued) a.device = device->ops->shared(device, DRAM_QUEUE_COMM);
    a.in[0] = a.out[0] = (dram_tensor){.data = x, .dtype = DRAM_F32, .shape = DRAM_SHAPE(N)};
    void *stream = queued ? device->ops->stream(device, DRAM_QUEUE_COMM) : NULL;
    TRY(device->collectives->run(device->comm, DRAM_OP_all_reduce, &args, 1, stream));
    if (!queued) return DRAM_OK;
    device->collectives->wait(device->comm, true);
    dram_status status = device->ops->finish(device);
    device->collectives->wait(device->comm, false);
    return status;
}

static dram_status step(dram_comm *comm, dram_device *device, long number)
{
    dram_agreement said = {.step = number};
    dram_agreed agreed;
    bool now = number == at_step;
    if (now && is("kill")) raise(SIGKILL);
    if (now && is("stop")) raise(SIGSTOP);
    if (now && is("alone")) _exit(0);
    while (now && is("sleep")) sleep(1);
    if (now && is("ahead")) said.step++;
    if (now && is("fail")) said.status = dram_fail(DRAM_ERR_IO, "images/7.png: cannot read: Input/output error");
    TRY(dram_comm_agree(comm, &said, &agreed));
    if (now && is("late")) raise(SIGSTOP);
    if (now && is("inside")) TRY(dram_comm_fail(comm, dram_fail(DRAM_ERR_NUMERIC, "the loss is not finite")));
    return all_reduce(device);
}

int main(int argc, char **argv)
{
    dram_world world;
    dram_device *device;
    if (argc < 3 || dram_world_read(dram_process_environment, NULL, &world) != DRAM_OK) return 9;
    fault = argv[1];
    mine = world.rank == atoi(argv[2]);
    if (argc > 3) at_step = atol(argv[3]);
    write_process(world.rank);
    dram_comm *comm = ranks_open(argc > 4 ? atof(argv[4]) : 2,
                                 is("config") ? "name: a\ntrain:\n  batch_size: 8\n  steps: 9\n"
                                              : "name: a\ntrain:\n  batch_size: 4\n  steps: 9\n",
                                 is("program") ? "0.2.0" : "0.1.0");
    dram_status status = ranks_device_open(comm, &device);
    for (long i = 0; status == DRAM_OK && i < 40; i++) status = step(comm, device, i);
    dram_comm_close(comm, status);
    if (status != DRAM_OK)
        fprintf(stderr, "dram: %s\n", dram_error_text());
    else if (world.rank == 0)
        printf("40 steps are done\n");
    if (status == DRAM_ERR_PEER) sleep(5); /* the rank that failed leaves first: its exit code is the job's */
    dram_device_close(device);
    return dram_status_exit(status);
}
