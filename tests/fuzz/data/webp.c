/* Bytes as a WebP.
 * -max_len=1024 */
enum { MAX_BYTES = 1 << 21 };
#define OWN_LIMITS
#include "fuzz/data/images.h"

/* Pixels and alpha without loss are coded by groups of five codes. A group's tables take 21 KiB at most. libwebp makes 1000
 * groups unseen; each further one takes 20 bits of the file at least. */
static size_t extra_bytes(const uint8_t *data, size_t size)
{
    bool lossless = memmem(data, size, "VP8L", 4) || memmem(data, size, "ALPH", 4);
    return lossless ? (1000 + 8 * size / 20) * (21 << 10) : 0;
}

/* libwebp reads what a damaged chunk of pixels lacks from behind it, to the end of the file. */
static bool ends(const uint8_t *data, size_t size)
{
    uint32_t inside;
    memcpy(&inside, data + 4, 4);
    return inside + 8 == size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 12 && memcmp(data, "RIFF", 4) == 0 && memcmp(data + 8, "WEBP", 4) == 0) check_image(data, size);
    return 0;
}
