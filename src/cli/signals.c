/* Ctrl-C and other signals that a command would rather end by itself: command.h. */
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "cli/command.h"

static volatile sig_atomic_t stop_asked;
static _Atomic int64_t asked_at; /* nanoseconds of the clock; 0: not yet. Any thread may take a signal */

/* timeout(1), a closed terminal and schedulers send a signal twice, to the process and to its group: what comes within
 * a second is one request. */
static const int64_t ONE_REQUEST = 1000000000;

/* The first signal asks the command to stop; a later one has the default effect, as soon as this returns. */
static void ask_to_stop(int number)
{
    struct timespec clock;
    int64_t first = 0;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    int64_t now = (int64_t)clock.tv_sec * 1000000000 + clock.tv_nsec;
    stop_asked = 1;
    if (atomic_compare_exchange_strong(&asked_at, &first, now) || now - first < ONE_REQUEST) return;
    signal(number, SIG_DFL);
    raise(number);
}

const volatile sig_atomic_t *dram_catch_signals(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction before, action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) sigaction(caught[i], &action, NULL);
    /* nohup has it ignored: such a command outlives its terminal. */
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return &stop_asked;
}
