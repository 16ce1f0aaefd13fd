/* Bytes as a file of weights of any kind, or of none: what it is told to be, and the index of several files.
 * -max_len=8192 */
#include "fuzz/io/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_weights(file_of(data, size));
    return 0;
}
