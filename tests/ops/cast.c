/* Forward and gradient are one rounding, to the type of the output and to that of the input. Which one, to the bit, and
 * what becomes of NaN and infinities is held against base/half.h apart. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "optest.h"

static void cast_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = in[0][i];
}

/* The whole range of f16, and below its normal numbers. */
static void magnitudes(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        in[0][i] = ldexp(dram_rng_range(rng, -1.9, 1.9), (int)dram_rng_below(rng, 43) - 27);
}

#define EXACT                                                                                                          \
    {                                                                                                                  \
        DBL_MIN, 0                                                                                                     \
    }
/* Of the gradient: the addition to another one. */
#define TOLERANCES .tol = EXACT, .grad_tol = OPTEST_EPSILONS(2)

static const optest_case cast_cases[] = {
    {.name = "to f32 or the same", .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}}, TOLERANCES},
    {.name = "to bf16",
     .attr = {.dtype = DRAM_BF16},
     .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}},
     .out_dtype = {DRAM_BF16},
     TOLERANCES},
    {.name = "to f16",
     .attr = {.dtype = DRAM_F16},
     .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}},
     .out_dtype = {DRAM_F16},
     TOLERANCES},
    {.name = "bf16 to f32", .in = {{OPTEST_SHAPE(13, 11), .dtype = DRAM_BF16, .grad = true}}, TOLERANCES},
    {.name = "f16 to f32", .in = {{OPTEST_SHAPE(13, 11), .dtype = DRAM_F16, .grad = true}}, TOLERANCES},
    {.name = "magnitudes to f16",
     .attr = {.dtype = DRAM_F16},
     .in = {{OPTEST_SHAPE(1000)}},
     .out_dtype = {DRAM_F16},
     .fill = magnitudes,
     TOLERANCES},
    {.name = "several pieces",
     .attr = {.dtype = DRAM_BF16},
     .in = {{OPTEST_SHAPE(70001)}},
     .out_dtype = {DRAM_BF16},
     TOLERANCES},
    {.name = "several pieces to f16",
     .attr = {.dtype = DRAM_F16},
     .in = {{OPTEST_SHAPE(70001)}},
     .out_dtype = {DRAM_F16},
     TOLERANCES},
    {.name = "integers", .in = {{OPTEST_SHAPE(3), .dtype = DRAM_I32}}, .refused = true},
    {.name = "to integers", .attr = {.dtype = DRAM_U8}, .in = {{OPTEST_SHAPE(3)}}, .refused = true},
};

/* ---- to the bit ---- */

enum { HALVES = 65536, FLOATS = HALVES * 5 };

/* Where the kernels are: the CPU's where there is no GPU. */
typedef struct {
    const dram_kernel *kernels;
    dram_device *gpu;
} place;

static void must(dram_status status)
{
    if (status == DRAM_OK) return;
    printf("cast: %s\n", dram_error_text());
    abort();
}

/* The device's memory for a host array: a copy of it. On the CPU the array itself. */
static void *lend(const place *p, const void *host, int64_t bytes)
{
    void *memory = (void *)(uintptr_t)host;
    if (!p->gpu) return memory;
    must(dram_device_alloc(p->gpu, DRAM_SPACE_DEVICE, bytes, &memory));
    must(p->gpu->ops->write(p->gpu, memory, host, bytes));
    return memory;
}

static void run(const place *p, const void *x, dram_dtype from, void *out, dram_dtype to, int64_t n)
{
    const dram_attr attr = {.dtype = (int)to};
    int64_t bytes = n * dram_dtype_bytes(from), out_bytes = n * dram_dtype_bytes(to);
    dram_kernel_args args = {.n_in = 1, .n_out = 1, .attr = &attr};
    args.in[0] = (dram_tensor){.data = lend(p, x, bytes), .dtype = from, .shape = DRAM_SHAPE(n)};
    args.out[0] = (dram_tensor){.data = lend(p, out, out_bytes), .dtype = to, .shape = DRAM_SHAPE(n)};
    if (p->gpu) args.device = p->gpu->ops->shared(p->gpu, DRAM_QUEUE_COMPUTE);
    must(p->kernels[DRAM_OP_cast](&args));
    if (!p->gpu) return;
    must(p->gpu->ops->finish(p->gpu));
    must(p->gpu->ops->read(p->gpu, out, args.out[0].data, out_bytes));
    dram_device_release(p->gpu, DRAM_SPACE_DEVICE, args.in[0].data, bytes);
    dram_device_release(p->gpu, DRAM_SPACE_DEVICE, args.out[0].data, out_bytes);
}

static int differ(const char *what, uint32_t from, uint32_t got, uint32_t want)
{
    if (got == want) return 0;
    printf("cast %s: 0x%" PRIx32 " gives 0x%" PRIx32 " instead of 0x%" PRIx32 "\n", what, from, got, want);
    return 1;
}

static float widened(dram_dtype dtype, uint32_t bits)
{
    return dtype == DRAM_BF16 ? dram_bf16_to_f32((uint16_t)bits) : dram_f16_to_f32_soft((uint16_t)bits);
}

/* All 65536 numbers of a type, to f32. */
static int widening(const place *p, dram_dtype dtype)
{
    static uint16_t x[HALVES];
    static float out[HALVES];
    int failures = 0;
    for (uint32_t i = 0; i < HALVES; i++) x[i] = (uint16_t)i;
    run(p, x, dtype, out, DRAM_F32, HALVES);
    for (uint32_t i = 0; i < HALVES && failures < 10; i++)
        failures += differ(dram_dtype_name(dtype), i, dram_float_bits(out[i]), dram_float_bits(widened(dtype, i)));
    return failures;
}

/* Each number of a type, the tie between it and the next, what is beside the tie, and the one below the next, back to
 * it: with them what rounds to infinity, subnormals, and NaN of all kinds. */
static int narrowing(const place *p, dram_dtype dtype)
{
    static float x[FLOATS];
    static uint16_t out[FLOATS];
    const uint32_t tie = dtype == DRAM_BF16 ? 0x8000 : 0x1000;
    int failures = 0;
    for (uint32_t i = 0; i < HALVES; i++) {
        float number = widened(dtype, i), next = widened(dtype, i + 1);
        uint32_t bits = dram_float_bits(number), between = bits + tie;
        if (dtype == DRAM_F16 && isfinite(number) && isfinite(next)) between = dram_float_bits(0.5f * (number + next));
        const uint32_t near[5] = {bits, between - 1, between, between + 1, bits + 2 * tie - 1};
        for (uint32_t k = 0; k < 5; k++) x[5 * i + k] = dram_bits_float(near[k]);
    }
    run(p, x, DRAM_F32, out, dtype, FLOATS);
    for (int64_t i = 0; i < FLOATS && failures < 10; i++) {
        uint16_t want = dtype == DRAM_BF16 ? dram_f32_to_bf16(x[i]) : dram_f32_to_f16_soft(x[i]);
        failures += differ(dtype == DRAM_BF16 ? "f32 to bf16" : "f32 to f16", dram_float_bits(x[i]), out[i], want);
        if (isnan(x[i]) && !isnan(widened(dtype, out[i]))) failures += differ("NaN", dram_float_bits(x[i]), out[i], 0);
    }
    return failures;
}

static int to_the_bit(const place *p)
{
    return widening(p, DRAM_BF16) + widening(p, DRAM_F16) + narrowing(p, DRAM_BF16) + narrowing(p, DRAM_F16);
}

static int on_the_cpu(const dram_kernel *kernels)
{
    return to_the_bit(&(place){.kernels = kernels});
}

static int on_the_gpu(dram_device *gpu)
{
    return to_the_bit(&(place){.kernels = gpu->kernels, .gpu = gpu});
}

OPTEST_STORED(cast, cast_ref, cast_cases, .stored = 0x1, .also = on_the_cpu, .also_on_gpu = on_the_gpu);
