#include "launch/job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"

dram_status dram_job_directory(const dram_sweep *sweep, int run, char **directory)
{
    return dram_path_join(sweep->directory, sweep->runs[run].name, directory);
}

/* What is there stays: it is this run's, and may be what an earlier part of the run has put in its place. */
static dram_status write_config(const dram_sweep *sweep, int run, const char *directory)
{
    char *path;
    dram_str yaml = {0};
    dram_status status = DRAM_OK;
    TRY(dram_path_join(directory, "config.yaml", &path));
    if (!dram_path_exists(path)) {
        status = dram_sweep_config(sweep, &sweep->runs[run], &yaml);
        if (status == DRAM_OK) status = dram_atomic_save(path, yaml.text, yaml.length);
    }
    dram_str_free(&yaml);
    dram_free(path);
    return status;
}

dram_status dram_job_start(const dram_sweep *sweep, dram_events *events, dram_job *job, int64_t stop_at,
                           const char *text)
{
    char *directory;
    dram_status status;
    TRY(dram_job_directory(sweep, job->run, &directory));
    const dram_child_order order = {.directory = directory,
                                    .stop_at = stop_at,
                                    .ranks = job->item.ranks,
                                    .cards = job->item.card_bytes ? job->owner.cards : NULL,
                                    .claim = job->claim.fd};
    TRY_GOTO(dram_make_folders(directory), done);
    TRY_GOTO(write_config(sweep, job->run, directory), done);
    TRY_GOTO(dram_events_add(events, job->run, DRAM_SWEEP_EVENT_STARTED, -1, text), done);
    TRY_GOTO(dram_child_start(&order, &job->child), done);
    job->owner.child = job->child.pid;
    job->owner.child_start = dram_process_start(job->child.pid);
    status = dram_claim_say(&job->claim, &job->owner);
done:
    dram_free(directory);
    return status;
}

/* ---- how busy it keeps a card ---- */

/* Of the second half of the first steps: the first ones load kernels. */
static double share_of(FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    double sum = 0;
    int n = 0;
    while (n < DRAM_JOB_SHARE_STEPS && getline(&line, &room, file) > 0) {
        cJSON *root = NULL;
        if (dram_json_parse(line, strlen(line), &root, NULL) != DRAM_OK) dram_error_clear();
        double share = dram_json_number_or_nan(root, "device_utilization");
        cJSON_Delete(root);
        if (isnan(share)) continue;
        if (n++ >= DRAM_JOB_SHARE_STEPS / 2) sum += share;
    }
    free(line);
    return n == DRAM_JOB_SHARE_STEPS ? sum / (DRAM_JOB_SHARE_STEPS - DRAM_JOB_SHARE_STEPS / 2) : -1;
}

double dram_job_share(const dram_sweep *sweep, int run)
{
    char *directory, *path = NULL;
    double share = -1;
    if (dram_job_directory(sweep, run, &directory) != DRAM_OK) directory = NULL;
    const char *why; /* it is not there yet, say */
    FILE *file = NULL;
    if (directory && dram_path_join(directory, "metrics.jsonl", &path) == DRAM_OK) file = dram_file_stream(path, &why);
    if (file) {
        share = share_of(file);
        fclose(file);
    }
    dram_error_clear();
    dram_free(path);
    dram_free(directory);
    return share;
}
