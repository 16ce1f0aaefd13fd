/* testing: what tests alone ask of src/base. No file of src includes it but those that define what is here. */
#ifndef DRAM_BASE_TESTING_H
#define DRAM_BASE_TESTING_H

#include <stdint.h>

/* Number of requests that dram_alloc and its kin served since the process began, and bytes held now and at most. */
int64_t dram_alloc_calls(void);
int64_t dram_alloc_bytes(void);
int64_t dram_alloc_peak_bytes(void);

/* The next `after` requests succeed and all later ones fail; -1 (the default) never fails. */
void dram_alloc_fail_after(int64_t after);

#endif
