/* SAM's vit_b with hash weights: its embedding as transformers computes it at 1024 and timm at 512. Minutes under a
 * sanitizer, so there it is skipped. */
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

int main(void)
{
#ifdef DRAM_SANITIZED
    printf("skipped: vit_b at 1024 takes minutes with sanitizers; the release build runs it\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {cmocka_unit_test(vit_b_512), cmocka_unit_test(vit_b_1024)};
    openblas_set_num_threads(1); /* the kernels cut products into tasks themselves */
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
