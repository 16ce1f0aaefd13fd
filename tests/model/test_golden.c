/* Whole networks against numbers recorded from PyTorch, timm and transformers (tests/golden/): outputs, running
 * statistics and the gradients of all parameters. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cblas.h>
#include <cmocka.h>

#include "golden_net.h"

typedef struct {
    double output, eval, running, loss, gradient;
} shares;

/* The trained pass: taps, loss, gradients, and what the running statistics became. */
static void check_training(golden_net *net, const char *tap_format, shares tol, shares *used)
{
    golden_pass p;
    pass_open(net, &p, true, DRAM_BN_TRAIN);
    net_fill(net);
    run_io *out = net_memory((size_t)(net->slots.n + NET_TAPS) * sizeof *out);
    int *slot = net_memory((size_t)(net->slots.n + NET_TAPS) * sizeof *slot), n = 0, running = 0;
    for (int k = 0; k < p.f.n; k++) out[n++] = pass_out(&p, p.f.tap[k]);
    for (int i = 0; i < net->slots.n; i++) {
        if (!net->slots.at[i]->trainable) continue;
        if (p.gradient[i] == DRAM_NONE) fail_msg("%s has no gradient", net->slots.at[i]->name);
        slot[n] = i;
        out[n++] = pass_out(&p, p.gradient[i]);
    }
    run_graph(&net->run, p.g, p.in, p.n_in, out, n);
    for (int k = 0; k < p.f.n; k++) {
        char name[32];
        snprintf(name, sizeof name, tap_format, k);
        net_compare_tap(net, &p, k, name, out[k].data, tol.output, &used->output);
    }
    char why[512];
    float loss = (float)pass_loss(&p, out);
    net_check(
        golden_compare(net->st, "loss", &loss, 1, (const int64_t[]){1}, GOLDEN_FILE, tol.loss, 0, why, sizeof why), why,
        &used->loss);
    for (int i = p.f.n; i < n; i++) net_compare_slot(net, "grad:", slot[i], out[i].data, tol.gradient, &used->gradient);
    for (int i = 0; i < net->slots.n; i++) {
        if (net->slots.at[i]->trainable) continue;
        net_compare_slot(net, "running:", i, run_slot(&net->run, i), tol.running, &used->running);
        running++;
    }
    assert_int_equal(net_entries(net, "grad:"), n - p.f.n); /* nothing recorded is left out */
    assert_int_equal(net_entries(net, "running:"), running);
    for (int i = 0; i < n; i++) free(out[i].data);
    free(out);
    free(slot);
    pass_close(&p);
}

static void check_vit(const char *file, int64_t h, int64_t w)
{
    /* In units of the tensor's root mean square. Through six blocks of some 50 roundings of 6e-8 each, forward and
     * back, PyTorch's own fp32 is off by 1.5e-5. What is promised is 1e-4. */
    const shares tol = {.output = 3e-5, .loss = 1e-4, .gradient = 5e-5};
    shares used = {0};
    golden_net net;
    net_open(&net, "vit_micro", file, (const int64_t[]){2, 3, h, w});
    check_training(&net, "embedding", tol, &used);
    printf("%s: worst error, of the tensor's rms: embedding %.1e, loss %.1e, gradients %.1e\n", file,
           used.output * tol.output, used.loss * tol.loss, used.gradient * tol.gradient);
    net_close(&net);
}

static void vit_micro_256(void **state)
{
    (void)state;
    check_vit("vit_micro_256", 256, 256);
}

static void vit_micro_320(void **state)
{
    (void)state;
    check_vit("vit_micro_320", 320, 320);
}

static void vit_micro_320x192(void **state)
{
    (void)state;
    check_vit("vit_micro_320x192", 320, 192);
}

/* An embedding alone. native: the side that the weights are of, 0 for the network's own. */
static void check_embedding(const char *arch, const char *file, int native, int64_t h, int64_t w)
{
    golden_net net;
    golden_pass p;
    double used = 0, tol = 3e-5; /* as above */
    net_open(&net, arch, file, (const int64_t[]){1, 3, h, w});
    net.native = native;
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

static void vit_tiny_256(void **state)
{
    (void)state;
    check_embedding("vit_tiny", "vit_tiny_256", 0, 256, 256);
}

/* Fine-tuned at another size: its own table of positions, at that size and at another. */
static void vit_of_another_size(void **state)
{
    (void)state;
    check_embedding("vit_micro", "vit_micro_native_512", 512, 512, 512);
    check_embedding("vit_micro", "vit_micro_native_512_at_320x192", 512, 320, 192);
#ifndef DRAM_SANITIZED
    check_embedding("vit_b", "vit_b_native_256", 256, 256, 256);
#endif
}

static void check_regnet(const char *arch)
{
    /* In units of the tensor's root mean square. Training divides by spreads that some dozens of values give, so
     * rounding grows from block to block: PyTorch's own fp32 is off by 4e-4 in the gradients. What is promised is
     * 1e-3. */
    const shares tol = {.output = 5e-4, .eval = 5e-5, .running = 5e-5, .loss = 2e-4, .gradient = 1e-3};
    shares used = {0};
    golden_net net;
    golden_pass p;
    net_open(&net, arch, arch, (const int64_t[]){2, 3, 128, 96});
    pass_open(&net, &p, false, DRAM_BN_EVAL);
    net_fill(&net);
    run_io out[NET_TAPS];
    for (int k = 0; k < p.f.n; k++) out[k] = pass_out(&p, p.f.tap[k]);
    run_graph(&net.run, p.g, p.in, p.n_in, out, p.f.n);
    for (int k = 0; k < p.f.n; k++) {
        char name[16];
        snprintf(name, sizeof name, "eval:%d", k);
        net_compare_tap(&net, &p, k, name, out[k].data, tol.eval, &used.eval);
        free(out[k].data);
    }
    pass_close(&p);
    run_close(&net.run); /* the same weights, but now trainable */
    dram_slots_free(&net.slots);
    run_open(&net.run, &net.slots, 2);
    check_training(&net, "train:%d", tol, &used);
    printf("%s: worst error, of the tensor's rms: eval %.1e, train %.1e, loss %.1e, running %.1e, gradients %.1e\n",
           arch, used.eval * tol.eval, used.output * tol.output, used.loss * tol.loss, used.running * tol.running,
           used.gradient * tol.gradient);
    net_close(&net);
}

static void regnetx_004(void **state)
{
    (void)state;
    check_regnet("regnetx_004");
}

static void regnety_004(void **state)
{
    (void)state;
    check_regnet("regnety_004");
}

static void regnety_016(void **state)
{
    (void)state;
    check_regnet("regnety_016");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vit_micro_256), cmocka_unit_test(vit_micro_320),       cmocka_unit_test(vit_micro_320x192),
        cmocka_unit_test(vit_tiny_256),  cmocka_unit_test(regnetx_004),         cmocka_unit_test(regnety_004),
        cmocka_unit_test(regnety_016),   cmocka_unit_test(vit_of_another_size),
    };
    openblas_set_num_threads(1); /* the kernels cut products into tasks themselves */
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
