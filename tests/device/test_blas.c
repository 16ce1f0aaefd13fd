/* What OpenBLAS takes: no threads, its buffers once and at the start, and a refusal where there is no room for them. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cblas.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/pool.h"
#include "device/blas.h"
#include "support/limited.h"

enum { THREADS = 3, SIDE = 160, STRAY = 1 << 20 }; /* STRAY: what stdio and the heap may map in between */

static int threads_now(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

/* TSan has a thread of its own. */
static int threads_at_start;

static void it_starts_no_thread(void **state)
{
    (void)state;
    assert_in_range(threads_at_start, 1, 2);
    assert_int_equal(openblas_get_num_threads(), 1);
#ifndef DRAM_SANITIZED
    assert_int_equal(threads_at_start, 1);
#endif
}

static void no_room_is_refused(void **state)
{
    (void)state;
#ifdef DRAM_SANITIZED
    print_message("a sanitizer maps more than a limit on address space lets it\n");
    skip();
#else
    limited_to(RLIMIT_AS, (rlim_t)(limited_mapped() + DRAM_BLAS_BUFFER * 3 / 2));
    assert_int_equal(dram_blas_open(THREADS), DRAM_ERR_FIT);
    limited_to(RLIMIT_AS, RLIM_INFINITY);
    assert_non_null(
        strstr(dram_error_text(), "128.0 MiB of address space for each of 3 compute threads, 384.0 MiB in all"));
    assert_non_null(strstr(dram_error_text(), "gives it 1: raise `ulimit -v`, or lower `threads`"));
    dram_error_clear();
    assert_int_equal(dram_blas_missing(THREADS), (int64_t)(THREADS - 1) * DRAM_BLAS_BUFFER);
#endif
}

static void buffers_are_as_large_as_counted(void **state)
{
    (void)state;
    int64_t missing = dram_blas_missing(THREADS);
    long long before = limited_mapped();
    assert_true(missing > 0);
    assert_int_equal(dram_blas_open(THREADS), DRAM_OK);
    assert_in_range(limited_mapped() - before, missing, missing + STRAY);
    for (int n = 0; n <= THREADS; n++) assert_int_equal(dram_blas_missing(n), 0);
    assert_int_equal(dram_blas_missing(THREADS + 2), 2 * (int64_t)DRAM_BLAS_BUFFER);
    before = limited_mapped();
    assert_int_equal(dram_blas_open(1), DRAM_OK);
    assert_int_equal(dram_blas_open(THREADS), DRAM_OK);
    assert_in_range(limited_mapped() - before, 0, STRAY);
}

typedef struct {
    float *a, *b, *c; /* c: a matrix for each task */
    _Atomic int inside;
} product;

/* All workers multiply at once. */
static void multiply(void *context, int64_t task, int worker)
{
    product *p = context;
    (void)worker;
    atomic_fetch_add(&p->inside, 1);
    while (atomic_load(&p->inside) < THREADS) usleep(10);
    for (int i = 0; i < 20; i++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SIDE, SIDE, SIDE, 1, p->a, SIDE, p->b, SIDE, 0,
                    p->c + task * SIDE * SIDE, SIDE);
}

static void products_map_nothing_more(void **state)
{
    (void)state;
    product p = {.a = calloc((size_t)SIDE * SIDE, sizeof *p.a),
                 .b = calloc((size_t)SIDE * SIDE, sizeof *p.b),
                 .c = calloc((size_t)THREADS * SIDE * SIDE, sizeof *p.c)};
    dram_pool *pool;
    assert_true(p.a && p.b && p.c);
    for (int i = 0; i < SIDE * SIDE; i++) p.a[i] = 1, p.b[i] = (float)(i % SIDE);
    assert_int_equal(dram_pool_open(THREADS, &pool), DRAM_OK);
    long long before = limited_mapped();
    dram_pool_run(pool, THREADS, multiply, &p);
    assert_in_range(limited_mapped() - before, 0, DRAM_BLAS_BUFFER - 1);
    dram_pool_close(pool);
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < SIDE * SIDE; i++) assert_true(p.c[t * SIDE * SIDE + i] == (float)(SIDE * (i % SIDE)));
    free(p.a);
    free(p.b);
    free(p.c);
}

static char warned[400];
static int warnings;

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING) return;
    snprintf(warned, sizeof warned, "%s", message);
    warnings++;
}

/* More threads than OpenBLAS has places for: it is said, and no more are taken than it keeps. */
static void too_many_threads_are_told(void **state)
{
    (void)state;
    enum { FAR = 100000 };
    long long before = limited_mapped();
    int64_t missing = dram_blas_missing(FAR);
    assert_true(missing > 0 && missing < (int64_t)4096 * DRAM_BLAS_BUFFER);
    dram_log_set_sink(keep_warning, NULL);
    assert_int_equal(dram_blas_open(FAR), DRAM_OK);
    assert_int_equal(dram_blas_open(FAR), DRAM_OK);
    dram_log_set_sink(NULL, NULL);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(warned, " products at once: with 100000 compute threads"));
    assert_in_range(limited_mapped() - before, missing, missing + STRAY);
    assert_int_equal(dram_blas_missing(FAR), 0);
}

int main(void)
{
    threads_at_start = threads_now();
    alarm(300); /* what this is about is a call that never returns */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_no_thread),
        cmocka_unit_test(no_room_is_refused),
        cmocka_unit_test(buffers_are_as_large_as_counted),
        cmocka_unit_test(products_map_nothing_more),
        cmocka_unit_test(too_many_threads_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
