#include "device/blas.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

/* OpenBLAS's own: every build exports them, no header of it has them. */
void *blas_memory_alloc(int caller);
void blas_memory_free(void *buffer);
int openblas_num_threads_env(void);

/* OpenBLAS asks this function of itself, before main, how many threads to start; the program's own goes before it. With
 * its threads started, each would at once ask for a buffer without end, and the end of the process would wait for it.
 * Weak: where OpenBLAS is linked into the program, its own is taken. */
__attribute__((weak)) int openblas_num_threads_env(void)
{
    return 1;
}

static int held; /* buffers that OpenBLAS has */

/* Buffers that a build of OpenBLAS can keep: two for each thread that it is made for. A product beyond them maps one of
 * its own, which is lost. */
static int most_kept(void)
{
    enum { LEAST = 50 };
    static const char word[] = "MAX_THREADS=";
    const char *at = strstr(openblas_get_config(), word);
    int kept = at ? 2 * atoi(at + strlen(word)) : 0;
    return kept > LEAST ? kept : LEAST;
}

int64_t dram_blas_missing(int threads)
{
    int most = most_kept();
    if (threads > most) threads = most;
    return threads > held ? (int64_t)(threads - held) * DRAM_BLAS_BUFFER : 0;
}

/* Whether the system would give one more buffer. */
static bool has_room(void)
{
    void *trial = mmap(NULL, DRAM_BLAS_BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (trial == MAP_FAILED) return false;
    munmap(trial, DRAM_BLAS_BUFFER);
    return true;
}

/* With all of them in hand at once, OpenBLAS has made as many. */
static dram_status take(int threads, void **buffer, int *taken)
{
    char one[32], all[32];
    for (*taken = 0; *taken < threads; ++*taken) {
        bool is_new = *taken >= held;
        buffer[*taken] = !is_new || has_room() ? blas_memory_alloc(0) : NULL;
        if (!buffer[*taken])
            return dram_fail(DRAM_ERR_FIT,
                             "OpenBLAS takes %s of address space for each of %d compute threads, %s in all, and the "
                             "system gives it %d: raise `ulimit -v`, or lower `threads`",
                             dram_format_bytes(DRAM_BLAS_BUFFER, one, sizeof one), threads,
                             dram_format_bytes((int64_t)threads * DRAM_BLAS_BUFFER, all, sizeof all), *taken);
        if (is_new) held++;
    }
    return DRAM_OK;
}

dram_status dram_blas_open(int threads)
{
    int taken, most = most_kept();
    openblas_set_num_threads(1);
    if (threads > most && held < most)
        dram_warn(
            "this OpenBLAS is made for %d products at once: with %d compute threads, one beyond them loses a buffer "
            "of memory each time; set threads to %d",
            most, threads, most);
    if (threads > most) threads = most;
    if (threads <= held) return DRAM_OK;
    void **buffer = dram_calloc((size_t)threads, sizeof *buffer);
    if (!buffer) return dram_fail(DRAM_ERR_MEMORY, "no memory for OpenBLAS's buffers");
    dram_status status = take(threads, buffer, &taken);
    while (taken > 0) blas_memory_free(buffer[--taken]);
    dram_free(buffer);
    return status;
}
