/* embedding: an embedding as a cache keeps it, made from floats and given back as F16.
 *
 * An embedding is [cells, channels]. As fp16 it is that in F16. As int8 it has one scale a channel, the channel's
 * largest magnitude / 127: f32 scale[channels], then i8 [cells, channels], an element standing for scale * i8. What
 * comes back as F16 is off by half of 2^-10 of its size (fp16), or by half a scale and that (int8).
 */
#ifndef DRAM_IO_EMBEDDING_H
#define DRAM_IO_EMBEDDING_H

#include <stdint.h>

#include "base/status.h"

typedef enum { DRAM_EMBEDDING_FP16, DRAM_EMBEDDING_INT8 } dram_embedding_format;

/* What it takes: a multiple of 64 for 256 channels. */
int64_t dram_embedding_bytes(dram_embedding_format format, int64_t cells, int channels);

/* `packed` is aligned as an allocation is, and is not where x is. DRAM_ERR_NUMERIC: a number is not finite, or larger
 * than F16 can hold, which is what a step reads. */
dram_status dram_embedding_pack(dram_embedding_format format, int64_t cells, int channels, const float *x,
                                void *packed);
void dram_embedding_unpack(dram_embedding_format format, int64_t cells, int channels, const void *packed,
                           uint16_t *half);

#endif
