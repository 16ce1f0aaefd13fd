/* kernels/cuda/mma.cuh on the simulated GPU: each primitive against a plain computation. */
#include "helpers.h"
#include "kernels/cuda/mma.cuh"

namespace
{

enum { ROW = 24 }; /* numbers from one row of a tile to the next: 48 bytes */

/* Numbers that bf16 and f16 have, different ones. */
float number(int i)
{
    return (float)((i * 37 + 11) % 61 - 30) / 8;
}

template <typename F> void run(F body)
{
    OK(cudasim_launch(nullptr, dim3(1), dim3(32), 8192, body));
    OK(cudaDeviceSynchronize());
}

/* ---- matrices ---- */

void load(uint32_t *out, bool transposed)
{
    uint16_t *tile = static_cast<uint16_t *>(cudasim_shared_dynamic());
    int lane = (int)threadIdx.x;
    for (int c = 0; c < 8; c++) tile[lane * ROW + c] = (uint16_t)(100 * lane + c); /* row l % 8 of matrix l / 8 */
    __syncwarp();
    uint32_t to[4];
    if (transposed)
        dram_load_transposed(to, tile + lane * ROW);
    else
        dram_load_matrices(to, tile + lane * ROW);
    for (int i = 0; i < 4; i++) out[4 * lane + i] = to[i];
}

void test_loads(void **)
{
    uint32_t *d_out = on_device<uint32_t>(128);
    for (int transposed = 0; transposed < 2; transposed++) {
        run([=] { load(d_out, transposed); });
        std::vector<uint32_t> out = get(d_out, 128);
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++)
                for (int half = 0; half < 2; half++) {
                    int g = lane / 4, pair = lane % 4 * 2 + half;
                    int row = transposed ? pair : g, column = transposed ? g : pair;
                    uint32_t got = out[(size_t)(4 * lane + i)] >> (16 * half) & 0xffff;
                    assert_int_equal(got, 100 * (8 * i + row) + column);
                }
    }
    OK(cudaFree(d_out));
}

/* ---- products ---- */

/* Fragments as the PTX ISA has them. */
template <typename T> void product(const float *a, const float *b, const float *c, float *out)
{
    int g = (int)threadIdx.x / 4, t = (int)threadIdx.x % 4;
    uint32_t fa[4], fb[2];
    float fc[4];
    for (int i = 0; i < 4; i++) {
        const float *from = a + (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
        fa[i] = dram_pair<T>(from[0], from[1]);
        fc[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    }
    for (int i = 0; i < 2; i++) fb[i] = dram_pair<T>(b[(2 * t + 8 * i) * 8 + g], b[(2 * t + 8 * i + 1) * 8 + g]);
    dram_mma<T>(fc, fa, fb);
    for (int i = 0; i < 4; i++) out[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = fc[i];
}

template <typename T> void check_product(float factor, double tolerance)
{
    float *d_a = on_device<float>(256), *d_b = on_device<float>(128), *d_c = on_device<float>(128);
    float *d_out = on_device<float>(128);
    std::vector<float> a(256), b(128), c(128);
    for (int i = 0; i < 256; i++) a[(size_t)i] = number(i);
    for (int i = 0; i < 128; i++) b[(size_t)i] = number(3 * i + 1), c[(size_t)i] = factor * number(5 * i + 2);
    put(d_a, a);
    put(d_b, b);
    put(d_c, c);
    run([=] { product<T>(d_a, d_b, d_c, d_out); });
    std::vector<float> out = get(d_out, 128);
    for (size_t m = 0; m < 16; m++)
        for (size_t n = 0; n < 8; n++) {
            double want = c[m * 8 + n], size = fabs(want);
            for (size_t k = 0; k < 16; k++) {
                double term = (double)a[m * 16 + k] * b[k * 8 + n];
                want += term;
                size = fmax(size, fabs(term));
            }
            assert_true(fabs(out[m * 8 + n] - want) <= tolerance * size);
        }
    for (float *p : {d_a, d_b, d_c, d_out}) OK(cudaFree(p));
}

void test_products(void **)
{
    check_product<dram_bf16>(1, 0); /* few bits: exact */
    check_product<dram_f16>(1, 0);
    check_product<dram_bf16>(1.0f / 3, 18 * 0x1p-23); /* 17 terms are cut, and the sum, which may be twice as large */
    check_product<dram_f16>(1.0f / 3, 18 * 0x1p-23);
}

void test_pairs(void **)
{
    float x = 1 + 0x1p-9f, y = -3.25f; /* x lies nearer to 1 in bf16, and is a number of f16 */
    uint32_t pair = dram_pair<dram_bf16>(x, y);
    assert_true(dram_low<dram_bf16>(pair) == 1 && dram_high<dram_bf16>(pair) == y);
    pair = dram_pair<dram_f16>(x, y);
    assert_true(dram_low<dram_f16>(pair) == x && dram_high<dram_f16>(pair) == y);
    assert_true(dram_exp2(3) == 8 && dram_exp2(-INFINITY) == 0 && dram_exp2(-127) == 0);
}

/* ---- copies ---- */

/* Two groups of one copy a lane; what is there after waiting for all but `pending`, and after all. */
template <int PENDING> void copy(const float *from, float *early, float *late)
{
    float *tile = static_cast<float *>(cudasim_shared_dynamic());
    int lane = (int)threadIdx.x;
    for (int group = 0; group < 2; group++) {
        int at = 128 * group + 4 * lane;
        dram_copy16(tile + at, from + at, lane < 30);
        dram_copy_commit();
    }
    dram_copy_wait<PENDING>();
    for (int group = 0; group < 2; group++)
        for (int i = 0; i < 4; i++) early[128 * group + 4 * lane + i] = tile[128 * group + 4 * lane + i];
    dram_copy_wait<0>();
    __syncthreads();
    for (int i = 0; i < 8; i++) late[8 * lane + i] = tile[8 * lane + i];
}

template <int PENDING> void check_copies()
{
    std::vector<float> from(256);
    for (int i = 0; i < 256; i++) from[(size_t)i] = (float)(i + 1);
    float *d_from = on_device<float>(256), *d_early = on_device<float>(256), *d_late = on_device<float>(256);
    put(d_from, from);
    run([=] { copy<PENDING>(d_from, d_early, d_late); });
    std::vector<float> early = get(d_early, 256), late = get(d_late, 256);
    for (size_t i = 0; i < 256; i++) {
        float want = i % 128 < 120 ? from[i] : 0; /* the last two lanes take none: zeros */
        assert_true(late[i] == want);
        if (i / 128 < 2 - PENDING)
            assert_true(early[i] == want);
        else
            assert_true(isnan(early[i])); /* a missing wait shows */
    }
    for (float *p : {d_from, d_early, d_late}) OK(cudaFree(p));
}

void test_copies(void **)
{
    check_copies<0>();
    check_copies<1>();
    check_copies<2>();
}

void test_faults(void **)
{
    caught("misaligned access of 16 bytes", [] {
        run([] {
            uint32_t to[4];
            dram_load_matrices(to, static_cast<char *>(cudasim_shared_dynamic()) + 48 * threadIdx.x + 8);
        });
    });
    caught("misaligned access of 16 bytes", [] {
        float *from = on_device<float>(64);
        run([=] { dram_copy16(cudasim_shared_dynamic(), from + 1, true); });
    });
    caught("asynchronous copies that nobody has waited for", [] {
        float *from = on_device<float>(64);
        for (int i = 0; i < 2; i++)
            run([=] {
                dram_copy16(static_cast<float *>(cudasim_shared_dynamic()) + 4 * threadIdx.x, from, true);
                dram_copy_commit();
            });
    });
}

} // namespace

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),  cmocka_unit_test(test_products), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_copies), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
