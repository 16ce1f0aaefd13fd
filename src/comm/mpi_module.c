/* dram_mpi.so: the only file that knows MPI. mpi_module.h says what its functions do. */
#include "comm/mpi_module.h"

#ifdef DRAM_SANITIZED
#include <dlfcn.h>
#include <link.h>
#endif
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 30 }; /* bytes or elements of one call: a count is an int */

/* What was begun and is not done, each with the rank at its other end. */
static struct {
    int n, room, size;
    MPI_Request *request;
    int *peer, *done; /* done: indices, for MPI_Testsome */
    int *with;        /* by rank: how many of them are with it */
} pending;

static void library_version(char *text, int size)
{
    char all[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(all, &length);
    all[strcspn(all, ",\n")] = '\0'; /* "Open MPI v4.1.4, package: ..." */
    strncpy(text, all, (size_t)size - 1);
    text[size - 1] = '\0';
}

static void error_text(int code, char *text, int size)
{
    char all[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, all, &length);
    strncpy(text, all, (size_t)size - 1);
    text[size - 1] = '\0';
}

static int open_world(int *rank, int *size)
{
    int provided, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code) return code;
    if ((code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN))) return code;
    if ((code = MPI_Comm_rank(MPI_COMM_WORLD, rank))) return code;
    if ((code = MPI_Comm_size(MPI_COMM_WORLD, size))) return code;
    pending.size = *size;
    pending.with = calloc((size_t)*size, sizeof *pending.with);
    if (!pending.with) return MPI_ERR_NO_MEM;
    return provided < MPI_THREAD_FUNNELED ? MPI_ERR_OTHER : 0;
}

#ifdef DRAM_SANITIZED
/* Open MPI unloads its parts at the end, and a report of leaks cannot name what is no longer loaded. */
static int keep_loaded(struct dl_phdr_info *library, size_t size, void *context)
{
    (void)size;
    (void)context;
    dlopen(library->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    return 0;
}
#endif

static void close_world(void)
{
#ifdef DRAM_SANITIZED
    dl_iterate_phdr(keep_loaded, NULL);
#endif
    MPI_Finalize();
    free(pending.request);
    free(pending.peer);
    free(pending.done);
    free(pending.with);
    memset(&pending, 0, sizeof pending);
}

static int make_room(void)
{
    if (pending.n < pending.room) return 0;
    size_t room = pending.room ? 2 * (size_t)pending.room : 64;
    MPI_Request *request = realloc(pending.request, room * sizeof *request);
    if (request) pending.request = request;
    int *peer = realloc(pending.peer, room * sizeof *peer), *done = realloc(pending.done, room * sizeof *done);
    if (peer) pending.peer = peer;
    if (done) pending.done = done;
    if (!request || !peer || !done) return MPI_ERR_NO_MEM;
    pending.room = (int)room;
    return 0;
}

static int begin(int kind, int peer, void *bytes, int64_t n, int receives)
{
    for (int64_t at = 0; at < n; at += LARGEST) {
        int code = make_room(), count = n - at < LARGEST ? (int)(n - at) : LARGEST;
        if (code) return code;
        char *part = (char *)bytes + at;
        code = receives ? MPI_Irecv(part, count, MPI_BYTE, peer, kind, MPI_COMM_WORLD, &pending.request[pending.n])
                        : MPI_Isend(part, count, MPI_BYTE, peer, kind, MPI_COMM_WORLD, &pending.request[pending.n]);
        if (code) return code;
        pending.peer[pending.n++] = peer;
        pending.with[peer]++;
    }
    return 0;
}

static int send_bytes(int kind, int to, const void *bytes, int64_t n)
{
    return begin(kind, to, (void *)bytes, n, 0);
}

static int receive_bytes(int kind, int from, void *bytes, int64_t n)
{
    return begin(kind, from, bytes, n, 1);
}

static int progress(_Atomic unsigned char *came, int *left)
{
    int n_done = 0;
    int code = pending.n ? MPI_Testsome(pending.n, pending.request, &n_done, pending.done, MPI_STATUSES_IGNORE) : 0;
    if (code) return code;
    if (n_done == MPI_UNDEFINED) n_done = 0;
    for (int i = 0; i < n_done; i++) pending.with[pending.peer[pending.done[i]]]--;
    int kept = 0; /* what is done is NULL now: the others close up, in their order */
    for (int i = 0; n_done && i < pending.n; i++) {
        if (pending.request[i] == MPI_REQUEST_NULL) continue;
        pending.request[kept] = pending.request[i];
        pending.peer[kept++] = pending.peer[i];
    }
    pending.n = n_done ? kept : pending.n;
    for (int r = 0; r < pending.size; r++) atomic_store_explicit(&came[r], !pending.with[r], memory_order_relaxed);
    *left = pending.n;
    return 0;
}

static int all_reduce(const float *in, float *out, int64_t n)
{
    for (int64_t at = 0; at < n; at += LARGEST) {
        int count = n - at < LARGEST ? (int)(n - at) : LARGEST;
        const void *from = in == out ? MPI_IN_PLACE : in + at;
        int code = MPI_Allreduce(from, out + at, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (code) return code;
    }
    return 0;
}

static int reduce_scatter(const float *in, float *out, const int *counts)
{
    return MPI_Reduce_scatter(in, out, counts, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

extern const dram_mpi_module dram_mpi_module_table;
const dram_mpi_module dram_mpi_module_table = {
    .abi = DRAM_MPI_MODULE_ABI,
    .version = library_version,
    .error_text = error_text,
    .open = open_world,
    .close = close_world,
    .send = send_bytes,
    .receive = receive_bytes,
    .progress = progress,
    .all_reduce = all_reduce,
    .reduce_scatter = reduce_scatter,
};
