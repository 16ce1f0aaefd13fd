#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

/* Guards hold NaN, so that a sum that reaches into them shows it, and under ASan reading them is an error too. */
enum { GUARD = 256, ALIGN = 64 };

static int64_t end_of(const guarded *m)
{
    return (int64_t)((unsigned char *)m->data - m->base) + m->bytes;
}

static int64_t whole(const guarded *m)
{
    return (m->bytes + ALIGN - 1) / ALIGN * ALIGN + 2 * GUARD;
}

static void lock(const guarded *m)
{
    ASAN_POISON_MEMORY_REGION(m->base, (size_t)GUARD);
    ASAN_POISON_MEMORY_REGION(m->base + end_of(m), (size_t)(whole(m) - end_of(m)));
}

guarded guarded_new(int64_t bytes)
{
    guarded m = {.bytes = bytes};
    m.base = aligned_alloc(ALIGN, (size_t)whole(&m));
    if (!m.base) {
        fprintf(stderr, "no memory for a test value of %lld bytes\n", (long long)bytes);
        abort();
    }
    m.data = m.base + GUARD;
    memset(m.base, 0xff, (size_t)whole(&m));
    lock(&m);
    return m;
}

void guarded_free(guarded *m)
{
    if (m->base) ASAN_UNPOISON_MEMORY_REGION(m->base, (size_t)whole(m));
    free(m->base);
    *m = (guarded){0};
}

bool guarded_intact(const guarded *m)
{
    bool good = true;
    ASAN_UNPOISON_MEMORY_REGION(m->base, (size_t)whole(m));
    for (int64_t i = 0; i < GUARD; i++) good &= m->base[i] == 0xff;
    for (int64_t i = end_of(m); i < whole(m); i++) good &= m->base[i] == 0xff;
    lock(m);
    return good;
}

void guarded_junk(guarded *m)
{
    memset(m->data, 0xff, (size_t)m->bytes);
}

bool memory_may_alias(const dram_graph *g, const dram_node *node, int i)
{
    if (i >= node->n_in || node->in[i] == DRAM_NONE || !(dram_op_rows[node->op].alias >> i & 1)) return false;
    return dram_value_bytes(dram_value_at(g, node->in[i])) == dram_value_bytes(dram_value_at(g, node->out[0]));
}

static dram_tensor tensor_of(const memory_run *r, dram_val v)
{
    const dram_value *value = dram_value_at(r->graph, v);
    return (dram_tensor){.data = r->value[v].data, .dtype = value->dtype, .shape = value->shape};
}

/* Points the places that read value v at `data` instead. */
static void redirect(dram_kernel_args *args, const dram_node *node, dram_val v, void *data)
{
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] == v) args->in[i].data = data;
}

static const char *call(const memory_run *r, const dram_node *node, dram_kernel_args *args)
{
    const char *wrong = NULL;
    guarded before[DRAM_MAX_IN];
    int64_t bytes = dram_node_workspace(r->graph, node, &r->profile);
    guarded workspace = guarded_new(bytes);
    args->workspace = bytes ? workspace.data : NULL;
    args->workspace_bytes = bytes;
    for (int i = 0; i < node->n_in; i++) {
        before[i] = guarded_new(node->in[i] == DRAM_NONE ? 0 : r->value[node->in[i]].bytes);
        if (before[i].bytes) memcpy(before[i].data, r->value[node->in[i]].data, (size_t)before[i].bytes);
    }
    if (r->kernels[node->op](args) != DRAM_OK) wrong = dram_error_text();
    if (!wrong && !guarded_intact(&workspace)) wrong = "writes outside its workspace";
    for (int i = 0; i < node->n_in; i++) {
        if (!wrong && before[i].bytes && memcmp(before[i].data, r->value[node->in[i]].data, (size_t)before[i].bytes))
            wrong = "changes an input";
        if (!wrong && node->in[i] != DRAM_NONE && !guarded_intact(&r->value[node->in[i]]))
            wrong = "writes outside an input";
        guarded_free(&before[i]);
    }
    guarded_free(&workspace);
    return wrong;
}

const char *memory_run_node(const memory_run *r, const dram_node *node, int alias)
{
    const char *wrong = NULL;
    guarded out[DRAM_MAX_OUT];
    dram_kernel_args args = {.n_in = node->n_in, .n_out = node->n_out, .attr = &node->attr, .pool = r->pool};
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] != DRAM_NONE) args.in[i] = tensor_of(r, node->in[i]);
    for (int o = 0; o < node->n_out; o++) {
        int from = alias >= 0 && o == 0 ? alias : dram_op_updates(node->op, o);
        args.out[o] = tensor_of(r, node->out[o]);
        out[o] = guarded_new(r->value[node->out[o]].bytes);
        if (alias >= 0) args.out[o].data = out[o].data;
        if (from == DRAM_NONE) {
            memset(args.out[o].data, 0xff, (size_t)out[o].bytes);
        } else {
            memcpy(args.out[o].data, r->value[node->in[from]].data, (size_t)out[o].bytes);
            redirect(&args, node, node->in[from], args.out[o].data);
        }
    }
    wrong = call(r, node, &args);
    for (int o = 0; o < node->n_out; o++) {
        const guarded *written = alias >= 0 ? &out[o] : &r->value[node->out[o]];
        if (!wrong && !guarded_intact(written)) wrong = "writes outside an output";
        if (!wrong && alias >= 0 && memcmp(out[o].data, r->value[node->out[o]].data, (size_t)out[o].bytes))
            wrong = "gives other bits in place";
        guarded_free(&out[o]);
    }
    return wrong;
}
