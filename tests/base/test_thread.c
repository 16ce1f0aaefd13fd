/* Threads that start, and what is said of one that cannot. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "base/thread.h"
#include "support/limited.h"

typedef struct {
    size_t stack;
    sigset_t blocked;
} seen;

static void *look(void *context)
{
    seen *s = context;
    pthread_attr_t attributes;
    void *at;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &at, &s->stack);
        pthread_attr_destroy(&attributes);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
    return s;
}

/* Its stack is as large as counted, whatever `ulimit -s` says, and signals stay with the thread that started it. */
static void it_runs(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    seen s = {0};
    pthread_t thread;
    void *result;
    sigset_t mine;
    limited_to(RLIMIT_STACK, (rlim_t)4 << 20);
    assert_int_equal(dram_thread_start(&thread, look, &s, "a thread", "try again"), DRAM_OK);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &s);
    assert_in_range(s.stack, DRAM_THREAD_STACK, DRAM_THREAD_STACK + (1 << 16));
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        assert_int_equal(sigismember(&s.blocked, signals[i]), 1);
        assert_int_equal(sigismember(&mine, signals[i]), 0);
    }
}

static void what_cannot_start_is_named(void **state)
{
    (void)state;
#ifdef DRAM_SANITIZED
    print_message("a sanitizer maps more than a limit on address space lets it\n");
    skip();
#else
    dram_pool *pool = NULL;
    limited_to(RLIMIT_AS, (rlim_t)(limited_mapped() + DRAM_THREAD_STACK * 5 / 2));
    dram_status status = dram_pool_open(6, &pool);
    limited_to(RLIMIT_AS, RLIM_INFINITY);
    assert_int_equal(status, DRAM_ERR_RUN);
    assert_null(pool);
    const char *text = dram_error_text();
    assert_non_null(strstr(text, "cannot start compute thread "));
    assert_non_null(strstr(
        text, " of 6: Resource temporarily unavailable; a thread takes 8.00 MiB of address space (`ulimit -v` is "));
    assert_non_null(strstr(text, "): lower `threads`"));
    assert_null(strstr(text, "(`ulimit -v` is unlimited)"));
    dram_error_clear();
    assert_int_equal(dram_pool_open(6, &pool), DRAM_OK);
    dram_pool_close(pool);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs),
        cmocka_unit_test(what_cannot_start_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
