/* train: a whole run, from a config to trained weights in a run directory. */
#ifndef DRAM_TRAIN_TRAIN_H
#define DRAM_TRAIN_TRAIN_H

#include <signal.h>

#include "check/check.h"
#include "comm/comm.h"
#include "evaluate/fidelity.h"
#include "record/sink.h"
#include "report/summary.h"
#include "session/session.h"

/* All optional. They are called on the thread that trains. */
typedef struct {
    void *context;
    void (*planned)(void *context, const dram_session *session);
    void (*looked)(void *context, int done, int all); /* while the data is looked at: images */
    void (*data)(void *context, const dram_config *cfg,
                 const dram_check *check);                          /* before what is wrong is warned of */
    void (*fidelity)(void *context, const dram_fidelity *fidelity); /* before the first step, where it was asked for */
    void (*begins)(void *context);                                  /* the next is the first step */
    const dram_sink *sink; /* is told the run's facts after the sinks of its directory; its state is `context` */
    const volatile sig_atomic_t *stop; /* non-zero: save, and return DRAM_INTERRUPTED within a batch */
} dram_hooks;

/* Whether a run is gone on with, and from where. */
typedef struct {
    bool on;
    bool if_there; /* on where the run's directory is there, else the run begins */
    int64_t step;  /* of the checkpoint; 0: the newest */
} dram_resume;

/* A whole run, its directory and files (see the README). Nothing is written before config, data, weights and plan have
 * been found good. The summary is filled as far as the run came. hooks is never NULL; {0} has none. comm: the ranks that
 * run it together, each with the same config, and with data, weights and, where a run goes on, its directory to read from;
 * the first writes, and all end alike. NULL: one alone. */
dram_status dram_train(const dram_config *cfg, dram_comm *comm, dram_resume resume, const dram_hooks *hooks,
                       dram_summary *summary);

#endif
