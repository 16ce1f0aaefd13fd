/* status: how every function of dram reports failure.
 *
 * A library function returns a dram_status and never prints or exits; src/cli alone turns a status into a message and
 * an exit code. The text of the first failure on a thread is kept until dram_error_clear(), so that a clean-up that
 * fails as well cannot hide the cause.
 */
#ifndef DRAM_BASE_STATUS_H
#define DRAM_BASE_STATUS_H

/*    id           exit  meaning */
#define DRAM_STATUS_LIST(X)                                                                                            \
    X(OK, 0, "done")                                                                                                   \
    X(ERR_RUN, 1, "failed while running")                                                                              \
    X(ERR_MEMORY, 1, "out of host memory")                                                                             \
    X(ERR_IO, 1, "input or output failed")                                                                             \
    X(ERR_NUMERIC, 1, "a number is not finite")                                                                        \
    X(ERR_INTERNAL, 1, "a bug in dram")                                                                                \
    X(ERR_CONFIG, 2, "the command or the config is wrong")                                                             \
    X(ERR_FORMAT, 2, "a file is not what it should be")                                                                \
    X(ERR_FIT, 3, "it does not fit the budget or the device")                                                          \
    X(ERR_PEER, 4, "another rank failed or does not answer")                                                           \
    X(INTERRUPTED, 130, "interrupted")

typedef enum {
#define X(ID, EXIT, TEXT) DRAM_##ID,
    DRAM_STATUS_LIST(X)
#undef X
        DRAM_STATUS_COUNT
} dram_status;

/* Records the text (printf form) unless an earlier failure of this thread is still held; returns `status`. */
dram_status dram_fail(dram_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text of the first failure since the last clear, "" if none; in one line, as dram_visible (base/str.h) gives it. Valid
 * until the next dram_fail or clear on this thread. */
const char *dram_error_text(void);

/* Puts words before the held text, such as the place in a config: `where` has its own ": ". Returns `status`; without a
 * held text, or with "", nothing else happens. */
dram_status dram_error_prefix(dram_status status, const char *where);

/* Forgets the held failure: call it where a failure has been handled (an image skipped, say). */
void dram_error_clear(void);

/* Exit code of a status (the table above), and its one-line meaning. */
int dram_status_exit(dram_status status);
const char *dram_status_text(dram_status status);

/* Returns the status of `expr` from this function if it is not DRAM_OK. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        dram_status try_status_ = (expr);                                                                              \
        if (try_status_ != DRAM_OK) return try_status_;                                                                \
    } while (0)

/* The same where something must be released first: needs a local `dram_status status` and a label. */
#define TRY_GOTO(expr, label)                                                                                          \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status != DRAM_OK) goto label;                                                                             \
    } while (0)

#endif
