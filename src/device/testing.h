/* testing: what tests alone ask of src/device. No file of src includes it but those that define what is here. */
#ifndef DRAM_DEVICE_TESTING_H
#define DRAM_DEVICE_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#include "device/exec.h"

/* Every device gives `bytes` at most in all, as one that has no more; -1 (the default): what it has. */
void dram_device_limit(int64_t bytes);

/* The machine says that it has so much, free and in all; -1 (the default): what it has. */
void dram_host_pretend(int64_t free_bytes, int64_t total_bytes);

/* What host.h says of free bytes, total bytes and the group's limit when the files /proc/meminfo, /proc/self/cgroup and
 * /sys/fs/cgroup lie below `root`. */
int64_t dram_host_free_under(const char *root);
int64_t dram_host_total_under(const char *root);
int64_t dram_host_group_limit_under(const char *root);

/* The process may map so much more; -1 (the default): what it may. */
void dram_host_pretend_to_map(int64_t bytes);

/* What host.h says of that, for /proc/meminfo and /proc/sys/vm/overcommit_memory below `root`. */
dram_host_mappable dram_host_to_map_under(const char *root);

/* Bytes are overwritten with 0xff (NaN) at the end of their life, workspaces before their use: a read of something dead
 * shows. */
void dram_exec_poison(dram_exec *exec, bool on);

#endif
