/* nccl_calls: a call of the simulated NCCL, and what is done when its turn has come. */
#ifndef CUDASIM_NCCL_CALLS_H
#define CUDASIM_NCCL_CALLS_H

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "nccl.h"
#include "nccl_room.h"

size_t cudasim_nccl_bytes(ncclDataType_t type); /* of an element; 0: one that is not simulated */

struct cudasim_nccl_call {
    const char *op;
    const char *in; /* NULL: nothing is read, or written */
    char *out;
    size_t count; /* of one rank's piece */
    ncclDataType_t type;
    ncclRedOp_t red = ncclSum;
    int peer = -1; /* or root */
    int ranks = 1;
    size_t held = 0; /* where its source begins in what was held */

    bool is(const char *name) const;
    bool is_pair() const; /* a send or a receive */
    size_t in_bytes() const;
    size_t out_bytes() const;
    std::string text() const;
};

struct ncclComm {
    cudasim_room *room = nullptr;
    int rank = 0, ranks = 1, channels = 1;
    uint64_t issued = 0, done = 0; /* groups; operations */
    bool ring = false, pairs = false;
    size_t taken = 0;
    std::atomic<bool> waits{false}; /* for peers */
    std::atomic<int> failed{ncclSuccess};

    void say(const std::string &text)
    {
        std::lock_guard<std::mutex> hold(mutex);
        words = text;
    }
    std::string said()
    {
        std::lock_guard<std::mutex> hold(mutex);
        return words;
    }

  private:
    std::mutex mutex;
    std::string words;
};

/* Does the calls of a group; `held` is what their ranges held when it began. */
void cudasim_nccl_run(ncclComm *comm, const std::vector<cudasim_nccl_call> &calls, uint64_t number, bool recorded,
                      const char *held);
/* All ranks part: none may have something to do with the others. */
void cudasim_nccl_goodbye(ncclComm *comm);

#endif
