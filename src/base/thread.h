/* thread: how every thread of dram's own is started. */
#ifndef DRAM_BASE_THREAD_H
#define DRAM_BASE_THREAD_H

#include <pthread.h>

#include "base/status.h"

/* Address space of a thread's stack, in bytes, whatever `ulimit -s` says; what is touched of it is RAM. */
enum { DRAM_THREAD_STACK = 8 << 20 };

/* Starts run(context) in a thread that takes no signal: interrupts are the main thread's. The caller joins it.
 * DRAM_ERR_RUN: there is none; `what` names it in the text, "loader thread 2 of 4", and `advice` ends it. */
dram_status dram_thread_start(pthread_t *thread, void *(*run)(void *context), void *context, const char *what,
                              const char *advice);

#endif
