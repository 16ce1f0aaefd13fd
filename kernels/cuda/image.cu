/* image_norm: u8 to normalised floats, zero outside the valid part. Bound by memory: 5 bytes an element of f32, 3 of
 * bf16, at 2 FLOPs. */
#include "kernels/cuda/elementwise.cuh"

struct norm_values {
    float mean[3], std[3];
};

/* A row of `width` numbers, three to a pixel; the grid's y goes from row to row, of which an image has `height`. */
template <typename T, int N>
static __global__ void norm_kernel(const uint8_t *x, const int32_t *valid, T *out, unsigned rows, unsigned height,
                                   int width, norm_values values)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (i >= width) return;
    for (unsigned row = blockIdx.y; row < rows; row += gridDim.y) {
        const int32_t *extent = valid + (int64_t)(row / height) * 2;
        const int64_t filled = (int)(row % height) < extent[0] ? 3 * (int64_t)extent[1] : 0;
        const dram_pack<uint8_t, N> from = dram_load<uint8_t, N>(x + (int64_t)row * width + i);
        dram_pack<T, N> to;
        for (int k = 0; k < N; k++) {
            const int c = (i + k) % 3;
            const float mean = c == 0 ? values.mean[0] : c == 1 ? values.mean[1] : values.mean[2];
            const float std = c == 0 ? values.std[0] : c == 1 ? values.std[1] : values.std[2];
            const float y = __fdiv_rn((float)from.at[k] - mean, std); /* for all: branches cost more */
            to.at[k] = dram_to<T>(i + k < filled ? y : 0.0f);
        }
        dram_store<T, N>(out + (int64_t)row * width + i, to);
    }
}

template <typename T> static dram_status norm_of(const dram_kernel_args *args)
{
    const dram_shape *shape = &args->in[0].shape;
    const int64_t rows = shape->dim[0] * shape->dim[1], width = 3 * shape->dim[2];
    const uint8_t *x = static_cast<const uint8_t *>(args->in[0].data);
    const int32_t *valid = static_cast<const int32_t *>(args->in[1].data);
    T *out = static_cast<T *>(args->out[0].data);
    norm_values values;
    for (int k = 0; k < 3; k++) {
        values.mean[k] = args->attr->mean[k];
        values.std[k] = args->attr->std[k];
    }
    if (rows <= 0 || width <= 0) return DRAM_OK;
    DRAM_PACKED(dram_packable(x, out) && width % dram_vector<T> == 0, T, N, {
        const unsigned block = dram_map_block(width / N);
        const dim3 grid((unsigned)dram_ceil_div(width / N, block), (unsigned)(rows < 65535 ? rows : 65535));
        return dram_launch(args, norm_kernel<T, N>, grid, dim3(block), 0, x, valid, out, (unsigned)rows,
                           (unsigned)shape->dim[1], (int)width, values);
    });
}

DRAM_CUDA_KERNEL(image_norm)
{
    DRAM_FLOAT_TYPES(args->out[0].dtype, T, return norm_of<T>(args));
}
