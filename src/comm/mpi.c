#include "comm/mpi.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "comm/mpi_module.h"
#include "device/symbol.h"

/* A rank that is in another place than the others, by a bug, meets nobody there: it does not take data for words. */
enum { DATA, WORDS };

typedef struct {
    dram_transport transport; /* first: a pointer to one is a pointer to the other */
    const dram_mpi_module *module;
    bool grouped;                /* what is begun is waited for by group_end */
    int *counts;                 /* by rank, for reduce_scatter */
    _Atomic unsigned char *came; /* by rank; transport.came */
} mpi;

/* ---- the module ---- */

static const char file[] = "dram_mpi.so";

/* Where a module is looked for, in this order; false: no more. */
static bool nth_path(int n, char *path, int size)
{
    const char *folder = getenv("DRAM_MODULES");
    char program[PATH_MAX];
    if (folder && *folder) return n == 0 && snprintf(path, (size_t)size, "%s/%s", folder, file) > 0;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0 || n > 1) return false;
    program[length] = '\0';
    *strrchr(program, '/') = '\0';
    return snprintf(path, (size_t)size, n == 0 ? "%s/%s" : "%s/../lib/dram/%s", program, file) > 0;
}

/* *library stays open for as long as the process lives: MPI does not survive a dlclose. */
static dram_status load(char *path, int size, const dram_mpi_module **module)
{
    char first[PATH_MAX + 32] = "";
    for (int n = 0; nth_path(n, path, size); n++) {
        if (n == 0) snprintf(first, sizeof first, "%s", path);
        if (access(path, F_OK) != 0) continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL); /* old Open MPIs load more, which wants its symbols */
        if (!library) return dram_fail(DRAM_ERR_CONFIG, "%s cannot be loaded: %s", path, dlerror());
        if (!dram_symbol(library, DRAM_MPI_MODULE_SYMBOL, module) || (*module)->abi != DRAM_MPI_MODULE_ABI)
            return dram_fail(DRAM_ERR_CONFIG, "%s is of another version of dram: build it anew", path);
        return DRAM_OK;
    }
    return dram_fail(
        DRAM_ERR_CONFIG,
        "there is no %s (%s is not there%s): install MPI (Debian: libopenmpi-dev) and build dram again, or "
        "set DRAM_MODULES to the folder that has it",
        file, first, getenv("DRAM_MODULES") ? "" : ", nor one in ../lib/dram");
}

void dram_mpi_describe(char *path, int path_size, char *version, int version_size)
{
    const dram_mpi_module *module;
    if (load(path, path_size, &module) == DRAM_OK) {
        module->version(version, version_size);
        return;
    }
    snprintf(version, (size_t)version_size, "%s", dram_error_text());
    path[0] = '\0';
    dram_error_clear();
}

/* ---- calls ---- */

static dram_status checked(const mpi *m, const char *what, int code)
{
    char text[256];
    if (code == 0) return DRAM_OK;
    m->module->error_text(code, text, sizeof text);
    return dram_fail(DRAM_ERR_PEER, "MPI: %s failed: %s", what, text);
}

/* Waits for all that was begun. Other processes get the core at once; after a while that nothing came in, others wait
 * long for something, and it is looked at less often. */
static dram_status finish(mpi *m, const char *what)
{
    static const double often = 0.05; /* seconds */
    const struct timespec seldom = {.tv_nsec = 100000};
    double since = dram_clock();
    for (int left = -1, before = -1;; before = left) {
        TRY(checked(m, what, m->module->progress(m->came, &left)));
        if (left == 0) return DRAM_OK;
        if (left != before) since = dram_clock();
        if (dram_clock() - since < often)
            sched_yield();
        else
            nanosleep(&seldom, NULL);
    }
}

static dram_status finish_alone(mpi *m, const char *what)
{
    return m->grouped ? DRAM_OK : finish(m, what);
}

static dram_status group_begin(dram_transport *t)
{
    ((mpi *)t)->grouped = true;
    return DRAM_OK;
}

static dram_status group_end(dram_transport *t, void *stream)
{
    (void)stream;
    ((mpi *)t)->grouped = false;
    return finish((mpi *)t, "a group of exchanges");
}

/* The i-th other rank to turn to, i from 1: each rank begins with its neighbour, so that not all send to one. */
static int other(const dram_transport *t, int i)
{
    return (t->rank + i) % t->size;
}

static dram_status all_to_all(dram_transport *t, const void *send, const int64_t *at, void *receive, void *stream)
{
    mpi *m = (mpi *)t;
    const int me = t->rank;
    const int64_t mine = at[me + 1] - at[me];
    const char *from = send;
    char *to = receive;
    (void)stream;
    for (int i = 1; i < t->size; i++) {
        int r = other(t, i);
        TRY(checked(m, "receiving", m->module->receive(DATA, r, to + r * mine, mine)));
    }
    for (int i = 1; i < t->size; i++) {
        int r = other(t, i);
        TRY(checked(m, "sending", m->module->send(DATA, r, from + at[r], at[r + 1] - at[r])));
    }
    memcpy(to + me * mine, from + at[me], (size_t)mine);
    return finish_alone(m, "an all-to-all");
}

static dram_status all_gather(dram_transport *t, const void *mine, const int64_t *at, void *all, void *stream)
{
    mpi *m = (mpi *)t;
    const int me = t->rank;
    char *to = all;
    (void)stream;
    for (int i = 1; i < t->size; i++) {
        int r = other(t, i);
        TRY(checked(m, "receiving", m->module->receive(DATA, r, to + at[r], at[r + 1] - at[r])));
    }
    for (int i = 1; i < t->size; i++)
        TRY(checked(m, "sending", m->module->send(DATA, other(t, i), mine, at[me + 1] - at[me])));
    if (mine != to + at[me]) memcpy(to + at[me], mine, (size_t)(at[me + 1] - at[me]));
    return finish_alone(m, "an all-gather");
}

/* The library's own sums do not say who has come. */
static void none_came(mpi *m)
{
    for (int r = 0; r < m->transport.size; r++)
        atomic_store_explicit(&m->came[r], r == m->transport.rank, memory_order_relaxed);
}

static dram_status all_reduce(dram_transport *t, const float *in, float *out, int64_t n, void *stream)
{
    mpi *m = (mpi *)t;
    (void)stream;
    none_came(m);
    return checked(m, "an all-reduce", m->module->all_reduce(in, out, n));
}

static dram_status reduce_scatter(dram_transport *t, const float *in, const int64_t *at, float *out, void *stream)
{
    mpi *m = (mpi *)t;
    (void)stream;
    for (int r = 0; r < t->size; r++) {
        if (at[r + 1] - at[r] > INT_MAX)
            return dram_fail(DRAM_ERR_INTERNAL, "a piece of more than %d elements cannot be reduced by MPI", INT_MAX);
        m->counts[r] = (int)(at[r + 1] - at[r]);
    }
    none_came(m);
    return checked(m, "a reduce-scatter", m->module->reduce_scatter(in, out, m->counts));
}

static dram_status host_gather(dram_transport *t, const void *mine, int64_t bytes, void *all)
{
    mpi *m = (mpi *)t;
    char *to = all;
    for (int i = 1; i < t->size; i++) {
        int r = other(t, i);
        TRY(checked(m, "receiving", m->module->receive(WORDS, r, to + r * bytes, bytes)));
    }
    for (int i = 1; i < t->size; i++) TRY(checked(m, "sending", m->module->send(WORDS, other(t, i), mine, bytes)));
    if (mine != to + t->rank * bytes) memcpy(to + t->rank * bytes, mine, (size_t)bytes);
    return finish(m, "a gather");
}

/* ---- beginning and end ---- */

static void release(mpi *m)
{
    dram_free(m->counts);
    dram_free((void *)m->came);
    dram_free(m);
}

static void close_mpi(dram_transport *t)
{
    ((mpi *)t)->module->close();
    release((mpi *)t);
}

/* MPI may still write into what it was given: nothing of it is freed. */
static void abandon(dram_transport *t)
{
    (void)t;
}

static const dram_transport_ops ops = {.group_begin = group_begin,
                                       .group_end = group_end,
                                       .all_to_all = all_to_all,
                                       .all_gather = all_gather,
                                       .all_reduce = all_reduce,
                                       .reduce_scatter = reduce_scatter,
                                       .host_gather = host_gather,
                                       .close = close_mpi,
                                       .abandon = abandon};

static dram_status must_be(const mpi *m, const dram_world *world, int rank, int size)
{
    if (rank == world->rank && size == world->size) return DRAM_OK;
    return dram_fail(
        DRAM_ERR_CONFIG,
        "this is rank %d of %d by the environment (launcher: %s), but rank %d of %d by MPI (%s): start dram "
        "with that MPI's mpirun, or build dram_mpi.so against the MPI that started it",
        world->rank, world->size, dram_launcher_name(world->launcher), rank, size, m->transport.version);
}

dram_status dram_mpi_open(const dram_world *world, dram_transport **out)
{
    char path[PATH_MAX + 32];
    const dram_mpi_module *module;
    int rank, size;
    TRY(load(path, sizeof path, &module));
    mpi *m = dram_calloc(1, sizeof *m);
    int *counts = dram_calloc((size_t)world->size, sizeof *counts);
    void *came = dram_calloc((size_t)world->size, 1);
    if (!m || !counts || !came) {
        dram_free(m);
        dram_free(counts);
        dram_free(came);
        return dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d ranks", world->size);
    }
    *m = (mpi){.transport = {.ops = &ops, .name = "mpi", .rank = world->rank, .size = world->size, .came = came},
               .module = module,
               .counts = counts,
               .came = came};
    module->version(m->transport.version, sizeof m->transport.version);
    dram_status status = checked(m, "its beginning", module->open(&rank, &size));
    if (status == DRAM_OK) status = must_be(m, world, rank, size);
    if (status == DRAM_OK)
        *out = &m->transport;
    else
        release(m);
    return status;
}
