/* Bytes are moved: what comes out is what went in. The tolerance is below every float but 0, which would mean the
 * usual. */
#include <math.h>

#include "optest.h"

#define EXACT                                                                                                          \
    {                                                                                                                  \
        .atol = 1e-30                                                                                                  \
    }

static void batch_slice_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t image = dram_elements(&c->in[0].shape) / c->in[0].shape.dim[0];
    for (int64_t i = 0; i < c->attr.count * image; i++) out[0][i] = in[0][c->attr.first * image + i];
}

static const optest_case batch_slice_cases[] = {
    {.name = "middle", .attr = {.first = 2, .count = 3}, .in = {{OPTEST_SHAPE(7, 5, 3)}}, .tol = EXACT},
    {.name = "first", .attr = {.first = 0, .count = 1}, .in = {{OPTEST_SHAPE(4, 13)}}, .tol = EXACT},
    {.name = "last", .attr = {.first = 3, .count = 1}, .in = {{OPTEST_SHAPE(4, 13)}}, .tol = EXACT},
    {.name = "whole", .attr = {.first = 0, .count = 3}, .in = {{OPTEST_SHAPE(3)}}, .tol = EXACT},
    {.name = "several pieces", .attr = {.first = 1, .count = 2}, .in = {{OPTEST_SHAPE(3, 70001)}}, .tol = EXACT},
    {.name = "pixels",
     .attr = {.first = 1, .count = 2},
     .in = {{OPTEST_SHAPE(4, 5, 5, 3), .dtype = DRAM_U8}},
     .out_dtype = {DRAM_U8},
     .tol = EXACT},
    {.name = "extents",
     .attr = {.first = 3, .count = 2},
     .in = {{OPTEST_SHAPE(5, 2), .dtype = DRAM_I32}},
     .out_dtype = {DRAM_I32},
     .tol = EXACT},
    {.name = "none", .attr = {.first = 1, .count = 0}, .in = {{OPTEST_SHAPE(3, 2)}}, .refused = true},
    {.name = "one too many", .attr = {.first = 1, .count = 3}, .in = {{OPTEST_SHAPE(3, 2)}}, .refused = true},
    {.name = "before the first", .attr = {.first = -1, .count = 2}, .in = {{OPTEST_SHAPE(3, 2)}}, .refused = true},
    {.name = "so many that it wraps",
     .attr = {.first = 2147483647, .count = 2147483647},
     .in = {{OPTEST_SHAPE(3, 2)}},
     .refused = true},
};
OPTEST_STORED(batch_slice, batch_slice_ref, batch_slice_cases, .stored = 0x1);

static void batch_put_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t n = dram_elements(&c->in[0].shape), image = n / c->in[0].shape.dim[0], first = c->attr.first * image;
    for (int64_t i = 0; i < c->attr.count * image; i++)
        out[0][i] = i >= first && i < first + n ? in[0][i - first] : in[1] ? in[1][i] : 0;
}

static const optest_case batch_put_cases[] = {
    {.name = "middle",
     .attr = {.first = 2, .count = 7},
     .in = {{OPTEST_SHAPE(3, 5, 3)}, {OPTEST_SHAPE(7, 5, 3)}},
     .tol = EXACT},
    {.name = "first", .attr = {.count = 4}, .in = {{OPTEST_SHAPE(1, 13)}, {OPTEST_SHAPE(4, 13)}}, .tol = EXACT},
    {.name = "last",
     .attr = {.first = 3, .count = 4},
     .in = {{OPTEST_SHAPE(1, 13)}, {OPTEST_SHAPE(4, 13)}},
     .tol = EXACT},
    {.name = "whole", .attr = {.count = 3}, .in = {{OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}}, .tol = EXACT},
    {.name = "into zeros", .attr = {.first = 1, .count = 4}, .in = {{OPTEST_SHAPE(2, 11)}}, .tol = EXACT},
    {.name = "several pieces",
     .attr = {.first = 1, .count = 3},
     .in = {{OPTEST_SHAPE(1, 70001)}, {OPTEST_SHAPE(3, 70001)}},
     .tol = EXACT},
    {.name = "bytes",
     .attr = {.first = 1, .count = 4},
     .in = {{OPTEST_SHAPE(2, 7), .dtype = DRAM_U8}, {OPTEST_SHAPE(4, 7), .dtype = DRAM_U8}},
     .out_dtype = {DRAM_U8},
     .tol = EXACT},
    {.name = "one too many", .attr = {.first = 2, .count = 3}, .in = {{OPTEST_SHAPE(2, 2)}}, .refused = true},
    {.name = "before the first", .attr = {.first = -1, .count = 3}, .in = {{OPTEST_SHAPE(2, 2)}}, .refused = true},
    {.name = "other images", .attr = {.count = 3}, .in = {{OPTEST_SHAPE(2, 2)}, {OPTEST_SHAPE(3, 3)}}, .refused = true},
    {.name = "other number of images",
     .attr = {.count = 3},
     .in = {{OPTEST_SHAPE(2, 2)}, {OPTEST_SHAPE(4, 2)}},
     .refused = true},
    {.name = "other type",
     .attr = {.count = 3},
     .in = {{OPTEST_SHAPE(2, 2)}, {OPTEST_SHAPE(3, 2), .dtype = DRAM_I32}},
     .refused = true},
};
OPTEST_STORED(batch_put, batch_put_ref, batch_put_cases, .stored = 0x3);

static void crop_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *x = c->in[0].shape.dim, *y = c->out[0].dim;
    for (int64_t i = 0; i < dram_elements(&c->out[0]); i++) {
        int64_t k = i % y[3], column = i / y[3] % y[2], row = i / y[3] / y[2] % y[1], n = i / y[3] / y[2] / y[1];
        out[0][i] = in[0][((n * x[1] + row) * x[2] + column) * x[3] + k];
    }
}

static const optest_case crop_cases[] = {
    {.name = "corner", .attr = {.out_h = 3, .out_w = 4}, .in = {{OPTEST_SHAPE(2, 5, 7, 3)}}, .tol = EXACT},
    {.name = "one cell", .attr = {.out_h = 1, .out_w = 1}, .in = {{OPTEST_SHAPE(3, 5, 7, 2)}}, .tol = EXACT},
    {.name = "all", .attr = {.out_h = 5, .out_w = 7}, .in = {{OPTEST_SHAPE(1, 5, 7, 11)}}, .tol = EXACT},
    {.name = "too high", .attr = {.out_h = 6, .out_w = 7}, .in = {{OPTEST_SHAPE(1, 5, 7, 3)}}, .refused = true},
    {.name = "too wide", .attr = {.out_h = 5, .out_w = 8}, .in = {{OPTEST_SHAPE(1, 5, 7, 3)}}, .refused = true},
    {.name = "nothing", .attr = {.out_h = 0, .out_w = 1}, .in = {{OPTEST_SHAPE(1, 5, 7, 3)}}, .refused = true},
    {.name = "no image", .attr = {.out_h = 1, .out_w = 1}, .in = {{OPTEST_SHAPE(5, 7, 3)}}, .refused = true},
};
OPTEST_STORED(crop, crop_ref, crop_cases, .stored = 0x1);

static void copy_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = in[0][i];
}

static const optest_case copy_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7, 3)}}, .tol = EXACT},
    {.name = "one", .in = {{OPTEST_SHAPE(1)}}, .tol = EXACT},
    {.name = "bytes", .in = {{OPTEST_SHAPE(333), .dtype = DRAM_U8}}, .out_dtype = {DRAM_U8}, .tol = EXACT},
    {.name = "several pieces", .in = {{OPTEST_SHAPE(3, 70001)}}, .tol = EXACT},
};
OPTEST_STORED(copy, copy_ref, copy_cases, .stored = 0x1);
