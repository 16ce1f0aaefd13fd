/* NCCL as it is, on as many GPUs as there are ranks: one on its own, or those that torchrun or simrun.sh starts. Every
 * call of the transport, as it is and recorded, and what NCCL takes of the GPU beside what is assumed. Skipped where
 * there is no GPU or no NCCL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "comm/nccl.h"
#include "support/device.h"
#include "support/ok.h"

enum { CHANNELS = 4, TIMES = 3 };

static dram_world world;
static dram_device *device;
static dram_transport *nccl;
static int64_t compared;

static const int64_t lengths[] = {1, 2, 3, 255, 4096, 4097, 100003};

/* Whole numbers, so that sums are exact in any order. */
static float number(int rank, int64_t i)
{
    return (float)((i * 7 + rank * 13) % 101 - 50);
}

static float *numbers(int rank, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = number(rank, i);
    return x;
}

/* ---- one call on buffers of the device ---- */

typedef struct {
    int64_t n; /* elements of the whole, cut into pieces of p */
    int64_t at[65], bytes_at[65];
    float *in, *out; /* n, and n a rank */
    void *stream;
} call;

static void begin(call *c, int64_t n)
{
    void *in, *out;
    int64_t p = (n + world.size - 1) / world.size;
    *c = (call){.n = n, .stream = device->ops->stream(device, DRAM_QUEUE_COMM)};
    for (int r = 0; r <= world.size; r++) {
        c->at[r] = r * p < n ? r * p : n;
        c->bytes_at[r] = c->at[r] * (int64_t)sizeof(float);
    }
    ok(dram_device_alloc(device, DRAM_SPACE_DEVICE, n * (int64_t)sizeof(float), &in));
    ok(dram_device_alloc(device, DRAM_SPACE_DEVICE, world.size * n * (int64_t)sizeof(float), &out));
    c->in = in;
    c->out = out;
    float *x = numbers(world.rank, n);
    ok(device->ops->write(device, in, x, n * (int64_t)sizeof(float)));
    free(x);
}

static void end(call *c)
{
    dram_device_release(device, DRAM_SPACE_DEVICE, c->in, c->n * (int64_t)sizeof(float));
    dram_device_release(device, DRAM_SPACE_DEVICE, c->out, world.size * c->n * (int64_t)sizeof(float));
}

static int64_t mine(const call *c)
{
    return c->at[world.rank + 1] - c->at[world.rank];
}

static float sum_of(int64_t i)
{
    float sum = 0;
    for (int r = 0; r < world.size; r++) sum += number(r, i);
    return sum;
}

typedef struct {
    const char *name;
    void (*issue)(const call *c);
    int64_t (*count)(const call *c);
    float (*want)(const call *c, int64_t i);
} kind;

static void issue_all_reduce(const call *c)
{
    ok(nccl->ops->all_reduce(nccl, c->in, c->out, c->n, c->stream));
}
static int64_t count_whole(const call *c)
{
    return c->n;
}
static float want_sum(const call *c, int64_t i)
{
    (void)c;
    return sum_of(i);
}

static void issue_reduce_scatter(const call *c)
{
    ok(nccl->ops->reduce_scatter(nccl, c->in, c->at, c->out, c->stream));
}
static float want_piece_of_sum(const call *c, int64_t i)
{
    return sum_of(c->at[world.rank] + i);
}

static void issue_all_gather(const call *c)
{
    ok(nccl->ops->all_gather(nccl, c->in + c->at[world.rank], c->bytes_at, c->out, c->stream));
}
static float want_owners(const call *c, int64_t i)
{
    int owner = 0;
    while (c->at[owner + 1] <= i) owner++;
    return number(owner, i);
}

static void issue_all_to_all(const call *c)
{
    ok(nccl->ops->all_to_all(nccl, c->in, c->bytes_at, c->out, c->stream));
}
static int64_t count_from_all(const call *c)
{
    return world.size * mine(c);
}
static float want_from_all(const call *c, int64_t i)
{
    return number((int)(i / mine(c)), c->at[world.rank] + i % mine(c));
}

static const kind kinds[] = {{"all_reduce", issue_all_reduce, count_whole, want_sum},
                             {"reduce_scatter", issue_reduce_scatter, mine, want_piece_of_sum},
                             {"all_gather", issue_all_gather, count_whole, want_owners},
                             {"all_to_all", issue_all_to_all, count_from_all, want_from_all}};

static void check(const kind *k, const call *c)
{
    int64_t n = k->count(c);
    float *got = malloc((size_t)n * sizeof *got + 1);
    assert_non_null(got);
    ok(device->ops->finish(device));
    ok(device->ops->read(device, got, c->out, n * (int64_t)sizeof *got));
    for (int64_t i = 0; i < n; i++, compared++)
        if (got[i] != k->want(c, i))
            fail_msg("rank %d: %s of %lld: element %lld is %g, not %g", world.rank, k->name, (long long)c->n,
                     (long long)i, (double)got[i], (double)k->want(c, i));
    ok(device->ops->fill(device, c->out, 0xff, world.size * c->n * (int64_t)sizeof(float)));
    free(got);
}

/* ---- tests ---- */

static void every_call(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            call c;
            begin(&c, lengths[i]);
            kinds[k].issue(&c);
            check(&kinds[k], &c);
            end(&c);
        }
}

static void every_call_in_one_group(void **state)
{
    (void)state;
    enum { N = sizeof kinds / sizeof *kinds };
    call c[N];
    for (int k = 0; k < N; k++) begin(&c[k], 1000 + k);
    ok(nccl->ops->group_begin(nccl));
    for (int k = 0; k < N; k++) kinds[k].issue(&c[k]);
    ok(nccl->ops->group_end(nccl, c[0].stream));
    for (int k = 0; k < N; k++) {
        check(&kinds[k], &c[k]);
        end(&c[k]);
    }
}

static void every_call_recorded(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        call c;
        void *record;
        begin(&c, 4097);
        kinds[k].issue(&c); /* connects before the recording, as a program's first run does */
        check(&kinds[k], &c);
        ok(device->ops->record_begin(device));
        ok(device->ops->join(device, DRAM_QUEUE_COMPUTE, DRAM_QUEUE_COMM));
        kinds[k].issue(&c);
        ok(device->ops->join(device, DRAM_QUEUE_COMM, DRAM_QUEUE_COMPUTE));
        ok(device->ops->record_end(device, &record));
        for (int time = 0; time < TIMES; time++) {
            ok(device->ops->replay(device, record));
            check(&kinds[k], &c);
        }
        device->ops->record_free(device, record);
        end(&c);
    }
}

static void the_host_gathers(void **state)
{
    (void)state;
    for (int64_t bytes = 1; bytes < 100000; bytes = bytes * 9 + 1) {
        unsigned char *own = malloc((size_t)bytes), *all = malloc((size_t)(bytes * world.size));
        assert_true(own && all);
        memset(own, 17 + world.rank, (size_t)bytes);
        ok(nccl->ops->host_gather(nccl, own, bytes, all));
        for (int64_t i = 0; i < bytes * world.size; i++, compared++) assert_int_equal(all[i], 17 + i / bytes);
        free(own);
        free(all);
    }
    ok(nccl->ops->check(nccl));
}

static bool open_all(void)
{
    int gpu;
    if (dram_world_read(dram_process_environment, NULL, &world) != DRAM_OK) exit(1);
    if (world.size == 1) setenv("NCCL_COMM_ID", "127.0.0.1:29711", 0); /* as env does between ranks */
    if (dram_nccl_gpu(&world, &gpu) != DRAM_OK) return false;
    dram_device_cuda_choose(gpu);
    dram_nccl_params params = {.world = &world, .gpu = gpu, .channels = CHANNELS};
    return dram_nccl_open(&params, &nccl) == DRAM_OK && test_device_open(1, &device) == DRAM_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call), cmocka_unit_test(every_call_in_one_group),
                                       cmocka_unit_test(every_call_recorded), cmocka_unit_test(the_host_gathers)};
    setenv("DRAM_TEST_DEVICE", "cuda", 1);
    if (!open_all()) {
        printf("skipped: %s\n", dram_error_text());
        return world.size > 1 ? 1 : 77;
    }
    int64_t before = device->ops->process_bytes(device);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    int64_t after = device->ops->process_bytes(device);
    if (compared < 100000) failed++;
    if (world.rank == 0)
        printf("%s, %d ranks: the process took %.0f MiB more while every call was made for the first time, NCCL says "
               "%.0f MiB of itself (0: it cannot tell); assumed for ranks: %.0f MiB\n",
               nccl->version, world.size, (double)(after - before) / 0x1p20, (double)dram_nccl_taken(nccl) / 0x1p20,
               (double)dram_nccl_bytes(world.size, CHANNELS, true) / 0x1p20);
    const char *value;
    for (int i = 0; world.rank == 0 && dram_nccl_environment(i, &value); i++)
        printf("set for it: %s=%s\n", dram_nccl_environment(i, &value), value);
    nccl->ops->close(nccl);
    dram_device_close(device);
    return failed;
}
