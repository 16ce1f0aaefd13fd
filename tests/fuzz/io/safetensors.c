/* Bytes as a header of safetensors: up to the first zero JSON, whose length is put before it, and then the data.
 * -max_len=640 */
#include "fuzz/io/tensors.h"

enum { ROOM = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[8 + ROOM];
    if (size > ROOM) return 0;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t json = zero ? (size_t)(zero - data) : size, numbers = zero ? size - json - 1 : 0;
    memcpy(file, &(uint64_t){json}, 8);
    if (json) memcpy(file + 8, data, json);
    if (numbers) memcpy(file + 8 + json, zero + 1, numbers);
    check_weights(file_of(file, 8 + json + numbers));
    return 0;
}
