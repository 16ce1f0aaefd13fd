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
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}
#include <functional>
#include <string>
#include <vector>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifndef WITH_ASAN
#define WITH_ASAN 0
#endif

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

/* ---- children ---- */

inline std::string said; /* by the child, on stderr */

/* Runs `body` in a child and returns how it ended: as waitpid says. */
inline int run_child(const std::function<void()> &body)
{
    int ends[2], status = 0;
    char text[4096];
    ssize_t got;
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        in_child = true;
        dup2(ends[1], 2);
        close(ends[0]);
        setenv("CUDASIM_TRACE", "0", 1);
        body();
        _exit(0);
    }
    close(ends[1]);
    said.clear();
    while ((got = read(ends[0], text, sizeof text)) > 0) said.append(text, (size_t)got);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* The child must not end well, and say `text`. */
inline void caught(const char *text, const std::function<void()> &body)
{
    int status = run_child(body);
    if (said.find(text) == std::string::npos || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail_msg("expected \"%s\"; the child ended with %x and said: %s", text, (unsigned)status, said.c_str());
}

static const char shared_key = 0;

#endif
