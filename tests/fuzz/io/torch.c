/* Bytes as a file of torch.save: an archive, or a pickle, which is put into one with a right checksum and 64 numbers in each
 * of data/0 to data/3.
 * -max_len=1200 */
#include "fuzz/io/tensors.h"

#define assert_true must
#define assert_non_null must
#include "io/pth.h"

static byte_buffer wrapped(const uint8_t *data, size_t size)
{
    static const float numbers[64];
    byte_buffer b = {0};
    const zip_member m[] = {{.name = "f/data.pkl", .data = data, .size = size},
                            {.name = "f/data/0", .data = numbers, .size = 24},
                            {.name = "f/data/1", .data = numbers, .size = 8},
                            {.name = "f/data/2", .data = numbers, .size = 6},
                            {.name = "f/data/3", .data = numbers, .size = sizeof numbers}};
    zip(&b, m, 5, 0);
    return b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    byte_buffer b = {0};
    if (size < 2) return 0;
    if (data[0] != 'P') b = wrapped(data, size);
    check_weights(b.at ? file_of(b.at, b.n) : file_of(data, size));
    free(b.at);
    return 0;
}
