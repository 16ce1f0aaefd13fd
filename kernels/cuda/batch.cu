/* batch_slice, batch_put, crop, copy: bytes moved, each read and written once. Elements of every type alike. */
#include "kernels/cuda/elementwise.cuh"

static int64_t bytes_of(const dram_tensor *t)
{
    return dram_elements(&t->shape) * dram_dtype_bytes(t->dtype);
}

/* On the context's stream; zeros where `from` is NULL. Where the bytes lie, the addresses say. */
static dram_status move(const dram_kernel_args *args, char *out, const char *from, int64_t bytes)
{
    const cudaStream_t stream = dram_context(args)->stream;
    if (bytes <= 0 || out == from) return DRAM_OK;
    if (!from) return dram_cuda_check(cudaMemsetAsync(out, 0, (size_t)bytes, stream), "zeros cannot be written");
    return dram_cuda_check(cudaMemcpyAsync(out, from, (size_t)bytes, cudaMemcpyDefault, stream),
                           "a tensor cannot be copied");
}

DRAM_CUDA_KERNEL(batch_slice)
{
    const dram_tensor *x = &args->in[0];
    const int64_t image = bytes_of(x) / x->shape.dim[0];
    return move(args, static_cast<char *>(args->out[0].data),
                static_cast<const char *>(x->data) + args->attr->first * image, bytes_of(&args->out[0]));
}

/* What lies around x comes from acc, or is there already where the output has acc's bytes. */
DRAM_CUDA_KERNEL(batch_put)
{
    const dram_tensor *x = &args->in[0];
    const int64_t image = bytes_of(x) / x->shape.dim[0], begin = args->attr->first * image, end = begin + bytes_of(x);
    char *out = static_cast<char *>(args->out[0].data);
    const char *rest = static_cast<const char *>(args->in[1].data);
    TRY(move(args, out, rest, begin));
    TRY(move(args, out + begin, static_cast<const char *>(x->data), end - begin));
    return move(args, out + end, rest ? rest + end : NULL, bytes_of(&args->out[0]) - end);
}

DRAM_CUDA_KERNEL(copy)
{
    return move(args, static_cast<char *>(args->out[0].data), static_cast<const char *>(args->in[0].data),
                bytes_of(&args->in[0]));
}

/* ---- crop ---- */

/* Rows of `row` packs from an image of x_height rows of x_row packs each, of which the first `height` are wanted; rows
 * is that of all images. A block goes along a row, the grid's y from row to row. */
template <typename U, int N>
static __global__ void crop_kernel(const U *x, U *out, unsigned rows, int64_t row, int64_t x_row, unsigned height,
                                   int64_t x_height)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= row) return;
    for (unsigned r = blockIdx.y; r < rows; r += gridDim.y) {
        const U *from = x + (r / height * x_height + r % height) * x_row * N;
        dram_store<U, N>(out + ((int64_t)r * row + i) * N, dram_load<U, N>(from + i * N));
    }
}

template <typename U, int N> static dram_status crop_in(const dram_kernel_args *args)
{
    const dram_tensor *x = &args->in[0], *out = &args->out[0];
    const int64_t height = out->shape.dim[1], x_height = x->shape.dim[1], rows = out->shape.dim[0] * height;
    const int64_t pack = (int64_t)sizeof(U) * N, row = bytes_of(out) / rows / pack;
    const int64_t x_row = bytes_of(x) / (x->shape.dim[0] * x_height) / pack;
    const unsigned block = dram_map_block(row);
    const dim3 grid((unsigned)dram_ceil_div(row, block), (unsigned)(rows < 65535 ? rows : 65535));
    return dram_launch(args, crop_kernel<U, N>, grid, dim3(block), 0, static_cast<const U *>(x->data),
                       static_cast<U *>(out->data), (unsigned)rows, row, x_row, (unsigned)height, x_height);
}

DRAM_CUDA_KERNEL(crop)
{
    const dram_tensor *x = &args->in[0], *out = &args->out[0];
    const int64_t rows = out->shape.dim[0] * out->shape.dim[1], x_rows = x->shape.dim[0] * x->shape.dim[1];
    if (rows <= 0) return DRAM_OK;
    const int64_t row = bytes_of(out) / rows, x_row = bytes_of(x) / x_rows;
    if (dram_packable(x->data, out->data) && row % 16 == 0 && x_row % 16 == 0) return crop_in<uint32_t, 4>(args);
    if (dram_dtype_bytes(x->dtype) == 4) return crop_in<uint32_t, 1>(args);
    if (dram_dtype_bytes(x->dtype) == 2) return crop_in<uint16_t, 1>(args);
    return crop_in<uint8_t, 1>(args);
}
