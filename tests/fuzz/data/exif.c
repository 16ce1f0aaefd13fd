/* Bytes as a block of EXIF, as they are and behind the six bytes that a JPEG has before it.
 * -max_len=256 */
#include "data/decode.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t head[6] = "Exif\0";
    uint8_t block[6 + 4096];
    int bare = 0, whole = 0;
    int64_t before = dram_alloc_bytes();
    if (size > sizeof block - sizeof head) return 0;
    memcpy(block, head, sizeof head);
    if (size) memcpy(block + sizeof head, data, size);
    must(dram_exif_orientation(data, size, &bare) == DRAM_OK);
    must(dram_exif_orientation(block, sizeof head + size, &whole) == DRAM_OK);
    must(bare >= 1 && bare <= 8);
    if (size < sizeof head || memcmp(data, head, sizeof head) != 0) must(whole == bare);
    must(!*dram_error_text() && dram_alloc_bytes() == before);
    return 0;
}
