/* machine: which device a config runs on, and what this machine has of it. For src/session, and for `dram doctor`
 * and `dram plan`. */
#ifndef DRAM_SESSION_MACHINE_H
#define DRAM_SESSION_MACHINE_H

#include "config/config.h"
#include "device/device.h"
#include "session/times.h"

/* Whether the config runs on a GPU; `device: auto` takes one where there is one. why: what spoke against it, or for the
 * CPU; "" where the config chose. May be NULL. */
bool dram_machine_gpu(const dram_config *cfg, char *why, int size);

/* How many ranks the config is planned for, at least 1, and how they add: `auto` in their order by MPI, where it costs no
 * more, and as the library adds by NCCL. */
int dram_machine_ranks(const dram_config *cfg);
dram_reduce_mode dram_machine_reduce(const dram_config *cfg);

/* What the planner is to know of the device of the config: nothing of this machine but its cores, where `threads` is 0,
 * and what memory.profile has of a GPU's process. Fails as reading that file does. */
dram_status dram_machine_profile(const dram_config *cfg, dram_profile *profile);

/* Opens the device of that profile; cuda.graph of the config says whether it records programs. */
dram_status dram_machine_open(const dram_config *cfg, const dram_profile *profile, dram_device **device);

/* Whose times a file of times must hold for that profile: this machine's, or any GPU's where there is none here. */
void dram_machine_describe(const dram_profile *profile, dram_times_machine *machine);

/* Reads the file that memory.profile names, for that profile: dram_times_close. *times is NULL where none is named. */
dram_status dram_machine_times(const dram_config *cfg, const dram_profile *profile, dram_times **times);

/* Memory in bytes, now. On the CPU what a device has is the host's, and `apart` is false. */
typedef struct {
    bool apart;
    int64_t device_free, device_total;
    int64_t host_free;
} dram_machine_memory;

/* DRAM_ERR_RUN: there is no such GPU. */
dram_status dram_machine_read_memory(const dram_profile *profile, dram_machine_memory *memory);

/* Bytes of the device that a run takes beside its arena and that are not yet taken when it is looked at: 0 on the CPU,
 * where the loader is counted instead (session/headroom.h); on a GPU the libraries and kernels, loaded when first
 * used, and what joins several ranks. */
int64_t dram_machine_overhead(const dram_profile *profile);

#endif
