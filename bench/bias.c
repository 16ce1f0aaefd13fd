/* What it does to a SAM encoder of 16 bits that the biases of its linears are rounded to 16 bits too: its embeddings of
 * photographs, with such biases and with f32 ones, each against the other and against fp32. bench_bias FOLDER [ARCH
 * [SIZE [PRECISION]]]. The weights are seeded random numbers, biases among them. On the CPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/folder.h"
#include "bench.h"
#include "data/image.h"
#include "data/resize.h"
#include "device/exec.h"
#include "device/host.h"
#include "distill/distill.h"
#include "ops/call.h"

enum { PLAIN, WIDE, LOW, TEACHERS }; /* fp32; 16 bits with f32 biases; 16 bits throughout */

typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_val pixels, valid, embedding;
    dram_plan *plan;
    dram_exec *exec;
    float *numbers; /* [n] */
} teacher;

static dram_status open_teacher(teacher *t, const dram_arch *arch, int size, dram_dtype dtype, bool low)
{
    dram_build build = {
        .group = "teacher", .category = DRAM_CATEGORY_TEACHER_WEIGHTS, .bn = DRAM_BN_EVAL, .dtype = dtype};
    TRY(dram_graph_new("teacher", &t->slots, &t->g));
    build.g = t->g;
    build.low_bias = low;
    t->pixels = dram_graph_input(t->g, "pixels", DRAM_U8, DRAM_SHAPE(1, size, size, 3));
    t->valid = dram_graph_input(t->g, "valid", DRAM_I32, DRAM_SHAPE(1, 2));
    dram_val y = dram_teacher_target(&build, arch, t->pixels, t->valid, size / DRAM_VIT_PATCH, size / DRAM_VIT_PATCH);
    t->embedding = DRAM_CALL(t->g, cast, "embedding", DRAM_ATTR(.dtype = DRAM_F32), y);
    dram_graph_output(t->g, t->embedding);
    return t->g->status;
}

/* Matrices as they are drawn for training; norms about 1; biases and positions up to a tenth, as far as trained ones go. */
static dram_status fill(const teacher *t)
{
    for (int i = 0; i < t->slots.n; i++) {
        const dram_slot *slot = t->slots.at[i];
        int64_t n = dram_elements(&slot->shape), fan_in = n / slot->shape.dim[0];
        bool matrix = slot->decays && slot->shape.rank > 1, norm = slot->init == DRAM_INIT_ONE;
        dram_value value = {.name = slot->name, .dtype = DRAM_F32, .shape = slot->shape};
        float *w = dram_alloc((size_t)n * sizeof *w);
        if (!w) return dram_fail(DRAM_ERR_MEMORY, "no memory for %s", slot->name);
        bench_draw(&value, matrix ? sqrt(3.0 / (double)fan_in) : norm ? 0.25 : 0.1, w);
        for (int64_t k = 0; norm && k < n; k++) w[k] += 1.0f;
        for (int64_t k = 0; slot->dtype != DRAM_F32 && k < n; k++) { /* in place: read before it is written */
            uint16_t h = slot->dtype == DRAM_BF16 ? dram_f32_to_bf16(w[k]) : dram_f32_to_f16(w[k]);
            memcpy((char *)w + k * (int64_t)sizeof h, &h, sizeof h);
        }
        dram_status status = dram_exec_write_slot(t->exec, i, 0, w, n * dram_dtype_bytes(slot->dtype));
        dram_free(w);
        TRY(status);
    }
    return DRAM_OK;
}

static dram_status start(teacher *t, dram_device *device)
{
    const dram_graph *list[] = {t->g};
    TRY(dram_plan_make(list, 1, &t->slots, &device->profile, DRAM_PLAN_USUAL, &t->plan));
    TRY(dram_exec_open(device, t->plan, &t->exec));
    t->numbers = dram_alloc((size_t)dram_value_bytes(dram_value_at(t->g, t->embedding)));
    return t->numbers ? fill(t) : dram_fail(DRAM_ERR_MEMORY, "no memory for an embedding");
}

static void close_teacher(teacher *t)
{
    dram_exec_close(t->exec);
    dram_plan_free(t->plan);
    dram_graph_free(t->g);
    dram_slots_free(&t->slots);
    dram_free(t->numbers);
}

/* The photograph in the upper left corner of the square, its longer side as long as that. */
static dram_status load(const char *path, int size, uint8_t *pixels, int32_t valid[2])
{
    const dram_image_rules rules = {0};
    dram_image image;
    TRY(dram_image_load(path, &rules, &image));
    int longer = image.height > image.width ? image.height : image.width;
    const dram_box all = {0, 0, image.width, image.height};
    valid[0] = (int32_t)lrint((double)image.height * size / longer);
    valid[1] = (int32_t)lrint((double)image.width * size / longer);
    memset(pixels, 0, (size_t)size * (size_t)size * 3);
    dram_status status = dram_resize_rgb(image.pixels, image.height, image.width, all, false, pixels, (int64_t)size * 3,
                                         valid[0], valid[1]);
    dram_image_free(&image);
    return status;
}

static dram_status embed(const teacher *t, int size, const uint8_t *pixels, const int32_t valid[2])
{
    TRY(dram_exec_write(t->exec, 0, t->pixels, pixels, (int64_t)size * size * 3));
    TRY(dram_exec_write(t->exec, 0, t->valid, valid, 2 * (int64_t)sizeof *valid));
    TRY(dram_exec_run(t->exec, 0));
    return dram_exec_read(t->exec, 0, t->embedding, t->numbers, dram_value_bytes(dram_value_at(t->g, t->embedding)));
}

/* 1 - cosine, the mean over the cells that hold image and their 256 channels, and the worst cell's. */
static void gap(const teacher *a, const teacher *b, int size, const int32_t valid[2], double *mean, double *worst)
{
    int side = size / DRAM_VIT_PATCH, cells = 0;
    *mean = *worst = 0;
    for (int y = 0; y * DRAM_VIT_PATCH < valid[0]; y++)
        for (int x = 0; x * DRAM_VIT_PATCH < valid[1]; x++, cells++) {
            const float *p = a->numbers + ((int64_t)y * side + x) * DRAM_EMBED_CHANNELS;
            const float *q = b->numbers + ((int64_t)y * side + x) * DRAM_EMBED_CHANNELS;
            double pq = 0, pp = 0, qq = 0;
            for (int c = 0; c < DRAM_EMBED_CHANNELS; c++) {
                pq += (double)p[c] * q[c];
                pp += (double)p[c] * p[c];
                qq += (double)q[c] * q[c];
            }
            double one = 1 - pq / sqrt(pp * qq);
            *mean += one;
            if (!(one <= *worst)) *worst = one;
        }
    *mean /= cells;
}

static dram_status photograph(const char *folder, const char *name, int size, const teacher t[TEACHERS],
                              uint8_t *pixels)
{
    static const int pairs[][2] = {{LOW, WIDE}, {LOW, PLAIN}, {WIDE, PLAIN}};
    char path[4096];
    int32_t valid[2];
    double mean, worst;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    TRY(load(path, size, pixels, valid));
    for (int i = 0; i < TEACHERS; i++) TRY(embed(&t[i], size, pixels, valid));
    printf("| %s |", name);
    for (int i = 0; i < 3; i++) {
        gap(&t[pairs[i][0]], &t[pairs[i][1]], size, valid, &mean, &worst);
        printf(" %.8f | %.1e |", 1 - mean, worst);
    }
    printf("\n");
    fflush(stdout);
    return DRAM_OK;
}

static dram_status photographs(const char *folder, int size, const teacher t[TEACHERS])
{
    const dram_folder_params params = {.path = folder, .what = "photographs"};
    dram_folder_list list;
    TRY(dram_folder_list_read(&params, &list));
    uint8_t *pixels = dram_alloc((size_t)size * (size_t)size * 3);
    dram_status status = pixels ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for an image");
    if (!status && list.n == 0) status = dram_fail(DRAM_ERR_CONFIG, "%s: there is no photograph", folder);
    printf("| photograph | cosine, rounded to f32 biases | worst cell, 1 - cosine | rounded to fp32 | worst cell | "
           "f32 biases to fp32 | worst cell |\n|---|--:|--:|--:|--:|--:|--:|\n");
    for (int i = 0; i < list.n && status == DRAM_OK; i++)
        status = photograph(folder, list.files[i].name, size, t, pixels);
    dram_free(pixels);
    dram_folder_list_free(&list);
    return status;
}

static dram_status measure(const char *folder, const dram_arch *arch, int size, dram_dtype dtype)
{
    teacher t[TEACHERS] = {0};
    dram_device *device;
    dram_status status = DRAM_OK;
    TRY(dram_device_open_cpu(dram_host_cores(), &device));
    for (int i = 0; i < TEACHERS && status == DRAM_OK; i++) {
        status = open_teacher(&t[i], arch, size, i == PLAIN ? DRAM_F32 : dtype, i == LOW);
        if (status == DRAM_OK) status = start(&t[i], device);
    }
    if (status == DRAM_OK) status = photographs(folder, size, t);
    for (int i = 0; i < TEACHERS; i++) close_teacher(&t[i]);
    dram_device_close(device);
    return status;
}

int main(int argc, char **argv)
{
    dram_ops_init();
    const dram_arch *arch = dram_arch_find(argc > 2 ? argv[2] : "vit_b");
    int size = argc > 3 ? atoi(argv[3]) : 512;
    const char *word = argc > 4 ? argv[4] : "bf16";
    bool bf16 = strcmp(word, "bf16") == 0;
    if (argc < 2 || argc > 5 || !arch || strncmp(arch->name, "vit_", 4) != 0 || size < 16 || size % 16 ||
        (!bf16 && strcmp(word, "fp16") != 0)) {
        fprintf(stderr, "usage: bench_bias FOLDER [vit_... [SIZE [bf16|fp16]]]; SIZE is a multiple of 16\n");
        return 2;
    }
    if (measure(argv[1], arch, size, bf16 ? DRAM_BF16 : DRAM_F16) == DRAM_OK) return 0;
    fprintf(stderr, "bench_bias: %s\n", dram_error_text());
    return 1;
}
