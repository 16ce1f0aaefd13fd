/* Ctrl-C and other signals that a command would rather end by itself: command.h. */
#include <signal.h>

#include "cli/command.h"

static volatile sig_atomic_t stop_asked;

/* The first signal asks the command to stop; a second one has the default effect, at once. */
static void ask_to_stop(int number)
{
    stop_asked = 1;
    signal(number, SIG_DFL);
}

const volatile sig_atomic_t *dram_catch_signals(void)
{
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error of write(), not the end */
    signal(SIGPIPE, SIG_IGN);
    return &stop_asked;
}
