/* Bytes as a WebP.
 * -max_len=1024 */
enum { MAX_BYTES = 1 << 21 };
#include "fuzz/data/images.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0) check_image(data, size);
    return 0;
}
