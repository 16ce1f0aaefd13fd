#include "types.h"

#include <math.h>
#include <stdio.h>

#include "base/half.h"
#include "ir/op.h"

bool types_low(dram_dtype dtype)
{
    return dtype == DRAM_BF16 || dtype == DRAM_F16;
}

bool types_float(dram_dtype dtype)
{
    return dtype == DRAM_F32 || types_low(dtype);
}

double types_round(dram_dtype dtype, double x)
{
    if (dtype == DRAM_F32) return (double)(float)x;
    if (dtype == DRAM_BF16) return (double)dram_bf16_to_f32(dram_f32_to_bf16((float)x));
    if (dtype == DRAM_F16) return (double)dram_f16_to_f32_soft(dram_f32_to_f16_soft((float)x));
    return nearbyint(x);
}

void types_store(void *to, dram_dtype dtype, const double *from, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        if (dtype == DRAM_F32) ((float *)to)[k] = (float)from[k];
        if (dtype == DRAM_BF16) ((uint16_t *)to)[k] = dram_f32_to_bf16((float)from[k]);
        if (dtype == DRAM_F16) ((uint16_t *)to)[k] = dram_f32_to_f16_soft((float)from[k]);
        if (dtype == DRAM_I32) ((int32_t *)to)[k] = (int32_t)from[k];
        if (dtype == DRAM_U8) ((uint8_t *)to)[k] = (uint8_t)from[k];
    }
}

void types_load(float *to, const void *from, dram_dtype dtype, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        if (dtype == DRAM_F32) to[k] = ((const float *)from)[k];
        if (dtype == DRAM_BF16) to[k] = dram_bf16_to_f32(((const uint16_t *)from)[k]);
        if (dtype == DRAM_F16) to[k] = dram_f16_to_f32_soft(((const uint16_t *)from)[k]);
        if (dtype == DRAM_I32) to[k] = (float)((const int32_t *)from)[k];
        if (dtype == DRAM_U8) to[k] = (float)((const uint8_t *)from)[k];
    }
}

/* Rounding to nearest moves a number by at most its share u, the unit roundoff: 2^-8 with the 8 bits of bf16, 2^-11
 * with the 11 of f16, and below f16's normal numbers by at most 2^-25. The fp32 error is there before, and grows by
 * that share at most. */
optest_tol types_tolerance(optest_tol tol, dram_dtype dtype, double roundings)
{
    if (!types_low(dtype)) return tol;
    double u = dtype == DRAM_BF16 ? 0x1p-8 : 0x1p-11, least = dtype == DRAM_F16 ? 0x1p-25 : 0;
    double grown = 1 + roundings * u;
    return (optest_tol){tol.atol * grown + roundings * least, tol.rtol * grown + roundings * u};
}

/* Whether the node is refused with input `other` of that type. */
static bool refused(const dram_graph *g, const dram_node *node, int other, dram_dtype dtype)
{
    dram_slots slots = {0};
    dram_graph *again = NULL;
    dram_val in[DRAM_MAX_IN], out[DRAM_MAX_OUT];
    char name[16];
    if (dram_graph_new("types", &slots, &again) != DRAM_OK) return false;
    for (int i = 0; i < node->n_in; i++) {
        const dram_value *value = node->in[i] == DRAM_NONE ? NULL : dram_value_at(g, node->in[i]);
        snprintf(name, sizeof name, "in%d", i);
        in[i] = value ? dram_graph_input(again, name, i == other ? dtype : value->dtype, value->shape) : DRAM_NONE;
    }
    dram_graph_add(again, node->op, "op", &node->attr, in, node->n_in, out);
    bool failed = again->status != DRAM_OK && *dram_error_text();
    dram_graph_free(again);
    dram_slots_free(&slots);
    dram_error_clear();
    return failed;
}

const char *types_not_refused(const dram_graph *g, const dram_node *node, bool typed, char *text, int size)
{
    int floats = 0, low = 0;
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] == DRAM_NONE) continue;
        floats += types_float(dram_value_at(g, node->in[i])->dtype);
        low += types_low(dram_value_at(g, node->in[i])->dtype);
    }
    if (floats < 2 || (typed && low == 0)) return NULL;
    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i] == DRAM_NONE || !types_float(dram_value_at(g, node->in[i])->dtype)) continue;
        bool is_low = types_low(dram_value_at(g, node->in[i])->dtype);
        if (is_low && low == 1) continue; /* alone it may have any type */
        dram_dtype other = is_low ? DRAM_F32 : DRAM_BF16;
        if (node->op == DRAM_OP_linear && i == 2) /* it may be f32, or of the type of x */
            other = dram_value_at(g, node->in[0])->dtype == DRAM_BF16 ? DRAM_F16 : DRAM_BF16;
        if (refused(g, node, i, other)) continue;
        snprintf(text, (size_t)size, "%s with input %d of another type", dram_op_rows[node->op].name, i);
        return text;
    }
    return NULL;
}
