/* The simulated NCCL: correct programs of 1 to 4 processes, and what it refuses, hangs on, or says when a peer is gone.
 * Each rank is a child of its own. */
#include <algorithm>
#include <dirent.h>
#include <signal.h>
#include <thread>
#include <time.h>

#include "helpers.h"
#include "nccl.h"

#define FINE(CALL)                                                                                                     \
    do {                                                                                                               \
        ncclResult_t result_ = (CALL);                                                                                 \
        if (result_ != ncclSuccess) {                                                                                  \
            fprintf(stderr, "%s: %s\n", #CALL, ncclGetErrorString(result_));                                           \
            _exit(9);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define SAME(A, B)                                                                                                     \
    do {                                                                                                               \
        if ((A) != (B)) {                                                                                              \
            fprintf(stderr, "rank %d: %s differs from %s\n", rank, #A, #B);                                            \
            _exit(8);                                                                                                  \
        }                                                                                                              \
    } while (0)

namespace
{

struct ranks {
    std::string said;
    std::vector<int> ended; /* as waitpid says */
};

std::string id()
{
    static int made;
    return "127.0.0.1:" + std::to_string(20000 + getpid() % 20000) + "-" + std::to_string(++made);
}

/* Ends those that are left when one has failed, as a launcher does. */
ranks run(int n, const std::function<void(int)> &body, int devices = 0)
{
    ranks all;
    int ends[2];
    std::vector<pid_t> children((size_t)n);
    std::string name = id();
    char text[4096];
    all.ended.assign((size_t)n, 0);
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    for (int r = 0; r < n; r++) {
        children[(size_t)r] = fork();
        if (children[(size_t)r]) continue;
        in_child = true;
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        setenv("CUDASIM_TRACE", "0", 1);
        setenv("CUDASIM_DEVICES", std::to_string(devices ? devices : n).c_str(), 1);
        setenv("NCCL_COMM_ID", name.c_str(), 1);
        alarm(60);
        body(r);
        _exit(0);
    }
    close(ends[1]);
    for (int left = n; left; left--) {
        int status;
        pid_t ended = wait(&status);
        all.ended[(size_t)(std::find(children.begin(), children.end(), ended) - children.begin())] = status;
        if (status && left == n) /* the first that fails; the others get time to say what they see */
            for (int i = 0; i < 20; i++) {
                struct timespec span = {0, 10000000};
                nanosleep(&span, nullptr);
            }
        if (status)
            for (pid_t child : children)
                if (child != ended && !kill(child, 0)) kill(child, SIGTERM);
    }
    for (ssize_t got; (got = read(ends[0], text, sizeof text)) > 0;) all.said.append(text, (size_t)got);
    close(ends[0]);
    return all;
}

void all_end_well(int n, const std::function<void(int)> &body)
{
    ranks all = run(n, body);
    for (int status : all.ended)
        if (status) fail_msg("of %d ranks one ended with %x: %s", n, (unsigned)status, all.said.c_str());
}

void refused(const char *text, int n, const std::function<void(int)> &body, int devices = 0)
{
    ranks all = run(n, body, devices);
    bool failed = false;
    for (int status : all.ended) failed |= status != 0;
    if (!failed || all.said.find(text) == std::string::npos)
        fail_msg("expected \"%s\" of %d ranks: %s", text, n, all.said.c_str());
}

ncclComm_t join(int n, int rank, int device = -1)
{
    ncclUniqueId unique;
    ncclComm_t comm;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.maxCTAs = 4;
    OK(cudaSetDevice(device < 0 ? rank : device));
    FINE(ncclGetUniqueId(&unique));
    FINE(ncclCommInitRankConfig(&comm, n, unique, rank, &config));
    return comm;
}

std::vector<float> numbers(int rank, size_t n)
{
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)(i * 7 + (size_t)rank * 13) % 101 - 50) / 8;
    return x;
}

std::vector<float> sums(int n, size_t count)
{
    std::vector<float> total(count, 0);
    for (int r = 0; r < n; r++) {
        std::vector<float> x = numbers(r, count);
        for (size_t i = 0; i < count; i++) total[i] += x[i];
    }
    return total;
}

std::vector<float> ended(const float *from, size_t n, cudaStream_t stream)
{
    OK(cudaStreamSynchronize(stream));
    return get(from, n);
}

/* ---- correct programs ---- */

const size_t lengths[] = {1, 2, 3, 5, 257, 4097, 100003, 700001};

void check_collectives(int n, int rank, size_t count)
{
    ncclComm_t comm = join(n, rank);
    cudaStream_t stream = new_stream();
    size_t whole = count * (size_t)n;
    float *in = on_device<float>(whole), *out = on_device<float>(whole);
    std::vector<float> total = sums(n, whole), mine = numbers(rank, whole), joined;
    put(in, mine);
    FINE(ncclAllReduce(in, out, whole, ncclFloat32, ncclSum, comm, stream));
    SAME(ended(out, whole, stream), total);
    FINE(ncclReduceScatter(in, out, count, ncclFloat32, ncclSum, comm, stream));
    std::vector<float> part(total.begin() + (long)(count * (size_t)rank),
                            total.begin() + (long)(count * (size_t)(rank + 1)));
    SAME(ended(out, count, stream), part);
    FINE(ncclAllGather(in, out, count, ncclFloat32, comm, stream));
    for (int r = 0; r < n; r++) {
        std::vector<float> piece = numbers(r, whole);
        joined.insert(joined.end(), piece.begin(), piece.begin() + (long)count);
    }
    SAME(ended(out, whole, stream), joined);
    FINE(ncclBroadcast(in, out, whole, ncclFloat32, n - 1, comm, stream));
    SAME(ended(out, whole, stream), numbers(n - 1, whole));
    FINE(ncclReduce(in, out, whole, ncclFloat32, ncclSum, n - 1, comm, stream));
    SAME(ended(out, whole, stream), (rank == n - 1 ? total : numbers(n - 1, whole)));
    FINE(ncclAllReduce(in, in, whole, ncclFloat32, ncclSum, comm, stream)); /* in place */
    SAME(ended(in, whole, stream), total);
    FINE(ncclCommDestroy(comm));
    OK(cudaFree(in));
    OK(cudaFree(out));
    OK(cudaStreamDestroy(stream));
}

void test_collectives(void **)
{
    for (int n = 1; n <= 4; n++)
        for (size_t count : lengths) all_end_well(n, [=](int rank) { check_collectives(n, rank, count); });
}

/* Rank r sends rank p r + 2 p + 1 numbers, twice in one group, with a sum beside them. */
void test_sends(void **)
{
    for (int n = 1; n <= 4; n++)
        all_end_well(n, [=](int rank) {
            ncclComm_t comm = join(n, rank);
            cudaStream_t stream = new_stream();
            float *in = on_device<float>(64), *out = on_device<float>(256), *total = on_device<float>(64);
            put(in, numbers(rank, 64));
            FINE(ncclGroupStart());
            FINE(ncclAllReduce(in, total, 64, ncclFloat32, ncclSum, comm, stream));
            size_t at = 0;
            for (int k = 0; k < 2; k++)
                for (int p = 0; p < n; p++) {
                    FINE(ncclSend(in + k, (size_t)(rank + 2 * p + 1), ncclFloat32, p, comm, stream));
                    FINE(ncclRecv(out + at, (size_t)(p + 2 * rank + 1), ncclFloat32, p, comm, stream));
                    at += (size_t)(p + 2 * rank + 1);
                }
            FINE(ncclGroupEnd());
            std::vector<float> came;
            for (int k = 0; k < 2; k++)
                for (int p = 0; p < n; p++) {
                    std::vector<float> piece = numbers(p, 64);
                    came.insert(came.end(), piece.begin() + k, piece.begin() + k + p + 2 * rank + 1);
                }
            SAME(ended(out, at, stream), came);
            SAME(ended(total, 64, stream), sums(n, 64));
            FINE(ncclCommDestroy(comm));
        });
}

/* A recorded step: its sum waits for a kernel, and a kernel for the sum. */
void test_graph(void **)
{
    all_end_well(3, [](int rank) {
        ncclComm_t comm = join(3, rank);
        cudaStream_t compute = new_stream(), stream = new_stream();
        cudaEvent_t made = new_event(), summed = new_event();
        cudaGraph_t graph;
        cudaGraphExec_t step;
        float *x = on_device<float>(64), *y = on_device<float>(64);
        put(x, std::vector<float>(64, (float)(rank + 1)));
        OK(cudaStreamBeginCapture(compute, cudaStreamCaptureModeThreadLocal));
        OK(cudasim_launch(compute, dim3(1), dim3(64), 0, [=] { x[threadIdx.x] *= 2; }));
        OK(cudaEventRecord(made, compute));
        OK(cudaStreamWaitEvent(stream, made));
        FINE(ncclAllReduce(x, y, 64, ncclFloat32, ncclSum, comm, stream));
        OK(cudaEventRecord(summed, stream));
        OK(cudaStreamWaitEvent(compute, summed));
        OK(cudasim_launch(compute, dim3(1), dim3(64), 0, [=] { x[threadIdx.x] += y[threadIdx.x] / 4; }));
        OK(cudaStreamEndCapture(compute, &graph));
        OK(cudaGraphInstantiate(&step, graph));
        OK(cudaGraphDestroy(graph));
        float of[3] = {1, 2, 3};
        for (int k = 0; k < 3; k++) {
            OK(cudaGraphLaunch(step, compute));
            float total = 2 * (of[0] + of[1] + of[2]);
            for (float &one : of) one = 2 * one + total / 4;
        }
        SAME(ended(x, 64, compute), std::vector<float>(64, of[rank]));
        OK(cudaGraphExecDestroy(step));
        FINE(ncclCommDestroy(comm));
    });
}

/* Where the order of a sum matters all ranks have the same bits, and they are not those of the ranks' order. */
void test_order_of_sums(void **)
{
    all_end_well(3, [](int rank) {
        ncclComm_t comm = join(3, rank);
        cudaStream_t stream = new_stream();
        float *x = on_device<float>(3);
        put(x, std::vector<float>(3, rank == 0 ? 1e8f : rank == 1 ? 1.0f : -1e8f));
        FINE(ncclAllReduce(x, x, 3, ncclFloat32, ncclSum, comm, stream));
        /* (r1 + r2) + r0, (r2 + r0) + r1, (r0 + r1) + r2 */
        SAME(ended(x, 3, stream), (std::vector<float>{0, 1, 0}));
        FINE(ncclCommDestroy(comm));
    });
}

/* ---- what is refused ---- */

struct bench {
    ncclComm_t comm;
    cudaStream_t stream = new_stream();
    float *x = on_device<float>(4100), *y = on_device<float>(8200);
    bench(int n, int rank) : comm(join(n, rank))
    {
    }
    void end()
    {
        OK(cudaDeviceSynchronize());
        FINE(ncclCommDestroy(comm));
    }
    void add(size_t n, ncclDataType_t type = ncclFloat32)
    {
        FINE(ncclAllReduce(x, y, n, type, ncclSum, comm, stream));
    }
};

void test_peers_differ(void **)
{
    refused("rank 1 calls all_gather of 4096 float32 (its call 1, operation 1 of it) where rank 0 calls all_reduce of "
            "4100 float32 (its call 1, operation 1 of it)",
            2, [](int rank) {
                bench b(2, rank);
                if (rank) FINE(ncclAllGather(b.x, b.y, 4096, ncclFloat32, b.comm, b.stream));
                if (!rank) b.add(4100);
                b.end();
            });
    refused("rank 2 calls all_reduce of 5 float32", 3, [](int rank) {
        bench b(3, rank);
        b.add(rank == 2 ? 5 : 4);
        b.end();
    });
    refused("rank 1 calls all_reduce of 4 bfloat16", 2, [](int rank) {
        bench b(2, rank);
        b.add(4, rank ? ncclBfloat16 : ncclFloat32);
        b.end();
    });
    refused("rank 1 calls all_reduce of 4 float32 (its call 3, operation 1 of it) where rank 0 calls all_reduce of 4 "
            "float32 (its call 2",
            2, [](int rank) { /* two streams that nothing orders */
                              bench b(2, rank);
                              cudaStream_t other = new_stream();
                              b.add(4);
                              OK(cudaStreamSynchronize(b.stream));
                              if (!rank) FINE(ncclAllReduce(b.x + 8, b.y + 8, 4, ncclFloat32, ncclSum, b.comm, other));
                              b.add(4);
                              if (rank) FINE(ncclAllReduce(b.x + 8, b.y + 8, 4, ncclFloat32, ncclSum, b.comm, other));
                              OK(cudaStreamSynchronize(b.stream));
                              b.end();
            });
    refused("rank 1 calls ncclCommDestroy", 2, [](int rank) {
        bench b(2, rank);
        if (!rank) b.add(4);
        b.end();
    });
    refused("rank 0 sends rank 1 4 of type 7, which receives 5 of type 7", 2, [](int rank) {
        bench b(2, rank);
        if (rank) FINE(ncclRecv(b.y, 5, ncclFloat32, 0, b.comm, b.stream));
        if (!rank) FINE(ncclSend(b.x, 4, ncclFloat32, 1, b.comm, b.stream));
        b.end();
    });
}

void test_recorded_by_one(void **)
{
    refused("recorded in a graph", 2, [](int rank) {
        bench b(2, rank);
        cudaGraph_t graph;
        cudaGraphExec_t step = nullptr;
        if (rank) OK(cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeThreadLocal));
        b.add(4);
        if (rank) {
            OK(cudaStreamEndCapture(b.stream, &graph));
            OK(cudaGraphInstantiate(&step, graph));
            OK(cudaGraphLaunch(step, b.stream));
        }
        OK(cudaStreamSynchronize(b.stream));
    });
}

void test_memory(void **)
{
    refused("its source, 16404 bytes at", 1, [](int rank) { bench(1, rank).add(4101); });
    refused("its source, 16 bytes at", 1, [](int rank) {
        bench b(1, rank);
        std::vector<float> host(4);
        FINE(ncclAllReduce(host.data(), b.y, 4, ncclFloat32, ncclSum, b.comm, b.stream));
    });
    refused("overlap, and it is not in place", 1, [](int rank) {
        bench b(1, rank);
        FINE(ncclAllReduce(b.x, b.x + 1, 4, ncclFloat32, ncclSum, b.comm, b.stream));
    });
    refused("two operations of one group use the same memory", 1, [](int rank) {
        bench b(1, rank);
        FINE(ncclGroupStart());
        b.add(4);
        FINE(ncclAllReduce(b.x + 8, b.y + 3, 4, ncclFloat32, ncclSum, b.comm, b.stream));
        FINE(ncclGroupEnd());
    });
    refused("two operations use the same memory at once", 1, [](int rank) {
        bench b(1, rank);
        b.add(4);
        OK(cudaMemsetAsync(b.y, 0, 16, new_stream()));
    });
    refused(WITH_ASAN ? "use-after-poison"
                      : "the destination of a copy was written while it was in flight: NCCL: all_reduce of 4 float32",
            1, [](int rank) { /* what an update does that does not wait */
                              bench b(1, rank);
                              float *y = b.y;
                              b.add(4);
                              OK(cudasim_launch(new_stream(), dim3(1), dim3(4), 0, [=] { y[threadIdx.x] = 1; }));
                              OK(cudaDeviceSynchronize());
            });
    refused("the source of a copy changed while it was in flight: NCCL: all_reduce of 4 float32", 1, [](int rank) {
        bench b(1, rank);
        float *x = b.x;
        b.add(4);
        OK(cudasim_launch(new_stream(), dim3(1), dim3(4), 0, [=] { x[threadIdx.x] = 1; }));
        OK(cudaDeviceSynchronize());
    });
}

void test_destroy(void **)
{
    refused("work of the communicator is pending", 1, [](int rank) {
        bench b(1, rank);
        b.add(4);
        ncclCommDestroy(b.comm);
    });
    refused("a graph that has operations of the communicator is alive", 1, [](int rank) {
        bench b(1, rank);
        cudaGraph_t graph;
        OK(cudaStreamBeginCapture(b.stream, cudaStreamCaptureModeThreadLocal));
        b.add(4);
        OK(cudaStreamEndCapture(b.stream, &graph));
        ncclCommDestroy(b.comm);
    });
    refused("is no communicator, or was destroyed", 1, [](int rank) {
        bench b(1, rank);
        b.end();
        b.add(4);
    });
}

void test_opening(void **)
{
    refused("invalid usage", 2, [](int rank) { join(2, rank, 0); });
    refused("rank 1 is one of 3 ranks, rank 0 one of 2", 2, [](int rank) {
        if (rank) join(3, rank);
        if (!rank) join(2, rank);
    });
    all_end_well(3, [](int rank) { /* a second job on the address of one that has begun, and one that is still to */
                                   if (rank < 2) {
                                       bench b(2, rank);
                                       b.add(4);
                                       b.end();
                                   }
    });
}

/* ---- memory that it takes ---- */

void test_memory_taken(void **)
{
    all_end_well(2, [](int rank) {
        size_t before, ring, pairs, after, whole;
        setenv("CUDASIM_NCCL_MEMORY", "1", 1);
        setenv("NCCL_MAX_P2P_NCHANNELS", "1", 1);
        bench b(2, rank);
        OK(cudaMemGetInfo(&before, &whole));
        b.add(4);
        b.add(4);
        OK(cudaMemGetInfo(&ring, &whole));
        FINE(ncclGroupStart());
        FINE(ncclSend(b.x, 4, ncclFloat32, 1 - rank, b.comm, b.stream));
        FINE(ncclRecv(b.y, 4, ncclFloat32, 1 - rank, b.comm, b.stream));
        FINE(ncclGroupEnd());
        OK(cudaMemGetInfo(&pairs, &whole));
        b.end();
        OK(cudaMemGetInfo(&after, &whole));
        SAME(before - ring, (size_t)4 * 12 << 20);
        SAME(ring - pairs, (size_t)12 << 20);
        SAME(after, before);
    });
    refused("unhandled cuda error", 1, [](int rank) {
        setenv("CUDASIM_NCCL_MEMORY", "1", 1);
        bench b(1, rank);
        cudasim_memory(30 << 20);
        b.add(4);
    });
}

/* ---- planted faults ---- */

/* Twenty sums; a thread of its own looks for errors, as a watchdog does, and leaves with 4. */
void twenty(int n, int rank, const char *fault)
{
    setenv("CUDASIM_NCCL_FAULT", fault, 1);
    bench b(n, rank);
    put(b.x, numbers(rank, 4100));
    std::thread([comm = b.comm, rank] {
        for (int k = 0; k < 100; k++) {
            ncclResult_t error = ncclSuccess;
            struct timespec span = {0, 10000000};
            nanosleep(&span, nullptr);
            if (ncclCommGetAsyncError(comm, &error) == ncclSuccess && error == ncclSuccess) continue;
            fprintf(stderr, "rank %d sees: %s: %s\n", rank, ncclGetErrorString(error), ncclGetLastError(comm));
            _exit(4);
        }
        fprintf(stderr, "rank %d has waited long enough\n", rank);
        _exit(5);
    }).detach();
    for (int k = 0; k < 20; k++) {
        b.add(4100);
        if (ended(b.y, 4100, b.stream) == sums(n, 4100)) continue;
        fprintf(stderr, "rank %d: sum %d is wrong\n", rank, k + 1);
        _exit(6);
    }
    b.end();
    _exit(0);
}

void has_ended(const ranks &all, int rank, int code)
{
    int status = all.ended[(size_t)rank];
    if (code < 0 ? !WIFSIGNALED(status) || WTERMSIG(status) != -code
                 : !WIFEXITED(status) || WEXITSTATUS(status) != code)
        fail_msg("rank %d ended with %x: %s", rank, (unsigned)status, all.said.c_str());
}

void test_planted(void **)
{
    ranks die = run(2, [](int rank) { twenty(2, rank, "die:1:7"); });
    has_ended(die, 1, -SIGKILL);
    has_ended(die, 0, 4);
    assert_non_null(strstr(die.said.c_str(), "rank 1 has closed its connection"));
    ranks hang = run(2, [](int rank) { twenty(2, rank, "hang:0:3"); });
    assert_non_null(strstr(hang.said.c_str(), "has waited long enough"));
    ranks error = run(2, [](int rank) { twenty(2, rank, "error:1:2"); });
    has_ended(error, 1, 4);
    assert_non_null(strstr(error.said.c_str(), "rank 1 sees: unhandled system error"));
    ranks flip = run(2, [](int rank) { twenty(2, rank, "flip:1:5"); });
    has_ended(flip, 1, 6);
    assert_non_null(strstr(flip.said.c_str(), "rank 1: sum 5 is wrong"));
    all_end_well(2, [](int rank) { twenty(2, rank, "slow:1:5"); });
    refused("CUDASIM_NCCL_FAULT is \"die:1\"", 2, [](int rank) { twenty(2, rank, "die:1"); });
}

/* A rank that comes late is no error. */
void test_late(void **)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    all_end_well(2, [](int rank) {
        setenv("CUDASIM_NCCL_FAULT", "late:1:2", 1);
        bench b(2, rank);
        for (int k = 0; k < 3; k++) b.add(4);
        b.end();
    });
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - begin.tv_sec >= 2);
}

/* ---- what is left ---- */

int names_left()
{
    DIR *folder = opendir("/dev/shm");
    int n = 0;
    std::string mine = "127.0.0.1:" + std::to_string(20000 + getpid() % 20000) + "-";
    while (struct dirent *entry = readdir(folder)) n += strstr(entry->d_name, mine.c_str()) != nullptr;
    closedir(folder);
    return n;
}

/* A job that was killed while it began leaves a name; the next on that address is none the worse, and removes it. */
void test_left_over(void **)
{
    std::string name;
    assert_int_equal(names_left(), 0);
    ranks killed = run(1, [](int) {
        alarm(1);
        signal(SIGALRM, [](int) { raise(SIGKILL); });
        join(2, 0); /* rank 1 never comes */
    });
    has_ended(killed, 0, -SIGKILL);
    assert_int_equal(names_left(), 1);
    all_end_well(2, [](int rank) {
        bench b(2, rank);
        b.add(4);
        b.end();
    });
    assert_int_equal(names_left(), 0);
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collectives),  cmocka_unit_test(test_sends),
        cmocka_unit_test(test_graph),        cmocka_unit_test(test_order_of_sums),
        cmocka_unit_test(test_peers_differ), cmocka_unit_test(test_recorded_by_one),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_destroy),
        cmocka_unit_test(test_opening),      cmocka_unit_test(test_memory_taken),
        cmocka_unit_test(test_planted),      cmocka_unit_test(test_late),
        cmocka_unit_test(test_left_over),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
