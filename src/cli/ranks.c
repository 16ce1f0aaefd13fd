#include "cli/ranks.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "io/hash.h"
#include "session/machine.h"

static struct {
    int rank;
    bool speaks; /* its warnings are its own */
} self;

dram_status dram_one_process(const char *command)
{
    dram_world world;
    TRY(dram_world_read(dram_process_environment, NULL, &world));
    if (world.size == 1) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG,
                     "dram %s is for one process, and %s started %d: start it by itself (dram train and dram eval are "
                     "for several)",
                     command, dram_launcher_name(world.launcher), world.size);
}

/* What all ranks say alike, the first has said. */
static void log_of_rank(void *context, dram_log_level level, const char *message)
{
    char text[2200];
    if (level == DRAM_LOG_INFO || !self.speaks) return;
    snprintf(text, sizeof text, "rank %d: %s", self.rank, message);
    dram_progress_log(context, level, text);
}

/* By another thread, while the main thread hangs, or by itself: the process ends here. */
static void leave(void *context, dram_status status, const char *text)
{
    (void)context;
    dram_progress_clear();
    fprintf(stderr, "dram: %s\n", text);
    fflush(stderr);
    _exit(dram_status_exit(status));
}

/* Of several ranks: the others' words are not for standard output, where the first's result is. */
static dram_status be_quiet(void)
{
    dram_log_set_sink(log_of_rank, NULL);
    if (freopen("/dev/null", "w", stdout)) return DRAM_OK;
    return dram_fail(DRAM_ERR_IO, "/dev/null: cannot open: %m");
}

dram_status dram_ranks_open(const dram_config *cfg, dram_comm **comm)
{
    char program[DRAM_HASH_SIZE + 32], hash[DRAM_HASH_SIZE];
    dram_comm_params params = {.backend = cfg->distributed.backend,
                               .rendezvous = cfg->distributed.rendezvous,
                               .channels = cfg->distributed.nccl_channels,
                               .timeout = cfg->distributed.timeout,
                               .program = program,
                               .leave = leave};
    dram_str yaml = {0};
    *comm = NULL;
    TRY(dram_world_read(dram_process_environment, NULL, &params.world));
    if (params.world.size == 1) return DRAM_OK;
    params.gpu = dram_machine_gpu(cfg, NULL, 0);
    TRY(dram_hash_file("/proc/self/exe", NULL, hash)); /* all ranks must add in the same way */
    snprintf(program, sizeof program, "%s (XXH3 %s)", DRAM_VERSION, hash);
    self.rank = params.world.rank;
    if (self.rank) TRY(be_quiet());
    dram_status status = dram_config_write_yaml(cfg, &yaml);
    params.config = yaml.text;
    if (status == DRAM_OK) status = dram_comm_open(&params, comm);
    dram_str_free(&yaml);
    return status;
}

void dram_ranks_speak(void)
{
    self.speaks = true;
}

void dram_ranks_close(dram_comm *comm, dram_status status)
{
    dram_comm_close(comm, status == DRAM_INTERRUPTED ? DRAM_OK : status); /* that is agreed: all come here */
}
