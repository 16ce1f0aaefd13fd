/* device: where a plan runs. One interface; cpu.c and cuda.c implement it.
 *
 * All memory that a run takes from a device goes through dram_device_alloc, which counts it: the high-water of that
 * count in the device's own space is the *measured peak*. It knows nothing of the plan. Memory in the pinned and the
 * host space, which the host can read and write, is counted beside it. On the CPU all three are RAM.
 *
 * Work is handed to queues. A CPU has done it when the kernel returns. A GPU does it later, what is in one queue in its
 * order, and beside the host: join() orders two queues, finish() waits for all.
 */
#ifndef DRAM_DEVICE_DEVICE_H
#define DRAM_DEVICE_DEVICE_H

#include "base/kernel.h"
#include "device/collective.h"
#include "device/host.h"
#include "ir/op.h"

typedef struct dram_device dram_device;

/* Whose count of a GPU's memory it is. */
typedef enum {
    DRAM_COUNTED_NOT, /* there is none */
    /* By how much what all processes have of the GPU has grown since this one came to it: the driver does not list
     * processes, in a container for example. */
    DRAM_COUNTED_GPU,
    DRAM_COUNTED_PROCESS /* the driver's, of this process */
} dram_counted;
const char *dram_counted_word(dram_counted counted); /* "process", "gpu"; NULL for none */

enum { DRAM_STAMPS = 65 };

/* What a device has to provide. `space` is never DRAM_SPACE_COUNT. */
typedef struct {
    /* Aligned as the profile says. */
    dram_status (*alloc)(dram_device *device, dram_space space, int64_t bytes, void **memory);
    void (*release)(dram_device *device, dram_space space, void *memory, int64_t bytes);
    dram_status (*write)(dram_device *device, void *to, const void *host, int64_t bytes);  /* returns when done */
    dram_status (*read)(dram_device *device, void *host, const void *from, int64_t bytes); /* returns when done */
    dram_status (*fill)(dram_device *device, void *to, int byte, int64_t bytes);           /* returns when done */
    int64_t (*free_bytes)(dram_device *device); /* of the device space, now */
    /* What of a GPU's memory this process takes, arena and all, by device->counted; 0: there is no count. Any thread
     * may ask. NULL on the CPU. */
    int64_t (*process_bytes)(dram_device *device);
    void (*close)(dram_device *device);

    /* Work is done beside the host, in queues. Without it, a kernel's work is done when it returns, and the functions
     * below are NULL. */
    bool asynchronous;
    void *(*shared)(dram_device *device, dram_queue queue); /* dram_kernel_args.device of that queue's kernels */
    void *(*stream)(dram_device *device, dram_queue queue); /* the queue as its library knows it: a cudaStream_t */
    dram_status (*join)(dram_device *device, dram_queue from, dram_queue to); /* later work of `to` waits for `from` */
    dram_status (*finish)(dram_device *device); /* waits for all queues; what went wrong in them shows here */
    /* What is handed to queues between begin and end is not done but written down, to be replayed as a whole. It begins
     * and ends with the compute queue: the others must have been joined to it. */
    dram_status (*record_begin)(dram_device *device);
    dram_status (*record_end)(dram_device *device, void **record);
    dram_status (*replay)(dram_device *device, void *record);
    void (*record_free)(dram_device *device, void *record);
    /* Times of what is in the compute queue, by the device's own clock. Stamp 0 .. DRAM_STAMPS - 1 is passed when all
     * that was handed over before it is done. Number 0 keeps the queue busy for a moment first, so that what follows it
     * waits in line and has no gap before it. After finish(), between() gives the seconds from one to another. */
    dram_status (*stamp)(dram_device *device, int at);
    dram_status (*between)(dram_device *device, int from, int to, double *seconds);
} dram_device_ops;

struct dram_device {
    const dram_device_ops *ops;
    dram_profile profile;
    char name[96];                           /* the instruction set or the card, for a person */
    const dram_kernel *kernels;              /* by dram_op, of the device's space */
    const dram_kernel_many *many;            /* by dram_op, NULL where there is none; NULL: no kernels for many nodes */
    const dram_kernel *host_kernels;         /* of the host space */
    dram_pool *pool;                         /* handed to the CPU's kernels */
    const dram_collectives *collectives;     /* set by who opens several ranks, not owned; NULL: one rank */
    void *comm;                              /* theirs */
    int rank;                                /* which of them this process is */
    bool records;                            /* programs are recorded and replayed, where the device can */
    dram_counted counted;                    /* whether and how process_bytes counts */
    int64_t context_bytes;                   /* of it: before libraries, kernels and arenas; 0: there is no count */
    int64_t bytes_now, bytes_peak;           /* of the device's space */
    int64_t host_bytes_now, host_bytes_peak; /* of the other two */
};

/* The CPU with `workers` compute threads, and a buffer of OpenBLAS for each (device/blas.h). */
dram_status dram_device_open_cpu(int workers, dram_device **device);
/* CUDA's GPU number `index`, and `workers` threads for what runs on the CPU beside it. DRAM_ERR_RUN, with the reason:
 * no driver, no such GPU, one older than Ampere (sm_80), cuBLASLt or cuDNN missing, a build without CUDA. */
dram_status dram_device_open_cuda(int index, int workers, dram_device **device);

/* The number of the GPU that is this process's: 0 unless it was chosen, which is done once, before it is opened. */
void dram_device_cuda_choose(int index);
int dram_device_cuda_chosen(void);

/* What a GPU is and has. It makes the process known to the driver, which takes some of that memory. DRAM_ERR_RUN as
 * above. */
typedef struct {
    char name[80];
    int capability; /* 90: 9.0 */
    int multiprocessors;
    int64_t free_bytes, total_bytes;
    int driver, runtime; /* versions of CUDA, 13000: 13.0 */
} dram_cuda_card;
dram_status dram_device_cuda_card(int index, dram_cuda_card *card);

/* Whether dram_device_open_cuda may be asked for this process's GPU, or which of its reasons speaks against it: what `device: auto`
 * goes by. It looks once, takes nothing of the GPU, and never chooses a simulated one. One thread may ask at a time. */
bool dram_device_cuda_usable(char *why, int size);

void dram_device_close(dram_device *device); /* NULL is allowed */

/* DRAM_ERR_FIT, with the bytes asked for, when the device has not that much. The memory reads as zero. */
dram_status dram_device_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory);
void dram_device_release(dram_device *device, dram_space space, void *memory, int64_t bytes);

/* The most bytes, of at most `bytes`, that the device gives in one piece now, to 1/256 of them. It finds out by trying;
 * nothing stays taken or is counted, and an error that is held stays. */
int64_t dram_device_most(dram_device *device, dram_space space, int64_t bytes);

#endif
