/* What is staged, as the networks take it. */
#include "model/model.h"
#include "ops/call.h"

dram_val dram_image_build(dram_graph *g, const char *name, dram_dtype dtype, dram_val pixels, dram_val valid)
{
    /* in units of 0..255 */
    static const dram_attr imagenet = {.mean = {123.675f, 116.28f, 103.53f}, .std = {58.395f, 57.12f, 57.375f}};
    dram_attr attr = imagenet;
    attr.dtype = (int)dtype;
    return DRAM_CALL(g, image_norm, name, &attr, pixels, valid);
}
