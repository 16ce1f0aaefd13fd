/* The collective nodes on a transport, by several ranks: mpirun.sh N test_comm_collective. Every rank can make what any
 * other has, and so knows what must come. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/ranks.h"
#include "base/rng.h"
#include "comm/ranks.h"
#include "support/ok.h"

enum { GUARD = 64, NODES_MOST = 8 }; /* bytes before and behind a buffer, of this pattern: */
static const unsigned char PATTERN = 0xa5;

static dram_comm *comm;
static dram_device *device;
static int rank, size;
static int64_t compared;

/* Element i of what a rank has: of very different sizes, so that the order of a sum shows. */
static float number(int of_rank, int64_t i)
{
    dram_rng r = dram_rng_make((uint64_t)of_rank, DRAM_RNG_TEST, (uint64_t)i);
    float x = (float)dram_rng_range(&r, -1, 1);
    return ldexpf(x, (int)dram_rng_below(&r, 12));
}

/* ---- buffers between guards ---- */

typedef struct {
    char *whole, *data; /* of the device */
    int64_t bytes;
} buffer;

static buffer make(int64_t bytes)
{
    buffer b = {.bytes = bytes};
    void *memory;
    ok(dram_device_alloc(device, DRAM_SPACE_DEVICE, bytes + 2 * GUARD, &memory));
    b.whole = memory;
    b.data = b.whole + GUARD;
    ok(device->ops->fill(device, b.whole, PATTERN, bytes + 2 * GUARD));
    return b;
}

static void drop(buffer *b)
{
    unsigned char guard[2 * GUARD];
    ok(device->ops->read(device, guard, b->whole, GUARD));
    ok(device->ops->read(device, guard + GUARD, b->data + b->bytes, GUARD));
    for (int i = 0; i < 2 * GUARD; i++) assert_int_equal(guard[i], PATTERN);
    dram_device_release(device, DRAM_SPACE_DEVICE, b->whole, b->bytes + 2 * GUARD);
}

static void put(const buffer *b, int64_t at, const void *bytes, int64_t n)
{
    if (n > 0) ok(device->ops->write(device, b->data + at, bytes, n));
}

/* ---- a node ---- */

typedef struct {
    int64_t n; /* elements of the whole */
    buffer x, out, workspace;
    bool in_place;
    dram_attr attr;
    dram_kernel_args args;
} node;

typedef struct {
    dram_op op;
    int mode;
    dram_dtype dtype;
    bool in_place;
} kind;

static int64_t unit(const kind *k)
{
    return dram_dtype_bytes(k->dtype);
}

static int64_t shard(int64_t n)
{
    return dram_rank_shard(n, size);
}

/* The bytes of element i of what a rank has. */
static void element(const kind *k, int of_rank, int64_t i, void *bytes)
{
    float x = number(of_rank, i);
    uint16_t half = dram_f32_to_bf16(x);
    memcpy(bytes, k->dtype == DRAM_F32 ? (void *)&x : (void *)&half, (size_t)unit(k));
}

/* Elements first .. first + n of what this rank has, to element `at` of the buffer. */
static void put_own(const kind *k, const buffer *b, int64_t at, int64_t first, int64_t n)
{
    char *bytes = malloc((size_t)(n * unit(k) + 1));
    assert_non_null(bytes);
    for (int64_t i = 0; i < n; i++) element(k, rank, first + i, bytes + i * unit(k));
    put(b, at * unit(k), bytes, n * unit(k));
    free(bytes);
}

/* How many elements of the shard of `rank` lie in the whole. */
static int64_t valid(int64_t n)
{
    int64_t left = n - rank * shard(n);
    return left < 0 ? 0 : left < shard(n) ? left : shard(n);
}

static int64_t elements_in(const kind *k, int64_t n)
{
    return k->op == DRAM_OP_all_gather ? shard(n) : n;
}

static int64_t elements_out(const kind *k, int64_t n)
{
    return k->op == DRAM_OP_reduce_scatter ? shard(n) : k->op == DRAM_OP_gather_ranks ? size * n : n;
}

static int64_t workspace_elements(const kind *k, int64_t n)
{
    if (k->mode == DRAM_REDUCE_FAST) return 0;
    if (k->op == DRAM_OP_all_reduce || k->op == DRAM_OP_all_reduce_into) return dram_rank_workspace(n, size);
    return k->op == DRAM_OP_reduce_scatter ? size * shard(n) : 0;
}

static void begin(const kind *k, int64_t n, node *d)
{
    *d = (node){.n = n, .in_place = k->in_place, .attr = {.ranks = size, .mode = k->mode}};
    d->x = make(elements_in(k, n) * unit(k));
    d->out = d->in_place ? d->x : make(elements_out(k, n) * unit(k));
    d->workspace = make(workspace_elements(k, n) * (int64_t)sizeof(float));
    if (k->op == DRAM_OP_all_gather)
        put_own(k, &d->x, 0, rank * shard(n), valid(n));
    else if (k->op == DRAM_OP_all_gather_into)
        put_own(k, &d->x, rank * shard(n), rank * shard(n), valid(n));
    else
        put_own(k, &d->x, 0, 0, n);
    d->args = (dram_kernel_args){.n_in = 1,
                                 .n_out = 1,
                                 .attr = &d->attr,
                                 .workspace = d->workspace.data,
                                 .workspace_bytes = d->workspace.bytes,
                                 .pool = device->pool};
    if (device->ops->asynchronous) d->args.device = device->ops->shared(device, DRAM_QUEUE_COMM);
    d->args.in[0] = (dram_tensor){.data = d->x.data, .dtype = k->dtype, .shape = DRAM_SHAPE(elements_in(k, n))};
    d->args.out[0] = (dram_tensor){.data = d->out.data, .dtype = k->dtype, .shape = DRAM_SHAPE(elements_out(k, n))};
    if (k->op == DRAM_OP_gather_ranks) d->args.out[0].shape = DRAM_SHAPE(size, n);
}

static void end(node *d)
{
    drop(&d->x);
    if (!d->in_place) drop(&d->out);
    drop(&d->workspace);
}

/* ---- what must come ---- */

/* The sum of element i, in the order of ranks. */
static float sum_of(int64_t i)
{
    float sum = 0;
    for (int r = 0; r < size; r++) sum += number(r, i);
    return sum;
}

static void check_sum(const kind *k, float got, int64_t i)
{
    double exact = 0, all = 0;
    for (int r = 0; r < size; r++) {
        exact += number(r, i);
        all += fabs(number(r, i));
    }
    if (fabs(got - exact) > size * 0x1p-24 * all) fail_msg("element %lld: %.9g, not %.9g", (long long)i, got, exact);
    float want = sum_of(i);
    if (k->mode == DRAM_REDUCE_ORDERED && memcmp(&got, &want, sizeof want) != 0)
        fail_msg("element %lld: %.9g, in the order of ranks %.9g", (long long)i, got, want);
}

/* Whose element i of the output is, and which of his. */
static void check_gathered(const kind *k, const char *got, int64_t n, int64_t i)
{
    char want[8];
    int owner = (int)(k->op == DRAM_OP_gather_ranks ? i / n : i / shard(n));
    element(k, owner, k->op == DRAM_OP_gather_ranks ? i % n : i, want);
    if (memcmp(got, want, (size_t)unit(k)) != 0) fail_msg("element %lld is not that of rank %d", (long long)i, owner);
}

static void check(const kind *k, const node *d)
{
    const int64_t n = elements_out(k, d->n);
    char *out = malloc((size_t)(n * unit(k)));
    assert_non_null(out);
    ok(device->ops->read(device, out, d->out.data, n * unit(k)));
    for (int64_t i = 0; i < n; i++, compared++) {
        float got;
        memcpy(&got, out + i * unit(k), k->dtype == DRAM_F32 ? sizeof got : 2);
        if (k->op == DRAM_OP_all_reduce || k->op == DRAM_OP_all_reduce_into)
            check_sum(k, got, i);
        else if (k->op != DRAM_OP_reduce_scatter)
            check_gathered(k, out + i * unit(k), d->n, i);
        else if (i < valid(d->n))
            check_sum(k, got, rank * shard(d->n) + i);
        else
            assert_true(got == 0); /* beyond the end */
    }
    free(out);
}

/* Nodes of these sizes in one call. */
static void run(kind k, const int64_t *n, int count)
{
    static node nodes[NODES_MOST];
    const dram_kernel_args *args[NODES_MOST];
    assert_true(count <= NODES_MOST);
    for (int i = 0; i < count; i++) {
        begin(&k, n[i], &nodes[i]);
        args[i] = &nodes[i].args;
    }
    void *stream = device->ops->asynchronous ? device->ops->stream(device, DRAM_QUEUE_COMM) : NULL;
    ok(device->collectives->run(device->comm, k.op, args, count, stream));
    if (device->ops->asynchronous) ok(device->ops->finish(device));
    for (int i = 0; i < count; i++) {
        check(&k, &nodes[i]);
        end(&nodes[i]);
    }
}

/* ---- tests ---- */

/* The sizes around which something changes: ranks, a block of a shard, a task of a kernel, a small tensor. */
static int sizes(int64_t *n)
{
    const int64_t all[] = {1,    size - 1, size,       size + 1,       255,   256,   257,    4095,
                           4096, 4097,     size * 256, size * 256 + 1, 16384, 16385, 100003, 200000 + size};
    memcpy(n, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static void all_sizes(kind k)
{
    int64_t n[16];
    int count = sizes(n);
    assert_true(count <= 16);
    for (int i = 0; i < count; i++) run(k, &n[i], 1);
    run(k, n, NODES_MOST);
    run(k, n + count - NODES_MOST, NODES_MOST);
}

static void all_reduce_ordered(void **state)
{
    (void)state;
    all_sizes((kind){DRAM_OP_all_reduce, DRAM_REDUCE_ORDERED, DRAM_F32, false});
    all_sizes((kind){DRAM_OP_all_reduce, DRAM_REDUCE_ORDERED, DRAM_F32, true});
    all_sizes((kind){DRAM_OP_all_reduce_into, DRAM_REDUCE_ORDERED, DRAM_F32, true});
}

static void all_reduce_fast(void **state)
{
    (void)state;
    all_sizes((kind){DRAM_OP_all_reduce, DRAM_REDUCE_FAST, DRAM_F32, false});
    all_sizes((kind){DRAM_OP_all_reduce, DRAM_REDUCE_FAST, DRAM_F32, true});
}

static void reduce_scatter(void **state)
{
    (void)state;
    all_sizes((kind){DRAM_OP_reduce_scatter, DRAM_REDUCE_ORDERED, DRAM_F32, false});
    all_sizes((kind){DRAM_OP_reduce_scatter, DRAM_REDUCE_FAST, DRAM_F32, false});
}

static void other_ops_are_refused(void **state)
{
    (void)state;
    const kind k = {DRAM_OP_all_reduce, DRAM_REDUCE_ORDERED, DRAM_F32, true};
    node d;
    const dram_kernel_args *args = &d.args;
    begin(&k, 5, &d);
    assert_int_equal(device->collectives->run(device->comm, DRAM_OP_relu, &args, 1, NULL), DRAM_ERR_INTERNAL);
    dram_error_clear();
    end(&d);
}

static void gathers(void **state)
{
    (void)state;
    all_sizes((kind){DRAM_OP_all_gather, 0, DRAM_F32, false});
    all_sizes((kind){DRAM_OP_all_gather, 0, DRAM_BF16, false});
    all_sizes((kind){DRAM_OP_all_gather_into, 0, DRAM_F32, true});
    all_sizes((kind){DRAM_OP_gather_ranks, 0, DRAM_F32, false});
}

/* Zeros of both signs: 0 + -0 is 0 for any number of ranks. */
static void zeros_are_positive(void **state)
{
    (void)state;
    const kind k = {DRAM_OP_all_reduce, DRAM_REDUCE_ORDERED, DRAM_F32, true};
    const int64_t lengths[] = {5, 20000};
    for (int i = 0; i < 2; i++) {
        node d;
        const dram_kernel_args *args = &d.args;
        begin(&k, lengths[i], &d);
        float *zero = malloc((size_t)d.x.bytes);
        assert_non_null(zero);
        for (int64_t e = 0; e < d.n; e++) zero[e] = -0.0f;
        put(&d.x, 0, zero, d.x.bytes);
        ok(device->collectives->run(device->comm, k.op, &args, 1,
                                    device->ops->asynchronous ? device->ops->stream(device, DRAM_QUEUE_COMM) : NULL));
        if (device->ops->asynchronous) ok(device->ops->finish(device));
        ok(device->ops->read(device, zero, d.x.data, d.x.bytes));
        for (int64_t e = 0; e < d.n; e++, compared++) assert_true(zero[e] == 0 && !signbit(zero[e]));
        free(zero);
        end(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_reduce_ordered),    cmocka_unit_test(all_reduce_fast),
        cmocka_unit_test(reduce_scatter),        cmocka_unit_test(gathers),
        cmocka_unit_test(other_ops_are_refused), cmocka_unit_test(zeros_are_positive),
    };
    comm = ranks_open(60, NULL, NULL);
    rank = dram_comm_rank(comm);
    size = dram_comm_size(comm);
    if (size < 2 || ranks_device_open(comm, &device) != DRAM_OK) {
        fprintf(stderr, "%s\n", size < 2 ? "start it with mpirun.sh" : dram_error_text());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (compared < 500000) failed++;
    dram_device_close(device);
    dram_comm_close(comm, failed ? DRAM_ERR_RUN : DRAM_OK);
    return failed;
}
