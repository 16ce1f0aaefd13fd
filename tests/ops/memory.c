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

static dram_device *used;

void memory_use(dram_device *device)
{
    used = device;
}

static void need(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "%s: %s\n", what, dram_error_text());
    abort();
}

static unsigned char *take(int64_t bytes)
{
    void *memory;
    if (used)
        need(dram_device_alloc(used, DRAM_SPACE_DEVICE, bytes, &memory) == DRAM_OK, "no memory for a test value");
    else
        need((memory = aligned_alloc(ALIGN, (size_t)bytes)), "no memory for a test value");
    return memory;
}

static void put(void *to, const void *host, int64_t bytes)
{
    if (used)
        need(used->ops->write(used, to, host, bytes) == DRAM_OK, "a test value cannot be written");
    else
        memcpy(to, host, (size_t)bytes);
}

static void get(void *host, const void *from, int64_t bytes)
{
    if (used)
        need(used->ops->read(used, host, from, bytes) == DRAM_OK, "a test value cannot be read");
    else
        memcpy(host, from, (size_t)bytes);
}

static void junk(void *at, int64_t bytes)
{
    if (used)
        need(used->ops->fill(used, at, 0xff, bytes) == DRAM_OK, "a test value cannot be filled");
    else
        memset(at, 0xff, (size_t)bytes);
}

static int64_t end_of(const guarded *m)
{
    return (int64_t)((unsigned char *)m->data - m->base) + m->bytes;
}

static int64_t whole(const guarded *m)
{
    return (m->bytes + ALIGN - 1) / ALIGN * ALIGN + 2 * GUARD;
}

/* The memory of a simulated GPU is the host's too. */
static void lock(const guarded *m)
{
    ASAN_POISON_MEMORY_REGION(m->base, (size_t)GUARD);
    ASAN_POISON_MEMORY_REGION(m->base + end_of(m), (size_t)(whole(m) - end_of(m)));
}

guarded guarded_new(int64_t bytes)
{
    guarded m = {.bytes = bytes};
    m.base = take(whole(&m));
    m.data = m.base + GUARD;
    junk(m.base, whole(&m));
    lock(&m);
    return m;
}

void guarded_free(guarded *m)
{
    if (m->base) {
        ASAN_UNPOISON_MEMORY_REGION(m->base, (size_t)whole(m));
        if (used)
            dram_device_release(used, DRAM_SPACE_DEVICE, m->base, whole(m));
        else
            free(m->base);
    }
    *m = (guarded){0};
}

static bool all_junk(const unsigned char *at, int64_t bytes)
{
    unsigned char seen[GUARD + ALIGN];
    bool good = true;
    get(seen, at, bytes);
    for (int64_t i = 0; i < bytes; i++) good &= seen[i] == 0xff;
    return good;
}

bool guarded_intact(const guarded *m)
{
    ASAN_UNPOISON_MEMORY_REGION(m->base, (size_t)whole(m));
    bool good = all_junk(m->base, GUARD) && all_junk(m->base + end_of(m), whole(m) - end_of(m));
    lock(m);
    return good;
}

void guarded_junk(guarded *m)
{
    junk(m->data, m->bytes);
}

void guarded_write(guarded *m, const void *host)
{
    put(m->data, host, m->bytes);
}

void guarded_read(const guarded *m, void *host)
{
    get(host, m->data, m->bytes);
}

static void *copy_of(const guarded *m)
{
    void *host = malloc((size_t)m->bytes + 1);
    need(host, "no memory for a test value");
    guarded_read(m, host);
    return host;
}

bool guarded_equal(const guarded *a, const guarded *b)
{
    void *x = copy_of(a), *y = copy_of(b);
    bool equal = a->bytes == b->bytes && memcmp(x, y, (size_t)a->bytes) == 0;
    free(x);
    free(y);
    return equal;
}

void guarded_copy(guarded *to, const guarded *from)
{
    void *host = copy_of(from);
    guarded_write(to, host);
    free(host);
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
        if (before[i].bytes) guarded_copy(&before[i], &r->value[node->in[i]]);
    }
    if (used) args->device = used->ops->shared(used, DRAM_QUEUE_COMPUTE);
    if (!r->kernels[node->op])
        wrong = "has no kernel";
    else if (r->kernels[node->op](args) != DRAM_OK || (used && used->ops->finish(used) != DRAM_OK))
        wrong = dram_error_text();
    if (!wrong && !guarded_intact(&workspace)) wrong = "writes outside its workspace";
    for (int i = 0; i < node->n_in; i++) {
        if (!wrong && before[i].bytes && !guarded_equal(&before[i], &r->value[node->in[i]])) wrong = "changes an input";
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
            junk(args.out[o].data, out[o].bytes);
        } else {
            guarded_copy(alias >= 0 ? &out[o] : &r->value[node->out[o]], &r->value[node->in[from]]);
            redirect(&args, node, node->in[from], args.out[o].data);
        }
    }
    wrong = call(r, node, &args);
    for (int o = 0; o < node->n_out; o++) {
        const guarded *written = alias >= 0 ? &out[o] : &r->value[node->out[o]];
        if (!wrong && !guarded_intact(written)) wrong = "writes outside an output";
        if (!wrong && alias >= 0 && !guarded_equal(&out[o], &r->value[node->out[o]]))
            wrong = "gives other bits in place";
        guarded_free(&out[o]);
    }
    return wrong;
}
