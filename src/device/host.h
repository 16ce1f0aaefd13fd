/* host: what this machine has and what this process takes of it. Nothing here takes memory, so that it may be asked
 * while a run goes on, from any thread. */
#ifndef DRAM_DEVICE_HOST_H
#define DRAM_DEVICE_HOST_H

#include <stdint.h>

/* Memory this process could still take without swapping: free RAM and the limits of its control groups. */
int64_t dram_host_free_bytes(void);

/* Memory this process could have with nobody beside it: the RAM, or the smallest limit of its control groups. */
int64_t dram_host_total_bytes(void);

/* That limit alone; 0: there is none below the RAM. */
int64_t dram_host_group_limit(void);

/* Address space, in bytes, that this process may still map, and what sets the limit: "`ulimit -v`", "`ulimit -d`", or the
 * kernel's own where it gives no more than it has (vm.overcommit_memory is 2). INT64_MAX and "": there is no limit. */
typedef struct {
    int64_t bytes;
    const char *whose;
} dram_host_mappable;
dram_host_mappable dram_host_to_map(void);

/* The lesser of the two: free bytes, and what may still be mapped. */
int64_t dram_host_left_bytes(void);

/* Cores this process may use. */
int dram_host_cores(void);

/* Bytes that this process has resident, now and at most, as the kernel counts them; 0 where it does not tell. */
int64_t dram_process_rss(void);
int64_t dram_process_peak_rss(void);

/* Processor time that this process has taken, all threads together. */
double dram_process_cpu_seconds(void);

#endif
