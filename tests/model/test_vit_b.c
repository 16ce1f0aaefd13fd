/* SAM's vit_b with hash weights: its embedding as transformers computes it at 1024 and timm at 512, and at 512 in bf16
 * too, with biases that are f32 and with rounded ones. Minutes under a sanitizer, so there it is skipped. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cblas.h>
#include <cmocka.h>

#include "golden_net.h"

static void check(const char *file, int64_t side)
{
    /* In units of the embedding's root mean square: twelve blocks of fp32 roundings, sums of up to 3072 terms and, at
     * 1024, softmax over 4096. What is promised is 1e-4. */
    double used = 0, tol = 3e-5;
    golden_net net;
    golden_pass p;
    net_open(&net, "vit_b", file, (const int64_t[]){1, 3, side, side});
    pass_open(&net, &p, false, DRAM_BN_EVAL);
    net_fill(&net);
    run_io out = pass_out(&p, p.f.tap[0]);
    run_graph(&net.run, p.g, p.in, p.n_in, &out, 1);
    net_compare_tap(&net, &p, 0, "embedding", out.data, tol, &used);
    printf("%s: worst error of the embedding, of its rms: %.1e\n", file, used * tol);
    free(out.data);
    pass_close(&p);
    net_close(&net);
}

static void vit_b_512(void **state)
{
    (void)state;
    check("vit_b_512", 512);
}

static void vit_b_1024(void **state)
{
    (void)state;
    check("vit_b_1024", 1024);
}

/* Embeddings [n] of bf16, held against the file's of fp64. */
static float *in_bf16(bool low_bias, int64_t *n)
{
    /* The worst of 262144 numbers, in units of their root mean square. Each of 24 sums in a row is rounded by half of
     * 2^-8 of itself at most, and the last layer norm sees them all. */
    double used = 0, tol = 0.15;
    golden_net net;
    golden_pass p;
    net_open(&net, "vit_b", "vit_b_512", (const int64_t[]){1, 3, 512, 512});
    net.dtype = DRAM_BF16;
    net.low_bias = low_bias;
    pass_open(&net, &p, false, DRAM_BN_EVAL);
    net_fill(&net);
    run_io out = pass_out(&p, p.f.tap[0]);
    *n = dram_elements(dram_shape_of(p.g, p.f.tap[0]));
    run_graph(&net.run, p.g, p.in, p.n_in, &out, 1);
    net_compare_tap(&net, &p, 0, "embedding", out.data, tol, &used);
    printf("bf16, %s biases: worst error of the embedding, of its rms: %.1e\n", low_bias ? "bf16" : "f32", used * tol);
    pass_close(&p);
    net_close(&net);
    return out.data;
}

/* Both are near the golden numbers, and nearer to each other: 1 - cosine at most 2^-13 (docs/cuda.md). */
static void vit_b_rounded_biases(void **state)
{
    int64_t n, m;
    double wl = 0, ww = 0, ll = 0;
    (void)state;
    float *wide = in_bf16(false, &n), *low = in_bf16(true, &m);
    assert_int_equal(n, m);
    assert_int_equal(n, 32 * 32 * 256);
    for (int64_t i = 0; i < n; i++) {
        wl += (double)wide[i] * low[i];
        ww += (double)wide[i] * wide[i];
        ll += (double)low[i] * low[i];
    }
    double gap = 1 - wl / sqrt(ww * ll);
    printf("1 - cosine of rounded biases to f32 ones: %.1e\n", gap);
    assert_true(gap > 0 && gap <= 0x1p-13);
    free(wide);
    free(low);
}

int main(void)
{
#ifdef DRAM_SANITIZED
    printf("skipped: vit_b at 1024 takes minutes with sanitizers; the release build runs it\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(vit_b_512), cmocka_unit_test(vit_b_rounded_biases),
                                       cmocka_unit_test(vit_b_1024)};
    openblas_set_num_threads(1); /* the kernels cut products into tasks themselves */
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
