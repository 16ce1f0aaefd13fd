/* The thread that ends a process which waits too long. Here what ends it only notes what it was told. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/watch.h"
#include "support/ok.h"

enum { RANKS = 7 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int calls;
static dram_status told_status;
static char told[1024];

/* Keeps the first. */
static void note(void *context, dram_status status, const char *text)
{
    pthread_mutex_lock(&lock);
    assert_ptr_equal(context, &calls);
    if (calls++ == 0) {
        told_status = status;
        snprintf(told, sizeof told, "%s", text);
    }
    pthread_mutex_unlock(&lock);
}

static int told_calls(void)
{
    pthread_mutex_lock(&lock);
    int n = calls;
    pthread_mutex_unlock(&lock);
    return n;
}

static void wait_to_be_told(void)
{
    for (int i = 0; i < 600 && told_calls() == 0; i++) usleep(100000);
    assert_true(told_calls() > 0);
}

static dram_status fails(dram_transport *transport)
{
    (void)transport;
    return dram_fail(DRAM_ERR_PEER, "NCCL: the cable is out");
}

static _Atomic unsigned char came[RANKS];
static dram_peer place[RANKS];
static const dram_transport_ops quiet_ops = {.check = NULL}, failing_ops = {.check = fails};
static dram_transport quiet = {.ops = &quiet_ops, .came = came}, failing = {.ops = &failing_ops},
                      dumb = {.ops = &quiet_ops};

static dram_watch *begin(double timeout)
{
    dram_watch *watch;
    const dram_watch_params params = {
        .rank = 2, .size = RANKS, .timeout = timeout, .peers = place, .leave = note, .context = &calls};
    for (int r = 0; r < RANKS; r++) {
        snprintf(place[r].host, sizeof place[r].host, "node%d", r / 4);
        place[r].process = r == 1 ? 0x7ffffffe : (int)getpid(); /* that of rank 1 is gone */
        atomic_store(&came[r], 0);
    }
    calls = 0;
    ok(dram_watch_open(&params, &watch));
    return watch;
}

static void who_is_missing_is_named(void **state)
{
    (void)state;
    dram_watch *watch = begin(0.3);
    atomic_store(&came[0], 1);
    atomic_store(&came[5], 1);
    dram_watch_begin(watch, "all_reduce, collective", 812, &quiet);
    wait_to_be_told();
    dram_watch_close(watch);
    char want[512];
    snprintf(
        want, sizeof want,
        " s in all_reduce, collective 812 for rank 1 on node0 (process 2147483646, which is gone), rank 3 on node0 "
        "(process %d), rank 4 on node1 (process %d), rank 6 on node1 (process %d); distributed.timeout is the limit",
        (int)getpid(), (int)getpid(), (int)getpid());
    assert_int_equal(told_status, DRAM_ERR_PEER);
    if (strncmp(told, "rank 2 on node0 waited ", 23) != 0 || !strstr(told, want)) fail_msg("%s", told);
}

static void many_are_counted(void **state)
{
    (void)state;
    dram_watch *watch = begin(0.3);
    dram_watch_begin(watch, "the end of the job", -1, &dumb); /* it does not say who came */
    wait_to_be_told();
    dram_watch_close(watch);
    if (!strstr(told, "in the end of the job for rank 0 on node0") || !strstr(told, " and 2 more; "))
        fail_msg("%s", told);
}

static void who_does_not_wait_is_left_alone(void **state)
{
    (void)state;
    dram_watch *watch = begin(0.001);
    usleep(600000);
    dram_watch_end(watch);
    usleep(600000);
    assert_int_equal(told_calls(), 0);
    dram_watch_close(watch);
}

static void a_failure_behind_the_calls_is_found(void **state)
{
    (void)state;
    dram_watch *watch = begin(1000);
    dram_watch_begin(watch, "a program", -1, &failing);
    wait_to_be_told();
    dram_watch_close(watch);
    assert_string_equal(told, "NCCL: the cable is out");
    assert_int_equal(told_status, DRAM_ERR_PEER);
}

static void the_limit_grows_with_the_longest_step(void **state)
{
    (void)state;
    dram_watch *watch = begin(0);
    assert_true(dram_watch_limit(watch) == 1800);
    dram_watch_step(watch, 2);
    assert_true(dram_watch_limit(watch) == 100);
    dram_watch_step(watch, 1);
    assert_true(dram_watch_limit(watch) == 100);
    dram_watch_close(watch);
    watch = begin(7);
    dram_watch_step(watch, 2);
    assert_true(dram_watch_limit(watch) == 7);
    dram_watch_close(watch);
    dram_watch_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_missing_is_named),
        cmocka_unit_test(many_are_counted),
        cmocka_unit_test(who_does_not_wait_is_left_alone),
        cmocka_unit_test(a_failure_behind_the_calls_is_found),
        cmocka_unit_test(the_limit_grows_with_the_longest_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
