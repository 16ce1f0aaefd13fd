#include "base/thread.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/str.h"

/* A limit of the process, for a person. */
static const char *limit_text(int which, bool bytes, char *text, size_t size)
{
    struct rlimit limit;
    if (getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        snprintf(text, size, "unlimited");
    else if (bytes)
        dram_format_bytes((int64_t)limit.rlim_cur, text, size);
    else
        snprintf(text, size, "%llu", (unsigned long long)limit.rlim_cur);
    return text;
}

dram_status dram_thread_start(pthread_t *thread, void *(*run)(void *), void *context, const char *what,
                              const char *advice)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    char stack[32], space[32], processes[32];
    int failed = pthread_attr_init(&attributes);
    if (failed) return dram_fail(DRAM_ERR_MEMORY, "no memory for %s", what);
    pthread_attr_setstacksize(&attributes, DRAM_THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(thread, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!failed) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN,
                     "cannot start %s: %s; a thread takes %s of address space (`ulimit -v` is %s) and is one of the "
                     "user's processes (`ulimit -u` is %s): %s",
                     what, strerror(failed), dram_format_bytes(DRAM_THREAD_STACK, stack, sizeof stack),
                     limit_text(RLIMIT_AS, true, space, sizeof space),
                     limit_text(RLIMIT_NPROC, false, processes, sizeof processes), advice);
}
