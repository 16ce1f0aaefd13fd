/* blas: what OpenBLAS takes of the process, held in bounds. It is given one thread, whatever the environment says: the
 * kernels cut products themselves. And its buffers are taken at the start, since it never gives up asking for one. */
#ifndef DRAM_DEVICE_BLAS_H
#define DRAM_DEVICE_BLAS_H

#include <stdint.h>

#include "base/status.h"

/* Address space of a buffer, in bytes. A product has one while it runs, so that there are as many as threads that
 * multiply at once. What is touched of one is RAM: some hundred KiB with products of a step, 7 MiB with the largest. */
enum { DRAM_BLAS_BUFFER = 128 << 20 };

/* Address space, in bytes, that dram_blas_open would take now for so many threads; 0: it has all that it will take. */
int64_t dram_blas_missing(int threads);

/* Takes the buffers of so many threads; the process keeps them to its end. To be called before anything is multiplied,
 * by one thread at a time. DRAM_ERR_FIT, with numbers: there is no room for them. It warns of more threads than OpenBLAS
 * is made for, and takes no buffers for those. */
dram_status dram_blas_open(int threads);

#endif
