/* In the place of the other files of ONNX where protobuf-c or onnx.proto was not there when dram was built. */
#include "export/onnx.h"

dram_status dram_onnx_check(const dram_onnx_options *options)
{
    (void)options;
    return dram_fail(DRAM_ERR_CONFIG,
                     "--onnx: this dram was built without ONNX: install libprotobuf-c-dev, protobuf-c-compiler and "
                     "libonnx-dev (scripts/deps.sh), and build again");
}

dram_status dram_onnx_write(const dram_export *e, const dram_onnx_options *options, const char *path)
{
    (void)e;
    (void)path;
    return dram_onnx_check(options);
}
