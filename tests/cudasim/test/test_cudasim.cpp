/* The simulated GPU runs correct programs correctly. */
#include <thread>

#include "helpers.h"

namespace
{

/* ---- kernels ---- */

float warp_sum(float x)
{
    for (int far = 16; far; far /= 2) x += __shfl_xor_sync(0xffffffffu, x, far);
    return x;
}

void sum_blocks(const float *x, float *sums, int n)
{
    float *part = static_cast<float *>(cudasim_shared(&shared_key, 8 * sizeof(float), 16));
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    float sum = warp_sum(i < n ? x[i] : 0);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x) return;
    sum = 0;
    for (unsigned w = 0; w < blockDim.x / 32; w++) sum += part[w];
    sums[blockIdx.x] = sum;
}

void transpose(const int *in, int *out, int rows, int columns)
{
    int(*tile)[17] = static_cast<int(*)[17]>(cudasim_shared_dynamic());
    int x = (int)(blockIdx.x * 16 + threadIdx.x), y = (int)(blockIdx.y * 16 + threadIdx.y);
    if (x < columns && y < rows) tile[threadIdx.y][threadIdx.x] = in[y * columns + x];
    __syncthreads();
    x = (int)(blockIdx.y * 16 + threadIdx.x);
    y = (int)(blockIdx.x * 16 + threadIdx.y);
    if (x < rows && y < columns) out[y * rows + x] = tile[threadIdx.x][threadIdx.y];
}

void axpy(float a, const float *x, float *y, int n)
{
    for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < n; i += (int)(gridDim.x * blockDim.x))
        y[i] += a * x[i];
}

cudaError_t launch_axpy(cudaStream_t stream, float a, const float *x, float *y, int n)
{
    return cudasim_launch(stream, dim3(2), dim3(64), 0, [=] { axpy(a, x, y, n); });
}

/* ---- kernels' means ---- */

void test_reduction(void **)
{
    enum { N = 1000, BLOCKS = 4 };
    std::vector<float> x(N);
    double want = 0;
    for (int i = 0; i < N; i++) want += x[(size_t)i] = (float)(i % 13);
    float *d_x = on_device<float>(N), *d_sums = on_device<float>(BLOCKS);
    put(d_x, x);
    for (int repeat = 0; repeat < 8; repeat++) { /* in both orders */
        OK(cudasim_launch(nullptr, dim3(BLOCKS), dim3(256), 0, [=] { sum_blocks(d_x, d_sums, N); }));
        double got = 0;
        for (float part : get(d_sums, BLOCKS)) got += part;
        assert_true(got == want);
    }
    OK(cudaFree(d_x));
    OK(cudaFree(d_sums));
}

void test_grids(void **)
{
    enum { ROWS = 37, COLUMNS = 50 };
    std::vector<int> in(ROWS * COLUMNS);
    for (int i = 0; i < ROWS * COLUMNS; i++) in[(size_t)i] = i;
    int *d_in = on_device<int>(in.size()), *d_out = on_device<int>(in.size());
    put(d_in, in);
    OK(cudasim_launch(nullptr, dim3(4, 3), dim3(16, 16), 16 * 17 * sizeof(int),
                      [=] { transpose(d_in, d_out, ROWS, COLUMNS); }));
    std::vector<int> out = get(d_out, in.size());
    for (int y = 0; y < ROWS; y++)
        for (int x = 0; x < COLUMNS; x++) assert_int_equal(out[(size_t)(x * ROWS + y)], y * COLUMNS + x);
    OK(cudaFree(d_in));
    OK(cudaFree(d_out));
}

void test_coordinates(void **)
{
    enum { N = 2 * 3 * 2 * 4 * 2 * 3 };
    int *seen = on_device<int>(N);
    OK(cudaMemset(seen, 0, N * sizeof(int)));
    OK(cudasim_launch(nullptr, dim3(2, 3, 2), dim3(4, 2, 3), 0, [=] {
        unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        seen[block * 24 + thread] += 1 + (int)(block * 24 + thread);
    }));
    std::vector<int> got = get(seen, N);
    for (int i = 0; i < N; i++) assert_int_equal(got[(size_t)i], i + 1);
    OK(cudaFree(seen));
}

/* Each lane writes what it got; the results of thread t of a block of 64 lie at t. */
template <typename T, typename F> std::vector<T> lanes(F body)
{
    T *d = on_device<T>(64);
    OK(cudasim_launch(nullptr, dim3(1), dim3(64), 0, [=] { d[threadIdx.x] = body((int)threadIdx.x); }));
    std::vector<T> got = get(d, 64);
    OK(cudaFree(d));
    return got;
}

void test_warps(void **)
{
    const unsigned all = 0xffffffffu;
    std::vector<int> to = lanes<int>([](int t) { return __shfl_sync(all, t, 5); });
    std::vector<int> up = lanes<int>([](int t) { return __shfl_up_sync(all, t, 3); });
    std::vector<int> down = lanes<int>([](int t) { return __shfl_down_sync(all, t, 3, 8); });
    std::vector<double> with = lanes<double>([](int t) { return __shfl_xor_sync(all, (double)t, 9); });
    std::vector<int> half = lanes<int>([](int t) { return __shfl_sync(all, t, 1, 16); });
    std::vector<unsigned> votes = lanes<unsigned>([](int t) { return __ballot_sync(all, t % 3 == 0); });
    std::vector<int> any = lanes<int>([](int t) { return __any_sync(all, t == 40) + 2 * __all_sync(all, t >= 32); });
    /* Lanes that do different things, each with those it names. */
    std::vector<int> parts = lanes<int>([](int t) {
        if (t % 32 < 8) return __shfl_xor_sync(0xffu, t, 1);
        return __shfl_down_sync(0xffffff00u, t, 1);
    });
    std::vector<int> gathered = lanes<int>([](int t) {
        short every[32];
        int sum = 0;
        cudasim_warp_gather((short)(t * t), every);
        for (int lane = 0; lane < 32; lane++) sum += every[lane] == (t / 32 * 32 + lane) * (t / 32 * 32 + lane);
        return sum;
    });
    for (int t = 0; t < 64; t++) {
        size_t i = (size_t)t;
        int lane = t % 32, first = t - lane;
        unsigned vote = 0;
        for (int k = 0; k < 32; k++) vote |= (unsigned)((first + k) % 3 == 0) << k;
        assert_int_equal(to[i], first + 5);
        assert_int_equal(up[i], lane < 3 ? t : t - 3);
        assert_int_equal(down[i], t % 8 > 4 ? t : t + 3);
        assert_true(with[i] == (double)(t ^ 9));
        assert_int_equal(half[i], t / 16 * 16 + 1);
        assert_int_equal(votes[i], vote);
        assert_int_equal(any[i], first == 32 ? 3 : 0);
        assert_int_equal(parts[i], lane < 8 ? t ^ 1 : lane == 31 ? t : t + 1);
        assert_int_equal(gathered[i], 32);
    }
}

void test_block_votes(void **)
{
    std::vector<int> got = lanes<int>([](int t) {
        int any = __syncthreads_or(t == 17), all = __syncthreads_and(t < 63), count = __syncthreads_count(t % 2);
        return any + 2 * all + 4 * count;
    });
    for (int sum : got) assert_int_equal(sum, 1 + 4 * 32);
}

void test_full_block(void **)
{
    int *d = on_device<int>(1024);
    OK(cudasim_launch(nullptr, dim3(3), dim3(1024), 227 * 1024 - 64, [=] {
        int *rows = static_cast<int *>(cudasim_shared_dynamic());
        for (int round = 0; round < 3; round++) {
            rows[threadIdx.x] = (int)threadIdx.x + round;
            __syncthreads();
            d[threadIdx.x] = rows[1023 - threadIdx.x];
            __syncthreads();
        }
    }));
    std::vector<int> got = get(d, 1024);
    for (int i = 0; i < 1024; i++) assert_int_equal(got[(size_t)i], 1023 - i + 2);
    OK(cudaFree(d));
}

/* ---- streams ---- */

/* Input by a copy stream, double-buffered, compute beside it, results back: everything in order by events. */
void test_pipeline(void **)
{
    enum { N = 100, STEPS = 7 };
    cudaStream_t compute = new_stream(), copies = new_stream();
    cudaEvent_t filled[2] = {new_event(), new_event()}, used[2] = {new_event(), new_event()}, back = new_event();
    float *pinned[2] = {on_host<float>(N), on_host<float>(N)}, *out = on_host<float>(N);
    float *buffer[2] = {on_device<float>(N), on_device<float>(N)}, *sum = on_device<float>(N);
    OK(cudaMemsetAsync(sum, 0, N * sizeof(float), compute));
    for (int step = 0; step < STEPS; step++) {
        int k = step % 2;
        OK(cudaEventSynchronize(filled[k]));
        for (int i = 0; i < N; i++) pinned[k][i] = (float)(i + step);
        OK(cudaStreamWaitEvent(copies, used[k], 0));
        OK(cudaMemcpyAsync(buffer[k], pinned[k], N * sizeof(float), cudaMemcpyHostToDevice, copies));
        OK(cudaEventRecord(filled[k], copies));
        OK(cudaStreamWaitEvent(compute, filled[k], 0));
        OK(launch_axpy(compute, 1, buffer[k], sum, N));
        OK(cudaEventRecord(used[k], compute));
    }
    OK(cudaMemcpyAsync(out, sum, N * sizeof(float), cudaMemcpyDeviceToHost, compute));
    OK(cudaEventRecord(back, compute));
    assert_int_equal(cudaEventQuery(back), cudaErrorNotReady);
    assert_int_equal(cudaEventQuery(back), cudaSuccess);
    for (int i = 0; i < N; i++) assert_true(out[i] == (float)(STEPS * i + STEPS * (STEPS - 1) / 2));
    for (int k = 0; k < 2; k++) {
        OK(cudaEventDestroy(filled[k]));
        OK(cudaEventDestroy(used[k]));
        OK(cudaFreeHost(pinned[k]));
        OK(cudaFree(buffer[k]));
    }
    OK(cudaEventDestroy(back));
    OK(cudaFreeHost(out));
    OK(cudaFree(sum));
    OK(cudaStreamDestroy(compute));
    OK(cudaStreamDestroy(copies));
}

void test_laziness(void **)
{
    cudaStream_t stream = new_stream();
    int ran = 0;
    cudasim_enqueue(stream, "work", [&ran] { ran++; });
    assert_int_equal(ran, 0);
    assert_int_equal(cudaStreamQuery(stream), cudaErrorNotReady);
    assert_int_equal(cudaStreamQuery(stream), cudaSuccess);
    assert_int_equal(ran, 1);
    cudasim_enqueue(stream, "work", [&ran] { ran++; });
    OK(cudaStreamDestroy(stream));
    OK(cudaDeviceSynchronize());
    assert_int_equal(ran, 2);
}

void test_default_stream(void **)
{
    cudaStream_t blocking, other = new_stream();
    std::vector<int> order;
    OK(cudaStreamCreate(&blocking));
    cudasim_enqueue(other, "beside", [&] { order.push_back(0); });
    cudasim_enqueue(blocking, "before", [&] { order.push_back(1); });
    cudasim_enqueue(nullptr, "default", [&] { order.push_back(2); });
    cudasim_enqueue(blocking, "after", [&] { order.push_back(3); });
    OK(cudaStreamSynchronize(blocking));
    assert_true(order == std::vector<int>({1, 2, 3}));
    OK(cudaStreamSynchronize(other));
    OK(cudaStreamDestroy(blocking));
    OK(cudaStreamDestroy(other));
}

void test_pageable(void **)
{
    cudaStream_t stream = new_stream();
    int *d = on_device<int>(4), host[4] = {1, 2, 3, 4}, back[4] = {};
    unsigned long long before = cudasim_pageable();
    OK(cudaMemcpyAsync(d, host, sizeof host, cudaMemcpyHostToDevice, stream));
    host[0] = 9; /* the copy has taken it already */
    OK(cudaMemcpyAsync(back, d, sizeof back, cudaMemcpyDefault, stream));
    assert_int_equal(back[0], 1);
    assert_int_equal(back[3], 4);
    assert_int_equal(cudasim_pageable() - before, 2);
    OK(cudaFree(d));
    OK(cudaStreamDestroy(stream));
}

/* Host threads that share the device. */
void test_host_threads(void **)
{
    enum { HOST_THREADS = 3, ROUNDS = 5 };
    std::vector<std::thread> hosts;
    std::vector<int> sums(HOST_THREADS);
    for (int h = 0; h < HOST_THREADS; h++)
        hosts.emplace_back([h, &sums] {
            cudaStream_t stream;
            void *memory = nullptr;
            cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
            cudaMalloc(&memory, sizeof(int));
            int *d = static_cast<int *>(memory);
            for (int round = 0; round < ROUNDS; round++) {
                int got = 0;
                cudasim_launch(stream, dim3(1), dim3(64), 0, [=] {
                    int count = __syncthreads_count((int)threadIdx.x < 10 + h);
                    if (!threadIdx.x) *d = count;
                });
                cudaMemcpyAsync(&got, d, sizeof got, cudaMemcpyDeviceToHost, stream);
                sums[(size_t)h] += got;
            }
            cudaFree(memory);
            cudaStreamDestroy(stream);
        });
    for (int h = 0; h < HOST_THREADS; h++) {
        hosts[(size_t)h].join();
        assert_int_equal(sums[(size_t)h], ROUNDS * (10 + h));
    }
}

/* ---- graphs ---- */

void test_graph(void **)
{
    enum { N = 10 };
    cudaStream_t stream = new_stream();
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaStreamCaptureStatus status;
    size_t nodes = 0;
    float *in = on_host<float>(N), *x = on_device<float>(N), *y = on_device<float>(N), *out = on_host<float>(N);
    OK(cudaMemset(y, 0, N * sizeof(float)));
    OK(cudaDeviceSynchronize());
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    OK(cudaMemcpyAsync(x, in, N * sizeof(float), cudaMemcpyHostToDevice, stream));
    OK(launch_axpy(stream, 2, x, y, N));
    OK(cudaMemcpyAsync(out, y, N * sizeof(float), cudaMemcpyDeviceToHost, stream));
    OK(cudaStreamIsCapturing(stream, &status));
    assert_int_equal(status, cudaStreamCaptureStatusActive);
    OK(cudaStreamEndCapture(stream, &graph));
    OK(cudaStreamIsCapturing(stream, &status));
    assert_int_equal(status, cudaStreamCaptureStatusNone);
    OK(cudaGraphGetNodes(graph, nullptr, &nodes));
    assert_int_equal(nodes, 3);
    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphDestroy(graph));
    float want = 0;
    for (int step = 1; step <= 4; step++) {
        for (int i = 0; i < N; i++) in[i] = (float)step;
        OK(cudaGraphLaunch(exec, stream));
        OK(cudaStreamSynchronize(stream));
        want += 2 * (float)step;
        assert_true(out[N - 1] == want);
    }
    OK(cudaGraphLaunch(exec, stream)); /* two at once follow one another */
    OK(cudaGraphLaunch(exec, stream));
    OK(cudaGraphExecDestroy(exec));
    OK(cudaStreamSynchronize(stream));
    assert_true(out[0] == want + 16);
    OK(cudaFreeHost(in));
    OK(cudaFreeHost(out));
    OK(cudaFree(x));
    OK(cudaFree(y));
    OK(cudaStreamDestroy(stream));
}

/* A copy stream that joins the capture, works beside compute and is joined again. */
void test_fork_join(void **)
{
    enum { N = 10 };
    cudaStream_t compute = new_stream(), copies = new_stream();
    cudaEvent_t fork = new_event(), join = new_event();
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float *in = on_host<float>(N), *x = on_device<float>(N), *y = on_device<float>(N), *z = on_device<float>(N);
    for (int i = 0; i < N; i++) in[i] = (float)i;
    put(z, std::vector<float>(N, 100));
    OK(cudaStreamBeginCapture(compute, cudaStreamCaptureModeGlobal));
    OK(cudaMemsetAsync(y, 0, N * sizeof(float), compute));
    OK(cudaEventRecord(fork, compute));
    OK(cudaStreamWaitEvent(copies, fork, 0));
    OK(cudaMemcpyAsync(x, in, N * sizeof(float), cudaMemcpyHostToDevice, copies));
    OK(cudaEventRecord(join, copies));
    OK(launch_axpy(compute, 1, z, y, N));
    OK(cudaStreamWaitEvent(compute, join, 0));
    OK(launch_axpy(compute, 1, x, y, N));
    assert_int_equal(cudaEventQuery(join), cudaErrorCapturedEvent); /* which spoils the capture */
    assert_int_equal(cudaStreamEndCapture(compute, &graph), cudaErrorStreamCaptureInvalidated);
    assert_null(graph);
    cudaGetLastError();

    OK(cudaStreamBeginCapture(compute, cudaStreamCaptureModeGlobal));
    OK(cudaMemsetAsync(y, 0, N * sizeof(float), compute));
    OK(cudaEventRecord(fork, compute));
    OK(cudaStreamWaitEvent(copies, fork, 0));
    OK(cudaMemcpyAsync(x, in, N * sizeof(float), cudaMemcpyHostToDevice, copies));
    OK(cudaEventRecord(join, copies));
    OK(launch_axpy(compute, 1, z, y, N));
    OK(cudaStreamWaitEvent(compute, join, 0));
    OK(launch_axpy(compute, 1, x, y, N));
    OK(cudaStreamEndCapture(compute, &graph));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    for (int step = 0; step < 3; step++) {
        in[0] = (float)step;
        OK(cudaGraphLaunch(exec, compute));
        OK(cudaStreamSynchronize(compute));
        std::vector<float> got = get(y, N);
        assert_true(got[0] == 100 + (float)step && got[N - 1] == 100 + N - 1);
    }
    OK(cudaGraphExecDestroy(exec));
    OK(cudaGraphDestroy(graph));
    OK(cudaEventDestroy(fork));
    OK(cudaEventDestroy(join));
    OK(cudaFreeHost(in));
    OK(cudaFree(x));
    OK(cudaFree(y));
    OK(cudaFree(z));
    OK(cudaStreamDestroy(compute));
    OK(cudaStreamDestroy(copies));
}

/* What a capture does not allow, and that it is spoilt then. */
void spoils(const std::function<cudaError_t(cudaStream_t)> &call, cudaError_t want)
{
    cudaStream_t stream = new_stream();
    cudaGraph_t graph;
    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudasim_enqueue(stream, "work", [] {});
    assert_int_equal(call(stream), want);
    assert_int_equal(cudaGetLastError(), want);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    assert_null(graph);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
    OK(cudaStreamDestroy(stream));
}

void test_capture_limits(void **)
{
    int *d = on_device<int>(4), host[4];
    void *more;
    cudaEvent_t event = new_event();
    cudaStream_t other = new_stream(), stream = new_stream();
    cudaGraph_t graph;
    cudasim_enqueue(other, "work", [] {});
    OK(cudaEventRecord(event, other));
    spoils([&](cudaStream_t) { return cudaMalloc(&more, 16); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t) { return cudaFree(d); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t) { return cudaHostAlloc(&more, 16, 0); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t) { return cudaDeviceSynchronize(); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t s) { return cudaStreamSynchronize(s); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t s) { return cudaStreamQuery(s); }, cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t) { return cudaMemcpy(d, host, sizeof host, cudaMemcpyHostToDevice); },
           cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t s) { return cudaMemcpyAsync(host, d, sizeof host, cudaMemcpyDeviceToHost, s); },
           cudaErrorStreamCaptureUnsupported);
    spoils([&](cudaStream_t s) { return cudaStreamWaitEvent(s, event, 0); }, cudaErrorStreamCaptureIsolation);

    OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    OK(cudaEventRecord(event, stream));
    OK(cudaStreamWaitEvent(other, event, 0));
    cudasim_enqueue(other, "work that nobody waits for", [] {});
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
    assert_null(graph);
    cudaGetLastError();
    OK(cudaEventDestroy(event));
    OK(cudaStreamDestroy(other));
    OK(cudaStreamDestroy(stream));
    OK(cudaFree(d));
}

/* ---- the device ---- */

void test_out_of_memory(void **)
{
    void *a = nullptr, *b = nullptr;
    size_t left, total;
    cudasim_memory(1 << 20);
    OK(cudaMemGetInfo(&left, &total));
    assert_int_equal(total, 1 << 20);
    assert_int_equal(left, 1 << 20);
    OK(cudaMalloc(&a, 700000));
    assert_int_equal(cudaMalloc(&b, 700000), cudaErrorMemoryAllocation);
    assert_null(b);
    assert_int_equal(cudaPeekAtLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    OK(cudaFree(a));
    OK(cudaMalloc(&b, 700000));
    OK(cudaFree(b));
    cudasim_memory((size_t)8 << 30);
}

void test_device(void **)
{
    int count, value;
    cudaDeviceProp p;
    OK(cudaGetDeviceCount(&count));
    assert_int_equal(count, 1);
    OK(cudaSetDevice(0));
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidDevice);
    setenv("CUDASIM_CAPABILITY", "7.5", 1);
    OK(cudaGetDeviceProperties(&p, 0));
    unsetenv("CUDASIM_CAPABILITY");
    assert_string_equal(p.name, "simulated GPU");
    assert_int_equal(p.major * 10 + p.minor, 75);
    OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
    assert_int_equal(value, 232448);
    setenv("CUDASIM_DEVICES", "0", 1);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    assert_int_equal(count, 0);
    unsetenv("CUDASIM_DEVICES");
    setenv("CUDASIM_DRIVER", "0", 1);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    unsetenv("CUDASIM_DRIVER");
    cudaGetLastError();
    assert_string_equal(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice");
    assert_string_equal(cudaGetErrorString(cudaErrorNoDevice), "no CUDA-capable device is detected");
}

void test_bad_launch(void **)
{
    assert_int_equal(cudasim_launch(nullptr, dim3(0), dim3(32), 0, [] {}), cudaErrorInvalidConfiguration);
    assert_int_equal(cudasim_launch(nullptr, dim3(1), dim3(32, 0), 0, [] {}), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
}

void test_times(void **)
{
    cudaEvent_t start, end;
    float ms = -1;
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    OK(cudaEventRecord(start));
    cudasim_enqueue(nullptr, "work", [] {});
    OK(cudaEventRecord(end));
    assert_int_equal(cudaEventElapsedTime(&ms, start, end), cudaErrorNotReady);
    OK(cudaEventSynchronize(end));
    OK(cudaEventElapsedTime(&ms, start, end));
    assert_true(ms >= 0);
    OK(cudaEventDestroy(start));
    OK(cudaEventDestroy(end));
}

/* Last: the tests before have given everything back. */
void test_nothing_left(void **)
{
    assert_int_equal(cudasim_live(), 0);
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduction),      cmocka_unit_test(test_grids),
        cmocka_unit_test(test_coordinates),    cmocka_unit_test(test_warps),
        cmocka_unit_test(test_block_votes),    cmocka_unit_test(test_full_block),
        cmocka_unit_test(test_pipeline),       cmocka_unit_test(test_laziness),
        cmocka_unit_test(test_default_stream), cmocka_unit_test(test_pageable),
        cmocka_unit_test(test_host_threads),   cmocka_unit_test(test_graph),
        cmocka_unit_test(test_fork_join),      cmocka_unit_test(test_capture_limits),
        cmocka_unit_test(test_out_of_memory),  cmocka_unit_test(test_device),
        cmocka_unit_test(test_bad_launch),     cmocka_unit_test(test_times),
        cmocka_unit_test(test_nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
