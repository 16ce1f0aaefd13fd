/* helpers: memory and children for the simulator's tests. */
#ifndef CUDASIM_TEST_HELPERS_H
#define CUDASIM_TEST_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}
#include <functional>
#include <string>
#include <vector>

#include "cuda_runtime.h"

/* In a child a failed call must not jump into the parent's tests. */
inline bool in_child = false;
#define OK(CALL)                                                                                                       \
    do {                                                                                                               \
        cudaError_t error_ = (CALL);                                                                                   \
        if (in_child && error_ != cudaSuccess) {                                                                       \
            fprintf(stderr, "%s: %s\n", #CALL, cudaGetErrorName(error_));                                              \
            _exit(9);                                                                                                  \
        }                                                                                                              \
        assert_int_equal(error_, cudaSuccess);                                                                         \
    } while (0)

template <typename T> T *on_device(size_t n)
{
    void *at = nullptr;
    OK(cudaMalloc(&at, n * sizeof(T)));
    return static_cast<T *>(at);
}

template <typename T> T *on_host(size_t n)
{
    void *at = nullptr;
    OK(cudaHostAlloc(&at, n * sizeof(T), cudaHostAllocDefault));
    return static_cast<T *>(at);
}

template <typename T> void put(T *to, const std::vector<T> &from)
{
    OK(cudaMemcpy(to, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
    OK(cudaDeviceSynchronize());
}

template <typename T> std::vector<T> get(const T *from, size_t n)
{
    std::vector<T> to(n);
    OK(cudaMemcpy(to.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost));
    return to;
}

static inline cudaStream_t new_stream()
{
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

static inline cudaEvent_t new_event()
{
    cudaEvent_t event;
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
}

static const char shared_key = 0;

#endif
