/* The program: finds the command, prints its error, exits with its status. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "device/host.h"

const dram_command dram_commands[] = {
    {"check", "CONFIG [key=value ...]", "what the data is and whether a run could begin, without a step",
     dram_command_check},
    {"train", "CONFIG [key=value ...]", "plan a run, print the plan, train", dram_command_train},
    {"plan", "CONFIG [key=value ...]", "everything but running: bytes by category, levers, does it fit",
     dram_command_plan},
    {"eval", "CONFIG --weights FILE [key=value ...]", "task mIoU and embedding cosine of trained weights",
     dram_command_eval},
    {"features", "CONFIG --weights FILE --out DIR IMAGE...",
     "a picture of teacher and student embeddings side by side for each image", dram_command_features},
    {"export", "RUN|WEIGHTS [CONFIG] --onnx FILE ...",
     "a trained student as others read it: ONNX, timm, a SAM checkpoint", dram_command_export},
    {"report", "DIR...", "a run, several runs or a sweep as one page for a browser", dram_command_report},
    {"synth", "DIR --count N --seed S", "write synthetic scenes: DIR/images/*.jpg, DIR/labels/*.png",
     dram_command_synth},
    {"config", "CONFIG [key=value ...] | --schema | --keys",
     "the resolved config, the schema editors can use, or all keys", dram_command_config},
    {"sweep", "FILE|CONFIG [key=a,b,c ...]", "many runs: all planned first, then run side by side, then compared",
     dram_command_sweep},
    {"doctor", "", "devices, free memory, libraries, and what dram would choose", dram_command_doctor},
};
const int dram_commands_count = sizeof dram_commands / sizeof dram_commands[0];

static void print_usage(FILE *out)
{
    fprintf(out, "dram %s: memory-lean distillation, planned to the byte before the first step\n\n", DRAM_VERSION);
    for (int i = 0; i < dram_commands_count; i++)
        fprintf(out, "  dram %-8s %-41s %s\n", dram_commands[i].name, dram_commands[i].usage, dram_commands[i].summary);
    fprintf(out,
            "\n`dram COMMAND --help` lists a command's options. key=value overrides the config: train.steps=10.\n"
            "Exit codes: 0 done, 1 failed while running, 2 the command or the config is wrong, 3 it does not fit,\n"
            "4 another process of the job failed or does not answer, 130 interrupted after saving.\n");
}

static const dram_command *find_command(const char *name)
{
    for (int i = 0; i < dram_commands_count; i++)
        if (strcmp(dram_commands[i].name, name) == 0) return &dram_commands[i];
    return NULL;
}

static dram_status unknown_command(const char *name)
{
    const char *names[16];
    for (int i = 0; i < dram_commands_count; i++) names[i] = dram_commands[i].name;
    const char *nearest = dram_nearest(name, names, dram_commands_count);
    return dram_fail(DRAM_ERR_CONFIG, "unknown command \"%s\"%s%s%s; `dram --help` lists them", name,
                     nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* The main thread computes as well. With less than this it would end in the midst of a kernel, without a word. */
static dram_status check_stack(void)
{
    enum { LEAST = 1 << 20 };
    char has[32];
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= LEAST) return DRAM_OK;
    return dram_fail(DRAM_ERR_FIT, "`ulimit -s` leaves %s to the stack, and dram may need 1.00 MiB: raise it",
                     dram_format_bytes((int64_t)limit.rlim_cur, has, sizeof has));
}

static dram_status run_command(int argc, char **argv)
{
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return DRAM_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("dram %s\n", DRAM_VERSION);
        return DRAM_OK;
    }
    const dram_command *command = find_command(argv[1]);
    if (!command) return unknown_command(argv[1]);
    TRY(check_stack());
    return command->run(argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return dram_status_exit(DRAM_ERR_CONFIG);
    }
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error of write(), not the end */
    dram_log_set_sink(dram_progress_log, NULL);
    /* glibc maps 64 MiB of address space for a heap of each thread's own. */
    if (dram_host_to_map().bytes < INT64_MAX) mallopt(M_ARENA_MAX, 1);
    dram_status status = run_command(argc, argv);
    if (status != DRAM_OK) {
        dram_progress_clear();
        fprintf(stderr, "dram: %s\n", *dram_error_text() ? dram_error_text() : dram_status_text(status));
    }
    /* What was written long ago may have failed long ago: that is in the error flag. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == DRAM_OK) {
        fprintf(stderr, "dram: cannot write to standard output\n");
        status = DRAM_ERR_IO;
    }
    /* A launcher reports the exit code of the rank that left first: let it be that of the one which failed. */
    if (status == DRAM_ERR_PEER) sleep(5);
    return dram_status_exit(status);
}
