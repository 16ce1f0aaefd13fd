/* In the place of the other files of ONNX where protobuf-c or onnx.proto was not there when dram was built. */
#include "export/onnx.h"

bool dram_onnx_is_built(void)
{
    return false;
}

dram_status dram_onnx_write(const dram_export *e, const dram_onnx_options *options, const char *path)
{
    (void)e;
    (void)options;
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: this dram was built without ONNX: install libprotobuf-c-dev, protobuf-c-compiler and "
                     "libonnx-dev (scripts/deps.sh), and build again",
                     path);
}
