/* The simulated GPU catches what a real one would not forgive: one broken program for each kind, each in a child of its
 * own, whose stderr must say what is wrong. What only AddressSanitizer sees is skipped in a build without it. */
#include "helpers.h"

namespace
{

enum { N = 64 };
constexpr unsigned ALL = 0xffffffffu;

/* ---- children ---- */

void caught_by_asan(const char *text, const std::function<void()> &body)
{
    if (WITH_ASAN)
        caught(text, body);
    else
        print_message("skipped, needs AddressSanitizer: %s\n", text);
}

/* Caught under AddressSanitizer; without it the program ends with wrong numbers (it exits with 3). */
void caught_or_wrong(const char *text, const std::function<void()> &body)
{
    if (WITH_ASAN) {
        caught(text, body);
    } else {
        int status = run_child(body);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 3)
            fail_msg("the child ended with %x and said: %s", (unsigned)status, said.c_str());
    }
}

void exit_if_wrong(bool wrong)
{
    _exit(wrong ? 3 : 0);
}

/* ---- launches ---- */

template <typename F> void launch(F body, cudaStream_t stream = nullptr, size_t shared = 0, dim3 block = dim3(N))
{
    OK(cudasim_launch(stream, dim3(1), block, shared, body));
}
template <typename F> void run_kernel(F body, size_t shared = 0, dim3 block = dim3(N))
{
    launch(body, nullptr, shared, block);
    OK(cudaDeviceSynchronize());
}

void copy_kernel(cudaStream_t stream, float *to, const float *from)
{
    launch([=] { to[threadIdx.x] = from[threadIdx.x]; }, stream);
}

/* Two streams, an event, device and pinned memory: what the broken programs use. */
struct scene {
    cudaStream_t compute = new_stream(), copies = new_stream();
    cudaEvent_t event = new_event();
    float *a = on_device<float>(N), *b = on_device<float>(N), *host = on_host<float>(N), *back = on_host<float>(N);
    scene()
    {
        for (int i = 0; i < N; i++) host[i] = back[i] = 1;
        put(a, std::vector<float>(N, 5));
        put(b, std::vector<float>(N, 5));
    }
    void upload()
    {
        OK(cudaMemcpyAsync(a, host, N * sizeof(float), cudaMemcpyHostToDevice, copies));
    }
    void download()
    {
        OK(cudaMemcpyAsync(back, b, N * sizeof(float), cudaMemcpyDeviceToHost, copies));
    }
};

/* ---- memory ---- */

void test_out_of_range(void **)
{
    caught_by_asan("AddressSanitizer: use-after-poison", [] {
        float *x = on_device<float>(N), *y = on_device<float>(N);
        run_kernel([=] { y[threadIdx.x] = x[threadIdx.x + 1]; });
    });
    caught_by_asan("AddressSanitizer: use-after-poison", [] {
        float *x = on_device<float>(N);
        run_kernel([=] { x[(int)threadIdx.x - 1] = 0; });
    });
    caught_by_asan("AddressSanitizer: use-after-poison", [] {
        float *x = on_device<float>(N);
        OK(cudaFree(x));
        run_kernel([=] { x[threadIdx.x] = 0; });
    });
}

void test_uninitialised(void **)
{
    float *x = on_device<float>(N), *y = on_device<float>(N);
    run_kernel([=] { y[threadIdx.x] = x[threadIdx.x] + 1; });
    for (float v : get(y, N)) assert_true(v != v);
    run_kernel(
        [=] {
            float *s = static_cast<float *>(cudasim_shared(&shared_key, N * sizeof(float), 16));
            float *t = static_cast<float *>(cudasim_shared_dynamic());
            if (threadIdx.x % 2) s[threadIdx.x] = t[threadIdx.x] = 0;
            y[threadIdx.x] = s[threadIdx.x] + 1;
            x[threadIdx.x] = t[threadIdx.x] + 1;
        },
        N * sizeof(float));
    std::vector<float> v = get(x, N), w = get(y, N);
    for (size_t i = 0; i < N; i++) assert_true((v[i] == 1) == (i % 2 == 1) && (w[i] == 1) == (i % 2 == 1));
    OK(cudaFree(x));
    OK(cudaFree(y));
}

void test_misaligned(void **)
{
    caught("misaligned access of 16 bytes", [] {
        float *x = on_device<float>(N + 1);
        run_kernel([=] { cudasim_aligned(x + 1, 16); });
    });
}

void test_host_access(void **)
{
    caught("host code touches device memory", [] {
        float *x = on_device<float>(N);
        exit_if_wrong(*const_cast<volatile float *>(x) == 0);
    });
    caught("cudaFree of", [] {
        float *x = on_device<float>(N);
        OK(cudaFree(x));
        cudaFree(x);
    });
    caught("cudaFreeHost of", [] { cudaFreeHost(on_device<float>(N)); });
}

void test_copy_ranges(void **)
{
    caught("its destination, 260 bytes at", [] {
        float *x = on_device<float>(N), host[N + 1] = {};
        cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice);
    });
    caught("its source, 256 bytes at", [] {
        float host[N] = {}, more[N];
        cudaMemcpy(more, host, sizeof host, cudaMemcpyDeviceToHost);
    });
    caught("is not host memory", [] {
        float *x = on_device<float>(N), *y = on_device<float>(N);
        cudaMemcpy(x, y, N * sizeof(float), cudaMemcpyHostToDevice);
    });
    caught("its source and its destination overlap", [] {
        float *x = on_device<float>(N);
        cudaMemcpy(x + 1, x, (N - 1) * sizeof(float), cudaMemcpyDeviceToDevice);
    });
    caught("does not lie in one allocation", [] { cudaMemset(on_device<float>(N), 0, N * sizeof(float) + 1); });
}

/* ---- barriers ---- */

void test_unequal_barriers(void **)
{
    caught("unequal barriers: of 64 threads of block (0, 0, 0) 40 threads wait at __syncthreads, 24 have ended", [] {
        run_kernel([] {
            if (threadIdx.x < 40) __syncthreads();
        });
    });
    caught("unequal barriers: of 64 threads of block (0, 0, 0) 32 threads wait at __syncthreads, "
           "32 threads wait at __syncthreads_or",
           [] {
               run_kernel([] {
                   if (threadIdx.x < 32)
                       __syncthreads();
                   else
                       __syncthreads_or(1);
               });
           });
    caught("unequal barriers: lanes 0000ffff of warp 1 wait at __shfl_xor_sync for lanes ffffffff", [] {
        run_kernel([] {
            if (threadIdx.x < 48) __shfl_xor_sync(ALL, 1, 1);
        });
    });
    caught("unequal barriers: lanes 00000fff of warp 0 wait at __syncwarp", [] {
        run_kernel([] {
            if (threadIdx.x < 12) __syncwarp();
            __syncthreads();
        });
    });
    caught("unequal barriers", [] { run_kernel([] { __ballot_sync(ALL, 1); }, 0, dim3(40)); });
    caught("which is not in its mask 0000000f", [] { run_kernel([] { __shfl_xor_sync(0xfu, 1, 1); }); });
    caught("reads lane 4, which is not in its mask", [] {
        run_kernel([] {
            if (threadIdx.x < 4) __shfl_sync(0xfu, 1, 4);
        });
    });
    caught("__syncthreads outside a kernel", [] { __syncthreads(); });
}

/* Without a barrier between writing and reading, the order of threads shows. */
template <typename F> std::vector<float> in_order(const char *order, F body)
{
    float *y = on_device<float>(N);
    setenv("CUDASIM_ORDER", order, 1);
    run_kernel([=] { body(y); });
    unsetenv("CUDASIM_ORDER");
    std::vector<float> got = get(y, N);
    OK(cudaFree(y));
    return got;
}

void test_missing_barrier(void **)
{
    auto shift = [](float *y, bool barrier) {
        float *s = static_cast<float *>(cudasim_shared(&shared_key, N * sizeof(float), 16));
        unsigned t = threadIdx.x;
        s[t] = (float)t;
        __syncthreads();
        float next = s[(t + 1) % N];
        if (barrier) __syncthreads();
        s[t] = -1;
        y[t] = next;
    };
    auto broken = [=](float *y) { shift(y, false); };
    auto whole = [=](float *y) { shift(y, true); };
    assert_true(in_order("forward", whole) == in_order("reverse", whole));
    assert_true(in_order("forward", broken) != in_order("reverse", broken));
    bool differs = false; /* and without being asked, within a few launches */
    std::vector<float> first = in_order("mixed", broken);
    for (int i = 0; i < 16; i++) differs |= in_order("mixed", broken) != first;
    assert_true(differs);
    caught("forward, reverse or mixed", [=] { in_order("sideways", whole); });
}

/* ---- limits ---- */

void test_limits(void **)
{
    caught("blocks of 1025 x 1 x 1 threads", [] { launch([] {}, nullptr, 0, dim3(1025)); });
    caught("blocks of 64 x 32 x 1 threads", [] { launch([] {}, nullptr, 0, dim3(64, 32)); });
    caught("blocks of 1 x 1 x 65 threads", [] { launch([] {}, nullptr, 0, dim3(1, 1, 65)); });
    caught("1 x 65536 x 1 blocks", [] { OK(cudasim_launch(nullptr, dim3(1, 65536), dim3(1), 0, [] {})); });
    caught("232449 bytes of dynamic shared memory", [] { launch([] {}, nullptr, 232449); });
    caught("49153 bytes of static shared memory, and at most 49152 may be", [] {
        static const char other = 0;
        run_kernel([] {
            cudasim_shared(&shared_key, 48 * 1024, 16);
            cudasim_shared(&other, 1, 16);
        });
    });
    caught("shared memory, and at most 232448 may be",
           [] { run_kernel([] { cudasim_shared(&shared_key, 16, 16); }, 232440); });
}

/* What a kernel may have of shared memory is the kernel's: a smaller number takes it from larger launches, a graph's too. */
void test_shared_attribute(void **)
{
    static const char kernel = 0;
    auto launch_of = [](cudaStream_t stream, size_t shared) {
        OK(cudasim_launch(
            stream, dim3(1), dim3(N), shared, [] {}, &kernel));
    };
    auto allow = [](int most) { OK(cudaFuncSetAttribute(&kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most)); };
    auto graph_of = [=](cudaStream_t stream) {
        cudaGraph_t graph;
        OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        allow(60000);
        launch_of(stream, 60000);
        allow(50000);
        launch_of(stream, 50000);
        OK(cudaStreamEndCapture(stream, &graph));
        return graph;
    };
    caught("49153 of dynamic shared memory, where cudaFuncSetAttribute was last told 49152",
           [=] { launch_of(nullptr, 49153); });
    caught("60000 of dynamic shared memory, where cudaFuncSetAttribute was last told 50000", [=] {
        cudaGraphExec_t ready;
        OK(cudaGraphInstantiate(&ready, graph_of(new_stream()), 0));
    });
    caught("60000 of dynamic shared memory, where cudaFuncSetAttribute was last told 4", [=] {
        cudaGraphExec_t ready;
        cudaStream_t stream = new_stream();
        cudaGraph_t graph = graph_of(stream);
        allow(60000);
        OK(cudaGraphInstantiate(&ready, graph, 0));
        OK(cudaGraphLaunch(ready, stream));
        allow(4);
        OK(cudaGraphLaunch(ready, stream));
    });
    caught("32 bytes of static and 49152 of dynamic shared memory", [] {
        OK(cudasim_launch(
            nullptr, dim3(1), dim3(N), 49152, [] { cudasim_shared(&shared_key, 32, 16); }, &kernel));
        OK(cudaDeviceSynchronize());
    });
}

void test_shared_range(void **)
{
    caught_by_asan("AddressSanitizer: use-after-poison", [] {
        run_kernel([] { static_cast<float *>(cudasim_shared_dynamic())[threadIdx.x] = 0; }, (N - 1) * sizeof(float));
    });
    caught_by_asan("AddressSanitizer: use-after-poison", [] {
        run_kernel([] { static_cast<char *>(cudasim_shared(&shared_key, N - 1, 16))[threadIdx.x] = 0; });
    });
}

/* ---- copy and compute ---- */

void test_compute_before_copy(void **)
{
    caught_or_wrong("AddressSanitizer: use-after-poison", [] {
        scene s;
        s.upload();
        copy_kernel(s.compute, s.b, s.a); /* does not wait for the copy */
        OK(cudaDeviceSynchronize());
        exit_if_wrong(get(s.b, N)[7] != 1);
    });
    caught_or_wrong("AddressSanitizer: use-after-poison", [] {
        scene s;
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        OK(cudaStreamBeginCapture(s.compute, cudaStreamCaptureModeGlobal));
        OK(cudaEventRecord(s.event, s.compute));
        OK(cudaStreamWaitEvent(s.copies, s.event, 0));
        s.upload();
        OK(cudaEventRecord(s.event, s.copies));
        copy_kernel(s.compute, s.b, s.a);
        OK(cudaStreamWaitEvent(s.compute, s.event, 0)); /* too late */
        OK(cudaStreamEndCapture(s.compute, &graph));
        OK(cudaGraphInstantiate(&exec, graph, 0));
        OK(cudaGraphLaunch(exec, s.compute));
        OK(cudaStreamSynchronize(s.compute));
        exit_if_wrong(get(s.b, N)[7] != 1);
    });
}

void test_copy_before_compute(void **)
{
    caught_or_wrong("AddressSanitizer: use-after-poison", [] {
        scene s;
        copy_kernel(s.compute, s.b, s.a);
        s.upload(); /* over what the kernel has yet to read */
        OK(cudaDeviceSynchronize());
        exit_if_wrong(get(s.b, N)[7] != 5);
    });
    caught("the source of a copy changed while it was in flight: a copy device to host", [] {
        scene s;
        copy_kernel(s.compute, s.b, s.host);
        s.download(); /* of what the kernel has yet to write */
        OK(cudaStreamSynchronize(s.copies));
    });
    caught(WITH_ASAN ? "AddressSanitizer: use-after-poison"
                     : "the destination of a copy was written while it was in flight: a copy host to device",
           [] {
               scene s;
               s.upload();
               copy_kernel(s.compute, s.a, s.b);
               OK(cudaStreamSynchronize(s.copies));
           });
    /* The wait that there is is for another copy: the schedule that does nothing early finds it. */
    caught_or_wrong("AddressSanitizer: use-after-poison", [] {
        scene s;
        setenv("CUDASIM_SCHEDULE", "late", 1);
        copy_kernel(s.compute, s.b, s.a);
        OK(cudaMemsetAsync(on_device<float>(N), 0, N * sizeof(float), s.copies));
        OK(cudaStreamSynchronize(s.copies));
        s.upload();
        OK(cudaDeviceSynchronize());
        exit_if_wrong(get(s.b, N)[7] != 5);
    });
}

/* Results read before they are there: the host's wait is for another stream. */
void test_missing_wait(void **)
{
    int status = run_child([] {
        scene s;
        copy_kernel(s.compute, s.b, s.host);
        copy_kernel(s.copies, s.back, s.b);
        OK(cudaStreamSynchronize(s.copies));
        exit_if_wrong(s.back[3] != 1);
    });
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    caught("the source of a copy changed while it was in flight: a copy host to device", [] {
        scene s;
        s.upload();
        s.host[3] = 2;
        OK(cudaStreamSynchronize(s.copies));
    });
    caught_or_wrong("AddressSanitizer: use-after-poison", [] {
        scene s;
        s.download();
        exit_if_wrong(s.back[3] != 5);
    });
}

void test_two_streams(void **)
{
    caught("two operations use the same memory at once, and nothing orders them: a copy host to device of 256 bytes",
           [] {
               scene s;
               s.upload();
               OK(cudaMemsetAsync(s.a, 0, 16, s.compute));
           });
    caught("; and a copy device to host of 256 bytes", [] {
        scene s;
        OK(cudaMemsetAsync(s.b, 0, 16, s.compute));
        s.download();
    });
}

void test_handles(void **)
{
    caught("is not a stream but an event", [] { launch([] {}, reinterpret_cast<cudaStream_t>(new_event())); });
    caught("is not a stream: it was destroyed, or is no handle", [] {
        cudaStream_t stream = new_stream();
        OK(cudaStreamDestroy(stream));
        launch([] {}, stream);
    });
    caught("is not an event but a stream", [] { cudaEventRecord(reinterpret_cast<cudaEvent_t>(new_stream())); });
}

void test_nothing_left(void **)
{
    assert_int_equal(cudasim_live(), 0);
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_uninitialised),
        cmocka_unit_test(test_misaligned),
        cmocka_unit_test(test_host_access),
        cmocka_unit_test(test_copy_ranges),
        cmocka_unit_test(test_unequal_barriers),
        cmocka_unit_test(test_missing_barrier),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_shared_attribute),
        cmocka_unit_test(test_shared_range),
        cmocka_unit_test(test_compute_before_copy),
        cmocka_unit_test(test_copy_before_compute),
        cmocka_unit_test(test_missing_wait),
        cmocka_unit_test(test_two_streams),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
