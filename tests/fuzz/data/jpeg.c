/* Bytes as a JPEG.
 * -max_len=1400 */
enum { MAX_BYTES = 1 << 17 };
#include "fuzz/data/images.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0) check_image(data, size);
    return 0;
}
