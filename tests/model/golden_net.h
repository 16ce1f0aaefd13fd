/* golden_net: a trunk with the hash weights of tests/golden/, run by tests/support/run_graph.h and held against the
 * recorded file. Include after cmocka.h; link dram_device and dram_io. Every failure fails the test. */
#ifndef DRAM_TESTS_GOLDEN_NET_H
#define DRAM_TESTS_GOLDEN_NET_H

#include "base/half.h"
#include "model/names.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "support/golden.h"
#include "support/run_graph.h"

enum { NET_TAPS = 5 };

typedef struct {
    const dram_arch *arch;
    int native;       /* of its weights; 0: the network's own */
    dram_dtype dtype; /* f32, or what it is run in without a gradient; taps are f32 again */
    bool low_bias;    /* biases of linears in that type too */
    dram_st *st;
    dram_slots slots;
    run_state run;
    int64_t image[4]; /* N, 3, H, W */
    float *pixels;    /* NHWC */
} golden_net;

/* The trunk in a graph, and where its loss sum_k <f_k, r_k> / elements(f_k) enters the backward. */
typedef struct {
    dram_graph *g;
    dram_features f;
    dram_val seed[NET_TAPS];
    dram_val *weight;   /* of each slot: as the forward reads it, DRAM_NONE if it does not */
    dram_val *gradient; /* of each slot: DRAM_NONE if there is none */
    run_io in[NET_TAPS + 4];
    int n_in;
} golden_pass;

static inline void *net_memory(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    assert_non_null(memory);
    return memory;
}

static inline void net_open(golden_net *net, const char *arch, const char *file, const int64_t image[4])
{
    *net = (golden_net){.arch = dram_arch_find(arch)};
    assert_non_null(net->arch);
    if (golden_open(DRAM_SOURCE_DIR, file, &net->st) != DRAM_OK) fail_msg("%s", dram_error_text());
    memcpy(net->image, image, sizeof net->image);
    net->pixels = net_memory((size_t)(image[0] * image[1] * image[2] * image[3]) * sizeof(float));
    hash_weight_nhwc("input", image, net->pixels);
    run_open(&net->run, &net->slots, 2);
}

static inline void net_close(golden_net *net)
{
    run_close(&net->run);
    dram_slots_free(&net->slots);
    dram_st_close(net->st);
    free(net->pixels);
}

/* "grad:" and the name under which the weights are hashed: Meta's for a ViT, timm's for a RegNet. */
static inline const char *net_name(const golden_net *net, const char *prefix, int slot)
{
    static char full[320];
    char name[256];
    dram_names names = strncmp(net->arch->name, "regnet", 6) == 0 ? DRAM_NAMES_TIMM : DRAM_NAMES_META; /* as recorded */
    if (!dram_names_of(net->arch, names, net->slots.at[slot]->name, name, sizeof name)) fail();
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return full;
}

/* Appends the trunk, and its backward if `train`. */
static inline void pass_open(golden_net *net, golden_pass *p, bool train, dram_bn_mode bn)
{
    dram_backward *b = NULL;
    *p = (golden_pass){0};
    assert_int_equal(dram_graph_new("golden", &net->slots, &p->g), DRAM_OK);
    dram_val image = dram_graph_input(p->g, "image", DRAM_F32,
                                      DRAM_SHAPE(net->image[0], net->image[2], net->image[3], net->image[1]));
    p->in[p->n_in++] = (run_io){image, net->pixels};
    const dram_build build = {.g = p->g,
                              .group = "student",
                              .trainable = train,
                              .bn = bn,
                              .native = net->native,
                              .dtype = net->dtype,
                              .low_bias = net->low_bias};
    if (net->dtype != DRAM_F32) image = DRAM_CALL(p->g, cast, "low", DRAM_ATTR(.dtype = (int)net->dtype), image);
    if (dram_trunk_build(&build, net->arch, image, &p->f) != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int k = 0; net->dtype != DRAM_F32 && k < p->f.n; k++)
        p->f.tap[k] = DRAM_CALL(p->g, cast, "tap", DRAM_ATTR(.dtype = DRAM_F32), p->f.tap[k]);
    int n_values = p->g->n_values;
    p->weight = net_memory((size_t)net->slots.n * sizeof *p->weight);
    p->gradient = net_memory((size_t)net->slots.n * sizeof *p->gradient);
    for (int i = 0; i < net->slots.n; i++) p->weight[i] = p->gradient[i] = DRAM_NONE;
    for (int k = 0; train && k < p->f.n; k++) {
        char name[16];
        const dram_shape *s = dram_shape_of(p->g, p->f.tap[k]);
        int64_t dim[4] = {s->dim[0], s->dim[3], s->dim[1], s->dim[2]}, n = dram_elements(s);
        float *r = net_memory((size_t)n * sizeof *r);
        snprintf(name, sizeof name, p->f.n == 1 ? "r" : "r%d", k);
        hash_weight_nhwc(name, dim, r);
        for (int64_t i = 0; i < n; i++) r[i] = (float)((double)r[i] / (double)n);
        p->seed[k] = dram_graph_input(p->g, name, DRAM_F32, *s);
        p->in[p->n_in++] = (run_io){p->seed[k], r};
    }
    if (train && dram_backward_build(p->g, p->f.tap, p->seed, p->f.n, &b) != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int v = 0; v < n_values; v++) {
        const dram_value *value = dram_value_at(p->g, v);
        if (value->kind != DRAM_VALUE_SLOT) continue;
        p->weight[value->slot] = v;
        if (train) p->gradient[value->slot] = dram_gradient_of(b, v);
    }
    dram_backward_free(b);
}

static inline void pass_close(golden_pass *p)
{
    for (int i = 1; i < p->n_in; i++) free(p->in[i].data);
    free(p->weight);
    free(p->gradient);
    dram_graph_free(p->g);
}

/* Gives the trunk's slots their hash weights, in the file's layout turned to ours; a "set:" entry of the file holds. */
static inline void net_fill(golden_net *net)
{
    int n_set = 0;
    for (int i = 0; i < net->slots.n; i++) {
        const dram_slot *slot = net->slots.at[i];
        if (strcmp(slot->group, "student") != 0) continue;
        dram_shape shape = dram_file_shape(slot);
        float *w = net_memory((size_t)dram_elements(&shape) * sizeof *w);
        hash_weight(net_name(net, "", i), shape.rank, shape.dim, 0, dram_elements(&shape), w);
        golden_entry set;
        char why[512];
        if (dram_st_find(net->st, net_name(net, "set:", i))) {
            if (golden_read(net->st, net_name(net, "set:", i), &set, why, sizeof why) != 0) fail_msg("%s", why);
            assert_int_equal(set.kept, dram_elements(&shape));
            memcpy(w, set.values, (size_t)set.kept * sizeof *w);
            free(set.values);
            n_set++;
        }
        for (int64_t k = 0; slot->dtype != DRAM_F32 && k < dram_elements(&shape); k++) { /* read before it is written */
            uint16_t h = slot->dtype == DRAM_BF16 ? dram_f32_to_bf16(w[k]) : dram_f32_to_f16(w[k]);
            memcpy((char *)w + k * (int64_t)sizeof h, &h, sizeof h);
        }
        dram_from_file_order(slot, (size_t)dram_dtype_bytes(slot->dtype), w, run_slot(&net->run, i));
        free(w);
    }
    int in_file = 0;
    for (int k = 0; k < dram_st_count(net->st); k++) in_file += strncmp(dram_st_at(net->st, k)->name, "set:", 4) == 0;
    assert_int_equal(n_set, in_file);
}

static inline run_io pass_out(const golden_pass *p, dram_val v)
{
    return (run_io){v, net_memory((size_t)dram_value_bytes(dram_value_at(p->g, v)))};
}

/* Largest share of the allowance used so far, by kind of number: printed, so that a drift is seen before it fails. */
static inline void net_check(double used, const char *why, double *worst)
{
    if (!(used <= 1)) fail_msg("%s (%.3g of what is allowed)", why, used);
    if (used > *worst) *worst = used;
}

/* A tap [N,H,W,C] against an entry of the file's [N,C,H,W]. */
static inline void net_compare_tap(const golden_net *net, const golden_pass *p, int k, const char *entry,
                                   const float *got, double tol, double *worst)
{
    char why[512];
    const dram_shape *s = dram_shape_of(p->g, p->f.tap[k]);
    const int64_t dim[4] = {s->dim[0], s->dim[3], s->dim[1], s->dim[2]};
    net_check(golden_compare(net->st, entry, got, 4, dim, GOLDEN_NHWC, tol, 0, why, sizeof why), why, worst);
}

/* Numbers of a slot's shape in our order against the entry "PREFIX:NAME". */
static inline void net_compare_slot(const golden_net *net, const char *prefix, int slot, const float *got, double tol,
                                    double *worst)
{
    char why[512];
    dram_shape shape = dram_file_shape(net->slots.at[slot]);
    float *file = net_memory((size_t)dram_elements(&shape) * sizeof *file);
    dram_to_file_order(net->slots.at[slot], sizeof *file, got, file);
    double used = golden_compare(net->st, net_name(net, prefix, slot), file, shape.rank, shape.dim, GOLDEN_FILE, tol, 0,
                                 why, sizeof why);
    free(file);
    net_check(used, why, worst);
}

/* sum_k <f_k, r_k> / elements(f_k) of taps copied out as out[0..n). */
static inline double pass_loss(const golden_pass *p, const run_io *out)
{
    double loss = 0;
    for (int k = 0; k < p->f.n; k++) {
        const float *y = out[k].data, *r = p->in[1 + k].data;
        for (int64_t i = 0; i < dram_elements(dram_shape_of(p->g, p->f.tap[k])); i++) loss += (double)y[i] * r[i];
    }
    return loss;
}

/* Entries of the file that begin so. */
static inline int net_entries(const golden_net *net, const char *prefix)
{
    int n = 0;
    for (int k = 0; k < dram_st_count(net->st); k++)
        n += strncmp(dram_st_at(net->st, k)->name, prefix, strlen(prefix)) == 0;
    return n;
}

#endif
