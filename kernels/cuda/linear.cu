/* linear and its gradients: products by cuBLASLt, where it can do them to the letter. It adds a bias of the output's
 * type alone (CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE may name another for 8-bit types only): a 16-bit output with an f32
 * bias, a trained one's, is multiplied by conv_tile.cu, as a convolution of single pixels. A frozen teacher's bias has
 * 16 bits itself. The library's GELU is the approximation by tanh: the exact one is done at the end of conv_tile.cu's
 * products, and in place behind the library's. Limits: 2 rows I O FLOPs; bytes of x, w and y once each, and of y twice
 * more where GELU is a pass of its own. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/conv.h"
#include "kernels/cuda/product.h"

static int64_t last(const dram_tensor *t)
{
    return dram_last(&t->shape, 0);
}

static int64_t rows(const dram_tensor *t)
{
    return dram_elements(&t->shape) / last(t);
}

/* [rows,i] by [o,i] as a convolution */
static dram_cuda_conv pixels(int64_t rows, int64_t i, int64_t o, dram_dtype dtype)
{
    dram_cuda_conv v = {};
    v.n = (int)rows;
    v.c = v.ci = (int)i;
    v.o = v.co = (int)o;
    v.h = v.w = v.oh = v.ow = v.kh = v.kw = v.stride_y = v.stride_x = v.groups = 1;
    v.dtype = dtype;
    return v;
}

DRAM_CUDA_KERNEL(gelu); /* activation.cu */

static dram_status gelu_in_place(const dram_kernel_args *args, const dram_tensor *y)
{
    dram_kernel_args gelu = {};
    gelu.n_in = gelu.n_out = 1;
    gelu.in[0] = gelu.out[0] = *y;
    gelu.device = args->device;
    return dram_cuda_gelu(&gelu);
}

DRAM_CUDA_KERNEL(cast); /* cast.cu */

/* A bias of 16 bits for dram's own kernels, where the library refused it: in the workspace, which was meant for the
 * library. */
static dram_status widen(const dram_kernel_args *args, const dram_tensor *bias, const float **wide)
{
    dram_kernel_args cast = {};
    *wide = (const float *)bias->data;
    if (!bias->data || bias->dtype == DRAM_F32) return DRAM_OK;
    int64_t bytes = dram_elements(&bias->shape) * (int64_t)sizeof(float);
    if (bytes > args->workspace_bytes)
        return dram_fail(DRAM_ERR_RUN, "a bias of %lld bytes does not fit a workspace of %lld", (long long)bytes,
                         (long long)args->workspace_bytes);
    cast.n_in = cast.n_out = 1;
    cast.in[0] = cast.out[0] = *bias;
    cast.out[0].dtype = DRAM_F32;
    cast.out[0].data = args->workspace;
    cast.device = args->device;
    *wide = (const float *)args->workspace;
    return dram_cuda_cast(&cast);
}

DRAM_CUDA_KERNEL(linear)
{
    const dram_tensor *x = &args->in[0], *w = &args->in[1];
    int64_t i = last(x), o = w->shape.dim[0];
    const dram_tensor *b = &args->in[2];
    const float *wide;
    void *y = args->out[0].data;
    bool asked = !b->data || b->dtype == x->dtype, done = false;
    if (asked) {
        dram_cuda_product p = {};
        p.m = rows(x);
        p.n = o;
        p.k = i;
        p.trans_b = true;
        p.in = p.out = x->dtype;
        p.a = x->data;
        p.b = w->data;
        p.bias = b->data;
        p.c = y;
        TRY(dram_cuda_multiply(args, &p, &done));
    }
    if (done) return args->attr->act == DRAM_ACT_GELU ? gelu_in_place(args, &args->out[0]) : DRAM_OK;
    dram_cuda_conv v = pixels(rows(x), i, o, x->dtype);
    v.act = args->attr->act;
    v.refused = asked;
    TRY(widen(args, b, &wide));
    return dram_cuda_conv_forward(args, &v, x->data, w->data, wide, y);
}

DRAM_CUDA_KERNEL(linear_dgrad)
{
    const dram_tensor *dy = &args->in[0], *w = &args->in[1];
    bool done;
    dram_cuda_product p = {};
    p.m = rows(dy);
    p.n = last(w);
    p.k = last(dy);
    p.in = p.out = dy->dtype;
    p.a = dy->data;
    p.b = w->data;
    p.acc = args->in[2].data;
    p.c = args->out[0].data;
    TRY(dram_cuda_multiply(args, &p, &done));
    if (done) return DRAM_OK;
    dram_cuda_conv v = pixels(p.m, p.n, p.k, p.in);
    return dram_cuda_conv_dgrad(args, &v, p.a, p.b, p.acc, p.c);
}

DRAM_CUDA_KERNEL(linear_wgrad)
{
    const dram_tensor *x = &args->in[0], *dy = &args->in[1];
    bool done;
    dram_cuda_product p = {};
    p.m = last(dy);
    p.n = last(x);
    p.k = rows(x);
    p.trans_a = true;
    p.in = x->dtype;
    p.out = DRAM_F32;
    p.a = dy->data;
    p.b = x->data;
    p.c = args->out[0].data;
    TRY(dram_cuda_multiply(args, &p, &done));
    if (done) return DRAM_OK;
    dram_cuda_conv v = pixels(p.k, p.n, p.m, p.in);
    return dram_cuda_conv_wgrad(args, &v, p.b, p.a, (float *)p.c);
}

/* ---- bias_grad: column sums. Limit: the bytes of dy, each read once. ----
 *
 * A block sums its part of the rows over one run of columns: LANES threads side by side, each with V columns, and the
 * others below them. Each thread adds SHORT rows in fp32 and those sums in fp64; the threads of a column are added in
 * their order, and the parts by a second kernel in one. */
enum { THREADS = DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES, SHORT = 32 };

template <typename T, int V>
__global__ void __launch_bounds__(THREADS)
    column_sums(const T *dy, int64_t rows, int columns, int lanes, int64_t rows_each, double *part)
{
    DRAM_SHARED(double, sums, [THREADS * V]);
    int lane = (int)threadIdx.x % lanes, row = (int)threadIdx.x / lanes, step = THREADS / lanes;
    int column = ((int)blockIdx.x * lanes + lane) * V;
    int64_t first = blockIdx.y * rows_each, end = first + rows_each < rows ? first + rows_each : rows;
    double total[V] = {};
    if (column < columns) {
        for (int64_t r = first + row; r < end;) {
            float sum[V] = {};
            for (int i = 0; i < SHORT && r < end; i++, r += step) {
                dram_pack<T, V> numbers = dram_load<T, V>(dy + r * columns + column);
                for (int k = 0; k < V; k++) sum[k] += dram_float(numbers.at[k]);
            }
            for (int k = 0; k < V; k++) total[k] += sum[k];
        }
    }
    for (int k = 0; k < V; k++) sums[k * THREADS + (int)threadIdx.x] = total[k];
    __syncthreads();
    if (row != 0 || column >= columns) return;
    for (int k = 0; k < V; k++) {
        for (int i = 1; i < step; i++) total[k] += sums[k * THREADS + i * lanes + lane];
        part[(int64_t)blockIdx.y * columns + column + k] = total[k];
    }
}

__global__ void __launch_bounds__(THREADS)
    column_totals(const double *part, int parts, int columns, const float *acc, float *out)
{
    int64_t column = dram_total_column(columns);
    double sum = dram_parts_total(part, parts, columns, column);
    if (column >= 0 && threadIdx.x < DRAM_TOTAL_COLUMNS) out[column] = (float)(acc ? sum + (double)acc[column] : sum);
}

template <typename T, int V> static dram_status sum_columns(const dram_kernel_args *args)
{
    const dram_tensor *dy = &args->in[0];
    int columns = (int)last(dy), lanes = 1, parts = (int)(args->workspace_bytes / (columns * (int64_t)sizeof(double)));
    while (lanes < DRAM_WARP && lanes * V < columns) lanes *= 2;
    int64_t rows_each = dram_ceil_div(rows(dy), parts);
    double *part = (double *)args->workspace;
    parts = (int)dram_ceil_div(rows(dy), rows_each);
    dim3 grid((unsigned)dram_ceil_div(columns, lanes * V), (unsigned)parts);
    TRY(dram_launch(args, column_sums<T, V>, grid, THREADS, 0, (const T *)dy->data, rows(dy), columns, lanes, rows_each,
                    part));
    return dram_launch(args, column_totals, (unsigned)dram_ceil_div(columns, DRAM_TOTAL_COLUMNS), THREADS, 0, part,
                       parts, columns, (const float *)args->in[1].data, (float *)args->out[0].data);
}

DRAM_CUDA_KERNEL(bias_grad)
{
    const dram_tensor *dy = &args->in[0];
    DRAM_FLOAT_TYPES(dy->dtype, T,
                     if (last(dy) % dram_vector<T> == 0 &&
                         (uintptr_t)dy->data % 16 == 0) return sum_columns<T, dram_vector<T>>(args);
                     return sum_columns<T, 1>(args))
}
