/* device: where a plan runs. One interface; cpu.c implements it.
 *
 * All memory that a run takes from a device goes through dram_device_alloc, which counts it: the high-water of that
 * count in the device's own space is the *measured peak*. It knows nothing of the plan. Memory in the pinned and the
 * host space, which the host can read and write, is counted beside it. On the CPU all three are RAM.
 */
#ifndef DRAM_DEVICE_DEVICE_H
#define DRAM_DEVICE_DEVICE_H

#include "base/kernel.h"
#include "device/host.h"
#include "ir/op.h"

typedef struct dram_device dram_device;

/* What a device has to provide. All slots are required. `space` is never DRAM_SPACE_COUNT. */
typedef struct {
    dram_status (*alloc)(dram_device *device, dram_space space, int64_t bytes,
                         void **memory); /* aligned as the profile says */
    void (*release)(dram_device *device, dram_space space, void *memory, int64_t bytes);
    dram_status (*write)(dram_device *device, void *to, const void *host, int64_t bytes);  /* returns when done */
    dram_status (*read)(dram_device *device, void *host, const void *from, int64_t bytes); /* returns when done */
    int64_t (*free_bytes)(dram_device *device); /* of the device space, now */
    void (*close)(dram_device *device);
} dram_device_ops;

struct dram_device {
    const dram_device_ops *ops;
    dram_profile profile;
    const char *isa;                         /* instruction set of the kernels, for a person */
    const dram_kernel *kernels;              /* by dram_op */
    dram_pool *pool;                         /* handed to the kernels; NULL if the device has none */
    int64_t bytes_now, bytes_peak;           /* of the device's space */
    int64_t host_bytes_now, host_bytes_peak; /* of the other two */
};

/* The CPU with `workers` compute threads; OpenBLAS is set to one thread, since the kernels cut products themselves. */
dram_status dram_device_open_cpu(int workers, dram_device **device);
void dram_device_close(dram_device *device); /* NULL is allowed */

/* DRAM_ERR_FIT, with the bytes asked for, when the device has not that much. The memory reads as zero. */
dram_status dram_device_alloc(dram_device *device, dram_space space, int64_t bytes, void **memory);
void dram_device_release(dram_device *device, dram_space space, void *memory, int64_t bytes);

/* The most bytes, of at most `bytes`, that the device gives in one piece now, to 1/256 of them. It finds out by trying;
 * nothing stays taken or is counted, and a held error is forgotten. */
int64_t dram_device_most(dram_device *device, dram_space space, int64_t bytes);

/* For tests: every device gives `bytes` at most in all, as one that has no more; -1 (the default): what it has. */
void dram_device_limit(int64_t bytes);

#endif
