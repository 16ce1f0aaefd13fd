/* teachers: a graph of the teacher alone, in every placement, its plan and its run. Include after cmocka.h; link
 * dram_distill and dram_device. Failures fail the test. */
#ifndef DRAM_TESTS_TEACHERS_H
#define DRAM_TESTS_TEACHERS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/half.h"
#include "device/exec.h"
#include "device/testing.h"
#include "distill/distill.h"
#include "ops/call.h"
#include "support/device.h"
#include "support/hashweights.h"

typedef enum { ON_DEVICE, STREAMED, ON_HOST } placement;

typedef struct {
    const char *arch;
    int images, size, grid; /* N, T, g */
    int group;
    placement placement;
    dram_dtype dtype;
    bool low_bias; /* biases of linears in that type too */
    bool tested;   /* on the device that the test runs on (support/device.h); else on the CPU */
} teacher_order;

typedef struct {
    teacher_order order;
    dram_slots slots;
    dram_graph *g;
    dram_val pixels, valid, embedding;
    dram_plan *plan;
} teacher;

static inline void teacher_ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
}

static inline void teacher_open(teacher *t, teacher_order order)
{
    *t = (teacher){.order = order};
    teacher_ok(dram_graph_new("teacher", &t->slots, &t->g));
    t->pixels = dram_graph_input(t->g, "pixels", DRAM_U8, DRAM_SHAPE(order.images, order.size, order.size, 3));
    t->valid = dram_graph_input(t->g, "valid", DRAM_I32, DRAM_SHAPE(order.images, 2));
    dram_build build = {.g = t->g,
                        .group = "teacher",
                        .category = DRAM_CATEGORY_TEACHER_WEIGHTS,
                        .bn = DRAM_BN_EVAL,
                        .dtype = order.dtype,
                        .space = order.placement == ON_DEVICE ? DRAM_SPACE_DEVICE : DRAM_SPACE_HOST,
                        .run_space = order.placement == ON_HOST ? DRAM_SPACE_HOST : DRAM_SPACE_DEVICE,
                        .images = order.group,
                        .low_bias = order.low_bias};
    t->embedding =
        dram_teacher_target(&build, dram_arch_find(order.arch), t->pixels, t->valid, order.size / 16, order.grid);
    dram_graph_output(t->g, t->embedding);
    teacher_ok(t->g->status);
    const dram_graph *list[] = {t->g};
    dram_profile profile = order.tested ? test_profile(2) : dram_profile_cpu(2);
    teacher_ok(dram_plan_make(list, 1, &t->slots, &profile, DRAM_PLAN_USUAL, &t->plan));
}

static inline void teacher_close(teacher *t)
{
    dram_plan_free(t->plan);
    dram_graph_free(t->g);
    dram_slots_free(&t->slots);
}

/* Hash weights by name, rounded to the slot's type. */
static inline void teacher_fill(const teacher *t, dram_exec *e)
{
    for (int i = 0; i < t->slots.n; i++) {
        const dram_slot *slot = t->slots.at[i];
        int64_t n = dram_elements(&slot->shape), each = dram_dtype_bytes(slot->dtype);
        float *w = malloc((size_t)n * sizeof *w);
        uint16_t *half = malloc((size_t)n * sizeof *half);
        assert_true(w && half);
        hash_weight(slot->name, slot->shape.rank, slot->shape.dim, 0, n, w);
        for (int64_t k = 0; k < n; k++)
            half[k] = slot->dtype == DRAM_BF16 ? dram_f32_to_bf16(w[k]) : dram_f32_to_f16(w[k]);
        teacher_ok(dram_exec_write_slot(e, i, 0, slot->dtype == DRAM_F32 ? (void *)w : half, n * each));
        free(w);
        free(half);
    }
}

/* Runs the plan, dead bytes overwritten, and gives the embedding's bytes: the caller frees them. */
static inline void *teacher_run(const teacher *t)
{
    const teacher_order *o = &t->order;
    int64_t pixel_bytes = (int64_t)o->images * o->size * o->size * 3;
    int64_t bytes = dram_value_bytes(dram_value_at(t->g, t->embedding));
    uint8_t *pixels = malloc((size_t)pixel_bytes);
    int32_t *valid = malloc((size_t)o->images * 2 * sizeof *valid);
    void *embedding = malloc((size_t)bytes);
    dram_device *device;
    dram_exec *e;
    assert_true(pixels && valid && embedding);
    for (int64_t i = 0; i < pixel_bytes; i++) pixels[i] = (uint8_t)hash_index("pixels", i, 256);
    for (int i = 0; i < 2 * o->images; i++) valid[i] = o->size - (int32_t)hash_index("valid", i, o->size / 2);
    teacher_ok(o->tested ? test_device_open(2, &device) : dram_device_open_cpu(2, &device));
    teacher_ok(dram_exec_open(device, t->plan, &e));
    dram_exec_poison(e, true);
    teacher_fill(t, e);
    for (int run = 0; run < 2; run++) { /* nothing of the first is left */
        teacher_ok(dram_exec_write(e, 0, t->pixels, pixels, pixel_bytes));
        teacher_ok(dram_exec_write(e, 0, t->valid, valid, (int64_t)o->images * 8));
        teacher_ok(dram_exec_run(e, 0));
        teacher_ok(dram_exec_read(e, 0, t->embedding, embedding, bytes));
    }
    assert_int_equal(device->bytes_peak, t->plan->arena_bytes);
    assert_int_equal(device->host_bytes_peak, t->plan->host_bytes);
    dram_exec_close(e);
    assert_int_equal(device->bytes_now + device->host_bytes_now, 0);
    dram_device_close(device);
    free(pixels);
    free(valid);
    return embedding;
}

#endif
