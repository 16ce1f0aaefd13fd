/* begin: the state of a run, and how a run is begun, gone on with, and closed. For src/train alone. */
#ifndef DRAM_TRAIN_BEGIN_H
#define DRAM_TRAIN_BEGIN_H

#include "data/loader.h"
#include "feed/feed.h"
#include "io/rundir.h"
#include "record/record.h"
#include "session/choose.h"
#include "train/checkpoint.h"
#include "train/effective.h"
#include "train/guard.h"
#include "train/resume.h"
#include "train/train.h"

typedef struct {
    const dram_config *loaded; /* as the user has it */
    dram_comm *comm;           /* the ranks that run it together; NULL: this one alone */
    dram_config own;           /* `loaded`, with this rank's part of the effective batch that the run has */
    dram_chosen chosen;        /* what is planned from it; once there is a plan, session.cfg is the config */
    dram_resumed resumed;      /* what it goes on from; {0}: nothing */
    dram_depends depends;      /* what its steps depend on now */
    dram_str yaml;             /* the config as it is run, for the directory */
    dram_str base;             /* what the config was made from, for the directory; empty: not known */
    dram_str kept;             /* the config that they are done with, for the checkpoints */
    const dram_hooks *hooks;
    dram_summary *summary;
    dram_session session;
    dram_dataset *train, *val; /* val NULL: none */
    dram_loader *loader;
    dram_batch batch; /* of the next step; count 0: it takes a new one */
    dram_feed feed;
    dram_targets targets;
    dram_record *record; /* NULL: not open, or closed */
    dram_rundir *directory;
    char *checkpoints; /* the folder in it */
    dram_guard *guard;
    dram_run_state state;
    double loop_seconds, device_seconds, step_seconds; /* step: smoothed */
    int64_t images;
    int64_t evaluated_at; /* step of the last evaluation, -1 none */
    int64_t saved_at;     /* step of the newest checkpoint, 0 none */
    int noted;            /* of the loader's list of skipped images, that the state has */
    int64_t labelled;     /* pixels of the next step's effective batch */
    double waited;        /* seconds for other ranks, all steps together */
    double joined;        /* seconds in collectives, all steps together */
    dram_status failed;   /* of several ranks: this one's data has failed it, with this text */
    char failure[1024];
    bool told_left_out;
    bool *said;  /* [images of data.train] bad ones that were warned about */
    bool is_new; /* its directory was made by it */
    bool over;   /* all was done before: nothing in the directory changes but the export */
} dram_run;

/* From the config that was loaded to a plan: the directory is found and locked, the data sets are listed. resume->on is
 * afterwards what it came to. Of several ranks the first alone writes, and all fail where one does. */
dram_status dram_run_plan(dram_run *run, dram_resume *resume);

/* From the plan to the first step: the data is looked at, the cache is filled, the arena is taken, the directory is
 * made or its state is loaded. DRAM_INTERRUPTED: a stop was asked for. */
dram_status dram_run_start(dram_run *run, dram_resume resume);

/* Opens the training stream from the state's position on; the caller closes it. */
dram_status dram_run_open_loader(const dram_run *run, dram_loader **loader);

/* Whether this rank was asked to stop. */
bool dram_run_is_stopped(const dram_run *run);

/* DRAM_INTERRUPTED, before the first step. */
dram_status dram_run_interrupted(void);

/* Gives back all that a run holds, however far it came. */
void dram_run_close(dram_run *run);

#endif
