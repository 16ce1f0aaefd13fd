/* dram train: runs a training, and shows how it goes. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "report/summary.h"
#include "train/train.h"

static void show_plan(void *context, const dram_session *session)
{
    const dram_progress_view *view = context;
    dram_print_page(session, view->out);
}

static void print_process(const dram_gpu_process *p)
{
    char planned[32], measured[32];
    if (!p->gpu) return;
    printf("GPU: process planned %s%s, ", dram_format_bytes(p->planned_bytes, planned, sizeof planned),
           p->overhead_measured ? "" : " (context and libraries assumed)");
    if (p->measured_bytes)
        printf("%s at most by the driver%s\n", dram_format_bytes(p->measured_bytes, measured, sizeof measured),
               p->counted == DRAM_COUNTED_GPU ? ", counted by the change of the whole GPU" : "");
    else
        printf("not counted by the driver\n");
}

static void print_summary(const dram_summary *s)
{
    char planned[32], measured[32], resident[32], directory[PATH_MAX];
    printf("\n%lld steps done", (long long)s->steps);
    if (isfinite(s->images_per_second))
        printf(", %.2f images/s", s->images_per_second);
    else
        printf(" before, and none was left to do");
    if (isfinite(s->final_loss)) printf(", last loss %.4f", s->final_loss);
    printf("\nmemory: planned peak %s, measured peak %s, process %s resident at most\n",
           dram_format_bytes(s->planned_peak_bytes, planned, sizeof planned),
           dram_format_bytes(s->measured_peak_bytes, measured, sizeof measured),
           dram_format_bytes(s->process_peak_rss_bytes, resident, sizeof resident));
    print_process(&s->process);
    dram_visible(s->directory, directory, sizeof directory);
    if (s->skipped_images) printf("skipped images: %d (named in the warnings)\n", s->skipped_images);
    printf("student: %s/student.safetensors (timm names), neck and head: %s/heads.safetensors\n", directory, directory);
    if (s->steps < s->steps_in_all)
        printf("ended for now, %lld of %lld steps are done (train.stop_at): it goes on with --continue and a larger "
               "train.stop_at, or 0\n",
               (long long)s->steps, (long long)s->steps_in_all);
}

static void speak(void *context)
{
    (void)context;
    dram_ranks_speak();
}

/* The step of "step-400", "step-00000400" or "400". */
static dram_status read_step(const char *text, int64_t *step)
{
    const char *digits = strncmp(text, "step-", 5) == 0 ? text + 5 : text;
    size_t n = strspn(digits, "0123456789");
    *step = n && n < 16 && !digits[n] ? strtoll(digits, NULL, 10) : 0;
    if (*step > 0) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "train: --resume=%s: a checkpoint is named by its step, as in --resume=step-400",
                     text);
}

static dram_status train(const dram_config *cfg, dram_resume resume, bool json)
{
    dram_comm *comm;
    dram_summary summary;
    dram_progress_view view = {
        .out = json ? stderr : stdout, .terminal = isatty(STDERR_FILENO) != 0, .every = cfg->run.log_every};
    TRY(dram_ranks_open(cfg, &comm));
    dram_config_tell_idle(cfg);
    const volatile sig_atomic_t *stop = dram_catch_signals();
    const dram_hooks first = {.context = &view,
                              .planned = show_plan,
                              .fidelity = dram_progress_fidelity,
                              .sink = &dram_console_sink,
                              .looked = dram_progress_looked,
                              .data = dram_progress_data,
                              .stop = stop},
                     other = {.begins = speak, .stop = stop};
    dram_status status = dram_train(cfg, comm, resume, dram_comm_rank(comm) ? &other : &first, &summary);
    dram_progress_clear();
    if (json) {
        dram_status printed = dram_print_json(dram_summary_json(&summary, status));
        if (status == DRAM_OK) status = printed;
    } else if (status == DRAM_OK) {
        print_summary(&summary);
    }
    dram_ranks_close(comm, status);
    return status;
}

dram_status dram_command_train(int argc, char **argv)
{
    bool json = false, help;
    dram_resume resume = {0};
    const char *from = NULL;
    const dram_option options[] = {
        {"--resume", "step-N", "go on from the newest checkpoint of this run, or from that of step N", &resume.on,
         &from},
        {"--continue", NULL, "go on if the run is there, begin it if not: for jobs that are started again",
         &resume.if_there, NULL},
        {"--json", NULL, "print the summary as one JSON object, everything else on stderr", &json, NULL},
    };
    dram_words words;
    dram_config *cfg;
    TRY(dram_parse("train", argc, argv, options, 3, 1, &words, &help));
    if (help) return DRAM_OK;
    if (resume.on && resume.if_there)
        return dram_fail(DRAM_ERR_CONFIG, "train: --resume needs the run to be there, --continue does not: give one");
    if (from) TRY(read_step(from, &resume.step));
    TRY(dram_config_load(words.words[0], words.overrides, words.n_overrides, &cfg));
    dram_status status = train(cfg, resume, json);
    dram_config_free(cfg);
    return status;
}
