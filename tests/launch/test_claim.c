/* Who makes a run: one process alone, also of many at once, and another when it and its children are dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "launch/claim.h"
#include "support/ok.h"
#include "support/tempdir.h"

static const char *folder(void **state)
{
    return *state;
}

static bool take(void **state, const char *name, dram_claim *claim)
{
    bool taken;
    dram_claim_owner me = dram_claim_self();
    me.bytes = 12345678901;
    me.cores = 3;
    ok(dram_claim_take(folder(state), name, &me, claim, &taken, NULL));
    return taken;
}

/* A process that claims, says so through a pipe, and waits to be killed; with a child of its own that does. */
static pid_t claim_in_a_process(void **state, const char *name, pid_t *child)
{
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dram_claim claim;
        if (!take(state, name, &claim)) _exit(9);
        pid_t inner = child ? fork() : 1;
        if (inner && write(pipes[1], &inner, sizeof inner) != sizeof inner) _exit(8);
        for (;;) pause();
    }
    pid_t inner = 0;
    assert_int_equal(read(pipes[0], &inner, sizeof inner), sizeof inner);
    if (child) *child = inner;
    close(pipes[0]);
    close(pipes[1]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void of_the_dead(void **state)
{
    dram_claim claim;
    dram_claim_owner owner;
    assert_false(dram_claim_look(folder(state), "one", &owner));
    pid_t pid = claim_in_a_process(state, "one", NULL);
    assert_false(take(state, "one", &claim));
    assert_true(dram_claim_look(folder(state), "one", &owner));
    assert_true(owner.pid == pid && owner.bytes == 12345678901 && owner.cores == 3);
    assert_true(owner.start == dram_process_start(pid) && owner.start > 0);
    end(pid);
    assert_int_equal(dram_process_start(pid), 0);
    assert_false(dram_claim_look(folder(state), "one", &owner));
    assert_true(take(state, "one", &claim));
    dram_claim_close(&claim);
    assert_true(take(state, "one", &claim));
    dram_claim_close(&claim);
}

/* The child of a process that was killed goes on to hold it. */
static void of_a_child(void **state)
{
    dram_claim claim;
    pid_t child, pid = claim_in_a_process(state, "two", &child);
    end(pid);
    assert_false(take(state, "two", &claim));
    kill(child, SIGKILL);
    while (dram_process_start(child)) usleep(1000);
    for (int i = 0; i < 2000 && !take(state, "two", &claim); i++) usleep(1000);
    assert_true(claim.fd >= 0);
    dram_claim_close(&claim);
}

/* Many at once, on a claim of a dead one and on none: never two have it at a time, and it is had. */
static void of_many(void **state)
{
    enum { PROCESSES = 8, TURNS = 200 };
    const char *inside = in_dir(state, "inside"), *had = in_dir(state, "had");
    pid_t pid[PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        pid[p] = fork();
        if (pid[p]) continue;
        for (int turn = 0; turn < TURNS; turn++) {
            dram_claim claim;
            if (!take(state, "many", &claim)) continue;
            int fd = open(inside, O_CREAT | O_EXCL | O_WRONLY, 0666);
            if (fd < 0) _exit(1); /* two have it */
            int log = open(had, O_CREAT | O_APPEND | O_WRONLY, 0666);
            if (log < 0 || write(log, "x", 1) != 1) _exit(2);
            close(log);
            close(fd);
            unlink(inside);
            if (turn == TURNS / 2 && p % 2) _exit(0); /* dies with it */
            dram_claim_close(&claim);
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        waitpid(pid[p], &status, 0);
        assert_int_equal(status, 0);
    }
    size_t n;
    free(get_file(had, &n));
    assert_true(n > 0);
}

static void what_is_no_claim(void **state)
{
    dram_claim claim;
    bool taken;
    const dram_claim_owner me = dram_claim_self();
    put_file(in_dir(state, "text"), "{\"pid\": \"x", 10);
    assert_true(take(state, "text", &claim)); /* torn as a full disk leaves it */
    dram_claim_close(&claim);
    assert_int_equal(symlink("text", in_dir(state, "link")), 0);
    assert_int_equal(dram_claim_take(folder(state), "link", &me, &claim, &taken, NULL), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "/link: cannot make this file: "));
    dram_error_clear();
    assert_false(taken);
    assert_int_equal(dram_claim_take(in_dir(state, "none"), "x", &me, &claim, &taken, NULL), DRAM_ERR_IO);
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_the_dead), cmocka_unit_test(of_a_child),
                                       cmocka_unit_test(of_many), cmocka_unit_test(what_is_no_claim)};
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
