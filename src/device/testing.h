/* testing: hooks by which tests have a device, the executor or the machine be what they need. No part of dram calls them. */
#ifndef DRAM_DEVICE_TESTING_H
#define DRAM_DEVICE_TESTING_H

#include <stdbool.h>
#include <stdint.h>

#include "device/exec.h"

/* Every device gives `bytes` at most in all, as one that has no more; -1 (the default): what it has. */
void dram_device_limit(int64_t bytes);

/* Bytes are overwritten with 0xff (NaN) at the end of their life, workspaces before their use, so that a read of
 * something dead shows. Nodes then run one by one. */
void dram_exec_poison(dram_exec *exec, bool on);

/* The machine says that it has so much, free and in all; -1 (the default): what it has. */
void dram_host_pretend(int64_t free_bytes, int64_t total_bytes);

/* dram_host_free_bytes, _total_bytes and _group_limit with the files /proc/meminfo, /proc/self/cgroup and /sys/fs/cgroup
 * below `root`. */
int64_t dram_host_free_under(const char *root);
int64_t dram_host_total_under(const char *root);
int64_t dram_host_group_limit_under(const char *root);

#endif
