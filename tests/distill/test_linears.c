/* Linears of a 16-bit teacher whose biases have 16 bits: all are the library's on a GPU, in plans of the large teachers
 * and in a small one's run, where it says so, and the numbers are those of a teacher with f32 biases but for the
 * rounding. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "ir/op.h"
#include "teachers.h"

enum { CELLS = 2 * 2 * 2, IMAGES = 2 };

/* Products and their choice where planned for a GPU. */
static void plan_linears(const char *arch, dram_dtype dtype, int low)
{
    const dram_profile gpu = dram_profile_cuda(2);
    int linears = 0, biased = 0, casts = 0, blocks = dram_arch_find(arch)->blocks;
    teacher t;
    teacher_open(
        &t, (teacher_order){
                .arch = arch, .images = IMAGES, .size = 1024, .grid = 64, .group = 1, .dtype = dtype, .low_bias = low});
    for (int i = 0; i < t.g->n_nodes; i++) {
        const dram_node *node = t.g->nodes[i];
        bool padding = strstr(node->name, "attn.padding") != NULL;
        casts += padding;
        if (node->op != DRAM_OP_linear) continue;
        bool bias = node->in[2] != DRAM_NONE;
        linears++;
        biased += bias;
        if (bias) assert_int_equal(dram_value_at(t.g, node->in[2])->dtype, low ? dtype : DRAM_F32);
        assert_int_equal(dram_op_rules[node->op]->by_library(t.g, node), low || !bias || dtype == DRAM_F32);
        if (low) assert_int_equal(dram_node_workspace(t.g, node, &gpu), gpu.library_bytes);
    }
    assert_int_equal(linears, IMAGES * (4 * blocks + 1)); /* of each image; and the neck's 1x1, which has no bias */
    assert_int_equal(biased, IMAGES * 4 * blocks);
    assert_int_equal(casts, low && dtype != DRAM_F32 ? blocks : 0); /* once for all images */
    teacher_close(&t);
}

static void large_teachers_go_to_the_library(void **state)
{
    static const char *const archs[] = {"vit_b", "vit_l", "vit_h"};
    (void)state;
    for (int i = 0; i < 3; i++) plan_linears(archs[i], i == 1 ? DRAM_F16 : DRAM_BF16, 1);
    plan_linears("vit_b", DRAM_BF16, 0);
    plan_linears("vit_b", DRAM_F32, 1);
}

static int products, by_library, own_products, convolutions;

static void count_choice(void *context, dram_log_level level, const char *message)
{
    bool linear = strstr(message, "cuda: product ") || strstr(message, "to 1x1x") || strstr(message, " by 1x1,");
    (void)context;
    (void)level;
    if (strncmp(message, "cuda: ", 6) != 0) return;
    products += linear;
    by_library += linear && strstr(message, "cuBLASLt's algorithm") != NULL;
    own_products += linear && strstr(message, "conv_tile.cu") != NULL;
    convolutions += !linear;
}

static const teacher_order micro = {
    .arch = "vit_micro", .images = IMAGES, .size = 32, .grid = 2, .dtype = DRAM_BF16, .low_bias = true};

/* Its embedding [n] as float. */
static float *run(teacher_order order, int64_t *n)
{
    teacher t;
    teacher_open(&t, order);
    void *embedding = teacher_run(&t);
    *n = dram_elements(dram_shape_of(t.g, t.embedding));
    float *as_floats = malloc((size_t)*n * sizeof *as_floats);
    assert_non_null(as_floats);
    for (int64_t i = 0; i < *n; i++) {
        const uint16_t h = order.dtype == DRAM_F32 ? 0 : ((uint16_t *)embedding)[i];
        as_floats[i] = order.dtype == DRAM_F32    ? ((float *)embedding)[i]
                       : order.dtype == DRAM_BF16 ? dram_bf16_to_f32(h)
                                                  : dram_f16_to_f32(h);
    }
    free(embedding);
    teacher_close(&t);
    return as_floats;
}

/* 1 - cosine of all numbers */
static double gap(const float *a, const float *b, int64_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return 1 - ab / sqrt(aa * bb);
}

/* 1 - cosine that is allowed: bf16 has 8 bits, fp16 has 11; the six blocks' roundings add up to some of the last. */
static const double most_bf16 = 0x1p-13, most_f16 = 0x1p-19;

/* On a GPU every product is the library's, and says so, once for each of its shapes: qkv, proj, fc1, fc2, the neck's.
 * The numbers are the CPU's. Streamed they are the same. */
static void on_a_gpu(void **state)
{
    int64_t n, m;
    teacher_order order = micro;
    (void)state;
    if (!test_on_gpu()) skip();
    float *cpu = run(order, &n);
    assert_int_equal(n, CELLS * 256);
    order.tested = true;
    setenv("DRAM_CUDA_SAY", "1", 1);
    dram_log_set_sink(count_choice, NULL);
    float *gpu = run(order, &m);
    dram_log_set_sink(NULL, NULL);
    unsetenv("DRAM_CUDA_SAY");
    assert_int_equal(n, m);
    assert_int_equal(products, 5);
    assert_int_equal(by_library, 5);
    assert_int_equal(own_products, 0);
    assert_true(convolutions > 0);
    assert_true(gap(cpu, gpu, n) <= most_bf16);
    order.placement = STREAMED;
    float *streamed = run(order, &m);
    assert_int_equal(n, m);
    assert_memory_equal(gpu, streamed, (size_t)n * sizeof *gpu);
    free(cpu);
    free(gpu);
    free(streamed);
}

/* What rounded biases cost is no more than what 16 bits cost already, and it is there. */
static void rounded_biases_are_near(void **state)
{
    int64_t n, m;
    teacher_order order = micro;
    (void)state;
    if (test_on_gpu()) skip(); /* as on a CPU */
    order.dtype = DRAM_F32;
    float *plain = run(order, &n);
    assert_int_equal(n, CELLS * 256);
    for (int i = 0; i < 2; i++) {
        const double most = i ? most_f16 : most_bf16;
        order.dtype = i ? DRAM_F16 : DRAM_BF16;
        order.low_bias = false;
        float *wide = run(order, &m);
        assert_int_equal(n, m);
        order.low_bias = true;
        float *low = run(order, &m);
        assert_int_equal(n, m);
        double rounded = gap(low, wide, n), both = gap(low, plain, n), narrow = gap(wide, plain, n);
        print_message("%s: 1 - cosine of rounded biases to f32 ones %.2e; to fp32 %.2e, with f32 biases %.2e\n",
                      dram_dtype_name(order.dtype), rounded, both, narrow);
        assert_true(rounded > 0 && rounded <= most);
        assert_true(both > 0 && both <= most && narrow > 0 && narrow <= most);
        free(wide);
        free(low);
    }
    free(plain);
}

int main(void)
{
    test_device_or_skip();
    dram_ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_teachers_go_to_the_library),
        cmocka_unit_test(on_a_gpu),
        cmocka_unit_test(rounded_biases_are_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
