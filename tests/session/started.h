/* started: sessions that begin, and their weights in a file. Include after cmocka.h and link dram_train. */
#ifndef DRAM_TESTS_SESSION_STARTED_H
#define DRAM_TESTS_SESSION_STARTED_H

#include "session/budget.h"
#include "session/weights.h"
#include "support/runs.h"

static inline void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

/* A session with its weights; *cfg and session are the caller's. */
static inline dram_status start(void **state, const char *set, dram_config **cfg, dram_session *session)
{
    char all[5000];
    snprintf(all, sizeof all, "resolution_distill.enabled=false task.enabled=false %.4800s", set); /* small graphs */
    *cfg = run_config(state, "none", all);
    ok(dram_budget_plan(*cfg, DRAM_SET_TRAIN, 0, session));
    return dram_session_start(session);
}

static inline void stop(dram_config *cfg, dram_session *session)
{
    dram_session_close(session);
    dram_config_free(cfg);
}

/* Saves a group of a session that starts with `set`. */
static inline void save_started(void **state, const char *set, const char *group, const char *path,
                                dram_precision precision)
{
    dram_config *cfg;
    dram_session session;
    ok(start(state, set, &cfg, &session));
    ok(dram_weights_save(&session, path, &group, 1, false, precision));
    stop(cfg, &session);
}

/* Starting must fail, and the text tell where the file was named, and `text`. */
static inline void start_fails(void **state, const char *set, const char *text)
{
    dram_config *cfg;
    dram_session session;
    dram_status status = start(state, set, &cfg, &session);
    if (status != DRAM_ERR_FORMAT || !strstr(dram_error_text(), text) ||
        strncmp(dram_error_text(), "command line: ", 14) != 0)
        fail_msg("status %d, \"%s\" instead of \"%s\"", (int)status, dram_error_text(), text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
    stop(cfg, &session);
}

static inline const char *with(const char *key, const char *path)
{
    static char set[4600];
    snprintf(set, sizeof set, "%s=%.4400s", key, path);
    return set;
}

#endif
