/* rate: what this CPU makes of its memory and of a product, for an estimate by plan/roofline.h. */
#ifndef DRAM_DEVICE_RATE_H
#define DRAM_DEVICE_RATE_H

#include "device/device.h"
#include "plan/roofline.h"

/* Measures, in less than a second where nothing else runs, with the device's own threads: a copy that no cache holds,
 * and a product of that program's kernels in fp32 and in `low`, bf16 or f16. Of several turns the best counts. All but
 * memory_bytes of the card is set. Takes 96 MiB for the time of the call. */
dram_status dram_device_rate(dram_device *device, dram_dtype low, dram_card *card);

#endif
