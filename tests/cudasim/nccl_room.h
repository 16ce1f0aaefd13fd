/* nccl_room: the shared memory in which the processes of a simulated NCCL communicator meet. */
#ifndef CUDASIM_NCCL_ROOM_H
#define CUDASIM_NCCL_ROOM_H

#include <atomic>
#include <cstdint>
#include <string>

constexpr int CUDASIM_MOST_RANKS = 16;

/* What a rank does next, for its peers to compare with theirs. */
struct cudasim_call {
    char text[96];   /* "all_reduce of 4096 float32 (sum)" */
    uint64_t number; /* of this rank's calls of NCCL, a group counting as one */
    int item;        /* in the group */
    int recorded;    /* in a graph */
    int more;        /* SENDS: others follow in this group */
    int sends;       /* whether this is sends and receives: then `out` and `in` pair off, else the text counts */
    struct {
        uint64_t count;
        int dtype;
    } out[CUDASIM_MOST_RANKS], in[CUDASIM_MOST_RANKS];
};

struct cudasim_room;

enum cudasim_opened { CUDASIM_OPENED, CUDASIM_IN_USE, CUDASIM_RANK_TAKEN, CUDASIM_SAME_DEVICE, CUDASIM_PEER_GONE };

/* Waits for all ranks. `why` is the reason of what is not OPENED. A wrong number of ranks is a fault. */
cudasim_opened cudasim_room_open(const std::string &name, int ranks, int rank, const std::string &device,
                                 cudasim_room **room, std::string *why);
void cudasim_room_close(cudasim_room *room);

/* Shows the call to all ranks, waits for theirs and compares: a fault where they differ. The calls of all ranks, until
 * the next meeting; NULL: aborted while it waited. */
const cudasim_call *const *cudasim_room_meet(cudasim_room *room, const cudasim_call &mine);

/* Piece out[r] goes to rank r, in[r] comes from it; the lengths agree. All ranks call it, behind a meeting. False:
 * aborted. */
struct cudasim_piece {
    const char *out;
    char *in;
    uint64_t out_bytes, in_bytes;
};
bool cudasim_room_exchange(cudasim_room *room, const cudasim_piece *pieces, uint64_t longest);

/* Any thread: a rank whose process is gone, or -1. */
int cudasim_room_gone(cudasim_room *room);
/* Any thread: whoever waits in the room returns. */
void cudasim_room_abort(cudasim_room *room);
bool cudasim_room_aborted(const cudasim_room *room);
/* Waits until it is aborted: what a real operation does that never ends. */
void cudasim_room_hang(cudasim_room *room);

#endif
