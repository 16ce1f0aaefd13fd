/* internal: what the simulator's files share. */
#ifndef CUDASIM_INTERNAL_H
#define CUDASIM_INTERNAL_H

#include <functional>
#include <memory>
#include <mutex>
#include <stddef.h>
#include <string>
#include <thread>
#include <vector>

#include "cudasim.h"

#if defined(__SANITIZE_ADDRESS__)
#define CUDASIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDASIM_ASAN 1
#endif
#endif
#ifndef CUDASIM_ASAN
#define CUDASIM_ASAN 0
#endif

#if CUDASIM_ASAN
#include <sanitizer/asan_interface.h>
#define cudasim_poison(AT, BYTES) __asan_poison_memory_region(AT, BYTES)
#define cudasim_unpoison(AT, BYTES) __asan_unpoison_memory_region(AT, BYTES)
#else
#define cudasim_poison(AT, BYTES) ((void)(AT), (void)(BYTES))
#define cudasim_unpoison(AT, BYTES) ((void)(AT), (void)(BYTES))
#endif

enum { CUDASIM_JUNK = 0xff }; /* what memory holds that nobody has written: NaN in every float type */

constexpr unsigned CUDASIM_MOST_THREADS = 1024;
constexpr size_t CUDASIM_STATIC_SHARED = 48 * 1024, CUDASIM_BLOCK_SHARED = 227 * 1024;

/* Every call of the runtime holds it. */
std::recursive_mutex &cudasim_lock();
#define CUDASIM_HOLD std::lock_guard<std::recursive_mutex> cudasim_hold(cudasim_lock())

/* ---- device.cpp ---- */

/* Keeps an error for cudaGetLastError and returns it. */
cudaError_t cudasim_error(cudaError_t error);
/* cudaSuccess if there is a device. */
cudaError_t cudasim_present();
#define CUDASIM_PRESENT                                                                                                \
    do {                                                                                                               \
        cudaError_t cudasim_present_ = cudasim_present();                                                              \
        if (cudasim_present_ != cudaSuccess) return cudasim_present_;                                                  \
    } while (0)
size_t cudasim_setting(const char *variable, size_t otherwise); /* from the environment */

/* What a function declares of shared memory; and a fault if a launch of it has more than its attribute allows now. code
 * NULL: nothing is known. */
void cudasim_has_static_shared(const void *code, size_t bytes);
void cudasim_check_shared(const void *code, size_t statics, size_t shared, const char *what);

/* ---- launch.cpp ---- */

struct cudasim_task;
void cudasim_run_grid(const cudasim_task &kernel); /* now */
/* cudaErrorInvalidConfiguration for a dimension of zero; a fault for more than a GPU has. */
cudaError_t cudasim_check_grid(dim3 grid, dim3 block, size_t shared);
bool cudasim_on_device(); /* whether a kernel's thread is running */

/* ---- memory.cpp ---- */

/* Memory that a library takes from the device besides allocations, and gives back. False: there is not so much. */
bool cudasim_take(size_t bytes);
void cudasim_give(size_t bytes);
size_t cudasim_capacity();
size_t cudasim_of_process(); /* bytes that this process takes, allocated and besides */
/* The process comes to the device: from the first time on its context is there. */
cudaError_t cudasim_context();
bool cudasim_has_context();

enum cudasim_place { CUDASIM_PAGEABLE, CUDASIM_PINNED, CUDASIM_DEVICE, CUDASIM_STRAY };
/* Where a range lies; STRAY: partly in an allocation, or in one that was freed. */
cudasim_place cudasim_where(const void *at, size_t bytes);

/* Device memory can be touched while one of these lives: all of it, or the pages of a range. Host code cannot. */
struct cudasim_access {
    cudasim_access();
    cudasim_access(const void *at, size_t bytes);
    ~cudasim_access();
    cudasim_access(const cudasim_access &) = delete;
    cudasim_access &operator=(const cudasim_access &) = delete;

  private:
    char *first;
    size_t length; /* 0: nothing to shut again; SIZE_MAX: all */
};

/* ---- queue.cpp, copy.cpp ---- */

enum cudasim_kind { CUDASIM_KERNEL, CUDASIM_WORK, CUDASIM_COPY, CUDASIM_MEETING, CUDASIM_MARK };

/* Device memory that a MEETING uses while it goes on: several of one may be the same, or lie in one another. */
struct cudasim_range {
    char *at;
    size_t bytes;
    bool written;
};

/* What is to be done: once, or at each launch of a graph. */
struct cudasim_task {
    cudasim_kind kind = CUDASIM_MARK;
    std::string what;
    /* KERNEL, WORK */
    std::function<void()> run; /* by each thread; once */
    dim3 grid, block;
    size_t shared = 0;
    const void *code = nullptr;
    /* COPY, also cudaMemset */
    char *to = nullptr;
    const char *from = nullptr; /* NULL: fills with `value` */
    size_t bytes = 0;
    int value = 0;
    bool to_pageable = false;
    /* MEETING: takes time as a copy does, and ends with `meet`, which is given what its ranges held when it began, one
     * behind the other in their order. */
    std::vector<cudasim_range> ranges;
    std::function<void(const char *held)> meet;
    const void *owner = nullptr;
};
std::string cudasim_name(const cudasim_task &task); /* for messages */

struct cudasim_op;
using cudasim_ref = std::shared_ptr<cudasim_op>;

struct cudasim_op {
    enum { PENDING, FLYING, DONE } state = PENDING;
    std::shared_ptr<const cudasim_task> task;
    std::vector<cudasim_ref> deps;   /* that were not done when it was queued */
    std::vector<cudasim_op *> after; /* those that wait for it */
    size_t waits = 0;                /* of its deps, how many are not done */
    double seconds = 0;              /* when it was done, of a steady clock */
    std::vector<char> data;          /* COPY: what it brings, from its beginning on; MEETING: what its ranges held */
    bool staged = false;             /* COPY: `data` was taken when it was queued, the source is free */
};

/* Queues a task behind others. */
cudasim_ref cudasim_submit(std::shared_ptr<const cudasim_task> task, const std::vector<cudasim_ref> &deps,
                           std::vector<char> *staged = nullptr);
void cudasim_finish(const std::vector<cudasim_ref> &ops); /* until these are done */
void cudasim_finish_all();

/* A copy or a meeting begins: junk in its destination; and ends. */
void cudasim_copy_begin(cudasim_op *op);
void cudasim_copy_end(cudasim_op *op);
bool cudasim_is_queued(const void *owner); /* a meeting of it that is not done */

/* ---- stream.cpp, graph.cpp ---- */

struct cudasim_capture;

struct CUstream_st {
    int number;
    bool blocking;
    std::vector<cudasim_ref> tail;            /* what the next operation waits for */
    std::shared_ptr<cudasim_capture> capture; /* that it takes part in */
    std::vector<size_t> nodes;                /* of the capture, that its next waits for */
};

struct CUevent_st {
    cudasim_ref op; /* its latest record; NULL: none */
    bool timing, asked;
    std::shared_ptr<cudasim_capture> capture; /* it was last recorded in */
    std::vector<size_t> nodes;
};

struct cudasim_node {
    std::shared_ptr<const cudasim_task> task;
    std::vector<size_t> deps; /* earlier nodes */
};

struct CUgraph_st {
    std::vector<cudasim_node> nodes;
};

struct CUgraphExec_st {
    std::vector<cudasim_node> nodes;
    cudasim_ref last; /* the end of its latest launch: launches of one graph follow one another */
};

struct cudasim_capture {
    CUgraph_st *graph;
    cudaStream_t origin;
    std::vector<cudaStream_t> members;
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    bool active, valid;
};

enum cudasim_handle { CUDASIM_STREAM, CUDASIM_EVENT, CUDASIM_GRAPH, CUDASIM_EXEC };
void cudasim_register(cudasim_handle kind, void *handle);
void cudasim_check_handle(cudasim_handle kind, const void *handle, const char *call); /* a fault if it is none */
void cudasim_forget(void *handle);
size_t cudasim_handles();
std::vector<const void *> cudasim_handles_of(cudasim_handle kind);

cudaStream_t cudasim_stream(cudaStream_t handle, const char *call); /* also of the default stream */
/* Queues or records a task. */
cudaError_t cudasim_issue(cudaStream_t stream, cudasim_task task, std::vector<char> *staged = nullptr,
                          cudasim_ref *op = nullptr);
std::vector<cudasim_ref> cudasim_stream_deps(cudaStream_t stream);

/* The same while `stream` is captured. */
cudaError_t cudasim_record(cudaStream_t stream, std::shared_ptr<const cudasim_task> task);
bool cudasim_is_recorded(const void *owner); /* a meeting of it, in a graph that was not destroyed */
cudaError_t cudasim_capture_wait(cudaStream_t stream, cudaEvent_t event);
void cudasim_capture_leave(cudaStream_t stream); /* a stream of a capture is destroyed */
/* A call that a capture does not allow: the error, and the capture is invalid. */
cudaError_t cudasim_capture_forbids();                       /* any, by this thread */
cudaError_t cudasim_capture_forbids_on(cudaStream_t stream); /* on this stream */
#define CUDASIM_NO_CAPTURE                                                                                             \
    do {                                                                                                               \
        cudaError_t cudasim_forbidden_ = cudasim_capture_forbids();                                                    \
        if (cudasim_forbidden_ != cudaSuccess) return cudasim_error(cudasim_forbidden_);                               \
    } while (0)

#endif
