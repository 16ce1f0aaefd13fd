/* structure: a network as a graph, for what is asked of its names, shapes, counts and wiring; nothing is run. Include
 * after cmocka.h, and call dram_ops_init() first. */
#ifndef DRAM_TESTS_STRUCTURE_H
#define DRAM_TESTS_STRUCTURE_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/names.h"
#include "ops/call.h"

typedef struct {
    dram_slots slots;
    dram_graph *g;
    const dram_arch *arch;
    dram_val image;
    dram_build build;
    dram_features f;
} net;

static inline void net_open(net *n, int images, int h, int w)
{
    *n = (net){0};
    assert_int_equal(dram_graph_new("test", &n->slots, &n->g), DRAM_OK);
    n->image = dram_graph_input(n->g, "image", DRAM_F32, DRAM_SHAPE(images, h, w, 3));
    n->build = (dram_build){.g = n->g,
                            .group = "student",
                            .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                            .trainable = true,
                            .bn = DRAM_BN_TRAIN,
                            .zero_init_last = true};
}

static inline void net_close(net *n)
{
    dram_graph_free(n->g);
    dram_slots_free(&n->slots);
    dram_error_clear();
}

/* The trunk `name` over one image of h x w. */
static inline void net_trunk(net *n, const char *name, int h, int w)
{
    net_open(n, 1, h, w);
    n->arch = dram_arch_find(name);
    assert_non_null(n->arch);
    if (dram_trunk_build(&n->build, n->arch, n->image, &n->f) != DRAM_OK) fail_msg("%s: %s", name, dram_error_text());
}

static inline const dram_slot *slot(const net *n, const char *group, const char *name)
{
    int i = dram_slots_find(&n->slots, group, name);
    if (i == DRAM_NONE) fail_msg("there is no slot %s of %s", name, group);
    return n->slots.at[i];
}

static inline void assert_shape(const dram_shape *got, dram_shape want)
{
    char a[96], b[96];
    if (!dram_shape_equal(got, &want))
        fail_msg("shape %s, not %s", dram_format_shape(got, a, sizeof a), dram_format_shape(&want, b, sizeof b));
}

static inline int64_t parameters(const net *n)
{
    int64_t sum = 0;
    for (int i = 0; i < n->slots.n; i++)
        if (n->slots.at[i]->trainable) sum += dram_elements(&n->slots.at[i]->shape);
    return sum;
}

/* Entries of a state dict: slots, and a counter for each batch norm. */
static inline int entries(const net *n)
{
    int sum = n->slots.n;
    char counter[256];
    for (int i = 0; i < n->slots.n; i++) sum += dram_names_bn_counter(n->slots.at[i]->name, counter, sizeof counter);
    return sum;
}

static inline int count_nodes(const net *n, dram_op op)
{
    int sum = 0;
    for (int i = 0; i < n->g->n_nodes; i++) sum += n->g->nodes[i]->op == op;
    return sum;
}

static inline void with_group(net *n, const char *group)
{
    n->build.group = group;
}

static inline void check_file(const net *n, const char *name, dram_shape file, bool decays, dram_init init, double std)
{
    const dram_slot *s = slot(n, "student", name);
    dram_shape shape = dram_file_shape(s);
    assert_shape(&shape, file);
    if (s->decays != decays) fail_msg("%s: weight decay", name);
    if (s->init != init || !(fabs(s->init_std - std) <= 1e-6)) fail_msg("%s: init %d %g", name, s->init, s->init_std);
    bool statistic = strstr(name, ".running_") != NULL;
    assert_int_equal(s->trainable, !statistic);
}

#endif
